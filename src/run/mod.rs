//! A run in the hands of a program: its results as they come, and its end.

mod state;

use std::rc::Rc;
use std::sync::Arc;

use dagrun_core::ids::{RunId, TaskId};
use dagrun_core::status::{RunState, State};
use serde::de::DeserializeOwned;

use crate::dag::{ArrayHandle, ArrayOf, Origin, SingleOf, TaskRef, Upstreams};
use crate::results::{Completed, Results, decode, fetch};
use crate::rpc::Scope;
use crate::session::{Inside, Session};
use crate::watch::Watched;
use crate::{Error, Pending};

pub use self::state::{Progress, Times};

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
/// let run = cluster.submit(&dag).wait()?;
/// assert_eq!(run.results(&squares).wait()?, [0, 1, 4, 9, 16]);
/// # Ok::<(), dagrun::Error>(())
/// ```
#[derive(Clone)]
pub struct Run {
    id: RunId,
    session: Session,
    /// What it is a run of, where that is a graph of this program.
    origin: Option<Arc<Origin>>,
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

impl Run {
    /// Takes over one hold on the run, which the session [has taken](Inside::hold).
    pub(crate) fn new(id: RunId, session: Session, origin: Option<Origin>) -> Run {
        let hold = Hold { run: id, session: session.clone() };
        Run { id, session, origin: origin.map(Arc::new), _hold: Arc::new(hold) }
    }

    /// The number that the run has for a task.
    fn own(&self, task: &TaskRef) -> Result<TaskId, Error> {
        let owned = match &self.origin {
            Some(origin) => origin.own(task),
            None => {
                Err("it was taken up without its graph, and knows tasks by name only".to_owned())
            }
        };
        owned.map_err(|reason| Error::Foreign { run: self.id, reason })
    }

    /// Asks something about a task of the run.
    pub(crate) fn ask_of<T, F, A>(&self, task: &TaskRef, ask: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(Rc<Watched>, TaskId) -> A + Send + 'static,
        A: Future<Output = Result<T, Error>> + 'static,
    {
        match self.own(task) {
            Ok(task) => self.ask(move |watched| ask(watched, task)),
            Err(error) => Pending::failed(error),
        }
    }

    /// What it is a run of.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.origin.as_deref().cloned()
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
    #[doc = crate::docs::squares!(
        "    /// assert_eq!(run.result(&nine).timeout(Duration::from_secs(60)).wait()?, 9);",
    )]
    ///
    /// # Errors
    /// [`Error::Failed`] when it ends in another way.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "what is given is a reference, or a tuple of them"
    )]
    pub fn result<H: SingleOf>(&self, of: H) -> Pending<H::Value> {
        self.value_of(of.task(), 0)
    }

    /// The value of one instance of an array.
    ///
    #[doc = crate::docs::squares!(
        "assert_eq!(run.result_at(&squares, 4).wait()?, 16);",
    )]
    ///
    /// # Errors
    /// [`Error::Failed`] when it ends in another way, [`Error::Unknown`] when there is no such instance.
    pub fn result_at<T>(&self, of: &ArrayHandle<T>, index: u32) -> Pending<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        self.value_of(of.as_ref(), index)
    }

    /// The value of an instance by the task's name, also of a run that another program submitted.
    ///
    #[doc = crate::docs::squares!(
        r#"assert_eq!(run.value::<u64>("squared", 4).wait()?, 16);"#,
    )]
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

    fn value_of<T>(&self, task: &TaskRef, index: u32) -> Pending<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        self.ask_of(task, move |watched, task| async move { fetch(&watched, task, index).await })
    }

    /// The values of all instances of an array, in index order, once all have ended.
    ///
    #[doc = crate::docs::squares!(
        "assert_eq!(run.results(&squares).wait()?, [0, 1, 4, 9, 16]);",
    )]
    ///
    /// # Errors
    /// [`Error::Failed`] for the first that did not succeed.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "what is given is a reference, or a tuple of them"
    )]
    pub fn results<H: ArrayOf>(&self, of: H) -> Pending<Vec<H::Value>> {
        self.ask_of(of.task(), |watched, task| async move {
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
    #[doc = crate::docs::squares!(
        "for value in run.iter(&squares) {",
        r#"    println!("{}", value?);"#,
        "}",
    )]
    #[must_use]
    pub fn iter<T: DeserializeOwned + Send + 'static>(&self, of: &ArrayHandle<T>) -> Results<T> {
        Results::new(self.clone(), of.into(), false)
    }

    /// The values of an array's instances in the order in which they end, each with its index.
    ///
    #[doc = crate::docs::squares!(
        "for (index, value) in run.iter_completed(&squares) {",
        "    assert_eq!(value?, u64::from(index).pow(2));",
        "}",
    )]
    #[must_use]
    pub fn iter_completed<T>(&self, of: &ArrayHandle<T>) -> Completed<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        Completed(Results::new(self.clone(), of.into(), true))
    }

    /// Waits for the end of the run, and says how it ended.
    ///
    #[doc = crate::docs::squares!(
        "use dagrun::RunState;",
        "assert_eq!(run.finished().wait()?, RunState::Succeeded);",
    )]
    pub fn finished(&self) -> Pending<RunState> {
        self.ask(|watched| async move { watched.over().await })
    }

    /// Waits until all instances of all these tasks have ended, in whatever way.
    ///
    #[doc = crate::docs::squares!(
        "run.wait_all([&squares]).wait()?;",
        "assert!(run.ready(&squares).wait()?);",
    )]
    pub fn wait_all(&self, of: impl Upstreams) -> Pending<()> {
        self.ask_of_all(of, |watched, tasks| async move {
            for task in tasks {
                watched.task_ended(task).await?;
            }
            Ok(())
        })
    }

    /// Waits until all instances of one of these tasks have ended, and says which one that is: its
    /// position in the list.
    ///
    #[doc = crate::docs::squares!(
        "let first = run.wait_first([&squares]).wait()?;",
        "assert_eq!(first, 0);",
    )]
    pub fn wait_first(&self, of: impl Upstreams) -> Pending<usize> {
        self.first(of, |watched, task| async move { watched.task_ended(task).await.map(|_| true) })
    }

    /// Waits until an instance of one of these tasks has failed, was skipped or was cancelled, and says of
    /// which: its position in the list. `None` when all have succeeded.
    ///
    #[doc = crate::docs::squares!(
        "assert_eq!(run.wait_failed([&squares]).wait()?, None);",
    )]
    pub fn wait_failed(&self, of: impl Upstreams) -> Pending<Option<usize>> {
        let tasks = of.upstreams();
        let count = tasks.len();
        let first = self.first(tasks, |watched, task| async move {
            watched.task_failed(task).await?;
            Ok(watched.tasks().iter().any(|known| known.task == task && failed(known) > 0))
        });
        first.map(move |found| Ok((found < count).then_some(found)))
    }

    /// Asks something about several tasks of the run.
    fn ask_of_all<T, F, A>(&self, of: impl Upstreams, ask: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(Rc<Watched>, Vec<TaskId>) -> A + Send + 'static,
        A: Future<Output = Result<T, Error>> + 'static,
    {
        let tasks: Result<Vec<_>, Error> = of.upstreams().iter().map(|it| self.own(it)).collect();
        match tasks {
            Ok(tasks) => self.ask(move |watched| ask(watched, tasks)),
            Err(error) => Pending::failed(error),
        }
    }

    /// The position of the first task of which something is true; the number of tasks when it is of none.
    fn first<W, A>(&self, of: impl Upstreams, wait: W) -> Pending<usize>
    where
        W: Fn(Rc<Watched>, TaskId) -> A + Send + 'static,
        A: Future<Output = Result<bool, Error>> + 'static,
    {
        self.ask_of_all(of, move |watched, tasks| async move {
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
    #[doc = crate::docs::squares!(
        "run.finished().wait()?;",
        "assert!(run.ready(&squares).wait()?);",
    )]
    pub fn ready<H: Into<TaskRef>>(&self, of: H) -> Pending<bool> {
        self.ask_of(&of.into(), |watched, task| async move {
            let status = watched.run.status().await?;
            let task = status.tasks.get(task.at());
            Ok(task.is_some_and(|it| it.width_known && it.counts.terminal() == it.counts.total()))
        })
    }

    /// Cancels it; the answer comes when the scheduler has understood, not when all has ended. A run that has
    /// ended already stays as it is.
    ///
    #[doc = crate::docs::squares!(
        "run.cancel().wait()?;",
        "run.finished().wait()?;",
    )]
    pub fn cancel(&self) -> Pending<()> {
        self.ask(|watched| async move { watched.cancel(Scope::Run).await })
    }

    /// Cancels the instances of a task. Those that have ended already stay as they are.
    pub fn cancel_task<H: Into<TaskRef>>(&self, task: H) -> Pending<()> {
        self.ask_of(&task.into(), |watched, task| async move {
            let name = watched.name(task)?.to_owned();
            watched.cancel(Scope::Task(&name)).await
        })
    }
}

fn failed(task: &dagrun_schema::wire::TaskDelta) -> u32 {
    [State::Failed, State::Skipped, State::Cancelled]
        .iter()
        .map(|state| task.counts.of(*state))
        .sum()
}
