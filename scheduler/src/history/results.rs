//! Results for programs: how instances ended, together with their values.

use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::status::{InstanceResult, State};

use super::{History, HistoryError};
use crate::journal::read;

/// Instances that are read at once.
const WINDOW: u32 = 1_024;
/// Approximate bytes of values returned at once; at least one instance is returned.
const BYTES: usize = 4 << 20;

impl History {
    /// Up to `limit` instances of a task from `first` on, with their values; fewer when there are
    /// no more or the values are long.
    ///
    /// # Errors
    /// When there is no such run or task, or the database cannot be read.
    pub fn results(
        &self,
        run: RunId,
        task: TaskId,
        first: u32,
        limit: u32,
    ) -> Result<Vec<InstanceResult>, HistoryError> {
        self.owner(run)?;
        let width = match self.task_from(run, task)? {
            Some((found, width)) if found == task => width,
            _ => return Err(HistoryError::UnknownTask { run, task: task.to_string() }),
        };
        let to = first.saturating_add(limit.clamp(1, WINDOW)).min(width);
        let mut results = Vec::new();
        let mut bytes = 0;
        // The step starts small, so that few long values are read only to be dropped.
        let mut at = first;
        let mut step = 64;
        while at < to && bytes < BYTES {
            let until = at.saturating_add(step).min(to);
            let window = read::window(&self.database, run, task, at..until, true);
            for (index, entry) in (at..until).zip(self.read(window)?) {
                let row = self.row(run, InstanceId { task, index }, &entry)?;
                let succeeded = row.state == State::Succeeded;
                let (mut value, mut detail, mut outputs) = (None, Vec::new(), Vec::new());
                if let Some(event) = &entry.last {
                    if succeeded {
                        let payload = event.payload();
                        (value, outputs) = (payload.value, payload.outputs);
                    } else if row.state == State::Failed {
                        let tail = read::stderr_tail(&self.database, run, row.instance, event);
                        detail = self.read(tail)?;
                    }
                }
                bytes += value.as_ref().map_or(0, Vec::len);
                results.push(InstanceResult { row, value, detail, outputs });
                if bytes >= BYTES {
                    break;
                }
            }
            at = until;
            step = WINDOW;
        }
        Ok(results)
    }
}
