//! What must hold between events; for tests and simulations.

use rustc_hash::FxHashMap;

use super::Engine;
use super::clause::{ClauseRun, Verdict, counts};
use super::held::HeldValues;
use super::needs::Needs;
use super::run::Run;
use crate::ids::{InstanceId, RunId, TaskId};
use crate::pipeline::Quantifier;
use crate::status::{RunState, State};

impl Engine {
    /// Compares everything that is kept incrementally with the states.
    ///
    /// # Panics
    /// When something does not agree. Takes time in proportion to instances and edges.
    pub fn check_invariants(&self) {
        let mut leased: FxHashMap<(RunId, InstanceId), u32> = FxHashMap::default();
        for (id, worker) in self.hub.workers.iter() {
            let needs: u32 = worker.leases.values().map(|lease| lease.cpus).sum();
            assert_eq!(needs, worker.occupied, "slots of worker {id}");
            let asked = worker.leases.values().filter(|lease| lease.asked_back).count();
            assert_eq!(asked, worker.asked_back as usize, "asked back from worker {id}");
            let memory: u64 = worker.leases.values().map(|lease| lease.memory).sum();
            assert_eq!(memory, worker.memory, "memory of worker {id}");
            assert!(memory <= worker.info.offer.memory, "worker {id} is oversubscribed");
            assert_eq!(worker.claims as usize, self.hub.claims.of_worker(id), "claims of {id}");
            for lease in worker.leases.values() {
                *leased.entry((lease.run, lease.instance)).or_default() += 1;
            }
        }
        assert!(leased.values().all(|leases| *leases == 1), "an instance is leased twice");
        for (id, run) in &self.runs {
            run.check(*id, &leased, self.hub.held.get(id));
            if let Some(held) = self.hub.held.get(id) {
                held.check(run, |worker| self.hub.workers.get(worker).is_some());
            }
            for task in (0..).map(TaskId).take(run.tasks.len()) {
                let state = &run.tasks[task.at()];
                let key = run.key(task);
                let listed = self.hub.ready.contains(state.listed, &key);
                assert_eq!(listed, !state.ready.is_empty() && !state.parked, "ready set, {task}");
                for one in state.apart() {
                    assert_ne!(one.class, state.listed, "instances that are apart, {task}");
                    let listed = self.hub.ready.contains(one.class, &key);
                    let wanted = !one.queue.is_empty() && !state.parked;
                    assert_eq!(listed, wanted, "ready set, apart, {task}");
                }
                self.check_choice(*id, task, run);
            }
        }
        let live = self.runs.values().filter(|run| run.state == RunState::Running).count();
        assert_eq!(live, self.hub.live, "runs that have not ended");
        let known = leased.keys().all(|(run, _)| self.runs.contains_key(run));
        assert!(known, "a lease of a forgotten run");
    }
}

impl Engine {
    /// What is ready and avoids workers finds one among those that are present, so that it waits for
    /// capacity and not for ever.
    fn check_choice(&self, id: RunId, task: TaskId, run: &Run) {
        let state = &run.tasks[task.at()];
        let suits = |needs: &Needs| {
            let mut workers = self.hub.workers.iter();
            workers.any(|(id, worker)| worker.suits(id, needs))
        };
        let choosy = state.listed != state.class || !state.apart().is_empty();
        assert!(!choosy || self.hub.choosy.contains(&(id, task)), "{task} is choosy");
        let apart = state.apart().iter().filter(|one| !one.queue.is_empty());
        for class in apart.map(|one| one.class).chain(choosy.then_some(state.listed)) {
            let Some(needs) = self.hub.classes.get(class) else { panic!("{task} has no class") };
            let any = Needs { except: Vec::new(), ..needs.clone() };
            assert!(suits(needs) || !suits(&any), "{task} avoids all workers");
        }
    }
}

impl Run {
    fn check(
        &self,
        id: RunId,
        leased: &FxHashMap<(RunId, InstanceId), u32>,
        held: Option<&HeldValues>,
    ) {
        let mut open = 0;
        for (task, run) in (0..).map(TaskId).zip(&self.tasks) {
            let states: Vec<State> =
                (0..run.instances()).map(|index| self.state(task, index)).collect();
            for state in State::ALL {
                let count = states.iter().filter(|other| **other == state).count();
                assert_eq!(count, run.counts.of(state) as usize, "count of {state:?} in {task}");
            }
            open += states.iter().filter(|state| !state.is_terminal()).count() as u64;
            open += u64::from(run.width.is_none());
            let apart = run.apart().iter().flat_map(|one| one.queue.iter());
            let mut ready: Vec<u32> = run.ready.iter().chain(apart).collect();
            ready.sort_unstable();
            let expected: Vec<u32> =
                (0..run.instances()).filter(|i| states[*i as usize] == State::Ready).collect();
            assert_eq!(ready, expected, "ready queue of {task}");
            for (index, state) in (0..).zip(&states) {
                let held = leased.contains_key(&(id, InstanceId { task, index }));
                assert_eq!(held, *state == State::Leased, "lease of {task}[{index}]");
            }
            self.check_clauses(task, held);
        }
        assert_eq!(open, self.open, "open instances");
        assert_eq!(self.state == RunState::Running, open > 0, "a run ends with its last instance");
    }

    fn check_clauses(&self, task: TaskId, held: Option<&HeldValues>) {
        let plan = self.task_plan(task);
        let others = plan.clauses.len() - plan.follows as usize;
        let mut unmet = 0;
        for number in 0..u32::try_from(plan.clauses.len()).unwrap_or(0) {
            let ClauseRun { pending, verdict, .. } = self.clause(task, number);
            let (expected, left) = judge(self, task, number, held);
            assert_eq!(pending, left, "pending of clause {number} of {task}");
            // For `follow`, the worker on which an upstream ran matters as well.
            if (number as usize) < others {
                assert_eq!(verdict, expected, "verdict on clause {number} of {task}");
            }
            unmet += u32::from(verdict != Verdict::Met);
        }
        assert_eq!(unmet, self.task(task).unmet, "unmet clauses of {task}");
    }
}

/// The verdict by definition: from all outcomes at once. What is made again has succeeded before.
fn judge(run: &Run, task: TaskId, clause: u32, held: Option<&HeldValues>) -> (Verdict, u64) {
    let plan = &run.task_plan(task).clauses[clause as usize];
    let (mut hits, mut misses, mut pending) = (0u64, 0u64, 0u64);
    for upstream in &plan.upstreams {
        if run.task(*upstream).width.is_none() {
            pending += 1;
        }
        for index in 0..run.task(*upstream).instances() {
            let instance = InstanceId { task: *upstream, index };
            let state = match held.is_some_and(|held| held.remade.succeeded_once(instance)) {
                true => State::Succeeded,
                false => run.state(*upstream, index),
            };
            match (state.is_terminal(), counts(plan.on, state == State::Succeeded)) {
                (false, _) => pending += 1,
                (true, true) => hits += 1,
                (true, false) => misses += 1,
            }
        }
    }
    let verdict = match plan.quantifier {
        _ if hits + misses + pending == 0 => Verdict::Met,
        Quantifier::All if misses > 0 => Verdict::Dead,
        Quantifier::All if pending == 0 => Verdict::Met,
        Quantifier::Any if hits > 0 => Verdict::Met,
        Quantifier::Any if pending == 0 => Verdict::Dead,
        _ => Verdict::Open,
    };
    (verdict, pending)
}
