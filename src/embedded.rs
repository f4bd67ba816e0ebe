//! A scheduler and a worker in this process: the same as on a cluster, over lines in memory.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use dagrun_scheduler::connection::{ConnectionError, Token};
use dagrun_scheduler::{SchedulerHandle, StartError as SchedulerError};
use dagrun_worker::{ReaperConfig, StartError as WorkerError, WorkerHandle};

use tokio::io::DuplexStream;

use crate::rpc::{Client, ClientError};

/// Bytes on their way between a scheduler and a peer in the same process, in each direction.
const LINE: usize = 256 << 10;

/// What an embedded cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// Where the history, the logs and the files of runs are kept.
    pub state_dir: PathBuf,
    /// How many attempts may run at once; without a number as many as there are cores.
    pub slots: Option<u32>,
    /// The labels of the worker.
    pub labels: Vec<String>,
    /// The memory of the worker in bytes; none: what the machine or its control group has.
    pub memory: Option<u64>,
    /// The custom resources of the worker, by name.
    pub resources: Vec<(String, u64)>,
    /// Program and arguments of the process that ends what a killed worker left behind: a program
    /// whose `main` calls [`dagrun_worker::reaper::run`] when it sees these arguments. Empty for
    /// none.
    pub reaper: Vec<OsString>,
}

impl EmbeddedConfig {
    /// With its state in this directory, a slot for each core and no reaper.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> EmbeddedConfig {
        EmbeddedConfig {
            state_dir: state_dir.into(),
            slots: None,
            labels: Vec::new(),
            memory: None,
            resources: Vec::new(),
            reaper: Vec::new(),
        }
    }
}

/// Why an embedded cluster could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// There are no secrets to be had.
    #[error(transparent)]
    Token(#[from] ConnectionError),
    /// The scheduler did not start.
    #[error("the scheduler did not start")]
    Scheduler(#[from] SchedulerError),
    /// The worker did not start.
    #[error("the worker did not start")]
    Worker(#[from] WorkerError),
    /// There are no sockets to be had.
    #[error("no sockets")]
    Socket(#[from] io::Error),
}

/// A scheduler and a worker in this process.
///
/// Dropping it ends both, and waits for that; [`Embedded::shutdown`] does so without blocking.
#[derive(Debug)]
pub struct Embedded {
    parts: Option<Parts>,
    token: Token,
}

#[derive(Debug)]
struct Parts {
    scheduler: SchedulerHandle,
    worker: WorkerHandle,
}

impl Embedded {
    /// Starts a scheduler and a worker on threads of their own.
    ///
    /// # Errors
    /// When the state directory cannot be used, or the system has no more threads or sockets.
    pub fn start(config: EmbeddedConfig) -> Result<Embedded, EmbeddedError> {
        let (client_token, worker_token) = (Token::random()?, Token::random()?);
        let scheduler = dagrun_scheduler::spawn(dagrun_scheduler::Config::new(
            config.state_dir.clone(),
            client_token.bytes().to_vec(),
            worker_token.bytes().to_vec(),
        ))?;
        match start_worker(&scheduler, &worker_token, config) {
            Ok(worker) => {
                Ok(Embedded { parts: Some(Parts { scheduler, worker }), token: client_token })
            }
            Err(error) => {
                scheduler.shutdown();
                scheduler.join();
                Err(error)
            }
        }
    }

    /// A client of the scheduler. Must be called on a [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// When the scheduler is gone.
    pub async fn client(&self) -> Result<Client, ClientError> {
        let Some(parts) = &self.parts else { return Err(ClientError::Lost) };
        Client::attach_line(line_to(&parts.scheduler), self.token.bytes()).await
    }

    /// Ends the worker with everything that it runs, then the scheduler. Clients should have been
    /// dropped; the scheduler waits a moment for those that have not.
    pub async fn shutdown(mut self) {
        let Some(parts) = self.parts.take() else { return };
        // Not on this thread: it still has to tell the scheduler that its clients are gone.
        let _ = tokio::task::spawn_blocking(move || parts.end()).await;
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            parts.end();
        }
    }
}

impl Parts {
    fn end(self) {
        self.scheduler.shutdown();
        let _ = self.worker.join();
        self.scheduler.join();
    }
}

/// A line to a scheduler in this process.
pub(crate) fn line_to(scheduler: &SchedulerHandle) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(LINE);
    scheduler.attach_line(theirs);
    ours
}

fn start_worker(
    scheduler: &SchedulerHandle,
    token: &Token,
    config: EmbeddedConfig,
) -> Result<WorkerHandle, EmbeddedError> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let config = dagrun_worker::Config {
        name: String::new(),
        slots: config.slots.unwrap_or_else(|| u32::try_from(cores()).unwrap_or(1)),
        labels: config.labels,
        memory: config.memory,
        resources: config.resources,
        token: token.bytes().to_vec(),
        reaper: (!config.reaper.is_empty()).then_some(ReaperConfig { argv: config.reaper }),
        log_limit: dagrun_worker::DEFAULT_LOG_LIMIT,
        values: dagrun_worker::ValuesConfig::default(),
    };
    // On the scheduler's thread; its attempts have threads of their own.
    Ok(dagrun_worker::spawn_on(config, |life| scheduler.host(life))?)
}
