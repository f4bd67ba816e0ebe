//! The run that people mean when they say the last one.

use dagrun_core::ids::RunId;
use dagrun_schema::wire::Submission;

use super::{History, HistoryError};

impl History {
    /// The run that was submitted last.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last_run(&self) -> Result<Option<RunId>, HistoryError> {
        self.read(self.find_last())
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
