//! References to values, as workers report them: believed only where they can be true.

use std::path::{Component, Path};

use dagrun_core::engine::{Outcome, Report};
use dagrun_core::ids::{AttemptId, WorkerId};
use dagrun_core::layout;
use dagrun_core::payload::{self, Whereabouts};
use dagrun_core::status::{Detail, FailureKind};

use super::SchedulerCore;

impl SchedulerCore {
    /// A referenced value must be kept by the worker that reports it, as the value of that
    /// instance, or be in a file of the run. Any other reference makes the attempt fail.
    pub(super) fn check_references(&mut self, worker: WorkerId, reports: &mut [Report]) {
        for report in reports.iter_mut().filter(|report| report.outcome == Outcome::Succeeded) {
            let value = report.detail.as_deref().and_then(|detail| detail.value.as_deref());
            // Malformed bytes that begin like a payload would otherwise be passed on.
            let problem = match value.map(payload::kind) {
                None => None,
                Some(Err(_)) => Some("its value is malformed"),
                Some(Ok(payload::Kind::Stored(stored))) => {
                    let good = self.may_be_at(worker, report.first, &stored.place);
                    self.values_kept |= good && matches!(stored.place, Whereabouts::Worker(..));
                    (!good).then_some("its value is not where its worker may keep it")
                }
                Some(Ok(_)) => None,
            };
            if let Some(problem) = problem {
                let reason = problem.to_owned();
                report.outcome = Outcome::Failed(FailureKind::Capture);
                report.detail = Some(Box::new(Detail { reason, ..Detail::default() }));
            }
        }
    }

    fn may_be_at(&self, worker: WorkerId, attempt: AttemptId, place: &Whereabouts) -> bool {
        let Some((run, instance)) = self.engine.instance_of(worker, attempt) else {
            return true; // The machine ignores it.
        };
        match place {
            Whereabouts::Worker(holder, of) => (*holder, *of) == (worker, instance),
            Whereabouts::File(path) => {
                // It need not be live yet: attempts of it may be about to be adopted.
                is_value_file(path, &layout::run_dir(&self.state_dir, run))
            }
        }
    }
}

/// Whether this is a file in which values of a run are kept.
fn is_value_file(path: &Path, run_dir: &Path) -> bool {
    let Ok(below) = path.strip_prefix(layout::values(run_dir)) else { return false };
    let mut components = below.components();
    matches!(components.next(), Some(Component::Normal(_))) && components.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_files_of_their_run_only() {
        let good = |path: &str| is_value_file(Path::new(path), Path::new("/state/runs/4"));
        assert!(good("/state/runs/4/values/a-0.json"));
        for bad in [
            "/state/runs/4/values",
            "/state/runs/4/values/",
            "/state/runs/4/values/..",
            "/state/runs/4/values/../logs/a",
            "/state/runs/4/values/a/b",
            "/state/runs/4/../5/values/a-0.json",
            "/state/runs/5/values/a-0.json",
            "/state/runs/4/logs/a-0.json",
            "values/a-0.json",
            "/etc/passwd",
            "",
        ] {
            assert!(!good(bad), "{bad}");
        }
    }
}
