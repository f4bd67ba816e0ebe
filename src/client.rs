//! A client for programs: runs of graphs, and functions called without one.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use dagrun_core::ids::{RunId, TaskId};
use dagrun_core::pipeline::Pipeline;
use dagrun_scheduler::connection::{ClusterDir, Role};
use dagrun_worker::function::TaskFn;
use futures::channel::oneshot;
use futures::future::{Either, FutureExt, select};
use serde::de::DeserializeOwned;

use crate::dag::{BuildError, Dag, IntoArgs, MapSource, Origin};
use crate::error::ClusterError;
use crate::mapped::Mapped;
use crate::pending::Fate;
use crate::report::{RunSummary, WorkerStatus};
use crate::results::fetch;
use crate::rpc::{self, ClientError, Retry, Scope, Submission};
use crate::run::Run;
use crate::session::{Inside, Session};
use crate::view::some;
use crate::{Error, Pending};

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
///     assert_eq!(client.call(double, (21,)).wait()?, 42);
///     for (doubled, n) in client.map(double, 0..1_000_000).zip(0..) {
///         assert_eq!(doubled?, 2 * n);
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
        let connect = move || {
            async move {
                let token = connection.token.bytes();
                Ok(rpc::Client::connect_tcp(connection.address, token).await?)
            }
            .boxed_local()
        };
        let session = Session::open(connect, None)?;
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
    #[doc = crate::docs::double!(
        r#"let dag = dagrun::Dag::new("double");"#,
        "let answer = dag.task(double, (21,));",
        "let run = client.submit(&dag).wait()?;",
        "assert_eq!(run.result(&answer).wait()?, 42);",
    )]
    ///
    /// # Errors
    /// [`Error::Build`] when the graph cannot be run, [`Error::Client`] when the scheduler refuses it.
    pub fn submit(&self, dag: &Dag) -> Pending<Run> {
        self.submit_with(dag, &Options::default())
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub fn submit_with(&self, dag: &Dag, options: &Options) -> Pending<Run> {
        self.submitting(dag, options, |run| run)
    }

    /// Starts a run of a pipeline, as [`crate::load`] and [`Dag::pipeline`] make it. Its values are asked for by
    /// name: see [`Run::value`].
    ///
    /// ```no_run
    /// # fn example(client: &dagrun::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use dagrun::Options;
    /// let loaded = dagrun::load("prices.toml".as_ref(), &[])?;
    /// let options = Options { base_dir: Some(loaded.base_dir), ..Options::default() };
    /// let run = client.submit_pipeline(&loaded.pipeline, &options).wait()?;
    /// let best: f64 = run.value("best", 0).wait()?;
    /// # let _ = best; Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Client`] when the scheduler refuses it.
    pub fn submit_pipeline(&self, pipeline: &Pipeline, options: &Options) -> Pending<Run> {
        self.begin(pipeline, None, options, |run| run)
    }

    /// Starts a run of a graph. `as_what` makes the answer of it at once: it is dropped when nobody waits for
    /// it any more.
    pub(crate) fn submitting<T: Send + 'static>(
        &self,
        dag: &Dag,
        options: &Options,
        as_what: impl FnOnce(Run) -> T + Send + 'static,
    ) -> Pending<T> {
        match dag.pipeline() {
            Ok(pipeline) => {
                let origin = dag.origin(pipeline.tasks.len());
                self.begin(&pipeline, Some(origin), options, as_what)
            }
            Err(error) => Pending::failed(error),
        }
    }

    /// Starts a run of a graph that depends on the workers: on those named, or on all that are present when the
    /// scheduler is asked, in the order in which they joined.
    pub(crate) fn submit_among<H: Send + 'static>(
        &self,
        name: &'static str,
        workers: Option<Arc<[String]>>,
        record: impl FnOnce(&Dag, &[String]) -> Result<H, Error> + Send + 'static,
    ) -> Pending<(Run, H)> {
        let session = match self.session() {
            Ok(session) => session,
            Err(error) => return Pending::failed(error),
        };
        let held = session.clone();
        session.call(move |inside: Rc<Inside>| async move {
            let workers = match workers {
                Some(workers) => workers,
                None => {
                    let mut present = inside.client.workers().await?;
                    present.sort_by_key(|worker| worker.id);
                    some(present.into_iter().map(|worker| worker.name).collect())?
                }
            };
            let dag = Dag::new(name);
            let handles = record(&dag, &workers)?;
            let pipeline = dag.pipeline()?;
            let submission = submission(&pipeline, &Options::default())?;
            let run = inside.client.submit(&submission).await?;
            let (id, origin) = (run.id(), dag.origin(pipeline.tasks.len()));
            inside.hold_new(run).await?;
            Ok((Run::new(id, held, Some(origin)), handles))
        })
    }

    fn begin<T: Send + 'static>(
        &self,
        pipeline: &Pipeline,
        origin: Option<Origin>,
        options: &Options,
        as_what: impl FnOnce(Run) -> T + Send + 'static,
    ) -> Pending<T> {
        let submission = match submission(pipeline, options) {
            Ok(submission) => submission,
            Err(error) => return Pending::failed(error),
        };
        self.holding(origin, as_what, |inside| async move {
            let run = inside.client.submit(&submission).await?;
            let id = run.id();
            inside.hold_new(run).await?;
            Ok(id)
        })
    }

    /// What is made of a run, by its number, which `find` has taken a hold on.
    fn holding<T, F, A>(
        &self,
        origin: Option<Origin>,
        as_what: impl FnOnce(Run) -> T + Send + 'static,
        find: F,
    ) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(Rc<Inside>) -> A + Send + 'static,
        A: Future<Output = Result<RunId, Error>> + 'static,
    {
        let session = match self.session() {
            Ok(session) => session,
            Err(error) => return Pending::failed(error),
        };
        let run = session.clone();
        session.call(move |inside: Rc<Inside>| async move {
            let id = find(inside).await?;
            // Made here, so that it is let go of even when nobody waits for it any more.
            Ok(as_what(Run::new(id, run, origin)))
        })
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
        self.holding(
            None,
            |run| run,
            move |inside| async move {
                inside.hold(id).await?;
                Ok(id)
            },
        )
    }

    /// Submits once more what a run was submitted with, which must have ended: all of it runs again. Of a
    /// [`Run`] the new one takes the same handles; of a [`RunId`] it knows tasks by name only.
    ///
    #[doc = crate::docs::double!(
        r#"# let dag = dagrun::Dag::new("double");"#,
        "# let answer = dag.task(double, (21,));",
        "let run = client.submit(&dag).wait()?;",
        "run.finished().wait()?;",
        "let again = client.retry(&run).wait()?;",
        "assert_ne!(again.id(), run.id());",
        "assert_eq!(again.result(&answer).wait()?, 42);",
    )]
    ///
    /// # Errors
    /// [`Error::Client`] when there is no such run, or it has not ended.
    pub fn retry(&self, of: impl Again) -> Pending<Run> {
        let (id, origin) = of.again();
        self.holding(
            origin,
            |run| run,
            move |inside| async move {
                let again = inside.client.retry(id, &Retry::default()).await?;
                let run =
                    again.ok_or_else(|| Error::Unknown { run: id, what: "tasks".to_owned() })?.run;
                let id = run.id();
                inside.hold_new(run).await?;
                Ok(id)
            },
        )
    }

    /// As [`Client::retry`], of what had not succeeded only: the new run takes over the values of what had.
    /// `None` when all had succeeded.
    ///
    /// # Errors
    /// As [`Client::retry`].
    pub fn retry_failed(&self, of: impl Again) -> Pending<Option<Run>> {
        let session = match self.session() {
            Ok(session) => session,
            Err(error) => return Pending::failed(error),
        };
        let ((id, origin), run) = (of.again(), session.clone());
        session.call(move |inside: Rc<Inside>| async move {
            let Some(again) = inside.client.retry(id, &Retry::failed()).await? else {
                return Ok(None);
            };
            let id = again.run.id();
            inside.hold_new(again.run).await?;
            Ok(Some(Run::new(id, run, origin)))
        })
    }

    /// Goes on with a run whose cluster ended before it did, however that was: the same run, of which what
    /// succeeded and failed stays. The cluster must have the state directory of that one. Handles are taken
    /// as [`Client::retry`] does.
    ///
    /// # Errors
    /// [`Error::Client`] when there is no such run, it has ended, or some process runs it.
    pub fn resume(&self, run: impl Again) -> Pending<Run> {
        let (id, origin) = run.again();
        self.holding(
            origin,
            |run| run,
            move |inside| async move {
                let run = inside.client.resume(id).await?;
                inside.hold_new(run).await?;
                Ok(id)
            },
        )
    }

    /// Takes a run that has ended out of the history: its records, logs and values, and its directory.
    /// Output files stay where they are, and so does what a later run took over from it.
    ///
    #[doc = crate::docs::double!(
        r#"# let dag = dagrun::Dag::new("double");"#,
        "# dag.task(double, (21,));",
        "let run = client.submit(&dag).wait()?;",
        "run.finished().wait()?;",
        "client.forget(&run).wait()?;",
        "assert!(client.run(run.id()).wait().is_err());",
    )]
    ///
    /// # Errors
    /// [`Error::Client`] when there is no such run, or it has not ended.
    pub fn forget(&self, run: impl Again) -> Pending<()> {
        let (id, _) = run.again();
        self.ask(move |inside| async move { inside.forget(id).await })
    }

    /// The runs that were submitted last, newest first.
    pub fn runs(&self, limit: u32) -> Pending<Vec<RunSummary>> {
        self.ask(move |inside| async move {
            Ok(inside.client.runs(limit).await?.into_iter().map(RunSummary::from).collect())
        })
    }

    /// The workers that are present.
    pub fn workers(&self) -> Pending<Vec<WorkerStatus>> {
        self.ask(|inside| async move {
            Ok(inside.client.workers().await?.into_iter().map(WorkerStatus::from).collect())
        })
    }

    fn ask<T, F, A>(&self, ask: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(Rc<Inside>) -> A + Send + 'static,
        A: Future<Output = Result<T, Error>> + 'static,
    {
        match self.session() {
            Ok(session) => session.call(ask),
            Err(error) => Pending::failed(error),
        }
    }

    /// Calls a function once, on a worker that has a free slot. The call is cancelled when the answer is dropped
    /// before its value is there, unless it was [detached](Pending::detach).
    ///
    #[doc = crate::docs::double!(
        "assert_eq!(client.call(double, (21,)).wait()?, 42);",
    )]
    ///
    /// # Errors
    /// [`Error::Failed`] when it fails, [`Error::Client`] when no worker has the function.
    pub fn call<F, A>(&self, function: F, args: A) -> Pending<F::Output>
    where
        F: TaskFn,
        A: IntoArgs<F::Args>,
    {
        let dag = Dag::new(F::NAME);
        let task = dag.task(function, args).id();
        let pipeline = dag.pipeline().map_err(Error::from);
        let begun = pipeline.and_then(|it| submission(&it, &Options::default()));
        let submission = match begun {
            Ok(submission) => submission,
            Err(error) => return Pending::failed(error),
        };
        let (wish, wished) = oneshot::channel();
        let answer = self.ask(move |inside| async move {
            let run = inside.client.submit(&submission).await?;
            let id = run.id();
            inside.hold_new(run).await?;
            let answer = settled(&inside, id, task, wished).await;
            inside.release(id);
            answer
        });
        answer.with(wish)
    }

    /// Calls a function for each item; for a function of several inputs the items are tuples. The values come
    /// in the order of the items.
    ///
    /// Items are taken a few ahead of the values (see [`Mapped::max_outstanding`]), so that they may be
    /// endless. Calls whose values are not taken are cancelled when the iterator is dropped.
    ///
    #[doc = crate::docs::double!(
        "let doubled = client.map(double, 0..).max_outstanding(100);",
        "let some: Vec<u64> = doubled.take(3).collect::<Result<_, _>>()?;",
        "assert_eq!(some, [0, 2, 4]);",
    )]
    pub fn map<F, I>(&self, function: F, items: I) -> Mapped<F, I::IntoIter>
    where
        F: TaskFn,
        I: IntoIterator,
        Vec<I::Item>: MapSource<F::Args>,
    {
        Mapped::new(self.clone(), None, function, items.into_iter())
    }
}

/// A run that can be submitted once more: a `&Run`, or the [`RunId`] of one.
pub trait Again {
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn again(self) -> (RunId, Option<Origin>);
}

impl Again for RunId {
    #[allow(private_interfaces)]
    fn again(self) -> (RunId, Option<Origin>) {
        (self, None)
    }
}

impl Again for &Run {
    #[allow(private_interfaces)]
    fn again(self) -> (RunId, Option<Origin>) {
        (self.id(), self.origin())
    }
}

/// What a client sends to start a run.
fn submission(pipeline: &Pipeline, options: &Options) -> Result<Submission, Error> {
    let base_dir = match &options.base_dir {
        Some(dir) => dir.clone(),
        None => std::env::current_dir().map_err(ClusterError::System)?,
    };
    if let Some(error) = BuildError::on_disk(pipeline, &base_dir) {
        return Err(error.into());
    }
    let submission = Submission::new(pipeline, base_dir).map_err(ClientError::Pipeline)?;
    Ok(Submission { seed: options.seed, fail_fast: options.fail_fast, ..submission })
}

/// The value of a call, which is cancelled when this is wished for, or when nobody can wish any more.
async fn settled<T: DeserializeOwned + 'static>(
    inside: &Inside,
    run: RunId,
    task: TaskId,
    wished: oneshot::Receiver<Fate>,
) -> Result<T, Error> {
    let watched = inside.watched(run).await?;
    let answer = std::pin::pin!(fetch(&watched, task, 0));
    match select(answer, wished).await {
        Either::Left((answer, _)) => answer,
        Either::Right((Ok(Fate::Detached), answer)) => answer.await,
        Either::Right((Ok(Fate::Cancelled) | Err(_), answer)) => {
            watched.cancel(Scope::Run).await?;
            answer.await
        }
    }
}

/// How a graph is run.
///
#[doc = crate::docs::double!(
    "use dagrun::Options;",
    r#"# let dag = dagrun::Dag::new("double");"#,
    "# let answer = dag.task(double, (21,));",
    "let options = Options { seed: 7, fail_fast: true, ..Options::default() };",
    "let run = client.submit_with(&dag, &options).wait()?;",
    "# assert_eq!(run.result(&answer).wait()?, 42);",
)]
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The seed of all seeds.
    pub seed: u64,
    /// Whether the rest is cancelled as soon as an instance has failed.
    pub fail_fast: bool,
    /// The directory of relative paths; the current one unless given.
    pub base_dir: Option<std::path::PathBuf>,
}
