//! Spellings of numbers: which are valid JSON, and which are equal.

use std::borrow::Cow;

/// The parts of a decimal spelling.
struct Decimal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    /// With its `e`, as written; empty when there is none.
    exponent: &'a str,
}

fn digits_only(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn split(text: &str) -> Option<Decimal<'_>> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) =
        unsigned.find(['e', 'E']).map_or((unsigned, ""), |at| unsigned.split_at(at));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let valid_exponent = exponent.is_empty() || {
        let power = &exponent[1..];
        let power = power.strip_prefix(['+', '-']).unwrap_or(power);
        !power.is_empty() && digits_only(power)
    };
    let valid = digits_only(whole)
        && digits_only(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && valid_exponent;
    valid.then_some(Decimal { negative, whole, fraction, exponent })
}

/// TOML's hexadecimal, octal and binary integers.
fn radix_integer(text: &str) -> Option<u128> {
    let radix = match text.get(..2)? {
        "0x" => 16,
        "0o" => 8,
        "0b" => 2,
        _ => return None,
    };
    // `from_str_radix` takes a sign, which does not belong here.
    let digits = text.get(2..).filter(|digits| !digits.starts_with(['+', '-']))?;
    u128::from_str_radix(digits, radix).ok()
}

/// The number as JSON, in its own spelling where that is JSON; `None` for infinities, NaN and
/// anything that is not a number.
pub(super) fn to_json(text: &str) -> Option<Cow<'_, str>> {
    if let Some(integer) = radix_integer(text) {
        return Some(Cow::Owned(integer.to_string()));
    }
    let Decimal { negative, whole, fraction, exponent } = split(text)?;
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    let bare_point = fraction.is_empty() && text.contains('.');
    if !text.starts_with('+') && !whole.is_empty() && !leading_zero && !bare_point {
        return Some(Cow::Borrowed(text));
    }
    let whole = whole.trim_start_matches('0');
    let sign = if negative { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() && !bare_point { "" } else { "." };
    let fraction = if bare_point { "0" } else { fraction };
    Some(Cow::Owned(format!("{sign}{whole}{point}{fraction}{exponent}")))
}

/// One spelling for all spellings of the same number: sign, digits without leading and trailing
/// zeros, `e` and the exponent of the last digit. A text that is not a number is returned as it is.
pub(super) fn canonical(text: &str) -> Cow<'_, str> {
    if let Some(integer) = radix_integer(text) {
        return canonical(&integer.to_string()).into_owned().into();
    }
    let Some(Decimal { negative, whole, fraction, exponent }) = split(text) else {
        return Cow::Borrowed(match text {
            "+inf" => "inf",
            "+nan" | "-nan" => "nan",
            _ => text,
        });
    };
    let mut digits = String::with_capacity(whole.len() + fraction.len() + 8);
    digits.push_str(if negative { "-" } else { "" });
    let sign = digits.len();
    digits.push_str(whole.trim_start_matches('0'));
    let fraction_digits =
        if digits.len() == sign { fraction.trim_start_matches('0') } else { fraction };
    digits.push_str(fraction_digits);
    let kept = digits.trim_end_matches('0').len().max(sign);
    let dropped = digits.len() - kept;
    digits.truncate(kept);
    if kept == sign {
        return Cow::Borrowed("0");
    }
    let power = if exponent.is_empty() { Ok(0) } else { exponent[1..].parse::<i64>() };
    // An exponent beyond 64 bits: no computation uses it, so its spelling is kept.
    let Ok(power) = power else { return Cow::Borrowed(text) };
    let power = i128::from(power) - fraction.len() as i128 + dropped as i128;
    digits.push('e');
    digits.push_str(&power.to_string());
    Cow::Owned(digits)
}

/// Whether a text is a number in any spelling that this module knows.
pub(super) fn is_number(text: &str) -> bool {
    radix_integer(text).is_some() || split(text).is_some()
}
