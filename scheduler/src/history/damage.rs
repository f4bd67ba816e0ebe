//! Rows that no scheduler has written, as after damage to the file. The state machine trusts what is read of a
//! run that it goes on with or takes over: neither may be read from such rows.

use dagrun_core::engine::{Indices, Restore, Row as Line};
use dagrun_core::ids::{RunId, TaskId};
use dagrun_core::pipeline::Pipeline;

use super::HistoryError;

/// Places in the journal, and numbers of attempts, are not counted up to these in the time that there is.
const LAST_PLACE: i64 = i64::MAX / 2;
const LAST_ATTEMPT: u32 = u32::MAX / 2;

/// What is wrong with the rows of a task, or with those of the run.
pub(super) type Damage = &'static str;

/// The error that says so.
pub(super) fn error(
    run: RunId,
    pipeline: &Pipeline,
    task: Option<TaskId>,
    what: Damage,
) -> HistoryError {
    let task = task.and_then(|task| pipeline.tasks.get(task.at()));
    let of = task.map(|task| format!("task {}: ", task.name)).unwrap_or_default();
    HistoryError::Rows(run, format!("{of}{what}"))
}

/// What is wrong with a place in the journal.
pub(super) fn of_place(seq: i64) -> Option<Damage> {
    (!(0..=LAST_PLACE).contains(&seq))
        .then_some("a row is at a place that the journal does not have")
}

/// What is wrong with the instances of a row about their end, of a task with so many.
pub(super) fn of_end(first: u32, count: u32, width: u32) -> Option<Damage> {
    let fits = count > 0 && first.checked_add(count).is_some_and(|end| end <= width);
    (!fits).then_some("a row is about instances that are not there")
}

/// What is wrong with a row of a task with so many instances.
pub(super) fn of_line(line: &Line, width: u32) -> Option<Damage> {
    // Attempts of instances that were there before the width became known anew are still recorded.
    let width = if line.state.is_terminal() { width } else { u32::MAX };
    of_end(line.first_index, line.count, width)
        .or_else(|| of_place(line.seq))
        .or_else(|| (line.attempt > LAST_ATTEMPT).then_some("an attempt has no possible number"))
}

/// What is wrong with the ends of a task whose rows have all been folded.
pub(super) fn of_ends(restore: &Restore<'_>, task: TaskId) -> Option<Damage> {
    restore.overlaps(task).then_some(TWICE)
}

/// What is wrong with the instances of rows about their end, which are sorted.
pub(super) fn of_indices(had: &Indices) -> Option<Damage> {
    had.windows(2).any(|pair| pair[0].end > pair[1].start).then_some(TWICE)
}

const TWICE: Damage = "an instance has ended twice";

#[cfg(test)]
mod tests {
    use dagrun_core::ids::Timestamp;
    use dagrun_core::status::State;

    use super::*;

    #[test]
    fn rows_that_no_scheduler_writes_are_seen() {
        let line = |first_index, count, seq, state, attempt| {
            let (worker, finished, cause) = (None, Timestamp(0), None);
            let line = Line { first_index, count, seq, state, attempt, worker, finished, cause };
            of_line(&line, 10)
        };
        use State::{Failed, Ready, Succeeded};
        let good = [
            line(9, 1, 1, Succeeded, 1),
            line(0, 10, 7, Failed, 0),
            // What it is about was there once.
            line(10, 1, 1, Ready, 1),
        ];
        assert_eq!(good, [None; 3]);
        let bad = [
            line(10, 1, 1, Succeeded, 1),
            line(9, 2, 1, Failed, 1),
            line(3, 0, 1, Succeeded, 1),
            line(u32::MAX, 1, 1, Ready, 1),
            line(1, u32::MAX, 1, Ready, 1),
            line(1, 1, i64::MAX, Ready, 1),
            line(1, 1, -1, Ready, 1),
            line(1, 1, 1, Ready, u32::MAX),
        ];
        assert!(bad.iter().all(Option::is_some), "{bad:?}");
        assert_eq!(of_indices(&vec![0..3, 3..5, 9..10]), None);
        assert_eq!(of_indices(&vec![0..3, 2..5]), Some(TWICE));
    }
}
