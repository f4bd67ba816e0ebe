//! Ends an interrupted run as cancelled: whatever of it had not ended counts as cancelled.

use std::path::Path;

use dagrun_core::engine::Cause;
use dagrun_core::ids::{RunId, Timestamp};
use dagrun_core::layout;
use dagrun_core::status::{RunState, State};
use dagrun_disk::clock::now;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::history::{History, HistoryError};
use crate::journal::StoreError;
use crate::journal::lock::{self, Owner, RunLock};
use crate::journal::rows::encode_cause;
use crate::journal::schema::open_writer;

/// Ends an interrupted run of a state directory as cancelled, without a scheduler.
///
/// # Errors
/// When some process runs it, there is no such run, or the database cannot be written.
pub fn give_up(state_dir: &Path, run: RunId) -> Result<(), HistoryError> {
    let status = History::open(state_dir)?.status(run)?;
    if status.state == RunState::Running {
        return Err(HistoryError::NotEnded { run, wish: "given up" });
    }
    // Nobody goes on with it meanwhile.
    let _lock = match RunLock::take(state_dir, run, &Owner::here()) {
        Ok(lock) => Some(lock),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            let owner = lock::owner(state_dir, run);
            return Err(HistoryError::Running { run, owner });
        }
        // There are no locks on this file system.
        Err(_) => None,
    };
    let mut database = open_writer(state_dir)?;
    let mut write = || {
        let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        rows(&transaction, run, now())?;
        transaction.commit()
    };
    write().map_err(|source| {
        let path = layout::database(state_dir);
        HistoryError::Open(StoreError::Write { path, source })
    })
}

/// Writes the end within the caller's transaction, who has made sure that nobody runs it; `false` when it
/// has ended otherwise.
pub(super) fn rows(database: &Connection, run: RunId, at: Timestamp) -> rusqlite::Result<bool> {
    let (id, at) = (run.0.cast_signed(), at.0.cast_signed());
    let state: Option<u8> = database
        .query_row("SELECT state FROM runs WHERE run = ?1", [id], |row| row.get(0))
        .optional()?;
    match state.and_then(RunState::from_u8) {
        Some(RunState::Running) => cancel_the_rest(database, id, at)?,
        Some(RunState::Interrupted) => {}
        _ => return Ok(false),
    }
    let sql = "UPDATE runs SET state = ?2, finished = coalesce(finished, ?3) WHERE run = ?1";
    database.execute(sql, params![id, RunState::Cancelled as u8, at])?;
    Ok(true)
}

/// Records what has no end as cancelled, and the counts of each task.
fn cancel_the_rest(database: &Connection, run: i64, at: i64) -> rusqlite::Result<()> {
    let mut tasks = database.prepare("SELECT task, width FROM tasks WHERE run = ?1")?;
    let tasks = tasks.query_map([run], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let tasks: Vec<(u32, u32)> = tasks.collect::<rusqlite::Result<_>>()?;
    let last = "SELECT coalesce(max(seq), 0) FROM events WHERE run = ?1";
    let seq: i64 = database.query_row(last, [run], |row| row.get(0))?;
    let mut insert = database.prepare(
        "INSERT INTO events (run, task, first_index, seq, count, state, attempt, started, finished, cause)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7, ?8)",
    )?;
    let (cause, ..) = encode_cause(Some(Cause::Cancelled));
    let mut ended = database.prepare(
        "SELECT first_index, count, state FROM events WHERE run = ?1 AND task = ?2 AND state >= ?3
         ORDER BY first_index",
    )?;
    let mut write = database.prepare(
        "UPDATE tasks SET succeeded = ?3, failed = ?4, skipped = ?5, cancelled = ?6
         WHERE run = ?1 AND task = ?2",
    )?;
    for (task, width) in tasks {
        let (mut next, mut gaps) = (0u32, Vec::new());
        let mut counts = [0u32; 4];
        let mut rows = ended.query(params![run, task, State::Succeeded as u8])?;
        while let Some(row) = rows.next()? {
            let (first, count, state): (u32, u32, u8) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if first > next {
                gaps.push((next, first - next));
            }
            next = next.max(first.saturating_add(count));
            let slot = usize::from(state).checked_sub(State::Succeeded as usize);
            if let Some(sum) = slot.and_then(|slot| counts.get_mut(slot)) {
                *sum += count;
            }
        }
        if width > next {
            gaps.push((next, width - next));
        }
        for (first, count) in gaps {
            let cancelled = State::Cancelled as u8;
            insert.execute(params![run, task, first, seq + 1, count, cancelled, at, cause])?;
            counts[3] += count;
        }
        let [succeeded, failed, skipped, cancelled] = counts;
        write.execute(params![run, task, succeeded, failed, skipped, cancelled])?;
    }
    Ok(())
}
