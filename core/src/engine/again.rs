//! Which instances a retry runs again although they had succeeded: those whose data came, directly or
//! through others, from instances that had not; and which it needs for them.

use std::ops::Range;

use super::plan::{Consumed, Past, RunPlan, TaskPlan, User};
use crate::ids::TaskId;

/// Sorted, disjoint indices of the instances of a task.
pub type Indices = Vec<Range<u32>>;

impl Past {
    /// Adds to the instances of each task all that got data from them: by `map`, by `gather` and `scatter`,
    /// by placeholders. What is only ordered by `after` or `follow` is not added.
    ///
    /// `widths` gives the number of instances of each task. Takes time in proportion to the edges of the
    /// graph and the ranges, not to the instances, but for gathers by group.
    #[must_use]
    pub fn with_dependents(
        plan: &RunPlan,
        widths: &[u32],
        mut again: Vec<Indices>,
    ) -> Vec<Indices> {
        again.resize(plan.tasks.len(), Indices::new());
        spread(plan, widths, &mut again, Ties::Data);
        again
    }

    /// Adds to the instances of each task all that come after them in any way: those of
    /// [`Past::with_dependents`], and by `after` and `follow`.
    #[must_use]
    pub fn with_followers(plan: &RunPlan, widths: &[u32], mut of: Vec<Indices>) -> Vec<Indices> {
        of.resize(plan.tasks.len(), Indices::new());
        spread(plan, widths, &mut of, Ties::All);
        of
    }

    /// Adds to the instances of each task all that they need, directly or through others: what they map
    /// and gather, what their clauses name.
    #[must_use]
    pub fn with_needs(plan: &RunPlan, widths: &[u32], mut of: Vec<Indices>) -> Vec<Indices> {
        of.resize(plan.tasks.len(), Indices::new());
        for task in in_order(plan, Ties::All).into_iter().rev() {
            let here = std::mem::take(&mut of[task]);
            for (from, way) in ties(&plan.tasks[task], Ties::All) {
                let width = widths.get(from.at()).copied().unwrap_or(0);
                let Some(needed) = of.get_mut(from.at()).filter(|_| !here.is_empty()) else {
                    continue;
                };
                let mut found = std::mem::take(needed);
                match way {
                    Way::All => found.push(0..width),
                    Way::Map(factor) => found.extend(here.iter().map(|range| {
                        let factor = factor.max(1);
                        range.start / factor..range.end.div_ceil(factor)
                    })),
                    Way::Groups(groups) => {
                        let members = (0..).zip(groups).filter(|(_, group)| within(&here, **group));
                        found.extend(members.map(|(at, _)| at..at + 1));
                    }
                }
                *needed = merged(found, width);
            }
            of[task] = here;
        }
        of
    }

    /// Of the instances that lack temporary outputs those that must run again, as others that run are
    /// given these. `runs` is what runs in any case.
    #[must_use]
    pub fn with_temporary(plan: &RunPlan, runs: &[Indices], hollow: &[Indices]) -> Vec<Indices> {
        let mut again = vec![Indices::new(); plan.tasks.len()];
        for temporary in &plan.temporary {
            let Some(hollow) = hollow.get(temporary.task.at()).filter(|of| !of.is_empty()) else {
                continue;
            };
            let width = hollow.last().map_or(0, |range| range.end);
            let users = temporary.users.iter().filter(|user| user.data);
            let needed = users.flat_map(|user| needed_by(plan, user, runs, width)).collect();
            again[temporary.task.at()] = common(&merged(needed, width), hollow);
        }
        again
    }

    /// The tasks that run again although they succeeded, as they are to run in every retry in which
    /// something runs that needs them or that they come after. `again` is what runs in any case.
    #[must_use]
    pub fn rerun(plan: &RunPlan, again: &[Indices]) -> Vec<TaskId> {
        let mut runs: Vec<bool> = again.iter().map(|again| !again.is_empty()).collect();
        runs.resize(plan.tasks.len(), false);
        let order = in_order(plan, Ties::All);
        let mut found: Vec<TaskId> = Vec::new();
        let mut left: Vec<TaskId> = (0..)
            .map(TaskId)
            .zip(&plan.tasks)
            .filter(|(_, task)| task.conduct.rerun)
            .map(|(task, _)| task)
            .collect();
        loop {
            let touched = touched(plan, &order, &runs);
            let (more, rest): (Vec<TaskId>, Vec<TaskId>) =
                left.into_iter().partition(|task| touched[task.at()]);
            if more.is_empty() {
                found.sort_unstable();
                return found;
            }
            // What runs again can be what others come after, or need.
            more.iter().for_each(|task| runs[task.at()] = true);
            found.extend(more);
            left = rest;
        }
    }
}

/// The tasks that come after one that runs, or that one needs, directly or through others.
fn touched(plan: &RunPlan, order: &[usize], runs: &[bool]) -> Vec<bool> {
    let (mut after, mut needed) = (runs.to_vec(), runs.to_vec());
    for task in order {
        let mut from = ties(&plan.tasks[*task], Ties::All);
        after[*task] |= from.any(|(from, _)| after.get(from.at()).is_some_and(|runs| *runs));
    }
    for task in order.iter().rev() {
        if needed[*task] {
            for (from, _) in ties(&plan.tasks[*task], Ties::All) {
                if let Some(needed) = needed.get_mut(from.at()) {
                    *needed = true;
                }
            }
        }
    }
    after.iter().zip(&needed).map(|(after, needed)| *after || *needed).collect()
}

/// The instances, of `width` ones, whose outputs are given to those of a user that run.
fn needed_by(plan: &RunPlan, user: &User, runs: &[Indices], width: u32) -> Indices {
    let (Some(task), Some(runs)) = (plan.tasks.get(user.task.at()), runs.get(user.task.at()))
    else {
        return Indices::new();
    };
    // Instances that are not known yet may be added.
    if task.width.is_late() || runs.is_empty() {
        let all = std::iter::once(0..width).collect();
        return if runs.is_empty() { Indices::new() } else { all };
    }
    let groups = task.gather.as_ref().and_then(|gather| gather.groups.as_ref());
    match (user.of, groups) {
        (Consumed::Map(factor), _) => {
            runs.iter().map(|range| range.start / factor..range.end.div_ceil(factor)).collect()
        }
        (Consumed::Gathered, Some(groups)) => {
            let members = (0..).zip(groups.iter()).filter(|(_, group)| within(runs, **group));
            members.map(|(at, _)| at..at + 1).collect()
        }
        _ => std::iter::once(0..width).collect(),
    }
}

/// What is in both.
fn common(one: &Indices, other: &Indices) -> Indices {
    let both = one.iter().flat_map(|one| {
        let overlap = |other: &Range<u32>| one.start.max(other.start)..one.end.min(other.end);
        other.iter().map(overlap).filter(|range| !range.is_empty())
    });
    both.collect()
}

/// Whether an index is in one of these ranges.
fn within(ranges: &Indices, index: u32) -> bool {
    let at = ranges.partition_point(|range| range.end <= index);
    ranges.get(at).is_some_and(|range| range.contains(&index))
}

/// Adds what is tied to the instances, in the order of the ties.
fn spread(plan: &RunPlan, widths: &[u32], again: &mut [Indices], which: Ties) {
    for task in in_order(plan, which) {
        let width = widths.get(task).copied().unwrap_or(0);
        let mut found = std::mem::take(&mut again[task]);
        for (from, way) in ties(&plan.tasks[task], which) {
            let Some(changed) = again.get(from.at()).filter(|changed| !changed.is_empty()) else {
                continue;
            };
            match way {
                Way::All => found.push(0..width),
                Way::Map(factor) => found.extend(changed.iter().map(|range| {
                    range.start.saturating_mul(factor)..range.end.saturating_mul(factor)
                })),
                Way::Groups(groups) => {
                    let of =
                        |range: &Range<u32>| groups.get(range.start as usize..range.end as usize);
                    let groups = changed.iter().filter_map(of).flatten();
                    found.extend(groups.map(|group| *group..group.saturating_add(1)));
                }
            }
        }
        again[task] = merged(found, width);
    }
}

/// Which ties between tasks are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ties {
    /// Those that carry data.
    Data,
    /// Those of order too.
    All,
}

/// How instances of one task get data from another.
enum Way<'p> {
    /// All of them from all there.
    All,
    /// So many from each one.
    Map(u32),
    /// Each from those of its group, given for each one there.
    Groups(&'p [u32]),
}

fn ties(task: &TaskPlan, which: Ties) -> impl Iterator<Item = (TaskId, Way<'_>)> {
    let map = task.map.map(|map| (map.upstream, Way::Map(map.factor)));
    let gathered = task.gather.iter().flat_map(|gather| {
        gather.upstreams.iter().map(|upstream| match &gather.groups {
            Some(groups) => (*upstream, Way::Groups(groups)),
            None => (*upstream, Way::All),
        })
    });
    let clauses = match which {
        Ties::Data => task.implied as usize,
        Ties::All => task.clauses.len(),
    };
    let clauses = task.clauses.iter().take(clauses);
    let clauses = clauses.flat_map(|clause| clause.upstreams.iter().map(|task| (*task, Way::All)));
    map.into_iter().chain(gathered).chain(clauses)
}

/// The tasks, each after those that it is tied to.
pub(super) fn in_order(plan: &RunPlan, which: Ties) -> Vec<usize> {
    let mut open: Vec<usize> = plan.tasks.iter().map(|task| ties(task, which).count()).collect();
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); plan.tasks.len()];
    for (at, task) in plan.tasks.iter().enumerate() {
        for (from, _) in ties(task, which) {
            if let Some(dependents) = dependents.get_mut(from.at()) {
                dependents.push(at);
            }
        }
    }
    let mut order: Vec<usize> = (0..open.len()).filter(|at| open[*at] == 0).collect();
    let mut next = 0;
    while let Some(&at) = order.get(next) {
        next += 1;
        for &dependent in &dependents[at] {
            open[dependent] -= 1;
            if open[dependent] == 0 {
                order.push(dependent);
            }
        }
    }
    order
}

/// Sorts ranges, joins those that touch, and cuts them off at the width.
fn merged(mut ranges: Indices, width: u32) -> Indices {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged = Indices::new();
    for range in ranges {
        let range = range.start..range.end.min(width);
        match merged.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::engine::{GatherPlan, MapEdge, Temporary, Width};
    use crate::pipeline::{Clause, Conduct, Outcomes, Quantifier};

    fn clause(upstream: u32) -> Clause {
        let (quantifier, on) = (Quantifier::All, Outcomes::Success);
        Clause { quantifier, upstreams: vec![TaskId(upstream)], on }
    }

    fn mapped(upstream: u32, factor: u32) -> TaskPlan {
        TaskPlan {
            map: Some(MapEdge { upstream: TaskId(upstream), factor }),
            ..TaskPlan::default()
        }
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "ranges are the elements")]
    fn data_drags_along_and_order_does_not() {
        let groups: Option<Arc<[u32]>> = Some(vec![0, 0, 1, 1].into());
        let gather = GatherPlan { upstreams: vec![TaskId(0)], groups, min_success: None };
        let gathers = TaskPlan { gather: Some(gather), ..TaskPlan::default() };
        let implied = TaskPlan { clauses: vec![clause(2)], implied: 1, ..TaskPlan::default() };
        let after = TaskPlan { clauses: vec![clause(0)], ..TaskPlan::default() };
        let tasks = vec![TaskPlan::default(), mapped(0, 3), gathers, implied, after, mapped(4, 1)];
        let plan = RunPlan { tasks, ..RunPlan::default() };
        let again = Past::with_dependents(&plan, &[4, 12, 2, 1, 1, 1], vec![vec![2..3]]);
        assert_eq!(again, [vec![2..3], vec![6..9], vec![1..2], vec![0..1], vec![], vec![]]);
        let none = Past::with_dependents(&plan, &[4, 12, 2, 1, 1, 1], vec![]);
        assert!(none.iter().all(Vec::is_empty));
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "ranges are the elements")]
    fn followers_and_needs_are_the_two_directions_of_one_relation() {
        let after = TaskPlan { clauses: vec![clause(1)], ..TaskPlan::default() };
        let groups: Option<Arc<[u32]>> = Some(vec![0, 0, 1, 1].into());
        let gather = GatherPlan { upstreams: vec![TaskId(0)], groups, min_success: None };
        let gathers = TaskPlan { gather: Some(gather), ..TaskPlan::default() };
        let tasks = vec![TaskPlan::default(), mapped(0, 3), gathers, after];
        let (plan, widths) = (RunPlan { tasks, ..RunPlan::default() }, [4, 12, 2, 1]);
        let followers = Past::with_followers(&plan, &widths, vec![vec![2..3]]);
        assert_eq!(followers, [vec![2..3], vec![6..9], vec![1..2], vec![0..1]]);
        let needs = |of: Vec<Indices>| Past::with_needs(&plan, &widths, of);
        assert_eq!(needs(vec![vec![], vec![4..8]]), [vec![1..3], vec![4..8], vec![], vec![]]);
        assert_eq!(needs(vec![vec![], vec![], vec![1..2]])[0], vec![2..4]);
        let all = needs(vec![vec![], vec![], vec![], vec![0..1]]);
        assert_eq!(all, [vec![0..4], vec![0..12], vec![], vec![0..1]]);
        let none = Past::with_needs(&plan, &widths, vec![]);
        assert!(none.iter().all(Vec::is_empty));
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "ranges are the elements")]
    fn what_made_temporary_outputs_runs_again_where_they_are_needed() {
        let groups: Option<Arc<[u32]>> = Some(vec![0, 0, 1, 1].into());
        let gather = GatherPlan { upstreams: vec![TaskId(0)], groups, min_success: None };
        let gathers =
            TaskPlan { gather: Some(gather), width: Width::Known(2), ..TaskPlan::default() };
        let user = |task, of, data| User { task: TaskId(task), of, data };
        let users = vec![
            user(1, Consumed::Map(3), true),
            user(2, Consumed::Gathered, true),
            user(3, Consumed::Single, false),
            user(4, Consumed::Single, true),
        ];
        let one = TaskPlan::default();
        let plan = RunPlan {
            tasks: vec![one.clone(), mapped(0, 3), gathers, one.clone(), one],
            temporary: vec![Temporary { task: TaskId(0), users }],
            ..RunPlan::default()
        };
        let hollow = vec![vec![0..1, 2..4]];
        let again = |task: usize, range: Range<u32>| {
            let mut runs = vec![Indices::new(); 5];
            runs[task].push(range);
            Past::with_temporary(&plan, &runs, &hollow)[0].clone()
        };
        assert_eq!(again(1, 4..8), [2..3]);
        assert_eq!(again(1, 3..5), []);
        assert_eq!(again(2, 1..2), [2..4]);
        assert_eq!(again(3, 0..1), []);
        assert_eq!(again(4, 0..1), [0..1, 2..4]);
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "ranges are the elements")]
    fn locks_run_again_with_what_they_guard_and_only_then() {
        let rerun = |clauses: Vec<Clause>| {
            let conduct = Conduct { rerun: true, ..Conduct::default() };
            TaskPlan { clauses, conduct: Arc::new(conduct), ..TaskPlan::default() }
        };
        let after = |of| TaskPlan { clauses: vec![clause(of)], ..TaskPlan::default() };
        // lock → work → more → unlock; another lock → other work.
        let tasks = vec![
            rerun(vec![]),
            after(0),
            after(1),
            rerun(vec![clause(2)]),
            rerun(vec![]),
            after(4),
            rerun(vec![clause(3)]),
        ];
        let plan = RunPlan { tasks, ..RunPlan::default() };
        let again = |task: usize| {
            let mut again = vec![Indices::new(); 7];
            again[task] = vec![0..1];
            let found = Past::rerun(&plan, &again);
            found.iter().map(|task| task.0).collect::<Vec<_>>()
        };
        assert_eq!(again(1), [0, 3, 6]);
        assert_eq!(again(2), [0, 3, 6]);
        assert_eq!(again(5), [4]);
        assert_eq!(Past::rerun(&plan, &[]), []);
    }

    /// A small generator of numbers (xorshift), so that each seed is one program.
    fn below(state: &mut u64, most: u64) -> u32 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state % most) as u32
    }

    #[test]
    fn random_graphs_agree_with_looking_at_each_instance() {
        for seed in 1..2_000u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let random = &mut state;
            let count = 2 + below(random, 6);
            let (mut tasks, mut widths) = (vec![TaskPlan::default()], vec![1 + below(random, 5)]);
            // Each instance there that an instance here has data from.
            let mut edges: Vec<((u32, u32), (u32, u32))> = Vec::new();
            for to in 1..count {
                let from = below(random, to.into());
                let upstream = widths[from as usize];
                let (task, width) = match below(random, 4) {
                    0 => {
                        let factor = 1 + below(random, 3);
                        let here = 0..upstream * factor;
                        edges.extend(here.map(|at| ((from, at / factor), (to, at))));
                        (mapped(from, factor), upstream * factor)
                    }
                    1 => {
                        let groups: Vec<u32> = (0..upstream).map(|_| below(random, 3)).collect();
                        edges.extend(
                            (0..).zip(&groups).map(|(at, group)| ((from, at), (to, *group))),
                        );
                        let (upstreams, groups) = (vec![TaskId(from)], Some(groups.into()));
                        let gather = GatherPlan { upstreams, groups, min_success: None };
                        (TaskPlan { gather: Some(gather), ..TaskPlan::default() }, 3)
                    }
                    2 => {
                        let width = 1 + below(random, 3);
                        let all =
                            (0..upstream).flat_map(|at| (0..width).map(move |here| (at, here)));
                        edges.extend(all.map(|(at, here)| ((from, at), (to, here))));
                        (
                            TaskPlan {
                                clauses: vec![clause(from)],
                                implied: 1,
                                ..TaskPlan::default()
                            },
                            width,
                        )
                    }
                    _ => (TaskPlan { clauses: vec![clause(from)], ..TaskPlan::default() }, 2),
                };
                tasks.push(TaskPlan { width: Width::Known(width), ..task });
                widths.push(width);
            }
            let mut known: BTreeSet<(u32, u32)> = BTreeSet::new();
            let mut begin: Vec<Indices> = vec![Indices::new(); tasks.len()];
            for _ in 0..below(random, 3) {
                let task = below(random, count.into());
                let index = below(random, widths[task as usize].into());
                known.insert((task, index));
                begin[task as usize].push(index..index + 1);
            }
            let plan = RunPlan { tasks, ..RunPlan::default() };
            let again = Past::with_dependents(&plan, &widths, begin);
            let found = (0..).zip(&again).flat_map(|(task, ranges)| {
                ranges.iter().cloned().flatten().map(move |index| (task, index))
            });
            while let Some(more) = edges
                .iter()
                .find(|(from, to)| known.contains(from) && !known.contains(to))
                .map(|(_, to)| *to)
            {
                known.insert(more);
            }
            assert_eq!(found.collect::<BTreeSet<_>>(), known, "seed {seed}");
        }
    }
}
