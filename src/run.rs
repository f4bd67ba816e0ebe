//! A run in the hands of a program: its results as they come, what became of it, and its end.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::status::{InstanceRow, RunState, RunStatus, State};
use serde::de::DeserializeOwned;

use crate::dag::{ArrayHandle, Handle, TaskRef};
use crate::results::{Completed, Results, decode, fetch};
use crate::rpc::Scope;
use crate::session::{Inside, Session};
use crate::watch::Watched;
use crate::{Error, Pending};

/// A run that was submitted, by this program or another. Clones are the same run.
///
/// Dropping it does not end the run: see [`Run::cancel`].
///
/// ```
/// # #[dagrun::task]
/// # fn squared(x: u64) -> u64 {
/// #     x * x
/// # }
/// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
/// let dag = dagrun::Dag::new("squares");
/// let squares = dag.map(squared, 0..5);
/// let run = cluster.submit(&dag)?;
/// assert_eq!(run.results(&squares).wait()?, [0, 1, 4, 9, 16]);
/// # Ok::<(), dagrun::Error>(())
/// ```
#[derive(Clone)]
pub struct Run {
    id: RunId,
    session: Session,
    /// Shared by the clones.
    _hold: Arc<Hold>,
}

/// As long as one of them is there, the client's thread follows the run.
struct Hold {
    run: RunId,
    session: Session,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let run = self.run;
        drop(self.session.call(move |inside: Rc<Inside>| async move {
            inside.release(run);
            Ok(())
        }));
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("id", &self.id).finish_non_exhaustive()
    }
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Instances in all, as far as this is known.
    pub instances: u64,
    /// Those that have ended, in whatever way.
    pub ended: u64,
    /// Those of them that succeeded.
    pub succeeded: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Those that run now.
    pub running: u64,
    /// How much of those is done, by the word of their functions (see
    /// [`Context::progress`](crate::Context::progress)): the sum, in thousandths of an instance.
    pub partial: u64,
    /// Whether `instances` will not grow: without tasks whose width is known only later.
    pub complete: bool,
}

impl Progress {
    /// How much of it is done, from 0 to 1, as far as its size is known.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        match self.instances {
            0 => 0.0,
            all => ((self.ended as f64 + self.partial as f64 / 1000.0) / all as f64).min(1.0),
        }
    }
}

/// What a run took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    /// From the submission to the end.
    pub wall: Duration,
    /// All last attempts one after the other.
    pub serial: Duration,
}

impl Times {
    /// How many times faster the run was than its attempts one after the other.
    #[must_use]
    pub fn speed_up(&self) -> f64 {
        self.serial.as_secs_f64() / self.wall.as_secs_f64().max(1e-9)
    }
}

impl Run {
    /// For a run that the session [holds](Inside::hold), once for each call of this.
    pub(crate) fn new(id: RunId, session: Session) -> Run {
        let hold = Hold { run: id, session: session.clone() };
        Run { id, session, _hold: Arc::new(hold) }
    }

    /// Its number: 1, 2, 3, … in its state directory.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.id
    }

    /// Asks something of what is known of the run.
    pub(crate) fn ask<T, F, A>(&self, ask: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(Rc<Watched>) -> A + Send + 'static,
        A: Future<Output = Result<T, Error>> + 'static,
    {
        let id = self.id;
        self.session
            .call(move |inside: Rc<Inside>| async move { ask(inside.watched(id).await?).await })
    }

    /// The value of a task, as soon as it has one.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn squared(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// # let dag = dagrun::Dag::new("squares");
    /// # let squares = dag.map(squared, 0..5);
    /// # let nine = dag.task(squared, (3,));
    /// # let run = cluster.submit(&dag)?;
    /// use std::time::Duration;
    /// assert_eq!(run.result(&nine).timeout(Duration::from_secs(60)).wait()?, 9);
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Failed`] when it ends in another way.
    pub fn result<T: DeserializeOwned + Send + 'static>(&self, of: &Handle<T>) -> Pending<T> {
        self.value_of(of.id(), 0)
    }

    /// The value of one instance of an array.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn squared(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// # let dag = dagrun::Dag::new("squares");
    /// # let squares = dag.map(squared, 0..5);
    /// # let nine = dag.task(squared, (3,));
    /// # let run = cluster.submit(&dag)?;
    /// assert_eq!(run.result_at(&squares, 4).wait()?, 16);
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Failed`] when it ends in another way, [`Error::Unknown`] when there is no such instance.
    pub fn result_at<T>(&self, of: &ArrayHandle<T>, index: u32) -> Pending<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        self.value_of(of.id(), index)
    }

    /// The value of an instance by the task's name, also of a run that another program submitted.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn squared(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// # let dag = dagrun::Dag::new("squares");
    /// # let squares = dag.map(squared, 0..5);
    /// # let nine = dag.task(squared, (3,));
    /// # let run = cluster.submit(&dag)?;
    /// assert_eq!(run.value::<u64>("squared", 4).wait()?, 16);
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Run::result_at`].
    pub fn value<T>(&self, task: &str, index: u32) -> Pending<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let (task, run) = (task.to_owned(), self.id);
        self.ask(move |watched| async move {
            let id = watched.find(&task);
            let id = id.ok_or_else(|| Error::Unknown { run, what: format!("task `{task}`") })?;
            fetch(&watched, id, index).await
        })
    }

    fn value_of<T>(&self, task: TaskId, index: u32) -> Pending<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        self.ask(move |watched| async move { fetch(&watched, task, index).await })
    }

    /// The values of all instances of an array, in index order, once all have ended.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn squared(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// # let dag = dagrun::Dag::new("squares");
    /// # let squares = dag.map(squared, 0..5);
    /// # let nine = dag.task(squared, (3,));
    /// # let run = cluster.submit(&dag)?;
    /// assert_eq!(run.results(&squares).wait()?, [0, 1, 4, 9, 16]);
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Failed`] for the first that did not succeed.
    pub fn results<T>(&self, of: &ArrayHandle<T>) -> Pending<Vec<T>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let task = of.id();
        self.ask(move |watched| async move {
            let mut values = Vec::new();
            loop {
                let first = u32::try_from(values.len()).unwrap_or(u32::MAX);
                let results = watched.all(task, first).await?;
                if results.is_empty() {
                    return Ok(values);
                }
                for result in results {
                    values.push(decode(&watched, task, result).await?);
                }
            }
        })
    }

    /// The values of an array's instances in index order, each as soon as it and those before it are there. It
    /// holds about a thousand of them at a time.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn squared(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// # let dag = dagrun::Dag::new("squares");
    /// # let squares = dag.map(squared, 0..5);
    /// # let nine = dag.task(squared, (3,));
    /// # let run = cluster.submit(&dag)?;
    /// for value in run.iter(&squares) {
    ///     println!("{}", value?);
    /// }
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    #[must_use]
    pub fn iter<T: DeserializeOwned + Send + 'static>(&self, of: &ArrayHandle<T>) -> Results<T> {
        Results::new(self.clone(), of.id(), false)
    }

    /// The values of an array's instances in the order in which they end, each with its index.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn squared(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// # let dag = dagrun::Dag::new("squares");
    /// # let squares = dag.map(squared, 0..5);
    /// # let nine = dag.task(squared, (3,));
    /// # let run = cluster.submit(&dag)?;
    /// for (index, value) in run.iter_completed(&squares) {
    ///     assert_eq!(value?, u64::from(index).pow(2));
    /// }
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    #[must_use]
    pub fn iter_completed<T>(&self, of: &ArrayHandle<T>) -> Completed<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        Completed(Results::new(self.clone(), of.id(), true))
    }

    /// Waits for the end of the run, and says how it ended.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn squared(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// # let dag = dagrun::Dag::new("squares");
    /// # let squares = dag.map(squared, 0..5);
    /// # let nine = dag.task(squared, (3,));
    /// # let run = cluster.submit(&dag)?;
    /// use dagrun::core::status::RunState;
    /// assert_eq!(run.wait().wait()?, RunState::Succeeded);
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    pub fn wait(&self) -> Pending<RunState> {
        self.ask(|watched| async move { watched.over().await })
    }

    /// Waits until all instances of all these tasks have ended, in whatever way.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn squared(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// # let dag = dagrun::Dag::new("squares");
    /// # let squares = dag.map(squared, 0..5);
    /// # let nine = dag.task(squared, (3,));
    /// # let run = cluster.submit(&dag)?;
    /// run.wait_all([&squares]).wait()?;
    /// assert!(run.ready(&squares).wait()?);
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    pub fn wait_all<H: Into<TaskRef>>(&self, of: impl IntoIterator<Item = H>) -> Pending<()> {
        let tasks: Vec<TaskId> = of.into_iter().map(|task| task.into().id()).collect();
        self.ask(move |watched| async move {
            for task in tasks {
                watched.task_ended(task).await?;
            }
            Ok(())
        })
    }

    /// Waits until all instances of one of these tasks have ended, and says which one that is: its
    /// position in the list.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn squared(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// # let dag = dagrun::Dag::new("squares");
    /// # let squares = dag.map(squared, 0..5);
    /// # let nine = dag.task(squared, (3,));
    /// # let run = cluster.submit(&dag)?;
    /// let first = run.wait_first([&squares]).wait()?;
    /// assert_eq!(first, 0);
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    pub fn wait_first<H: Into<TaskRef>>(&self, of: impl IntoIterator<Item = H>) -> Pending<usize> {
        self.first(of, |watched, task| async move { watched.task_ended(task).await.map(|_| true) })
    }

    /// Waits until an instance of one of these tasks has failed, was skipped or was cancelled, and says of
    /// which: its position in the list. `None` when all have succeeded.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn squared(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// # let dag = dagrun::Dag::new("squares");
    /// # let squares = dag.map(squared, 0..5);
    /// # let nine = dag.task(squared, (3,));
    /// # let run = cluster.submit(&dag)?;
    /// assert_eq!(run.wait_failed([&squares]).wait()?, None);
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    pub fn wait_failed<H: Into<TaskRef>>(
        &self,
        of: impl IntoIterator<Item = H>,
    ) -> Pending<Option<usize>> {
        let tasks: Vec<TaskRef> = of.into_iter().map(Into::into).collect();
        let count = tasks.len();
        let first = self.first(tasks, |watched, task| async move {
            watched.task_failed(task).await?;
            Ok(watched.tasks().iter().any(|known| known.task == task && failed(known) > 0))
        });
        first.map(move |found| Ok((found < count).then_some(found)))
    }

    /// The position of the first task of which something is true; the number of tasks when it is of none.
    fn first<H, W, A>(&self, of: impl IntoIterator<Item = H>, wait: W) -> Pending<usize>
    where
        H: Into<TaskRef>,
        W: Fn(Rc<Watched>, TaskId) -> A + Send + 'static,
        A: Future<Output = Result<bool, Error>> + 'static,
    {
        let tasks: Vec<TaskId> = of.into_iter().map(|task| task.into().id()).collect();
        self.ask(move |watched| async move {
            let waits = tasks.iter().enumerate().map(|(at, task)| {
                let wait = wait(Rc::clone(&watched), *task);
                Box::pin(async move { wait.await.map(|found| found.then_some(at)) })
            });
            let mut waits: Vec<_> = waits.collect();
            while !waits.is_empty() {
                let (found, _, rest) = futures::future::select_all(waits).await;
                if let Some(found) = found? {
                    return Ok(found);
                }
                waits = rest;
            }
            Ok(tasks.len())
        })
    }

    /// Whether a task's instances have all ended. Does not wait for that.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn squared(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// # let dag = dagrun::Dag::new("squares");
    /// # let squares = dag.map(squared, 0..5);
    /// # let nine = dag.task(squared, (3,));
    /// # let run = cluster.submit(&dag)?;
    /// run.wait().wait()?;
    /// assert!(run.ready(&squares).wait()?);
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    pub fn ready<H: Into<TaskRef>>(&self, of: H) -> Pending<bool> {
        let task = of.into().id();
        self.ask(move |watched| async move {
            let status = watched.run.status().await?;
            let task = status.tasks.get(task.at());
            Ok(task.is_some_and(|it| it.width_known && it.counts.terminal() == it.counts.total()))
        })
    }

    /// How far it has come.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn squared(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// # let dag = dagrun::Dag::new("squares");
    /// # let squares = dag.map(squared, 0..5);
    /// # let nine = dag.task(squared, (3,));
    /// # let run = cluster.submit(&dag)?;
    /// run.wait().wait()?;
    /// let progress = run.progress().wait()?;
    /// assert_eq!((progress.ended, progress.instances), (6, 6));
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    pub fn progress(&self) -> Pending<Progress> {
        self.status().map(|status| {
            let mut progress = Progress { complete: true, ..Progress::default() };
            for task in &status.tasks {
                progress.instances += u64::from(task.counts.total());
                progress.ended += u64::from(task.counts.terminal());
                progress.succeeded += u64::from(task.counts.of(State::Succeeded));
                progress.failed += u64::from(task.counts.of(State::Failed));
                progress.running += u64::from(task.running);
                progress.partial += u64::from(task.partial);
                progress.complete &= task.width_known;
            }
            Ok(progress)
        })
    }

    /// Its state, by task.
    pub fn status(&self) -> Pending<RunStatus> {
        self.ask(|watched| async move { Ok(watched.run.status().await?) })
    }

    /// How a task's instances are: state, attempts, worker, when they started and ended, and why they
    /// failed.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn squared(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// # let dag = dagrun::Dag::new("squares");
    /// # let squares = dag.map(squared, 0..5);
    /// # let nine = dag.task(squared, (3,));
    /// # let run = cluster.submit(&dag)?;
    /// run.wait().wait()?;
    /// for row in run.instances(&squares).wait()? {
    ///     println!("{}: {} attempts, on {:?}", row.instance.index, row.attempts, row.worker);
    /// }
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    pub fn instances<H: Into<TaskRef>>(&self, of: H) -> Pending<Vec<InstanceRow>> {
        let task = of.into().id();
        self.ask(move |watched| async move {
            let mut rows = Vec::new();
            let mut from = Some(InstanceId { task, index: 0 });
            while let Some(at) = from.filter(|at| at.task == task) {
                let page = watched.run.instances(at, 10_000, false).await?;
                rows.extend(page.rows.into_iter().filter(|row| row.instance.task == task));
                from = page.next;
            }
            Ok(rows)
        })
    }

    /// What it took, once it has ended.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn squared(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// # let dag = dagrun::Dag::new("squares");
    /// # let squares = dag.map(squared, 0..5);
    /// # let nine = dag.task(squared, (3,));
    /// # let run = cluster.submit(&dag)?;
    /// let times = run.times().wait()?;
    /// println!("{:?}, {:.1} times faster than one by one", times.wall, times.speed_up());
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    pub fn times(&self) -> Pending<Times> {
        self.ask(|watched| async move {
            watched.over().await?;
            let status = watched.run.status().await?;
            let finished = status.finished.or(watched.finished()).unwrap_or(status.started);
            let mut serial = Duration::ZERO;
            let mut from = Some(InstanceId { task: TaskId(0), index: 0 });
            while let Some(at) = from {
                let page = watched.run.instances(at, 10_000, false).await?;
                for row in &page.rows {
                    if let (Some(started), Some(finished)) = (row.started, row.finished) {
                        serial += finished.since(started).to_duration();
                    }
                }
                from = page.next;
            }
            Ok(Times { wall: finished.since(status.started).to_duration(), serial })
        })
    }

    /// What a task's instances wrote: processes to standard output and standard error, functions by
    /// [`crate::Context::log`].
    pub fn logs<H: Into<TaskRef>>(&self, of: H) -> Pending<Vec<dagrun_core::status::LogChunk>> {
        let task = of.into().id();
        self.ask(move |watched| async move {
            let name = watched.name(task)?.to_owned();
            let (mut chunks, mut cursor) = (Vec::new(), Vec::new());
            loop {
                let page = watched.run.logs(Scope::Task(&name), &cursor, false).await?;
                chunks.extend(page.chunks);
                cursor = page.cursor;
                if !page.more {
                    return Ok(chunks);
                }
            }
        })
    }

    /// Cancels it; the answer comes when the scheduler has understood, not when all has ended.
    ///
    /// ```
    /// # #[dagrun::task]
    /// # fn squared(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// # let dag = dagrun::Dag::new("squares");
    /// # let squares = dag.map(squared, 0..5);
    /// # let nine = dag.task(squared, (3,));
    /// # let run = cluster.submit(&dag)?;
    /// run.cancel().wait()?;
    /// run.wait().wait()?;
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    pub fn cancel(&self) -> Pending<()> {
        self.ask(|watched| async move { Ok(watched.run.cancel(Scope::Run).await?) })
    }

    /// Cancels the instances of a task.
    pub fn cancel_task<H: Into<TaskRef>>(&self, task: H) -> Pending<()> {
        let task = task.into().id();
        self.ask(move |watched| async move {
            let name = watched.name(task)?.to_owned();
            Ok(watched.run.cancel(Scope::Task(&name)).await?)
        })
    }

    /// Why an instance is where it is, and how each of its attempts went: lines for people.
    pub fn explain<H: Into<TaskRef>>(&self, task: H, index: u32) -> Pending<Vec<String>> {
        let task = task.into().id();
        self.ask(move |watched| async move {
            let name = watched.name(task)?.to_owned();
            Ok(watched.run.explain(&name, index).await?)
        })
    }
}

fn failed(task: &dagrun_schema::wire::TaskDelta) -> u32 {
    [State::Failed, State::Skipped, State::Cancelled]
        .iter()
        .map(|state| task.counts.of(*state))
        .sum()
}
