//! Takes runs out of the history: their rows, and the directories that no other run needs.
//!
//! What a later run took over is among that run's rows, but long values and logs stay in the directory
//! of the run that made them. Such a directory outlives its own run until nobody refers to it.

use std::path::Path;

use dagrun_core::ids::RunId;
use dagrun_core::layout;
use dagrun_core::status::RunState;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::history::{History, HistoryError};
use crate::journal::StoreError;
use crate::journal::rows::TAKEN_OVER;
use crate::journal::schema::{open_reader, open_writer};

/// What has become of the wish to forget a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Forgotten {
    Done,
    Unknown,
    Unended,
    Interrupted,
}

impl Forgotten {
    /// An error unless it is forgotten.
    pub(crate) fn check(self, run: RunId) -> Result<(), HistoryError> {
        match self {
            Forgotten::Done => Ok(()),
            Forgotten::Unknown => Err(HistoryError::UnknownRun(run)),
            Forgotten::Interrupted => Err(HistoryError::Interrupted(run)),
            Forgotten::Unended => Err(HistoryError::NotEnded { run, wish: "forgotten" }),
        }
    }
}

/// Takes runs of a state directory out of its history, without a scheduler: all of them or, when one has not
/// ended, none.
///
/// # Errors
/// When a run has not ended or is not known, or the database cannot be written.
pub fn forget(state_dir: &Path, runs: &[RunId]) -> Result<(), HistoryError> {
    let history = History::open(state_dir)?;
    for run in runs {
        if history.status(*run)?.state == RunState::Interrupted {
            return Err(HistoryError::Interrupted(*run));
        }
    }
    let mut database = open_writer(state_dir)?;
    let failed = |source| {
        let path = layout::database(state_dir);
        HistoryError::Open(StoreError::Write { path, source })
    };
    let transaction =
        database.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    for run in runs {
        rows(&transaction, *run).map_err(failed)?.check(*run)?;
    }
    transaction.commit().map_err(failed)?;
    directories(state_dir)
}

/// Deletes the rows of a run that has ended, within the caller's transaction.
pub(super) fn rows(database: &Connection, run: RunId) -> rusqlite::Result<Forgotten> {
    let id = run.0.cast_signed();
    let state = "SELECT state FROM runs WHERE run = ?1";
    let state: Option<u8> = database.query_row(state, [id], |row| row.get(0)).optional()?;
    match state {
        None => return Ok(Forgotten::Unknown),
        Some(state) if state == RunState::Running as u8 => return Ok(Forgotten::Unended),
        Some(state) if state == RunState::Interrupted as u8 => return Ok(Forgotten::Interrupted),
        Some(_) => {}
    }
    for table in ["runs", "tasks", "events", "notes"] {
        database.execute(&format!("DELETE FROM {table} WHERE run = ?1"), [id])?;
    }
    Ok(Forgotten::Done)
}

/// Removes the directories of runs that are forgotten and from which no other run took anything over.
/// To be called after the rows are deleted; what cannot be removed is left for the next time.
///
/// # Errors
/// When the history cannot be read.
pub(crate) fn directories(state_dir: &Path) -> Result<(), HistoryError> {
    let runs = layout::run_dir(state_dir, RunId(0));
    let Some(runs) = runs.parent() else { return Ok(()) };
    // Read before the history: a run is recorded before it has a directory, so one that is found here
    // and not there is forgotten.
    let Ok(entries) = std::fs::read_dir(runs) else { return Ok(()) };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let ids: Vec<u64> = ids.collect();
    let Some(reader) = open_reader(state_dir)? else { return Ok(()) };
    let database = reader.database;
    let needed = "SELECT EXISTS (SELECT 1 FROM runs WHERE run = ?1)
        OR EXISTS (SELECT 1 FROM events WHERE cause = ?2 AND code = ?1)";
    for run in ids {
        let needed: bool = database
            .query_row(needed, params![run.cast_signed(), TAKEN_OVER], |row| row.get(0))
            .map_err(|source| HistoryError::Read { path: layout::database(state_dir), source })?;
        if !needed {
            // A file that another user wrote there is no reason to fail.
            let _ = std::fs::remove_dir_all(layout::run_dir(state_dir, RunId(run)));
        }
    }
    Ok(())
}
