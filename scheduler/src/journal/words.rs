//! What rows say to people, as far as one row says it alone.

use dagrun_core::engine::{Cause, Reopening};
use dagrun_core::pipeline::Task;
use dagrun_core::status::FailureKind;

/// The exit code in this cause.
pub(crate) fn exit_code(cause: Option<Cause>) -> Option<i32> {
    match cause {
        Some(Cause::Attempt(FailureKind::Exit(code))) => Some(code),
        _ => None,
    }
}

/// Text for a cause that needs no other instance, where the worker gave none; `task` is the task of
/// the instance, if it is known. Skips name their root; [`crate::history`] puts them into words.
pub(crate) fn cause_text(cause: Cause, task: Option<&Task>) -> String {
    match cause {
        Cause::Attempt(FailureKind::Exit(code)) => format!("exit code {code}"),
        Cause::Attempt(FailureKind::Signal(signal)) => format!("killed by signal {signal}"),
        Cause::Attempt(FailureKind::Timeout) => "timed out".into(),
        Cause::Attempt(FailureKind::Lost) => "its worker was lost".into(),
        Cause::Attempt(FailureKind::Start) => "could not be started".into(),
        Cause::Attempt(FailureKind::MissingOutput) => "a declared output is missing".into(),
        Cause::Attempt(FailureKind::Capture) => "its output could not be captured".into(),
        Cause::Attempt(FailureKind::Function) => "its function failed".into(),
        Cause::Attempt(FailureKind::Panic) => "its function panicked".into(),
        Cause::Attempt(FailureKind::Memory) => "ran out of memory".into(),
        Cause::Attempt(FailureKind::Preempted) => "its worker left".into(),
        Cause::Attempt(FailureKind::Unknown) => {
            "its worker was lost before it was known to run".into()
        }
        Cause::Attempt(FailureKind::Cancelled) | Cause::Cancelled => "cancelled".into(),
        Cause::LostTooOften => match task {
            Some(task) if task.conduct.max_lost == 0 => "lost its worker once".into(),
            Some(task) => format!("lost its worker {} times", u64::from(task.conduct.max_lost) + 1),
            None => "lost its worker too often".into(),
        },
        Cause::NotStartedInTime => match task.and_then(|task| task.conduct.start_within) {
            Some(within) => format!("not started within {within}"),
            None => "not started within `start-within`".into(),
        },
        Cause::NotSelected => "it was not selected to run again".into(),
        Cause::Reopened(Reopening::CutOff) => "cut off, as the run was interrupted".into(),
        Cause::Reopened(Reopening::Consequence) => {
            "it had run only because the run was interrupted".into()
        }
        Cause::Reopened(Reopening::Lost) => "its value or an output is no longer there".into(),
        Cause::Reopened(Reopening::Rerun) => "it runs again, as `rerun` says".into(),
        Cause::TakenOver { from } => format!("taken over from run {from}"),
        Cause::After { .. }
        | Cause::Upstream { .. }
        | Cause::Follow { .. }
        | Cause::Scatter { .. } => "its dependencies cannot be met".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named() {
        let mut task = Task::new("a", dagrun_core::pipeline::TaskAction::Shell(String::new()));
        assert_eq!(cause_text(Cause::LostTooOften, Some(&task)), "lost its worker 6 times");
        for (micros, text) in
            [(5_000_000, "5s"), (5_400_000_000, "90m"), (1_500_000, "1.5s"), (7, "7us")]
        {
            task.conduct.start_within = Some(dagrun_core::ids::Micros(micros));
            let expected = format!("not started within {text}");
            assert_eq!(cause_text(Cause::NotStartedInTime, Some(&task)), expected);
        }
    }
}
