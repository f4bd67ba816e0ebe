//! The graph language with real workers and real processes.

use std::path::PathBuf;
use std::time::Duration;

use dagrun::load;
use dagrun::rpc::Client;
use dagrun::rpc::{Run, Scope};
use dagrun_core::ids::{InstanceId, TaskId};
use dagrun_core::status::{InstanceRow, RunState, RunStatus, State};
use dagrun_scheduler::SchedulerHandle;
use dagrun_worker::WorkerHandle;

const CLIENT: &[u8] = b"client";
const WORKER: &[u8] = b"worker";

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// A scheduler, its workers and a directory for the pipeline.
struct Rig {
    dir: tempfile::TempDir,
    scheduler: Option<SchedulerHandle>,
    workers: Vec<WorkerHandle>,
}

impl Rig {
    fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let config = dagrun_scheduler::Config::new(state, CLIENT.to_vec(), WORKER.to_vec());
        let scheduler = Some(dagrun_scheduler::spawn(config).unwrap());
        Rig { dir, scheduler, workers: Vec::new() }
    }

    fn with_worker() -> Rig {
        Rig::new().worker("w1", 4, &[], &[])
    }

    fn worker(mut self, name: &str, slots: u32, labels: &[&str], resources: &[(&str, u64)]) -> Rig {
        let config = dagrun_worker::Config {
            name: name.into(),
            slots,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            memory: Some(1 << 30),
            resources: resources.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
            token: WORKER.to_vec(),
            connection: dagrun_worker::Connection::Stream(self.stream()),
            reaper: None,
            log_limit: dagrun_worker::DEFAULT_LOG_LIMIT,
        };
        self.workers.push(dagrun_worker::spawn(config).unwrap());
        self
    }

    fn stream(&self) -> std::os::unix::net::UnixStream {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        self.scheduler.as_ref().unwrap().attach(theirs);
        ours
    }

    async fn submit(&self, text: &str) -> Run {
        let stream = self.stream();
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(stream).unwrap();
        let client = Client::attach(stream, CLIENT).await.unwrap();
        let path = self.path("pipeline.toml");
        std::fs::write(&path, text).unwrap();
        let loaded = load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        client.submit(&loaded.submission()).await.unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a pipeline to its end.
    fn run(&self, text: &str) -> Ended {
        block_on(async {
            let run = self.submit(text).await;
            ended(&run).await
        })
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let scheduler = self.scheduler.take().unwrap();
        scheduler.shutdown();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        scheduler.join();
    }
}

fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let timed = async { tokio::time::timeout(LONG, test).await.expect("the test hangs") };
    tokio::task::LocalSet::new().block_on(&runtime, timed)
}

/// A run that has ended.
struct Ended {
    status: RunStatus,
    rows: Vec<InstanceRow>,
    values: Vec<Option<serde_json::Value>>,
}

async fn ended(run: &Run) -> Ended {
    let mut updates = run.watch().await.unwrap();
    while let Some(update) = updates.next().await {
        if update.state != RunState::Running {
            break;
        }
    }
    let status = run.status().await.unwrap();
    let first = InstanceId { task: TaskId(0), index: 0 };
    let rows = run.instances(first, 1_000, false).await.unwrap().rows;
    let mut values = Vec::new();
    for row in &rows {
        let name = &status.tasks[row.instance.task.at()].name;
        let value = run.value(name, row.instance.index).await.ok();
        values.push(value.map(|value| serde_json::from_slice(&value).unwrap()));
    }
    Ended { status, rows, values }
}

impl Ended {
    fn of(&self, task: &str) -> Vec<&InstanceRow> {
        let at = self.status.tasks.iter().position(|known| known.name == task).unwrap();
        self.rows.iter().filter(|row| row.instance.task.at() == at).collect()
    }

    fn only(&self, task: &str) -> &InstanceRow {
        match self.of(task)[..] {
            [row] => row,
            ref rows => panic!("{task} has {} instances", rows.len()),
        }
    }

    fn values(&self, task: &str) -> Vec<serde_json::Value> {
        let at = self.status.tasks.iter().position(|known| known.name == task).unwrap();
        let values = self.rows.iter().zip(&self.values);
        let values = values.filter(|(row, _)| row.instance.task.at() == at);
        values.map(|(_, value)| value.clone().unwrap()).collect()
    }

    fn reason(&self, task: &str) -> (State, &str) {
        let row = self.only(task);
        (row.state, row.reason.as_str())
    }
}

#[test]
fn a_captured_array_is_scattered_mapped_and_gathered() {
    let ended = Rig::with_worker().run(
        r#"
        [task.list]
        run = ["printf", '[1.50, {{"a": "x y"}}, [2,3]]']
        capture = "json"
        [task.each]
        scatter = "list"
        run = ["printf", "%s", "{item}"]
        capture = "text"
        [task.twice]
        map = "each"
        run = ["printf", "%s=%s", "{item}", "{each.value}"]
        capture = "text"
        [task.all]
        gather = "twice"
        run = ["cat", "{twice.manifest}"]
        capture = "lines"
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    assert_eq!(ended.values("each"), ["1.50", r#"{"a":"x y"}"#, "[2,3]"]);
    let twice = [r#"1.50=1.50"#, r#"{"a":"x y"}={"a":"x y"}"#, "[2,3]=[2,3]"];
    assert_eq!(ended.values("twice"), twice);
    let lines = &ended.values("all")[0];
    let lines: Vec<serde_json::Value> = lines
        .as_array()
        .unwrap()
        .iter()
        .map(|line| serde_json::from_str(line.as_str().unwrap()).unwrap())
        .collect();
    let found: Vec<_> = lines.iter().map(|line| line["value"].as_str().unwrap()).collect();
    assert_eq!(found, twice);
    assert_eq!(lines[1]["params"]["item"], serde_json::json!({"a": "x y"}));
}

#[test]
fn chunks_parts_and_sweeps_share_the_elements() {
    let ended = Rig::with_worker().run(
        r#"
        [task.list]
        run = ["echo", "[0,1,2,3,4,5,6]"]
        capture = "json"
        [task.chunks]
        scatter = { from = "list", chunk = 3 }
        run = ["echo", "{item}"]
        capture = "json"
        [task.parts]
        scatter = { from = "list", parts = 2 }
        sweep = { k = [7, 8] }
        run = ["echo", "[{k},{item}]"]
        capture = "json"
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    let expected = serde_json::json!([[0, 1, 2], [3, 4, 5], [6]]);
    assert_eq!(serde_json::Value::from(ended.values("chunks")), expected);
    let expected =
        serde_json::json!([[7, [0, 1, 2, 3]], [8, [0, 1, 2, 3]], [7, [4, 5, 6]], [8, [4, 5, 6]]]);
    assert_eq!(serde_json::Value::from(ended.values("parts")), expected);
}

#[test]
fn an_empty_array_makes_no_instances_and_an_empty_manifest() {
    let ended = Rig::with_worker().run(
        r#"
        [task.list]
        run = ["echo", "[]"]
        capture = "json"
        [task.each]
        scatter = "list"
        run = ["echo", "{item}"]
        [task.mapped]
        map = "each"
        run = ["echo", "{item}"]
        [task.all]
        gather = ["each", "mapped"]
        run = ["cat", "{each.manifest}", "{mapped.manifest}"]
        capture = "text"
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    assert!(ended.of("each").is_empty() && ended.of("mapped").is_empty());
    assert!(ended.status.tasks.iter().all(|task| task.width_known));
    assert_eq!(ended.values("all"), [""]);
}

#[test]
fn what_is_no_array_or_too_long_a_one_is_not_scattered() {
    let ended = Rig::with_worker().run(
        r#"
        [task.list]
        run = ["echo", "{{}}"]
        capture = "json"
        [task.long]
        run = ["seq", "12"]
        capture = "lines"
        [task.each]
        scatter = "list"
        run = ["echo", "{item}"]
        [task.mapped]
        map = "each"
        run = ["true"]
        [task.guarded]
        scatter = { from = "long", max-items = 10 }
        run = ["echo", "{item}"]
        "#,
    );
    assert_eq!(ended.status.state, RunState::Failed);
    let none = "needs list: list captured no JSON array";
    assert_eq!(ended.reason("each"), (State::Skipped, none));
    let (state, reason) = ended.reason("mapped");
    assert!(state == State::Skipped && reason.starts_with("needs each: list "), "{reason}");
    let many = "needs long: long has 12 elements, max-items is 10";
    assert_eq!(ended.reason("guarded"), (State::Skipped, many));
}

#[test]
fn scatter_of_scatter() {
    let ended = Rig::with_worker().run(
        r#"
        [task.list]
        run = ["echo", "[[1,2],[],[3]]"]
        capture = "json"
        [task.outer]
        scatter = "list"
        run = ["echo", "{item}"]
        capture = "json"
        [task.inner]
        scatter = "outer"
        run = ["echo", "{item}"]
        capture = "json"
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    assert_eq!(ended.values("inner"), [1, 2, 3]);
}

#[test]
fn a_group_is_gathered_from_its_own_instances() {
    let ended = Rig::with_worker().run(
        r#"
        [task.sim]
        run = ["echo", "{h}{k}"]
        sweep = { k = [1, 2, 3], h = [10, 20] }
        capture = "json"
        [task.mean]
        gather = { task = "sim", by = ["h"] }
        run = ["cat", "{sim.manifest}"]
        stdin = "{sim.manifest}"
        capture = "lines"
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    let groups: Vec<Vec<u64>> = ended
        .values("mean")
        .iter()
        .map(|lines| {
            let lines = lines.as_array().unwrap().iter();
            let line = |line: &serde_json::Value| -> serde_json::Value {
                serde_json::from_str(line.as_str().unwrap()).unwrap()
            };
            lines.map(|text| line(text)["value"].as_u64().unwrap()).collect()
        })
        .collect();
    assert_eq!(groups, [[101, 102, 103], [201, 202, 203]]);
}

#[test]
fn min_success() {
    let ended = Rig::with_worker().run(
        r#"
        [task.sim]
        shell = "exit $((i / 8))"
        sweep = { i = { range = "0..10" } }
        allow-failure = true
        [task.most]
        gather = "sim"
        min-success = "80%"
        run = ["cat", "{sim.manifest}"]
        capture = "lines"
        [task.nearly]
        gather = "sim"
        min-success = 9
        run = ["true"]
        "#,
    );
    assert_eq!(ended.status.state, RunState::Succeeded);
    let lines = ended.values("most");
    assert_eq!(lines[0].as_array().unwrap().len(), 10);
    let (state, reason) = ended.reason("nearly");
    assert_eq!(state, State::Skipped);
    assert!(reason.starts_with("needs 9 of sim: sim["), "{reason}");
    assert!(reason.ends_with("] failed: exit code 1"), "{reason}");
}

#[test]
fn followers_run_where_their_upstreams_ran() {
    let rig = Rig::new().worker("w1", 2, &["left"], &[]).worker("w2", 2, &["right"], &[]);
    let ended = rig.run(
        r#"
        [task.a]
        run = ["true"]
        targets = "left"
        [task.b]
        run = ["false"]
        targets = ["right"]
        allow-failure = true
        [task.never]
        run = ["true"]
        after = { all = ["b"], on = "success" }
        [task.with_a]
        run = ["true"]
        sweep = { i = { range = "0..6" } }
        follow = "a"
        [task.with_b]
        run = ["true"]
        follow = { any = ["a", "b"], on = "failure" }
        [task.both]
        run = ["true"]
        follow = { all = ["a", "b"], on = "finish" }
        [task.lonely]
        run = ["true"]
        follow = { all = ["never"], on = "finish" }
        [task.refused]
        run = ["true"]
        follow = "b"
        "#,
    );
    let on = |task: &str| -> Vec<String> {
        ended.of(task).iter().map(|row| row.worker.clone().unwrap()).collect()
    };
    assert_eq!(on("with_a"), ["w1"; 6]);
    assert_eq!(on("with_b"), ["w2"]);
    let several = "follow a, b on finish: ran on several workers";
    assert_eq!(ended.reason("both"), (State::Skipped, several));
    let never = "follow never on finish: never never ran on a worker: b failed: exit code 1";
    assert_eq!(ended.reason("lonely"), (State::Skipped, never));
    assert_eq!(ended.reason("refused"), (State::Skipped, "follow b: b failed: exit code 1"));
    assert_eq!(ended.status.state, RunState::Failed);
}

#[test]
fn a_worker_that_is_gone_cannot_be_followed() {
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
        while !flag.exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
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
        while !flag.exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        rig.workers[0].shutdown();
        let ended = ended(&run).await;
        assert_eq!(ended.reason("a"), (State::Failed, "lost its worker once"));
        let skipped = "after a: a failed: lost its worker once";
        assert_eq!(ended.reason("b"), (State::Skipped, skipped));
    });
}

#[test]
fn one_instance_for_each_worker() {
    let rig = Rig::new().worker("w1", 1, &[], &[]).worker("w2", 1, &[], &[]);
    let ended = rig.run("[task.a]\nrun = [\"true\"]\ntargets = \"each\"");
    let workers: Vec<_> = ended.of("a").iter().map(|row| row.worker.clone().unwrap()).collect();
    assert_eq!(workers, ["w1", "w2"]);
}

#[test]
fn resources_are_never_oversubscribed() {
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
    let most_at_once = |task: &str| {
        let rows = ended.of(task);
        let at = |row: &InstanceRow| (row.started.unwrap(), row.finished.unwrap());
        let overlap = |one: &&InstanceRow| {
            let (start, _) = at(one);
            rows.iter().filter(|row| at(row).0 <= start && start < at(row).1).count()
        };
        rows.iter().map(overlap).max().unwrap()
    };
    assert!(ended.of("train").iter().all(|row| row.worker.as_deref() == Some("w1")));
    assert_eq!(most_at_once("train"), 2);
    assert_eq!(most_at_once("large"), 1);
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

#[test]
fn always_on_cancel() {
    let rig = Rig::with_worker();
    block_on(async {
        let (flag, done) = (rig.path("started"), rig.path("notified"));
        let run = rig
            .submit(&format!(
                "[task.work]\nshell = \"touch '{}'; sleep 60\"\n\
                 [task.next]\nrun = [\"true\"]\nafter = \"work\"\n\
                 [task.notify]\nalways = true\nrun = [\"touch\", '{}']\n\
                 after = {{ all = [\"work\", \"next\"], on = \"finish\" }}",
                flag.display(),
                done.display()
            ))
            .await;
        while !flag.exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        run.cancel(Scope::Run).await.unwrap();
        let ended = ended(&run).await;
        assert_eq!(ended.status.state, RunState::Cancelled);
        let states: Vec<State> = ended.rows.iter().map(|row| row.state).collect();
        assert_eq!(states, [State::Cancelled, State::Cancelled, State::Succeeded]);
        assert!(done.exists());
        assert!(ended.only("notify").started >= ended.only("work").finished);
    });
}
