//! The client side of the protocol: submit runs, watch them, ask about them, cancel them.
//!
//! A [`Client`] lives on the [`tokio::task::LocalSet`] that made it and speaks to one scheduler,
//! over TCP or over a line in memory to a scheduler in the same process (see [`Embedded`]).
//! [`crate::Client`] is the same for programs that want neither: it may be used from any thread.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let loaded = dagrun::load("pipeline.toml".as_ref(), &[])?;
//! let cluster = dagrun::rpc::Embedded::start(&dagrun::Cluster::builder().state_dir(".dagrun"))?;
//! let client = cluster.client().await?;
//! let run = client.submit(&loaded.submission()?).await?;
//! let mut updates = run.watch().await?;
//! while let Some(update) = updates.next().await {
//!     println!("{:?}", update.state);
//! }
//! # Ok(())
//! # }
//! ```

mod error;
mod rows;
mod run;
mod updates;

use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use dagrun_core::ids::{RunId, TaskId};
use dagrun_core::status::{Refused, RunSummary, WorkerStatus};
use dagrun_schema::wire::{self, Message as _, WireError};
use dagrun_schema::{PROTOCOL_VERSION, dagrun_capnp as rpc};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

pub use crate::embedded::Embedded;
pub use dagrun_schema::wire::{InstancePage, LogPage, PipelineFile, Scope, Submission};
pub use error::ClientError;
pub use rows::Wanted;
pub use run::Run;
pub use updates::Updates;

use error::in_its_words;
use run::status_of;

type Result<T> = std::result::Result<T, ClientError>;

/// What of a run is submitted once more: by default all of it.
#[derive(Clone, Debug, Default)]
pub struct Retry {
    /// Whether instances that succeeded count as succeeded, with their values and outputs, and are not
    /// run again, except what has its data from one that runs.
    pub failed_only: bool,
    /// Instances that run whether they have succeeded or not, with what has its data from them; nothing
    /// else runs then but with `failed_only` what had not succeeded.
    pub selected: Vec<(TaskId, Range<u32>)>,
    /// What to submit in place of what the run was submitted with. Its instances are those of before
    /// where the same is done with the same parameters.
    pub with: Option<Submission>,
}

impl Retry {
    /// What had not succeeded.
    #[must_use]
    pub fn failed() -> Retry {
        Retry { failed_only: true, ..Retry::default() }
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
    /// When the scheduler is lost or refuses the token.
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
        submission.write(request.get().init_submission());
        let reply = request.send().promise.await?;
        let reply = reply.get()?;
        Ok(self.holding(RunId(reply.get_id()), reply.get_run()?))
    }

    /// Submits once more what a run was submitted with that has ended; `None` when nothing of it is left
    /// to be done.
    ///
    /// # Errors
    /// When the scheduler is lost, knows no such run, or the run has not ended.
    pub async fn retry(&self, of: RunId, how: &Retry) -> Result<Option<Retried>> {
        let mut request = self.client.retry_request();
        let mut params = request.get();
        params.set_id(of.0);
        params.set_failed_only(how.failed_only);
        let length = u32::try_from(how.selected.len()).unwrap_or(u32::MAX);
        let mut selected = params.reborrow().init_selected(length);
        for (at, (task, range)) in (0..length).zip(&how.selected) {
            let mut to = selected.reborrow().get(at);
            to.set_task(task.0);
            to.set_first(range.start);
            to.set_count(range.end.saturating_sub(range.start));
        }
        if let Some(with) = &how.with {
            with.write(params.init_with());
        }
        let reply = request.send().promise.await?;
        let begun = match reply.get()?.get_retried()?.which().map_err(WireError::from)? {
            rpc::retried::Nothing(()) => return Ok(None),
            rpc::retried::Begun(begun) => begun,
        };
        let run = self.holding(RunId(begun.get_id()), begun.get_run()?);
        Ok(Some(Retried { run, taken_over: begun.get_taken_over() }))
    }

    /// Goes on with a run that was interrupted, by a signal, a kill or a power cut: the same run, of which
    /// what succeeded and failed stays.
    ///
    /// # Errors
    /// When the scheduler is lost, knows no such run, or the run has ended or runs.
    pub async fn resume(&self, run: RunId) -> Result<Run> {
        let mut request = self.client.resume_request();
        request.get().set_id(run.0);
        let reply = request.send().promise.await?;
        Ok(self.holding(run, reply.get()?.get_run()?))
    }

    /// Takes a run out of the history.
    ///
    /// # Errors
    /// When the scheduler is lost, knows no such run, or the run has not ended.
    pub async fn forget(&self, run: RunId) -> Result<()> {
        let mut request = self.client.forget_request();
        request.get().set_id(run.0);
        request.send().promise.await?;
        Ok(())
    }

    /// The run of this id, or the one submitted last.
    ///
    /// # Errors
    /// When the scheduler is lost or knows no such run.
    pub async fn run(&self, id: Option<RunId>) -> Result<Run> {
        let mut request = self.client.run_request();
        let mut which = request.get().init_which();
        match id {
            None => which.set_last(()),
            Some(id) => which.set_id(id.0),
        }
        let reply = request.send().promise.await?;
        let run = reply.get()?.get_run()?;
        let id = match id {
            Some(id) => id,
            None => status_of(&run).await?.run,
        };
        Ok(self.holding(id, run))
    }

    fn holding(&self, id: RunId, run: rpc::run::Client) -> Run {
        Run::new(id, run, Rc::clone(&self.connection))
    }

    /// The runs that were submitted last, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn runs(&self, limit: u32) -> Result<Vec<RunSummary>> {
        let mut request = self.client.runs_request();
        request.get().set_limit(limit);
        let reply = request.send().promise.await?;
        Ok(wire::read_list(reply.get()?.get_runs()?)?)
    }

    /// The workers that are present.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn workers(&self) -> Result<Vec<WorkerStatus>> {
        let reply = self.client.workers_request().send().promise.await?;
        Ok(wire::read_list(reply.get()?.get_workers()?)?)
    }

    /// What the scheduler has refused since its start.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn refused(&self) -> Result<Refused> {
        let reply = self.client.refused_request().send().promise.await?;
        Ok(Refused::read(reply.get()?.get_refused()?)?)
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

/// How large a message from the scheduler may be, in words of 8 bytes. A scheduler is trusted.
const READ_LIMIT_WORDS: usize = 64 << 20;
