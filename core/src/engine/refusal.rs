//! Attempts that a worker did not start, through no fault of theirs: its machine was short of
//! something, or it lacks what is to be executed. They are put back as if they had not been handed out.

use super::Cause;
use super::attempts::Attempt;
use super::deadlines::Due;
use super::run::Avoided;
use super::strain::{Strain, pause};
use super::turn::{Hub, Turn};
use super::workers::Worker;
use crate::ids::{InstanceId, Micros, TaskId, Timestamp, WorkerId};
use crate::status::{FailureKind, State};

/// For so long a task avoids a worker that lacks what it executes; each time twice as long as before.
const AVOID: Micros = Micros(10_000_000);
const LONGEST_AVOID: Micros = Micros(600_000_000);

const NOT_STARTED: Cause = Cause::Attempt(FailureKind::Start);

impl Turn<'_> {
    /// The machine of the attempt's worker was short of something.
    pub(super) fn refused(&mut self, attempt: Attempt) {
        let reason = attempt.detail.as_ref().map(|detail| detail.reason.clone());
        let reason = reason.unwrap_or_default();
        self.hub.strain(self.now, attempt.worker, &reason);
        let instance = attempt.instance;
        if self.is_hopeless(instance) {
            self.conclude(attempt, State::Failed, Some(NOT_STARTED));
            return;
        }
        let history = self.run.history(instance);
        history.refusals += 1;
        history.refused = reason;
        let due = self.now.plus(pause(history.refusals));
        self.transition(instance.task, attempt.span(), State::Backoff);
        self.hub.deadlines.retry(due, self.run.id, instance);
    }

    /// Whether all workers that could run an instance have refused everything for long.
    fn is_hopeless(&self, instance: InstanceId) -> bool {
        let hopeless = |worker: &Worker| {
            worker.strain.as_ref().is_some_and(|strain| strain.is_hopeless(self.now))
        };
        let suiting = self.suiting(instance).into_iter();
        suiting.filter_map(|id| self.hub.workers.get(id)).all(hopeless)
    }

    /// The attempt's worker lacks what it executes.
    pub(super) fn lacks(&mut self, mut attempt: Attempt) {
        let (instance, worker) = (attempt.instance, attempt.worker);
        let history = self.run.history(instance);
        if !history.lacking.contains(&worker) {
            history.lacking.push(worker);
        }
        let lacking = history.lacking.clone();
        if self.suiting(instance).iter().all(|id| lacking.contains(id)) {
            if let Some(detail) = &mut attempt.detail {
                detail.reason = nowhere(&detail.reason);
            }
            self.conclude(attempt, State::Failed, Some(NOT_STARTED));
            return;
        }
        self.avoid(instance.task, worker);
        self.give_back(instance);
    }

    /// The instances of a task go to other workers for a while, if there are any.
    fn avoid(&mut self, task: TaskId, worker: WorkerId) {
        let now = self.now;
        let avoided = &mut self.run.task_mut(task).rare_mut().avoided;
        let known = avoided.iter_mut().find(|avoided| avoided.worker == worker);
        let times = match known {
            // Others of its instances were under way there.
            Some(known) if known.until > now => return,
            Some(known) => {
                known.times += 1;
                known.until = now.plus(avoid_for(known.times));
                known.times
            }
            None => {
                let until = now.plus(avoid_for(1));
                avoided.push(Avoided { worker, times: 1, until });
                1
            }
        };
        let due = Due::Avoided(self.run.id, task);
        self.hub.deadlines.at(now.plus(avoid_for(times)), due);
        self.choose_workers(task);
    }

    /// An attempt of a task ran on a worker after all.
    pub(super) fn has_what_it_needs(&mut self, task: TaskId, worker: WorkerId) {
        let avoided = self.run.task(task).rare().map_or(&[][..], |rare| &rare.avoided);
        if avoided.iter().any(|avoided| avoided.worker == worker) {
            let avoided = &mut self.run.task_mut(task).rare_mut().avoided;
            avoided.retain(|avoided| avoided.worker != worker);
            self.choose_workers(task);
        }
    }

    /// The workers that are present and could run an instance, were there enough of everything.
    pub(super) fn suiting(&self, instance: InstanceId) -> Vec<WorkerId> {
        let Some(needs) = self.hub.needs_of(self.run, instance) else { return Vec::new() };
        let bound = self.run.task(instance.task).bound_to(instance.index);
        let workers = self.hub.workers.iter();
        workers
            .filter(|(id, worker)| {
                bound.is_none_or(|bound| bound == *id) && worker.suits(*id, &needs)
            })
            .map(|(id, _)| id)
            .collect()
    }
}

fn avoid_for(times: u32) -> Micros {
    Micros((AVOID.0 << times.saturating_sub(1).min(16)).min(LONGEST_AVOID.0))
}

/// The reason when what is missing at one worker is missing at all.
fn nowhere(reason: &str) -> String {
    match reason.split_once(": ") {
        Some((_, name)) => format!("no worker has `{name}` ({reason})"),
        None => format!("no worker can start it ({reason})"),
    }
}

impl Hub {
    /// A worker's machine was short of something.
    fn strain(&mut self, now: Timestamp, worker: WorkerId, reason: &str) {
        let due = self.workers.update(worker, |held| {
            let (slots, occupied) = (held.info.offer.slots, held.occupied);
            let strain = held.strain.get_or_insert_with(|| Box::new(Strain::new(now, slots)));
            strain.note_refusal(now, occupied, reason.to_owned());
            strain.next_look()
        });
        if let Some(due) = due.flatten() {
            self.deadlines.at(due, Due::Strain(worker));
        }
    }

    /// A worker whose machine was short of something may have recovered.
    pub(super) fn wake_worker(&mut self, now: Timestamp, due: Due) {
        let Due::Strain(worker) = due else { return };
        let next = self.workers.update(worker, |held| {
            let slots = held.info.offer.slots;
            let strain = held.strain.as_mut()?;
            if !strain.is_due(now) {
                return None;
            }
            if strain.recover(now, slots) {
                held.strain = None;
                return None;
            }
            strain.next_look()
        });
        if let Some(next) = next.flatten() {
            self.deadlines.at(next, due);
        }
    }
}
