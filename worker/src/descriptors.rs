//! How many file descriptors are left. The system gives out the lowest free one, so that the number of
//! a new one is about how many are in use.

use std::os::fd::{AsFd, AsRawFd};

use rustix::process::{Resource, getrlimit};

/// Attempts leave so many to the worker itself: for logs, values, connections, and for the database
/// of a scheduler in the same process.
const RESERVE: u64 = 16;

/// An attempt has so many while it runs: its two streams, and the descriptor of its process.
const EACH: u64 = 3;

/// Whether `places` attempts can run at once where this was given out last.
pub(crate) fn suffice(last: &impl AsFd, places: usize) -> bool {
    let Some(limit) = limit() else { return true };
    let needed = EACH.saturating_mul(places as u64);
    number(last).saturating_add(needed).saturating_add(reserve(limit)) < limit
}

/// Whether so few are left that another attempt would take what the worker itself needs.
pub(crate) fn are_few(last: &impl AsFd) -> bool {
    limit().is_some_and(|limit| number(last).saturating_add(reserve(limit)) >= limit)
}

fn number(descriptor: &impl AsFd) -> u64 {
    u64::try_from(descriptor.as_fd().as_raw_fd()).unwrap_or(0)
}

fn reserve(limit: u64) -> u64 {
    RESERVE.min(limit / 4)
}

/// How many this process may have; `None`: any number. Others may change that.
fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
