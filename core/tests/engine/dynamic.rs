//! The cases of scatter, groups and tolerance, each by its name.

use dagrun_core::engine::{CancelScope, Cause, Explanation, GatherPlan, MapEdge, TaskPlan};
use dagrun_core::ids::TaskId;
use dagrun_core::pipeline::{MinSuccess, Outcomes, Quantifier, Scatter, Split};
use dagrun_core::status::{RunState, State};

use crate::rig::{RUN, Rig, after, after_on, array, at, clause, late};

use State::{Blocked, Cancelled, Leased, Skipped, Succeeded};

fn scatter(from: u32, split: Split) -> TaskPlan {
    let scatter = Scatter { from: TaskId(from), split, max_items: Some(100) };
    late(TaskPlan { scatter: Some(scatter), implied: 1, ..after(&[from]) })
}

fn map(upstream: u32, factor: u32) -> TaskPlan {
    let edge = MapEdge { upstream: TaskId(upstream), factor };
    late(TaskPlan { map: Some(edge), ..TaskPlan::default() })
}

fn gather(upstreams: &[u32], min_success: Option<MinSuccess>) -> TaskPlan {
    let upstreams = upstreams.iter().map(|task| TaskId(*task)).collect();
    let gather = GatherPlan { upstreams, groups: None, min_success };
    TaskPlan { gather: Some(gather), ..TaskPlan::default() }
}

fn gather_by(upstream: u32, groups: &[u32]) -> TaskPlan {
    let width = groups.iter().max().map_or(0, |most| most + 1);
    let upstreams = vec![TaskId(upstream)];
    let gather = GatherPlan { upstreams, groups: Some(groups.into()), min_success: None };
    TaskPlan { gather: Some(gather), ..array(width) }
}

#[test]
fn a_scatter_has_as_many_instances_as_there_are_elements() {
    for (split, width) in [(Split::Each, 7), (Split::Chunk(3), 3), (Split::Parts(4), 4)] {
        let tasks = vec![
            TaskPlan::default(),
            scatter(0, split),
            map(1, 2),
            after(&[2]),
            gather(&[2], None),
        ];
        let mut rig = Rig::new(tasks).worker(1, 3).submit();
        assert!(matches!(rig.engine.explain(RUN, at(2, 0)), Some(Explanation::WidthUnknown(_))));
        rig.captures(0, 0, Some(7));
        assert_eq!(rig.widths[&TaskId(1)], width);
        assert_eq!(rig.widths[&TaskId(2)], 2 * width);
        rig.drain(|_| false);
        assert_eq!(rig.states(3), [Succeeded]);
        assert_eq!(rig.states(4), [Succeeded]);
        assert_eq!(rig.finished, [RunState::Succeeded]);
    }
}

#[test]
fn empty_array_scattered() {
    let tasks = vec![
        TaskPlan::default(),
        scatter(0, Split::Each),
        map(1, 3),
        gather(&[2], None),
        after(&[1]),
    ];
    let mut rig = Rig::new(tasks).worker(1, 1).submit();
    rig.captures(0, 0, Some(0));
    rig.drain(|_| false);
    assert_eq!((rig.states(3), rig.states(4)), (vec![Succeeded], vec![Succeeded]));
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn scatter_of_scatter() {
    // [[1, 2], [], [3]], each scattered again.
    let tasks = vec![
        TaskPlan::default(),
        scatter(0, Split::Each),
        scatter(1, Split::Each),
        gather(&[2], None),
    ];
    let mut rig = Rig::new(tasks).worker(1, 3).submit();
    rig.captures(0, 0, Some(3));
    rig.captures(1, 2, Some(1));
    rig.captures(1, 0, Some(2));
    assert!(!rig.widths.contains_key(&TaskId(2)));
    rig.captures(1, 1, Some(0));
    assert_eq!(rig.widths[&TaskId(2)], 3);
    rig.drain(|_| false);
    assert_eq!(rig.started(2), [0, 1, 2]);
    assert_eq!(rig.finished, [RunState::Succeeded]);
}

#[test]
fn a_failed_source_skips_all_that_it_would_have_fed() {
    let tasks = vec![
        TaskPlan::default(),
        scatter(0, Split::Each),
        map(1, 2),
        gather(&[2], None),
        after_on(Quantifier::All, &[2], Outcomes::Failure),
    ];
    let mut rig = Rig::new(tasks).worker(1, 1).submit();
    rig.fail(0, 0);
    assert_eq!((rig.states(1), rig.states(2)), (vec![Skipped], vec![Skipped; 2]));
    assert_eq!(rig.last_record(3, 0).cause, Some(Cause::Upstream { root: at(0, 0) }));
    rig.ok(4, 0);
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn what_is_no_array_or_too_long_is_not_scattered() {
    for items in [None, Some(101)] {
        let tasks = vec![TaskPlan::default(), scatter(0, Split::Each), after(&[1])];
        let mut rig = Rig::new(tasks).worker(1, 1).submit();
        rig.captures(0, 0, items);
        let cause = Cause::Scatter { root: at(0, 0), items: items.map(u64::from) };
        assert_eq!(rig.last_record(1, 0).cause, Some(cause));
        assert_eq!(rig.states(2), [Skipped]);
        assert_eq!(rig.finished, [RunState::Failed]);
    }
}

#[test]
fn a_dead_clause_ends_a_scatter_before_its_width_is_known() {
    let mut task = scatter(0, Split::Each);
    task.clauses.push(clause(Quantifier::All, &[1], Outcomes::Success));
    let mut mapped = map(2, 1);
    mapped.clauses.push(clause(Quantifier::All, &[1], Outcomes::Success));
    let tasks = vec![TaskPlan::default(), TaskPlan::default(), task, mapped];
    let mut rig = Rig::new(tasks).worker(1, 2).submit();
    rig.fail(1, 0);
    assert_eq!((rig.states(2), rig.states(3)), (vec![Skipped], vec![Skipped]));
    rig.captures(0, 0, Some(5));
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn a_dead_clause_of_a_map_waits_for_its_width() {
    let mut mapped = map(1, 1);
    mapped.clauses.push(clause(Quantifier::All, &[2], Outcomes::Success));
    let tasks = vec![
        TaskPlan::default(),
        scatter(0, Split::Each),
        TaskPlan::default(),
        mapped,
        after(&[3]),
    ];
    let mut rig = Rig::new(tasks).worker(1, 2).submit();
    rig.fail(2, 0);
    rig.captures(0, 0, Some(2));
    assert_eq!(rig.states(3), [Skipped, Skipped]);
    rig.drain(|_| false);
    assert_eq!(rig.states(4), [Skipped]);
    assert_eq!(rig.finished, [RunState::Failed]);
}

#[test]
fn a_cancelled_run_ends_also_what_has_no_width() {
    let tasks = vec![TaskPlan::default(), scatter(0, Split::Each), map(1, 2), gather(&[2], None)];
    let mut rig = Rig::new(tasks).worker(1, 2).submit();
    rig.cancel(CancelScope::Run);
    assert_eq!((rig.states(1), rig.states(2)), (vec![Cancelled], vec![Cancelled; 2]));
    rig.captures(0, 0, Some(5));
    assert_eq!(rig.finished, [RunState::Cancelled]);
}

#[test]
fn min_success() {
    let enough = [MinSuccess::Part(8_000), MinSuccess::Count(8)];
    for min in enough {
        let mut rig = Rig::new(vec![array(10), gather(&[0], Some(min))]).worker(1, 10).submit();
        rig.fail(0, 0);
        rig.fail(0, 5);
        assert_eq!(rig.state(1, 0), Blocked);
        rig.drain(|_| false);
        assert_eq!(rig.state(1, 0), Succeeded, "{min:?}");
    }
    let tasks = vec![array(10), gather(&[0], Some(MinSuccess::Count(9)))];
    let mut rig = Rig::new(tasks).worker(1, 10).submit();
    rig.fail(0, 0);
    assert_eq!(rig.state(1, 0), Blocked);
    rig.fail(0, 5);
    assert_eq!(rig.state(1, 0), Skipped, "as soon as 9 is out of reach");
    assert_eq!(rig.last_record(1, 0).cause, Some(Cause::Upstream { root: at(0, 5) }));
}

#[test]
fn min_success_of_a_scatter() {
    let min = Some(MinSuccess::Part(5_000));
    let tasks = vec![TaskPlan::default(), scatter(0, Split::Each), gather(&[1], min)];
    let mut rig = Rig::new(tasks).worker(1, 4).submit();
    rig.captures(0, 0, Some(4));
    rig.fail(1, 0);
    rig.fail(1, 1);
    assert_eq!(rig.state(2, 0), Blocked);
    rig.drain(|_| false);
    assert_eq!(rig.state(2, 0), Succeeded);
}

#[test]
fn group_starts_early() {
    let tasks = vec![array(6), gather_by(0, &[0, 1, 2, 0, 1, 2])];
    let mut rig = Rig::new(tasks).worker(1, 8).submit();
    rig.ok(0, 0);
    rig.ok(0, 3);
    rig.ok(0, 2);
    assert_eq!(rig.states(1), [Leased, Blocked, Blocked]);
    rig.fail(0, 5);
    assert_eq!(rig.states(1), [Leased, Blocked, Skipped], "a group is its own");
    rig.drain(|_| false);
    assert_eq!(rig.states(1), [Succeeded, Succeeded, Skipped]);
}

#[test]
fn after_outcome_known_before_submit() {
    // The dependents of an array are judged alike, whether its width was known late or early.
    let table = [
        (Quantifier::All, Outcomes::Success, [Succeeded, Skipped, Skipped]),
        (Quantifier::All, Outcomes::Failure, [Skipped, Skipped, Succeeded]),
        (Quantifier::All, Outcomes::Finish, [Succeeded, Succeeded, Succeeded]),
        (Quantifier::Any, Outcomes::Success, [Succeeded, Succeeded, Skipped]),
        (Quantifier::Any, Outcomes::Failure, [Skipped, Succeeded, Succeeded]),
        (Quantifier::Any, Outcomes::Finish, [Succeeded, Succeeded, Succeeded]),
    ];
    for (quantifier, on, row) in table {
        for (failing, expected) in (0..).zip(row) {
            let tasks =
                vec![TaskPlan::default(), scatter(0, Split::Each), after_on(quantifier, &[1], on)];
            let mut rig = Rig::new(tasks).worker(1, 1).submit();
            rig.captures(0, 0, Some(2));
            rig.drain(|instance| instance.task.0 == 1 && instance.index < failing);
            assert_eq!(rig.states(2), [expected], "{quantifier:?} {on:?}, {failing} fail");

            // The dependents are created when everything that they wait for has ended.
            let list = after_on(Quantifier::All, &[0], Outcomes::Finish);
            let mut late = map(2, 1);
            late.clauses.push(clause(quantifier, &[0], on));
            let tasks = vec![array(2), list, scatter(1, Split::Each), late];
            let mut rig = Rig::new(tasks).worker(1, 2).submit();
            for index in 0..2 {
                if index < failing { rig.fail(0, index) } else { rig.ok(0, index) }
            }
            rig.captures(1, 0, Some(3));
            rig.drain(|_| false);
            let states = rig.states(3);
            assert_eq!(states, [expected; 3], "late: {quantifier:?} {on:?}, {failing} fail");
        }
    }
}
