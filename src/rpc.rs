//! The client side of the protocol: submit runs, watch them, ask about them, cancel them.
//!
//! A [`Client`] lives on the [`tokio::task::LocalSet`] that made it and speaks to one scheduler,
//! over TCP or over a line in memory to a scheduler in the same process (see [`crate::Embedded`]).
//! [`crate::Client`] is the same for programs that want neither: it may be used from any thread.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let loaded = dagrun::load("pipeline.toml".as_ref(), &[])?;
//! let cluster = dagrun::Embedded::start(&dagrun::Cluster::builder().state_dir(".dagrun"))?;
//! let client = cluster.client().await?;
//! let run = client.submit(&loaded.submission()).await?;
//! let mut updates = run.watch().await?;
//! while let Some(update) = updates.next().await {
//!     println!("{:?}", update.state);
//! }
//! # Ok(())
//! # }
//! ```

use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::pipeline::Pipeline;
use dagrun_core::status::{
    InstanceResult, InstanceRow, LogChunk, RunStatus, RunSummary, WorkerStatus,
};
use dagrun_schema::wire::{self, WireError};
use dagrun_schema::{PROTOCOL_VERSION, dagrun_capnp as rpc};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use crate::updates::Updates;

/// Why the scheduler could not be asked, or what it answered instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no scheduler is reachable at {address}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The connection ended.
    #[error("the connection to the scheduler was lost")]
    Lost,
    /// The scheduler did not accept the token or the version of the protocol.
    #[error("the scheduler refused the login: {reason}")]
    Login {
        /// In the scheduler's words.
        reason: String,
    },
    /// The token belongs to a worker.
    #[error("the scheduler refused the login: the token is one for workers")]
    NotAClient,
    /// The scheduler will not do what was asked.
    #[error("{reason}")]
    Refused {
        /// In the scheduler's words.
        reason: String,
    },
    /// The scheduler's answer cannot be read.
    #[error("the scheduler's answer cannot be read")]
    Answer(#[from] WireError),
    /// The scheduler's pipeline cannot be read.
    #[error("the scheduler's pipeline cannot be read")]
    Pipeline(#[from] serde_json::Error),
}

impl ClientError {
    /// Whether the scheduler could not be reached or was lost, rather than refused something.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        use ClientError::{Login, Lost, NotAClient, Unreachable};
        matches!(self, Unreachable { .. } | Lost | Login { .. } | NotAClient)
    }
}

impl From<capnp::Error> for ClientError {
    fn from(error: capnp::Error) -> Self {
        match error.kind {
            capnp::ErrorKind::Disconnected => ClientError::Lost,
            _ => ClientError::Refused { reason: in_its_words(error) },
        }
    }
}

/// What the scheduler said, without what the RPC layer put before it.
fn in_its_words(error: capnp::Error) -> String {
    let text = error.extra;
    text.strip_prefix("remote exception: ").map(str::to_owned).unwrap_or(text)
}

type Result<T> = std::result::Result<T, ClientError>;

/// A run to submit, or one as it was submitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// The checked pipeline.
    pub pipeline: Pipeline,
    /// The directory that its relative paths are relative to, absolute.
    pub base_dir: PathBuf,
    /// The seed of `{seed}`.
    pub seed: u64,
    /// Whether the rest is cancelled as soon as an instance has failed.
    pub fail_fast: bool,
}

impl Submission {
    fn write(&self, mut to: rpc::submission::Builder<'_>) -> Result<()> {
        to.set_pipeline(&serde_json::to_vec(&self.pipeline)?);
        to.set_base_dir(self.base_dir.as_os_str().as_bytes());
        to.set_seed(self.seed);
        to.set_fail_fast(self.fail_fast);
        Ok(())
    }

    fn read(from: rpc::submission::Reader<'_>) -> Result<Submission> {
        let base_dir = from.get_base_dir()?.to_vec();
        Ok(Submission {
            pipeline: serde_json::from_slice(from.get_pipeline()?)?,
            base_dir: std::ffi::OsString::from_vec(base_dir).into(),
            seed: from.get_seed(),
            fail_fast: from.get_fail_fast(),
        })
    }
}

/// A run that was submitted once more.
#[derive(Clone, Debug)]
pub struct Retried {
    /// The new run.
    pub run: Run,
    /// How many of its instances had succeeded before and are not run again.
    pub taken_over: u64,
}

/// A client of one scheduler.
///
/// Clones share the connection; it ends with the last of them and of the [`Run`]s made from it.
#[derive(Clone)]
pub struct Client {
    client: rpc::client::Client,
    connection: Rc<Connection>,
}

/// The task that speaks with the scheduler; the connection ends with it.
#[derive(Debug)]
pub(crate) struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to a scheduler and logs in. Must be called on a [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// When nobody listens there or the scheduler refuses the token.
    pub async fn connect_tcp(address: SocketAddr, token: &[u8]) -> Result<Client> {
        let unreachable =
            |source| ClientError::Unreachable { address: address.to_string(), source };
        let login = async {
            let stream = TcpStream::connect(address).await.map_err(unreachable)?;
            stream.set_nodelay(true).map_err(unreachable)?;
            let (reader, writer) = stream.into_split();
            Client::login(reader, writer, token).await
        };
        let in_time = tokio::time::timeout(PATIENCE, login).await;
        in_time.unwrap_or_else(|late| Err(unreachable(late.into())))
    }

    /// Logs in over a socket whose other end a scheduler holds. Must be called on a
    /// [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// When the scheduler is gone or refuses the token.
    pub async fn attach(stream: UnixStream, token: &[u8]) -> Result<Client> {
        let (reader, writer) = stream.into_split();
        Client::login(reader, writer, token).await
    }

    /// Logs in at a scheduler in this process, at the other end of the line.
    pub(crate) async fn attach_line(line: tokio::io::DuplexStream, token: &[u8]) -> Result<Client> {
        let (reader, writer) = tokio::io::split(line);
        Client::login(reader, writer, token).await
    }

    async fn login(
        reader: impl tokio::io::AsyncRead + Unpin + 'static,
        writer: impl tokio::io::AsyncWrite + Unpin + 'static,
        token: &[u8],
    ) -> Result<Client> {
        let mut options = capnp::message::ReaderOptions::new();
        options.traversal_limit_in_words(Some(READ_LIMIT_WORDS));
        let network = twoparty::VatNetwork::new(
            reader.compat(),
            writer.compat_write(),
            Side::Client,
            options,
        );
        let mut system = RpcSystem::new(Box::new(network), None);
        let bootstrap: rpc::bootstrap::Client = system.bootstrap(Side::Server);
        let connection = Rc::new(Connection(tokio::task::spawn_local(system).abort_handle()));

        let mut request = bootstrap.login_request();
        request.get().set_token(token);
        request.get().set_protocol(PROTOCOL_VERSION);
        let reply = request.send().promise.await.map_err(|error| match error.kind {
            capnp::ErrorKind::Disconnected => ClientError::Lost,
            _ => ClientError::Login { reason: in_its_words(error) },
        })?;
        match reply.get()?.get_granted()?.which().map_err(WireError::from)? {
            rpc::granted::Client(client) => Ok(Client { client: client?, connection }),
            rpc::granted::Gate(_) => Err(ClientError::NotAClient),
        }
    }

    /// Submits a run.
    ///
    /// # Errors
    /// When the scheduler is lost or refuses the pipeline.
    pub async fn submit(&self, submission: &Submission) -> Result<Run> {
        let mut request = self.client.submit_request();
        submission.write(request.get().init_submission())?;
        let reply = request.send().promise.await?;
        let reply = reply.get()?;
        Ok(self.holding(RunId(reply.get_id()), reply.get_run()?))
    }

    /// Submits once more what a run was submitted with that has ended. With `failed_only` every
    /// instance that succeeded there counts as succeeded, with its value and outputs, and is not run
    /// again; `None` when that is all of them.
    ///
    /// # Errors
    /// When the scheduler is lost, knows no such run, or the run has not ended.
    pub async fn retry(&self, of: RunId, failed_only: bool) -> Result<Option<Retried>> {
        let mut request = self.client.submit_request();
        let mut submission = request.get().init_submission();
        submission.set_retry_of(of.0);
        submission.set_failed_only(failed_only);
        let reply = request.send().promise.await?;
        let reply = reply.get()?;
        if reply.get_id() == 0 {
            return Ok(None);
        }
        let run = self.holding(RunId(reply.get_id()), reply.get_run()?);
        Ok(Some(Retried { run, taken_over: reply.get_taken_over() }))
    }

    /// The run of this id, or the one submitted last.
    ///
    /// # Errors
    /// When the scheduler is lost or knows no such run.
    pub async fn run(&self, id: Option<RunId>) -> Result<Run> {
        let mut request = self.client.run_request();
        request.get().set_id(id.map_or(0, |id| id.0));
        let reply = request.send().promise.await?;
        let run = reply.get()?.get_run()?;
        let id = match id {
            Some(id) => id,
            None => status_of(&run).await?.run,
        };
        Ok(self.holding(id, run))
    }

    fn holding(&self, id: RunId, run: rpc::run::Client) -> Run {
        Run { id, run, connection: Rc::clone(&self.connection) }
    }

    /// The runs that were submitted last, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn runs(&self, limit: u32) -> Result<Vec<RunSummary>> {
        let mut request = self.client.runs_request();
        request.get().set_limit(limit);
        let reply = request.send().promise.await?;
        let runs = reply.get()?.get_runs()?;
        runs.iter().map(|run| Ok(wire::read_run_summary(run)?)).collect()
    }

    /// The workers that are present.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn workers(&self) -> Result<Vec<WorkerStatus>> {
        let reply = self.client.workers_request().send().promise.await?;
        let workers = reply.get()?.get_workers()?;
        workers.iter().map(|worker| Ok(wire::read_worker_status(worker)?)).collect()
    }

    /// Ends the scheduler and all its workers.
    ///
    /// # Errors
    /// When the scheduler is lost before it has understood.
    pub async fn shutdown(&self) -> Result<()> {
        self.client.shutdown_request().send().promise.await?;
        Ok(())
    }
}

/// How long connecting and logging in may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a value that are asked for at once.
const VALUE_PART: u32 = 8 << 20;

/// How large a message from the scheduler may be, in words of 8 bytes. A scheduler is trusted.
const READ_LIMIT_WORDS: usize = 64 << 20;

async fn status_of(run: &rpc::run::Client) -> Result<RunStatus> {
    let reply = run.status_request().send().promise.await?;
    Ok(wire::read_run_status(reply.get()?.get_status()?)?)
}

/// A run of a scheduler.
#[derive(Clone)]
pub struct Run {
    id: RunId,
    run: rpc::run::Client,
    connection: Rc<Connection>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A part of a run's instances, in task and index order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstancePage {
    /// The instances.
    pub rows: Vec<InstanceRow>,
    /// Where to go on, when there are more.
    pub next: Option<InstanceId>,
}

/// A part of a run's output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// The pieces.
    pub chunks: Vec<LogChunk>,
    /// Where to go on; opaque.
    pub cursor: Vec<u8>,
    /// Whether there is more at present.
    pub more: bool,
}

/// How much of a run to ask about or to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// All of it.
    Run,
    /// A task, by name.
    Task(&'a str),
    /// An instance, by the task's name and the index.
    Instance(&'a str, u32),
}

impl<'a> Scope<'a> {
    fn on_the_wire(self) -> (&'a str, i64) {
        match self {
            Scope::Run => ("", -1),
            Scope::Task(task) => (task, -1),
            Scope::Instance(task, index) => (task, index.into()),
        }
    }
}

impl Run {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.id
    }

    /// Its state, by task.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn status(&self) -> Result<RunStatus> {
        status_of(&self.run).await
    }

    /// Subscribes to what happens. The first update tells everything, the others what changed; the
    /// last one has a state other than running.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn watch(&self) -> Result<Updates> {
        self.subscribe(false).await
    }

    /// The same, with the instances that have ended in each update. The first one says that there may be
    /// more, for which [`Run::results`] is to be asked.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn watch_instances(&self) -> Result<Updates> {
        self.subscribe(true).await
    }

    async fn subscribe(&self, detailed: bool) -> Result<Updates> {
        let (observer, updates) = crate::updates::channel();
        let mut request = self.run.watch_request();
        request.get().set_observer(observer);
        request.get().set_detailed(detailed);
        let reply = request.send().promise.await?;
        Ok(updates.subscribed(reply.get()?.get_subscription()?, Rc::clone(&self.connection)))
    }

    /// Cancels it, or a part of it; returns when the scheduler has understood, not when all ended.
    ///
    /// # Errors
    /// When the scheduler is lost or knows no such task or instance.
    pub async fn cancel(&self, scope: Scope<'_>) -> Result<()> {
        let mut request = self.run.cancel_request();
        let (task, index) = scope.on_the_wire();
        request.get().set_task(task);
        request.get().set_index(index);
        request.send().promise.await?;
        Ok(())
    }

    /// At most `limit` instances from `from` on, only the failed ones if so wished.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn instances(
        &self,
        from: InstanceId,
        limit: u32,
        failed_only: bool,
    ) -> Result<InstancePage> {
        let mut request = self.run.instances_request();
        let mut params = request.get();
        params.set_from_task(from.task.0);
        params.set_from_index(from.index);
        params.set_limit(limit);
        params.set_failed_only(failed_only);
        let reply = request.send().promise.await?;
        let reply = reply.get()?;
        let rows = reply.get_rows()?.iter().map(wire::read_instance_row);
        let next =
            InstanceId { task: TaskId(reply.get_next_task()), index: reply.get_next_index() };
        Ok(InstancePage {
            rows: rows.collect::<std::result::Result<_, _>>()?,
            next: reply.get_more().then_some(next),
        })
    }

    /// The value of an instance, see [`dagrun_core::payload`]; a long one in several calls.
    ///
    /// # Errors
    /// When the scheduler is lost or the instance has no value.
    pub async fn value(&self, task: &str, index: u32) -> Result<Vec<u8>> {
        let mut value = Vec::new();
        loop {
            let mut request = self.run.value_part_request();
            let mut params = request.get();
            params.set_task(task);
            params.set_index(index);
            params.set_offset(value.len() as u64);
            params.set_limit(VALUE_PART);
            let reply = request.send().promise.await?;
            let reply = reply.get()?;
            let part = reply.get_data()?;
            value.extend_from_slice(part);
            if part.is_empty() || value.len() as u64 >= reply.get_total() {
                return Ok(value);
            }
        }
    }

    /// Up to `limit` instances of a task from `first` on with their values; fewer when there are no
    /// more or the values are long.
    ///
    /// # Errors
    /// When the scheduler is lost or there is no such task.
    pub async fn results(
        &self,
        task: TaskId,
        first: u32,
        limit: u32,
    ) -> Result<Vec<InstanceResult>> {
        let mut request = self.run.results_request();
        let mut params = request.get();
        params.set_task(task.0);
        params.set_first(first);
        params.set_limit(limit);
        let reply = request.send().promise.await?;
        let results = reply.get()?.get_results()?;
        results.iter().map(|result| Ok(wire::read_result(result)?)).collect()
    }

    /// The next captured output after `cursor`, which is empty to begin with.
    ///
    /// # Errors
    /// When the scheduler is lost or knows no such task or instance.
    pub async fn logs(
        &self,
        scope: Scope<'_>,
        cursor: &[u8],
        failed_only: bool,
    ) -> Result<LogPage> {
        let mut request = self.run.logs_request();
        let (task, index) = scope.on_the_wire();
        let mut params = request.get();
        params.set_task(task);
        params.set_index(index);
        params.set_cursor(cursor);
        params.set_failed_only(failed_only);
        let reply = request.send().promise.await?;
        let reply = reply.get()?;
        let chunks = reply.get_chunks()?.iter().map(wire::read_log_chunk);
        Ok(LogPage {
            chunks: chunks.collect::<std::result::Result<_, _>>()?,
            cursor: reply.get_cursor()?.to_vec(),
            more: reply.get_more(),
        })
    }

    /// Why an instance is where it is, and how each of its attempts went: lines for people.
    ///
    /// # Errors
    /// When the scheduler is lost or knows no such instance.
    pub async fn explain(&self, task: &str, index: u32) -> Result<Vec<String>> {
        let mut request = self.run.explain_request();
        request.get().set_task(task);
        request.get().set_index(index);
        let reply = request.send().promise.await?;
        Ok(wire::read_text_list(reply.get()?.get_lines()?)?)
    }

    /// What was submitted.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn submission(&self) -> Result<Submission> {
        let reply = self.run.pipeline_request().send().promise.await?;
        Submission::read(reply.get()?.get_submission()?)
    }
}
