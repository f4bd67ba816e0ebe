//! Copies what a run takes over from an earlier one into its own journal, so that later readers do
//! not need the earlier run.

use dagrun_core::ids::{RunId, Timestamp};
use dagrun_core::status::State;
use rusqlite::{Connection, params};

use crate::journal::TakenSpan;
use crate::journal::rows::TAKEN_OVER;

/// Instances whose values are copied by one statement: SQLite buffers what it reads from the table
/// that it writes.
const CHUNK: u32 = 16_384;

/// A range of instances with nothing to copy is one row …
const INSERT: &str =
    "INSERT INTO events (run, task, first_index, seq, count, state, attempt, worker,
    started, finished, cause, code) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, 0, ?8, ?9, ?10)";

/// … and one with values a row for each.
const COPY: &str = "INSERT INTO events (run, task, first_index, seq, count, state, attempt, worker,
    started, finished, cause, code, value, outputs)
    SELECT ?1, ?12, first_index + ?13, ?2, count, state, 0, ?3, 0, ?4, ?5, ?6, value, outputs
    FROM events WHERE run = ?7 AND task = ?8 AND first_index >= ?9 AND first_index < ?10
    AND state = ?11";

/// Where to copy.
pub(super) struct Target {
    /// The new run.
    pub(super) run: i64,
    /// The place in its journal.
    pub(super) seq: i64,
    /// When it began.
    pub(super) at: Timestamp,
}

/// Copies, and returns how many rows were written.
pub(super) fn copy(
    database: &Connection,
    from: RunId,
    spans: &[TakenSpan],
    into: &Target,
) -> rusqlite::Result<usize> {
    let (at, succeeded) = (into.at.0.cast_signed(), State::Succeeded as u8);
    let mut insert = database.prepare_cached(INSERT)?;
    let mut copy = database.prepare_cached(COPY)?;
    let mut rows = 0;
    for span in spans {
        let origin = span.origin.0.cast_signed();
        if !span.payload {
            rows += insert.execute(params![
                into.run,
                span.task.0,
                span.first,
                into.seq,
                span.count,
                succeeded,
                span.worker,
                at,
                TAKEN_OVER,
                origin,
            ])?;
            continue;
        }
        let shift = i64::from(span.first) - i64::from(span.then.index);
        let end = span.then.index.saturating_add(span.count);
        for first in (span.then.index..end).step_by(CHUNK as usize) {
            rows += copy.execute(params![
                into.run,
                into.seq,
                span.worker,
                at,
                TAKEN_OVER,
                origin,
                from.0.cast_signed(),
                span.then.task.0,
                first,
                first.saturating_add(CHUNK).min(end),
                succeeded,
                span.task.0,
                shift,
            ])?;
        }
    }
    Ok(rows)
}
