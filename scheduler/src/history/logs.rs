//! What attempts wrote, page by page, filtered by task, instance or failure.

use std::path::PathBuf;

use dagrun_core::engine::CancelScope;
use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::layout;
use dagrun_disk::log::{Cursor, LogReader};
use dagrun_schema::wire::{LogPage, Scope};
use rustc_hash::FxHashSet;

use super::{FIRST, History, HistoryError, WINDOW, check_index};

/// About how many bytes one page holds.
const PAGE_BYTES: usize = 1024 * 1024;

/// A page of a run's logs that can be read without the database.
pub(crate) struct LogQuery {
    scope: CancelScope,
    failed: Option<FxHashSet<InstanceId>>,
    cursor: Cursor,
    dir: PathBuf,
}

impl History {
    /// The next output of a run, a task or an instance after `cursor`, which is empty to begin
    /// with; with `failed_only` that of instances which have failed. About 1 MiB at most.
    ///
    /// # Errors
    /// When there is no such run, task or instance, the cursor is not one of a page, or the
    /// database or the logs cannot be read.
    pub fn logs<T: AsRef<str>>(
        &self,
        run: RunId,
        scope: &Scope<T>,
        cursor: &[u8],
        failed_only: bool,
    ) -> Result<LogPage, HistoryError> {
        self.log_query(run, scope, cursor, failed_only)?.read()
    }

    /// Whether attempts of a run certainly wrote something: some of it is in the journal. Where not even
    /// the directory of all runs is there, any attempt counts.
    fn has_written(&self, run: RunId) -> Result<bool, HistoryError> {
        let runs = layout::run_dir(&self.state_dir, run);
        let any = runs.parent().is_some_and(|runs| !runs.exists());
        let sql = match any {
            true => "SELECT EXISTS (SELECT 1 FROM events WHERE run = ?1 AND attempt > 0)",
            false => {
                "SELECT EXISTS (SELECT 1 FROM events WHERE run = ?1 AND stderr_tail IS NOT NULL)"
            }
        };
        self.run_row(run, sql, |row| row.get(0))
    }

    /// Looks up what [`History::logs`] needs of the database.
    pub(crate) fn log_query<T: AsRef<str>>(
        &self,
        run: RunId,
        scope: &Scope<T>,
        cursor: &[u8],
        failed_only: bool,
    ) -> Result<LogQuery, HistoryError> {
        let dir = layout::logs(&layout::run_dir(&self.state_dir, run));
        if !dir.exists() && self.has_written(run)? {
            return Err(HistoryError::LogsRemoved { run, dir });
        }
        // Of a task whose width comes late any instance may still write.
        let find = |name: &str| {
            let (task, width) = self.task(run, name)?;
            Ok((task, if self.width_known(run, task)? { width } else { u32::MAX }))
        };
        Ok(LogQuery {
            scope: resolve(scope, find)?,
            failed: if failed_only { Some(self.all_failed(run)?) } else { None },
            cursor: Cursor::from_bytes(cursor).ok_or(HistoryError::Cursor)?,
            dir,
        })
    }

    fn all_failed(&self, run: RunId) -> Result<FxHashSet<InstanceId>, HistoryError> {
        let mut failed = FxHashSet::default();
        let mut next = Some(FIRST);
        while let Some(from) = next {
            let page = self.instances(run, from, WINDOW, true)?;
            failed.extend(page.rows.iter().map(|row| row.instance));
            next = page.next;
        }
        Ok(failed)
    }
}

impl LogQuery {
    /// Reads the page.
    pub(crate) fn read(self) -> Result<LogPage, HistoryError> {
        let LogQuery { scope, failed, mut cursor, dir } = self;
        let mut accepts = |instance: InstanceId, _attempt| {
            let within = match scope {
                CancelScope::Run | CancelScope::Interruption => true,
                CancelScope::Task(task) => task == instance.task,
                CancelScope::Instance(wanted) => wanted == instance,
            };
            within && failed.as_ref().is_none_or(|failed| failed.contains(&instance))
        };
        let chunks = LogReader::open(&dir)
            .read(&mut cursor, PAGE_BYTES, &mut accepts)
            .map_err(|source| HistoryError::File { path: dir, source })?;
        let bytes: usize = chunks.iter().map(|chunk| chunk.bytes.len().max(1)).sum();
        Ok(LogPage { chunks, cursor: cursor.to_bytes(), more: bytes >= PAGE_BYTES })
    }
}

/// Looks up the names in a scope; `find` returns the number and the width of a task.
pub(crate) fn resolve<T: AsRef<str>>(
    scope: &Scope<T>,
    find: impl FnOnce(&str) -> Result<(TaskId, u32), HistoryError>,
) -> Result<CancelScope, HistoryError> {
    Ok(match scope {
        Scope::Run => CancelScope::Run,
        Scope::Task(task) => CancelScope::Task(find(task.as_ref())?.0),
        Scope::Instance(task, index) => {
            let (id, width) = find(task.as_ref())?;
            check_index(task.as_ref(), *index, width)?;
            CancelScope::Instance(InstanceId { task: id, index: *index })
        }
    })
}
