//! The calls that a scheduler makes to a worker: the `Worker` interface.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use capnp::Error;
use dagrun_core::engine::{Outcome, Report};
use dagrun_core::ids::{AttemptId, InstanceId, RunId, Timestamp};
use dagrun_core::status::{Detail, FailureKind};
use dagrun_schema::dagrun_capnp::worker;
use dagrun_schema::wire::{self, Door, Handout, TaskRecipe};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinError, spawn_blocking};

use crate::control::Stop;
use crate::core::given::Given;
use crate::lease::Lease;
use crate::orphans;
use crate::reaper::{Reaper, ReaperConfig};
use crate::reports::Message;
use crate::runs::Runs;
use crate::slots::Slots;
use crate::values::{Peer, Secret, Values};
use dagrun_disk::log::RunLog;

/// How long the scheduler may take to acknowledge the last reports.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A worker's side of its session.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) slots: Slots,
    pub(crate) runs: Arc<Runs>,
    pub(crate) values: Arc<Values>,
    pub(crate) messages: mpsc::UnboundedSender<Message>,
    /// Notifies the pump that there is something to watch.
    pub(crate) dispatched: Rc<Notify>,
    /// The base name of the log files.
    pub(crate) name: RefCell<String>,
    /// The reaper while it is being started.
    pub(crate) starting: RefCell<Option<JoinHandle<std::io::Result<Reaper>>>>,
    pub(crate) reaper: RefCell<Option<Reaper>>,
    /// No new work is taken.
    pub(crate) leaving: Cell<bool>,
    /// Processes may have been started since the last search for strays.
    pub(crate) started: Cell<bool>,
    /// Notified when the scheduler's order to shut down has been carried out.
    pub(crate) done: Rc<Notify>,
    /// Whether it returns when its line is cut.
    pub(crate) returns: bool,
    /// What it was given, if it returns.
    pub(crate) given: Rc<RefCell<Given>>,
}

impl Service {
    /// Whether what the worker makes may be published.
    pub(crate) fn lease(&self) -> &Lease {
        &self.slots.runner().caller.records.lease
    }

    /// A file in the worker's directory that is locked as long as this process lives.
    pub(crate) fn lock_file(&self) -> Option<PathBuf> {
        self.values.lock_file()
    }

    /// Takes nothing new from now on, and gives back what has not started.
    pub(crate) fn leave(&self) {
        self.leaving.set(true);
        self.slots.leave();
        self.report_all(&self.slots.withdraw_all(None), Outcome::Returned, None);
    }

    /// Ends everything and reports it: attempts that have not started are returned, running ones
    /// end as preempted, and escaped processes are killed. Returns when the scheduler has acknowledged
    /// all reports, or has disconnected.
    pub(crate) async fn wind_down(&self) {
        self.leave();
        self.slots.stop_all(None, Stop::Leave);
        let slots = self.slots.clone();
        let started = self.started.replace(false);
        let cleaned = spawn_blocking(move || {
            slots.wait_idle(None);
            if started {
                slots.runner().mark().kill_all(None);
                orphans::end_all();
            }
        });
        let _ = cleaned.await;
        self.runs.flush_logs();
        let (acknowledge, acknowledged) = oneshot::channel();
        let acknowledge = Box::new(move || {
            let _ = acknowledge.send(());
        });
        if self.messages.send(Message::Barrier(acknowledge)).is_ok() {
            // A scheduler that hangs must not keep the worker from ending.
            let _ = tokio::time::timeout(LAST_WORDS, acknowledged).await;
        }
        self.await_reaper();
        let values = self.values.clone();
        let _ = spawn_blocking(move || values.remove_dir()).await;
        let reaper = self.reaper.borrow_mut().take();
        if let Some(reaper) = reaper {
            let _ = spawn_blocking(move || reaper.dismiss()).await;
        }
    }

    /// Ends what is left of a run, and forgets it.
    async fn forget_run(&self, run: RunId) -> Result<(), JoinError> {
        // Nobody waits for these any more.
        let _ = self.slots.withdraw_all(Some(run));
        self.slots.stop_all(Some(run), Stop::Cancel);
        let (slots, runs) = (self.slots.clone(), self.runs.clone());
        let values = self.values.clone();
        let cleaned = spawn_blocking(move || {
            slots.wait_idle(Some(run));
            values.store().forget(run);
            slots.runner().forget(run);
            if runs.forget(run) {
                slots.runner().mark().kill_all(Some(run));
                orphans::reap_ended();
            }
        });
        cleaned.await?;
        if self.runs.is_empty() && self.slots.running() == 0 {
            self.started.set(false);
        }
        Ok(())
    }

    /// Gives up all that it has, as it is not the scheduler's that is there now. Numbers of runs and
    /// attempts mean something else there.
    pub(crate) async fn give_up_all(&self) {
        // From now on nothing of it is published.
        self.lease().void();
        let _ = self.slots.withdraw_all(None);
        self.slots.stop_all(None, Stop::Cancel);
        for run in self.runs.known() {
            let _ = self.forget_run(run).await;
        }
    }

    /// Reports the same outcome for many attempts, with one report for each range of consecutive
    /// ids.
    fn report_all(&self, attempts: &[AttemptId], outcome: Outcome, reason: Option<&str>) {
        let detail = |reason: &str| Detail { reason: reason.to_owned(), ..Detail::default() };
        let mut rest = attempts;
        while let Some(first) = rest.first() {
            let following = |(at, id): (u64, &AttemptId)| id.0 == first.0.wrapping_add(at);
            let run = match reason {
                Some(_) => 1,
                None => (0..).zip(rest).take_while(|pair| following(*pair)).count(),
            };
            rest = &rest[run..];
            let _ = self.messages.send(Message::Report(Report {
                first: *first,
                count: u32::try_from(run).unwrap_or(u32::MAX),
                outcome,
                started: Timestamp(0),
                finished: Timestamp(0),
                detail: reason.map(|reason| Box::new(detail(reason))),
                items: None,
            }));
        }
    }

    /// Waits for the reaper, which must be running before the first process starts. Its start began
    /// before the worker registered. The worker runs without a reaper when it could not be started.
    fn await_reaper(&self) {
        let Some(starting) = self.starting.borrow_mut().take() else { return };
        *self.reaper.borrow_mut() = starting.join().ok().and_then(Result::ok);
    }

    fn learn(&self, recipe: TaskRecipe) {
        let TaskRecipe { run, task, json, log_dir } = recipe;
        let log = || RunLog::new(log_dir, &self.name.borrow());
        let mark = self.slots.runner().mark().as_str();
        if self.runs.learn(run, task, &json, mark, log) {
            self.started.set(true);
            self.await_reaper();
        }
    }
}

/// Starts the reaper on a thread of its own, so that only the first process waits for it.
pub(crate) fn start_reaper(
    config: ReaperConfig,
    slots: Slots,
) -> Option<JoinHandle<std::io::Result<Reaper>>> {
    let start = move || {
        let runner = slots.runner();
        let table = runner.groups().ok_or(std::io::ErrorKind::Unsupported)?;
        Reaper::start(&config, table, runner.mark(), runner.values().map(Values::dir))
    };
    std::thread::Builder::new().name("dagrun-reaper".into()).spawn(start).ok()
}

impl worker::Server for Service {
    async fn dispatch(
        self: Rc<Self>,
        params: worker::DispatchParams,
        _: worker::DispatchResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        wire::read_list(params.get_recipes()?)?.into_iter().for_each(|recipe| self.learn(recipe));
        let handouts: Vec<Handout> = wire::read_list(params.get_assignments()?)?;
        let works: Vec<_> = handouts.into_iter().map(|handout| self.runs.work(handout)).collect();
        if works.is_empty() {
            return Ok(());
        }
        if self.leaving.get() {
            for work in works {
                let first = work.assignment.first_attempt.0;
                let ids: Vec<_> = (0..u64::from(work.assignment.count))
                    .map(|at| AttemptId(first.wrapping_add(at)))
                    .collect();
                self.report_all(&ids, Outcome::Returned, None);
            }
            return Ok(());
        }
        if self.returns {
            let mut given = self.given.borrow_mut();
            works.iter().for_each(|work| given.note(work.assignment));
        }
        self.slots.push(works);
        self.dispatched.notify_one();
        Ok(())
    }

    async fn revoke(
        self: Rc<Self>,
        params: worker::RevokeParams,
        _: worker::RevokeResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let attempts: HashSet<_> = params.get_attempts()?.iter().map(AttemptId).collect();
        let withdrawn = self.slots.withdraw(&attempts);
        if params.get_cancel() {
            let outcome = Outcome::Failed(FailureKind::Cancelled);
            self.report_all(&withdrawn, outcome, Some("cancelled"));
            self.slots.stop(&attempts, Stop::Cancel);
        } else {
            self.report_all(&withdrawn, Outcome::Returned, None);
        }
        Ok(())
    }

    /// Answers when nothing of the run is left.
    async fn forget(
        self: Rc<Self>,
        params: worker::ForgetParams,
        _: worker::ForgetResults,
    ) -> Result<(), Error> {
        let run = RunId(params.get()?.get_run());
        self.forget_run(run).await.map_err(|error| Error::failed(error.to_string()))
    }

    async fn peers(
        self: Rc<Self>,
        params: worker::PeersParams,
        _: worker::PeersResults,
    ) -> Result<(), Error> {
        let (mut peers, mut lost) = (Vec::new(), Vec::new());
        for wire::Peer { id, name, door } in wire::read_list(params.get()?.get_peers()?)? {
            match door {
                Some(Door { address, secret }) => {
                    let secret = Secret::from_bytes(secret);
                    peers.push((id, Peer { name, address, secret }));
                }
                None => lost.push((id, name)),
            }
        }
        self.values.set_peers(peers, lost);
        Ok(())
    }

    async fn release(
        self: Rc<Self>,
        params: worker::ReleaseParams,
        _: worker::ReleaseResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let run = RunId(params.get_run());
        let released: Vec<InstanceId> = wire::read_list(params.get_values()?)?;
        let values = self.values.clone();
        // Disk space is freed, which may take a while.
        let done = spawn_blocking(move || values.store().release(run, released));
        done.await.map_err(|error| Error::failed(error.to_string()))
    }

    async fn shutdown(
        self: Rc<Self>,
        _: worker::ShutdownParams,
        _: worker::ShutdownResults,
    ) -> Result<(), Error> {
        self.wind_down().await;
        self.done.notify_one();
        Ok(())
    }
}
