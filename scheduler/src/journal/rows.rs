//! Records as columns: numbers for causes, bytes for outputs. Words for people are in
//! [`super::words`].

use dagrun_core::engine::{CancelScope, Cause, FollowProblem, Reopening};
use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::output::Stamp;
use dagrun_core::pipeline::MaxFail;
use dagrun_core::status::FailureKind;

const AFTER: i64 = 20;
const UPSTREAM: i64 = 21;
const CANCELLED: i64 = 22;
const LOST_TOO_OFTEN: i64 = 23;
const NOT_STARTED: i64 = 24;
const FOLLOW: i64 = 25;
const SCATTER: i64 = 26;
pub(crate) const TAKEN_OVER: i64 = 27;
const NOT_SELECTED: i64 = 28;
pub(crate) const REOPENED: i64 = 29;

/// Consecutive instances that a run takes over from an earlier one, all in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TakenSpan {
    pub(crate) task: TaskId,
    pub(crate) first: u32,
    pub(crate) count: u32,
    /// The first of them in the earlier run; the others follow it there too.
    pub(crate) then: InstanceId,
    /// The run in which they ran, which may be an earlier one still.
    pub(crate) origin: RunId,
    /// Whether they have values or outputs to be copied.
    pub(crate) payload: bool,
    /// The row of the worker where they ran, if other tasks follow them.
    pub(crate) worker: Option<i64>,
}

impl TakenSpan {
    /// Those of them from one index to before another.
    pub(crate) fn part(self, first: u32, end: u32) -> TakenSpan {
        let then = InstanceId { index: self.then.index + (first - self.first), ..self.then };
        TakenSpan { first, count: end - first, then, ..self }
    }
}

/// What happened to a run as a whole, between the records of its instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// It is being interrupted.
    Interrupted,
    /// A user cancelled it, or a part of it.
    Cancelled(CancelScope),
    /// It was resumed, after its scheduler had ended it or had been killed.
    Resumed {
        /// Whether the scheduler had been killed.
        crashed: bool,
    },
}

impl Note {
    /// It as columns: `kind`, `task`, `first_index`.
    pub(crate) fn columns(self) -> (i64, Option<u32>, Option<u32>) {
        match self {
            Note::Interrupted | Note::Cancelled(CancelScope::Interruption) => (1, None, None),
            Note::Resumed { crashed: false } => (2, None, None),
            Note::Resumed { crashed: true } => (3, None, None),
            Note::Cancelled(CancelScope::Run) => (4, None, None),
            Note::Cancelled(CancelScope::Task(task)) => (4, Some(task.0), None),
            Note::Cancelled(CancelScope::Instance(InstanceId { task, index })) => {
                (4, Some(task.0), Some(index))
            }
        }
    }

    /// What [`Note::columns`] has written; `None` for what this version does not know.
    pub(crate) fn read(columns: (i64, Option<u32>, Option<u32>)) -> Option<Note> {
        Some(match columns {
            (1, ..) => Note::Interrupted,
            (2, ..) => Note::Resumed { crashed: false },
            (3, ..) => Note::Resumed { crashed: true },
            (4, None, _) => Note::Cancelled(CancelScope::Run),
            (4, Some(task), None) => Note::Cancelled(CancelScope::Task(TaskId(task))),
            (4, Some(task), Some(index)) => {
                Note::Cancelled(CancelScope::Instance(InstanceId { task: TaskId(task), index }))
            }
            _ => return None,
        })
    }
}

/// How many failures a run bears, as the column `fail_fast`: 0 is any number of them, 1 none at all;
/// from 2 on it is that number and 2, below 0 a part in 1/10,000, less 1 and negative.
pub(crate) fn tolerance(fail_fast: bool, max_fail: Option<MaxFail>) -> i64 {
    match (fail_fast, max_fail) {
        (true, _) => 1,
        (false, None) => 0,
        (false, Some(MaxFail::Count(count))) => i64::from(count) + 2,
        (false, Some(MaxFail::Part(part))) => -1 - i64::from(part),
    }
}

/// What [`tolerance`] has written.
pub(crate) fn read_tolerance(column: i64) -> (bool, Option<MaxFail>) {
    let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    match column {
        0 => (false, None),
        1 => (true, None),
        2.. => (false, Some(MaxFail::Count(number(column - 2)))),
        ..0 => (false, Some(MaxFail::Part(number(-1 - column)))),
    }
}

/// A cause as columns: `cause`, `code`, `root_task`, `root_index`.
pub(crate) type CauseColumns = (Option<i64>, Option<i64>, Option<i64>, Option<i64>);

pub(crate) fn encode_cause(cause: Option<Cause>) -> CauseColumns {
    let root_of = |root: InstanceId| (Some(i64::from(root.task.0)), Some(i64::from(root.index)));
    match cause {
        None => (None, None, None, None),
        Some(Cause::Attempt(kind)) => {
            let (number, code) = encode_failure(kind);
            (Some(number), code, None, None)
        }
        Some(Cause::After { clause, root }) => {
            let (task, index) = root_of(root);
            (Some(AFTER), Some(i64::from(clause)), task, index)
        }
        Some(Cause::Upstream { root }) => {
            let (task, index) = root_of(root);
            (Some(UPSTREAM), None, task, index)
        }
        Some(Cause::Cancelled) => (Some(CANCELLED), None, None, None),
        Some(Cause::LostTooOften) => (Some(LOST_TOO_OFTEN), None, None, None),
        Some(Cause::NotStartedInTime) => (Some(NOT_STARTED), None, None, None),
        Some(Cause::NotSelected) => (Some(NOT_SELECTED), None, None, None),
        Some(Cause::Reopened(why)) => (Some(REOPENED), Some(reopening_code(why)), None, None),
        Some(Cause::TakenOver { from }) => {
            (Some(TAKEN_OVER), Some(from.0.cast_signed()), None, None)
        }
        Some(Cause::Follow { clause, root, why }) => {
            let (task, index) = root_of(root);
            let why = match why {
                FollowProblem::Outcome => 0,
                FollowProblem::SeveralWorkers => 1,
                FollowProblem::NeverRan => 2,
                FollowProblem::WorkerLost => 3,
            };
            (Some(FOLLOW), Some(i64::from(clause) * 4 + why), task, index)
        }
        Some(Cause::Scatter { root, items }) => {
            let (task, index) = root_of(root);
            (Some(SCATTER), items.and_then(|items| i64::try_from(items).ok()), task, index)
        }
    }
}

/// The cause of these columns; `None` also for numbers that this version does not know.
pub(crate) fn decode_cause((cause, code, root_task, root_index): CauseColumns) -> Option<Cause> {
    let root = || {
        Some(InstanceId {
            task: TaskId(u32::try_from(root_task?).ok()?),
            index: u32::try_from(root_index?).ok()?,
        })
    };
    Some(match cause? {
        AFTER => Cause::After { clause: u32::try_from(code?).ok()?, root: root()? },
        UPSTREAM => Cause::Upstream { root: root()? },
        CANCELLED => Cause::Cancelled,
        LOST_TOO_OFTEN => Cause::LostTooOften,
        NOT_STARTED => Cause::NotStartedInTime,
        NOT_SELECTED => Cause::NotSelected,
        REOPENED => Cause::Reopened(
            Reopening::ALL.into_iter().find(|why| Some(reopening_code(*why)) == code)?,
        ),
        TAKEN_OVER => Cause::TakenOver { from: RunId(code?.cast_unsigned()) },
        FOLLOW => Cause::Follow {
            clause: u32::try_from(code? / 4).ok()?,
            root: root()?,
            why: match code? % 4 {
                0 => FollowProblem::Outcome,
                1 => FollowProblem::SeveralWorkers,
                2 => FollowProblem::NeverRan,
                _ => FollowProblem::WorkerLost,
            },
        },
        SCATTER => {
            Cause::Scatter { root: root()?, items: code.map(u64::try_from).transpose().ok()? }
        }
        number => Cause::Attempt(decode_failure(number, code)?),
    })
}

/// Why an instance is open again, as a number.
pub(crate) fn reopening_code(why: Reopening) -> i64 {
    match why {
        Reopening::CutOff => 0,
        Reopening::Consequence => 1,
        Reopening::Lost => 2,
        Reopening::Rerun => 3,
    }
}

fn encode_failure(kind: FailureKind) -> (i64, Option<i64>) {
    match kind {
        FailureKind::Exit(code) => (1, Some(code.into())),
        FailureKind::Signal(signal) => (2, Some(signal.into())),
        FailureKind::Timeout => (3, None),
        FailureKind::Lost => (4, None),
        FailureKind::Start => (5, None),
        FailureKind::MissingOutput => (6, None),
        FailureKind::Capture => (7, None),
        FailureKind::Cancelled => (8, None),
        FailureKind::Function => (9, None),
        FailureKind::Panic => (10, None),
        FailureKind::Preempted => (11, None),
        FailureKind::Unknown => (12, None),
        FailureKind::Memory => (13, None),
    }
}

fn decode_failure(number: i64, code: Option<i64>) -> Option<FailureKind> {
    let code = code.map(i32::try_from).transpose().ok()?;
    Some(match number {
        1 => FailureKind::Exit(code?),
        2 => FailureKind::Signal(code?),
        3 => FailureKind::Timeout,
        4 => FailureKind::Lost,
        5 => FailureKind::Start,
        6 => FailureKind::MissingOutput,
        7 => FailureKind::Capture,
        8 => FailureKind::Cancelled,
        9 => FailureKind::Function,
        10 => FailureKind::Panic,
        11 => FailureKind::Preempted,
        12 => FailureKind::Unknown,
        13 => FailureKind::Memory,
        _ => return None,
    })
}

/// A length that no path has: what follows are stamps. Readers that know of paths only stop here.
const STAMPS: [u8; 4] = u32::MAX.to_le_bytes();
const UNKNOWN: u8 = 0;
const DIRECTORY: u8 = 1;
const FILE: u8 = 2;
const TREE: u8 = 3;

/// Paths and stamps as one value: each path is preceded by its length; each stamp begins with its kind.
pub(crate) fn encode_outputs(outputs: &[Vec<u8>], stamps: &[Option<Stamp>]) -> Option<Vec<u8>> {
    if outputs.is_empty() && stamps.is_empty() {
        return None;
    }
    let paths: usize = outputs.iter().map(|output| output.len() + 4).sum();
    let mut bytes = Vec::with_capacity(paths + 4 + 25 * stamps.len());
    for output in outputs {
        bytes.extend_from_slice(&u32::try_from(output.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(output);
    }
    if !stamps.is_empty() {
        bytes.extend_from_slice(&STAMPS);
    }
    for stamp in stamps {
        match stamp {
            None => bytes.push(UNKNOWN),
            Some(Stamp::Directory) => bytes.push(DIRECTORY),
            Some(Stamp::File { bytes: size, modified }) => {
                bytes.push(FILE);
                bytes.extend_from_slice(&size.to_le_bytes());
                bytes.extend_from_slice(&modified.to_le_bytes());
            }
            Some(Stamp::Tree { entries, bytes: size, modified }) => {
                bytes.push(TREE);
                bytes.extend_from_slice(&entries.to_le_bytes());
                bytes.extend_from_slice(&size.to_le_bytes());
                bytes.extend_from_slice(&modified.to_le_bytes());
            }
        }
    }
    Some(bytes)
}

/// The paths of [`encode_outputs`]; stops at malformed bytes.
pub(crate) fn decode_outputs(bytes: &[u8]) -> Vec<Vec<u8>> {
    paths_and_rest(bytes).0
}

/// The stamps of [`encode_outputs`]: empty when there are none; stops at malformed bytes.
pub(crate) fn decode_stamps(bytes: &[u8]) -> Vec<Option<Stamp>> {
    let mut stamps = Vec::new();
    let Some(mut rest) = paths_and_rest(bytes).1.strip_prefix(&STAMPS) else { return stamps };
    while let Some((kind, after)) = rest.split_first() {
        let (stamp, after) = match *kind {
            UNKNOWN => (None, after),
            DIRECTORY => (Some(Stamp::Directory), after),
            FILE => {
                let Some((bytes, after)) = after.split_first_chunk::<8>() else { break };
                let Some((modified, after)) = after.split_first_chunk::<8>() else { break };
                let bytes = u64::from_le_bytes(*bytes);
                let modified = i64::from_le_bytes(*modified);
                (Some(Stamp::File { bytes, modified }), after)
            }
            TREE => {
                let Some((entries, after)) = after.split_first_chunk::<8>() else { break };
                let Some((bytes, after)) = after.split_first_chunk::<8>() else { break };
                let Some((modified, after)) = after.split_first_chunk::<8>() else { break };
                let entries = u64::from_le_bytes(*entries);
                let bytes = u64::from_le_bytes(*bytes);
                let modified = i64::from_le_bytes(*modified);
                (Some(Stamp::Tree { entries, bytes, modified }), after)
            }
            _ => break,
        };
        stamps.push(stamp);
        rest = after;
    }
    stamps
}

fn paths_and_rest(mut bytes: &[u8]) -> (Vec<Vec<u8>>, &[u8]) {
    let mut outputs = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((output, rest)) = rest.split_at_checked(length) else { break };
        outputs.push(output.to_vec());
        bytes = rest;
    }
    (outputs, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_of_failures_are_read_as_they_were_written() {
        let counts = [0, 1, u32::MAX].map(|count| (false, Some(MaxFail::Count(count))));
        let parts = [0, 100, 10_000].map(|part| (false, Some(MaxFail::Part(part))));
        for (fast, most) in [(false, None), (true, None)].into_iter().chain(counts).chain(parts) {
            assert_eq!(read_tolerance(tolerance(fast, most)), (fast, most));
        }
    }

    #[test]
    fn notes_are_read_as_they_were_written() {
        let instance = InstanceId { task: TaskId(2), index: 7 };
        let scopes =
            [CancelScope::Run, CancelScope::Task(TaskId(3)), CancelScope::Instance(instance)];
        let notes =
            [Note::Interrupted, Note::Resumed { crashed: false }, Note::Resumed { crashed: true }];
        for note in notes.into_iter().chain(scopes.map(Note::Cancelled)) {
            assert_eq!(Note::read(note.columns()), Some(note));
        }
        assert_eq!(Note::read((99, None, None)), None);
    }

    #[test]
    fn every_cause_survives_the_columns() {
        let root = InstanceId { task: TaskId(3), index: 17 };
        let kinds = [
            FailureKind::Exit(-1),
            FailureKind::Signal(9),
            FailureKind::Timeout,
            FailureKind::Lost,
            FailureKind::Start,
            FailureKind::MissingOutput,
            FailureKind::Capture,
            FailureKind::Cancelled,
            FailureKind::Function,
            FailureKind::Panic,
            FailureKind::Preempted,
            FailureKind::Unknown,
            FailureKind::Memory,
        ];
        let causes = kinds.map(Cause::Attempt).into_iter().chain([
            Cause::After { clause: 2, root },
            Cause::Upstream { root },
            Cause::Cancelled,
            Cause::LostTooOften,
            Cause::NotStartedInTime,
            Cause::NotSelected,
            Cause::TakenOver { from: RunId(7) },
            Cause::Follow { clause: 3, root, why: FollowProblem::NeverRan },
            Cause::Follow { clause: 0, root, why: FollowProblem::WorkerLost },
            Cause::Scatter { root, items: None },
            Cause::Scatter { root, items: Some(12) },
        ]);
        for cause in causes.chain(Reopening::ALL.map(Cause::Reopened)) {
            assert_eq!(decode_cause(encode_cause(Some(cause))), Some(cause));
        }
        assert_eq!(decode_cause(encode_cause(None)), None);
        assert_eq!(decode_cause((Some(99), None, None, None)), None);
    }

    #[test]
    fn outputs_are_bytes_and_may_be_empty() {
        let outputs = vec![b"a/b".to_vec(), vec![], vec![0xff, b'\n']];
        let file = Stamp::File { bytes: u64::MAX, modified: -1 };
        let tree = Stamp::Tree { entries: 3, bytes: 1 << 40, modified: 7 };
        let stamps = vec![Some(file), None, Some(Stamp::Directory), Some(tree)];
        for outputs in [&outputs[..], &[]] {
            for stamps in [&stamps[..], &[]] {
                let Some(bytes) = encode_outputs(outputs, stamps) else { continue };
                assert_eq!(decode_outputs(&bytes), outputs);
                assert_eq!(decode_stamps(&bytes), stamps);
            }
        }
        assert_eq!(encode_outputs(&[], &[]), None);
        assert_eq!(decode_outputs(&[9, 0, 0, 0, 1]), Vec::<Vec<u8>>::new());
        let bytes = encode_outputs(&outputs, &stamps).unwrap();
        for end in 0..bytes.len() {
            assert!(decode_outputs(&bytes[..end]).len() <= outputs.len());
            assert!(decode_stamps(&bytes[..end]).len() <= stamps.len());
        }
    }
}
