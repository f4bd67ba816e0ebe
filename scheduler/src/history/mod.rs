//! The reading side of a state directory: which runs there were, how they went, and why.
//!
//! A [`History`] is opened read-only, by the scheduler and by programs without access to one. It
//! shows what has been committed; only a scheduler knows what is running at present.

mod command;
mod damage;
mod explain;
mod last;
mod list;
mod logs;
mod past;
mod reason;
mod results;
mod resumed;
mod scan;
mod succeeded;
mod times;
mod value;

#[cfg(test)]
mod past_tests;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use dagrun_core::engine::Cause;
use dagrun_core::ids::{InstanceId, RunId, TaskId, Timestamp};
use dagrun_core::layout;
use dagrun_core::status::{Counts, Failure, InstanceRow, RunState, RunStatus, State, TaskStatus};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

pub(crate) use self::explain::Situation;
pub(crate) use self::logs::resolve;
pub(crate) use self::past::{Retry, Taken};
use self::reason::Reasons;
pub(crate) use self::resumed::Restored;
pub use self::scan::{Scanned, Wanted};
use crate::journal::StoreError;
use crate::journal::lock::{self, Owner};
use crate::journal::read;
use crate::journal::rows::read_tolerance;
use crate::journal::schema::{Reader, open_reader};
use crate::journal::words::exit_code;
use dagrun_schema::wire::{InstancePage, Submission};

/// Instances that are read from the journal at once.
const WINDOW: u32 = 4_096;

/// The first instance of every run.
const FIRST: InstanceId = InstanceId { task: TaskId(0), index: 0 };

/// Why the history could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// There is no database in the directory.
    #[error("no runs are recorded in {}", .0.display())]
    Missing(PathBuf),
    /// The database could not be opened.
    #[error(transparent)]
    Open(#[from] StoreError),
    /// The database could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The database.
        path: PathBuf,
        /// The error of SQLite.
        source: rusqlite::Error,
    },
    /// The rows of the run are none that a scheduler has written.
    #[error("the journal of run {0} is damaged: {1}")]
    Rows(RunId, String),
    /// There is no such run.
    #[error("there is no run {0}")]
    UnknownRun(RunId),
    /// The run has not ended, so it cannot be retried.
    #[error("run {run} has not ended: only a run that has can be {wish}")]
    NotEnded {
        /// The run.
        run: RunId,
        /// What was to be done with it.
        wish: &'static str,
    },
    /// The run has ended, so it cannot be gone on with.
    #[error("run {run} has ended: {}", state.word())]
    Ended {
        /// The run.
        run: RunId,
        /// How.
        state: RunState,
    },
    /// A process runs the run, so that no other can go on with it.
    #[error("run {run} is running: {}", who(owner.as_ref()))]
    Running {
        /// The run.
        run: RunId,
        /// The process, if it says who it is.
        owner: Option<Owner>,
    },
    /// The run can be gone on with, so it is not forgotten.
    #[error("run {0} was interrupted: only a run that has ended can be forgotten; cancel it first")]
    Interrupted(RunId),
    /// What attempts of the run wrote has been removed.
    #[error("the logs of run {run} have been removed: {} is not there", dir.display())]
    LogsRemoved {
        /// The run.
        run: RunId,
        /// Where they were.
        dir: PathBuf,
    },
    /// The pipeline of the run is not one that this version can run.
    #[error("run {run} cannot be submitted again")]
    Submission {
        /// The run.
        run: RunId,
        /// What is wrong with it.
        source: crate::SubmissionError,
    },
    /// The run has no such task.
    #[error("run {run} has no task {task}")]
    UnknownTask {
        /// The run.
        run: RunId,
        /// The task, by name or position.
        task: String,
    },
    /// The task has no such instance.
    #[error("{task} has no instance {index}: {}", range(*width))]
    UnknownInstance {
        /// The task's name.
        task: String,
        /// The index.
        index: u32,
        /// The task's number of instances.
        width: u32,
    },
    /// A file of the run, or the directory of its logs, could not be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A place in the logs that no page of them has named.
    #[error("the logs: invalid cursor")]
    Cursor,
    /// The command of an instance cannot be made.
    #[error("the command of {instance} cannot be made: {why}")]
    NoCommand {
        /// The instance.
        instance: String,
        /// Why not.
        why: String,
    },
    /// The instance has no value.
    #[error("{instance} has no value: {why}")]
    NoValue {
        /// The instance.
        instance: String,
        /// Why not.
        why: &'static str,
    },
}

/// Some instances of a task by index, and the index at which the task continues, if it does.
type Entries = (Vec<(u32, read::Newest)>, Option<u32>);

/// A state directory, opened for reading.
#[derive(Debug)]
pub struct History {
    database: Connection,
    is_copy: bool,
    /// Absolute, if the system can make it so.
    state_dir: PathBuf,
    reasons: RefCell<Option<Reasons>>,
}

impl History {
    /// Opens the history of a state directory.
    ///
    /// # Errors
    /// When there is no history, or it cannot be read.
    pub fn open(state_dir: &Path) -> Result<History, HistoryError> {
        let Reader { database, is_copy } =
            open_reader(state_dir)?.ok_or_else(|| HistoryError::Missing(state_dir.to_owned()))?;
        let state_dir = std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_owned());
        Ok(History { database, is_copy, state_dir, reasons: RefCell::new(None) })
    }

    /// The history in a database that is open already.
    #[cfg(feature = "simulation")]
    pub(crate) fn over(database: Connection) -> History {
        let (state_dir, reasons) = (PathBuf::new(), RefCell::new(None));
        History { database, is_copy: false, state_dir, reasons }
    }

    /// The database, when nothing is read from it any more.
    #[cfg(feature = "simulation")]
    pub(crate) fn into_database(self) -> Connection {
        self.database
    }

    /// Whether it was copied, as it cannot be read in place: what is recorded later is not in it.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.is_copy
    }

    fn read<T>(&self, result: rusqlite::Result<T>) -> Result<T, HistoryError> {
        result.map_err(|source| {
            let path = layout::database(&self.state_dir);
            match StoreError::reading(&path, source) {
                StoreError::Open { path, source } => HistoryError::Read { path, source },
                damaged => HistoryError::Open(damaged),
            }
        })
    }

    /// The process that ran, or runs, a run's scheduler.
    ///
    /// # Errors
    /// When there is no such run or the database cannot be read.
    pub fn owner(&self, run: RunId) -> Result<u32, HistoryError> {
        let sql = "SELECT owner FROM runs WHERE run = ?1";
        self.run_row(run, sql, |row| row.get(0))
    }

    /// The submission of a run.
    ///
    /// # Errors
    /// When there is no such run or the database cannot be read.
    pub fn submission(&self, run: RunId) -> Result<Submission, HistoryError> {
        let sql = "SELECT pipeline, base_dir, seed, fail_fast FROM runs WHERE run = ?1";
        self.run_row(run, sql, |row| {
            let (fail_fast, max_fail) = read_tolerance(row.get(3)?);
            Ok(Submission {
                pipeline: row.get(0)?,
                base_dir: PathBuf::from(OsString::from_vec(row.get(1)?)),
                seed: row.get::<_, i64>(2)?.cast_unsigned(),
                fail_fast,
                max_fail,
            })
        })
    }

    fn run_row<T>(
        &self,
        run: RunId,
        sql: &str,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, HistoryError> {
        let found = self
            .database
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([run.0.cast_signed()], read).optional());
        self.read(found)?.ok_or(HistoryError::UnknownRun(run))
    }

    /// A run by task. Instances of an unfinished run that have no terminal state in the journal are
    /// counted as blocked.
    ///
    /// # Errors
    /// When there is no such run or the database cannot be read.
    pub fn status(&self, run: RunId) -> Result<RunStatus, HistoryError> {
        let mut status = self.whole_status(run)?;
        if status.state == RunState::Running && !self.is_run(run)? {
            // It may have ended between the two looks.
            status = self.whole_status(run)?;
            if status.state == RunState::Running {
                status.state = RunState::Interrupted;
            }
        }
        status.tasks = self.read(self.final_tasks(run))?;
        if status.finished.is_none() {
            for (task, counts) in self.read(self.counts_so_far(run))? {
                if let Some(status) = status.tasks.get_mut(task.at()) {
                    let width = status.counts.total();
                    status.counts = counts;
                    status.counts.0[State::Blocked as usize] =
                        width.saturating_sub(counts.terminal());
                }
            }
        }
        Ok(status)
    }

    /// Fails unless a run was interrupted; for the process that has its lock, unless it has ended.
    pub(crate) fn check_interrupted(&self, run: RunId) -> Result<(), HistoryError> {
        let status = self.whole_status(run)?;
        match status.state {
            RunState::Running | RunState::Interrupted => Ok(()),
            state => Err(HistoryError::Ended { run, state }),
        }
    }

    /// Whether some process runs a run that has not ended.
    fn is_run(&self, run: RunId) -> Result<bool, HistoryError> {
        Ok(lock::is_held(&self.state_dir, run, self.owner(run)?))
    }

    /// The process that runs a run, as its lock says; `None` when no process does.
    #[must_use]
    pub fn owner_of(&self, run: RunId) -> Option<Owner> {
        let pid = self.owner(run).ok()?;
        let held = lock::is_held(&self.state_dir, run, pid);
        held.then(|| lock::owner(&self.state_dir, run)).flatten()
    }

    /// A run as the journal has it, without its tasks.
    fn whole_status(&self, run: RunId) -> Result<RunStatus, HistoryError> {
        let sql = "SELECT name, state, started, finished FROM runs WHERE run = ?1";
        self.run_row(run, sql, |row| {
            Ok(RunStatus {
                run,
                name: row.get(0)?,
                state: RunState::from_u8(row.get(1)?).unwrap_or(RunState::Running),
                started: time(row.get(2)?),
                finished: row.get::<_, Option<i64>>(3)?.map(time),
                tasks: Vec::new(),
                waiting: String::new(),
            })
        })
    }

    /// The tasks with the counts that were written at the end of the run.
    fn final_tasks(&self, run: RunId) -> rusqlite::Result<Vec<TaskStatus>> {
        let mut statement = self.database.prepare_cached(
            "SELECT name, width, succeeded, failed, skipped, cancelled, known FROM tasks
             WHERE run = ?1 ORDER BY task",
        )?;
        let tasks = statement.query_map([run.0.cast_signed()], |row| {
            let mut counts = Counts::default();
            for (column, slot) in (2..).zip(&mut counts.0[State::Succeeded as usize..]) {
                *slot = row.get::<_, Option<u32>>(column)?.unwrap_or(0);
            }
            let width: u32 = row.get(1)?;
            counts.0[State::Blocked as usize] = width.saturating_sub(counts.terminal());
            Ok(TaskStatus {
                name: row.get(0)?,
                counts,
                running: 0,
                width_known: row.get(6)?,
                partial: 0,
                note: String::new(),
            })
        })?;
        tasks.collect()
    }

    /// The terminal states in the journal: each instance reaches exactly one.
    fn counts_so_far(&self, run: RunId) -> rusqlite::Result<Vec<(TaskId, Counts)>> {
        let mut statement = self.database.prepare_cached(
            "SELECT task, state, sum(count) FROM events WHERE run = ?1 AND state >= 4
             GROUP BY task, state ORDER BY task",
        )?;
        let mut rows = statement.query([run.0.cast_signed()])?;
        let mut tasks: Vec<(TaskId, Counts)> = Vec::new();
        while let Some(row) = rows.next()? {
            let task = TaskId(row.get(0)?);
            if tasks.last().is_none_or(|(last, _)| *last != task) {
                tasks.push((task, Counts::default()));
            }
            if let Some((_, counts)) = tasks.last_mut()
                && let Some(slot) = counts.0.get_mut(usize::from(row.get::<_, u8>(1)?))
            {
                *slot = row.get(2)?;
            }
        }
        Ok(tasks)
    }

    /// Up to `limit` instances from `from` on, in task and index order; with `failed_only` only
    /// those that failed. An instance that is not in the journal yet is listed as blocked.
    ///
    /// # Errors
    /// When there is no such run or the database cannot be read.
    pub fn instances(
        &self,
        run: RunId,
        from: InstanceId,
        limit: u32,
        failed_only: bool,
    ) -> Result<InstancePage, HistoryError> {
        // One transaction gives a consistent page, and saves checking for each row whether the file
        // changed.
        let _moment = self.read(self.database.unchecked_transaction())?;
        self.owner(run)?;
        let limit = limit.max(1);
        let mut page = InstancePage { rows: Vec::new(), next: None };
        let mut at = from;
        while let Some((task, width)) = self.task_from(run, at.task)? {
            if task != at.task {
                at = InstanceId { task, index: 0 };
            }
            let left = limit - u32::try_from(page.rows.len()).unwrap_or(limit);
            if left == 0 {
                page.next = Some(at);
                break;
            }
            let entries = self.entries(run, at, left.min(WINDOW), width, failed_only);
            let (entries, next) = self.read(entries)?;
            for (index, entry) in entries {
                page.rows.push(self.row(run, InstanceId { task, index }, &entry)?);
            }
            at = match next {
                Some(index) => InstanceId { task, index },
                None => InstanceId { task: TaskId(task.0.saturating_add(1)), index: 0 },
            };
        }
        Ok(page)
    }

    fn task_from(&self, run: RunId, task: TaskId) -> Result<Option<(TaskId, u32)>, HistoryError> {
        let query = || {
            self.database
                .prepare_cached(
                    "SELECT task, width FROM tasks WHERE run = ?1 AND task >= ?2
                     ORDER BY task LIMIT 1",
                )?
                .query_row(params![run.0.cast_signed(), task.0], |row| {
                    Ok((TaskId(row.get(0)?), row.get(1)?))
                })
                .optional()
        };
        self.read(query())
    }

    /// The newest rows of up to `limit` instances of a task from `at` on, and the index at which the
    /// task continues, if it does.
    fn entries(
        &self,
        run: RunId,
        at: InstanceId,
        limit: u32,
        width: u32,
        failed_only: bool,
    ) -> rusqlite::Result<Entries> {
        if !failed_only {
            let to = at.index.saturating_add(limit).min(width);
            let indices = at.index.min(to)..to;
            let window = read::window(&self.database, run, at.task, indices.clone(), false)?;
            return Ok((indices.zip(window).collect(), (to < width).then_some(to)));
        }
        let found = read::failed(&self.database, run, at.task, at.index, limit as usize)?;
        let next = found.last().map_or(width, |last| last.saturating_add(1));
        let next = (found.len() == limit as usize && next < width).then_some(next);
        let entry = |index| {
            let instance = InstanceId { task: at.task, index };
            Ok((index, read::entry(&self.database, run, instance, false)?))
        };
        Ok((found.into_iter().map(entry).collect::<rusqlite::Result<_>>()?, next))
    }

    fn row(
        &self,
        run: RunId,
        instance: InstanceId,
        entry: &read::Newest,
    ) -> Result<InstanceRow, HistoryError> {
        let last = entry.last.as_deref();
        let attempt = entry.attempt.as_deref();
        let state = last.map_or(State::Blocked, |event| event.state);
        Ok(InstanceRow {
            instance,
            state,
            attempts: entry.attempts,
            worker: attempt.and_then(|event| event.worker.clone()),
            started: attempt.map(|event| event.started).filter(|time| time.0 != 0),
            finished: last.map(|event| event.finished).filter(|time| time.0 != 0),
            exit_code: match state {
                State::Succeeded => Some(0),
                _ => attempt.and_then(|event| exit_code(event.cause)),
            },
            reason: match last {
                Some(event) if has_reason(event) => self.reason(run, instance.task, event)?,
                _ => String::new(),
            },
        })
    }

    fn reason(
        &self,
        run: RunId,
        task: TaskId,
        event: &read::EventRow,
    ) -> Result<String, HistoryError> {
        let alone = reason::root(event.cause).is_none()
            && !matches!(event.cause, Some(Cause::LostTooOften | Cause::NotStartedInTime));
        if alone {
            return Ok(event.own_reason());
        }
        self.with_reasons(run, |reasons| self.read(reasons.of(&self.database, task, event)))
    }

    /// Calls a function with the sources of a run's reasons.
    fn with_reasons<T>(
        &self,
        run: RunId,
        what: impl FnOnce(&mut Reasons) -> Result<T, HistoryError>,
    ) -> Result<T, HistoryError> {
        let mut cache = self.reasons.borrow_mut();
        let reasons = match &mut *cache {
            Some(reasons) if reasons.run == run => reasons,
            other => other.insert(Reasons::new(run, &self.submission(run)?)),
        };
        what(reasons)
    }

    fn width_known(&self, run: RunId, task: TaskId) -> Result<bool, HistoryError> {
        let sql = "SELECT known FROM tasks WHERE run = ?1 AND task = ?2";
        let parameters = params![run.0.cast_signed(), task.0];
        self.read(self.database.query_row(sql, parameters, |row| row.get(0)))
    }

    /// The position and width of a task, by name; the width is zero as long as it is not known.
    ///
    /// # Errors
    /// When the run has no such task or the database cannot be read.
    pub fn task(&self, run: RunId, name: &str) -> Result<(TaskId, u32), HistoryError> {
        self.owner(run)?;
        let query = || {
            self.database
                .prepare_cached("SELECT task, width FROM tasks WHERE run = ?1 AND name = ?2")?
                .query_row(params![run.0.cast_signed(), name], |row| {
                    Ok((TaskId(row.get(0)?), row.get(1)?))
                })
                .optional()
        };
        self.read(query())?.ok_or_else(|| HistoryError::UnknownTask { run, task: name.to_owned() })
    }

    /// Instances that failed, in task and index order, at most `limit`.
    ///
    /// # Errors
    /// When there is no such run or the database cannot be read.
    pub fn failures(&self, run: RunId, limit: u32) -> Result<Vec<Failure>, HistoryError> {
        let page = self.instances(run, FIRST, limit, true)?;
        let mut failures = Vec::with_capacity(page.rows.len());
        for row in page.rows {
            let tail = read::entry(&self.database, run, row.instance, false).and_then(|entry| {
                entry.last.map_or(Ok(Vec::new()), |event| {
                    read::stderr_tail(&self.database, run, row.instance, &event)
                })
            });
            failures.push(Failure {
                instance: row.instance,
                reason: row.reason,
                stderr_tail: self.read(tail)?,
            });
        }
        Ok(failures)
    }
}

/// Who runs a run.
fn who(owner: Option<&Owner>) -> String {
    match owner {
        Some(owner) => format!("process {} on {} has it", owner.pid, owner.host),
        None => "another process has it".to_owned(),
    }
}

/// Checks the index of an instance of a task of this width.
fn check_index(task: &str, index: u32, width: u32) -> Result<(), HistoryError> {
    let unknown = || HistoryError::UnknownInstance { task: task.to_owned(), index, width };
    if index < width { Ok(()) } else { Err(unknown()) }
}

/// Whether the end of an instance has a reason to show: success needs none.
fn has_reason(event: &read::EventRow) -> bool {
    event.state != State::Succeeded || event.cause.is_some()
}

fn range(width: u32) -> String {
    match width {
        0 => "it has none, or does not know yet how many".to_owned(),
        1 => "its only instance is 0".to_owned(),
        width => format!("its instances are 0 to {}", width - 1),
    }
}

/// A time in RFC 3339, in UTC, to the millisecond.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    match i64::try_from(time.0).map(jiff::Timestamp::from_microsecond) {
        Ok(Ok(time)) => format!("{time:.3}"),
        _ => format!("@{}", time.0),
    }
}

fn time(micros: i64) -> Timestamp {
    Timestamp(micros.cast_unsigned())
}
