//! What runs after what: clauses, queues and priorities.

use std::collections::BTreeSet;

use dagrun_core::status::{RunState, State};

use crate::rig::{Rig, block_on, ended, succeeded};

#[test]
fn diamond_each_failing() {
    use State::{Failed as F, Skipped as X, Succeeded as S};
    let expected =
        [[F, X, X, X, X], [S, F, S, X, X], [S, S, F, X, S], [S, S, S, F, S], [S, S, S, S, F]];
    let afters = ["", "after = 't0'", "after = 't0'", "after = ['t1', 't2']", "after = 't1'"];
    for (failing, states) in expected.into_iter().enumerate() {
        let task = |(task, after)| {
            let word = if task == failing { "false" } else { "true" };
            format!("[task.t{task}]\nrun = ['{word}']\n{after}\n")
        };
        let ended =
            Rig::workers(2, 1).run(&afters.iter().enumerate().map(task).collect::<String>());
        let found: Vec<State> = ended.rows.iter().map(|row| row.state).collect();
        assert_eq!(found, states, "t{failing} fails");
        assert_eq!(ended.status.state, RunState::Failed);
    }
}

#[test]
fn chain_cascade() {
    let ended = Rig::workers(1, 1).run(
        r#"
        [task.a]
        run = ["false"]
        [task.b]
        run = ["true"]
        after = "a"
        [task.c]
        run = ["true"]
        after = "b"
        [task.d]
        run = ["true"]
        after = "c"
        [task.e]
        run = ["true"]
        after = { all = "d", on = "failure" }
        [task.f]
        run = ["true"]
        after = { all = "d", on = "finish" }
        "#,
    );
    for (task, upstream) in [("b", "a"), ("c", "b"), ("d", "c")] {
        let reason = format!("after {upstream}: a failed: exit code 1");
        assert_eq!(ended.reason(task), (State::Skipped, reason.as_str()));
    }
    assert_eq!(
        (ended.states("e"), ended.states("f")),
        (vec![State::Succeeded], vec![State::Succeeded])
    );
}

#[test]
fn eager_any() {
    let ended = Rig::with_worker().run(
        r#"
        [task.up]
        shell = 'if [ $i = 1 ]; then until [ -e go ]; do sleep 0.01; done; fi'
        sweep = { i = [0, 1] }
        [task.next]
        run = ["touch", "go"]
        after = { any = "up" }
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    assert!(ended.only("next").started < ended.of("up")[1].finished, "while the other runs");
}

#[test]
fn eager_all() {
    let ended = Rig::with_worker().run(
        r#"
        [task.up]
        shell = 'if [ $i = 0 ]; then exit 3; fi; until [ -e go ]; do sleep 0.01; done'
        sweep = { i = [0, 1] }
        [task.next]
        run = ["true"]
        after = "up"
        [task.told]
        run = ["touch", "go"]
        after = { all = "next", on = "failure" }
        "#,
    );
    assert_eq!(ended.reason("next"), (State::Skipped, "after up: up[0] failed: exit code 3"));
    assert_eq!(ended.states("up"), [State::Failed, State::Succeeded]);
    assert!(ended.only("told").started < ended.of("up")[1].finished, "while the other runs");
}

#[test]
fn allow_failure() {
    let ended = Rig::with_worker().run(
        r#"
        [task.a]
        run = ["false"]
        allow-failure = true
        [task.good]
        run = ["true"]
        after = "a"
        [task.bad]
        run = ["true"]
        after = { all = "a", on = "failure" }
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    assert_eq!(
        (ended.states("good"), ended.states("bad")),
        (vec![State::Skipped], vec![State::Succeeded])
    );
}

#[test]
fn several_slots_no_double_start() {
    let rig = Rig::workers(2, 3);
    let said = "shell = 'echo $DAGRUN_TASK $DAGRUN_INDEX $DAGRUN_ATTEMPT >> starts'";
    let ended = rig.run(&format!(
        r#"
        [task.a]
        {said}
        [task.b]
        {said}
        after = "a"
        [task.wide]
        {said}
        sweep = {{ i = {{ range = "0..10" }} }}
        cpus = 2
        after = "b"
        [task.mapped]
        {said}
        map = "wide"
        [task.many]
        {said}
        sweep = {{ i = {{ range = "0..100" }} }}
        after = "b"
        [task.urgent]
        {said}
        sweep = {{ i = {{ range = "0..10" }} }}
        priority = 5
        max-running = 2
        after = "b"
        "#
    ));
    assert_eq!(ended.status.state, RunState::Succeeded);
    let starts = rig.lines("starts");
    assert_eq!(starts.len(), 2 + 10 + 10 + 100 + 10);
    assert_eq!(starts.iter().collect::<BTreeSet<_>>().len(), starts.len(), "none starts twice");
    assert!(starts.iter().all(|start| start.ends_with(" 1")), "each at its first attempt");
}

#[test]
fn fifo_among_equals() {
    let rig = Rig::workers(1, 1);
    let ended = rig.run(
        r#"
        [task.gate]
        run = ["true"]
        [task.many]
        shell = 'echo $DAGRUN_INDEX >> order'
        sweep = { i = { range = "0..100" } }
        after = "gate"
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    assert_eq!(rig.lines("order"), (0..100).map(|i| i.to_string()).collect::<Vec<_>>());
}

#[test]
fn priority_and_max_running() {
    let ended = Rig::workers(1, 2).run(
        r#"
        [task.gate]
        run = ["true"]
        [task.low]
        run = ["touch", "low"]
        sweep = { i = { range = "0..6" } }
        after = "gate"
        [task.high]
        shell = 'until [ -e low ]; do sleep 0.01; done; sleep 0.02'
        sweep = { i = { range = "0..3" } }
        priority = 10
        max-running = 1
        after = "gate"
        "#,
    );
    // The first of the higher one waits for one of the lower one.
    assert_eq!(ended.status.state, RunState::Succeeded);
    assert_eq!(ended.most_at_once("high"), 1);
    // Each slot starts what it is given by its own clock, so one of the lower one may be first by a hair.
    let high = ended.of("high").iter().map(|row| row.started).min().unwrap();
    let earlier = ended.of("low").iter().filter(|row| row.started < high).count();
    assert!(earlier <= 1, "{earlier} of the lower one are before the higher");
}

#[test]
fn steal_not_started_only() {
    let mut rig = Rig::workers(1, 1);
    block_on(async {
        let run = rig
            .submit(
                "[task.a]\nshell = 'echo $i >> starts; if [ $i = 200 ]; then touch held; \
                 until [ -e go ]; do sleep 0.01; done; fi'\nsweep = { i = { range = '0..300' } }",
            )
            .await;
        rig.wait_for("held").await;
        // The only slot is taken: all that follows runs here, also what had been sent there.
        rig.join("w2", 1, &[], &[]);
        succeeded(&run, 299).await;
        std::fs::write(rig.path("go"), "").unwrap();
        let ended = ended(&run).await;
        let places = ended.places("a");
        assert!(places[..=200].iter().all(|place| *place == "w1"), "{places:?}");
        assert!(places[201..].iter().all(|place| *place == "w2"), "{places:?}");
        let starts = rig.lines("starts");
        assert_eq!(starts.iter().collect::<BTreeSet<_>>().len(), 300);
        assert_eq!(starts.len(), 300, "none starts twice");
    });
}
