//! A client for programs: runs of graphs, and functions called without one.

use std::collections::VecDeque;
use std::rc::Rc;

use dagrun_core::ids::RunId;
use dagrun_core::pipeline::Pipeline;
use dagrun_core::status::{RunSummary, WorkerStatus};
use dagrun_scheduler::connection::{ClusterDir, Role};
use dagrun_worker::function::TaskFn;
use futures::future::FutureExt;
use serde::Serialize;

use crate::dag::{ArrayHandle, Dag, IntoArgs};
use crate::error::ClusterError;
use crate::results::Results;
use crate::rpc::{self, Submission};
use crate::run::Run;
use crate::session::{Inside, Session};
use crate::{Error, Pending};

/// Calls that [`Client::map`] lets wait or run unless said otherwise.
const OUTSTANDING: usize = 16_384;
/// Calls of the first run of a map; each further run has twice as many, up to a part of those that may be
/// outstanding.
const FIRST_BATCH: usize = 64;

/// A connection to a scheduler. Clones share it.
///
/// ```no_run
/// #[dagrun::task]
/// fn double(x: u64) -> u64 {
///     2 * x
/// }
///
/// fn main() -> Result<(), dagrun::Error> {
///     dagrun::init();
///     let cluster = dagrun::Cluster::embedded()?;
///     let client = cluster.client();
///     assert_eq!(client.submit(double, (21,))?.wait()?, 42);
///     for doubled in client.map(double, 0..1_000_000) {
///         println!("{}", doubled?);
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Client {
    session: std::sync::Arc<std::sync::Mutex<Option<Session>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(session: Session) -> Client {
        Client { session: std::sync::Arc::new(std::sync::Mutex::new(Some(session))) }
    }

    /// Connects to the cluster of this name, as `dagrun cluster start` makes it.
    ///
    /// ```no_run
    /// let client = dagrun::Client::connect("default")?;
    /// for worker in client.workers().wait()? {
    ///     println!("{}: {} slots", worker.name, worker.offer.slots);
    /// }
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such cluster, or its scheduler cannot be reached.
    pub fn connect(cluster: &str) -> Result<Client, Error> {
        let read = || ClusterDir::of(cluster)?.read(Role::Client);
        let connection = read().map_err(ClusterError::Connection)?;
        let session = Session::open(move || {
            async move {
                let token = connection.token.bytes();
                Ok(rpc::Client::connect_tcp(connection.address, token).await?)
            }
            .boxed_local()
        })?;
        Ok(Client::new(session))
    }

    pub(crate) fn session(&self) -> Result<Session, Error> {
        let session = self.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        session.clone().ok_or(Error::Closed)
    }

    /// Lets go of the connection, for all clones: what is asked for from now on is [`Error::Closed`].
    pub(crate) fn leave(&self) {
        let session = self.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(session) = session {
            session.close();
        }
    }

    /// Starts a run of a graph.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn double(x: u64) -> u64 {
    /// #     2 * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(1).start()?;
    /// # let client = cluster.client();
    /// let dag = dagrun::Dag::new("double");
    /// let answer = dag.task(double, (21,));
    /// let run = client.start(&dag)?;
    /// assert_eq!(run.result(&answer).wait()?, 42);
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Build`] when the graph cannot be run, [`Error::Client`] when the scheduler refuses it.
    pub fn start(&self, dag: &Dag) -> Result<Run, Error> {
        self.start_with(dag, &Options::default())
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`Client::start`].
    pub fn start_with(&self, dag: &Dag, options: &Options) -> Result<Run, Error> {
        self.start_pipeline(dag.pipeline()?, options)
    }

    /// Starts a run of a pipeline, as [`crate::load`] and [`Dag::pipeline`] make it.
    ///
    /// ```no_run
    /// # fn example(client: &dagrun::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use dagrun::Options;
    /// let loaded = dagrun::load("prices.toml".as_ref(), &[])?;
    /// let options = Options { base_dir: Some(loaded.base_dir), ..Options::default() };
    /// let run = client.start_pipeline(loaded.pipeline, &options)?;
    /// let best: f64 = run.value("best", 0).wait()?;
    /// # let _ = best; Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Client`] when the scheduler refuses it.
    pub fn start_pipeline(&self, pipeline: Pipeline, options: &Options) -> Result<Run, Error> {
        self.begin(pipeline, options)?.wait()
    }

    /// Asks for a run without waiting until it has been taken.
    fn begin(&self, pipeline: Pipeline, options: &Options) -> Result<Pending<Run>, Error> {
        let base_dir = match &options.base_dir {
            Some(dir) => dir.clone(),
            None => std::env::current_dir().map_err(ClusterError::System)?,
        };
        let submission =
            Submission { pipeline, base_dir, seed: options.seed, fail_fast: options.fail_fast };
        let session = self.session()?;
        let submitted = session.call(move |inside: Rc<Inside>| async move {
            let run = inside.client.submit(&submission).await?;
            let id = run.id();
            inside.hold_new(run).await?;
            Ok(id)
        });
        Ok(submitted.map(move |id| Ok(Run::new(id, session))))
    }

    /// Asks for a run; all that is wrong comes with the answer.
    pub(crate) fn starting(&self, dag: &Dag) -> Pending<Run> {
        let begun =
            dag.pipeline().map_err(Error::from).and_then(|p| self.begin(p, &Options::default()));
        begun.unwrap_or_else(|error| Pending::new(std::future::ready(Err(error))))
    }

    /// A run that was submitted before, by this program or another. Values are asked for by name.
    ///
    /// ```no_run
    /// # fn example(client: &dagrun::Client) -> Result<(), dagrun::Error> {
    /// for summary in client.runs(10).wait()? {
    ///     let run = client.run(summary.run).wait()?;
    ///     println!("{}: {:?}", run.id(), run.progress().wait()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn run(&self, id: RunId) -> Pending<Run> {
        match self.session() {
            Ok(session) => {
                let run = session.clone();
                session.call(move |inside: Rc<Inside>| async move {
                    inside.hold(id).await?;
                    // Made here, so that it is let go of even when nobody waits for it any more.
                    Ok(Run::new(id, run))
                })
            }
            Err(error) => Pending::new(std::future::ready(Err(error))),
        }
    }

    /// The runs that were submitted last, newest first.
    pub fn runs(&self, limit: u32) -> Pending<Vec<RunSummary>> {
        self.ask(move |inside| async move { Ok(inside.client.runs(limit).await?) })
    }

    /// The workers that are present.
    pub fn workers(&self) -> Pending<Vec<WorkerStatus>> {
        self.ask(|inside| async move { Ok(inside.client.workers().await?) })
    }

    fn ask<T, F, A>(&self, ask: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(Rc<Inside>) -> A + Send + 'static,
        A: Future<Output = Result<T, Error>> + 'static,
    {
        match self.session() {
            Ok(session) => session.call(ask),
            Err(error) => Pending::new(std::future::ready(Err(error))),
        }
    }

    /// Calls a function once, wherever there is room. The call goes on whether or not its value is waited for.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn double(x: u64) -> u64 {
    /// #     2 * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(1).start()?;
    /// # let client = cluster.client();
    /// let answer = client.submit(double, (21,))?;
    /// assert_eq!(answer.wait()?, 42);
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the scheduler refuses it: no worker has the function.
    pub fn submit<F, A>(&self, function: F, args: A) -> Result<Pending<F::Output>, Error>
    where
        F: TaskFn,
        A: IntoArgs<F::Args>,
    {
        let dag = Dag::new(F::NAME);
        let handle = dag.task(function, args);
        let run = self.start(&dag)?;
        let result = run.result(&handle);
        // The run is held until its value is there, or is not waited for any more.
        Ok(result.map(move |value| {
            drop(run);
            Ok(value)
        }))
    }

    /// Calls a function for each item. The values come in the order of the items.
    ///
    /// Items are taken as there is room for them: no more than [`Mapped::max_outstanding`] are on
    /// their way at any time, so that they may be endless.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn double(x: u64) -> u64 {
    /// #     2 * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(1).start()?;
    /// # let client = cluster.client();
    /// let doubled = client.map(double, 0..).max_outstanding(100);
    /// let some: Vec<u64> = doubled.take(3).collect::<Result<_, _>>()?;
    /// assert_eq!(some, [0, 2, 4]);
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    pub fn map<F, T, I>(&self, function: F, items: I) -> Mapped<F, I::IntoIter>
    where
        F: TaskFn<Args = (T,)>,
        I: IntoIterator<Item = T>,
        T: Serialize + 'static,
    {
        Mapped {
            client: self.clone(),
            workers: None,
            function,
            items: items.into_iter(),
            max_outstanding: OUTSTANDING,
            batch: FIRST_BATCH,
            outstanding: 0,
            runs: VecDeque::new(),
            problem: None,
        }
    }
}

/// How a graph is run.
///
/// ```
/// # #[dagrun::task]
/// # fn double(x: u64) -> u64 {
/// #     2 * x
/// # }
/// use dagrun::Options;
/// # let cluster = dagrun::Cluster::builder().slots(1).start()?;
/// # let dag = dagrun::Dag::new("double");
/// # let answer = dag.task(double, (21,));
/// let options = Options { seed: 7, fail_fast: true, ..Options::default() };
/// let run = cluster.client().start_with(&dag, &options)?;
/// # assert_eq!(run.result(&answer).wait()?, 42);
/// # Ok::<(), dagrun::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The seed of all seeds.
    pub seed: u64,
    /// Whether the rest is cancelled as soon as an instance has failed.
    pub fail_fast: bool,
    /// The directory of relative paths; the current one unless given.
    pub base_dir: Option<std::path::PathBuf>,
}

/// The values of a map, in the order of its items: an iterator, which blocks for each. See [`Client::map`].
pub struct Mapped<F: TaskFn, I> {
    client: Client,
    workers: Option<std::sync::Arc<[String]>>,
    function: F,
    items: I,
    max_outstanding: usize,
    batch: usize,
    outstanding: usize,
    runs: VecDeque<Results<F::Output>>,
    problem: Option<Error>,
}

impl<F: TaskFn, I> std::fmt::Debug for Mapped<F, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outstanding = self.outstanding;
        f.debug_struct("Mapped").field("outstanding", &outstanding).finish_non_exhaustive()
    }
}

impl<F, T, I> Mapped<F, I>
where
    F: TaskFn<Args = (T,)>,
    I: Iterator<Item = T>,
    T: Serialize + 'static,
{
    /// Only these workers, by name.
    pub(crate) fn among(mut self, workers: Option<std::sync::Arc<[String]>>) -> Self {
        self.workers = workers;
        self
    }

    /// At most so many items have been taken whose values have not.
    #[must_use]
    pub fn max_outstanding(mut self, calls: usize) -> Self {
        self.max_outstanding = calls.max(1);
        self
    }

    /// Takes as many items as there is room for.
    fn fill(&mut self) -> Result<(), Error> {
        while self.problem.is_none() {
            let room = self.max_outstanding - self.outstanding;
            // A few large runs rather than many small ones, once it is known to go on for long.
            let batch = self.batch.min(self.max_outstanding.div_ceil(4));
            if room < batch {
                return Ok(());
            }
            let items: Vec<T> = self.items.by_ref().take(batch).collect();
            if items.is_empty() {
                return Ok(());
            }
            self.batch = batch * 2;
            let taken = items.len();
            let dag = Dag::new(F::NAME);
            let mut array: ArrayHandle<F::Output> = dag.map(self.function, items);
            if let Some(workers) = &self.workers {
                array = array.targets(workers.iter().map(String::as_str));
            }
            let run = self.client.start(&dag)?;
            self.outstanding += taken;
            self.runs.push_back(run.iter(&array));
        }
        Ok(())
    }
}

impl<F, T, I> Iterator for Mapped<F, I>
where
    F: TaskFn<Args = (T,)>,
    I: Iterator<Item = T>,
    T: Serialize + 'static,
{
    type Item = Result<F::Output, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(error) = self.fill() {
            // What is on its way comes first.
            self.problem = Some(error);
        }
        while let Some(results) = self.runs.front_mut() {
            if let Some(value) = results.next() {
                self.outstanding -= 1;
                return Some(value);
            }
            self.runs.pop_front();
        }
        self.problem.take().map(Err)
    }
}
