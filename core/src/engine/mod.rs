//! The deterministic state machine: events in, actions out, no I/O.
//!
//! [`Engine::handle`] takes one [`Event`] at a time and appends [`Action`]s; [`Engine::next_deadline`]
//! says when [`Event::Tick`] is due. The same machine runs the embedded scheduler, the server, the
//! tests and the simulator.
//!
//! A task's instances are implied: one byte of state each, ranges in the ready queue, one counter per
//! clause. What is true only of attempts in flight lives in a lease of their worker. Finishing an
//! instance costs its out-edges; blocked instances are never rescanned.

mod attempts;
mod cancel;
mod cascade;
mod clause;
mod deadlines;
mod dispatch;
pub mod event;
mod explain;
mod follow;
mod groups;
mod invariants;
mod needs;
pub mod past;
pub mod plan;
mod rank;
mod ready;
mod run;
mod scheme;
mod transition;
mod values;
mod widths;
mod workers;

pub use event::{
    Action, Assignment, CancelScope, Cause, Event, FollowProblem, Outcome, Record, Report,
    RevokeMode, WorkerInfo,
};
pub use explain::{Explanation, Missing, MissingEdge, NotStarted};
pub use past::{Done, Past};
pub use plan::{Consumed, GatherPlan, MapEdge, RunPlan, TaskPlan, ValueEdge};
pub use scheme::Scheme;
pub use transition::is_legal;

use std::cmp::Reverse;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use self::cascade::Cascade;
use self::deadlines::Deadlines;
use self::needs::{ClassId, Classes, Needs};
use self::ready::{ReadyKey, ReadyTasks};
use self::run::Run;
use self::scheme::SplitMix;
use self::workers::Workers;
use crate::ids::{AttemptId, InstanceId, RunId, TaskId, Timestamp, WorkerId};
use crate::status::{Counts, RunState, State};

/// The state machine.
#[derive(Debug, Default)]
pub struct Engine {
    runs: FxHashMap<RunId, Run>,
    workers: Workers,
    classes: Classes,
    ready: ReadyTasks,
    deadlines: Deadlines,
    scheme: Scheme,
    random: SplitMix,
    last_attempt: u64,
    submitted: u64,
    stale: u64,
    dirty: Vec<RunId>,
    /// Runs of which workers hold, or held, values.
    holding: Vec<RunId>,
    /// Runs with fail-fast in which an instance has failed.
    failing: Vec<RunId>,
}

impl Engine {
    /// A machine without runs and workers, which places attempts where the load is least.
    #[must_use]
    pub fn new() -> Engine {
        Engine::default()
    }

    /// A machine that places attempts by `scheme`; `seed` is for those that draw lots.
    #[must_use]
    pub fn with_scheme(scheme: Scheme, seed: u64) -> Engine {
        Engine { scheme, random: SplitMix(seed), ..Engine::default() }
    }

    /// The placement scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Takes one event and appends what must be done.
    ///
    /// Events about unknown runs, workers or attempts are counted ([`Engine::stale`]) and ignored.
    pub fn handle(&mut self, now: Timestamp, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::RunSubmitted { run, plan, past } => self.submit(now, run, plan, &past, out),
            Event::CancelRequested { run, scope } => self.cancel(now, run, scope, out),
            Event::WorkerJoined { worker, info } => {
                if !self.workers.join(worker, info) {
                    self.stale += 1;
                }
                self.open_waiting(now, out);
            }
            Event::WorkerLost { worker } => self.lose(now, worker, out),
            Event::Reported { worker, reports } => self.report(now, worker, reports, out),
            Event::Tick => self.wake(now, out),
        }
        // First all that follows from the event, then what fail-fast makes of it.
        for run in std::mem::take(&mut self.failing) {
            self.fail_fast(now, run, out);
        }
        self.tell_released(out);
        self.schedule(out);
    }

    /// When [`Event::Tick`] is next due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.next()
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
        task.known.then_some(task.width)
    }

    /// The state of an instance; `None` when it or its run is unknown.
    #[must_use]
    pub fn state(&self, run: RunId, instance: InstanceId) -> Option<State> {
        let run = self.runs.get(&run)?;
        let width = run.tasks.get(instance.task.at())?.width;
        (instance.index < width).then(|| run.state(instance.task, instance.index))
    }

    /// The tasks whose counts changed since the last call, each once.
    pub fn take_dirty(&mut self) -> Vec<(RunId, TaskId)> {
        let mut dirty = Vec::new();
        for id in std::mem::take(&mut self.dirty) {
            if let Some(run) = self.runs.get_mut(&id) {
                dirty.extend(run.take_dirty().into_iter().map(|task| (id, task)));
            }
        }
        dirty
    }

    /// The state of `run`.
    #[must_use]
    pub fn run_state(&self, run: RunId) -> Option<RunState> {
        Some(self.runs.get(&run)?.state)
    }

    /// Forgets a run that has finished; one that has not is kept.
    pub fn forget(&mut self, run: RunId) {
        if self.runs.get(&run).is_some_and(|run| run.state != RunState::Running)
            && let Some(run) = self.runs.remove(&run)
        {
            run.tasks.iter().for_each(|task| self.classes.leave(task.class));
        }
    }

    /// Reports and requests that were ignored since the start: stale attempts, unknown workers.
    #[must_use]
    pub fn stale(&self) -> u64 {
        self.stale
    }

    /// The plan of a run.
    #[must_use]
    pub fn plan(&self, run: RunId) -> Option<&Arc<RunPlan>> {
        Some(&self.runs.get(&run)?.plan)
    }

    /// The run and instance of an attempt in a worker's hands.
    #[must_use]
    pub fn instance_of(&self, worker: WorkerId, attempt: AttemptId) -> Option<(RunId, InstanceId)> {
        let lease = self.workers.get(worker)?.leases.get(&attempt)?;
        Some((lease.run, lease.instance))
    }

    /// Attempts in a worker's hands, or `None` when the worker is not present.
    #[must_use]
    pub fn held_by(&self, worker: WorkerId) -> Option<usize> {
        Some(self.workers.get(worker)?.leases.len())
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
            self.stale += 1;
            return;
        }
        self.submitted += 1;
        let submitted = self.submitted;
        let classes: Vec<ClassId> = (0..)
            .map(TaskId)
            .zip(&plan.tasks)
            .map(|(task, plan)| self.classes.join(Needs::of(plan, submitted, task)))
            .collect();
        let run = Run::new(plan, submitted, &classes);
        let tasks = run.ids();
        self.dirty.push(id);
        self.runs.insert(id, run);
        let mut cascade = Cascade::new(now, id, out);
        for task in tasks {
            self.begin(task, &mut cascade);
        }
        self.take_over(past, &mut cascade);
        self.run_cascade(cascade);
        self.finish_if_done(id, out);
    }

    /// Puts a task into the ready set if it belongs there.
    fn enlist(&mut self, id: RunId, task: TaskId) {
        let Some(run) = self.runs.get(&id) else { return };
        let state = run.task(task);
        if !state.ready.is_empty() && !state.parked {
            self.ready.insert(state.class, ready_key(id, run, task));
        }
        self.note_dirty(id);
    }

    /// Takes a task out of the ready set.
    fn delist(&mut self, id: RunId, task: TaskId) {
        let Some(run) = self.runs.get(&id) else { return };
        self.ready.remove(run.task(task).class, &ready_key(id, run, task));
    }

    fn note_dirty(&mut self, id: RunId) {
        if self.dirty.last() != Some(&id) && !self.dirty.contains(&id) {
            self.dirty.push(id);
        }
    }

    fn finish_if_done(&mut self, id: RunId, out: &mut Vec<Action>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.open > 0 || run.state != RunState::Running {
            return;
        }
        run.state = match (run.cancelled, run.failed) {
            (true, _) => RunState::Cancelled,
            (false, true) => RunState::Failed,
            (false, false) => RunState::Succeeded,
        };
        let state = run.state;
        self.note_dirty(id);
        self.release_values(id);
        out.push(Action::RunFinished { run: id, state });
    }
}

fn ready_key(id: RunId, run: &Run, task: TaskId) -> ReadyKey {
    ReadyKey {
        priority: Reverse(run.task_plan(task).conduct.priority),
        rank: Reverse(run.task(task).rank),
        submitted: run.submitted,
        task,
        run: id,
    }
}
