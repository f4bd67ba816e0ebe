//! The longest remaining path of each task: who is urgent.

use super::plan::RunPlan;
use super::run::for_each_edge;

/// For each task the longest path from its start to the end of the run, its own weight included; the
/// upward rank of list scheduling (Topcuoglu, Hariri, Wu 2002) without communication costs.
///
/// Tasks on a cycle, which checked plans do not have, get their own weight only.
pub(super) fn ranks(plan: &RunPlan) -> Vec<u64> {
    let own = |task: usize| plan.tasks[task].weight.0.max(1);
    let mut ranks: Vec<u64> = (0..plan.tasks.len()).map(own).collect();
    let mut downstreams_left = vec![0u32; plan.tasks.len()];
    for_each_edge(plan, |from, _| downstreams_left[from.at()] += 1);
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

#[cfg(test)]
mod tests {
    use super::super::plan::TaskPlan;
    use super::*;
    use crate::ids::{Micros, TaskId};
    use crate::pipeline::{Clause, Outcomes, Quantifier};

    #[test]
    fn the_head_of_a_chain_has_the_whole_chain_before_it() {
        let after = |task| Clause {
            upstreams: vec![TaskId(task)],
            quantifier: Quantifier::All,
            on: Outcomes::Success,
        };
        let task =
            |weight, clauses| TaskPlan { weight: Micros(weight), clauses, ..TaskPlan::default() };
        let plan = RunPlan {
            tasks: vec![
                task(5, vec![]),
                task(7, vec![after(0)]),
                task(1, vec![after(0), after(1)]),
            ],
            ..RunPlan::default()
        };
        assert_eq!(ranks(&plan), [13, 8, 1]);
    }
}
