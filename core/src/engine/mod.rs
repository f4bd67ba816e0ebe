//! The deterministic state machine: events in, actions out, no I/O.
//!
//! [`Engine::handle`] takes one [`Event`] at a time and appends [`Action`]s;
//! [`Engine::next_deadline`] returns when [`Event::Tick`] is due. The same machine runs the
//! embedded scheduler, the server, the tests and the simulator.
//!
//! A task's instances are implied: one byte of state each, ranges in the ready queue, one counter
//! per clause. What concerns only attempts in flight is kept in a lease of their worker. Finishing
//! an instance costs its out-edges; blocked instances are never rescanned.

mod adopt;
mod again;
mod apart;
mod attempts;
mod cancel;
mod cascade;
mod cause;
mod claims;
mod clause;
mod deadlines;
mod demand;
mod dispatch;
pub mod event;
mod explain;
mod follow;
mod groups;
mod held;
mod invariants;
mod needs;
mod past;
pub mod plan;
mod presence;
mod rank;
mod ready;
mod refusal;
mod remade;
mod reopening;
mod restore;
mod resumed;
mod run;
mod scheme;
mod strain;
mod temporary;
mod transition;
mod turn;
mod values;
mod wake;
mod widths;
mod workers;

pub use again::Indices;
pub use cause::{CancelScope, Cause, FollowProblem, Reopening};
pub use event::{
    Action, Assignment, Claim, Event, Outcome, Record, Refusal, Report, RevokeMode, WorkerInfo,
};
pub use explain::{Explanation, Missing, MissingEdge, NotStarted, Shortage};
pub use plan::{
    Consumed, Done, GatherPlan, MapEdge, Past, RunPlan, TaskPlan, Temporary, User, ValueEdge, Width,
};
pub use restore::{Breaks, Restore, Row};
pub use resumed::{End, KeptValue, Numbers, Reopened, Resumed, Tried};
pub use run::Taken;
pub use scheme::Scheme;
pub use transition::{is_legal, reopens};

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use self::needs::{ClassId, Needs};
use self::run::{Run, TaskRun};
use self::scheme::SplitMix;
use self::turn::{Hub, Turn};
use crate::ids::{AttemptId, InstanceId, RunId, TaskId, Timestamp, WorkerId};
use crate::status::{Counts, RunState, State};

/// An attempt's id is the number of the scheduler's start, and below it so many bits that count.
const EPOCH_BITS: u32 = 40;

/// The state machine.
#[derive(Debug, Default)]
pub struct Engine {
    runs: FxHashMap<RunId, Run>,
    hub: Hub,
}

impl Engine {
    /// A machine without runs and workers, which places attempts where the load is least.
    #[must_use]
    pub fn new() -> Engine {
        Engine::default()
    }

    /// A machine that places attempts by `scheme`; `seed` is for the random ones.
    #[must_use]
    pub fn with_scheme(scheme: Scheme, seed: u64) -> Engine {
        let hub = Hub { scheme, random: SplitMix(seed), ..Hub::default() };
        Engine { hub, ..Engine::default() }
    }

    /// Numbers attempts from here on as those of a later start of a scheduler with the same state. No
    /// two starts may have the same number.
    pub fn begin_epoch(&mut self, epoch: u64) {
        self.hub.last_attempt = self.hub.last_attempt.max(epoch << EPOCH_BITS);
    }

    /// The placement scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.hub.scheme
    }

    /// Takes one event and appends what must be done.
    ///
    /// Events about unknown runs, workers or attempts are counted ([`Engine::stale`]) and ignored.
    pub fn handle(&mut self, now: Timestamp, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::RunSubmitted { run, plan, past } => self.submit(now, run, plan, &past, out),
            Event::CancelRequested { run, scope } => match self.turn(now, run, out) {
                Some(turn) => turn.cancel(scope),
                None => self.hub.stale += 1,
            },
            Event::WorkerJoined { worker, info } => {
                if !self.hub.workers.join(worker, info) {
                    self.hub.stale += 1;
                }
                self.choose_again(now, out);
                self.open_waiting(now, out);
            }
            Event::WorkerAway { worker } => self.set_away(worker),
            Event::WorkerReturned { worker, held, claims } => {
                self.take_back(now, worker, &held, out);
                self.claim(worker, &claims, out);
            }
            Event::RunAbandoned { run } => self.abandon(run, out),
            Event::WorkerLeaving { worker } => self.set_leaving(worker),
            Event::WorkerShort { worker, left } => self.set_short(now, worker, left),
            Event::WorkerLost { worker } => self.lose(now, worker, out),
            Event::Reported { worker, reports } => self.report(now, worker, reports, out),
            Event::Tick => self.wake(now, out),
        }
        // First all consequences of the event, then those of fail-fast.
        self.end_failing(now, out);
        self.adopt(now, out);
        self.end_failing(now, out);
        self.hub.release(out);
        self.schedule(now, out);
    }

    /// When [`Event::Tick`] is next due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.hub.deadlines.next()
    }

    /// The tasks of `run` by state, and how many run; `None` when the run or task is unknown.
    #[must_use]
    pub fn counts(&self, run: RunId, task: TaskId) -> Option<(Counts, u32)> {
        let task = self.runs.get(&run)?.tasks.get(task.at())?;
        Some((task.counts, task.running))
    }

    /// The number of instances of a task; `None` when it is not known yet, or the task is not.
    #[must_use]
    pub fn width(&self, run: RunId, task: TaskId) -> Option<u32> {
        let task = self.runs.get(&run)?.tasks.get(task.at())?;
        task.width
    }

    /// The state of an instance; `None` when it or its run is unknown.
    #[must_use]
    pub fn state(&self, run: RunId, instance: InstanceId) -> Option<State> {
        let run = self.runs.get(&run)?;
        let task = run.tasks.get(instance.task.at())?;
        (instance.index < task.instances()).then(|| run.state(instance.task, instance.index))
    }

    /// The tasks whose counts changed since the last call, each once.
    pub fn take_dirty(&mut self) -> Vec<(RunId, TaskId)> {
        let mut dirty = Vec::new();
        for id in std::mem::take(&mut self.hub.dirty) {
            if let Some(run) = self.runs.get_mut(&id) {
                dirty.extend(run.take_dirty().into_iter().map(|task| (id, task)));
            }
        }
        dirty
    }

    /// Forgets a run that has finished; one that has not is kept.
    pub fn forget(&mut self, run: RunId) {
        if self.runs.get(&run).is_some_and(|run| run.state != RunState::Running)
            && let Some(run) = self.runs.remove(&run)
        {
            for class in run.tasks.iter().flat_map(TaskRun::classes) {
                self.hub.classes.leave(class);
            }
            self.hub.held.remove(&run.id);
        }
    }

    /// Reports and requests that were ignored since the start: stale attempts, unknown workers.
    #[must_use]
    pub fn stale(&self) -> u64 {
        self.hub.stale
    }

    /// The plan of a run.
    #[must_use]
    pub fn plan(&self, run: RunId) -> Option<&Arc<RunPlan>> {
        Some(&self.runs.get(&run)?.plan)
    }

    /// The run and instance of an attempt that a worker holds, or claims to have of an earlier scheduler.
    #[must_use]
    pub fn instance_of(&self, worker: WorkerId, attempt: AttemptId) -> Option<(RunId, InstanceId)> {
        let lease = self.hub.workers.get(worker)?.leases.get(&attempt);
        let held = lease.map(|lease| (lease.run, lease.instance));
        held.or_else(|| self.hub.claims.claimed(worker, attempt))
    }

    /// The attempts of an instance that were taken from their workers without their word, the last 64 at
    /// most. They may still run: the next attempt has to see that they place nothing.
    #[must_use]
    pub fn taken(&self, run: RunId, instance: InstanceId) -> &[Taken] {
        let history = self.runs.get(&run).and_then(|run| run.histories.get(&instance));
        history.map_or(&[], |history| &history.taken)
    }

    /// Whether a worker claims attempts, so that its reports on them are not records yet.
    #[must_use]
    pub fn has_claims(&self, worker: WorkerId) -> bool {
        self.hub.workers.get(worker).is_some_and(|worker| worker.claims > 0)
    }

    /// Whether each worker of earlier schedulers that may have an attempt has returned, so that all are
    /// claimed.
    pub fn claims_are_complete(&mut self, complete: bool) {
        self.hub.claims.complete = complete;
    }

    /// The numbers of attempts of an instance that earlier schedulers may have given, and of which no end
    /// is known: they may still run, wherever.
    #[must_use]
    pub fn untraced(&self, run: RunId, instance: InstanceId) -> Range<u32> {
        let Some(run) = self.runs.get(&run) else { return 0..0 };
        let task = run.tasks.get(instance.task.at());
        let last = || task.map_or(0, |task| task.last_number(instance.index).0);
        match run.histories.get(&instance) {
            Some(history) => history.former.clone(),
            None => 1..last().saturating_add(1),
        }
    }

    /// How many attempts a worker holds, or `None` when the worker is not present.
    #[must_use]
    pub fn held_by(&self, worker: WorkerId) -> Option<usize> {
        Some(self.hub.workers.get(worker)?.leases.len())
    }

    fn end_failing(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        for run in std::mem::take(&mut self.hub.failing) {
            if let Some(turn) = self.turn(now, run, out) {
                turn.fail_fast();
            }
        }
    }

    fn submit(
        &mut self,
        now: Timestamp,
        id: RunId,
        plan: Arc<RunPlan>,
        past: &Past,
        out: &mut Vec<Action>,
    ) {
        if self.runs.contains_key(&id) {
            self.hub.stale += 1;
            return;
        }
        self.hub.submitted += 1;
        self.hub.live += 1;
        let submitted = self.hub.submitted;
        let tasks = (0..).map(TaskId).zip(&plan.tasks);
        let classes: Vec<ClassId> = tasks
            .map(|(task, plan)| self.hub.classes.join(Needs::of(plan, submitted, task)))
            .collect();
        let mut run = Run::new(id, plan, submitted, &classes, past);
        if let Some(resumed) = &past.resumed {
            run.install(resumed);
        }
        self.runs.insert(id, run);
        let Some(mut turn) = self.turn(now, id, out) else { return };
        if let Some(resumed) = &past.resumed {
            turn.disclaim(resumed);
        }
        turn.begin();
        match &past.resumed {
            None => turn.take_over(past),
            Some(resumed) => turn.go_on(past, resumed),
        }
        turn.settle();
    }

    /// Begins a turn for a run; `None` when the run is unknown.
    fn turn<'a>(
        &'a mut self,
        now: Timestamp,
        id: RunId,
        out: &'a mut Vec<Action>,
    ) -> Option<Turn<'a>> {
        Some(Turn::new(now, self.runs.get_mut(&id)?, &mut self.hub, out))
    }
}
