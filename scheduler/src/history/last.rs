//! The run that people mean when they say the last one.

use std::path::Path;

use dagrun_core::ids::RunId;
use dagrun_core::status::RunState;
use dagrun_schema::wire::Submission;
use rusqlite::Row;

use super::{History, HistoryError};

/// So many runs are looked at for one that was interrupted.
const NEWEST: u32 = 50;

impl History {
    /// The run that was submitted last.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last_run(&self) -> Result<Option<RunId>, HistoryError> {
        self.read(self.find_last())
    }

    /// The last run of a pipeline file, if it was interrupted; only the newest runs are looked at.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn interrupted_of(&self, file: &Path) -> Result<Option<RunId>, HistoryError> {
        let sql = "SELECT run, state FROM runs ORDER BY run DESC LIMIT ?1";
        let query = || {
            let mut statement = self.database.prepare_cached(sql)?;
            let run =
                |row: &Row<'_>| Ok((RunId(row.get::<_, i64>(0)?.cast_unsigned()), row.get(1)?));
            statement.query_map([NEWEST], run)?.collect::<rusqlite::Result<Vec<(RunId, u8)>>>()
        };
        let runs = self.read(query())?;
        let mut interrupted = Vec::new();
        for (run, state) in &runs {
            // Reading what they were submitted with takes a while: mostly there is none of these.
            let is = match RunState::from_u8(*state) {
                Some(RunState::Interrupted) => true,
                Some(RunState::Running) => {
                    self.whole_status(*run)?.state == RunState::Running && !self.is_run(*run)?
                }
                _ => false,
            };
            interrupted.extend(is.then_some(*run));
        }
        let Some(oldest) = interrupted.last() else { return Ok(None) };
        for (run, _) in runs.iter().take_while(|(run, _)| run >= oldest) {
            let of = self.submission(*run)?.file();
            if of.is_some_and(|of| of.path == file) {
                return Ok(interrupted.contains(run).then_some(*run));
            }
        }
        Ok(None)
    }

    /// Commands that were run on all workers are aside: nobody means them by the last run.
    fn find_last(&self) -> rusqlite::Result<Option<RunId>> {
        let sql =
            "SELECT run, CASE WHEN name = 'exec' THEN pipeline END FROM runs ORDER BY run DESC";
        let mut statement = self.database.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (run, pipeline): (i64, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?);
            if !pipeline.is_some_and(|pipeline| Submission::is_aside(&pipeline)) {
                return Ok(Some(RunId(run.cast_unsigned())));
            }
        }
        Ok(None)
    }
}
