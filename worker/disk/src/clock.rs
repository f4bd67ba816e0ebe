//! The wall clock in the unit of the protocol.

use std::time::{SystemTime, UNIX_EPOCH};

use dagrun_core::ids::Timestamp;

/// The time, in microseconds since the Unix epoch; zero before it.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
