//! The order of values: numbers by what they mean, text by its bytes.

use std::cmp::Ordering;

use super::{Value, number};

impl Value {
    /// Which of two values comes first: numbers by what they mean, exactly, whatever their spelling;
    /// text that spells a number counts as one beside a number. Text is compared by its bytes, and
    /// `false` comes before `true`. `None` for all other pairs and for NaN.
    #[must_use]
    pub fn order(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::String(one), Value::String(two)) => Some(one.0.cmp(&two.0)),
            (Value::Bool(one), Value::Bool(two)) => Some(one.cmp(two)),
            (one, two) => compare_numbers(one.as_number()?, two.as_number()?),
        }
    }

    /// The spelling of the number that this is, or that its text spells.
    #[must_use]
    pub fn as_number(&self) -> Option<&str> {
        match self {
            Value::Number(spelling) => Some(spelling),
            Value::String(text) => text.as_str().filter(|text| number::is_number(text)),
            _ => None,
        }
    }
}

/// Whether a text spells a number, infinities included.
#[must_use]
pub fn is_number(text: &str) -> bool {
    number::is_number(text) || matches!(text, "inf" | "+inf" | "-inf" | "nan" | "+nan" | "-nan")
}

/// The order of two numbers, exactly; `None` when one of them is NaN or none.
#[must_use]
pub fn compare_numbers(one: &str, two: &str) -> Option<Ordering> {
    // Rounding to 64 bits keeps the order, so only what becomes equal needs a closer look.
    if let (Ok(a), Ok(b)) = (one.parse::<f64>(), two.parse::<f64>()) {
        if a.is_nan() || b.is_nan() || a != b {
            return a.partial_cmp(&b);
        }
        if one == two {
            return Some(Ordering::Equal);
        }
    }
    let (one, two) = (number::canonical(one), number::canonical(two));
    Decimal::of(&one)?.compare(&Decimal::of(&two)?)
}

/// The parts of a canonical spelling.
struct Decimal<'a> {
    negative: bool,
    /// Without leading and trailing zeros; empty for 0.
    digits: &'a str,
    /// The power of ten above the first digit.
    power: i128,
}

impl<'a> Decimal<'a> {
    fn of(canonical: &'a str) -> Option<Decimal<'a>> {
        let (negative, text) =
            canonical.strip_prefix('-').map_or((false, canonical), |text| (true, text));
        match text {
            "inf" => return Some(Decimal { negative, digits: "1", power: i128::MAX }),
            "0" => return Some(Decimal { negative: false, digits: "", power: 0 }),
            _ => {}
        }
        let (digits, exponent) = text.split_once('e')?;
        let power = exponent.parse::<i128>().ok()?.checked_add(digits.len() as i128)?;
        Some(Decimal { negative, digits, power })
    }

    fn compare(&self, other: &Decimal<'_>) -> Option<Ordering> {
        let sign = |decimal: &Decimal<'_>| match (decimal.digits.is_empty(), decimal.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let magnitude = || self.power.cmp(&other.power).then_with(|| self.digits.cmp(other.digits));
        Some(sign(self).cmp(&sign(other)).then_with(|| match sign(self) {
            0 => Ordering::Equal,
            1 => magnitude(),
            _ => magnitude().reverse(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_exactly() {
        let ascending = [
            "-inf",
            "-1e300",
            "-10",
            "-9.5",
            "-0.1",
            "0",
            "1e-400",
            "0.1",
            "0.10000000000000001",
            "0x1",
            "9007199254740992",
            "9007199254740993",
            "1e20",
            "1e999",
            "inf",
        ];
        for (at, one) in ascending.iter().enumerate() {
            for (other, two) in ascending.iter().enumerate() {
                assert_eq!(compare_numbers(one, two), Some(at.cmp(&other)), "{one} {two}");
            }
        }
        for same in [["0.1", "0.10"], ["1", "1.0"], ["-0.0", "0"], ["16", "0x10"], ["1e2", "100"]] {
            assert_eq!(compare_numbers(same[0], same[1]), Some(Ordering::Equal), "{same:?}");
        }
        assert_eq!(compare_numbers("nan", "1"), None);
    }

    #[test]
    fn text_is_ordered_by_bytes_and_beside_numbers_as_a_number() {
        let text = |text: &str| Value::String(text.into());
        let number = |text: &str| Value::Number(text.into());
        assert_eq!(text("a").order(&text("b")), Some(Ordering::Less));
        assert_eq!(text("9").order(&number("10")), Some(Ordering::Less));
        assert_eq!(text("x").order(&number("10")), None);
        assert_eq!(Value::Null.order(&Value::Null), None);
    }
}
