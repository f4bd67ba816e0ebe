//! The scheduler from outside, through its protocol: what is sent to clients and workers, and that
//! nothing more is.

mod explain;
mod hostile;
mod limits;
mod retry;
mod support;
mod values;

use std::collections::BTreeSet;

use dagrun_core::engine::Outcome;
use dagrun_core::ids::{AttemptId, TaskId};
use dagrun_core::pipeline::{Capture, Pattern, Task};
use dagrun_core::space::{Axis, Points, Space};
use dagrun_core::status::{Detail, FailureKind, InstanceRow, RunState, State};
use dagrun_core::template::{Part, Placeholder, Template};
use dagrun_core::value::Value;
use dagrun_schema::dagrun_capnp as rpc;
use dagrun_schema::wire::{Message as _, Scope};

use support::{
    CLIENT, FakeWorker, Scheduler, Told, after, block_on, cancel, login, login_as, pipeline,
    report, status, submit, submit_json, task, value, watch, watch_instances,
};

pub(crate) fn sweep(width: usize) -> Option<Space> {
    let rows = (0..width).map(|i| vec![Value::Number(i.to_string())]).collect();
    Some(Space {
        axes: vec![Axis { name: "i".into(), names: vec!["i".into()], points: Points::Rows(rows) }],
        ..Space::default()
    })
}

#[test]
fn only_a_good_token_of_this_protocol_opens() {
    let scheduler = Scheduler::start();
    block_on(async {
        for token in [&b""[..], b"wrong", &CLIENT[1..]] {
            let error = login(scheduler.stream(), token).await.err().unwrap();
            assert!(error.to_string().contains("wrong token"), "{error}");
        }
        let error = login_as(scheduler.stream(), CLIENT, 99).await.err().unwrap();
        assert!(error.to_string().contains("version 1"), "{error}");
        scheduler.client().await;
    });
}

#[test]
fn a_run_goes_from_submission_to_its_value() {
    let scheduler = Scheduler::start();
    block_on(async {
        let client = scheduler.client().await;
        let mut captures = task("a");
        captures.capture = Capture::Json;
        let mut last = task("b");
        last.after = vec![after(0)];
        let (id, run) = submit(&client, &pipeline(vec![captures, last])).await.unwrap();
        assert_eq!(id, 1);
        let mut watch = watch(&run).await.unwrap();
        let mut worker = FakeWorker::join(&scheduler, "", 1).await;
        assert_eq!(worker.name, "w1");
        let (assignment, _) = worker.dispatched().await;
        assert_eq!((assignment.task, assignment.count), (TaskId(0), 1));
        let detail = Detail { value: Some(b"[1,2]".to_vec()), ..Detail::default() };
        let done = report(assignment.first_attempt, Outcome::Succeeded, Some(detail));
        worker.report(&[done]).await.unwrap();
        let (assignment, _) = worker.dispatched().await;
        assert_eq!(assignment.task, TaskId(1));
        worker.succeed(&assignment).await;
        let last = watch.end().await;
        assert_eq!(last.state, RunState::Succeeded);
        // What was sent is on disk: the history shows it from now on.
        let history = dagrun_scheduler::History::open(scheduler.dir.path()).unwrap();
        let on_disk = history.status(dagrun_core::ids::RunId(1)).unwrap();
        assert_eq!(on_disk, status(&run).await);
        assert_eq!(on_disk.tasks[1].counts.of(State::Succeeded), 1);
        assert_eq!(value(&run, "a").await.unwrap(), b"[1,2]");
        assert!(value(&run, "b").await.unwrap_err().to_string().contains("captures nothing"));
        assert!(value(&run, "c").await.unwrap_err().to_string().contains("no task c"));
        assert!(matches!(worker.told().await, Told::Forget(1)));
    });
}

#[test]
fn a_failure_is_told_with_its_reason_and_the_skip_with_its_root() {
    let scheduler = Scheduler::start();
    block_on(async {
        let client = scheduler.client().await;
        let mut next = task("b");
        next.after = vec![after(0)];
        let (_, run) = submit(&client, &pipeline(vec![task("a"), next])).await.unwrap();
        let mut watch = watch(&run).await.unwrap();
        let mut worker = FakeWorker::join(&scheduler, "", 1).await;
        let (assignment, _) = worker.dispatched().await;
        let detail = Detail {
            reason: "exit code 3".into(),
            stderr_tail: b"boom\n".to_vec(),
            ..Detail::default()
        };
        let outcome = Outcome::Failed(FailureKind::Exit(3));
        worker.report(&[report(assignment.first_attempt, outcome, Some(detail))]).await.unwrap();
        let mut failures = Vec::new();
        let last = loop {
            let update = watch.next().await;
            failures.extend(update.failures.clone());
            if update.state != RunState::Running {
                break update;
            }
        };
        assert_eq!(last.state, RunState::Failed);
        assert_eq!(failures.len(), 1);
        assert_eq!(
            (failures[0].reason.as_str(), &failures[0].stderr_tail[..]),
            ("exit code 3", &b"boom\n"[..])
        );
        let mut request = run.instances_request();
        request.get().set_limit(10);
        let response = request.send().promise.await.unwrap();
        let rows = response.get().unwrap().get_page().unwrap().get_rows().unwrap();
        let skipped = InstanceRow::read(rows.get(1)).unwrap();
        assert_eq!(
            (skipped.state, skipped.reason.as_str()),
            (State::Skipped, "after a: a failed: exit code 3")
        );
        // A later observer is sent the same, once.
        let mut late = support::watch(&run).await.unwrap();
        assert_eq!(late.end().await.failures, failures);
    });
}

#[test]
fn the_failures_of_one_run_leave_room_for_those_of_another() {
    let scheduler = Scheduler::start();
    block_on(async {
        let client = scheduler.client().await;
        let mut wide = task("wide");
        wide.sweep = sweep(40);
        let (loud, _) = submit(&client, &pipeline(vec![wide])).await.unwrap();
        let (_, quiet) = submit(&client, &pipeline(vec![task("narrow")])).await.unwrap();
        let mut watch = watch(&quiet).await.unwrap();
        let mut worker = FakeWorker::join(&scheduler, "", 64).await;
        let (mut first, mut last) = (Vec::new(), Vec::new());
        while first.len() + last.len() < 41 {
            let (assignment, _) = worker.dispatched().await;
            for offset in 0..u64::from(assignment.count) {
                let attempt = AttemptId(assignment.first_attempt.0 + offset);
                let failed = report(attempt, Outcome::Failed(FailureKind::Exit(1)), None);
                let of_run = if assignment.run.0 == loud { &mut first } else { &mut last };
                of_run.push(failed);
            }
        }
        // All in one batch, the one of the quiet run at the end.
        first.append(&mut last);
        worker.report(&first).await.unwrap();
        let mut failures = Vec::new();
        loop {
            let update = watch.next().await;
            failures.extend(update.failures);
            if update.state != RunState::Running {
                break;
            }
        }
        assert_eq!(failures.len(), 1, "{failures:?}");
    });
}

#[test]
fn a_gather_starts_when_its_manifest_is_on_disk_and_a_map_gets_its_values() {
    let scheduler = Scheduler::start();
    block_on(async {
        let client = scheduler.client().await;
        let placeholder = |placeholder| Template { parts: vec![Part::Placeholder(placeholder)] };
        let mut first = task("a");
        first.sweep = sweep(3);
        first.capture = Capture::Json;
        let mut mapped = task("m");
        mapped.pattern = Pattern::Map(TaskId(0));
        mapped.env = vec![("V".into(), placeholder(Placeholder::UpstreamValue(TaskId(0), vec![])))];
        let mut gather = task("g");
        gather.pattern = Pattern::Gather(vec![TaskId(0)]);
        gather.env = vec![("M".into(), placeholder(Placeholder::Manifest(TaskId(0))))];
        let pipeline = pipeline(vec![first, mapped, gather]);
        let (_, run) = submit(&client, &pipeline).await.unwrap();
        let mut watch = watch(&run).await.unwrap();
        let mut worker = FakeWorker::join(&scheduler, "", 1).await;
        let (mut values, mut gathered) = (Vec::new(), false);
        while values.len() < 3 || !gathered {
            let (assignment, inputs) = worker.dispatched().await;
            if assignment.task == TaskId(1) {
                for (offset, inputs) in (0..).zip(&inputs) {
                    values
                        .push((assignment.first_index + offset, inputs[0].value.clone().unwrap()));
                }
            }
            if assignment.task == TaskId(2) {
                gathered = true;
                let run_dir = scheduler.dir.path().join("runs/1");
                let manifest = find(&run_dir).expect("no manifest");
                let lines: Vec<serde_json::Value> =
                    manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                let read: Vec<_> =
                    lines.iter().map(|line| (&line["index"], &line["value"])).collect();
                assert_eq!(
                    format!("{read:?}"),
                    "[(Number(0), Number(0)), (Number(1), Number(10)), (Number(2), Number(20))]"
                );
            }
            for offset in 0..assignment.count {
                let attempt =
                    dagrun_core::ids::AttemptId(assignment.first_attempt.0 + u64::from(offset));
                let index = assignment.first_index + offset;
                let value =
                    (assignment.task == TaskId(0)).then(|| (index * 10).to_string().into_bytes());
                let detail = Detail { value, ..Detail::default() };
                worker.report(&[report(attempt, Outcome::Succeeded, Some(detail))]).await.unwrap();
            }
        }
        values.sort();
        assert_eq!(values, [(0, b"0".to_vec()), (1, b"10".to_vec()), (2, b"20".to_vec())]);
        assert_eq!(watch.end().await.state, RunState::Succeeded);
    });
}

/// The text of the one manifest below `dir`.
fn find(dir: &std::path::Path) -> Option<String> {
    std::fs::read_dir(dir).ok()?.find_map(|entry| {
        let path = entry.ok()?.path();
        if path.is_dir() { find(&path) } else { std::fs::read_to_string(path).ok() }
    })
}

#[test]
fn a_lost_worker_gives_its_work_to_another_at_once() {
    let scheduler = Scheduler::start();
    block_on(async {
        let client = scheduler.client().await;
        let (_, run) = submit(&client, &pipeline(vec![task("a")])).await.unwrap();
        let mut watch = watch(&run).await.unwrap();
        let mut first = FakeWorker::join(&scheduler, "same", 1).await;
        let (assignment, _) = first.dispatched().await;
        first.report(&[report(assignment.first_attempt, Outcome::Started, None)]).await.unwrap();
        let mut second = FakeWorker::join(&scheduler, "same", 1).await;
        assert_eq!((first.name.as_str(), second.name.as_str()), ("same", "same-2"));
        drop(first);
        let (again, _) = second.dispatched().await;
        assert_eq!(again.number, 2);
        assert_ne!(again.first_attempt, assignment.first_attempt);
        second.succeed(&again).await;
        assert_eq!(watch.end().await.state, RunState::Succeeded);
    });
}

#[test]
fn a_silent_worker_is_lost_and_told_so() {
    let scheduler = Scheduler::with(|mut config| {
        config.lease = std::time::Duration::from_millis(50);
        config
    });
    block_on(async {
        let client = scheduler.client().await;
        let worker = FakeWorker::join(&scheduler, "", 1).await;
        loop {
            let response = client.workers_request().send().promise.await.unwrap();
            if response.get().unwrap().get_workers().unwrap().is_empty() {
                break;
            }
        }
        let error = worker.session.heartbeat_request().send().promise.await.err().unwrap();
        assert!(error.to_string().contains("session has ended"), "{error}");
    });
}

#[test]
fn a_slow_observer_gets_everything_merged() {
    let scheduler = Scheduler::start();
    block_on(async {
        let client = scheduler.client().await;
        let mut wide = task("a");
        wide.sweep = sweep(500);
        let (_, run) = submit(&client, &pipeline(vec![wide])).await.unwrap();
        let mut slow = watch(&run).await.unwrap();
        let mut other = watch(&run).await.unwrap();
        let mut worker = FakeWorker::join(&scheduler, "", 1).await;
        let mut done = 0;
        while done < 500 {
            let (assignment, _) = worker.dispatched().await;
            worker.succeed(&assignment).await;
            done += assignment.count;
        }
        assert_eq!(other.end().await.state, RunState::Succeeded);
        // Two may be on their way already; the last one has everything.
        let mut updates = 1;
        let last = loop {
            let update = slow.next().await;
            if update.state != RunState::Running {
                break update;
            }
            updates += 1;
        };
        assert!(updates <= 4, "{updates} updates");
        assert_eq!(last.tasks[0].counts.of(State::Succeeded), 500);
    });
}

#[test]
fn who_watches_instances_misses_none_that_were_not_on_disk_yet() {
    let scheduler = Scheduler::start();
    block_on(async {
        let client = scheduler.client().await;
        let a = Task { sweep: sweep(8), ..task("a") };
        let (_, run) = submit(&client, &pipeline(vec![a])).await.unwrap();
        let mut worker = FakeWorker::join(&scheduler, "", 8).await;
        let (mut told, mut watched, mut ended) = (0, None, BTreeSet::new());
        while told < 8 {
            let (assignment, _) = worker.dispatched().await;
            for offset in 0..u64::from(assignment.count) {
                let attempt = AttemptId(assignment.first_attempt.0 + offset);
                worker.report(&[report(attempt, Outcome::Succeeded, None)]).await.unwrap();
                told += 1;
                match told {
                    // It is on disk; the next ones will wait for a while, as nothing is urgent.
                    1 => while status(&run).await.tasks[0].counts.terminal() == 0 {},
                    4 => {
                        let mut watch = watch_instances(&run).await.unwrap();
                        assert!(watch.next().await.ended_lost, "those before are in the history");
                        ended.extend(ended_instances(&run).await);
                        watched = Some(watch);
                    }
                    _ => {}
                }
            }
        }
        let (mut watch, mut state) = (watched.unwrap(), RunState::Running);
        while state == RunState::Running {
            let update = watch.next().await;
            ended.extend(update.ended.iter().flat_map(|e| e.first..e.first + e.count));
            state = update.state;
        }
        assert_eq!(ended, (0..8).collect());
    });
}

/// The indices of the first task's instances that have ended, as the history knows them.
async fn ended_instances(run: &rpc::run::Client) -> Vec<u32> {
    let mut request = run.instances_request();
    request.get().set_limit(100);
    let response = request.send().promise.await.unwrap();
    let rows = response.get().unwrap().get_page().unwrap().get_rows().unwrap();
    let rows = rows.iter().map(|row| InstanceRow::read(row).unwrap());
    rows.filter(|row| row.state.is_terminal()).map(|row| row.instance.index).collect()
}

#[test]
fn dropping_a_subscription_ends_it_and_the_run_goes_on() {
    let scheduler = Scheduler::start();
    block_on(async {
        let client = scheduler.client().await;
        let (_, run) = submit(&client, &pipeline(vec![task("a")])).await.unwrap();
        let gone = watch(&run).await.unwrap();
        let mut stays = watch(&run).await.unwrap();
        let mut updates = gone.unsubscribe();
        while updates.recv().await.is_some() {}
        let mut worker = FakeWorker::join(&scheduler, "", 1).await;
        let (assignment, _) = worker.dispatched().await;
        worker.succeed(&assignment).await;
        assert_eq!(stays.end().await.state, RunState::Succeeded);
    });
}

#[test]
fn clients_share_runs_and_may_come_and_go() {
    let scheduler = Scheduler::start();
    block_on(async {
        let first = scheduler.client().await;
        let second = scheduler.client().await;
        let (one, run) = submit(&first, &pipeline(vec![task("a")])).await.unwrap();
        let (two, _) = submit(&second, &pipeline(vec![task("b")])).await.unwrap();
        assert_eq!((one, two), (1, 2));
        drop((run, first));
        let mut request = second.run_request();
        request.get().init_which().set_id(1);
        let attached = request.send().promise.await.unwrap().get().unwrap().get_run().unwrap();
        let mut watch = watch(&attached).await.unwrap();
        let mut worker = FakeWorker::join(&scheduler, "", 1).await;
        for _ in 0..2 {
            let (assignment, _) = worker.dispatched().await;
            worker.succeed(&assignment).await;
        }
        assert_eq!(watch.end().await.state, RunState::Succeeded);
        let mut request = second.run_request();
        request.get().init_which().set_id(9);
        let error = request.send().promise.await.err().unwrap();
        assert!(error.to_string().contains("there is no run 9"), "{error}");
        let mut request = second.runs_request();
        request.get().set_limit(10);
        let response = request.send().promise.await.unwrap();
        assert_eq!(response.get().unwrap().get_runs().unwrap().len(), 2);
    });
}

#[test]
fn cancelling_reaches_the_running_attempt() {
    let scheduler = Scheduler::start();
    block_on(async {
        let client = scheduler.client().await;
        let (_, run) = submit(&client, &pipeline(vec![task("a"), task("b")])).await.unwrap();
        let mut watch = watch(&run).await.unwrap();
        let mut worker = FakeWorker::join(&scheduler, "", 2).await;
        let (a, _) = worker.dispatched().await;
        let (b, _) = worker.dispatched().await;
        worker.report(&[report(a.first_attempt, Outcome::Started, None)]).await.unwrap();
        let wrong = [(Scope::Task("c"), "no task c"), (Scope::Instance("a", 1), "no instance 1")];
        for (scope, problem) in wrong {
            let error = cancel(&run, scope).await.unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
        }
        cancel(&run, Scope::Instance("a", 0)).await.unwrap();
        let Told::Revoke(attempts, true) = worker.told().await else { panic!() };
        assert_eq!(attempts, [a.first_attempt.0]);
        let cancelled = Outcome::Failed(FailureKind::Cancelled);
        worker.report(&[report(a.first_attempt, cancelled, None)]).await.unwrap();
        worker.succeed(&b).await;
        let last = watch.end().await;
        assert_ne!(last.state, RunState::Succeeded);
        let status = status(&run).await;
        assert_eq!(status.tasks[0].counts.of(State::Cancelled), 1);
        assert_eq!(status.tasks[1].counts.of(State::Succeeded), 1);
        assert!(cancel(&run, Scope::Run).await.unwrap_err().to_string().contains("has ended"));
    });
}

#[test]
fn submissions_are_checked_again() {
    let scheduler = Scheduler::start();
    block_on(async {
        let client = scheduler.client().await;
        let mut dangling = task("a");
        dangling.after = vec![after(7)];
        let mut itself = task("a");
        itself.after = vec![after(0)];
        let json = |task| serde_json::to_vec(&pipeline(vec![task])).unwrap();
        let good = json(task("a"));
        let cases = [
            (b"{".to_vec(), &b"/tmp"[..]),
            (b"null".to_vec(), b"/tmp"),
            (serde_json::to_vec(&pipeline(vec![])).unwrap(), b"/tmp"),
            (json(dangling), b"/tmp"),
            (json(itself), b"/tmp"),
            (good.clone(), b"relative"),
            (good, b""),
        ];
        for (json, base_dir) in cases {
            let error = submit_json(&client, &json, base_dir).await.err().unwrap();
            assert!(error.to_string().contains("pipeline"), "{error}");
        }
        assert!(submit(&client, &pipeline(vec![task("a")])).await.is_ok());
    });
}

#[test]
fn shutting_down_ends_workers_and_then_the_scheduler() {
    let scheduler = Scheduler::start();
    block_on(async {
        let client = scheduler.client().await;
        let mut worker = FakeWorker::join(&scheduler, "", 1).await;
        let answer = client.shutdown_request().send().promise;
        assert!(matches!(worker.told().await, Told::Shutdown));
        drop(worker);
        answer.await.unwrap();
    });
    scheduler.handle.join();
}

#[test]
fn reports_that_make_no_sense_are_refused_or_ignored() {
    let scheduler = Scheduler::start();
    block_on(async {
        let client = scheduler.client().await;
        let (_, run) = submit(&client, &pipeline(vec![task("a")])).await.unwrap();
        let mut watch = watch(&run).await.unwrap();
        let mut worker = FakeWorker::join(&scheduler, "", 1).await;
        let (assignment, _) = worker.dispatched().await;
        let good = report(assignment.first_attempt, Outcome::Succeeded, None);
        for (first, count) in [(1, 0), (u64::MAX, 2)] {
            let mut bad = good.clone();
            bad.first = dagrun_core::ids::AttemptId(first);
            bad.count = count;
            assert!(worker.report(&[bad]).await.is_err());
        }
        let mut stale = good.clone();
        stale.first = dagrun_core::ids::AttemptId(4_000_000);
        stale.count = u32::MAX;
        worker.report(&[stale]).await.unwrap();
        worker.report(&[good.clone(), good]).await.unwrap();
        assert_eq!(watch.end().await.state, RunState::Succeeded);
    });
}
