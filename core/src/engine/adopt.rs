//! Attempts that an earlier scheduler with the same state had handed out, and that go on where they are:
//! the workers that have them say so when they return, and they are adopted as soon as their run is gone
//! on with and all that they depend on is known to have ended.
//!
//! An attempt is adopted only if its number is the last one that may have been given to its instance, or
//! if whoever could have a later one has said what it has.
//! Every end that it depends on is then of an attempt that it can have seen: as long as claims are open,
//! no other attempt of their instances or of what these depend on begins.

use super::attempts::Attempt;
use super::claims::Claimed;
use super::event::Claim;
use super::ready::Span;
use super::resumed::Resumed;
use super::run::Taken;
use super::turn::{Hub, Turn};
use super::workers::Lease;
use super::{Action, Engine, Report, RevokeMode};
use crate::ids::{AttemptId, InstanceId, RunId, Timestamp, WorkerId};
use crate::status::State;

impl Engine {
    /// A worker has attempts of runs that are about to be gone on with.
    pub(super) fn claim(&mut self, worker: WorkerId, claims: &[Claim], out: &mut Vec<Action>) {
        let mut refused = Vec::new();
        for claim in claims {
            let assignment = &claim.assignment;
            for offset in 0..assignment.count {
                let Some(first) = assignment.first_index.checked_add(offset) else { break };
                let instance = InstanceId { task: assignment.task, index: first };
                let Some(id) = assignment.first_attempt.0.checked_add(offset.into()) else { break };
                let claimed = Claimed {
                    worker,
                    attempt: AttemptId(id),
                    number: assignment.number,
                    memory: assignment.memory,
                    started: claim.started,
                    announced: claim.started.0 > 0,
                    ended: claim.ended,
                    report: None,
                };
                if self.instance_of(worker, claimed.attempt).is_some() {
                    continue; // Its line was cut once more.
                }
                self.hub.workers.update(worker, |held| held.claims += 1);
                refused.extend(match self.runs.contains_key(&assignment.run) {
                    true => Some(claimed),
                    false => self.hub.claims.open(assignment.run, instance, claimed),
                });
            }
        }
        for claimed in refused {
            self.hub.take_from_worker(&claimed, out);
        }
    }

    /// A run is not gone on with: what was claimed of it is given up.
    pub(super) fn abandon(&mut self, run: RunId, out: &mut Vec<Action>) {
        if self.runs.contains_key(&run) {
            self.hub.stale += 1;
            return;
        }
        let Some(of) = self.hub.claims.runs.get(&run) else { return };
        let instances: Vec<InstanceId> = of.open.keys().copied().collect();
        for instance in instances {
            self.hub.give_up(run, instance, out);
        }
        self.hub.claims.runs.remove(&run);
    }

    /// Adopts what was claimed and is ready by now, and gives up what never will be.
    pub(super) fn adopt(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if self.hub.claims.is_empty() {
            return;
        }
        let runs: Vec<RunId> = self.hub.claims.runs.keys().copied().collect();
        for run in runs.into_iter().filter(|run| self.runs.contains_key(run)).collect::<Vec<_>>() {
            while self.adopt_what_is_ready(now, run, out) {}
            let Some(of) = self.hub.claims.runs.get_mut(&run) else { continue };
            let workers = &self.hub.workers;
            of.awaited.retain(|attempt, worker| {
                workers.get(*worker).is_some_and(|held| held.leases.contains_key(attempt))
            });
            if of.awaited.is_empty() {
                if let Some(turn) = self.turn(now, run, out) {
                    turn.refuse_the_rest();
                }
                self.hub.claims.runs.remove(&run);
            }
        }
    }

    /// Returns whether anything has become known by it.
    fn adopt_what_is_ready(&mut self, now: Timestamp, run: RunId, out: &mut Vec<Action>) -> bool {
        let Some(mut turn) = self.turn(now, run, out) else { return false };
        let reports = turn.adopt_claims();
        turn.settle();
        let any = !reports.is_empty();
        for (worker, report) in reports {
            self.report(now, worker, vec![report], out);
        }
        any
    }
}

impl Turn<'_> {
    /// What is claimed of instances that are open again, as what they had brought about is lost, does not
    /// count: it is what is lost.
    pub(super) fn disclaim(&mut self, resumed: &Resumed) {
        let run = self.run.id;
        for opened in &resumed.reopened {
            let at = |index| InstanceId { task: opened.task, index };
            let range = at(opened.first_index)..at(opened.first_index + opened.count);
            let Some(of) = self.hub.claims.runs.get(&run) else { return };
            let instances: Vec<InstanceId> = of.open.range(range).map(|(it, _)| *it).collect();
            instances.into_iter().for_each(|instance| self.refuse(instance));
        }
    }

    /// Adopts what is ready; returns the reports that have arrived on it.
    fn adopt_claims(&mut self) -> Vec<(WorkerId, Report)> {
        let Some(of) = self.hub.claims.runs.get(&self.run.id) else { return Vec::new() };
        let instances: Vec<InstanceId> = of.open.keys().copied().collect();
        let mut reports = Vec::new();
        for instance in instances {
            let state = self.state_of(instance);
            match state {
                Some(State::Ready | State::Backoff) => reports.extend(self.adopt_one(instance)),
                Some(state) if state.is_terminal() => self.refuse(instance),
                _ => {}
            }
        }
        reports
    }

    /// `None` as long as there is no such instance.
    fn state_of(&self, instance: InstanceId) -> Option<State> {
        let task = self.run.tasks.get(instance.task.at())?;
        (instance.index < task.instances()).then(|| self.run.state(instance.task, instance.index))
    }

    fn adopt_one(&mut self, instance: InstanceId) -> Option<(WorkerId, Report)> {
        if !self.is_adoptable(instance) {
            self.refuse(instance);
            return None;
        }
        let run = self.run.id;
        let Claimed { worker, attempt, number, memory, started, announced, ended, report } =
            self.hub.close_claim(run, instance)?;
        let task = instance.task;
        let span = Span { first: instance.index, count: 1 };
        match self.run.state(task, instance.index) {
            State::Backoff => {
                self.waits_no_more(instance);
                self.transition(task, span, State::Ready);
            }
            _ => {
                self.delist(task);
                self.run.task_mut(task).unready(instance.index);
                self.enlist(task);
            }
        }
        self.transition(task, span, State::Leased);
        let class = self.run.task(task).class;
        let needs = self.hub.classes.get(class)?;
        let runs = started.0 > 0 && !ended && report.is_none();
        let lease = Lease {
            run,
            instance,
            number,
            cpus: needs.cpus,
            memory,
            class,
            started: runs,
            announced,
            asked_back: false,
            cancelled: false,
            adopted: true,
            choosy: false,
        };
        self.hub.workers.lease(worker, needs, attempt, lease, 1);
        if runs {
            let (finished, detail) = (Timestamp(0), None);
            let attempt =
                Attempt { instance, number, worker, ran: true, started, finished, detail };
            self.start(attempt);
        }
        if ended && report.is_none() {
            let of = self.hub.claims.runs.entry(run).or_default();
            of.awaited.insert(attempt, worker);
        }
        Some((worker, report?))
    }

    /// Whether the attempt of an instance that could start is the last one that may have been made of it,
    /// and where it is to be.
    fn is_adoptable(&self, instance: InstanceId) -> bool {
        let of = self.hub.claims.runs.get(&self.run.id);
        let Some(claimed) = of.and_then(|of| of.open.get(&instance)) else { return false };
        let history = self.run.histories.get(&instance);
        let task = self.run.task(instance.task);
        let last =
            history.map_or_else(|| task.last_number(instance.index).0, |history| history.attempts);
        let former = history.map_or(1..last.saturating_add(1), |history| history.former.clone());
        let bound = task.bound_to(instance.index);
        // A later number may have been given since, but then somebody would claim it.
        let is_last = match self.hub.claims.complete {
            true => former.contains(&claimed.number) && last < former.end,
            false => last == claimed.number,
        };
        is_last
            && bound.is_none_or(|bound| bound == claimed.worker)
            && self.hub.workers.get(claimed.worker).is_some()
    }

    /// Gives up what is claimed of an instance. It may go on running for a while.
    fn refuse(&mut self, instance: InstanceId) {
        let Some(claimed) = self.hub.give_up(self.run.id, instance, self.out) else { return };
        let state = self.state_of(instance);
        let task = self.run.tasks.get(instance.task.at());
        let is_open = match state {
            Some(state) => !state.is_terminal(),
            None => task.is_some_and(|task| task.width.is_none()),
        };
        if is_open && !claimed.ended {
            let Claimed { worker, number, .. } = claimed;
            self.run.history(instance).note_taken(Taken { worker, number, ran: true });
        }
    }

    fn refuse_the_rest(mut self) {
        let Some(of) = self.hub.claims.runs.get(&self.run.id) else { return };
        let instances: Vec<InstanceId> = of.open.keys().copied().collect();
        instances.into_iter().for_each(|instance| self.refuse(instance));
        self.settle();
    }
}

impl Hub {
    /// A claim does not count any more.
    fn close_claim(&mut self, run: RunId, instance: InstanceId) -> Option<Claimed> {
        let claimed = self.claims.close(run, instance)?;
        self.workers.update(claimed.worker, |held| held.claims -= 1);
        Some(claimed)
    }

    fn take_from_worker(&mut self, claimed: &Claimed, out: &mut Vec<Action>) {
        self.workers.update(claimed.worker, |held| held.claims -= 1);
        if !claimed.ended && claimed.report.is_none() {
            revoke(claimed.worker, claimed.attempt, out);
        }
    }

    /// What a worker still has of it is taken from it.
    fn give_up(
        &mut self,
        run: RunId,
        instance: InstanceId,
        out: &mut Vec<Action>,
    ) -> Option<Claimed> {
        let claimed = self.claims.close(run, instance)?;
        self.take_from_worker(&claimed, out);
        Some(claimed)
    }
}

/// Takes an attempt from a worker, in one go with those before.
fn revoke(worker: WorkerId, attempt: AttemptId, out: &mut Vec<Action>) {
    match out.last_mut() {
        Some(Action::Revoke { worker: before, attempts, mode: RevokeMode::Cancel })
            if *before == worker =>
        {
            attempts.push(attempt);
        }
        _ => out.push(Action::Revoke { worker, attempts: vec![attempt], mode: RevokeMode::Cancel }),
    }
}
