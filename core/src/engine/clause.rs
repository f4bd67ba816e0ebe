//! Clauses: conditions that hold for all instances of a task alike.

use crate::pipeline::{Outcomes, Quantifier};

/// The state of a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClauseRun {
    /// Upstream instances that are not terminal, and one for each upstream of unknown width.
    pub(super) pending: u64,
    /// Upstream instances in all, as far as they are known.
    pub(super) total: u64,
    pub(super) verdict: Verdict,
}

/// The verdict on a clause or a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not known yet.
    Open,
    /// It holds.
    Met,
    /// It can never hold.
    Dead,
}

impl ClauseRun {
    /// Decides an open clause when nothing is pending: an empty set is met; otherwise no outcome
    /// decided it, so all of `all` were hits and none of `any` was.
    pub(super) fn settle(&mut self, quantifier: Quantifier) {
        if self.pending == 0 && self.verdict == Verdict::Open {
            self.verdict = match quantifier {
                Quantifier::Any if self.total > 0 => Verdict::Dead,
                Quantifier::All | Quantifier::Any => Verdict::Met,
            };
        }
    }
}

/// Whether an outcome is one that the clause counts.
pub(super) fn counts(on: Outcomes, success: bool) -> bool {
    match on {
        Outcomes::Success => success,
        Outcomes::Failure => !success,
        Outcomes::Finish => true,
    }
}

/// The verdict on a clause that was open, when `pending` upstreams are left and the latest is a hit
/// or not.
pub(super) fn verdict(quantifier: Quantifier, pending: u64, hit: bool) -> Verdict {
    match (quantifier, hit, pending) {
        (Quantifier::All, false, _) | (Quantifier::Any, false, 0) => Verdict::Dead,
        (Quantifier::Any, true, _) | (Quantifier::All, true, 0) => Verdict::Met,
        (Quantifier::All, true, _) | (Quantifier::Any, false, _) => Verdict::Open,
    }
}
