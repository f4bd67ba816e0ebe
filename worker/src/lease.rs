//! Whether a worker may publish what it makes: for as long as its scheduler certainly has not given its
//! attempts to others.
//!
//! The scheduler counts the lease from when it received a word of the worker's; the worker counts from
//! when it sent it, and ends some time earlier. Both use the clock that goes on while the machine is
//! suspended.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dagrun_core::ids::Micros;
use dagrun_disk::clock::uptime;

/// How often an attempt that waits looks whether it was stopped.
const LOOK: Duration = Duration::from_millis(50);

/// A worker's lease. It begins without an end, for workers that live and die with their line.
#[derive(Debug)]
pub(crate) struct Lease {
    state: Mutex<State>,
    renewed: Condvar,
}

#[derive(Debug)]
struct State {
    until: Micros,
    term: Term,
}

/// What began in one term may not be published in another: the scheduler has taken it from the worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Term(u64);

impl Default for Lease {
    fn default() -> Lease {
        let state = State { until: Micros(u64::MAX), term: Term::default() };
        Lease { state: Mutex::new(state), renewed: Condvar::new() }
    }
}

impl Lease {
    /// The scheduler has answered what was sent at `sent`, so that a lease of this length goes on from
    /// then. Zero: it has no end.
    pub(crate) fn renew(&self, sent: Micros, length: Micros) {
        // The margin allows for clocks that differ in speed.
        let until = match length.0 {
            0 => Micros(u64::MAX),
            length => Micros(sent.0.saturating_add(length - length / 8)),
        };
        self.lock().until = until;
        self.renewed.notify_all();
    }

    /// Another term begins: all that began before is void.
    pub(crate) fn void(&self) {
        self.lock().term.0 += 1;
        self.renewed.notify_all();
    }

    /// The term in which what begins now belongs.
    pub(crate) fn term(&self) -> Term {
        self.lock().term
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what began in `term` may be published; returns false when it never may, or `stopped`
    /// says so before.
    pub(crate) fn hold(&self, term: Term, stopped: &dyn Fn() -> bool) -> bool {
        let mut state = self.lock();
        loop {
            if state.term != term {
                return false;
            }
            if uptime() < state.until {
                return true;
            }
            if stopped() {
                return false;
            }
            let waited = self.renewed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_before_the_scheduler_thinks_so() {
        let lease = Lease::default();
        let term = lease.term();
        assert!(lease.hold(term, &|| true), "without an end");
        let now = uptime();
        lease.renew(now, Micros(8_000_000_000));
        assert_eq!(lease.lock().until, Micros(now.0 + 7_000_000_000));
        assert!(lease.hold(term, &|| true));
        lease.renew(Micros(0), Micros(1));
        assert!(!lease.hold(term, &|| true), "over, and stopped meanwhile");
    }

    #[test]
    fn who_waits_goes_on_when_it_is_renewed() {
        let lease = Lease::default();
        let term = lease.term();
        lease.renew(Micros(0), Micros(1));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lease.hold(term, &|| false));
            lease.renew(uptime(), Micros(3_600_000_000));
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn what_was_taken_away_is_never_published() {
        let lease = Lease::default();
        let term = lease.term();
        lease.renew(Micros(0), Micros(1));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lease.hold(term, &|| false));
            lease.void();
            lease.renew(uptime(), Micros(3_600_000_000));
            assert!(!waiting.join().unwrap());
        });
        assert!(lease.hold(lease.term(), &|| false));
    }
}
