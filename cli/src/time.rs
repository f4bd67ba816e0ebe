//! Times and spans, as people and JSON see them.

use std::time::Duration;

use dagrun_core::ids::Timestamp;
use dagrun_disk::clock::now;

/// RFC 3339, in UTC, to the millisecond.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    match i64::try_from(time.0).map(jiff::Timestamp::from_microsecond) {
        Ok(Ok(time)) => format!("{time:.3}"),
        _ => format!("@{}", time.0),
    }
}

/// The same in the local time zone and without it, to the second.
pub(crate) fn local(time: Timestamp) -> String {
    match i64::try_from(time.0).map(jiff::Timestamp::from_microsecond) {
        Ok(Ok(time)) => {
            let zoned = time.to_zoned(jiff::tz::TimeZone::system());
            zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        _ => format!("@{}", time.0),
    }
}

/// `0.4 s`, `12.3 s`, `3 min 5 s`, `2 h 10 min`.
pub(crate) fn span(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0..60 => format!("{:.1} s", span.as_secs_f64()),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        _ => format!("{} h {} min", secs / 3600, secs / 60 % 60),
    }
}

/// The time from `started` to `finished`, to now while that is not known.
pub(crate) fn took(started: Timestamp, finished: Option<Timestamp>) -> String {
    span(finished.unwrap_or_else(now).since(started).to_duration())
}

#[cfg(test)]
mod tests {
    use super::{rfc3339, span};
    use dagrun_core::ids::Timestamp;
    use std::time::Duration;

    #[test]
    fn spans_are_short() {
        let texts = [350, 12_345, 185_000, 7_800_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(texts, ["0.3 s", "12.3 s", "3 min 5 s", "2 h 10 min"]);
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(Timestamp(1_700_000_000_123_456)), "2023-11-14T22:13:20.123Z");
    }
}
