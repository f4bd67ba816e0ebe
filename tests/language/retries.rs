//! Attempts: retries, and workers that are lost.

use dagrun_core::status::{RunState, State};

use crate::rig::{Rig, block_on, ended};

#[test]
fn retried_then_succeeds() {
    let ended = Rig::with_worker().run(
        r#"
        [task.a]
        shell = 'test "$DAGRUN_ATTEMPT" = 2'
        retries = 1
        [task.b]
        run = ["true"]
        after = "a"
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    let (a, b) = (ended.only("a"), ended.only("b"));
    assert_eq!((a.attempts, b.attempts), (2, 1));
    assert!(b.started >= a.finished);
}

/// The workers where the attempts of `a` ran.
fn places(lines: &[String]) -> Vec<&str> {
    let line = |line| -> Option<&str> { Some(str::split_once(line, " on ")?.1.split_once(':')?.0) };
    lines.iter().skip(1).filter_map(|text| line(text)).collect()
}

#[test]
fn retries_exhausted() {
    let rig = Rig::workers(3, 1);
    block_on(async {
        let text = "[task.a]\nshell = \"exit $((10 + DAGRUN_ATTEMPT))\"\nretries = 2";
        let run = rig.submit(text).await;
        let ended = ended(&run).await;
        assert_eq!(ended.reason("a"), (State::Failed, "exit code 13"), "its own last error");
        assert_eq!(ended.only("a").exit_code, Some(13));
        let lines = run.explain("a", 0).await.unwrap();
        let mut places = places(&lines);
        places.sort_unstable();
        assert_eq!(places, ["w1", "w2", "w3"]);
    });
}

#[test]
fn retries_beyond_workers() {
    let rig = Rig::workers(2, 1);
    block_on(async {
        let text = "[task.a]\nshell = \"echo >> count; exit 1\"\nretries = 4";
        let run = rig.submit(text).await;
        let ended = ended(&run).await;
        assert_eq!((ended.only("a").attempts, ended.status.state), (5, RunState::Failed));
        assert_eq!(rig.lines("count").len(), 5);
        assert_eq!(places(&run.explain("a", 0).await.unwrap()).len(), 5);
    });
}

#[test]
fn a_task_that_loses_its_workers_fails_and_says_so() {
    let rig = Rig::new().worker("w1", 1, &[], &[]);
    block_on(async {
        let flag = rig.path("started");
        let text = format!(
            "[task.a]\nmax-lost = 0\nshell = \"touch '{}'; sleep 60\"\n\
             [task.b]\nrun = [\"true\"]\nafter = \"a\"",
            flag.display()
        );
        let run = rig.submit(&text).await;
        rig.wait_for("started").await;
        rig.wait_until_it_runs(&run).await;
        rig.lose(0);
        let ended = ended(&run).await;
        assert_eq!(ended.reason("a"), (State::Failed, "lost its worker once"));
        let skipped = "after a: a failed: lost its worker once";
        assert_eq!(ended.reason("b"), (State::Skipped, skipped));
    });
}
