//! The longest path of durations through the instances of a plan: what a run takes with slots for all.

use crate::engine::{RunPlan, TaskPlan};
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
    /// The last of each group to end; only of tasks that gather by groups.
    groups: Vec<Moment>,
}

/// The longest path; `None` when tasks wait for each other.
pub(super) fn longest(plan: &RunPlan, durations: &dyn Fn(InstanceId) -> Micros) -> Option<Longest> {
    let order = topological(plan)?;
    let mut mapped = vec![false; plan.tasks.len()];
    for map in plan.tasks.iter().filter_map(|task| task.map) {
        *mapped.get_mut(map.upstream.at())? = true;
    }
    for gather in plan.tasks.iter().filter_map(|task| task.gather.as_ref()) {
        for upstream in &gather.upstreams {
            *mapped.get_mut(upstream.at())? = true;
        }
    }
    let mut all: Vec<Times> = plan.tasks.iter().map(|_| Times::default()).collect();
    for id in order {
        all[id.at()] = times(id, &plan.tasks[id.at()], &all, mapped[id.at()], durations);
    }
    // Of what is skipped, the moments are the ends of those that ran before.
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

fn times(
    id: TaskId,
    task: &TaskPlan,
    all: &[Times],
    keep: bool,
    durations: &dyn Fn(InstanceId) -> Micros,
) -> Times {
    let clauses: Vec<(bool, Moment)> = task.clauses.iter().map(|clause| met(clause, all)).collect();
    let dead = clauses.iter().filter(|(met, _)| !met).map(|(_, at)| *at).min();
    let upstream = task.map.map(|map| (&all[map.upstream.at()], map.factor.max(1)));
    let (gathered, groups) = groups(task, all);
    let skipped = match upstream {
        Some((upstream, _)) if !upstream.ran => Some((upstream.first, upstream.last)),
        None => gathered.filter(|times| !times.ran).map(|times| (times.first, times.last)),
        Some(_) => None,
    };
    let gate = dead.or(clauses.iter().map(|(_, at)| *at).max()).unwrap_or_default();
    let mut times =
        Times { width: task.width, first: gate, last: gate, gate, groups, ..Times::default() };
    if dead.is_some() {
        return times;
    }
    if let Some((first, last)) = skipped {
        return Times { first, last, ..times };
    }
    times.ran = true;
    for index in 0..task.width {
        let instance = InstanceId { task: id, index };
        let start = match upstream {
            Some((upstream, factor)) => {
                let end = upstream.ends.get((index / factor) as usize);
                gate.0.max(end.copied().unwrap_or(0))
            }
            None => gate.0.max(times.groups.get(index as usize).map_or(0, |group| group.0)),
        };
        let end = (start.saturating_add(durations(instance).0), Some(instance));
        if index == 0 || end.0 < times.first.0 {
            times.first = end;
        }
        if index == 0 || end.0 > times.last.0 {
            times.last = end;
        }
        if keep {
            times.ends.push(end.0);
        }
    }
    times
}

/// The task that one gathers by groups, and when each of its groups is complete.
fn groups<'a>(task: &TaskPlan, all: &'a [Times]) -> (Option<&'a Times>, Vec<Moment>) {
    let Some(gather) = &task.gather else { return (None, Vec::new()) };
    let (Some(upstream), Some(of)) = (gather.upstreams.first(), &gather.groups) else {
        return (None, Vec::new());
    };
    let mut groups = vec![Moment::default(); task.width as usize];
    for ((index, end), group) in (0..).zip(&all[upstream.at()].ends).zip(of.iter()) {
        if let Some(group) = groups.get_mut(*group as usize)
            && (group.1.is_none() || *end > group.0)
        {
            *group = (*end, Some(InstanceId { task: *upstream, index }));
        }
    }
    (all.get(upstream.at()), groups)
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
    let gate = all[instance.task.at()].gate;
    if let Some(group) = all[instance.task.at()].groups.get(instance.index as usize) {
        return if group.0 >= gate.0 { group.1 } else { gate.1 };
    }
    let Some(map) = plan.tasks[instance.task.at()].map else { return gate.1 };
    let upstream = InstanceId { task: map.upstream, index: instance.index / map.factor.max(1) };
    let end = all[map.upstream.at()].ends.get(upstream.index as usize);
    if end.is_some_and(|end| *end >= gate.0) { Some(upstream) } else { gate.1 }
}

/// The tasks, upstreams first; `None` when there is a cycle or a task that does not exist.
fn topological(plan: &RunPlan) -> Option<Vec<TaskId>> {
    let mut downstreams: Vec<Vec<TaskId>> = vec![Vec::new(); plan.tasks.len()];
    let mut waiting = vec![0u32; plan.tasks.len()];
    for (id, task) in (0..).map(TaskId).zip(&plan.tasks) {
        let clauses = task.clauses.iter().flat_map(|clause| &clause.upstreams);
        let gathered = task.gather.iter().flat_map(|gather| &gather.upstreams);
        let mapped = task.map.iter().map(|map| &map.upstream);
        for upstream in mapped.chain(gathered).chain(clauses) {
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
