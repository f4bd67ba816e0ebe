//! Gathers with groups or a tolerance: counters per instance of the gathering task.

use super::clause::Verdict;
use super::plan::GatherPlan;
use crate::ids::TaskId;
use crate::pipeline::MinSuccess;

/// The upstream instances that one instance gathers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupRun {
    /// Instances that are not terminal.
    pub(super) pending: u64,
    /// Upstream tasks of unknown width.
    pub(super) unknown: u32,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) verdict: Verdict,
}

impl GroupRun {
    /// The groups of a gather before anything has happened.
    pub(super) fn all(
        width: u32,
        plan: &GatherPlan,
        width_of: impl Fn(TaskId) -> Option<u32>,
    ) -> Vec<GroupRun> {
        let empty =
            GroupRun { pending: 0, unknown: 0, succeeded: 0, failed: 0, verdict: Verdict::Open };
        let mut groups = vec![empty; width as usize];
        match &plan.groups {
            Some(of) => of.iter().for_each(|group| {
                if let Some(group) = groups.get_mut(*group as usize) {
                    group.pending += 1;
                }
            }),
            None => {
                for width in plan.upstreams.iter().map(|task| width_of(*task)) {
                    groups[0].pending += u64::from(width.unwrap_or(0));
                    groups[0].unknown += u32::from(width.is_none());
                }
            }
        }
        groups
    }

    /// Decides an open group as soon as its verdict is known. Returns the verdict when this decided
    /// it.
    pub(super) fn judge(&mut self, min_success: Option<MinSuccess>) -> Option<Verdict> {
        if self.verdict != Verdict::Open {
            return None;
        }
        let total = self.pending + self.succeeded + self.failed;
        let needed = match min_success {
            Some(min) if self.unknown == 0 => min.of(total),
            // How many are needed depends on how many there will be.
            Some(_) => 0,
            None => total,
        };
        self.verdict = if total - self.failed < needed {
            Verdict::Dead
        } else if self.pending == 0 && self.unknown == 0 {
            Verdict::Met
        } else {
            Verdict::Open
        };
        (self.verdict != Verdict::Open).then_some(self.verdict)
    }
}
