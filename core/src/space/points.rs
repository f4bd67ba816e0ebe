//! The points of one axis: how many there are, and each by its position.

use std::borrow::Cow;
use std::io::Write;

use super::{Axis, AxisProblem, Ends, Points, RangeError};
use crate::value::Value;

/// `f64` in JSON as text, because not every JSON reader returns exactly the same number.
pub(super) mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in super::super) fn serialize<S: Serializer>(x: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{x:?}"))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<f64, D::Error> {
        Cow::<'de, str>::deserialize(from)?.parse().map_err(D::Error::custom)
    }

    use std::borrow::Cow;
}

impl Points {
    /// The integers of `text` (`0..10`, `0..=10`), `step` apart (1 when absent). With a negative
    /// step they go down: `10..0` with step -5 is 10, 5.
    ///
    /// # Errors
    /// When the text is not a range, the step is 0, or there are more than 4294967295 integers.
    pub fn range(text: &str, step: Option<i64>) -> Result<Points, RangeError> {
        let (first, end) = text.split_once("..").ok_or(RangeError::Syntax)?;
        let (inclusive, end) = end.strip_prefix('=').map_or((false, end), |end| (true, end));
        let parse = |text: &str| {
            text.trim().replace('_', "").parse::<i64>().map_err(|_| RangeError::Syntax)
        };
        let (first, end) = (parse(first)?, parse(end)?);
        let step = step.unwrap_or(1);
        if step == 0 {
            return Err(RangeError::ZeroStep);
        }
        let distance = i128::from(end) - i128::from(first);
        let (distance, stride) =
            if step > 0 { (distance, i128::from(step)) } else { (-distance, -i128::from(step)) };
        let count = if inclusive {
            distance.div_euclid(stride) + 1
        } else {
            -(-distance).div_euclid(stride)
        };
        let n = u32::try_from(count.max(0)).map_err(|_| RangeError::TooLong)?;
        Ok(Points::Range { first, step, n })
    }

    /// How many points there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Points::Rows(rows) => rows.len(),
            Points::Linspace(ends) | Points::Geomspace(ends) | Points::Logspace(ends) => {
                ends.n as usize
            }
            Points::Range { n, .. } => *n as usize,
        }
    }

    /// The value of column `column` of point `at`; null when there is no such point.
    pub(super) fn value(&self, at: u32, column: usize) -> Cow<'_, Value> {
        match self {
            Points::Rows(rows) => {
                let value = rows.get(at as usize).and_then(|row| row.get(column));
                value.map_or(Cow::Owned(Value::Null), Cow::Borrowed)
            }
            _ => Cow::Owned(Value::Number(self.number(at))),
        }
    }

    /// Appends the text of column `column` of point `at`, without making a value of it.
    pub(super) fn write_text(&self, at: u32, column: usize, out: &mut Vec<u8>) {
        // Writing to a vector cannot fail.
        let _ = match self {
            Points::Rows(_) => {
                self.value(at, column).write_text(out);
                Ok(())
            }
            Points::Range { first, step, .. } => {
                write!(out, "{}", first.wrapping_add(step.wrapping_mul(i64::from(at))))
            }
            _ => write!(out, "{:?}", self.real(at)),
        };
    }

    /// The spelling of number `at`.
    fn number(&self, at: u32) -> String {
        let mut text = Vec::new();
        self.write_text(at, 0, &mut text);
        String::from_utf8(text).unwrap_or_default()
    }

    /// Number `at` of the points between two ends.
    fn real(&self, at: u32) -> f64 {
        match self {
            Points::Linspace(ends) => ends.between(at, ends.from, ends.to),
            Points::Geomspace(ends) => {
                if at == 0 {
                    return ends.from;
                }
                if at + 1 >= ends.n {
                    return ends.to;
                }
                let (from, to) = (libm::log10(ends.from.abs()), libm::log10(ends.to.abs()));
                power_of_ten(ends.between(at, from, to)).copysign(ends.from)
            }
            Points::Logspace(ends) => power_of_ten(ends.between(at, ends.from, ends.to)),
            Points::Rows(_) | Points::Range { .. } => f64::NAN,
        }
    }

    /// Whether no two points can be the same, as far as that is known without looking at rows.
    pub(super) fn distinct(&self) -> bool {
        match self {
            Points::Rows(_) => false,
            Points::Range { .. } => true,
            Points::Linspace(ends) | Points::Geomspace(ends) | Points::Logspace(ends) => {
                (1..ends.n).all(|at| self.real(at - 1) != self.real(at))
            }
        }
    }
}

impl Ends {
    /// Number `at` of `n` at equal distances; the first is exactly `from`, the last exactly `to`.
    fn between(self, at: u32, from: f64, to: f64) -> f64 {
        if at == 0 {
            return from;
        }
        if at + 1 >= self.n {
            return to;
        }
        let (at, last) = (f64::from(at), f64::from(self.n - 1));
        // Multiplying first keeps round numbers round (0.3, not 0.30000000000000004).
        let offset = (to - from) * at / last;
        from + if offset.is_finite() { offset } else { (to - from) * (at / last) }
    }

    fn check(self) -> Result<(), AxisProblem> {
        if !(self.from.is_finite() && self.to.is_finite() && (self.to - self.from).is_finite()) {
            return Err(AxisProblem::NotFinite);
        }
        if self.n == 1 && self.from != self.to {
            return Err(AxisProblem::OnePoint);
        }
        Ok(())
    }
}

/// Ten to the power of `exponent`, exactly the decimal number for whole exponents, otherwise
/// rounded to 15 digits. The same on every machine, which the system's `pow` does not promise.
fn power_of_ten(exponent: f64) -> f64 {
    let text = if exponent.fract() == 0.0 && exponent.abs() < 400.0 {
        format!("1e{exponent}")
    } else {
        format!("{:.14e}", libm::pow(10.0, exponent))
    };
    text.parse().unwrap_or(f64::INFINITY)
}

impl Axis {
    /// What is wrong with the points, if anything.
    pub(super) fn check(&self) -> Result<(), AxisProblem> {
        match &self.points {
            Points::Rows(rows) => {
                let wrong = rows.iter().position(|row| row.len() != self.names.len());
                wrong.map_or(Ok(()), |row| Err(AxisProblem::RowLength { row }))
            }
            _ if self.names.len() != 1 => Err(AxisProblem::RowLength { row: 0 }),
            Points::Linspace(ends) => ends.check(),
            Points::Geomspace(ends) => {
                ends.check()?;
                if ends.from == 0.0 || ends.to == 0.0 || (ends.from < 0.0) != (ends.to < 0.0) {
                    return Err(AxisProblem::CrossesZero);
                }
                Ok(())
            }
            Points::Logspace(ends) => {
                ends.check()?;
                let usable = |x: f64| x.is_finite() && x != 0.0;
                if !usable(power_of_ten(ends.from)) || !usable(power_of_ten(ends.to)) {
                    return Err(AxisProblem::Exponent);
                }
                Ok(())
            }
            Points::Range { first, step, n } => {
                let last = i128::from(*first) + i128::from(*step) * (i128::from(*n) - 1).max(0);
                if i64::try_from(last).is_err() || (*step == 0 && *n > 1) {
                    return Err(AxisProblem::Overflow);
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(points: &Points) -> Vec<String> {
        (0..points.count() as u32)
            .map(|at| String::from_utf8(points.value(at, 0).to_text()).unwrap())
            .collect()
    }

    #[test]
    fn linspace_has_both_ends_and_round_numbers() {
        let points = Points::Linspace(Ends { from: 80.0, to: 120.0, n: 5 });
        assert_eq!(texts(&points), ["80.0", "90.0", "100.0", "110.0", "120.0"]);
        let points = Points::Linspace(Ends { from: 0.0, to: 1.0, n: 11 });
        assert_eq!(texts(&points)[3], "0.3");
        let points = Points::Linspace(Ends { from: 0.1, to: 0.7, n: 7 });
        assert_eq!((texts(&points)[0].as_str(), texts(&points)[6].as_str()), ("0.1", "0.7"));
        assert!(points.distinct());
    }

    #[test]
    fn powers_are_the_decimal_numbers() {
        let points = Points::Logspace(Ends { from: -9.0, to: -5.0, n: 5 });
        assert_eq!(texts(&points), ["1e-9", "1e-8", "1e-7", "1e-6", "1e-5"]);
        let points = Points::Geomspace(Ends { from: 1e-9, to: 1e-3, n: 7 });
        assert_eq!(texts(&points)[..3], ["1e-9", "1e-8", "1e-7"]);
        let points = Points::Geomspace(Ends { from: 1.0, to: 256.0, n: 9 });
        assert_eq!(texts(&points)[1..4], ["2.0", "4.0", "8.0"]);
        let points = Points::Geomspace(Ends { from: -1.0, to: -100.0, n: 3 });
        assert_eq!(texts(&points), ["-1.0", "-10.0", "-100.0"]);
    }

    #[test]
    fn ranges_go_up_and_down() {
        let numbers = |text: &str, step| texts(&Points::range(text, step).unwrap()).join(" ");
        assert_eq!(numbers("0..4", None), "0 1 2 3");
        assert_eq!(numbers("0..=4", None), "0 1 2 3 4");
        assert_eq!(numbers("0..5", Some(2)), "0 2 4");
        assert_eq!(numbers("0..=5", Some(2)), "0 2 4");
        assert_eq!(numbers("0..6", Some(2)), "0 2 4");
        assert_eq!(numbers("10..0", Some(-5)), "10 5");
        assert_eq!(numbers("10..=0", Some(-5)), "10 5 0");
        assert_eq!(numbers("-3..-1", None), "-3 -2");
        assert_eq!(numbers("5..5", None), "");
        assert_eq!(numbers("5..=5", None), "5");
        assert_eq!(numbers("5..0", None), "");
        let ends = format!("{}..={}", i64::MAX - 1, i64::MAX);
        assert_eq!(numbers(&ends, None), format!("{} {}", i64::MAX - 1, i64::MAX));
        assert_eq!(Points::range("0..10", Some(0)), Err(RangeError::ZeroStep));
        assert_eq!(Points::range("0-10", None), Err(RangeError::Syntax));
        assert_eq!(Points::range("0..x", None), Err(RangeError::Syntax));
        assert_eq!(Points::range("0..==3", None), Err(RangeError::Syntax));
        assert_eq!(Points::range("0..4294967296", None), Err(RangeError::TooLong));
    }

    #[test]
    fn ends_survive_json_exactly() {
        let points = Points::Linspace(Ends { from: 0.1 + 0.2, to: 1.0 / 3.0 * 1e300, n: 3 });
        let text = serde_json::to_string(&points).unwrap();
        assert_eq!(serde_json::from_str::<Points>(&text).unwrap(), points);
    }
}
