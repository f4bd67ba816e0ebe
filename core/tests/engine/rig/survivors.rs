//! Workers that outlive their scheduler.

use std::sync::Arc;

use dagrun_core::engine::{Assignment, Claim, Engine, Event, WorkerInfo};
use dagrun_core::ids::{AttemptId, InstanceId, TaskId, Timestamp, WorkerId};
use dagrun_core::offer::Offer;

use super::{RUN, Rig};

impl Rig {
    /// The scheduler is killed, and the workers are not; of its journal the lines up to a place are on
    /// disk, and what the workers had reported since then is not acknowledged.
    pub(crate) fn lose_scheduler(&mut self, durable: i64) {
        self.epoch += 1;
        self.engine = Engine::with_scheme(self.engine.scheme(), self.epoch);
        self.engine.begin_epoch(self.epoch);
        self.journal.cut(durable);
        self.down = true;
        (self.finished, self.returned) = (Vec::new(), Vec::new());
        for (seq, value, worker) in std::mem::take(&mut self.released) {
            if seq > durable && self.workers.contains_key(&worker) {
                self.kept.insert(value, worker);
            }
        }
        for fake in self.workers.values_mut() {
            let sent = std::mem::take(&mut fake.sent).into_iter();
            let unknown = sent.filter(|(seq, _)| *seq > durable).map(|(_, report)| report);
            let before = std::mem::take(&mut fake.pending);
            fake.pending = unknown.chain(before).collect();
        }
    }

    /// A worker ends while there is no scheduler, or before that knows it.
    pub(crate) fn die(&mut self, id: u32) -> Offer {
        self.kept.retain(|_, worker| *worker != WorkerId(id));
        self.workers.remove(&WorkerId(id)).expect("a live worker").offer
    }

    /// A worker registers with the next scheduler, and says what it has.
    pub(crate) fn register(&mut self, id: u32) {
        let worker = WorkerId(id);
        let fake = &self.workers[&worker];
        let ended: Vec<AttemptId> = fake.pending.iter().map(|report| report.first).collect();
        let claim = |attempt: &AttemptId, ended: bool| {
            let held = self.given[attempt];
            let assignment = Assignment {
                run: RUN,
                task: held.instance.task,
                first_index: held.instance.index,
                count: 1,
                first_attempt: *attempt,
                number: held.number,
                memory: held.memory,
            };
            let started = fake.held.get(attempt).is_some_and(|held| held.started);
            let started = Timestamp(if started { self.now.max(1) } else { 0 });
            Claim { assignment, started, ended }
        };
        let claims = fake.held.keys().map(|attempt| claim(attempt, false));
        let claims: Vec<Claim> = claims.chain(ended.iter().map(|it| claim(it, true))).collect();
        let held = claims.iter().map(|claim| claim.assignment.first_attempt.0);
        let mut held: Vec<u64> = held.collect();
        held.sort_unstable();
        let held = held.into_iter().map(|attempt| attempt..attempt + 1).collect();
        let offer = fake.offer.clone();
        let info = WorkerInfo { name: format!("w{id}"), offer, ..WorkerInfo::default() };
        self.event(Event::WorkerJoined { worker, info });
        self.event(Event::WorkerReturned { worker, held, claims });
    }

    /// A worker sends what it has not been able to report.
    pub(crate) fn send_pending(&mut self, id: u32) {
        let worker = WorkerId(id);
        let fake = self.workers.get_mut(&worker).expect("a live worker");
        let mut reports = std::mem::take(&mut fake.pending);
        if !self.down {
            reports.extend(self.start_what_fits(worker));
        }
        if !reports.is_empty() {
            self.event(Event::Reported { worker, reports });
        }
    }

    /// The next scheduler goes on with the run, with the workers that have registered.
    pub(crate) fn go_on(&mut self, items: impl Fn(InstanceId) -> Option<u32>) {
        let present = self.workers.keys().copied().collect();
        let past = self.journal.resume(&self.plan, &present, items);
        self.widths = past.widths.iter().copied().collect();
        let late = |task: &TaskId| self.plan.tasks[task.at()].width.is_late();
        self.widths.retain(|task, _| late(task));
        self.past = Arc::new(past);
        self.down = false;
        let (plan, past) = (Arc::clone(&self.plan), Arc::clone(&self.past));
        self.event(Event::RunSubmitted { run: RUN, plan, past });
        for worker in self.workers.keys().copied().collect::<Vec<_>>() {
            let reports = self.start_what_fits(worker);
            if !reports.is_empty() {
                self.deliver(Event::Reported { worker, reports });
            }
        }
    }
}
