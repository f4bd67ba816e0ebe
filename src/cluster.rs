//! A scheduler and its workers that belong to this program: in its process, or as processes of the
//! same program.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Mutex;

use dagrun_core::engine::Scheme;
use dagrun_core::ids::RunId;
use dagrun_scheduler::SchedulerHandle;
use dagrun_scheduler::connection::{ConnectionError, Token};
use dagrun_worker::{ReaperConfig, WorkerHandle};
use futures::future::FutureExt;

use crate::client::Client;
use crate::dag::Dag;
use crate::processes::Processes;
use crate::run::Run;
use crate::session::Session;
use crate::{Error, Pending, rpc};

/// Why a cluster cannot be set up or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// There are no secrets to be had, or no such cluster.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The scheduler did not start.
    #[error("the scheduler did not start")]
    Scheduler(#[from] dagrun_scheduler::StartError),
    /// The worker did not start.
    #[error("the worker did not start")]
    Worker(#[from] dagrun_worker::StartError),
    /// Worker processes are started from this program, which would run it from the beginning.
    #[error("call dagrun::init() first thing in main(), before Cluster::processes")]
    NotInitialised,
    /// A worker process did not join in time.
    #[error("{missing} of {wanted} worker processes did not join within {seconds} s")]
    Missing {
        /// How many are missing.
        missing: u32,
        /// How many there should be.
        wanted: u32,
        /// How long was waited.
        seconds: u64,
    },
    /// The system refuses sockets, threads, directories or processes.
    #[error("the system refuses what a cluster needs")]
    System(#[from] std::io::Error),
}

/// What a cluster is made of. [`Cluster::builder`] begins one.
///
/// ```
/// let cluster = dagrun::Cluster::builder().slots(2).label("fast").resource("gpu", 1).start()?;
/// let workers = cluster.client().workers().wait()?;
/// assert_eq!((workers.len(), workers[0].slots), (1, 2));
/// # Ok::<(), dagrun::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ClusterBuilder {
    state_dir: Option<PathBuf>,
    workers: u32,
    processes: u32,
    pub(crate) worker: WorkerSettings,
    scheme: Scheme,
}

/// What each worker of a cluster is like.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkerSettings {
    pub(crate) slots: Option<u32>,
    pub(crate) labels: Vec<String>,
    pub(crate) memory: Option<u64>,
    pub(crate) resources: Vec<(String, u64)>,
}

impl WorkerSettings {
    pub(crate) fn slots(&self) -> u32 {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.slots.unwrap_or_else(|| u32::try_from(cores()).unwrap_or(1)).max(1)
    }
}

impl ClusterBuilder {
    /// Keeps the history, logs and long results in this directory, which later programs and the `dagrun`
    /// command can read; otherwise they go with the cluster.
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(dir.into());
        self
    }

    /// Attempts that each worker runs at once; without it, one for each core of the machine.
    pub fn slots(mut self, slots: u32) -> Self {
        self.worker.slots = Some(slots);
        self
    }

    /// Workers in this process, `w1`, `w2` and so on, each with its own slots and values; 1 unless told
    /// otherwise. Without meaning when there are worker processes.
    ///
    /// Several are for trying out what depends on workers; for speed, one with more slots is as good.
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Worker processes; with 0, which is the default, workers are in this process.
    pub fn processes(mut self, workers: u32) -> Self {
        self.processes = workers;
        self
    }

    /// A label of the workers, which tasks may ask for.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.worker.labels.push(label.into());
        self
    }

    /// Bytes of memory that each worker offers to tasks; without it, what the machine has. Long values take
    /// up to a quarter of it, and those that do not fit there go to disk.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.worker.memory = Some(bytes);
        self
    }

    /// A custom resource of each worker.
    pub fn resource(mut self, name: impl Into<String>, amount: u64) -> Self {
        self.worker.resources.push((name.into(), amount));
        self
    }

    /// How the scheduler picks among workers.
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// Starts it, and waits until all workers have joined.
    ///
    /// # Errors
    /// When the state directory cannot be used, the system has no more threads, sockets or processes, or a
    /// worker process does not join.
    pub fn start(self) -> Result<Cluster, Error> {
        Ok(self.set_up()?)
    }

    fn set_up(self) -> Result<Cluster, ClusterError> {
        if self.processes > 0 && !crate::program::is_initialised() {
            return Err(ClusterError::NotInitialised);
        }
        let (temporary, state_dir) = match &self.state_dir {
            Some(dir) => (None, dir.clone()),
            None => {
                let dir = tempfile::Builder::new().prefix("dagrun-").tempdir()?;
                let path = dir.path().to_owned();
                (Some(dir), path)
            }
        };
        let (client, worker) = (Token::random()?, Token::random()?);
        let mut config = dagrun_scheduler::Config::new(
            state_dir,
            client.bytes().to_vec(),
            worker.bytes().to_vec(),
        );
        config.scheme = self.scheme;
        if self.is_on_loopback() {
            config = config.on_loopback();
        }
        let mut parts = Parts {
            scheduler: Some(dagrun_scheduler::spawn(config)?),
            workers: Vec::new(),
            processes: None,
            temporary,
        };
        parts.add_workers(&self, &worker)?;
        let client = parts.client(client)?;
        let cluster = Cluster { client, parts: Mutex::new(parts) };
        if self.processes > 0 {
            crate::processes::all_joined(&cluster.client, self.processes)?;
        }
        Ok(cluster)
    }

    /// Whether workers reach the scheduler by TCP, and each other where one needs the values of
    /// another: a single one needs neither.
    fn is_on_loopback(&self) -> bool {
        self.processes > 0 || self.workers > 1
    }
}

/// A scheduler and workers that belong to this program, and end with it.
///
/// ```no_run
/// # fn main() -> Result<(), dagrun::Error> {
/// dagrun::init();
/// let here = dagrun::Cluster::embedded()?;
/// let apart = dagrun::Cluster::processes(4)?;
/// # let _ = (here, apart); Ok(())
/// # }
/// ```
///
/// Dropping it ends all that runs.
#[derive(Debug)]
pub struct Cluster {
    client: Client,
    parts: Mutex<Parts>,
}

#[derive(Debug)]
struct Parts {
    scheduler: Option<SchedulerHandle>,
    workers: Vec<WorkerHandle>,
    processes: Option<Processes>,
    /// Removed when all else has ended.
    temporary: Option<tempfile::TempDir>,
}

impl Parts {
    fn add_workers(&mut self, builder: &ClusterBuilder, token: &Token) -> Result<(), ClusterError> {
        let Some(scheduler) = &self.scheduler else { return Ok(()) };
        if !builder.is_on_loopback() {
            let config = worker_config(&builder.worker, String::new(), token);
            self.workers.push(dagrun_worker::spawn_on(config, |life| scheduler.host(life))?);
            return Ok(());
        }
        let address = scheduler.address().ok_or_else(|| std::io::Error::other("no address"))?;
        if builder.processes == 0 {
            for at in 1..=builder.workers {
                let connection = dagrun_worker::Connection::Tcp(address);
                let config = worker_config(&builder.worker, format!("w{at}"), token);
                self.workers.push(dagrun_worker::spawn(config, connection)?);
            }
            return Ok(());
        }
        let processes = Processes::start(builder.processes, address, token, &builder.worker)?;
        self.processes = Some(processes);
        Ok(())
    }

    fn client(&self, token: Token) -> Result<Client, ClusterError> {
        let Some(scheduler) = &self.scheduler else {
            return Err(std::io::Error::other("the scheduler has ended").into());
        };
        let line = crate::embedded::line_to(scheduler);
        let session = Session::open(move || {
            async move { Ok(rpc::Client::attach_line(line, token.bytes()).await?) }.boxed_local()
        });
        let session = session.map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Client::new(session))
    }

    fn end(&mut self) {
        if let Some(processes) = &self.processes {
            processes.expect_the_end();
        }
        for worker in &self.workers {
            worker.shutdown();
        }
        let processes = self.processes.take();
        if let Some(processes) = processes {
            processes.end();
        }
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        if let Some(scheduler) = self.scheduler.take() {
            scheduler.shutdown();
            scheduler.join();
        }
        self.temporary = None;
    }
}

/// How a worker of this program is set up.
pub(crate) fn worker_config(
    settings: &WorkerSettings,
    name: String,
    token: &Token,
) -> dagrun_worker::Config {
    dagrun_worker::Config {
        name,
        slots: settings.slots(),
        labels: settings.labels.clone(),
        memory: settings.memory,
        resources: settings.resources.clone(),
        token: token.bytes().to_vec(),
        reaper: reaper(),
        log_limit: dagrun_worker::DEFAULT_LOG_LIMIT,
        values: dagrun_worker::ValuesConfig::default(),
    }
}

/// The process that ends what a killed worker leaves behind: this program again, if it can be that.
fn reaper() -> Option<ReaperConfig> {
    let program = crate::program::is_initialised().then(std::env::current_exe)?.ok()?;
    Some(ReaperConfig { argv: vec![program.into(), OsString::from(crate::program::REAPER)] })
}

impl Cluster {
    /// A scheduler and one worker in this process, with a slot for each core. What it keeps on disk goes with
    /// it; see [`ClusterBuilder::state_dir`].
    ///
    /// ```
    /// let cluster = dagrun::Cluster::embedded()?;
    /// assert_eq!(cluster.client().workers().wait()?.len(), 1);
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the system has no more threads or sockets.
    pub fn embedded() -> Result<Cluster, Error> {
        Cluster::builder().start()
    }

    /// A scheduler in this process, and so many workers that are processes of the same program, with a
    /// slot for each core. One that dies is started again. [`crate::init`] must have been called.
    ///
    /// # Errors
    /// When [`crate::init`] was not called, or the system refuses what is needed.
    pub fn processes(workers: u32) -> Result<Cluster, Error> {
        Cluster::builder().processes(workers).start()
    }

    /// Begins to describe one.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder {
            state_dir: None,
            workers: 1,
            processes: 0,
            worker: WorkerSettings::default(),
            scheme: Scheme::default(),
        }
    }

    /// A client of it.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Starts a run of a graph.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn double(x: u64) -> u64 {
    /// #     2 * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(1).start()?;
    /// let dag = dagrun::Dag::new("double");
    /// let answer = dag.task(double, (21,));
    /// let run = cluster.submit(&dag)?;
    /// assert_eq!(run.result(&answer).wait()?, 42);
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Build`] when the graph cannot be run.
    pub fn submit(&self, dag: &Dag) -> Result<Run, Error> {
        self.client.start(dag)
    }

    /// A run that was submitted before, also by another program to the same state directory.
    pub fn run(&self, id: RunId) -> Pending<Run> {
        self.client.run(id)
    }

    /// Ends the workers with all that they run, then the scheduler, and waits for that.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.client.leave();
        if let Ok(mut parts) = self.parts.lock() {
            parts.end();
        }
    }
}
