//! The longest path of durations through the instances of a plan: how long a run takes with
//! unlimited slots.

use crate::engine::{GatherPlan, RunPlan, TaskPlan};
use crate::ids::{InstanceId, Micros, TaskId};
use crate::pipeline::{Clause, Outcomes, Quantifier};

/// The longest path.
#[derive(Debug)]
pub(super) struct Longest {
    pub(super) length: Micros,
    /// Those on it, in their order.
    pub(super) instances: Vec<InstanceId>,
}

/// A point in time and the instance whose end it is; `None` for the beginning.
type Moment = (u64, Option<InstanceId>);

/// When the instances of a task end. As every attempt succeeds, all of them run or none does.
#[derive(Debug, Default)]
struct Times {
    ran: bool,
    width: u32,
    first: Moment,
    last: Moment,
    /// When its clauses hold, or one of them no longer can.
    gate: Moment,
    /// Each instance's end; only of tasks that others map or gather by groups.
    ends: Vec<u64>,
    /// When the group of each instance has ended, of a task that gathers by groups.
    groups: Vec<Moment>,
}

/// The longest path through the tasks that ran; `None` when tasks wait for each other.
pub(super) fn longest(
    plan: &RunPlan,
    durations: &dyn Fn(InstanceId) -> Micros,
    ran: &dyn Fn(TaskId) -> bool,
) -> Option<Longest> {
    let order = topological(plan)?;
    let mut mapped = vec![false; plan.tasks.len()];
    for task in &plan.tasks {
        let grouped = task.gather.iter().filter(|gather| gather.groups.is_some());
        let grouped = grouped.flat_map(|gather| &gather.upstreams);
        for upstream in task.map.iter().map(|map| &map.upstream).chain(grouped) {
            *mapped.get_mut(upstream.at())? = true;
        }
    }
    let mut all: Vec<Times> = plan.tasks.iter().map(|_| Times::default()).collect();
    for id in order {
        let mut times = waits(&plan.tasks[id.at()], &all);
        times.ran &= ran(id);
        if times.ran {
            times.run(id, &plan.tasks[id.at()], &all, mapped[id.at()], durations);
        }
        all[id.at()] = times;
    }
    // The moments of skipped instances are the ends of the instances that ran before them.
    let last = all.iter().filter(|times| times.ran).map(|times| times.last).max();
    let (length, mut at) = last.unwrap_or_default();
    let mut instances = Vec::new();
    while let Some(instance) = at {
        instances.push(instance);
        at = before(instance, plan, &all);
    }
    instances.reverse();
    Some(Longest { length: Micros(length), instances })
}

/// When a task's instances may run, or whether they never will.
fn waits(task: &TaskPlan, all: &[Times]) -> Times {
    let clauses = task.clauses.iter().map(|clause| met(clause, all));
    let gather = task.gather.iter().map(|gather| gathered(gather, all));
    let conditions: Vec<(bool, Moment)> = clauses.chain(gather).collect();
    let dead = conditions.iter().filter(|(met, _)| !met).map(|(_, at)| *at).min();
    let gate = dead.or(conditions.iter().map(|(_, at)| *at).max()).unwrap_or_default();
    let width = task.width.each();
    let mut times = Times { width, first: gate, last: gate, gate, ..Times::default() };
    match task.map.map(|map| &all[map.upstream.at()]) {
        _ if dead.is_some() => {}
        Some(upstream) if !upstream.ran => {
            (times.first, times.last) = (upstream.first, upstream.last);
        }
        _ => times.ran = true,
    }
    if let Some(gather) = task.gather.as_ref().filter(|gather| gather.groups.is_some()) {
        times.groups = groups(gather, width, all);
        // Each instance waits for its own group, not for all of them.
        times.gate = task.clauses.iter().map(|clause| met(clause, all).1).max().unwrap_or_default();
    }
    times
}

impl Times {
    /// Runs all instances.
    fn run(
        &mut self,
        id: TaskId,
        task: &TaskPlan,
        all: &[Times],
        keep: bool,
        durations: &dyn Fn(InstanceId) -> Micros,
    ) {
        let upstream = task.map.map(|map| (&all[map.upstream.at()].ends, map.factor.max(1)));
        for index in 0..self.width {
            let instance = InstanceId { task: id, index };
            let mapped = upstream.and_then(|(ends, factor)| ends.get((index / factor) as usize));
            let group = self.groups.get(index as usize).map_or(0, |group| group.0);
            let start = self.gate.0.max(mapped.copied().unwrap_or(0)).max(group);
            let end = (start.saturating_add(durations(instance).0), Some(instance));
            if index == 0 || end.0 < self.first.0 {
                self.first = end;
            }
            if index == 0 || end.0 > self.last.0 {
                self.last = end;
            }
            if keep {
                self.ends.push(end.0);
            }
        }
    }
}

/// Whether enough of what a task gathers will succeed, and when all of that has ended.
fn gathered(gather: &GatherPlan, all: &[Times]) -> (bool, Moment) {
    let upstreams = || gather.upstreams.iter().filter_map(|task| all.get(task.at()));
    let total: u64 = upstreams().map(|times| u64::from(times.width)).sum();
    let good: u64 = upstreams().filter(|times| times.ran).map(|times| u64::from(times.width)).sum();
    let needed = gather.min_success.map_or(total, |min| min.of(total));
    let last = upstreams().filter(|times| times.width > 0).map(|times| times.last).max();
    (good >= needed.min(total), last.unwrap_or_default())
}

/// When each group has ended.
fn groups(gather: &GatherPlan, width: u32, all: &[Times]) -> Vec<Moment> {
    let mut moments: Vec<Moment> = vec![(0, None); width as usize];
    let (Some(groups), Some(&task)) = (&gather.groups, gather.upstreams.first()) else {
        return moments;
    };
    let ends = all.get(task.at()).map_or(&[][..], |times| &times.ends);
    for ((index, group), end) in (0..).zip(groups.iter()).zip(ends) {
        if let Some(moment) = moments.get_mut(*group as usize) {
            *moment = (*moment).max((*end, Some(InstanceId { task, index })));
        }
    }
    moments
}

/// Whether a clause will hold, and when that is decided.
fn met(clause: &Clause, all: &[Times]) -> (bool, Moment) {
    let counts = |times: &&Times| match clause.on {
        Outcomes::Success => times.ran,
        Outcomes::Failure => !times.ran,
        Outcomes::Finish => true,
    };
    let upstreams = clause.upstreams.iter().filter_map(|task| all.get(task.at()));
    let upstreams: Vec<&Times> = upstreams.filter(|times| times.width > 0).collect();
    let last = upstreams.iter().map(|times| times.last).max().unwrap_or_default();
    match clause.quantifier {
        _ if upstreams.is_empty() => (true, last),
        Quantifier::All => {
            let against = upstreams.iter().filter(|times| !counts(times));
            against.map(|times| times.first).min().map_or((true, last), |first| (false, first))
        }
        Quantifier::Any => {
            let counting = upstreams.iter().filter(|times| counts(times));
            counting.map(|times| times.first).min().map_or((false, last), |first| (true, first))
        }
    }
}

/// The instance whose end an instance waited for longest.
fn before(instance: InstanceId, plan: &RunPlan, all: &[Times]) -> Option<InstanceId> {
    let times = &all[instance.task.at()];
    let gate = times.gate;
    if let Some(group) = times.groups.get(instance.index as usize) {
        return if group.0 >= gate.0 { group.1 } else { gate.1 };
    }
    let Some(map) = plan.tasks[instance.task.at()].map else { return gate.1 };
    let upstream = InstanceId { task: map.upstream, index: instance.index / map.factor.max(1) };
    let end = all[map.upstream.at()].ends.get(upstream.index as usize);
    if end.is_some_and(|end| *end >= gate.0) { Some(upstream) } else { gate.1 }
}

/// The tasks, upstreams first; `None` when there is a cycle or a task that does not exist.
pub(super) fn topological(plan: &RunPlan) -> Option<Vec<TaskId>> {
    let mut downstreams: Vec<Vec<TaskId>> = vec![Vec::new(); plan.tasks.len()];
    let mut waiting = vec![0u32; plan.tasks.len()];
    for (id, task) in (0..).map(TaskId).zip(&plan.tasks) {
        let clauses = task.clauses.iter().flat_map(|clause| &clause.upstreams);
        let gathered = task.gather.iter().flat_map(|gather| &gather.upstreams);
        let mapped = task.map.iter().map(|map| &map.upstream);
        for upstream in mapped.chain(clauses).chain(gathered) {
            downstreams.get_mut(upstream.at())?.push(id);
            waiting[id.at()] += 1;
        }
    }
    let mut order: Vec<TaskId> =
        (0..).map(TaskId).zip(&waiting).filter(|(_, n)| **n == 0).map(|(id, _)| id).collect();
    let mut at = 0;
    while let Some(id) = order.get(at) {
        for downstream in std::mem::take(&mut downstreams[id.at()]) {
            waiting[downstream.at()] -= 1;
            if waiting[downstream.at()] == 0 {
                order.push(downstream);
            }
        }
        at += 1;
    }
    (order.len() == plan.tasks.len()).then_some(order)
}
