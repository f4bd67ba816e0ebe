//! The wall clock in the unit of the protocol.

use std::time::{SystemTime, UNIX_EPOCH};

use dagrun_core::ids::{Micros, Timestamp};

/// Microseconds since the Unix epoch.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// A span as its author would have written it: `2s`, `1.5s`, `250ms`, `3m`.
pub(crate) fn spell(span: Micros) -> String {
    const SECOND: u64 = 1_000_000;
    let micros = span.0;
    match micros {
        m if m >= SECOND && m % (3600 * SECOND) == 0 => format!("{}h", m / (3600 * SECOND)),
        m if m >= SECOND && m % (60 * SECOND) == 0 => format!("{}m", m / (60 * SECOND)),
        m if m >= SECOND => {
            let text = format!("{}.{:06}", m / SECOND, m % SECOND);
            format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
        }
        m if m % 1000 == 0 => format!("{}ms", m / 1000),
        m => format!("{m}us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_spelled_as_people_write_them() {
        for (micros, text) in [
            (2_000_000, "2s"),
            (1_500_000, "1.5s"),
            (250_000, "250ms"),
            (180_000_000, "3m"),
            (7_200_000_000, "2h"),
            (90_000_000, "90s"),
            (10, "10us"),
        ] {
            assert_eq!(spell(Micros(micros)), text);
        }
    }
}
