//! How long the instances of each task took.

use dagrun_core::ids::{Micros, RunId};
use dagrun_core::status::{State, TaskTimes};
use rusqlite::params;

use super::{History, HistoryError, time};

/// Sums in the database: there may be millions of rows. Rows of instances that were taken over have no
/// attempt, and those that never ran no start. Whether an attempt was the first is seen from the others:
/// numbers may have gaps.
const TIMES: &str = "SELECT task, SUM(count), MIN(started), MAX(finished),
        SUM(count * (finished - started)) / SUM(count), MAX(finished - started),
        SUM(CASE WHEN attempt > 1 AND EXISTS (SELECT 1 FROM events b WHERE b.run = e.run
                AND b.task = e.task AND b.first_index = e.first_index AND b.seq < e.seq
                AND b.attempt BETWEEN 1 AND e.attempt - 1) THEN count ELSE 0 END)
    FROM events e
    WHERE run = ?1 AND state IN (?2, ?3) AND attempt > 0 AND started > 0
    GROUP BY task";

impl History {
    /// How long the instances of each task took, in the order of the tasks.
    ///
    /// # Errors
    /// When there is no such run or the database cannot be read.
    pub fn times(&self, run: RunId) -> Result<Vec<TaskTimes>, HistoryError> {
        self.owner(run)?;
        let mut times = vec![TaskTimes::default(); self.read(self.final_tasks(run))?.len()];
        for (task, found) in self.read(self.recorded_times(run))? {
            if let Some(slot) = times.get_mut(task) {
                *slot = found;
            }
        }
        Ok(times)
    }

    fn recorded_times(&self, run: RunId) -> rusqlite::Result<Vec<(usize, TaskTimes)>> {
        let span = |micros: i64| Micros(u64::try_from(micros).unwrap_or(0));
        let mut statement = self.database.prepare_cached(TIMES)?;
        let states = [State::Succeeded, State::Failed].map(|state| state as u8);
        let rows =
            statement.query_map(params![run.0.cast_signed(), states[0], states[1]], |row| {
                let found = TaskTimes {
                    instances: row.get(1)?,
                    started: time(row.get(2)?),
                    finished: time(row.get(3)?),
                    mean: span(row.get(4)?),
                    longest: span(row.get(5)?),
                    retried: row.get(6)?,
                };
                Ok((row.get::<_, u32>(0)? as usize, found))
            })?;
        rows.collect()
    }
}
