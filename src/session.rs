//! The thread of a client: the protocol's objects live on it, and what the program asks for comes
//! to it by a channel.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use dagrun_core::ids::RunId;
use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use tokio::sync::mpsc;

use crate::deaths::Deaths;
use crate::rpc;
use crate::watch::Watched;
use crate::{Error, Pending};

type Job = Box<dyn FnOnce(Rc<Inside>) + Send>;

/// The way to the thread. The thread ends with the last of them, and the connection with it.
#[derive(Clone)]
pub(crate) struct Session {
    jobs: mpsc::UnboundedSender<Job>,
    /// Closed when the thread has let go of the connection.
    over: Arc<std::sync::Mutex<Option<std::thread::JoinHandle<()>>>>,
}

/// What lives on the thread.
pub(crate) struct Inside {
    pub(crate) client: rpc::Client,
    runs: RefCell<HashMap<RunId, Followed>>,
    deaths: Option<Arc<Deaths>>,
}

/// A run that is followed, and how many hold it: the handles of a program.
struct Followed {
    watched: Rc<Watched>,
    holds: usize,
}

impl Session {
    /// Starts the thread, which connects.
    /// `deaths` is how the worker processes of this program ended, where it has some.
    pub(crate) fn open<F>(connect: F, deaths: Option<Arc<Deaths>>) -> Result<Session, Error>
    where
        F: FnOnce() -> LocalBoxFuture<'static, Result<rpc::Client, Error>> + Send + 'static,
    {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let (answer, answered) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("client".into())
            .spawn(move || live(connect, deaths, answer, inbox))
            .map_err(crate::error::ClusterError::System)?;
        futures::executor::block_on(answered).unwrap_or(Err(Error::Closed))?;
        Ok(Session { jobs, over: Arc::new(std::sync::Mutex::new(Some(thread))) })
    }

    /// Does something on the thread.
    pub(crate) fn call<T, F, A>(&self, work: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(Rc<Inside>) -> A + Send + 'static,
        A: Future<Output = Result<T, Error>> + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |inside| {
            tokio::task::spawn_local(async move {
                // Whoever asked may not want to know any more.
                let _ = answer.send(work(inside).await);
            });
        });
        let sent = self.jobs.send(job).is_ok();
        Pending::new(async move {
            match sent {
                true => answered.await.unwrap_or(Err(Error::Closed)),
                false => Err(Error::Closed),
            }
        })
    }

    /// Waits until the thread has ended, once this was the last way to it.
    pub(crate) fn close(self) {
        let Session { jobs, over } = self;
        drop(jobs);
        if let Some(over) = Arc::into_inner(over)
            && let Ok(Some(thread)) = over.into_inner()
        {
            let _ = thread.join();
        }
    }
}

impl Inside {
    /// What is known of a run, which is kept up to date as long as somebody holds it.
    pub(crate) async fn watched(&self, run: RunId) -> Result<Rc<Watched>, Error> {
        if let Some(followed) = self.runs.borrow().get(&run) {
            return Ok(Rc::clone(&followed.watched));
        }
        Watched::new(self.client.run(Some(run)).await?, self.deaths.clone()).await
    }

    /// Holds a run that was submitted before, until it is released.
    pub(crate) async fn hold(&self, run: RunId) -> Result<(), Error> {
        let watched = self.watched(run).await?;
        self.keep(run, watched);
        Ok(())
    }

    /// Holds a run that has just been submitted, until it is released.
    pub(crate) async fn hold_new(&self, run: rpc::Run) -> Result<(), Error> {
        let id = run.id();
        let watched = Watched::new(run, self.deaths.clone()).await?;
        self.keep(id, watched);
        Ok(())
    }

    fn keep(&self, run: RunId, watched: Rc<Watched>) {
        // Another one may have been as fast; either is good.
        let mut runs = self.runs.borrow_mut();
        runs.entry(run).or_insert(Followed { watched, holds: 0 }).holds += 1;
    }

    /// Takes a run out of the history. Whoever still holds it is answered that there is none.
    pub(crate) async fn forget(&self, run: RunId) -> Result<(), Error> {
        self.client.forget(run).await?;
        let followed = self.runs.borrow_mut().remove(&run);
        drop(followed);
        Ok(())
    }

    /// One less holds the run. With the last it is not followed any more.
    pub(crate) fn release(&self, run: RunId) {
        let mut runs = self.runs.borrow_mut();
        let Some(followed) = runs.get_mut(&run) else { return };
        followed.holds -= 1;
        let released = (followed.holds == 0).then(|| runs.remove(&run));
        drop(runs);
        drop(released);
    }
}

fn live<F>(
    connect: F,
    deaths: Option<Arc<Deaths>>,
    answer: oneshot::Sender<Result<(), Error>>,
    mut inbox: mpsc::UnboundedReceiver<Job>,
) where
    F: FnOnce() -> LocalBoxFuture<'static, Result<rpc::Client, Error>>,
{
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = answer.send(Err(crate::error::ClusterError::System(error).into()));
            return;
        }
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let client = match connect().await {
            Ok(client) => client,
            Err(error) => {
                let _ = answer.send(Err(error));
                return;
            }
        };
        let inside = Rc::new(Inside { client, runs: RefCell::default(), deaths });
        let _ = answer.send(Ok(()));
        while let Some(job) = inbox.recv().await {
            job(Rc::clone(&inside));
        }
    });
}
