//! Values that workers keep: what is sent to whom, and which references are accepted.

use dagrun_core::engine::Outcome;
use dagrun_core::ids::{InstanceId, TaskId, WorkerId};
use dagrun_core::payload::{Stored, Whereabouts};
use dagrun_core::pipeline::{Capture, Pattern, Task, TaskAction};
use dagrun_core::status::{Detail, RunState, State};
use dagrun_core::template::{Part, Placeholder, Template};

use crate::support::{
    FakeWorker, Scheduler, Told, block_on, pipeline, report, status, submit, task, value, watch,
};
use crate::sweep;

fn captures(width: usize) -> Task {
    Task { capture: Capture::Json, sweep: sweep(width), ..task("a") }
}

/// A map of the first task that is given its values.
fn given() -> Task {
    let placeholder = Part::Placeholder(Placeholder::UpstreamValue(TaskId(0), Vec::new()));
    let words = vec![Template { parts: vec![placeholder] }];
    Task {
        action: TaskAction::Run(words),
        pattern: Pattern::Map(TaskId(0)),
        references: vec![TaskId(0)],
        ..task("b")
    }
}

fn stored(place: Whereabouts) -> Detail {
    let payload = Stored { place, bytes: 100_000, checksum: 7 }.to_payload();
    Detail { value: Some(payload), ..Detail::default() }
}

fn at(index: u32) -> InstanceId {
    InstanceId { task: TaskId(0), index }
}

#[test]
fn a_reference_is_believed_only_where_it_can_be_true() {
    let scheduler = Scheduler::start();
    block_on(async {
        let client = scheduler.client().await;
        let (_, run) = submit(&client, &pipeline(vec![captures(7)])).await.unwrap();
        let mut watch = watch(&run).await.unwrap();
        let mut worker = FakeWorker::join(&scheduler, "", 7).await;
        let dir = scheduler.dir.path().join("runs/1");
        let malformed = Detail { value: Some(b"\xc1?".to_vec()), ..Detail::default() };
        let reports = [
            stored(Whereabouts::Worker(worker.id, at(0))),
            stored(Whereabouts::File(dir.join("values/a-1.json"))),
            stored(Whereabouts::Worker(WorkerId(worker.id.0 + 1), at(2))),
            stored(Whereabouts::Worker(worker.id, at(2))),
            stored(Whereabouts::File("/etc/passwd".into())),
            stored(Whereabouts::File(dir.join("values/../../../dagrun.db"))),
            malformed,
        ];
        let mut reports = reports.into_iter();
        let mut told = 0;
        while told < 7 {
            let (assignment, _) = worker.dispatched().await;
            for offset in 0..assignment.count {
                let attempt = assignment.first_attempt.0 + u64::from(offset);
                let detail = reports.next();
                let attempt = dagrun_core::ids::AttemptId(attempt);
                worker.report(&[report(attempt, Outcome::Succeeded, detail)]).await.unwrap();
                told += 1;
            }
        }
        let last = watch.end().await;
        assert_eq!(last.state, RunState::Failed);
        let counts = status(&run).await.tasks[0].counts;
        assert_eq!((counts.of(State::Succeeded), counts.of(State::Failed)), (2, 5));
        let error = value(&run, "a").await.unwrap_err().to_string();
        assert!(error.contains("it was kept by a worker"), "{error}");
    });
}

#[test]
fn workers_are_introduced_before_they_need_each_other_and_told_what_to_release() {
    let scheduler = Scheduler::start();
    block_on(async {
        let client = scheduler.client().await;
        let (_, run) = submit(&client, &pipeline(vec![captures(1), given()])).await.unwrap();
        let mut watch = watch(&run).await.unwrap();
        let mut holder = FakeWorker::join(&scheduler, "", 1).await;
        let (assignment, _) = holder.dispatched().await;
        let other = FakeWorker::join(&scheduler, "", 1).await;
        let detail = stored(Whereabouts::Worker(holder.id, at(0)));
        let value = detail.value.clone();
        let done = report(assignment.first_attempt, Outcome::Succeeded, Some(detail));
        holder.report(&[done]).await.unwrap();
        // The worker that holds the value gets the instance that needs it.
        let Told::Peers(peers) = holder.told().await else { panic!("no peers") };
        assert_eq!(peers, [(other.id.0, "127.0.0.1:9".to_owned())]);
        let (assignment, inputs) = holder.dispatched().await;
        assert_eq!((assignment.task, &inputs[0][0].value), (TaskId(1), &value));
        holder.succeed(&assignment).await;
        assert!(matches!(holder.told().await, Told::Release(values) if values == [0]));
        assert_eq!(watch.end().await.state, RunState::Succeeded);
    });
}
