//! Durations as people write them: `90s`, `1m30s`, `500ms`, `1.5h`.

use crate::ids::Micros;

/// Microseconds of each unit. Longer names come before their prefixes.
const UNITS: [(&str, f64); 6] =
    [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 60e6), ("h", 3_600e6), ("d", 86_400e6)];

/// Reads a text such as `1m30s`; units may be separated by spaces.
#[must_use]
pub fn parse(text: &str) -> Option<Micros> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = rest[end..].trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (_, micros) = UNITS.into_iter().find(|(unit, _)| *unit == &rest[..end])?;
        total += number * micros;
        rest = rest[end..].trim_start();
    }
    from_micros(total)
}

/// A number of seconds.
pub(super) fn from_seconds(seconds: f64) -> Option<Micros> {
    from_micros(seconds * 1e6)
}

/// More than fits is the longest time there is, which [`crate::check::time`] refuses.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn from_micros(micros: f64) -> Option<Micros> {
    (micros >= 0.0).then(|| Micros(micros.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        assert_eq!(parse("90s"), Some(Micros::from_secs(90)));
        assert_eq!(parse("1m30s"), Some(Micros::from_secs(90)));
        assert_eq!(parse("1h 5m"), Some(Micros::from_secs(3900)));
        assert_eq!(parse("500ms"), Some(Micros(500_000)));
        assert_eq!(parse("0.5 s"), Some(Micros(500_000)));
        assert_eq!(parse("2d"), Some(Micros::from_secs(172_800)));
        assert_eq!(from_seconds(2.5), Some(Micros(2_500_000)));
    }

    #[test]
    fn what_does_not_fit_is_longer_than_any_time_may_be() {
        assert!(parse("99999999d").is_some_and(|span| span > Micros::MOST));
        assert_eq!(from_seconds(f64::INFINITY), Some(Micros(u64::MAX)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", " ", "5", "s", "5 parsecs", "-5s", "1..5s", "5s5", "1e3s"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(from_seconds(-1.0), None);
        assert_eq!(from_seconds(f64::NAN), None);
    }
}
