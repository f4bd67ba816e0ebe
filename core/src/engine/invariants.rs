//! What must hold between events; for tests and simulations.

use rustc_hash::FxHashMap;

use super::run::{ClauseRun, Run, Verdict};
use super::{Engine, ready_key};
use crate::ids::{InstanceId, RunId, TaskId};
use crate::pipeline::{Clause, Outcomes, Quantifier};
use crate::status::{RunState, State};

impl Engine {
    /// Compares everything that is kept incrementally with what the states say.
    ///
    /// # Panics
    /// When something does not agree. Costs as much as there are instances and edges.
    pub fn check_invariants(&self) {
        let mut leased: FxHashMap<(RunId, InstanceId), u32> = FxHashMap::default();
        for (id, worker) in self.workers.iter() {
            let needs: u32 = worker.leases.values().map(|lease| lease.cpus).sum();
            assert_eq!(needs, worker.occupied, "slots of worker {id}");
            let asked = worker.leases.values().filter(|lease| lease.asked_back).count();
            assert_eq!(asked, worker.asked_back as usize, "asked back from worker {id}");
            for lease in worker.leases.values() {
                *leased.entry((lease.run, lease.instance)).or_default() += 1;
            }
        }
        assert!(leased.values().all(|leases| *leases == 1), "an instance is leased twice");
        for (id, run) in &self.runs {
            run.check(*id, &leased);
            for task in (0..).map(TaskId).take(run.tasks.len()) {
                let state = &run.tasks[task.at()];
                let listed =
                    self.ready.contains(run.plan.tasks[task.at()].cpus, &ready_key(*id, run, task));
                assert_eq!(listed, !state.ready.is_empty() && !state.parked, "ready set, {task}");
            }
        }
        let known = leased.keys().all(|(run, _)| self.runs.contains_key(run));
        assert!(known, "a lease of a forgotten run");
    }
}

impl Run {
    fn check(&self, id: RunId, leased: &FxHashMap<(RunId, InstanceId), u32>) {
        let mut open = 0;
        for (task, run) in (0..).map(TaskId).zip(&self.tasks) {
            let states: Vec<State> = (0..run.width).map(|index| self.state(task, index)).collect();
            for state in State::ALL {
                let count = states.iter().filter(|other| **other == state).count();
                assert_eq!(count, run.counts.of(state) as usize, "count of {state:?} in {task}");
            }
            open += states.iter().filter(|state| !state.is_terminal()).count() as u64;
            let mut ready: Vec<u32> = run.ready.iter().collect();
            ready.sort_unstable();
            let expected: Vec<u32> =
                (0..run.width).filter(|i| states[*i as usize] == State::Ready).collect();
            assert_eq!(ready, expected, "ready queue of {task}");
            for (index, state) in (0..).zip(&states) {
                let held = leased.contains_key(&(id, InstanceId { task, index }));
                assert_eq!(held, *state == State::Leased, "lease of {task}[{index}]");
            }
            self.check_clauses(task);
        }
        assert_eq!(open, self.open, "open instances");
        assert_eq!(self.state == RunState::Running, open > 0, "a run ends with its last instance");
    }

    fn check_clauses(&self, task: TaskId) {
        let clauses = &self.plan.tasks[task.at()].clauses;
        let mut unmet = 0;
        for (number, clause) in (0..).zip(clauses) {
            let ClauseRun { pending, verdict } = self.clause(task, number);
            let (expected, left) = self.judge(clause);
            assert_eq!(pending, left, "pending of clause {number} of {task}");
            assert_eq!(verdict, expected, "verdict on clause {number} of {task}");
            unmet += u32::from(verdict != Verdict::Met);
        }
        assert_eq!(unmet, self.tasks[task.at()].unmet, "unmet clauses of {task}");
    }

    /// The verdict by definition: from all outcomes at once.
    fn judge(&self, clause: &Clause) -> (Verdict, u64) {
        let (mut hits, mut misses, mut pending) = (0u64, 0u64, 0u64);
        for upstream in &clause.upstreams {
            for index in 0..self.tasks[upstream.at()].width {
                let state = self.state(*upstream, index);
                let hit = match clause.on {
                    Outcomes::Success => state == State::Succeeded,
                    Outcomes::Failure => state != State::Succeeded,
                    Outcomes::Finish => true,
                };
                match (state.is_terminal(), hit) {
                    (false, _) => pending += 1,
                    (true, true) => hits += 1,
                    (true, false) => misses += 1,
                }
            }
        }
        let verdict = match clause.quantifier {
            _ if hits + misses + pending == 0 => Verdict::Met,
            Quantifier::All if misses > 0 => Verdict::Dead,
            Quantifier::All if pending == 0 => Verdict::Met,
            Quantifier::Any if hits > 0 => Verdict::Met,
            Quantifier::Any if pending == 0 => Verdict::Dead,
            _ => Verdict::Open,
        };
        (verdict, pending)
    }
}
