//! Whether a worker may publish what it makes: for as long as its scheduler certainly has not given its
//! attempts to others.
//!
//! The scheduler counts the lease from when it received a word of the worker's; the worker counts from
//! when it sent it, and ends some time earlier. Both use the clock that goes on while the machine is
//! suspended.

use dagrun_core::ids::Micros;

/// A worker's lease. It begins without an end, for workers that live and die with their line.
#[derive(Debug)]
pub(crate) struct Tenure {
    until: Micros,
    term: Term,
}

/// What began in one term may not be published in another: the scheduler has taken it from the worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Term(u64);

/// Whether something may be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    Granted,
    /// Not before the lease is renewed.
    NotNow,
    /// Never: it was taken away.
    Never,
}

impl Default for Tenure {
    fn default() -> Tenure {
        Tenure { until: Micros(u64::MAX), term: Term::default() }
    }
}

impl Tenure {
    /// The scheduler has answered what was sent at `sent`, so that a lease of this length goes on from
    /// then. Zero: it has no end.
    pub(crate) fn renew(&mut self, sent: Micros, length: Micros) {
        // The margin allows for clocks that differ in speed.
        self.until = match length.0 {
            0 => Micros(u64::MAX),
            length => Micros(sent.0.saturating_add(length - length / 8)),
        };
    }

    /// Another term begins: all that began before is void.
    pub(crate) fn void(&mut self) {
        self.term.0 += 1;
    }

    /// The term in which what begins now belongs.
    pub(crate) fn term(&self) -> Term {
        self.term
    }

    /// Whether what began in `term` may be published now.
    pub(crate) fn permission(&self, term: Term, now: Micros) -> Permission {
        match () {
            () if self.term != term => Permission::Never,
            () if now < self.until => Permission::Granted,
            () => Permission::NotNow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_before_the_scheduler_thinks_so() {
        let mut tenure = Tenure::default();
        let term = tenure.term();
        let at = |tenure: &Tenure, now| tenure.permission(term, Micros(now));
        assert_eq!(at(&tenure, u64::MAX - 1), Permission::Granted, "without an end");
        tenure.renew(Micros(1_000), Micros(8_000));
        assert_eq!(at(&tenure, 7_999), Permission::Granted);
        assert_eq!(at(&tenure, 8_000), Permission::NotNow);
        tenure.renew(Micros(2_000), Micros(8_000));
        assert_eq!(at(&tenure, 8_000), Permission::Granted);
        tenure.void();
        assert_eq!(at(&tenure, 8_000), Permission::Never);
        assert_eq!(tenure.permission(tenure.term(), Micros(8_000)), Permission::Granted);
    }
}
