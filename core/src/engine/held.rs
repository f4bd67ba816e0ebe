//! Long values that stay with the workers that made them: which worker holds which, how many
//! instances still need it, and which workers can release it.
//!
//! A run keeps no such state until the first long value is reported. From then on each value has a
//! counter of the instances that consume it and have not ended, kept up to date as states are
//! written; at zero the value is released. Values that a lost worker held are forgotten here: their
//! consumers are started all the same and fail because the value is missing. (Recomputing it would
//! begin here.)

use rustc_hash::FxHashMap;

use super::plan::{Consumed, RunPlan, ValueEdge};
use super::ready::Span;
use super::run::Run;
use crate::ids::{InstanceId, TaskId, WorkerId};
use crate::status::State;

/// The values of a run that workers hold.
#[derive(Debug, Default)]
pub(super) struct HeldValues {
    tasks: FxHashMap<TaskId, OfTask>,
    /// Edges by downstream task: its end may be the last that an upstream's value waits for.
    into: FxHashMap<TaskId, Vec<ValueEdge>>,
    /// Edges by upstream task.
    from: FxHashMap<TaskId, Vec<ValueEdge>>,
    /// Values to be released.
    released: Vec<(WorkerId, InstanceId)>,
}

/// The held values of one task.
#[derive(Debug, Default)]
struct OfTask {
    held: FxHashMap<u32, HeldValue>,
    /// How many bytes of them each worker holds.
    bytes: FxHashMap<WorkerId, u64>,
    /// Those that were held of each group, for each task that gathers by groups.
    groups: FxHashMap<(TaskId, u32), Vec<u32>>,
}

#[derive(Clone, Copy, Debug)]
struct HeldValue {
    worker: WorkerId,
    bytes: u64,
    /// Instances that consume it and have not ended; a task of unknown width counts as one.
    left: u64,
}

impl HeldValues {
    pub(super) fn new(plan: &RunPlan) -> HeldValues {
        let mut held = HeldValues::default();
        for edge in &plan.values {
            held.into.entry(edge.to).or_default().push(*edge);
            held.from.entry(edge.from).or_default().push(*edge);
        }
        held
    }

    pub(super) fn hold(&mut self, run: &Run, instance: InstanceId, worker: WorkerId, bytes: u64) {
        let edges = self.from.get(&instance.task).map_or(&[][..], Vec::as_slice);
        let left = edges.iter().map(|edge| wanting(run, edge, instance.index)).sum();
        let value = HeldValue { worker, bytes, left };
        if left == 0 {
            self.released.push((worker, instance));
            return;
        }
        let task = self.tasks.entry(instance.task).or_default();
        for edge in edges {
            if let Some(group) = group_of(run, edge, instance.index) {
                task.groups.entry((edge.to, group)).or_default().push(instance.index);
            }
        }
        *task.bytes.entry(worker).or_default() += bytes;
        task.held.insert(instance.index, value);
    }

    /// Instances of a task have reached their end.
    pub(super) fn ended(&mut self, run: &Run, task: TaskId, span: Span) {
        let HeldValues { tasks, into, released, .. } = self;
        for edge in into.get(&task).into_iter().flatten() {
            let Some(of) = tasks.get_mut(&edge.from) else { continue };
            match edge.of {
                Consumed::Single => of.count_down(edge.from, 0, span.count.into(), released),
                Consumed::Map(factor) => {
                    let (first, end) = (span.first, span.first + span.count);
                    for index in first / factor..end.div_ceil(factor) {
                        let part = first.max(index * factor)..end.min((index + 1) * factor);
                        of.count_down(edge.from, index, part.len() as u64, released);
                    }
                }
                Consumed::Gathered if is_grouped(run, task) => {
                    for group in span.first..span.first + span.count {
                        let members = of.groups.remove(&(task, group)).unwrap_or_default();
                        for index in members {
                            of.count_down(edge.from, index, 1, released);
                        }
                    }
                }
                Consumed::Gathered => of.count_all_down(edge.from, span.count.into(), released),
            }
        }
    }

    /// A task that counted as one instance now has this many.
    pub(super) fn widened(&mut self, task: TaskId, width: u32) {
        let HeldValues { tasks, into, released, .. } = self;
        let edges = into.get(&task).into_iter().flatten();
        for edge in edges.filter(|edge| !matches!(edge.of, Consumed::Map(_))) {
            let Some(of) = tasks.get_mut(&edge.from) else { continue };
            of.held.values_mut().for_each(|value| value.left += u64::from(width));
            of.count_all_down(edge.from, 1, released);
        }
    }

    pub(super) fn lose(&mut self, worker: WorkerId) {
        self.released.retain(|(of, _)| *of != worker);
        for task in self.tasks.values_mut() {
            if task.bytes.remove(&worker).is_some() {
                task.held.retain(|_, value| value.worker != worker);
            }
        }
    }

    pub(super) fn release_all(&mut self) {
        for (task, of) in self.tasks.drain() {
            let instance = |index| InstanceId { task, index };
            let all = of.held.iter().map(|(index, value)| (value.worker, instance(*index)));
            self.released.extend(all);
        }
    }

    /// The worker that holds the value of an instance, if one does.
    pub(super) fn holder(&self, instance: InstanceId) -> Option<WorkerId> {
        Some(self.tasks.get(&instance.task)?.held.get(&instance.index)?.worker)
    }

    /// The values to be released since the last call, by worker.
    pub(super) fn take_released(&mut self) -> Vec<(WorkerId, InstanceId)> {
        let mut released = std::mem::take(&mut self.released);
        released.sort_unstable();
        released
    }

    /// How many bytes of an instance's inputs each worker holds, the most first. All of what it
    /// gathers counts, whatever its group.
    pub(super) fn near(&self, instance: InstanceId) -> Vec<(WorkerId, u64)> {
        let mut near: Vec<(WorkerId, u64)> = Vec::new();
        let mut add = |worker: WorkerId, bytes: u64| match near
            .iter_mut()
            .find(|(known, _)| *known == worker)
        {
            Some((_, sum)) => *sum += bytes,
            None => near.push((worker, bytes)),
        };
        for edge in self.into.get(&instance.task).into_iter().flatten() {
            let Some(of) = self.tasks.get(&edge.from) else { continue };
            let one = match edge.of {
                Consumed::Single => of.held.get(&0),
                Consumed::Map(factor) => of.held.get(&(instance.index / factor)),
                Consumed::Gathered => {
                    of.bytes.iter().for_each(|(worker, bytes)| add(*worker, *bytes));
                    None
                }
            };
            one.into_iter().for_each(|value| add(value.worker, value.bytes));
        }
        near.sort_unstable_by_key(|(worker, bytes)| (std::cmp::Reverse(*bytes), *worker));
        near
    }
}

impl OfTask {
    fn count_all_down(
        &mut self,
        task: TaskId,
        count: u64,
        released: &mut Vec<(WorkerId, InstanceId)>,
    ) {
        let all: Vec<u32> = self.held.keys().copied().collect();
        all.into_iter().for_each(|index| self.count_down(task, index, count, released));
    }

    fn count_down(
        &mut self,
        task: TaskId,
        index: u32,
        count: u64,
        released: &mut Vec<(WorkerId, InstanceId)>,
    ) {
        let Some(value) = self.held.get_mut(&index) else { return };
        value.left -= count;
        if value.left == 0 {
            released.push((value.worker, InstanceId { task, index }));
            if let Some(bytes) = self.bytes.get_mut(&value.worker) {
                *bytes -= value.bytes;
            }
            self.held.remove(&index);
        }
    }
}

/// How many consumers of the value of instance `index` have not ended.
fn wanting(run: &Run, edge: &ValueEdge, index: u32) -> u64 {
    let to = run.task(edge.to);
    let all = u64::from(to.counts.total() - to.counts.terminal());
    // A map that would have been too wide has one instance only.
    let open = |first: u32, count: u32| {
        let count = count.min(to.instances().saturating_sub(first));
        let span = Span { first: first.min(to.instances()), count };
        let spans = run.spans(edge.to, span, |state| !state.is_terminal());
        spans.iter().map(|span| u64::from(span.count)).sum()
    };
    match edge.of {
        _ if to.width.is_none() => match edge.of {
            Consumed::Map(factor) => u64::from(factor),
            Consumed::Single | Consumed::Gathered => 1,
        },
        Consumed::Single => all,
        Consumed::Map(factor) => open(index.saturating_mul(factor), factor),
        Consumed::Gathered => group_of(run, edge, index).map_or(all, |group| open(group, 1)),
    }
}

/// The instance that gathers instance `index`, where each gathers a group.
fn group_of(run: &Run, edge: &ValueEdge, index: u32) -> Option<u32> {
    let gather = run.task_plan(edge.to).gather.as_ref();
    let groups = gather.filter(|_| edge.of == Consumed::Gathered)?.groups.as_ref()?;
    groups.get(index as usize).copied()
}

fn is_grouped(run: &Run, task: TaskId) -> bool {
    run.task_plan(task).gather.as_ref().is_some_and(|gather| gather.groups.is_some())
}

impl HeldValues {
    /// Compares the counters with the states.
    pub(super) fn check(&self, run: &Run, present: impl Fn(WorkerId) -> bool) {
        assert!(self.released.is_empty(), "what is free has been released");
        for (task, of) in &self.tasks {
            let mut bytes: FxHashMap<WorkerId, u64> = FxHashMap::default();
            for (index, value) in &of.held {
                let edges = self.from.get(task).map_or(&[][..], Vec::as_slice);
                let left: u64 = edges.iter().map(|edge| wanting(run, edge, *index)).sum();
                assert!(left > 0, "{task}[{index}] is held for nobody");
                assert_eq!(left, value.left, "who wants {task}[{index}]");
                assert!(present(value.worker), "{task}[{index}] is held by a lost worker");
                assert_eq!(run.state(*task, *index), State::Succeeded);
                *bytes.entry(value.worker).or_default() += value.bytes;
            }
            bytes.retain(|_, bytes| *bytes > 0);
            let sums = of.bytes.iter().filter(|(_, bytes)| **bytes > 0);
            assert_eq!(
                bytes,
                sums.map(|(worker, sum)| (*worker, *sum)).collect(),
                "bytes of {task}"
            );
        }
    }
}
