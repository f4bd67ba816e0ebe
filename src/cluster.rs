//! A scheduler and its workers that belong to this program: in its process, or as processes of the
//! same program.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use dagrun_core::engine::Scheme;
use dagrun_core::ids::RunId;
use dagrun_core::offer::Offer;
use dagrun_worker::function::TaskFn;
use futures::future::FutureExt;

use crate::client::Client;
use crate::dag::{Dag, IntoArgs, MapSource};
use crate::embedded::Embedded;
use crate::mapped::Mapped;
use crate::run::Run;
use crate::session::Session;
use crate::{Error, Options, Pending, rpc};

/// What a cluster is made of. [`Cluster::builder`] begins one.
///
/// ```
/// let cluster = dagrun::Cluster::builder().slots(2).label("fast").resource("gpu", 1).start()?;
/// let workers = cluster.client().workers().wait()?;
/// assert_eq!((workers.len(), workers[0].offer.slots), (1, 2));
/// # Ok::<(), dagrun::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ClusterBuilder {
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) workers: u32,
    pub(crate) processes: u32,
    /// Of each worker.
    pub(crate) offer: Offer,
    pub(crate) scheme: Scheme,
    /// What a worker process gets to end in.
    pub(crate) grace: Duration,
    /// Bytes of each stream of an attempt that workers in this process log.
    pub(crate) log_limit: usize,
    /// Whether commands that use more memory than they asked for are ended.
    pub(crate) enforce_memory: Option<bool>,
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
        self.offer.slots = slots.max(1);
        self
    }

    /// Workers in this process, `w1`, `w2` and so on, each with its own slots and values; 1 unless set.
    /// With 0 there are none, and what is submitted waits. Without meaning when there are worker processes.
    ///
    /// Several are for trying out what depends on workers; for speed, one with more slots is as good.
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// Worker processes; with 0, which is the default, workers are in this process.
    pub fn processes(mut self, workers: u32) -> Self {
        self.processes = workers;
        self
    }

    /// A label of the workers, which tasks may ask for.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.offer.labels.push(label.into());
        self
    }

    /// Bytes of memory that each worker offers to tasks; without it, what the machine has. Long values take
    /// up to a quarter of it, and those that do not fit there go to disk.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.offer.memory = bytes;
        self
    }

    /// A custom resource of each worker; of several amounts of one, the last counts.
    pub fn resource(mut self, name: impl Into<String>, amount: u64) -> Self {
        self.offer.set_resource(name, amount);
        self
    }

    /// All that each worker offers, in place of what was set so far.
    pub fn offer(mut self, offer: Offer) -> Self {
        self.offer = offer;
        self
    }

    /// How the scheduler picks among workers.
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// How many bytes of each stream of an attempt are logged by workers in this process: 1 MiB unless set, of
    /// longer ones the beginning and the end.
    pub fn log_limit(mut self, bytes: usize) -> Self {
        self.log_limit = bytes;
        self
    }

    /// Whether the process of a command that uses more memory than its task asked for is ended; if not, that
    /// is noted in its log. Unless set, below a batch system. Functions are not measured.
    pub fn enforce_memory(mut self, enforce: bool) -> Self {
        self.enforce_memory = Some(enforce);
        self
    }

    /// How long a worker process may take to end when the cluster does; 1 s unless set. It is killed then,
    /// with all that it runs. Workers in this process cannot be killed: the end of the cluster waits for their
    /// functions, which can ask [`Context::is_cancelled`](crate::Context::is_cancelled).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Starts it, and waits until all workers have joined.
    ///
    /// # Errors
    /// When the state directory cannot be used, the system has no more threads, sockets or processes, or a
    /// worker process does not join.
    pub fn start(self) -> Result<Cluster, Error> {
        let embedded = Embedded::start(&self)?;
        let (line, token) = embedded.line();
        let deaths = embedded.processes().map(crate::processes::Processes::deaths);
        let connect = move || {
            async move { Ok(rpc::Client::attach_line(line, token.bytes()).await?) }.boxed_local()
        };
        let session = Session::open(connect, deaths)?;
        let client = Client::new(session);
        if let Some(processes) = embedded.processes() {
            crate::processes::all_joined(&client, processes, self.processes)
                .inspect_err(|_| client.leave())?;
        }
        Ok(Cluster { client, _embedded: Mutex::new(embedded) })
    }

    /// Whether workers reach the scheduler by TCP, and each other where one needs the values of
    /// another: a single one needs neither.
    pub(crate) fn is_on_loopback(&self) -> bool {
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
/// Dropping it ends all that runs, and waits for that: see [`ClusterBuilder::grace`].
#[derive(Debug)]
pub struct Cluster {
    client: Client,
    /// Ends when this is dropped.
    _embedded: Mutex<Embedded>,
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
            offer: dagrun_worker::whole_machine(),
            scheme: Scheme::default(),
            grace: Duration::from_secs(1),
            log_limit: dagrun_worker::DEFAULT_LOG_LIMIT,
            enforce_memory: None,
        }
    }

    /// A client of it.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Starts a run of a graph; see [`Client::submit`].
    ///
    /// # Errors
    /// [`Error::Build`] when the graph cannot be run.
    pub fn submit(&self, dag: &Dag) -> Pending<Run> {
        self.client.submit(dag)
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`Cluster::submit`].
    pub fn submit_with(&self, dag: &Dag, options: &Options) -> Pending<Run> {
        self.client.submit_with(dag, options)
    }

    /// Calls a function once; see [`Client::call`].
    ///
    /// # Errors
    /// [`Error::Failed`] when it fails, [`Error::Client`] when no worker has the function.
    pub fn call<F, A>(&self, function: F, args: A) -> Pending<F::Output>
    where
        F: TaskFn,
        A: IntoArgs<F::Args>,
    {
        self.client.call(function, args)
    }

    /// Calls a function for each item; see [`Client::map`].
    pub fn map<F, I>(&self, function: F, items: I) -> Mapped<F, I::IntoIter>
    where
        F: TaskFn,
        I: IntoIterator,
        Vec<I::Item>: MapSource<F::Args>,
    {
        self.client.map(function, items)
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
        // First, or the scheduler would wait for this client.
        self.client.leave();
    }
}
