//! Which instances a retry runs again although they had succeeded: those whose data came, directly or
//! through others, from instances that had not.

use std::ops::Range;

use super::plan::{Past, RunPlan, TaskPlan};
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
        for task in in_order_of_data(plan) {
            let width = widths.get(task).copied().unwrap_or(0);
            let mut found = std::mem::take(&mut again[task]);
            for (from, way) in sources(&plan.tasks[task]) {
                let Some(changed) = again.get(from.at()).filter(|changed| !changed.is_empty())
                else {
                    continue;
                };
                match way {
                    Way::All => found.push(0..width),
                    Way::Map(factor) => found.extend(changed.iter().map(|range| {
                        range.start.saturating_mul(factor)..range.end.saturating_mul(factor)
                    })),
                    Way::Groups(groups) => {
                        let of = |range: &Range<u32>| {
                            groups.get(range.start as usize..range.end as usize)
                        };
                        let groups = changed.iter().filter_map(of).flatten();
                        found.extend(groups.map(|group| *group..group.saturating_add(1)));
                    }
                }
            }
            again[task] = merged(found, width);
        }
        again
    }
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

fn sources(task: &TaskPlan) -> impl Iterator<Item = (TaskId, Way<'_>)> {
    let map = task.map.map(|map| (map.upstream, Way::Map(map.factor)));
    let gathered = task.gather.iter().flat_map(|gather| {
        gather.upstreams.iter().map(|upstream| match &gather.groups {
            Some(groups) => (*upstream, Way::Groups(groups)),
            None => (*upstream, Way::All),
        })
    });
    let implied = task.clauses.iter().take(task.implied as usize);
    let implied = implied.flat_map(|clause| clause.upstreams.iter().map(|task| (*task, Way::All)));
    map.into_iter().chain(gathered).chain(implied)
}

/// The tasks, each after those that it has data from.
fn in_order_of_data(plan: &RunPlan) -> Vec<usize> {
    let mut open: Vec<usize> = plan.tasks.iter().map(|task| sources(task).count()).collect();
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); plan.tasks.len()];
    for (at, task) in plan.tasks.iter().enumerate() {
        for (from, _) in sources(task) {
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
    use crate::engine::{GatherPlan, MapEdge, Width};
    use crate::pipeline::{Clause, Outcomes, Quantifier};

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
