//! The list of runs.

use dagrun_core::ids::RunId;
use dagrun_core::status::{RunState, RunSummary, State, Tag};
use dagrun_schema::wire::Submission;
use rusqlite::Row;

use super::{History, HistoryError, time};
use crate::journal::workers::{FormerWorker, former_workers, lost_workers};

impl History {
    /// The workers of schedulers that were killed, and the largest number that any worker has had.
    pub(crate) fn former_workers(&self) -> Result<(Vec<FormerWorker>, u32), HistoryError> {
        self.read(former_workers(&self.database))
    }

    /// The uids of workers that were lost without their end being certain.
    pub(crate) fn lost_workers(&self) -> Result<Vec<String>, HistoryError> {
        self.read(lost_workers(&self.database))
    }

    /// The last runs, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn runs(&self, limit: u32) -> Result<Vec<RunSummary>, HistoryError> {
        let query = || {
            let mut statement = self.database.prepare_cached(
                "SELECT r.run, r.name, r.state, r.started, r.finished, sum(t.width),
                    total(t.succeeded) + total(t.failed) + total(t.skipped) + total(t.cancelled),
                    total(t.failed)
                 FROM (SELECT * FROM runs ORDER BY run DESC LIMIT ?1) r
                 LEFT JOIN tasks t ON t.run = r.run
                 GROUP BY r.run ORDER BY r.run DESC",
            )?;
            statement.query_map([limit], summary)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut runs = self.read(query())?;
        for run in &mut runs {
            run.tags = self.read(self.tags(run.run))?;
        }
        for run in runs.iter_mut().filter(|run| run.state == RunState::Running) {
            if !self.is_run(run.run)? {
                let again = self.whole_status(run.run)?;
                (run.state, run.finished) = (again.state, again.finished);
                if again.state == RunState::Running {
                    run.state = RunState::Interrupted;
                }
            }
            let counts = self.read(self.counts_so_far(run.run))?;
            run.done = counts.iter().map(|(_, counts)| u64::from(counts.terminal())).sum();
            run.failed = counts.iter().map(|(_, counts)| u64::from(counts.of(State::Failed))).sum();
        }
        Ok(runs)
    }

    /// The tags of a run: only the beginning of what may be a large pipeline is read.
    fn tags(&self, run: RunId) -> rusqlite::Result<Vec<Tag>> {
        let id = run.0.cast_signed();
        let blob = self.database.blob_open("main", "runs", "pipeline", id, true)?;
        let read = |most: usize| {
            let mut start = vec![0; most.min(blob.len())];
            blob.read_at_exact(&mut start, 0).map(|()| start)
        };
        // Most have none, which shows at once.
        match Submission::may_have_tags(&read(16)?) {
            true => Ok(Submission::tags_in(&read(Submission::TAGS)?)),
            false => Ok(Vec::new()),
        }
    }
}

fn summary(row: &Row<'_>) -> rusqlite::Result<RunSummary> {
    let count = |column| Ok::<_, rusqlite::Error>(row.get::<_, f64>(column)? as u64);
    Ok(RunSummary {
        run: RunId(row.get::<_, i64>(0)?.cast_unsigned()),
        name: row.get(1)?,
        state: RunState::from_u8(row.get(2)?).unwrap_or(RunState::Running),
        started: time(row.get(3)?),
        finished: row.get::<_, Option<i64>>(4)?.map(time),
        instances: row.get::<_, Option<i64>>(5)?.unwrap_or(0).cast_unsigned(),
        done: count(6)?,
        failed: count(7)?,
        tags: Vec::new(),
    })
}
