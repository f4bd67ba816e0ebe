//! Pages of the output of a run's attempts, filtered for a client.

use std::io;
use std::path::PathBuf;

use dagrun_core::engine::CancelScope;
use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_disk::log::{Cursor, LogReader};
use dagrun_schema::wire::{LogPage, Scope};
use rustc_hash::FxHashSet;

use super::run::resolve;
use crate::history::{History, HistoryError};

/// About how many bytes one answer holds.
const PAGE_BYTES: usize = 1024 * 1024;

/// Failed instances that are looked up at once.
const FAILED: u32 = 4_096;

/// What a client asks for.
pub(super) struct Request {
    pub(super) run: RunId,
    pub(super) scope: Scope,
    pub(super) failed_only: bool,
    pub(super) cursor: Cursor,
    pub(super) log_dir: PathBuf,
}

/// The same, with names looked up.
pub(super) struct Wanted {
    scope: CancelScope,
    failed: Option<FxHashSet<InstanceId>>,
    cursor: Cursor,
    log_dir: PathBuf,
}

impl Request {
    pub(super) fn wanted(self, history: &History) -> Result<Wanted, HistoryError> {
        let scope = resolve(self.scope, |task| history.task(self.run, task))?;
        let failed = if self.failed_only { Some(all_failed(history, self.run)?) } else { None };
        Ok(Wanted { scope, failed, cursor: self.cursor, log_dir: self.log_dir })
    }
}

fn all_failed(history: &History, run: RunId) -> Result<FxHashSet<InstanceId>, HistoryError> {
    let mut failed = FxHashSet::default();
    let mut next = Some(InstanceId { task: TaskId(0), index: 0 });
    while let Some(from) = next {
        let page = history.instances(run, from, FAILED, true)?;
        failed.extend(page.rows.iter().map(|row| row.instance));
        next = page.next;
    }
    Ok(failed)
}

impl Wanted {
    fn accepts(&self, instance: InstanceId) -> bool {
        let within = match self.scope {
            CancelScope::Run => true,
            CancelScope::Task(task) => task == instance.task,
            CancelScope::Instance(wanted) => wanted == instance,
        };
        within && self.failed.as_ref().is_none_or(|failed| failed.contains(&instance))
    }

    pub(super) fn read(self) -> io::Result<LogPage> {
        let mut cursor = self.cursor.clone();
        let mut accepts = |instance, _attempt| self.accepts(instance);
        let chunks = LogReader::open(&self.log_dir).read(&mut cursor, PAGE_BYTES, &mut accepts)?;
        let bytes: usize = chunks.iter().map(|chunk| chunk.bytes.len().max(1)).sum();
        Ok(LogPage { chunks, cursor: cursor.to_bytes(), more: bytes >= PAGE_BYTES })
    }
}
