//! The wall clock, as the state machine wants it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dagrun_core::ids::Timestamp;

/// The time now.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
