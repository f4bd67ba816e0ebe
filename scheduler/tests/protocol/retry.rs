//! Runs that are submitted once more, over the protocol.

use dagrun_core::engine::Outcome;
use dagrun_core::ids::TaskId;
use dagrun_core::pipeline::{Capture, Pattern, Pipeline, Task};
use dagrun_core::status::{Detail, FailureKind, InstanceRow, RunState, State};
use dagrun_schema::dagrun_capnp as rpc;
use dagrun_schema::wire::Message as _;

use crate::support::{
    FakeWorker, Scheduler, block_on, pipeline, report, status, submit, task, value, watch,
};
use crate::sweep;

/// The new run and how many instances it takes over, or nothing to retry.
async fn retry(
    client: &rpc::client::Client,
    of: u64,
    failed_only: bool,
) -> Result<Option<(u64, rpc::run::Client, u64)>, capnp::Error> {
    let mut request = client.retry_request();
    request.get().set_id(of);
    request.get().set_failed_only(failed_only);
    let response = request.send().promise.await?;
    Ok(match response.get()?.get_retried()?.which()? {
        rpc::retried::Nothing(()) => None,
        rpc::retried::Begun(begun) => {
            Some((begun.get_id(), begun.get_run()?, begun.get_taken_over()))
        }
    })
}

fn map_of_three() -> Pipeline {
    let values = Task { sweep: sweep(3), capture: Capture::Json, ..task("a") };
    let mut map = Task { pattern: Pattern::Map(TaskId(0)), ..task("b") };
    map.env = vec![("V".into(), upstream_value())];
    pipeline(vec![values, map])
}

fn upstream_value() -> dagrun_core::template::Template {
    use dagrun_core::template::{Part, Placeholder, Template};
    let value = Placeholder::UpstreamValue(TaskId(0), Vec::new());
    Template { parts: vec![Part::Placeholder(value)] }
}

/// Runs what is dispatched until the run has ended; `fails` decides by task and index what fails.
/// Returns what was dispatched, in order, with the values that came with it.
async fn serve(
    worker: &mut FakeWorker,
    run: &rpc::run::Client,
    fails: impl Fn(u32, u32) -> bool,
) -> Vec<(u32, u32, Option<Vec<u8>>)> {
    let mut watch = watch(run).await.unwrap();
    let mut handed = Vec::new();
    loop {
        let (assignment, inputs) = tokio::select! {
            dispatched = worker.dispatched() => dispatched,
            _ = watch.end() => return handed,
        };
        for offset in 0..assignment.count {
            let index = assignment.first_index + offset;
            let input = inputs.get(offset as usize).and_then(|inputs| inputs.first());
            handed.push((assignment.task.0, index, input.and_then(|input| input.value.clone())));
            let mut attempt = assignment.first_attempt;
            attempt.0 += u64::from(offset);
            let value = Detail { value: Some(index.to_string().into()), ..Detail::default() };
            let (outcome, detail) = match fails(assignment.task.0, index) {
                true => (Outcome::Failed(FailureKind::Exit(1)), None),
                false => (Outcome::Succeeded, (assignment.task.0 == 0).then_some(value)),
            };
            worker.report(&[report(attempt, outcome, detail)]).await.unwrap();
        }
    }
}

#[test]
fn what_succeeded_is_not_handed_out_and_its_values_are() {
    block_on(async {
        let scheduler = Scheduler::start();
        let client = scheduler.client().await;
        let mut worker = FakeWorker::join(&scheduler, "w", 8).await;
        let (first, run) = submit(&client, &map_of_three()).await.unwrap();
        serve(&mut worker, &run, |task, index| (task, index) == (0, 1) || task == 1).await;

        let (id, run, taken) = retry(&client, first, true).await.unwrap().unwrap();
        assert_eq!((id, taken), (first + 1, 2));
        let mut handed = serve(&mut worker, &run, |_, _| false).await;
        handed.sort_unstable();
        let of_map = |index: u32| (1, index, Some(index.to_string().into_bytes()));
        assert_eq!(handed, [(0, 1, None), of_map(0), of_map(1), of_map(2)]);
        let status = status(&run).await;
        assert_eq!(
            (status.state, status.tasks[1].counts.of(State::Succeeded)),
            (RunState::Succeeded, 3)
        );
        assert!(retry(&client, id, true).await.unwrap().is_none());

        // What was submitted is the same, whatever else the request says.
        let (_, whole, taken) = retry(&client, id, false).await.unwrap().unwrap();
        assert_eq!(taken, 0);
        assert_eq!(serve(&mut worker, &whole, |_, _| false).await.len(), 6);
    });
}

#[test]
fn an_observer_sees_from_the_start_what_is_taken_over() {
    block_on(async {
        let scheduler = Scheduler::start();
        let client = scheduler.client().await;
        let mut worker = FakeWorker::join(&scheduler, "w", 8).await;
        let (first, run) = submit(&client, &map_of_three()).await.unwrap();
        serve(&mut worker, &run, |task, _| task == 1).await;
        let (_, run, _) = retry(&client, first, true).await.unwrap().unwrap();
        let update = watch(&run).await.unwrap().next().await;
        assert_eq!(update.tasks[0].counts.of(State::Succeeded), 3);
        let value = value(&run, "a").await.unwrap();
        assert_eq!(value, b"0");
        let mut request = run.instances_request();
        request.get().set_limit(1);
        let response = request.send().promise.await.unwrap();
        let row = response.get().unwrap().get_page().unwrap().get_rows().unwrap().get(0);
        let row = InstanceRow::read(row).unwrap();
        assert_eq!((row.attempts, row.reason.as_str()), (0, "taken over from run 1"));
    });
}

#[test]
fn only_runs_that_have_ended_are_retried() {
    block_on(async {
        let scheduler = Scheduler::start();
        let client = scheduler.client().await;
        let (id, _run) = submit(&client, &map_of_three()).await.unwrap();
        for failed_only in [true, false] {
            let error = retry(&client, id, failed_only).await.err().unwrap().to_string();
            assert!(error.contains("run 1 has not ended"), "{error}");
            let error = retry(&client, 9, failed_only).await.err().unwrap().to_string();
            assert!(error.contains("there is no run 9"), "{error}");
        }
        assert!(retry(&client, u64::MAX, true).await.is_err());
    });
}
