//! One run: a column of states, counters per task, clause and group, the edges downstream.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::clause::{ClauseRun, Verdict, verdict};
use super::event::Cause;
use super::groups::GroupRun;
use super::needs::ClassId;
use super::plan::{Edge, Past, RunPlan, TaskPlan};
use super::rank::{Ranking, ranks};
use super::ready::{ReadyKey, ReadyQueue, Span};
use super::transition::{is_legal, reopens};
use crate::ids::{InstanceId, Micros, RunId, TaskId, Timestamp, WorkerId};
use crate::pipeline::Clause;
use crate::status::{Counts, RunState, State};

/// What is known of one task while its run lasts.
#[derive(Debug)]
pub(super) struct TaskRun {
    /// Where its instances begin in the column of states.
    offset: usize,
    /// Its number of instances, once that is known.
    pub(super) width: Option<u32>,
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
    /// What its attempts need, wherever they run.
    pub(super) class: ClassId,
    /// What its ready instances need: in addition, to avoid some workers.
    pub(super) listed: ClassId,
    /// The longest remaining path, in microseconds, its own attempt included.
    pub(super) rank: u64,
    /// Mean duration of its attempts so far; zero when none has ended.
    pub(super) mean: Micros,
    /// How many of its instances succeeded, if the plan does not specify how long they take.
    pub(super) seen: u64,
    /// How long those took in all, in microseconds.
    pub(super) spent: u64,
    /// What only few tasks have.
    rare: Option<Box<Rare>>,
}

/// What only few tasks have.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// Its groups, when it gathers with groups or a tolerance.
    pub(super) groups: Vec<GroupRun>,
    /// Elements that its instances captured so far, when it feeds a scatter.
    pub(super) items: u64,
    /// An instance whose value is no array, when it feeds a scatter.
    pub(super) no_array: Option<InstanceId>,
    /// Where its upstreams ran, for each clause of `follow`.
    pub(super) followed: Vec<Vec<WorkerId>>,
    /// The worker that it follows.
    pub(super) pin: Option<WorkerId>,
    /// The worker of each instance, with `targets = "each"`.
    pub(super) each: Vec<WorkerId>,
    /// The cause with which its instances end as soon as their number is known.
    pub(super) doomed: Option<Cause>,
    /// Workers that lack what its attempts execute.
    pub(super) avoided: Vec<Avoided>,
    /// Ready instances that avoid more workers than the others do.
    pub(super) apart: Vec<Apart>,
    /// The numbers of the last attempts that may have been made before the run was resumed, sorted.
    pub(super) numbers: Vec<(Range<u32>, u32)>,
}

/// A worker that lacks what the attempts of a task execute.
#[derive(Debug)]
pub(super) struct Avoided {
    pub(super) worker: WorkerId,
    /// How often that was found.
    pub(super) times: u32,
    /// Until when it is avoided.
    pub(super) until: Timestamp,
}

/// Ready instances of a task that avoid the same workers.
#[derive(Debug)]
pub(super) struct Apart {
    /// Their needs: not these workers.
    pub(super) class: ClassId,
    pub(super) queue: ReadyQueue,
}

impl TaskRun {
    /// How many instances it has by now: none as long as its width is not known.
    pub(super) fn instances(&self) -> u32 {
        self.width.unwrap_or(0)
    }

    pub(super) fn rare(&self) -> Option<&Rare> {
        self.rare.as_deref()
    }

    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// All classes in which it has a part, its own first.
    pub(super) fn classes(&self) -> impl Iterator<Item = ClassId> + '_ {
        let listed = (self.listed != self.class).then_some(self.listed);
        std::iter::once(self.class).chain(listed).chain(self.apart().iter().map(|one| one.class))
    }

    /// Its ready instances that avoid more workers than the others do.
    pub(super) fn apart(&self) -> &[Apart] {
        self.rare().map_or(&[], |rare| &rare.apart)
    }

    /// Whether no instance is ready.
    pub(super) fn has_none_ready(&self) -> bool {
        self.ready.is_empty() && self.apart().iter().all(|one| one.queue.is_empty())
    }

    /// How many instances are ready.
    pub(super) fn ready_count(&self) -> u64 {
        self.ready.len() + self.apart().iter().map(|one| one.queue.len()).sum::<u64>()
    }

    /// Takes a ready instance out, wherever it stands.
    pub(super) fn unready(&mut self, index: u32) -> bool {
        let apart = self.rare.iter_mut().flat_map(|rare| &mut rare.apart);
        self.ready.remove(index) || apart.into_iter().any(|one| one.queue.remove(index))
    }

    /// Takes all ready instances out.
    pub(super) fn clear_ready(&mut self) {
        self.ready.clear();
        let apart = self.rare.iter_mut().flat_map(|rare| &mut rare.apart);
        apart.for_each(|one| one.queue.clear());
    }

    /// The number of the last attempt of an instance that may have been made before the run was resumed,
    /// and how many instances from this one on have the same.
    pub(super) fn last_number(&self, index: u32) -> (u32, u32) {
        let numbers = self.rare().map_or(&[][..], |rare| &rare.numbers);
        let at = numbers.partition_point(|(range, _)| range.end <= index);
        match numbers.get(at) {
            None => (0, u32::MAX),
            Some((range, _)) if index < range.start => (0, range.start - index),
            Some((range, last)) => (*last, range.end - index),
        }
    }

    /// The worker that an instance is bound to, if it is.
    pub(super) fn bound_to(&self, index: u32) -> Option<WorkerId> {
        let rare = self.rare()?;
        rare.pin.or_else(|| rare.each.get(index as usize).copied())
    }
}

/// The history of an instance that is tried again.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// The number of the last one that may have been made.
    pub(super) attempts: u32,
    /// The number of the last one that is known to have ended or to have run.
    pub(super) known: u32,
    /// The numbers that earlier schedulers may have given, and of which no end is known.
    pub(super) former: Range<u32>,
    /// Attempts that were taken from their worker without its word.
    pub(super) taken: Vec<Taken>,
    /// Those of them that failed by themselves.
    pub(super) failed: u32,
    /// Those of the failed ones that ended for memory.
    pub(super) out_of_memory: u32,
    /// The memory that the last one of these had asked for, in bytes; zero when that is not known.
    pub(super) asked: u64,
    /// Those that lost their worker.
    pub(super) lost: u32,
    /// Where they ran.
    pub(super) workers: Vec<WorkerId>,
    /// Workers that lack what it executes.
    pub(super) lacking: Vec<WorkerId>,
    /// How often a machine was short of something when it was to start, since the last attempt.
    pub(super) refusals: u32,
    /// Why no attempt started, at the last of these.
    pub(super) refused: String,
    /// Until when its next attempt waits for a worker on which it has not failed.
    pub(super) elsewhere_until: Option<Timestamp>,
    /// That wait is over: any worker will do.
    pub(super) anywhere: bool,
}

/// An attempt whose worker was lost: it may go on running there for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The worker.
    pub worker: WorkerId,
    /// The attempt's number within its instance.
    pub number: u32,
    /// Whether it was known to run. If not, it may have run all the same.
    pub ran: bool,
}

/// A run that has not been forgotten.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: RunId,
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
    /// Instances that wait until then, as soon as they could start: their waits began before the run was
    /// resumed.
    pub(super) delayed: BTreeMap<InstanceId, Timestamp>,
    /// Instances that are not terminal, and tasks whose width is not known.
    pub(super) open: u64,
    pub(super) cancelled: bool,
    pub(super) interrupted: bool,
    /// Everything but `always` tasks is being ended.
    pub(super) ending: bool,
    pub(super) failed: bool,
    /// Instances that failed for good, of tasks that may not.
    pub(super) failures: u64,
    pub(super) state: RunState,
    dirty: Vec<TaskId>,
    /// Whether it is in the list of [`super::turn::Hub`] of runs with dirty tasks.
    pub(super) noted: bool,
    pub(super) ranking: Ranking,
}

impl Run {
    pub(super) fn new(
        id: RunId,
        plan: Arc<RunPlan>,
        submitted: u64,
        classes: &[ClassId],
        past: &Past,
    ) -> Run {
        let mut widths: Vec<Option<u32>> =
            plan.tasks.iter().map(|task| task.width.known()).collect();
        // What was known when the run was resumed is known from the beginning.
        for (task, width) in past.widths.iter().filter(|_| past.resumed.is_some()) {
            if let Some(slot) = widths.get_mut(task.at()) {
                *slot = Some(*width);
            }
        }
        let weights: Vec<u64> = plan.tasks.iter().map(|task| task.weight.0).collect();
        let ranks = ranks(&plan, &weights);
        let mut offset = 0;
        let mut first_clause = 0;
        let mut tasks: Vec<TaskRun> = Vec::with_capacity(plan.tasks.len());
        for (at, task) in plan.tasks.iter().enumerate() {
            let width = widths[at];
            let mut counts = Counts::default();
            counts.0[State::Blocked as usize] = width.unwrap_or(0);
            tasks.push(TaskRun {
                offset,
                width,
                counts,
                running: 0,
                unmet: u32::try_from(task.clauses.len()).unwrap_or(u32::MAX),
                first_clause,
                ready: ReadyQueue::default(),
                parked: false,
                dirty: false,
                class: classes[at],
                listed: classes[at],
                rank: ranks[at],
                mean: Micros(0),
                seen: 0,
                spent: 0,
                rare: None,
            });
            offset += width.unwrap_or(0) as usize;
            first_clause += task.clauses.len();
        }
        for (at, task) in plan.tasks.iter().enumerate() {
            if let Some(gather) = &task.gather {
                tasks[at].rare_mut().groups =
                    GroupRun::all(task.width.each(), gather, |task| tasks[task.at()].width);
            }
            if task.follows > 0 {
                tasks[at].rare_mut().followed = vec![Vec::new(); task.follows as usize];
            }
        }
        let clauses =
            plan.tasks.iter().flat_map(|task| &task.clauses).map(|clause| begin(clause, &tasks));
        let clauses = clauses.collect();
        let unknown = tasks.iter().filter(|task| task.width.is_none()).count();
        let (edges, edge_starts) = edges(&plan);
        Run {
            id,
            submitted,
            states: vec![State::Blocked as u8; offset],
            open: (offset + unknown) as u64,
            tasks,
            clauses,
            edges,
            edge_starts,
            histories: FxHashMap::default(),
            delayed: BTreeMap::new(),
            cancelled: false,
            interrupted: false,
            ending: false,
            failed: false,
            failures: 0,
            state: RunState::Running,
            dirty: Vec::new(),
            noted: false,
            ranking: Ranking::default(),
            plan,
        }
    }

    pub(super) fn task(&self, task: TaskId) -> &TaskRun {
        &self.tasks[task.at()]
    }

    pub(super) fn task_mut(&mut self, task: TaskId) -> &mut TaskRun {
        &mut self.tasks[task.at()]
    }

    pub(super) fn task_plan(&self, task: TaskId) -> &TaskPlan {
        &self.plan.tasks[task.at()]
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = TaskId> + use<> {
        (0..).map(TaskId).take(self.tasks.len())
    }

    pub(super) fn state(&self, task: TaskId, index: u32) -> State {
        let at = self.tasks[task.at()].offset + index as usize;
        State::from_u8(self.states[at]).expect("the column holds states only")
    }

    fn states(&self, task: TaskId) -> &[u8] {
        let task = &self.tasks[task.at()];
        &self.states[task.offset..task.offset + task.instances() as usize]
    }

    /// Gives a task its instances.
    pub(super) fn grow(&mut self, task: TaskId, width: u32) {
        let offset = self.states.len();
        self.states.resize(offset + width as usize, State::Blocked as u8);
        self.open = self.open + u64::from(width) - 1;
        let run = &mut self.tasks[task.at()];
        (run.offset, run.width) = (offset, Some(width));
        run.counts.0[State::Blocked as usize] = width;
        self.touch(task);
    }

    /// Whether an attempt of an instance has ended.
    pub(super) fn was_tried(&self, instance: InstanceId) -> bool {
        self.histories.get(&instance).is_some_and(|history| history.known > 0)
    }

    /// The history of an instance, which begins with this call if it has none.
    pub(super) fn history(&mut self, instance: InstanceId) -> &mut History {
        let (attempts, _) = self.task(instance.task).last_number(instance.index);
        let former = 1..attempts.saturating_add(1);
        let begin = || History { attempts, former, ..History::default() };
        self.histories.entry(instance).or_insert_with(begin)
    }

    /// The one place where states are written; called by [`super::turn::Turn::transition`] only,
    /// except for what had happened before the run began or was resumed.
    pub(super) fn transition(&mut self, task: TaskId, span: Span, to: State) {
        let run = &mut self.tasks[task.at()];
        let start = run.offset + span.first as usize;
        for number in &mut self.states[start..start + span.count as usize] {
            let from = State::from_u8(*number).expect("the column holds states only");
            assert!(is_legal(from, to), "illegal move from {from:?} to {to:?}");
            self.open += u64::from(reopens(from, to));
            run.counts.0[from as usize] -= 1;
            *number = to as u8;
        }
        run.counts.0[to as usize] += span.count;
        if to.is_terminal() {
            self.open -= u64::from(span.count);
        }
        self.touch(task);
    }

    /// Whether more instances have failed than the run bears.
    pub(super) fn has_too_many_failures(&self) -> bool {
        if self.plan.fail_fast {
            return self.failures > 0;
        }
        let known = || {
            let tasks = self.tasks.iter().zip(&self.plan.tasks);
            let counted = tasks.filter(|(_, plan)| !plan.conduct.allow_failure);
            counted.map(|(task, _)| u64::from(task.instances())).sum()
        };
        self.plan.max_fail.is_some_and(|most| most.is_exceeded(self.failures, known))
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
        self.noted = false;
        for task in &self.dirty {
            self.tasks[task.at()].dirty = false;
        }
        std::mem::take(&mut self.dirty)
    }

    /// A task's place among those that are ready.
    pub(super) fn key(&self, task: TaskId) -> ReadyKey {
        ReadyKey {
            priority: Reverse(self.task_plan(task).conduct.priority),
            rank: Reverse(self.task(task).rank),
            submitted: self.submitted,
            task,
            run: self.id,
        }
    }

    /// The weight of each task, zero where it is not known.
    pub(super) fn weights(&self) -> Vec<u64> {
        let seen = |task: &TaskRun| task.spent.checked_div(task.seen).unwrap_or(0);
        let tasks = self.plan.tasks.iter().zip(&self.tasks);
        tasks
            .map(|(plan, task)| if plan.weight.0 > 0 { plan.weight.0 } else { seen(task) })
            .collect()
    }

    /// The number of its tasks and edges.
    pub(super) fn size(&self) -> u64 {
        (self.tasks.len() + self.edges.len()) as u64
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

    pub(super) fn clause_mut(&mut self, task: TaskId, clause: u32) -> &mut ClauseRun {
        &mut self.clauses[self.tasks[task.at()].first_clause + clause as usize]
    }

    /// Notifies a clause that `count` of its upstream instances became terminal, and whether they
    /// are hits. Returns the verdict if this decided it.
    pub(super) fn count_outcome(
        &mut self,
        task: TaskId,
        clause: u32,
        count: u32,
        hit: bool,
    ) -> Option<Verdict> {
        let quantifier = self.plan.tasks[task.at()].clauses[clause as usize].quantifier;
        let run = self.clause_mut(task, clause);
        run.pending -= u64::from(count);
        if run.verdict != Verdict::Open || count == 0 {
            return None;
        }
        run.verdict = verdict(quantifier, run.pending, hit);
        (run.verdict != Verdict::Open).then_some(run.verdict)
    }

    /// Notifies a clause of the width of an upstream whose width was unknown. Returns the verdict
    /// if this decided it.
    pub(super) fn count_width(&mut self, task: TaskId, clause: u32, width: u32) -> Option<Verdict> {
        let quantifier = self.plan.tasks[task.at()].clauses[clause as usize].quantifier;
        let run = self.clause_mut(task, clause);
        run.pending = run.pending + u64::from(width) - 1;
        run.total += u64::from(width);
        if run.verdict != Verdict::Open {
            return None;
        }
        run.settle(quantifier);
        (run.verdict != Verdict::Open).then_some(run.verdict)
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
        Span { first: 0, count: self.tasks[task.at()].instances() }
    }
}

/// A clause before any event. An upstream of unknown width counts as one instance.
fn begin(clause: &Clause, tasks: &[TaskRun]) -> ClauseRun {
    let mut run = ClauseRun { pending: 0, total: 0, verdict: Verdict::Open };
    for upstream in &clause.upstreams {
        let upstream = &tasks[upstream.at()];
        run.total += u64::from(upstream.instances());
        run.pending += upstream.width.map_or(1, u64::from);
    }
    run
}

/// The edges of all tasks, by upstream: `edges[starts[t]..starts[t + 1]]` are those of task `t`.
fn edges(plan: &RunPlan) -> (Vec<Edge>, Vec<u32>) {
    let mut degrees = vec![0u32; plan.tasks.len() + 1];
    plan.for_each_edge(|from, _| degrees[from.at() + 1] += 1);
    for at in 1..degrees.len() {
        degrees[at] += degrees[at - 1];
    }
    let mut next = degrees.clone();
    let total = degrees.last().map_or(0, |last| *last as usize);
    let mut edges = vec![Edge::Map { to: TaskId(0), factor: 0 }; total];
    plan.for_each_edge(|from, edge| {
        edges[next[from.at()] as usize] = edge;
        next[from.at()] += 1;
    });
    (edges, degrees)
}
