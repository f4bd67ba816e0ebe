//! A scheduler in this program and the workers that belong to it: how they start, and in which order
//! they end. What a program asks of them is [`crate::Cluster`]'s, or [`crate::rpc`]'s.

use std::io;

use dagrun_scheduler::SchedulerHandle;
use dagrun_scheduler::connection::Token;
use dagrun_worker::WorkerHandle;
use tokio::io::DuplexStream;

use crate::cluster::ClusterBuilder;
use crate::error::ClusterError;
use crate::processes::Processes;
use crate::rpc::{Client, ClientError};
use crate::worker_args::worker_config;

/// Bytes on their way between a scheduler and a peer in the same process, in each direction.
const LINE: usize = 256 << 10;

/// A scheduler and its workers, for programs that speak the protocol themselves ([`crate::rpc`]).
///
/// Dropping it ends them and waits for that; [`Embedded::shutdown`] does so without blocking.
#[derive(Debug)]
pub struct Embedded {
    scheduler: Option<SchedulerHandle>,
    workers: Vec<WorkerHandle>,
    processes: Option<Processes>,
    token: Token,
    /// Removed when all else has ended.
    _temporary: Option<tempfile::TempDir>,
}

impl Embedded {
    /// Starts the scheduler and the workers. Those in this process have joined when this returns,
    /// those that are processes may still be on their way.
    ///
    /// # Errors
    /// When the state directory cannot be used, [`crate::init`] was not called although there are to
    /// be processes, or the system has no more threads, sockets or processes.
    pub fn start(builder: &ClusterBuilder) -> Result<Embedded, ClusterError> {
        if builder.processes > 0 && !crate::program::is_initialised() {
            return Err(ClusterError::NotInitialised);
        }
        let (temporary, state_dir) = match &builder.state_dir {
            Some(dir) => (None, dir.clone()),
            None => {
                let dir = tempfile::Builder::new().prefix("dagrun-").tempdir()?;
                let path = dir.path().to_owned();
                (Some(dir), path)
            }
        };
        let (token, worker) = (Token::random()?, Token::random()?);
        let (client, worker_bytes) = (token.bytes().to_vec(), worker.bytes().to_vec());
        let mut config = dagrun_scheduler::Config::new(state_dir, client, worker_bytes);
        config.scheme = builder.scheme;
        config.shared = builder.state_dir.is_some();
        if builder.is_on_loopback() {
            config = config.on_loopback();
        }
        let mut embedded = Embedded {
            scheduler: Some(dagrun_scheduler::spawn(config)?),
            workers: Vec::new(),
            processes: None,
            token,
            _temporary: temporary,
        };
        embedded.add_workers(builder, &worker)?;
        Ok(embedded)
    }

    fn add_workers(&mut self, builder: &ClusterBuilder, token: &Token) -> Result<(), ClusterError> {
        let Some(scheduler) = &self.scheduler else { return Ok(()) };
        if builder.workers == 0 && builder.processes == 0 {
            return Ok(());
        }
        let config = |name: String| {
            let mut config = worker_config(name, builder.offer.clone(), token, builder.log_limit);
            config.enforce_memory = builder.enforce_memory.unwrap_or(config.enforce_memory);
            config
        };
        if !builder.is_on_loopback() {
            // On the scheduler's thread; its attempts have threads of their own.
            let worker =
                dagrun_worker::spawn_on(config(String::new()), |life| scheduler.host(life));
            self.workers.push(worker?);
            return Ok(());
        }
        let address = scheduler.address().ok_or_else(|| io::Error::other("no address"))?;
        if builder.processes > 0 {
            let (offer, enforce) = (&builder.offer, builder.enforce_memory);
            let processes =
                Processes::start(builder.processes, address, token, offer, enforce, builder.grace)?;
            self.processes = Some(processes);
            return Ok(());
        }
        for at in 1..=builder.workers {
            let connection = dagrun_worker::Connection::Tcp(address);
            self.workers.push(dagrun_worker::spawn(config(format!("w{at}")), connection)?);
        }
        Ok(())
    }

    /// A client of the scheduler. Must be called on a [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// When the scheduler has ended.
    pub async fn client(&self) -> Result<Client, ClientError> {
        let (line, token) = self.line();
        Client::attach_line(line, token.bytes()).await
    }

    /// The workers that are processes.
    pub(crate) fn processes(&self) -> Option<&Processes> {
        self.processes.as_ref()
    }

    /// A line to the scheduler, and what a client has to present on it.
    pub(crate) fn line(&self) -> (DuplexStream, Token) {
        let (ours, theirs) = tokio::io::duplex(LINE);
        if let Some(scheduler) = &self.scheduler {
            scheduler.attach_line(theirs);
        }
        (ours, self.token.clone())
    }

    /// Ends the workers with everything that they run, then the scheduler. Clients should have been
    /// dropped; the scheduler waits a moment for those that have not.
    pub async fn shutdown(self) {
        // Not on this thread, which has yet to report to the scheduler that its clients have left.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

impl Drop for Embedded {
    /// The scheduler is asked first: it stops all workers at once, so that none is given what another
    /// gives back, and it takes down their last reports before it ends itself.
    fn drop(&mut self) {
        if let Some(processes) = &self.processes {
            // They are not to be started again.
            processes.expect_the_end();
        }
        let Some(scheduler) = self.scheduler.take() else { return };
        scheduler.shutdown();
        if let Some(processes) = self.processes.take() {
            processes.end();
        }
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        scheduler.join();
    }
}
