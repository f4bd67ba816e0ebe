//! The lease of a worker, on whose renewal the threads of its attempts wait.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dagrun_core::ids::Micros;
use dagrun_disk::clock::uptime;

use crate::core::tenure::{Permission, Tenure, Term};

/// How often an attempt that waits looks whether it was stopped.
const LOOK: Duration = Duration::from_millis(50);

/// A worker's lease.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    tenure: Mutex<Tenure>,
    renewed: Condvar,
}

impl Lease {
    /// The scheduler has answered what was sent at `sent`, so that a lease of this length goes on from
    /// then. Zero: it has no end.
    pub(crate) fn renew(&self, sent: Micros, length: Micros) {
        self.lock().renew(sent, length);
        self.renewed.notify_all();
    }

    /// Another term begins: all that began before is void.
    pub(crate) fn void(&self) {
        self.lock().void();
        self.renewed.notify_all();
    }

    /// The term in which what begins now belongs.
    pub(crate) fn term(&self) -> Term {
        self.lock().term()
    }

    fn lock(&self) -> MutexGuard<'_, Tenure> {
        self.tenure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what began in `term` may be published; returns false when it never may, or `stopped`
    /// says so before.
    pub(crate) fn hold(&self, term: Term, stopped: &dyn Fn() -> bool) -> bool {
        let mut tenure = self.lock();
        loop {
            match tenure.permission(term, uptime()) {
                Permission::Granted => return true,
                Permission::Never => return false,
                Permission::NotNow if stopped() => return false,
                Permission::NotNow => {}
            }
            let waited = self.renewed.wait_timeout(tenure, LOOK);
            tenure = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
