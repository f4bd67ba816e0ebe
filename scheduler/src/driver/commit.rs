//! What goes to the journal in batches, and what follows once a batch is on disk: only then clients see it,
//! and reports are acknowledged.

use dagrun_core::ids::{RunId, TaskId, Timestamp};
use dagrun_core::status::{Failure, RunState};
use dagrun_schema::wire::{Ended, TaskDelta};
use rustc_hash::FxHashMap;

use super::inbox::Inbox;
use super::run::LiveRun;
use super::{Batch, SchedulerCore, published};
use crate::store::{Command, Haste, RunEnd};

/// What clients may see once it is on disk.
#[derive(Default)]
pub(super) struct News {
    pub(super) counts: Vec<(RunId, TaskDelta)>,
    /// The first failures of each run; more are not shown.
    pub(super) failures: FxHashMap<RunId, Vec<Failure>>,
    pub(super) ends: Vec<(RunId, RunState, Timestamp)>,
    pub(super) ended: Vec<(RunId, Ended)>,
}

impl News {
    /// Whether all instances of some task have ended, or one has failed.
    fn has_an_end(&self) -> bool {
        !self.failures.is_empty() || self.counts.iter().any(|(_, task)| published::has_ended(task))
    }
}

impl SchedulerCore {
    /// Sends a batch to the store, and keeps what becomes public when it is written.
    pub(super) fn write(&mut self, batch: Batch) {
        if self.halted.is_some() {
            self.unanswered.clear();
            return;
        }
        let counts = self.engine.take_dirty().into_iter().filter_map(|(run, task)| {
            let (counts, running) = self.engine.counts(run, task)?;
            let width_known = self.engine.width(run, task).is_some();
            Some((run, TaskDelta { task, counts, running, width_known }))
        });
        let news = News { counts: counts.collect(), ..batch.news };
        let hurry = std::mem::take(&mut self.haste);
        let waited_for = hurry > Haste::Whenever || !self.unanswered.is_empty();
        if !batch.entries.is_empty() || !news.ends.is_empty() || waited_for {
            let ends = news.ends.iter().map(|(run, state, at)| self.run_end(*run, *state, *at));
            let ends: Vec<RunEnd> = ends.collect();
            let haste = match () {
                () if !ends.is_empty() || !self.unanswered.is_empty() => Haste::Now,
                () if hurry > Haste::Whenever => hurry,
                () if self.is_watched(&news) || news.has_an_end() => Haste::Soon,
                () => Haste::Whenever,
            };
            self.batch += 1;
            let answers = self.unanswered.drain(..).map(|answer| (self.batch, answer));
            self.answers.extend(answers);
            self.unwritten.push_back((self.batch, batch.entries.len()));
            self.backlog += batch.entries.len();
            self.store.send(Command::Append(self.batch, batch.entries, ends), haste);
        }
        if self.unwritten.is_empty() {
            self.publish(news);
        } else {
            self.news.push_back((self.batch, news));
        }
    }

    /// Whether any observer follows the instances that have ended.
    fn is_watched(&self, news: &News) -> bool {
        let mut watched = self.runs.iter().filter(|(_, run)| run.published.is_detailed());
        watched.any(|(id, _)| news.ended.iter().any(|(run, _)| run == id))
    }

    fn run_end(&self, run: RunId, state: RunState, finished: Timestamp) -> RunEnd {
        let tasks = self.engine.plan(run).map_or(0, |plan| plan.tasks.len());
        let tasks = (0..u32::try_from(tasks).unwrap_or(u32::MAX)).map(TaskId);
        let counts = tasks.map(|task| self.engine.counts(run, task).unwrap_or_default().0);
        let durations = self.runs.get(&run).map(LiveRun::durations).unwrap_or_default();
        RunEnd { run, state, finished, counts: counts.collect(), durations }
    }

    /// Notes when the reports that have been received are on disk.
    pub(super) fn note_receipts(&mut self) {
        if self.halted.is_some() {
            return;
        }
        for worker in std::mem::take(&mut self.reported) {
            let Some(received) = self.received_from(worker) else { continue };
            if self.engine.has_claims(worker) {
                // What it reports on these is known to this process alone.
                self.reported.insert(worker);
                continue;
            }
            match self.unwritten.is_empty() {
                true => self.acknowledge(worker, received),
                false => self.receipts.push_back((self.batch, worker, received)),
            }
        }
    }

    /// All batches up to this one are on disk.
    pub(super) fn committed(&mut self, number: u64, inbox: &Inbox) {
        self.committed = number;
        self.followed.retain(|_, batch| *batch > number);
        while self.answers.front().is_some_and(|(batch, _)| *batch <= number) {
            if let Some((_, answer)) = self.answers.pop_front() {
                // The client may have left.
                let _ = answer.send(());
            }
        }
        self.send_what_waited(number, inbox);
        self.release_unneeded();
        while self.receipts.front().is_some_and(|(batch, ..)| *batch <= number) {
            if let Some((_, worker, received)) = self.receipts.pop_front() {
                self.acknowledge(worker, received);
            }
        }
        while self.unwritten.front().is_some_and(|(batch, _)| *batch <= number) {
            self.backlog -= self.unwritten.pop_front().map_or(0, |(_, records)| records);
        }
        while self.news.front().is_some_and(|(batch, _)| *batch <= number) {
            if let Some((_, news)) = self.news.pop_front() {
                self.publish(news);
            }
        }
    }

    fn publish(&mut self, news: News) {
        for (run, delta) in news.counts {
            if let Some(run) = self.runs.get_mut(&run) {
                run.publish_counts(delta);
            }
        }
        for (run, ended) in news.ended {
            if let Some(run) = self.runs.get(&run) {
                run.published.instances_ended(ended);
            }
        }
        for (run, failures) in news.failures {
            if let Some(run) = self.runs.get(&run) {
                failures.into_iter().for_each(|failure| run.published.fail(failure));
            }
        }
        for (run, state, finished) in news.ends {
            if let Some(run) = self.runs.remove(&run) {
                run.published.end(state, finished);
            }
            for worker in self.workers.values_mut() {
                worker.forget(run);
            }
            self.engine.forget(run);
        }
    }
}
