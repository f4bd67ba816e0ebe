//! `explain` for each reason that an instance can have to be in its state, live and from the
//! history.

use dagrun_core::engine::Outcome;
use dagrun_core::ids::RunId;
use dagrun_core::parse::{NoFiles, ParseOptions, parse};
use dagrun_core::pipeline::Pipeline;
use dagrun_core::status::{Detail, FailureKind, InstanceRow, State};
use dagrun_scheduler::History;
use dagrun_schema::dagrun_capnp as rpc;
use dagrun_schema::wire::{self, Message as _, Scope};

use crate::support::{
    FakeWorker, Scheduler, Told, block_on, cancel, report, status, submit, watch,
};

pub(crate) fn parsed(text: &str) -> Pipeline {
    let options = ParseOptions { file_stem: "test", ..ParseOptions::default() };
    match parse(text, &options, &NoFiles) {
        Ok(parsed) => parsed.pipeline,
        Err(problems) => panic!("{problems:#?}"),
    }
}

async fn explain(run: &rpc::run::Client, task: &str, index: u32) -> Vec<String> {
    let mut request = run.explain_request();
    request.get().set_task(task);
    request.get().set_index(index);
    let response = request.send().promise.await.unwrap();
    let lines = wire::read_texts(response.get().unwrap().get_lines().unwrap()).unwrap();
    lines.iter().map(|line| without_times(line)).collect()
}

fn from_history(scheduler: &Scheduler, run: u64, task: &str, index: u32) -> Vec<String> {
    let history = History::open(scheduler.dir.path()).unwrap();
    let lines = history.explain(RunId(run), task, index).unwrap();
    lines.iter().map(|line| without_times(line)).collect()
}

/// Times of this century become TIME; those that the tests chose are in 1970.
fn without_times(line: &str) -> String {
    let words = line.split(' ').map(|word| match word.strip_prefix("20") {
        Some(rest) if rest.contains("Z") => {
            let end = word.find('Z').map_or("", |at| &word[at + 1..]);
            format!("TIME{end}")
        }
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A text as a reader of a terminal sees it.
fn tell(text: &mut String, task: &str, index: u32, lines: &[String]) {
    *text += &format!("$ dagrun explain last {task}[{index}]\n{}\n\n", lines.join("\n"));
}

const COUNT: usize = 8;

#[test]
fn what_waits_says_for_what() {
    let scheduler = Scheduler::start();
    let pipeline = parsed(
        r#"
        [task.a]
        run = ["true"]
        sweep = { i = { range = "0..8" } }
        [task.m]
        map = "a"
        run = ["true", "{i}"]
        [task.g]
        gather = "a"
        run = ["true"]
        [task.list]
        run = ["true"]
        capture = "json"
        after = { any = ["a", "g"], on = "failure" }
        [task.s]
        scatter = "list"
        run = ["true", "{item}"]
        [task.last]
        run = ["true"]
        after = "s"
        follow = "list"
        "#,
    );
    block_on(async {
        let client = scheduler.client().await;
        let (id, run) = submit(&client, &pipeline).await.unwrap();
        let asked = [("a", 0), ("m", 3), ("g", 0), ("list", 0), ("s", 0), ("last", 0)];
        let mut text = String::new();
        for (task, index) in asked {
            tell(&mut text, task, index, &explain(&run, task, index).await);
        }
        insta::assert_snapshot!("waiting", text);
        // Without the scheduler: what the journal records.
        let mut text = String::new();
        for (task, index) in asked {
            tell(&mut text, task, index, &from_history(&scheduler, id, task, index));
        }
        insta::assert_snapshot!("waiting_from_history", text);
        let known: Vec<bool> =
            status(&run).await.tasks.iter().map(|task| task.width_known).collect();
        assert_eq!(known, [true, true, true, true, false, true]);
        let mut request = run.explain_request();
        request.get().set_task("a");
        request.get().set_index(u32::try_from(COUNT).unwrap());
        let error = request.send().promise.await.err().unwrap().to_string();
        assert!(error.contains("a has no instance 8: its instances are 0 to 7"), "{error}");
    });
}

#[test]
fn what_is_ready_says_why_it_does_not_start() {
    let scheduler = Scheduler::start();
    let pipeline = parsed(
        r#"
        [task.one]
        run = ["true"]
        sweep = { i = [1, 2, 3] }
        max-running = 1
        [task.busy]
        run = ["true"]
        sweep = { i = { range = "0..9" } }
        [task.gpu]
        run = ["true"]
        resources = { gpu = 1 }
        [task.wide]
        run = ["true"]
        cpus = 3
        [task.there]
        run = ["true"]
        targets = ["b", "c"]
        [task.large]
        run = ["true"]
        memory = "3GiB"
        "#,
    );
    block_on(async {
        let client = scheduler.client().await;
        let mut worker = FakeWorker::join(&scheduler, "w", 2).await;
        let (_, run) = submit(&client, &pipeline).await.unwrap();
        let (first, _) = worker.dispatched().await;
        worker.report(&[report(first.first_attempt, Outcome::Started, None)]).await.unwrap();
        // The answer to this call comes after the report has been taken in.
        let mut text = String::new();
        for (task, index) in [("gpu", 0), ("wide", 0), ("there", 0), ("large", 0), ("busy", 8)] {
            tell(&mut text, task, index, &explain(&run, task, index).await);
        }
        insta::assert_snapshot!("ready", text);
        let name = ["one", "busy"][first.task.at()];
        let started = loop {
            let lines = explain(&run, name, first.first_index).await;
            // Until the report is on disk, it is only known that the attempt runs.
            if lines[0].contains("since") {
                break lines;
            }
        };
        assert_eq!(
            started[0],
            format!(
                "{name}[{}] runs on w since 1970-01-01T00:00:00.001Z (attempt 1)",
                first.first_index
            )
        );
        let notes = status(&run).await.tasks.into_iter().map(|task| task.note);
        let notes: Vec<String> = notes.filter(|note| !note.is_empty()).collect();
        assert_eq!(
            notes,
            [
                "gpu: it needs 1, no worker has any",
                "cpus: it needs 3, the largest worker has 2",
                "no worker is called or labelled b or c",
                "memory: it needs 3 GiB, the largest worker has 0 bytes"
            ]
        );
        let mut request = run.instances_request();
        request.get().set_limit(100);
        let response = request.send().promise.await.unwrap();
        let rows = response.get().unwrap().get_page().unwrap().get_rows().unwrap();
        let gpu = InstanceRow::read(rows.get(12)).unwrap();
        assert_eq!(
            (gpu.state, gpu.reason.as_str()),
            (State::Ready, "gpu: it needs 1, no worker has any")
        );
    });
}

#[test]
fn max_running_is_a_reason_to_wait() {
    let scheduler = Scheduler::start();
    let pipeline = parsed(
        r#"
        [task.one]
        run = ["true"]
        sweep = { i = [1, 2, 3] }
        max-running = 1
        "#,
    );
    block_on(async {
        let client = scheduler.client().await;
        let mut worker = FakeWorker::join(&scheduler, "w", 8).await;
        let (_, run) = submit(&client, &pipeline).await.unwrap();
        let (first, _) = worker.dispatched().await;
        assert_eq!((first.first_index, first.count), (0, 1));
        let mut text = String::new();
        tell(&mut text, "one", 2, &explain(&run, "one", 2).await);
        insta::assert_snapshot!("max_running", text);
    });
}

#[test]
fn attempts_are_told_one_by_one() {
    let scheduler = Scheduler::start();
    let pipeline = parsed(
        r#"
        [task.a]
        run = ["true"]
        retries = { count = 1, delay = "1h" }
        [task.b]
        run = ["true"]
        after = "a"
        [task.c]
        run = ["true"]
        after = "b"
        "#,
    );
    block_on(async {
        let client = scheduler.client().await;
        let (id, run) = submit(&client, &pipeline).await.unwrap();
        let mut watch = watch(&run).await.unwrap();
        let mut worker = FakeWorker::join(&scheduler, "w1", 1).await;
        let (first, _) = worker.dispatched().await;
        assert_eq!(
            explain(&run, "a", 0).await,
            ["a has been handed to w1 and starts there next (attempt 1)"]
        );
        let detail = Detail { reason: "exit code 3".into(), ..Detail::default() };
        let failed = Outcome::Failed(FailureKind::Exit(3));
        worker.report(&[report(first.first_attempt, failed, Some(detail))]).await.unwrap();
        loop {
            let update = watch.next().await;
            if update.tasks.iter().any(|task| task.counts.of(State::Backoff) == 1) {
                break;
            }
        }
        let attempt = "attempt 1 on w1: started 1970-01-01T00:00:00.001Z, took 1 ms, exit code 3";
        let mut text = String::new();
        tell(&mut text, "a", 0, &explain(&run, "a", 0).await);
        insta::assert_snapshot!("backoff", text);
        assert_eq!(from_history(&scheduler, id, "a", 0), ["a waits for attempt 2", attempt]);
        cancel(&run, Scope::Run).await.unwrap();
        watch.end().await;
        let mut text = String::new();
        for task in ["a", "b"] {
            tell(&mut text, task, 0, &explain(&run, task, 0).await);
        }
        insta::assert_snapshot!("cancelled", text);
    });
}

#[test]
fn ends_name_their_causes() {
    let scheduler = Scheduler::start();
    let pipeline = parsed(
        r#"
        [task.a]
        run = ["true"]
        [task.b]
        run = ["true"]
        after = "a"
        [task.c]
        run = ["true"]
        after = { all = "b", on = "success" }
        [task.d]
        run = ["true"]
        after = { any = ["b", "c"], on = "failure" }
        "#,
    );
    block_on(async {
        let client = scheduler.client().await;
        let (id, run) = submit(&client, &pipeline).await.unwrap();
        let mut watch = watch(&run).await.unwrap();
        let mut worker = FakeWorker::join(&scheduler, "w1", 1).await;
        let (first, _) = worker.dispatched().await;
        let detail = Detail { reason: "exit code 3".into(), ..Detail::default() };
        let failed = Outcome::Failed(FailureKind::Exit(3));
        worker.report(&[report(first.first_attempt, failed, Some(detail))]).await.unwrap();
        let (last, _) = worker.dispatched().await;
        worker.succeed(&last).await;
        watch.end().await;
        let attempt = "attempt 1 on w1: started 1970-01-01T00:00:00.001Z, took 1 ms, ";
        let seen = [
            ("a", vec!["a failed: exit code 3".to_owned(), format!("{attempt}exit code 3")]),
            ("b", vec!["b was skipped: after a: a failed: exit code 3".to_owned()]),
            ("c", vec!["c was skipped: after b: a failed: exit code 3".to_owned()]),
            ("d", vec!["d succeeded".to_owned(), format!("{attempt}succeeded")]),
        ];
        for (task, lines) in seen {
            assert_eq!(explain(&run, task, 0).await, lines);
            assert_eq!(from_history(&scheduler, id, task, 0), lines);
        }
    });
}

#[test]
fn a_lost_attempt_is_told_with_its_worker() {
    let scheduler = Scheduler::start();
    let pipeline = parsed(
        "[task.a]\nrun = [\"true\"]\nmax-lost = 1\n[task.b]\nrun = [\"true\"]\nafter = \"a\"",
    );
    block_on(async {
        let client = scheduler.client().await;
        let (_, run) = submit(&client, &pipeline).await.unwrap();
        let mut watch = watch(&run).await.unwrap();
        for name in ["w1", "w2"] {
            let mut worker = FakeWorker::join(&scheduler, name, 1).await;
            let (lost, _) = worker.dispatched().await;
            worker.report(&[report(lost.first_attempt, Outcome::Started, None)]).await.unwrap();
        }
        let failures = watch.end().await.failures;
        assert!(failures.iter().all(|failure| failure.reason == "lost its worker 2 times"));
        let lines = explain(&run, "a", 0).await;
        assert_eq!(lines[0], "a failed: lost its worker 2 times");
        let started = "attempt 1 on w1: started 1970-01-01T00:00:00.001Z, took ";
        assert!(lines[1].starts_with(started), "{lines:?}");
        assert!(lines[1].ends_with(", its worker was lost"), "{lines:?}");
        assert!(lines[2].starts_with("attempt 2 on w2: started 1970"), "{lines:?}");
        assert_eq!(
            explain(&run, "b", 0).await,
            ["b was skipped: after a: a failed: lost its worker 2 times"]
        );
    });
}

/// Does what a worker that is asked to end attempts does: reports them cancelled.
pub(crate) async fn obey(worker: &mut FakeWorker) {
    if let Told::Revoke(attempts, true) = worker.told().await {
        let ended = Outcome::Failed(FailureKind::Cancelled);
        let reports: Vec<_> = attempts
            .iter()
            .map(|attempt| report(dagrun_core::ids::AttemptId(*attempt), ended, None))
            .collect();
        worker.report(&reports).await.unwrap();
    }
}

#[test]
fn what_is_being_cancelled_says_so() {
    let scheduler = Scheduler::start();
    block_on(async {
        let client = scheduler.client().await;
        let (_, run) = submit(&client, &parsed("[task.a]\nrun = [\"true\"]")).await.unwrap();
        let mut watch = watch(&run).await.unwrap();
        let mut worker = FakeWorker::join(&scheduler, "w1", 1).await;
        let (first, _) = worker.dispatched().await;
        worker.report(&[report(first.first_attempt, Outcome::Started, None)]).await.unwrap();
        cancel(&run, Scope::Instance("a", 0)).await.unwrap();
        while explain(&run, "a", 0).await[0] != "a is being cancelled on w1" {
            tokio::task::yield_now().await;
        }
        obey(&mut worker).await;
        watch.end().await;
        assert_eq!(explain(&run, "a", 0).await[0], "a was cancelled");
    });
}
