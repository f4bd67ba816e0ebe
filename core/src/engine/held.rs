//! Long values that stay with the workers that made them: which worker holds which, how many
//! instances still need it, and which workers can release it.
//!
//! A run keeps no such state until the first long value is reported. From then on each value has a
//! counter of the instances that consume it and have not ended, kept up to date as states are
//! written; at zero the value is released. Values that a lost worker held and that are still needed are
//! made again, see [`super::remade`].

use std::collections::BTreeSet;

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
    /// What is made again.
    pub(super) remade: Remade,
}

/// The held values of one task.
#[derive(Debug, Default)]
struct OfTask {
    held: FxHashMap<u32, HeldValue>,
    /// The numbers of the attempts that made those that are held no longer.
    gone: FxHashMap<u32, u32>,
    /// How many bytes of them each worker holds.
    bytes: FxHashMap<WorkerId, u64>,
    /// Those that were held of each group, for each task that gathers by groups.
    groups: FxHashMap<(TaskId, u32), Vec<u32>>,
}

#[derive(Clone, Copy, Debug)]
struct HeldValue {
    worker: WorkerId,
    bytes: u64,
    /// The number of the attempt that made it.
    number: u32,
    /// Instances that consume it and have not ended; a task of unknown width counts as one.
    left: u64,
}

/// What is made again of a run.
#[derive(Debug, Default)]
pub(super) struct Remade {
    /// The instances whose values are made again, by task.
    pub(super) open: FxHashMap<TaskId, BTreeSet<u32>>,
    /// Those that wait for these.
    pub(super) waiting: BTreeSet<InstanceId>,
    /// Those that could not be made again: what follows from a success has followed all the same.
    pub(super) given_up: BTreeSet<InstanceId>,
}

impl Remade {
    /// Whether an instance has succeeded, whatever has become of it since.
    pub(super) fn succeeded_once(&self, instance: InstanceId) -> bool {
        self.is_open(instance) || self.given_up.contains(&instance)
    }

    pub(super) fn is_open(&self, instance: InstanceId) -> bool {
        self.open.get(&instance.task).is_some_and(|of| of.contains(&instance.index))
    }

    /// It has ended; returns whether it had been open.
    pub(super) fn close(&mut self, instance: InstanceId) -> bool {
        let Some(of) = self.open.get_mut(&instance.task) else { return false };
        let was = of.remove(&instance.index);
        if of.is_empty() {
            self.open.remove(&instance.task);
        }
        was
    }

    /// Instances have ended: they wait for nothing.
    pub(super) fn forget(&mut self, task: TaskId, span: Span) {
        if self.waiting.is_empty() {
            return;
        }
        let at = |index| InstanceId { task, index };
        let range = at(span.first)..at(span.first + span.count);
        let ended: Vec<InstanceId> = self.waiting.range(range).copied().collect();
        for instance in ended {
            self.waiting.remove(&instance);
        }
    }

    /// Compares it with the states.
    pub(super) fn check(&self, run: &Run) {
        for (task, of) in &self.open {
            for index in of {
                assert!(!run.state(*task, *index).is_terminal(), "{task}[{index}] is made again");
            }
        }
        for InstanceId { task, index } in &self.waiting {
            assert_eq!(run.state(*task, *index), State::Backoff, "{task}[{index}] waits");
        }
        assert!(self.waiting.is_empty() || !self.open.is_empty(), "somebody waits for nothing");
    }
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

    /// An attempt of this number has made a value.
    pub(super) fn hold(
        &mut self,
        run: &Run,
        instance: InstanceId,
        number: u32,
        worker: WorkerId,
        bytes: u64,
    ) {
        let edges = self.from.get(&instance.task).map_or(&[][..], Vec::as_slice);
        let left = edges.iter().map(|edge| wanting(run, edge, instance.index)).sum();
        let value = HeldValue { worker, bytes, number, left };
        let task = self.tasks.entry(instance.task).or_default();
        if left == 0 {
            task.gone.insert(instance.index, number);
            self.released.push((worker, instance));
            return;
        }
        for edge in edges {
            if let Some(group) = group_of(run, edge, instance.index) {
                let members = task.groups.entry((edge.to, group)).or_default();
                // It may be there already, when it is made again.
                if !members.contains(&instance.index) {
                    members.push(instance.index);
                }
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

    /// Forgets what a worker held; returns what was still needed of that, sorted.
    pub(super) fn lose(&mut self, worker: WorkerId) -> Vec<InstanceId> {
        self.released.retain(|(of, _)| *of != worker);
        let mut lost = Vec::new();
        for (task, of) in &mut self.tasks {
            if of.bytes.remove(&worker).is_none() {
                continue;
            }
            let OfTask { held, gone, .. } = of;
            held.retain(|index, value| {
                let stays = value.worker != worker;
                if !stays {
                    gone.insert(*index, value.number);
                    lost.push(InstanceId { task: *task, index: *index });
                }
                stays
            });
        }
        lost.sort_unstable();
        lost
    }

    /// A value is not held any more, whatever its worker is; returns the number of the attempt that made it,
    /// if that is known.
    pub(super) fn forget(&mut self, instance: InstanceId) -> Option<u32> {
        let of = self.tasks.get_mut(&instance.task)?;
        if let Some(value) = of.held.remove(&instance.index) {
            if let Some(bytes) = of.bytes.get_mut(&value.worker) {
                *bytes -= value.bytes;
            }
            of.gone.insert(instance.index, value.number);
        }
        of.gone.get(&instance.index).copied()
    }

    /// An instance has made a value, wherever that is: what it made before is past.
    pub(super) fn note_made(&mut self, instance: InstanceId) {
        if let Some(of) = self.tasks.get_mut(&instance.task) {
            of.gone.remove(&instance.index);
        }
    }

    /// The value that an attempt of this number made is with a worker that is not there.
    pub(super) fn note_gone(&mut self, instance: InstanceId, number: u32) {
        self.tasks.entry(instance.task).or_default().gone.insert(instance.index, number);
    }

    /// An instance that had succeeded is open again, and consumes its inputs once more. Returns those of
    /// them that are held no longer.
    pub(super) fn open_again(&mut self, run: &Run, instance: InstanceId) -> Vec<InstanceId> {
        let mut lacking = Vec::new();
        for edge in self.into.get(&instance.task).into_iter().flatten() {
            let Some(of) = self.tasks.get_mut(&edge.from) else { continue };
            let indices = match edge.of {
                Consumed::Single => vec![0],
                Consumed::Map(factor) => vec![instance.index / factor.max(1)],
                Consumed::Gathered => {
                    let own = |index: &u32| {
                        let group = group_of(run, edge, *index);
                        group.is_none_or(|group| group == instance.index)
                    };
                    let all = of.held.keys().chain(of.gone.keys()).copied();
                    let all: Vec<u32> = all.filter(own).collect();
                    if is_grouped(run, edge.to) {
                        of.groups.insert((edge.to, instance.index), all.clone());
                    }
                    all
                }
            };
            for index in indices {
                if let Some(value) = of.held.get_mut(&index) {
                    value.left += 1;
                } else if of.gone.contains_key(&index) {
                    lacking.push(InstanceId { task: edge.from, index });
                }
            }
        }
        lacking.sort_unstable();
        lacking
    }

    /// Whether something needs the value of an instance, and has not been handed to a worker, which may have
    /// it already.
    pub(super) fn is_wanted(&self, run: &Run, instance: InstanceId) -> bool {
        let edges = self.from.get(&instance.task).map_or(&[][..], Vec::as_slice);
        edges.iter().any(|edge| match consumers(run, edge, instance.index) {
            None => true,
            Some(span) => !run.spans(edge.to, span, State::waits).is_empty(),
        })
    }

    /// The instances that consume the value of an instance, by task; without tasks of which the number of
    /// instances is not known.
    pub(super) fn consumers(&self, run: &Run, instance: InstanceId) -> Vec<(ValueEdge, Span)> {
        let edges = self.from.get(&instance.task).map_or(&[][..], Vec::as_slice);
        let found =
            edges.iter().filter_map(|edge| Some((*edge, consumers(run, edge, instance.index)?)));
        found.collect()
    }

    /// The instances whose values are made again and that an instance waits for.
    pub(super) fn lacks(&self, run: &Run, instance: InstanceId) -> Vec<InstanceId> {
        let mut lacking = Vec::new();
        for edge in self.into.get(&instance.task).into_iter().flatten() {
            let Some(again) = self.remade.open.get(&edge.from) else { continue };
            let at = |index| InstanceId { task: edge.from, index };
            match edge.of {
                Consumed::Single => lacking.extend(again.contains(&0).then(|| at(0))),
                Consumed::Map(factor) => {
                    let index = instance.index / factor.max(1);
                    lacking.extend(again.contains(&index).then(|| at(index)));
                }
                Consumed::Gathered => {
                    let own = again.iter().filter(|index| {
                        let group = group_of(run, edge, **index);
                        group.is_none_or(|group| group == instance.index)
                    });
                    lacking.extend(own.map(|index| at(*index)));
                }
            }
        }
        lacking
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
            self.gone.insert(index, value.number);
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
    match consumers(run, edge, index) {
        None => match edge.of {
            Consumed::Map(factor) => u64::from(factor),
            Consumed::Single | Consumed::Gathered => 1,
        },
        Some(span) if span == run.all(edge.to) => (to.counts.total() - to.counts.terminal()).into(),
        Some(span) => {
            let spans = run.spans(edge.to, span, |state| !state.is_terminal());
            spans.iter().map(|span| u64::from(span.count)).sum()
        }
    }
}

/// The instances that consume the value of instance `index`; `None` as long as their number is not known.
fn consumers(run: &Run, edge: &ValueEdge, index: u32) -> Option<Span> {
    let width = run.task(edge.to).width?;
    // A map that would have been too wide has one instance only.
    let within = |first: u32, count: u32| {
        let first = first.min(width);
        Span { first, count: count.min(width - first) }
    };
    Some(match edge.of {
        Consumed::Single => run.all(edge.to),
        Consumed::Map(factor) => within(index.saturating_mul(factor), factor),
        Consumed::Gathered => {
            group_of(run, edge, index).map_or(run.all(edge.to), |group| within(group, 1))
        }
    })
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
        self.remade.check(run);
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
