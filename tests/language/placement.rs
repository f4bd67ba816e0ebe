//! Where instances run: `follow`, targets and resources.

use dagrun_core::status::{InstanceRow, RunState, State};

use crate::rig::{Ended, Rig, block_on, during, ended};

/// `a` succeeds on w1, `b` fails on w2.
const TWO: &str = r#"
[task.a]
run = ["true"]
targets = "w1"
[task.b]
run = ["false"]
targets = "w2"
allow-failure = true
"#;

/// Runs both and a third, `c`.
fn two_and(third: &str) -> Ended {
    Rig::workers(2, 2).run(&format!("{TWO}[task.c]\nrun = [\"true\"]\n{third}"))
}

#[test]
fn follow_one() {
    let ended = two_and("follow = \"a\"\nsweep = { i = { range = \"0..5\" } }");
    assert_eq!(ended.places("c"), ["w1"; 5]);
    let end = ended.only("a").finished;
    assert!(ended.of("c").iter().all(|row| row.started >= end), "after a");
}

#[test]
fn follow_all_on_two() {
    let ended = two_and("follow = { all = [\"a\", \"b\"], on = \"finish\" }");
    let several = "follow a, b on finish: they ran on several workers";
    assert_eq!(ended.reason("c"), (State::Skipped, several));
    assert_eq!(ended.status.state, RunState::Failed);
}

#[test]
fn follow_any_success() {
    let ended = two_and("follow = { any = [\"a\", \"b\"] }");
    assert_eq!((ended.places("c"), ended.states("c")), (vec!["w1"], vec![State::Succeeded]));
}

#[test]
fn follow_any_failure() {
    let ended = two_and("follow = { any = [\"a\", \"b\"], on = \"failure\" }");
    assert_eq!((ended.places("c"), ended.states("c")), (vec!["w2"], vec![State::Succeeded]));
}

#[test]
fn follow_a_failure() {
    let ended = two_and("follow = \"b\"");
    assert_eq!(ended.reason("c"), (State::Skipped, "follow b: b failed: exit code 1"));
}

#[test]
fn follow_never_ran() {
    let ended = two_and(
        "follow = { all = [\"never\"], on = \"finish\" }\n\
         [task.never]\nrun = [\"true\"]\nafter = \"b\"",
    );
    let never = "follow never on finish: never never ran on a worker: b failed: exit code 1";
    assert_eq!(ended.reason("c"), (State::Skipped, never));
}

#[test]
fn follow_mixed_with_after() {
    let slow = "\n[task.slow]\nshell = \"until test -e go; do sleep 0.01; done\"\ntargets = \"w2\"\n\
                [task.let]\nrun = [\"touch\", \"go\"]\nafter = \"a\"\ntargets = \"w1\"";
    let ended = two_and(&format!("follow = \"a\"\nafter = \"slow\"{slow}"));
    assert_eq!(ended.places("c"), ["w1"]);
    assert!(ended.only("c").started >= ended.only("slow").finished);
    let ended = two_and("follow = \"a\"\nafter = \"b\"");
    assert_eq!(ended.reason("c"), (State::Skipped, "after b: b failed: exit code 1"));
}

#[test]
fn follow_dead_worker() {
    let mut rig = Rig::new().worker("w1", 1, &[], &[]).worker("w2", 1, &[], &[]);
    block_on(async {
        let (flag, go) = (rig.path("started"), rig.path("go"));
        let text = format!(
            "[task.a]\nrun = [\"true\"]\ntargets = \"w1\"\n\
             [task.wait]\nafter = \"a\"\ntargets = \"w2\"\n\
             shell = \"touch '{}'; until test -e '{}'; do sleep 0.01; done\"\n\
             [task.c]\nrun = [\"true\"]\nfollow = \"a\"\nafter = \"wait\"",
            flag.display(),
            go.display()
        );
        let run = rig.submit(&text).await;
        rig.wait_for("started").await;
        let gone = rig.workers.remove(0);
        gone.shutdown();
        let _ = tokio::task::spawn_blocking(|| gone.join()).await;
        std::fs::write(go, "").unwrap();
        let ended = ended(&run).await;
        assert_eq!(ended.status.state, RunState::Failed);
        assert_eq!(ended.reason("wait"), (State::Succeeded, ""));
        assert_eq!(ended.reason("c"), (State::Skipped, "follow a: its worker is gone"));
    });
}

#[test]
fn target_absent_joins() {
    let mut rig = Rig::workers(1, 1);
    block_on(async {
        let text = "[task.a]\nrun = [\"true\"]\ntargets = \"late\"";
        let run = rig.submit(text).await;
        let lines = run.explain("a", 0).await.unwrap();
        assert!(lines[0].ends_with("no worker is called or labelled late"), "{lines:?}");
        rig.join("w2", 1, &["late"], &[]);
        let ended = ended(&run).await;
        assert_eq!((ended.places("a"), ended.status.state), (vec!["w2"], RunState::Succeeded));
    });
}

#[test]
fn no_workers() {
    let mut rig = Rig::new();
    block_on(async {
        let run = rig.submit("[task.a]\nrun = [\"true\"]\nsweep = { i = [1, 2, 3] }").await;
        let lines = run.explain("a", 0).await.unwrap();
        assert_eq!(lines, ["a[0] is ready but has not started: no worker is present"]);
        rig.join("w1", 1, &[], &[]);
        assert_eq!(ended(&run).await.states("a"), [State::Succeeded; 3]);
    });
}

#[test]
fn resources_never_oversubscribed() {
    let gpu = [("gpu", 1)];
    let rig = Rig::new().worker("w1", 4, &[], &gpu).worker("w2", 4, &[], &gpu);
    // As good as random, and the same in every run.
    let needs = |task: usize| (task * 7 % 5 % 4 + 1, task * 11 % 3 / 2);
    let tasks = (0..40).map(|task| {
        let (cpus, gpu) = needs(task);
        let run = "run = [\"sleep\", \"0.02\"]";
        format!("[task.t{task}]\n{run}\ncpus = {cpus}\nresources = {{ gpu = {gpu} }}\n")
    });
    let ended = rig.run(&tasks.collect::<String>());
    assert_eq!(ended.status.state, RunState::Succeeded);
    for worker in ["w1", "w2"] {
        let here = |row: &&InstanceRow| row.worker.as_deref() == Some(worker);
        let rows: Vec<&InstanceRow> = ended.rows.iter().filter(here).collect();
        assert!(!rows.is_empty(), "both are used");
        for row in &rows {
            let at_once = during(&rows, row).map(|row| needs(row.instance.task.at()));
            let (cpus, gpus) = at_once.fold((0, 0), |sum, need| (sum.0 + need.0, sum.1 + need.1));
            assert!(cpus <= 4 && gpus <= 1, "{cpus} cpus and {gpus} gpus on {worker}");
        }
    }
}

#[test]
fn memory_and_resources_bound_what_runs_at_once() {
    let rig = Rig::new().worker("w1", 8, &[], &[("gpu", 2)]).worker("w2", 8, &[], &[]);
    let ended = rig.run(
        r#"
        [task.train]
        run = ["sleep", "0.05"]
        sweep = { i = { range = "0..8" } }
        resources = { gpu = 1 }
        [task.large]
        run = ["sleep", "0.05"]
        sweep = { i = { range = "0..4" } }
        memory = "600MiB"
        targets = "w2"
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    assert!(ended.of("train").iter().all(|row| row.worker.as_deref() == Some("w1")));
    assert_eq!(ended.most_at_once("train"), 2);
    assert_eq!(ended.most_at_once("large"), 1);
}

#[test]
fn one_instance_for_each_worker() {
    let rig = Rig::new().worker("w1", 1, &[], &[]).worker("w2", 1, &[], &[]);
    let ended = rig.run("[task.a]\nrun = [\"true\"]\ntargets = \"each\"");
    let workers: Vec<_> = ended.of("a").iter().map(|row| row.worker.clone().unwrap()).collect();
    assert_eq!(workers, ["w1", "w2"]);
}

#[test]
fn what_finds_no_worker_in_time_fails() {
    let ended = Rig::with_worker().run(
        r#"
        [task.a]
        run = ["true"]
        targets = "nobody"
        start-within = "200ms"
        [task.b]
        run = ["true"]
        after = "a"
        "#,
    );
    assert_eq!(ended.reason("a"), (State::Failed, "not started within 200ms"));
    let skipped = "after a: a failed: not started within 200ms";
    assert_eq!(ended.reason("b"), (State::Skipped, skipped));
    assert_eq!(ended.status.state, RunState::Failed);
}
