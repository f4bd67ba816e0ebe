//! A scheduler for one test, and peers that the test controls.

use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use dagrun_core::engine::{Assignment, Outcome, Report};
use dagrun_core::ids::{AttemptId, TaskId, Timestamp, WorkerId};
use dagrun_core::offer::Offer;
use dagrun_core::pipeline::{Clause, Outcomes, Pipeline, Quantifier, Task, TaskAction};
use dagrun_core::recipe::Input;
use dagrun_core::status::{Detail, RunState, RunStatus};
use dagrun_scheduler::{Config, SchedulerHandle};
use dagrun_schema::dagrun_capnp::{self as rpc, PROTOCOL_VERSION};
use dagrun_schema::wire::{self, Door, Handout, Message, Peer, Registration, Scope, Update};
use futures::io::{BufReader, BufWriter};
use tokio::sync::mpsc;
use tokio_util::compat::{TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _};

pub(crate) const CLIENT: &[u8] = b"client's secret";
pub(crate) const WORKER: &[u8] = b"worker's secret";

/// Longer than anything here takes; a test that waits for it has failed.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) struct Scheduler {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) handle: SchedulerHandle,
}

impl Scheduler {
    pub(crate) fn start() -> Scheduler {
        Scheduler::with(|config| config)
    }

    pub(crate) fn with(change: impl FnOnce(Config) -> Config) -> Scheduler {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new(dir.path().to_owned(), CLIENT.to_vec(), WORKER.to_vec());
        let handle = dagrun_scheduler::spawn(change(config)).unwrap();
        Scheduler { dir, handle }
    }

    pub(crate) fn stream(&self) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.handle.attach(theirs);
        ours
    }

    pub(crate) async fn client(&self) -> rpc::client::Client {
        let granted = login(self.stream(), CLIENT).await.unwrap();
        match granted.get().unwrap().get_granted().unwrap().which().unwrap() {
            rpc::granted::Client(client) => client.unwrap(),
            rpc::granted::Gate(_) => panic!("a client's token gave a worker's gate"),
        }
    }

    pub(crate) async fn gate(&self) -> rpc::worker_gate::Client {
        let granted = login(self.stream(), WORKER).await.unwrap();
        match granted.get().unwrap().get_granted().unwrap().which().unwrap() {
            rpc::granted::Gate(gate) => gate.unwrap(),
            rpc::granted::Client(_) => panic!("a worker's token gave a client"),
        }
    }
}

/// Runs a test's async part.
pub(crate) fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    let timed = async { tokio::time::timeout(LONG, test).await.expect("the test hangs") };
    tasks.block_on(&runtime, timed);
}

type Login = capnp::capability::Response<rpc::bootstrap::login_results::Owned>;

pub(crate) async fn login(stream: UnixStream, token: &[u8]) -> Result<Login, capnp::Error> {
    login_as(stream, token, PROTOCOL_VERSION).await
}

pub(crate) async fn login_as(
    stream: UnixStream,
    token: &[u8],
    protocol: u32,
) -> Result<Login, capnp::Error> {
    let bootstrap = connect(stream);
    let mut request = bootstrap.login_request();
    request.get().set_token(token);
    request.get().set_protocol(protocol);
    request.send().promise.await
}

pub(crate) fn connect(stream: UnixStream) -> rpc::bootstrap::Client {
    stream.set_nonblocking(true).unwrap();
    let (input, output) = tokio::net::UnixStream::from_std(stream).unwrap().into_split();
    let network = twoparty::VatNetwork::new(
        BufReader::new(input.compat()),
        BufWriter::new(output.compat_write()),
        Side::Client,
        capnp::message::ReaderOptions::new(),
    );
    let mut system = RpcSystem::new(Box::new(network), None);
    let bootstrap = system.bootstrap(Side::Server);
    tokio::task::spawn_local(system);
    bootstrap
}

/// A call that a worker received.
#[derive(Debug)]
pub(crate) enum Told {
    Dispatch(Assignment, Vec<Vec<Input>>),
    Revoke(Vec<u64>, bool),
    Forget(u64),
    /// Numbers and addresses.
    Peers(Vec<(u32, String)>),
    /// Indices.
    Release(Vec<u32>),
    Shutdown,
}

/// A worker that does nothing by itself.
pub(crate) struct FakeWorker {
    pub(crate) id: WorkerId,
    pub(crate) session: rpc::session::Client,
    pub(crate) name: String,
    told: mpsc::UnboundedReceiver<Told>,
}

struct Ears(mpsc::UnboundedSender<Told>);

impl rpc::worker::Server for Ears {
    async fn dispatch(
        self: Rc<Self>,
        params: rpc::worker::DispatchParams,
        _: rpc::worker::DispatchResults,
    ) -> Result<(), capnp::Error> {
        for assignment in params.get()?.get_assignments()?.iter() {
            let Handout { assignment, inputs, .. } = Message::read(assignment)?;
            let _ = self.0.send(Told::Dispatch(assignment, inputs));
        }
        Ok(())
    }

    async fn revoke(
        self: Rc<Self>,
        params: rpc::worker::RevokeParams,
        _: rpc::worker::RevokeResults,
    ) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let attempts = params.get_attempts()?.iter().collect();
        let _ = self.0.send(Told::Revoke(attempts, params.get_cancel()));
        Ok(())
    }

    async fn forget(
        self: Rc<Self>,
        params: rpc::worker::ForgetParams,
        _: rpc::worker::ForgetResults,
    ) -> Result<(), capnp::Error> {
        let _ = self.0.send(Told::Forget(params.get()?.get_run()));
        Ok(())
    }

    async fn peers(
        self: Rc<Self>,
        params: rpc::worker::PeersParams,
        _: rpc::worker::PeersResults,
    ) -> Result<(), capnp::Error> {
        let peers = params.get()?.get_peers()?;
        let peers = wire::read_list(peers)?.into_iter().map(|peer: Peer| {
            (peer.id.0, peer.door.map_or_else(String::new, |door| door.address.to_string()))
        });
        let _ = self.0.send(Told::Peers(peers.collect()));
        Ok(())
    }

    async fn release(
        self: Rc<Self>,
        params: rpc::worker::ReleaseParams,
        _: rpc::worker::ReleaseResults,
    ) -> Result<(), capnp::Error> {
        let values = params.get()?.get_values()?;
        let _ = self
            .0
            .send(Told::Release(values.iter().map(rpc::instance::Reader::get_index).collect()));
        Ok(())
    }

    async fn shutdown(
        self: Rc<Self>,
        _: rpc::worker::ShutdownParams,
        _: rpc::worker::ShutdownResults,
    ) -> Result<(), capnp::Error> {
        let _ = self.0.send(Told::Shutdown);
        Ok(())
    }
}

/// What a worker that has nothing says of itself.
pub(crate) fn registration(name: &str, slots: u32) -> Registration {
    Registration {
        name: name.to_owned(),
        host: "here".to_owned(),
        pid: 0,
        offer: Offer { slots, ..Offer::default() },
        functions: Vec::new(),
        door: None,
        uid: String::new(),
        serial: 0,
        lock: None,
        held: Vec::new(),
        claims: Vec::new(),
        runs: Vec::new(),
        leaving: false,
    }
}

impl FakeWorker {
    pub(crate) async fn join(scheduler: &Scheduler, name: &str, slots: u32) -> FakeWorker {
        let gate = scheduler.gate().await;
        let (sender, told) = mpsc::unbounded_channel();
        let mut request = gate.register_request();
        request.get().set_worker(capnp_rpc::new_client(Ears(sender)));
        let door = Door { address: "127.0.0.1:9".parse().unwrap(), secret: [0; 32] };
        let registration = Registration { door: Some(door), ..registration(name, slots) };
        registration.write(request.get().init_registration());
        let response = request.send().promise.await.unwrap();
        let response = response.get().unwrap();
        FakeWorker {
            session: response.get_session().unwrap(),
            id: WorkerId(response.get_id()),
            name: response.get_name().unwrap().to_string().unwrap(),
            told,
        }
    }

    pub(crate) async fn told(&mut self) -> Told {
        self.told.recv().await.expect("the scheduler is gone")
    }

    pub(crate) async fn dispatched(&mut self) -> (Assignment, Vec<Vec<Input>>) {
        loop {
            match self.told().await {
                Told::Dispatch(assignment, inputs) => return (assignment, inputs),
                Told::Forget(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn report(&self, reports: &[Report]) -> Result<(), capnp::Error> {
        let mut request = self.session.report_request();
        wire::write_list(reports, request.get().init_reports(wire::length(reports.len())));
        request.send().promise.await.map(drop)
    }

    /// Reports success on all of an assignment.
    pub(crate) async fn succeed(&self, assignment: &Assignment) {
        let mut report = report(assignment.first_attempt, Outcome::Succeeded, None);
        report.count = assignment.count;
        self.report(&[report]).await.unwrap();
    }
}

pub(crate) fn report(first: AttemptId, outcome: Outcome, detail: Option<Detail>) -> Report {
    let detail = detail.map(Box::new);
    Report { detail, ..Report::one(first, outcome, Timestamp(1_000), Timestamp(2_000)) }
}

pub(crate) fn task(name: &str) -> Task {
    Task::new(name, TaskAction::Shell("true".into()))
}

pub(crate) fn after(task: u32) -> Clause {
    let upstreams = vec![TaskId(task)];
    Clause { upstreams, quantifier: Quantifier::All, on: Outcomes::Success }
}

pub(crate) fn pipeline(tasks: Vec<Task>) -> Pipeline {
    Pipeline { name: "test".into(), vars: Vec::new(), tasks }
}

pub(crate) async fn submit(
    client: &rpc::client::Client,
    pipeline: &Pipeline,
) -> Result<(u64, rpc::run::Client), capnp::Error> {
    submit_json(client, &serde_json::to_vec(pipeline).unwrap(), b"/tmp").await
}

pub(crate) async fn submit_json(
    client: &rpc::client::Client,
    json: &[u8],
    base_dir: &[u8],
) -> Result<(u64, rpc::run::Client), capnp::Error> {
    let mut request = client.submit_request();
    let mut submission = request.get().init_submission();
    submission.set_pipeline(json);
    submission.set_base_dir(base_dir);
    let response = request.send().promise.await?;
    let response = response.get()?;
    Ok((response.get_id(), response.get_run()?))
}

pub(crate) async fn status(run: &rpc::run::Client) -> RunStatus {
    let response = run.status_request().send().promise.await.unwrap();
    RunStatus::read(response.get().unwrap().get_status().unwrap()).unwrap()
}

pub(crate) async fn value(run: &rpc::run::Client, task: &str) -> Result<Vec<u8>, capnp::Error> {
    let mut request = run.value_request();
    request.get().set_task(task);
    request.get().set_limit(u32::MAX);
    let response = request.send().promise.await?;
    Ok(response.get()?.get_data()?.to_vec())
}

pub(crate) async fn cancel(run: &rpc::run::Client, scope: Scope<&str>) -> Result<(), capnp::Error> {
    let mut request = run.cancel_request();
    scope.write(request.get().init_scope());
    request.send().promise.await.map(drop)
}

/// An observer that acknowledges an update only when it is taken.
pub(crate) struct Watch {
    updates: mpsc::Receiver<Update>,
    /// Dropping it ends the watch.
    _subscription: rpc::subscription::Client,
}

struct Eyes(mpsc::Sender<Update>);

impl rpc::observer::Server for Eyes {
    async fn update(
        self: Rc<Self>,
        params: rpc::observer::UpdateParams,
        _: rpc::observer::UpdateResults,
    ) -> Result<(), capnp::Error> {
        let update = Update::read(params.get()?.get_update()?)?;
        // The channel holds one: the next one waits until this one is taken.
        let _ = self.0.send(update).await;
        Ok(())
    }
}

pub(crate) async fn watch(run: &rpc::run::Client) -> Result<Watch, capnp::Error> {
    subscribe(run, false).await
}

/// As [`watch`], including which instances end.
pub(crate) async fn watch_instances(run: &rpc::run::Client) -> Result<Watch, capnp::Error> {
    subscribe(run, true).await
}

async fn subscribe(run: &rpc::run::Client, detailed: bool) -> Result<Watch, capnp::Error> {
    let (sender, updates) = mpsc::channel(1);
    let mut request = run.watch_request();
    request.get().set_observer(capnp_rpc::new_client(Eyes(sender)));
    request.get().set_detailed(detailed);
    let response = request.send().promise.await?;
    Ok(Watch { updates, _subscription: response.get()?.get_subscription()? })
}

impl Watch {
    /// Drops the subscription; the remaining updates end when the scheduler drops the observer.
    pub(crate) fn unsubscribe(self) -> mpsc::Receiver<Update> {
        self.updates
    }

    pub(crate) async fn next(&mut self) -> Update {
        self.updates.recv().await.expect("the observer was dropped")
    }

    /// Waits for the end; returns the last update.
    pub(crate) async fn end(&mut self) -> Update {
        loop {
            let update = self.next().await;
            if update.state != RunState::Running {
                return update;
            }
        }
    }
}
