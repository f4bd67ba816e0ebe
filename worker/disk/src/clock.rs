//! The clocks, in the unit of the protocol.

use std::time::{SystemTime, UNIX_EPOCH};

use dagrun_core::ids::{Micros, Timestamp};

/// The time, in microseconds since the Unix epoch; zero before it.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// The time since the machine was booted, also while it was suspended. It never goes back.
#[must_use]
pub fn uptime() -> Micros {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    Micros(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000))
}
