//! Pages of what a run's attempts wrote, as far as a client wants it.

use std::io;
use std::path::PathBuf;

use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::status::LogChunk;
use dagrun_worker::log::{Cursor, LogReader};
use rustc_hash::FxHashSet;

use crate::history::{History, HistoryError};

/// About how many bytes one answer holds.
const PAGE_BYTES: usize = 1024 * 1024;

/// Failed instances that are looked up at once.
const FAILED: u32 = 4_096;

/// What a client asks for.
pub(super) struct Request {
    pub(super) run: RunId,
    /// Empty for all tasks.
    pub(super) task: String,
    /// Negative for all instances.
    pub(super) index: i64,
    pub(super) failed_only: bool,
    pub(super) cursor: Cursor,
    pub(super) log_dir: PathBuf,
}

/// The same, with names looked up.
pub(super) struct Wanted {
    task: Option<TaskId>,
    index: Option<u32>,
    failed: Option<FxHashSet<InstanceId>>,
    cursor: Cursor,
    log_dir: PathBuf,
}

/// An answer.
pub(super) struct Page {
    pub(super) chunks: Vec<LogChunk>,
    pub(super) cursor: Cursor,
    pub(super) more: bool,
}

impl Request {
    pub(super) fn wanted(self, history: &History) -> Result<Wanted, HistoryError> {
        let (mut task, mut index) = (None, None);
        if !self.task.is_empty() {
            let (id, width) = history.task(self.run, &self.task)?;
            task = Some(id);
            if self.index >= 0 {
                let at = u32::try_from(self.index).unwrap_or(u32::MAX);
                if at >= width {
                    let task = self.task;
                    return Err(HistoryError::UnknownInstance { task, index: at, width });
                }
                index = Some(at);
            }
        }
        let failed = if self.failed_only { Some(all_failed(history, self.run)?) } else { None };
        Ok(Wanted { task, index, failed, cursor: self.cursor, log_dir: self.log_dir })
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
        self.task.is_none_or(|task| task == instance.task)
            && self.index.is_none_or(|index| index == instance.index)
            && self.failed.as_ref().is_none_or(|failed| failed.contains(&instance))
    }

    pub(super) fn read(self) -> io::Result<Page> {
        let mut cursor = self.cursor.clone();
        let mut accepts = |instance, _attempt| self.accepts(instance);
        let chunks = LogReader::open(&self.log_dir).read(&mut cursor, PAGE_BYTES, &mut accepts)?;
        let bytes: usize = chunks.iter().map(|chunk| chunk.bytes.len().max(1)).sum();
        Ok(Page { chunks, cursor, more: bytes >= PAGE_BYTES })
    }
}
