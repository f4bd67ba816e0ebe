//! One run: a column of states, counters per task and clause, the edges downstream.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::plan::RunPlan;
use super::ready::{ReadyQueue, Span};
use super::transition::is_legal;
use crate::ids::{InstanceId, Micros, TaskId, WorkerId};
use crate::pipeline::{Clause, Outcomes, Quantifier};
use crate::status::{Counts, RunState, State};

/// What is known of one task while its run lasts.
#[derive(Debug)]
pub(super) struct TaskRun {
    /// Where its instances begin in the column of states.
    offset: usize,
    pub(super) width: u32,
    pub(super) counts: Counts,
    /// Leases that are known to run.
    pub(super) running: u32,
    /// Clauses that are not met yet; at zero the task is open.
    pub(super) unmet: u32,
    /// Its first clause in [`Run::clauses`].
    first_clause: usize,
    pub(super) ready: ReadyQueue,
    /// Out of the ready set because `max-running` instances run.
    pub(super) parked: bool,
    dirty: bool,
    /// The longest remaining path, in microseconds, its own attempt included.
    pub(super) rank: u64,
    /// Mean duration of its attempts so far; zero when none has ended.
    pub(super) mean: Micros,
}

/// The state of a clause, for all instances of its task alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClauseRun {
    /// Upstream instances that are not terminal.
    pub(super) pending: u64,
    pub(super) verdict: Verdict,
}

/// What can be said of a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not known yet.
    Open,
    /// It holds.
    Met,
    /// It can never hold.
    Dead,
}

/// What happened before to an instance that is tried again.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// Attempts that ended without success.
    pub(super) attempts: u32,
    /// Those of them that failed by themselves.
    pub(super) failed: u32,
    /// Those that lost their worker.
    pub(super) lost: u32,
    /// Where they ran.
    pub(super) workers: Vec<WorkerId>,
}

/// An edge from a task to one downstream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edge {
    /// Element-wise: `factor` instances there for each here.
    Map { to: TaskId, factor: u32 },
    /// This task is named once in clause number `clause` of `to`.
    Clause { to: TaskId, clause: u32 },
}

/// A run that has not been forgotten.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) plan: Arc<RunPlan>,
    /// Its place in the order of submission.
    pub(super) submitted: u64,
    states: Vec<u8>,
    pub(super) tasks: Vec<TaskRun>,
    clauses: Vec<ClauseRun>,
    edges: Vec<Edge>,
    /// Where each task's edges begin in `edges`; one more than there are tasks.
    edge_starts: Vec<u32>,
    pub(super) histories: FxHashMap<InstanceId, History>,
    /// Instances that are not terminal.
    pub(super) open: u64,
    pub(super) cancelled: bool,
    pub(super) failed: bool,
    pub(super) state: RunState,
    pub(super) dirty: Vec<TaskId>,
}

impl Run {
    pub(super) fn new(plan: Arc<RunPlan>, submitted: u64) -> Run {
        let mut offset = 0;
        let mut first_clause = 0;
        let ranks = super::rank::ranks(&plan);
        let tasks: Vec<TaskRun> = plan
            .tasks
            .iter()
            .zip(ranks)
            .map(|(task, rank)| {
                let mut counts = Counts::default();
                counts.0[State::Blocked as usize] = task.width;
                let run = TaskRun {
                    offset,
                    width: task.width,
                    counts,
                    running: 0,
                    unmet: u32::try_from(task.clauses.len()).unwrap_or(u32::MAX),
                    first_clause,
                    ready: ReadyQueue::default(),
                    parked: false,
                    dirty: false,
                    rank,
                    mean: Micros(0),
                };
                offset += task.width as usize;
                first_clause += task.clauses.len();
                run
            })
            .collect();
        let clauses = plan
            .tasks
            .iter()
            .flat_map(|task| &task.clauses)
            .map(|clause| ClauseRun { pending: pending(clause, &tasks), verdict: Verdict::Open })
            .collect();
        let (edges, edge_starts) = edges(&plan);
        Run {
            submitted,
            states: vec![State::Blocked as u8; offset],
            open: offset as u64,
            tasks,
            clauses,
            edges,
            edge_starts,
            histories: FxHashMap::default(),
            cancelled: false,
            failed: false,
            state: RunState::Running,
            dirty: Vec::new(),
            plan,
        }
    }

    pub(super) fn state(&self, task: TaskId, index: u32) -> State {
        let at = self.tasks[task.at()].offset + index as usize;
        State::from_u8(self.states[at]).expect("the column holds states only")
    }

    pub(super) fn states(&self, task: TaskId) -> &[u8] {
        let task = &self.tasks[task.at()];
        &self.states[task.offset..task.offset + task.width as usize]
    }

    /// The one place where states are written.
    pub(super) fn transition(&mut self, task: TaskId, span: Span, to: State) {
        let run = &mut self.tasks[task.at()];
        let start = run.offset + span.first as usize;
        for number in &mut self.states[start..start + span.count as usize] {
            let from = State::from_u8(*number).expect("the column holds states only");
            assert!(is_legal(from, to), "illegal move from {from:?} to {to:?}");
            run.counts.0[from as usize] -= 1;
            *number = to as u8;
        }
        run.counts.0[to as usize] += span.count;
        if to.is_terminal() {
            self.open -= u64::from(span.count);
        }
        self.touch(task);
    }

    /// Notes that a task's counts changed.
    pub(super) fn touch(&mut self, task: TaskId) {
        let run = &mut self.tasks[task.at()];
        if !run.dirty {
            run.dirty = true;
            self.dirty.push(task);
        }
    }

    pub(super) fn take_dirty(&mut self) -> Vec<TaskId> {
        for task in &self.dirty {
            self.tasks[task.at()].dirty = false;
        }
        std::mem::take(&mut self.dirty)
    }

    /// Where a task's edges stand, for [`Run::edge`].
    pub(super) fn edges(&self, task: TaskId) -> std::ops::Range<usize> {
        self.edge_starts[task.at()] as usize..self.edge_starts[task.at() + 1] as usize
    }

    pub(super) fn edge(&self, at: usize) -> Edge {
        self.edges[at]
    }

    pub(super) fn clause(&self, task: TaskId, clause: u32) -> ClauseRun {
        self.clauses[self.tasks[task.at()].first_clause + clause as usize]
    }

    /// Tells a clause that `count` of its upstream instances became terminal, all alike. Returns the
    /// verdict when this decided it.
    pub(super) fn count_outcome(
        &mut self,
        task: TaskId,
        clause: u32,
        count: u32,
        success: bool,
    ) -> Option<Verdict> {
        let run = &mut self.clauses[self.tasks[task.at()].first_clause + clause as usize];
        run.pending -= u64::from(count);
        if run.verdict != Verdict::Open || count == 0 {
            return None;
        }
        let plan = &self.plan.tasks[task.at()].clauses[clause as usize];
        run.verdict = verdict(plan, run.pending, success);
        (run.verdict != Verdict::Open).then_some(run.verdict)
    }

    /// Decides a clause over an empty set, which is met.
    pub(super) fn settle_if_empty(&mut self, task: TaskId, clause: u32) -> bool {
        let run = &mut self.clauses[self.tasks[task.at()].first_clause + clause as usize];
        let empty = run.pending == 0 && run.verdict == Verdict::Open;
        if empty {
            run.verdict = Verdict::Met;
        }
        empty
    }

    /// Runs of consecutive instances of `within` for which `wanted` holds.
    pub(super) fn spans(
        &self,
        task: TaskId,
        within: Span,
        wanted: impl Fn(State) -> bool,
    ) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let states = &self.states(task)[within.first as usize..][..within.count as usize];
        for (index, number) in (within.first..).zip(states) {
            if !State::from_u8(*number).is_some_and(&wanted) {
                continue;
            }
            match spans.last_mut() {
                Some(last) if last.first + last.count == index => last.count += 1,
                _ => spans.push(Span { first: index, count: 1 }),
            }
        }
        spans
    }

    /// All instances of a task.
    pub(super) fn all(&self, task: TaskId) -> Span {
        Span { first: 0, count: self.tasks[task.at()].width }
    }
}

/// Whether an outcome is one that the clause counts.
pub(super) fn counts(on: Outcomes, success: bool) -> bool {
    match on {
        Outcomes::Success => success,
        Outcomes::Failure => !success,
        Outcomes::Finish => true,
    }
}

/// What a clause says when `pending` upstreams are left and the latest outcome is `success`; the
/// clause was open before.
fn verdict(clause: &Clause, pending: u64, success: bool) -> Verdict {
    let hit = counts(clause.on, success);
    match (clause.quantifier, hit, pending) {
        (Quantifier::All, false, _) | (Quantifier::Any, false, 0) => Verdict::Dead,
        (Quantifier::Any, true, _) | (Quantifier::All, true, 0) => Verdict::Met,
        (Quantifier::All, true, _) | (Quantifier::Any, false, _) => Verdict::Open,
    }
}

fn pending(clause: &Clause, tasks: &[TaskRun]) -> u64 {
    clause.upstreams.iter().map(|task| u64::from(tasks[task.at()].width)).sum()
}

/// The edges of all tasks, by upstream: `edges[starts[t]..starts[t + 1]]` are those of task `t`.
fn edges(plan: &RunPlan) -> (Vec<Edge>, Vec<u32>) {
    let mut degrees = vec![0u32; plan.tasks.len() + 1];
    for_each_edge(plan, |from, _| degrees[from.at() + 1] += 1);
    for at in 1..degrees.len() {
        degrees[at] += degrees[at - 1];
    }
    let mut next = degrees.clone();
    let total = degrees.last().map_or(0, |last| *last as usize);
    let mut edges = vec![Edge::Map { to: TaskId(0), factor: 0 }; total];
    for_each_edge(plan, |from, edge| {
        edges[next[from.at()] as usize] = edge;
        next[from.at()] += 1;
    });
    (edges, degrees)
}

pub(super) fn for_each_edge(plan: &RunPlan, mut visit: impl FnMut(TaskId, Edge)) {
    for (to, task) in (0..).map(TaskId).zip(&plan.tasks) {
        if let Some(map) = task.map {
            visit(map.upstream, Edge::Map { to, factor: map.factor });
        }
        for (clause, plan) in (0..).zip(&task.clauses) {
            for upstream in &plan.upstreams {
                visit(*upstream, Edge::Clause { to, clause });
            }
        }
    }
}
