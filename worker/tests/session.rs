//! A worker against a scheduler made for these tests, over a pair of Unix sockets.

mod common;

use std::collections::HashSet;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use capnp::Error;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, new_client, twoparty};
use common::{alive, pid_in};
use dagrun_core::engine::{Assignment, Outcome, Report};
use dagrun_core::ids::{AttemptId, RunId, TaskId};
use dagrun_core::offer::Offer;
use dagrun_core::pipeline::{Capture, Conduct, Pipeline, RunContext, Task, TaskAction};
use dagrun_core::recipe::Recipe;
use dagrun_core::space::{Axis, Points, Space};
use dagrun_core::status::{FailureKind, Stream};
use dagrun_core::value::Value;
use dagrun_disk::log::{Cursor, LogReader};
use dagrun_schema::dagrun_capnp::{bootstrap, session, worker, worker_gate};
use dagrun_schema::wire::{self, Handout, Message as _};
use dagrun_worker::{Config, Connection, EndReason, StartError, WorkerHandle};
use tokio::sync::mpsc;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

const TOKEN: &[u8] = b"for workers";

#[derive(Clone)]
struct Fake {
    workers: mpsc::UnboundedSender<worker::Client>,
    reports: mpsc::UnboundedSender<Vec<Report>>,
}

impl bootstrap::Server for Fake {
    async fn login(
        self: Rc<Self>,
        params: bootstrap::LoginParams,
        mut results: bootstrap::LoginResults,
    ) -> Result<(), Error> {
        if params.get()?.get_token()? != TOKEN {
            return Err(Error::failed("wrong token".into()));
        }
        let gate = new_client::<worker_gate::Client, _>((*self).clone());
        results.get().init_granted().set_gate(gate);
        Ok(())
    }
}

impl worker_gate::Server for Fake {
    async fn register(
        self: Rc<Self>,
        params: worker_gate::RegisterParams,
        mut results: worker_gate::RegisterResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        assert_eq!(params.get_registration()?.get_pid(), std::process::id());
        let _ = self.workers.send(params.get_worker()?);
        results.get().set_session(new_client::<session::Client, _>((*self).clone()));
        results.get().set_id(5);
        results.get().set_name("w5");
        Ok(())
    }
}

impl session::Server for Fake {
    async fn report(
        self: Rc<Self>,
        params: session::ReportParams,
        _: session::ReportResults,
    ) -> Result<(), Error> {
        let reports = params.get()?.get_reports()?;
        let reports = wire::read_list(reports).unwrap();
        let _ = self.reports.send(reports);
        Ok(())
    }

    async fn heartbeat(
        self: Rc<Self>,
        _: session::HeartbeatParams,
        _: session::HeartbeatResults,
    ) -> Result<(), Error> {
        Ok(())
    }
}

/// A scheduler and the worker that has joined it.
struct Stage {
    worker: worker::Client,
    reports: Reports,
    waiting: Vec<Report>,
    handle: WorkerHandle,
    connection: Line,
    dir: tempfile::TempDir,
}

fn config(slots: u32, token: &[u8]) -> Config {
    Config {
        name: String::new(),
        offer: Offer {
            slots,
            labels: vec!["here".into()],
            memory: 1 << 30,
            resources: vec![("gpu".into(), 2)],
        },
        token: token.to_vec(),
        reaper: None,
        log_limit: dagrun_worker::DEFAULT_LOG_LIMIT,
        values: dagrun_worker::ValuesConfig::default(),
        rejoin: None,
        drain: std::time::Duration::ZERO,
        enforce_memory: false,
    }
}

/// Starts a worker, on threads that do not hold up the fake scheduler.
async fn spawn(config: Config, connection: Connection) -> Result<WorkerHandle, StartError> {
    tokio::task::spawn_blocking(|| dagrun_worker::spawn(config, connection)).await.unwrap()
}

type Workers = mpsc::UnboundedReceiver<worker::Client>;
type Reports = mpsc::UnboundedReceiver<Vec<Report>>;
type Line = tokio::task::JoinHandle<Result<(), Error>>;

/// Serves one connection with a fake scheduler.
fn serve(stream: UnixStream) -> (Workers, Reports, Line) {
    stream.set_nonblocking(true).unwrap();
    let (reader, writer) = tokio::net::UnixStream::from_std(stream).unwrap().into_split();
    serve_on(reader, writer)
}

fn serve_on(
    reader: impl tokio::io::AsyncRead + Unpin + 'static,
    writer: impl tokio::io::AsyncWrite + Unpin + 'static,
) -> (Workers, Reports, Line) {
    let network = twoparty::VatNetwork::new(
        futures::io::BufReader::new(reader.compat()),
        futures::io::BufWriter::new(writer.compat_write()),
        Side::Server,
        capnp::message::ReaderOptions::new(),
    );
    let ((workers, joined), (reports, told)) =
        (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let fake: bootstrap::Client = new_client(Fake { workers, reports });
    let rpc = RpcSystem::new(Box::new(network), Some(fake.client));
    (joined, told, tokio::task::spawn_local(rpc))
}

async fn stage(slots: u32) -> Stage {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut joined, reports, connection) = serve(ours);
    let handle = spawn(config(slots, TOKEN), Connection::Stream(theirs)).await.unwrap();
    assert_eq!((handle.id(), handle.name()), (5, "w5"));
    let worker = joined.recv().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    Stage { worker, reports, waiting: Vec::new(), handle, connection, dir }
}

impl Stage {
    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn logs(&self) -> std::path::PathBuf {
        self.dir.path().join("logs")
    }

    /// Dispatches `count` instances of a script, as attempts from `first` on.
    async fn dispatch(&self, recipe: &[u8], first: u64, count: u32) {
        let mut request = self.worker.dispatch_request();
        let mut message = request.get().init_recipes(1).get(0);
        message.set_run(1);
        message.set_task(0);
        message.set_recipe(recipe);
        message.set_log_dir(self.logs().to_str().unwrap().as_bytes());
        let assignment = Assignment {
            run: RunId(1),
            task: TaskId(0),
            first_index: 0,
            count,
            first_attempt: AttemptId(first),
            number: 1,
            memory: 0,
        };
        Handout::plain(assignment).write(request.get().init_assignments(1).get(0));
        request.send().promise.await.unwrap();
    }

    async fn revoke(&self, attempts: &[u64], cancel: bool) {
        let mut request = self.worker.revoke_request();
        request.get().set_attempts(attempts).unwrap();
        request.get().set_cancel(cancel);
        request.send().promise.await.unwrap();
    }

    /// The next report.
    async fn next(&mut self) -> Report {
        while self.waiting.is_empty() {
            let batch = tokio::time::timeout(Duration::from_secs(60), self.reports.recv()).await;
            self.waiting = batch.expect("a report comes").expect("the worker is there");
            self.waiting.reverse();
        }
        self.waiting.pop().unwrap()
    }

    async fn ended(&mut self) -> Report {
        loop {
            let report = self.next().await;
            if report.outcome != Outcome::Started {
                return report;
            }
        }
    }

    async fn join(self) -> EndReason {
        tokio::task::spawn_blocking(|| self.handle.join()).await.unwrap()
    }
}

fn recipe(dir: &Path, script: &str, width: u32, cpus: u32, capture: Capture) -> Vec<u8> {
    let rows = (0..width).map(|i| vec![Value::Number(i.to_string())]).collect();
    let axis = Axis { name: "i".into(), names: vec!["i".into()], points: Points::Rows(rows) };
    let task = Task {
        sweep: Some(Space { axes: vec![axis], ..Space::default() }),
        capture,
        conduct: Conduct { cpus, ..Conduct::default() },
        ..Task::new("work", TaskAction::Shell(script.into()))
    };
    let pipeline = Pipeline { name: "test".into(), vars: Vec::new(), tasks: vec![task] };
    let context =
        RunContext { run: 1, run_dir: dir.join("run"), base_dir: dir.to_owned(), seed: 0 };
    let recipe = Recipe::new(&pipeline, TaskId(0), &context).unwrap();
    serde_json::to_vec(&*recipe).unwrap()
}

fn on_stage<F: Future<Output = ()>>(play: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async { play().await });
}

async fn shut_down(stage: Stage) {
    stage.worker.shutdown_request().send().promise.await.unwrap();
    assert_eq!(stage.join().await, EndReason::Dismissed);
}

#[test]
fn a_wrong_token_is_refused() {
    on_stage(|| async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let _scheduler = serve(ours);
        let refused = spawn(config(1, b"guess"), Connection::Stream(theirs)).await;
        assert!(matches!(refused, Err(StartError::Refused(_))), "{refused:?}");
    });
}

#[test]
fn a_worker_dials_over_tcp() {
    on_stage(|| async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let starting = tokio::task::spawn_local(spawn(config(1, TOKEN), Connection::Tcp(address)));
        let (reader, writer) = listener.accept().await.unwrap().0.into_split();
        let (mut joined, _reports, _line) = serve_on(reader, writer);
        let handle = starting.await.unwrap().unwrap();
        let worker = joined.recv().await.unwrap();
        worker.shutdown_request().send().promise.await.unwrap();
        let ended = tokio::task::spawn_blocking(|| handle.join()).await.unwrap();
        assert_eq!(ended, EndReason::Dismissed);
        drop(listener);
        let refused = spawn(config(1, TOKEN), Connection::Tcp(address)).await;
        assert!(matches!(refused, Err(StartError::Connect(_))), "{refused:?}");
    });
}

#[test]
fn every_attempt_is_reported_once_and_its_log_can_be_read_then() {
    on_stage(|| async {
        let mut stage = stage(2).await;
        let script = "echo $i; [ $i != 7 ] || exit 3";
        let recipe = recipe(stage.path(), script, 300, 1, Capture::None);
        stage.dispatch(&recipe, 1000, 300).await;
        let mut seen = HashSet::new();
        for _ in 0..300 {
            let report = stage.ended().await;
            assert!(seen.insert(report.first) && report.count == 1);
            assert!(report.started.0 > 0 && report.finished >= report.started);
            match report.first {
                AttemptId(1007) => {
                    assert_eq!(report.outcome, Outcome::Failed(FailureKind::Exit(3)));
                    assert_eq!(report.detail.unwrap().reason, "exit code 3");
                }
                _ => assert_eq!(report.outcome, Outcome::Succeeded),
            }
        }
        let mut reader = LogReader::open(&stage.logs());
        let chunks = reader.read(&mut Cursor::default(), usize::MAX, &mut |_, _| true).unwrap();
        assert_eq!(chunks.len(), 300);
        for chunk in chunks {
            let text = format!("{}\n", chunk.instance.index);
            assert_eq!((chunk.stream, chunk.bytes), (Stream::Stdout, text.into_bytes()));
        }
        shut_down(stage).await;
    });
}

#[test]
fn values_come_with_their_reports() {
    on_stage(|| async {
        let mut stage = stage(2).await;
        let recipe = recipe(stage.path(), "echo \"[ $i ]\"", 3, 1, Capture::Json);
        stage.dispatch(&recipe, 0, 3).await;
        for _ in 0..3 {
            let report = stage.ended().await;
            let value = report.detail.unwrap().value.unwrap();
            assert_eq!(String::from_utf8(value).unwrap(), format!("[{}]", report.first));
        }
        shut_down(stage).await;
    });
}

#[test]
fn long_attempts_are_announced_cancelled_and_stolen() {
    on_stage(|| async {
        let mut stage = stage(1).await;
        let script = "echo $$ > pid$i; sleep 1000";
        let recipe = recipe(stage.path(), script, 4, 1, Capture::None);
        stage.dispatch(&recipe, 10, 4).await;
        let report = stage.next().await;
        assert_eq!((report.first, report.outcome), (AttemptId(10), Outcome::Started));
        assert!(report.started.0 > 0);
        stage.revoke(&[10, 12, 13], false).await;
        let report = stage.next().await;
        assert_eq!((report.first, report.count), (AttemptId(12), 2));
        assert_eq!(report.outcome, Outcome::Returned);
        stage.revoke(&[11, 10], true).await;
        let mut cancelled = HashSet::new();
        for _ in 0..2 {
            let report = stage.ended().await;
            assert_eq!(report.outcome, Outcome::Failed(FailureKind::Cancelled));
            assert_eq!(report.detail.unwrap().reason, "cancelled");
            cancelled.insert(report.first);
        }
        assert_eq!(cancelled, [10, 11].map(AttemptId).into());
        assert!(!stage.path().join("pid1").exists());
        shut_down(stage).await;
    });
}

#[test]
fn a_forgotten_run_leaves_no_process() {
    on_stage(|| async {
        let mut stage = stage(1).await;
        let script = "setsid sh -c 'echo $$ > daemon; exec sleep 1000' >/dev/null 2>&1 & \
                      while ! [ -s daemon ]; do sleep 0.01; done";
        let recipe = recipe(stage.path(), script, 1, 1, Capture::None);
        stage.dispatch(&recipe, 0, 1).await;
        assert_eq!(stage.ended().await.outcome, Outcome::Succeeded);
        let daemon = pid_in(&stage.path().join("daemon"));
        assert!(alive(daemon));
        let mut request = stage.worker.forget_request();
        request.get().set_run(1);
        request.send().promise.await.unwrap();
        assert!(!alive(daemon));
        shut_down(stage).await;
    });
}

#[test]
fn a_shutdown_tells_everything_first() {
    on_stage(|| async {
        let mut stage = stage(1).await;
        let recipe = recipe(stage.path(), "echo $$ > pid$i; sleep 1000", 3, 1, Capture::None);
        stage.dispatch(&recipe, 0, 3).await;
        let pid = {
            assert_eq!(stage.next().await.outcome, Outcome::Started);
            pid_in(&stage.path().join("pid0"))
        };
        stage.worker.shutdown_request().send().promise.await.unwrap();
        assert!(!alive(pid));
        let returned = stage.next().await;
        assert_eq!((returned.outcome, returned.first), (Outcome::Returned, AttemptId(1)));
        assert_eq!(returned.count, 2);
        let lost = stage.next().await;
        assert_eq!((lost.outcome, lost.first), (Outcome::Preempted, AttemptId(0)));
        assert_eq!(stage.join().await, EndReason::Dismissed);
    });
}

#[test]
fn its_own_process_can_shut_it_down() {
    on_stage(|| async {
        let mut stage = stage(1).await;
        let recipe = recipe(stage.path(), "sleep 1000", 1, 1, Capture::None);
        stage.dispatch(&recipe, 0, 1).await;
        assert_eq!(stage.next().await.outcome, Outcome::Started);
        stage.handle.stopper().stop();
        assert_eq!(stage.next().await.outcome, Outcome::Preempted);
        assert_eq!(stage.join().await, EndReason::ShutDown);
    });
}

#[test]
fn without_its_scheduler_a_worker_ends_everything() {
    on_stage(|| async {
        let mut stage = stage(1).await;
        let recipe = recipe(stage.path(), "echo $$ > pid; sleep 1000", 1, 1, Capture::None);
        stage.dispatch(&recipe, 0, 1).await;
        assert_eq!(stage.next().await.outcome, Outcome::Started);
        let pid = pid_in(&stage.path().join("pid"));
        stage.connection.abort();
        let dir = std::mem::replace(&mut stage.dir, tempfile::tempdir().unwrap());
        assert!(matches!(stage.join().await, EndReason::ConnectionLost(_)));
        assert!(!alive(pid));
        drop(dir);
    });
}

#[test]
fn a_recipe_that_makes_no_sense_fails_its_instances() {
    on_stage(|| async {
        let mut stage = stage(1).await;
        stage.dispatch(b"{\"nonsense\": 1", 0, 2).await;
        for _ in 0..2 {
            let report = stage.ended().await;
            assert_eq!(report.outcome, Outcome::Failed(FailureKind::Start));
            let reason = report.detail.unwrap().reason;
            assert!(reason.starts_with("the worker cannot read the task's recipe: "), "{reason}");
        }
        shut_down(stage).await;
    });
}
