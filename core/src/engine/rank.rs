//! The longest remaining path of each task: how urgent it is.
//!
//! A weight is the run time of an attempt in microseconds: that of the plan, or else the mean over
//! the task's successful attempts in this run so far. An unknown weight is taken to be the mean of
//! the known ones, and 1 as long as none is known: then the length of a path is its number of
//! tasks.

use super::plan::RunPlan;

/// For each task the longest path from its start to the end of the run, its own weight included;
/// the upward rank of list scheduling (Topcuoglu, Hariri, Wu 2002) without communication costs.
/// `weights` are by task, zero where not known.
///
/// Tasks on a cycle, which checked plans do not have, get their own weight only.
pub(super) fn ranks(plan: &RunPlan, weights: &[u64]) -> Vec<u64> {
    let known = weights.iter().filter(|weight| **weight > 0);
    let (count, sum) = known.fold((0u128, 0u128), |(n, sum), w| (n + 1, sum + u128::from(*w)));
    let mean = sum.checked_div(count).map_or(1, |mean| u64::try_from(mean).unwrap_or(u64::MAX));
    let own = |task: usize| if weights[task] > 0 { weights[task] } else { mean };
    let mut ranks: Vec<u64> = (0..plan.tasks.len()).map(own).collect();
    let mut downstreams_left = vec![0u32; plan.tasks.len()];
    plan.for_each_edge(|from, _| downstreams_left[from.at()] += 1);
    let mut done: Vec<usize> =
        (0..plan.tasks.len()).filter(|task| downstreams_left[*task] == 0).collect();
    while let Some(task) = done.pop() {
        let plan = &plan.tasks[task];
        let mapped = plan.map.iter().map(|map| map.upstream);
        let gathered = plan.gather.iter().flat_map(|gather| gather.upstreams.iter().copied());
        let named = plan.clauses.iter().flat_map(|clause| clause.upstreams.iter().copied());
        for upstream in mapped.chain(gathered).chain(named) {
            let at = upstream.at();
            ranks[at] = ranks[at].max(own(at).saturating_add(ranks[task]));
            downstreams_left[at] -= 1;
            if downstreams_left[at] == 0 {
                done.push(at);
            }
        }
    }
    ranks
}

/// When the ranks of a run are computed again, because more is known of how long its tasks take.
///
/// A task causes a new computation after 1, 2, 4, 8, … of its instances. The time per finished
/// instance stays bounded, however many tasks there are: a computation visits every task and edge,
/// and waits until as many instances as an eighth of these have ended since the last, fewer at the
/// beginning.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    /// Instances that succeeded, of tasks whose weight the plan does not know.
    seen: u64,
    /// The next computation is due no earlier than at this number of them.
    next: u64,
    /// A weight has changed since the last.
    outdated: bool,
}

impl Ranking {
    /// Notes another instance, number `of_task` of its task. `size` is the number of tasks and
    /// edges. Returns whether the ranks are to be computed again.
    pub(super) fn see(&mut self, of_task: u64, size: u64) -> bool {
        self.seen += 1;
        self.outdated |= of_task.is_power_of_two();
        if !self.outdated || self.seen < self.next {
            return false;
        }
        self.outdated = false;
        self.next = self.seen + self.seen.clamp(size / 64, size / 8).max(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::TaskPlan;
    use super::*;
    use crate::ids::TaskId;
    use crate::pipeline::{Clause, Outcomes, Quantifier};

    #[test]
    fn many_tasks_are_not_ranked_often() {
        for size in [0, 10, 1_000, 3_000_000] {
            let mut ranking = Ranking::default();
            // Tasks of one instance: each of them is new information.
            let times = (0..size).filter(|_| ranking.see(1, size)).count() as u64;
            assert!(times <= 16.max(size), "{times} times for {size}");
            assert!(size < 1_000 || times <= 16, "{times} times for {size}");
        }
        let mut ranking = Ranking::default();
        let times = (1..=1_000_000).filter(|number| ranking.see(*number, 3)).count();
        assert_eq!(times, 20, "one wide task: after 1, 2, 4, 8, …");
    }

    #[test]
    fn what_is_not_known_is_taken_for_the_mean_of_what_is() {
        let plan = RunPlan { tasks: vec![TaskPlan::default(); 3], ..RunPlan::default() };
        assert_eq!(ranks(&plan, &[0, 0, 0]), [1, 1, 1]);
        assert_eq!(ranks(&plan, &[10, 0, 20]), [10, 15, 20]);
    }

    #[test]
    fn the_head_of_a_chain_has_the_whole_chain_before_it() {
        let after = |task| Clause {
            upstreams: vec![TaskId(task)],
            quantifier: Quantifier::All,
            on: Outcomes::Success,
        };
        let task = |clauses| TaskPlan { clauses, ..TaskPlan::default() };
        let plan = RunPlan {
            tasks: vec![task(vec![]), task(vec![after(0)]), task(vec![after(0), after(1)])],
            ..RunPlan::default()
        };
        assert_eq!(ranks(&plan, &[5, 7, 1]), [13, 8, 1]);
    }
}
