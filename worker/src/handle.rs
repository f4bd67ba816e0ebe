//! Workers, as seen by whoever starts them: on a thread of their own, or on an existing thread that
//! speaks RPC.

use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;

use dagrun_schema::dagrun_capnp::bootstrap;
use futures::future::LocalBoxFuture;
use tokio::sync::mpsc;

use crate::session::{Accepted, Config, Connection, EndReason, StartError, Way, join_scheduler};

/// A running worker.
///
/// Dropping the handle and its stoppers shuts the worker down without waiting for it.
#[derive(Debug)]
pub struct WorkerHandle {
    id: u32,
    name: String,
    stop: mpsc::UnboundedSender<()>,
    /// Closed when it has ended, at the latest.
    ended: std_mpsc::Receiver<EndReason>,
    /// `None` when it runs on an existing thread.
    thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    /// The number that the scheduler gave it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its name, as the scheduler set it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks it to end: attempts that run are ended, all is reported, then it leaves.
    pub fn shutdown(&self) {
        let _ = self.stop.send(());
    }

    /// Something that asks it to end while another thread waits in [`WorkerHandle::join`].
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Waits until it has ended and nothing of it is left.
    #[must_use]
    pub fn join(self) -> EndReason {
        let reason = self.ended.recv().unwrap_or(EndReason::Broken);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
        reason
    }
}

/// Asks a worker to end, from any thread.
#[derive(Clone, Debug)]
pub struct Stopper(mpsc::UnboundedSender<()>);

impl Stopper {
    /// The same as [`WorkerHandle::shutdown`].
    pub fn stop(&self) {
        let _ = self.0.send(());
    }
}

/// Starts a worker on a thread of its own and waits until the scheduler has accepted it.
///
/// The scheduler must not depend on the calling thread for that.
///
/// # Errors
/// When the scheduler cannot be reached or refuses, or the system has no threads left.
pub fn spawn(config: Config, connection: Connection) -> Result<WorkerHandle, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::System)?;
    let (starting, life) = Starting::new();
    let thread = std::thread::Builder::new()
        .name("worker".into())
        .spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, life.live(config, Way::Line(connection)));
        })
        .map_err(StartError::System)?;
    starting.wait(Some(thread))
}

/// The work of a worker, to be run on a thread that already speaks RPC, within a
/// [`tokio::task::LocalSet`]. It is given the bootstrap capability of a connection to the
/// scheduler.
pub type Life = Box<dyn FnOnce(bootstrap::Client) -> LocalBoxFuture<'static, ()> + Send>;

/// Starts a worker on a thread that `host` brings it to, the scheduler's own, and waits until the
/// scheduler has accepted it.
///
/// Neither the host nor the scheduler may depend on the calling thread for that.
///
/// # Errors
/// When the scheduler cannot be reached or refuses, or the system has no threads left.
pub fn spawn_on(config: Config, host: impl FnOnce(Life)) -> Result<WorkerHandle, StartError> {
    let (starting, life) = Starting::new();
    host(Box::new(move |bootstrap| Box::pin(life.live(config, Way::Direct(bootstrap)))));
    starting.wait(None)
}

/// A worker, as seen by whoever starts it.
struct Starting {
    answered: std_mpsc::Receiver<Accepted>,
    stop: mpsc::UnboundedSender<()>,
    ended: std_mpsc::Receiver<EndReason>,
}

/// The same, as seen by the worker.
struct Started {
    answer: std_mpsc::SyncSender<Accepted>,
    stopped: mpsc::UnboundedReceiver<()>,
    end: std_mpsc::SyncSender<EndReason>,
}

impl Starting {
    fn new() -> (Starting, Started) {
        let (answer, answered) = std_mpsc::sync_channel(1);
        let (stop, stopped) = mpsc::unbounded_channel();
        let (end, ended) = std_mpsc::sync_channel(1);
        (Starting { answered, stop, ended }, Started { answer, stopped, end })
    }

    fn wait(self, thread: Option<JoinHandle<()>>) -> Result<WorkerHandle, StartError> {
        let Starting { answered, stop, ended } = self;
        let (id, name) = answered.recv().unwrap_or(Err(StartError::Silent))?;
        Ok(WorkerHandle { id, name, stop, ended, thread })
    }
}

impl Started {
    async fn live(self, config: Config, way: Way) {
        let Started { answer, stopped, end } = self;
        let reason = match join_scheduler(config, way).await {
            Ok(joined) => joined.serve(&answer, stopped).await,
            Err(error) => {
                let reason = error.to_string();
                let _ = answer.send(Err(error));
                EndReason::ConnectionLost(reason)
            }
        };
        let _ = end.send(reason);
    }
}
