//! Goes on with a run in its journal: what had ended and is open again, and that it runs.

use std::ops::Range;

use dagrun_core::engine::{Cause, Reopened, Reopening};
use dagrun_core::ids::{InstanceId, RunId, TaskId, Timestamp};
use dagrun_core::status::{RunState, State};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::journal::Note;
use crate::journal::rows::encode_cause;

/// A run to go on with, which nobody else runs.
#[derive(Debug)]
pub(crate) struct Resumption {
    pub(crate) run: RunId,
    pub(crate) name: String,
    /// The names of its tasks.
    pub(crate) tasks: Vec<String>,
    /// What had ended and is open again.
    pub(crate) reopened: Vec<Reopened>,
    /// Tasks whose number of instances is to become known again.
    pub(crate) unknown: Vec<TaskId>,
    /// Whether its scheduler was killed.
    pub(crate) crashed: bool,
    pub(crate) at: Timestamp,
}

/// The last place in the journal of a run.
pub(super) fn last_seq(database: &Connection, run: RunId) -> rusqlite::Result<i64> {
    let last = "SELECT max(coalesce((SELECT max(seq) FROM events WHERE run = ?1), 0),
        coalesce((SELECT max(seq) FROM notes WHERE run = ?1), 0),
        coalesce((SELECT max(widened) FROM tasks WHERE run = ?1), 0))";
    database.query_row(last, [run.0.cast_signed()], |row| row.get(0))
}

/// Writes it, within the caller's transaction; `false` when the run has ended otherwise. Also returns how
/// many rows were written.
pub(super) fn write(
    database: &Connection,
    resumption: &Resumption,
    seq: i64,
) -> rusqlite::Result<Option<usize>> {
    let run = resumption.run.0.cast_signed();
    let state: Option<u8> = database
        .query_row("SELECT state FROM runs WHERE run = ?1", [run], |row| row.get(0))
        .optional()?;
    match state.and_then(RunState::from_u8) {
        Some(RunState::Running | RunState::Interrupted) => {}
        _ => return Ok(None),
    }
    let mut rows = 2;
    for opened in &resumption.reopened {
        rows += open(database, run, opened)?;
    }
    let mut forget =
        database.prepare("UPDATE tasks SET known = 0, width = 0 WHERE run = ?1 AND task = ?2")?;
    for task in &resumption.unknown {
        rows += forget.execute(params![run, task.0])?;
    }
    note(database, resumption.run, seq, resumption.at, resumed(resumption))?;
    let counts =
        "UPDATE tasks SET succeeded = NULL, failed = NULL, skipped = NULL, cancelled = NULL
        WHERE run = ?1 AND succeeded IS NOT NULL";
    rows += database.execute(counts, [run])?;
    let sql = "UPDATE runs SET state = ?2, finished = NULL, owner = ?3 WHERE run = ?1";
    database.execute(sql, params![run, RunState::Running as u8, std::process::id()])?;
    Ok(Some(rows))
}

fn resumed(resumption: &Resumption) -> Note {
    Note::Resumed { crashed: resumption.crashed }
}

/// Appends what happened to the run as a whole.
pub(super) fn note(
    database: &Connection,
    run: RunId,
    seq: i64,
    at: Timestamp,
    note: Note,
) -> rusqlite::Result<()> {
    let (kind, task, index) = note.columns();
    database
        .prepare_cached(
            "INSERT INTO notes (run, seq, at, kind, task, first_index)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![run.0.cast_signed(), seq, at.0.cast_signed(), kind, task, index])
        .map(drop)
}

/// An instance had succeeded, and its value is lost.
pub(super) fn reopen(
    database: &Connection,
    run: RunId,
    instance: InstanceId,
) -> rusqlite::Result<()> {
    let InstanceId { task, index: first_index } = instance;
    let (was, why) = (State::Succeeded, Reopening::Lost);
    let opened = Reopened { task, first_index, count: 1, was, why };
    open(database, run.0.cast_signed(), &opened).map(drop)
}

/// An end in the journal.
struct Row {
    first: u32,
    seq: i64,
    count: u32,
    attempt: u32,
}

/// The ends of what is open again become attempts that are followed by others; those without an attempt
/// are removed. Returns how many rows were touched.
fn open(database: &Connection, run: i64, opened: &Reopened) -> rusqlite::Result<usize> {
    let range = opened.first_index..opened.first_index.saturating_add(opened.count);
    let mut rows = Vec::new();
    // The long ones may begin far before.
    for (hint, which) in
        [("", "first_index > ?3 - 64 AND count <= 64"), ("INDEXED BY events_long", "count > 64")]
    {
        let mut statement = database.prepare_cached(&format!(
            "SELECT first_index, seq, count, attempt FROM events {hint}
             WHERE run = ?1 AND task = ?2 AND first_index < ?4 AND first_index + count > ?3
               AND state = ?5 AND {which}"
        ))?;
        let (task, was) = (opened.task.0, opened.was as u8);
        let parameters = params![run, task, range.start, range.end, was];
        let found = statement.query_map(parameters, |row| {
            let (first, seq) = (row.get(0)?, row.get(1)?);
            Ok(Row { first, seq, count: row.get(2)?, attempt: row.get(3)? })
        })?;
        for row in found {
            rows.push(row?);
        }
    }
    for row in &rows {
        open_row(database, run, opened, &range, row)?;
    }
    Ok(rows.len())
}

fn open_row(
    database: &Connection,
    run: i64,
    opened: &Reopened,
    range: &Range<u32>,
    row: &Row,
) -> rusqlite::Result<()> {
    let task = opened.task.0;
    let end = row.first.saturating_add(row.count);
    if range.start <= row.first && end <= range.end && row.attempt > 0 {
        let (cause, code, ..) = encode_cause(Some(Cause::Reopened(opened.why)));
        return database
            .prepare_cached(
                "UPDATE events SET state = ?5, cause = ?6, code = ?7, root_task = NULL,
                    root_index = NULL, reason = NULL, value = NULL, outputs = NULL
                 WHERE run = ?1 AND task = ?2 AND first_index = ?3 AND seq = ?4",
            )?
            .execute(params![run, task, row.first, row.seq, State::Ready as u8, cause, code])
            .map(drop);
    }
    if range.end < end {
        // The part behind stays.
        database
            .prepare_cached(
                "INSERT INTO events (run, task, first_index, seq, count, state, attempt, worker,
                    started, finished, cause, code, root_task, root_index, reason, stderr_tail,
                    value, outputs)
                 SELECT run, task, ?5, seq, ?6, state, attempt, worker, started, finished, cause,
                    code, root_task, root_index, reason, stderr_tail, value, outputs
                 FROM events WHERE run = ?1 AND task = ?2 AND first_index = ?3 AND seq = ?4",
            )?
            .execute(params![run, task, row.first, row.seq, range.end, end - range.end])?;
    }
    let (sql, count) = match range.start.checked_sub(row.first) {
        // And so does the part before.
        Some(before @ 1..) => (
            "UPDATE events SET count = ?5
             WHERE run = ?1 AND task = ?2 AND first_index = ?3 AND seq = ?4",
            before,
        ),
        _ => (
            "DELETE FROM events
             WHERE run = ?1 AND task = ?2 AND first_index = ?3 AND seq = ?4 AND ?5 = 0",
            0,
        ),
    };
    database.prepare_cached(sql)?.execute(params![run, task, row.first, row.seq, count]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::schema::open_writer;

    /// First index, count, state and attempt of each row.
    fn rows(database: &Connection) -> Vec<(u32, u32, u8, u32)> {
        let sql = "SELECT first_index, count, state, attempt FROM events ORDER BY first_index, seq";
        let mut statement = database.prepare(sql).unwrap();
        let row =
            |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        statement.query_map([], row).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn what_is_open_again_is_cut_out_of_what_ended() {
        let dir = tempfile::tempdir().unwrap();
        let database = open_writer(dir.path()).unwrap();
        let insert = "INSERT INTO events (run, task, first_index, seq, count, state, attempt, started, finished)
            VALUES (1, 0, ?1, ?2, ?3, ?4, ?5, 0, 0)";
        // A failure and a success of one instance, a range without attempts, and one far longer.
        let all = [(0, 1, 1, 3, 1), (0, 2, 1, 4, 2), (1, 3, 20, 7, 0), (21, 4, 1_000, 7, 0)];
        for (first, seq, count, state, attempt) in all {
            database.execute(insert, params![first, seq, count, state, attempt]).unwrap();
        }
        let reopen = |first_index, count, was| {
            let (task, why) = (TaskId(0), Reopening::Lost);
            let opened = Reopened { task, first_index, count, was, why };
            open(&database, 1, &opened).unwrap()
        };
        assert_eq!(reopen(0, 1, State::Succeeded), 1);
        assert_eq!(reopen(5, 3, State::Cancelled), 1);
        assert_eq!(reopen(1_000, 100, State::Cancelled), 1);
        assert_eq!(reopen(0, 5, State::Failed), 0);
        let ready = State::Ready as u8;
        let expected =
            [(0, 1, 3, 1), (0, 1, ready, 2), (1, 4, 7, 0), (8, 13, 7, 0), (21, 979, 7, 0)];
        assert_eq!(rows(&database), expected);
        assert_eq!(reopen(1, 4, State::Cancelled), 1);
        assert_eq!(rows(&database).len(), expected.len() - 1, "nothing of it is left");
    }

    #[test]
    fn places_in_the_journal_go_on_behind_the_last_one() {
        let dir = tempfile::tempdir().unwrap();
        let database = open_writer(dir.path()).unwrap();
        let run = RunId(1);
        assert_eq!(last_seq(&database, run), Ok(0));
        note(&database, run, 7, Timestamp(1), Note::Interrupted).unwrap();
        assert_eq!(last_seq(&database, run), Ok(7));
        let insert = "INSERT INTO events (run, task, first_index, seq, count, state, attempt, started, finished)
            VALUES (1, 0, 0, 9, 1, 4, 1, 0, 0)";
        database.execute(insert, []).unwrap();
        assert_eq!(last_seq(&database, run), Ok(9));
    }
}
