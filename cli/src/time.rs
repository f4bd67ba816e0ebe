//! Times and spans, as people and JSON see them.

use dagrun_core::ids::{Micros, Timestamp};
use dagrun_disk::clock::now;

pub(crate) use dagrun_scheduler::history::rfc3339;

/// A time in the local time zone and without it, to the second.
pub(crate) fn local(time: Timestamp) -> String {
    match i64::try_from(time.0).map(jiff::Timestamp::from_microsecond) {
        Ok(Ok(time)) => {
            let zoned = time.to_zoned(jiff::tz::TimeZone::system());
            zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        _ => format!("@{}", time.0),
    }
}

/// The line with its times in the local time zone. Schedulers write them in UTC: they may be elsewhere.
pub(crate) fn localised(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    // Only where we say a time ourselves, not within what a task said.
    let mut is_ours = false;
    for word in line.split_inclusive(' ') {
        let bare = word.trim_end_matches([' ', ',', ';']);
        match bare.parse::<jiff::Timestamp>() {
            Ok(time) if is_ours && bare.ends_with('Z') => {
                let time = time.to_zoned(jiff::tz::TimeZone::system());
                text.push_str(&time.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string());
                match time.offset().is_zero() {
                    true => text.push('Z'),
                    false => text.push_str(&time.strftime("%:z").to_string()),
                }
                text.push_str(word.get(bare.len()..).unwrap_or_default());
            }
            _ => text.push_str(word),
        }
        is_ours = ["at", "since", "started"].contains(&bare);
    }
    text
}

/// A span of a run or of silence, to a tenth of a second: they are not measured more precisely.
pub(crate) fn span(span: Micros) -> String {
    const TENTH: Micros = Micros(100_000);
    span.max(TENTH).rounded()
}

/// The time from `started` to `finished`, to now while that is not known.
pub(crate) fn took(started: Timestamp, finished: Option<Timestamp>) -> String {
    span(finished.unwrap_or_else(now).since(started))
}

#[cfg(test)]
mod tests {
    use super::rfc3339;
    use dagrun_core::ids::Timestamp;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(Timestamp(1_700_000_000_123_456)), "2023-11-14T22:13:20.123Z");
    }
}
