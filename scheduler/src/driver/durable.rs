//! What must be on disk before attempts are handed out, so that whoever goes on with a run after a kill
//! knows which numbers of attempts may have been given. On a full disk nothing is handed out.

use dagrun_core::engine::{Assignment, CancelScope};
use dagrun_core::ids::{InstanceId, RunId, WorkerId};

use super::{Batch, SchedulerCore};
use crate::journal::Note;
use crate::store::{Haste, Line};

impl SchedulerCore {
    /// The batch that must be on disk before an assignment is sent, if it is not: the one with its task's
    /// mark, the one with the row of its worker, and where an attempt follows another, the one with the end
    /// of that. While the disk is full that is the current one, whatever is in it.
    pub(super) fn wait_for_disk(
        &mut self,
        worker: WorkerId,
        assignment: &Assignment,
        batch: &mut Batch,
    ) -> Option<u64> {
        let &Assignment { run, task, first_index, count, number, .. } = assignment;
        let (committed, current) = (self.committed, self.batch + 1);
        // One that nobody knows of after a kill would not be waited for.
        let known_with = self.workers.get(&worker).map(|live| live.known_with);
        let unknown = known_with.filter(|batch| *batch > committed).map(|_| current);
        let live = self.runs.get_mut(&run)?;
        let marking = live.mark(task, first_index.saturating_add(count), committed, current);
        if let Some(below) = marking.below {
            batch.entries.push(Line::Mark { run, task, below });
        }
        if marking.wait_for.is_some() || unknown.is_some() {
            self.haste = Haste::Now;
        }
        let instance = InstanceId { task, index: first_index };
        let follows = (number > 1 && count == 1).then(|| self.followed.get(&(run, instance)));
        let follows = follows.flatten().copied();
        if follows.is_some() {
            self.haste = self.haste.max(Haste::Soon);
        }
        let paused = (!self.paused.is_empty()).then_some(current);
        if paused.is_some() {
            self.haste = Haste::Now;
        }
        marking.wait_for.max(follows).max(unknown).max(paused)
    }

    /// The disk is full, as these words say, or is no longer, without words.
    pub(super) fn pause(&mut self, why: String) {
        self.paused = why;
        for live in self.runs.values() {
            live.published.wait(&self.paused);
        }
    }

    /// Reports and requests that were ignored, as they were about what was not their sender's.
    pub(crate) fn stale(&self) -> u64 {
        self.engine.stale()
    }

    /// Journals that a run is cancelled or interrupted, or a part of it, before what follows from that.
    pub(super) fn note_cancel(&mut self, run: RunId, scope: CancelScope) {
        let known = match scope {
            CancelScope::Instance(instance) => self.engine.state(run, instance).is_some(),
            _ => self.runs.contains_key(&run),
        };
        if known && self.halted.is_none() {
            let note = match scope {
                CancelScope::Interruption => Note::Interrupted,
                _ => Note::Cancelled(scope),
            };
            self.notes.push(Line::Note { run, note });
        }
    }
}
