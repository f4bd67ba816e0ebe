//! The scheduler for the simulator: its machine on simulated time, its journal in memory, and in place of
//! lines the calls that would come and go over them.
//!
//! Nothing here is for use by others.

#![expect(missing_debug_implementations, reason = "the simulator prints what it needs")]

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use dagrun_core::engine::{CancelScope, Report, Scheme};
use dagrun_core::ids::{AttemptId, Micros, RunId, TaskId, Timestamp};
use dagrun_core::status::{RunState, State};
use dagrun_schema::wire::{Handout, Registration, Submission, Update};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::driver::{
    self, Before, Happened, Inbox, Joining, ObserverState, SchedulerCore, Settings, Submitted,
};
use crate::history::{History, Restored};
use crate::journal::StoreError;
use crate::journal::schema;
use crate::journal::workers::FormerWorker;
use crate::store::simulated;
use crate::store::{Begun, Command, Haste, NewRun, Reply, Resumption};
use crate::submission::{self, Checked, SubmissionError};
use crate::{HistoryError, history::Retry};

pub use crate::planted::{Planted, plant};

/// A moment, by two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For people, and for deadlines: it may jump.
    pub now: Timestamp,
    /// How long the machine has been up.
    pub uptime: Micros,
}

impl Moment {
    fn of_core(self) -> driver::Moment {
        driver::Moment { now: self.now, uptime: self.uptime }
    }
}

/// What survives a scheduler.
pub struct Disk(Connection);

impl Disk {
    /// An empty one.
    ///
    /// # Panics
    /// When there is no memory for it.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "there is no other one")]
    pub fn new() -> Disk {
        Disk(schema::in_memory().expect("a database in memory"))
    }

    /// Its database, for rows that no scheduler writes.
    #[must_use]
    pub fn database(&self) -> &Connection {
        &self.0
    }

    /// Has `ask` ask its history.
    pub fn with_history(self, ask: impl FnOnce(&History)) -> Disk {
        let history = History::over(self.0);
        ask(&history);
        Disk(history.into_database())
    }

    /// How a run stands there; `None` without such a run.
    #[must_use]
    pub fn state(&self, run: RunId) -> Option<RunState> {
        state_of(&self.0, run)
    }

    /// The ends of instances of a run: the task, the first index, how many, the state, the attempt.
    ///
    /// # Panics
    /// When the journal cannot be read.
    #[must_use]
    pub fn ends(&self, run: RunId) -> Vec<(TaskId, u32, u32, State, u32)> {
        let sql = "SELECT task, first_index, count, state, attempt FROM events WHERE run = ?1";
        let mut rows = self.0.prepare(sql).expect("a journal");
        let rows = rows.query_map([run.0.cast_signed()], |row| {
            let state = State::from_u8(row.get(3)?).unwrap_or(State::Blocked);
            Ok((TaskId(row.get(0)?), row.get(1)?, row.get(2)?, state, row.get(4)?))
        });
        let rows = rows.expect("rows").map(|row| row.expect("a row"));
        rows.filter(|(.., state, _)| state.is_terminal()).collect()
    }

    fn unfinished(&self) -> Vec<RunId> {
        let sql = "SELECT run FROM runs WHERE finished IS NULL ORDER BY run";
        let mut runs = self.0.prepare(sql).expect("a table of runs");
        let runs = runs.query_map([], |row| row.get(0)).expect("runs");
        runs.map(|run| RunId(run.map(i64::cast_unsigned).expect("a run"))).collect()
    }
}

fn state_of(database: &Connection, run: RunId) -> Option<RunState> {
    let sql = "SELECT state FROM runs WHERE run = ?1";
    let state: Option<u8> =
        database.query_row(sql, [run.0.cast_signed()], |row| row.get(0)).ok()?;
    state.and_then(RunState::from_u8)
}

/// Checks a submission as a scheduler does it, before anything of it runs.
///
/// # Errors
/// When it is refused.
pub fn check(submission: &Submission) -> Result<(), SubmissionError> {
    submission::check(submission).map(drop)
}

/// How many instances a retry of what failed in a run would take over.
///
/// # Errors
/// When it cannot be retried.
pub fn taken_over(history: &History, run: RunId) -> Result<u64, HistoryError> {
    let submission = history.submission(run)?;
    let refused = |source| HistoryError::Submission { run, source };
    let checked = submission::check(&submission).map_err(refused)?;
    let (submission, checked, selected) = (&submission, &checked, Vec::new());
    let retry = Retry { submission, checked, then: None, failed: true, selected };
    history.take_over(run, &retry).map(|taken| taken.past.instances())
}

/// Whether the process of a worker is certain to have ended.
pub type Life = Box<dyn Fn() -> bool>;

/// A line to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line(driver::LineId);

/// The answer to a registration.
#[derive(Clone, Debug)]
pub struct Welcomed {
    /// The line.
    pub line: Line,
    /// The worker's number.
    pub worker: u32,
    /// Whether what it has is still its own.
    pub returned: bool,
}

/// A call to a worker.
#[derive(Debug)]
pub struct Call {
    /// Over which line.
    pub line: Line,
    /// Its number.
    pub number: u64,
    /// What the worker is to do.
    pub order: Order,
}

/// What a worker is to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// Run these; the recipes of these tasks come with them.
    Dispatch(Vec<(RunId, TaskId)>, Vec<Handout>),
    /// Give these up; running ones too if so.
    Revoke(Vec<AttemptId>, bool),
    /// Forget a run.
    Forget(RunId),
    /// Something else, of no interest here.
    Other,
}

/// A client that follows a run.
pub struct Observer(Rc<ObserverState>);

impl Observer {
    /// What it has not been sent yet.
    #[must_use]
    pub fn take(&self) -> Update {
        self.0.take()
    }
}

type Answer<T> = oneshot::Receiver<Result<T, Arc<StoreError>>>;

/// A run that waits for the disk before it starts.
struct New {
    answer: Answer<Begun>,
    submission: Arc<Submission>,
    checked: Checked,
    started: Timestamp,
}

/// A run of a former scheduler, which is gone on with.
struct Former {
    run: RunId,
    submission: Submission,
    checked: Checked,
    restored: Restored,
}

/// A scheduler.
pub struct Scheduler {
    core: SchedulerCore,
    inbox: Inbox,
    disk: simulated::Disk,
    replies: mpsc::UnboundedReceiver<Reply>,
    new: Vec<New>,
    former_runs: Vec<RunId>,
    going_on: Vec<(Answer<Option<Begun>>, Former)>,
    begun: Vec<RunId>,
    refused: Vec<HistoryError>,
}

impl Scheduler {
    /// Starts one. It expects the workers of former ones back; `life` says of a uid whether its process is
    /// certain to have ended, where that can be seen.
    ///
    /// # Errors
    /// When what is on disk cannot be read.
    pub fn start(
        disk: Disk,
        lease: Micros,
        scheme: Scheme,
        life: &dyn Fn(&str) -> Option<Life>,
        at: Moment,
    ) -> Result<Scheduler, HistoryError> {
        let former_runs = disk.unfinished();
        let history = History::over(disk.0);
        let (workers, last_worker) = history.former_workers()?;
        let lost = history.lost_workers()?;
        let with_life = |worker: FormerWorker| {
            let life = life(&worker.uid);
            (worker, life)
        };
        let workers = workers.into_iter().map(with_life).collect();
        let runs = former_runs.iter().copied().collect();
        let former = Some(driver::Former { workers, runs, last_worker, lost });
        let (reply_to, replies) = mpsc::unbounded_channel();
        let disk = simulated::Disk::new(history.into_database(), reply_to);
        let state_dir = PathBuf::from("/simulated");
        let settings = Settings { state_dir, lease, scheme, former };
        let core = SchedulerCore::new(settings, Box::new(disk.commands()), at.of_core());
        let (new, going_on, begun, refused) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let inbox = Inbox::default();
        let all =
            Scheduler { core, inbox, disk, replies, new, former_runs, going_on, begun, refused };
        Ok(all)
    }

    /// Kills it: only what is on disk is left.
    #[must_use]
    pub fn kill(self) -> Disk {
        Disk(self.disk.kill())
    }

    /// Submits a run, which begins once it is on disk.
    ///
    /// # Panics
    /// When the pipeline is wrong.
    pub fn submit(&mut self, submission: Submission, at: Moment) {
        let checked = submission::check(&submission).expect("a pipeline");
        let submission = Arc::new(submission);
        let names = checked.pipeline.tasks.iter().map(|task| task.name.clone());
        let new = NewRun {
            name: checked.pipeline.name.clone(),
            submission: Arc::clone(&submission),
            started: at.now,
            tasks: names.zip(checked.widths.iter().copied()).collect(),
            taken: None,
        };
        let (reply, answer) = oneshot::channel();
        self.core.store().send(Command::Begin(Box::new(new), reply), Haste::Now);
        self.new.push(New { answer, submission, checked, started: at.now });
    }

    /// The runs that have begun since the last call, in the order in which they were submitted.
    pub fn begun(&mut self) -> Vec<RunId> {
        std::mem::take(&mut self.begun)
    }

    /// Goes on with the runs of former schedulers, if all their workers are back or lost.
    fn go_on(&mut self, at: Moment) {
        if self.core.is_expecting() || self.former_runs.is_empty() || self.disk.is_open() {
            return;
        }
        let keepers = self.core.keepers();
        let runs = std::mem::take(&mut self.former_runs);
        let former = self.disk.with_history(|history| {
            let former = runs.iter().map(|run| {
                let submission = history.submission(*run)?;
                let refused = |source| HistoryError::Submission { run: *run, source };
                let checked = submission::check(&submission).map_err(refused)?;
                let restored = history.restore(*run, &submission, &checked, &keepers)?;
                Ok(Former { run: *run, submission, checked, restored })
            });
            former.collect::<Vec<Result<Former, HistoryError>>>()
        });
        for (run, former) in runs.into_iter().zip(former) {
            let former = match former {
                Ok(former) => former,
                Err(error) => {
                    self.inbox.push(Happened::Abandoned(run));
                    self.refused.push(error);
                    continue;
                }
            };
            let Former { run, checked: Checked { pipeline, .. }, restored, .. } = &former;
            let resumption = Resumption {
                run: *run,
                name: pipeline.name.clone(),
                tasks: pipeline.tasks.iter().map(|task| task.name.clone()).collect(),
                reopened: restored.reopened(),
                unknown: restored.unknown.clone(),
                crashed: restored.crashed,
                at: at.now,
            };
            let (reply, answer) = oneshot::channel();
            self.core.store().send(Command::Resume(Box::new(resumption), reply), Haste::Now);
            self.going_on.push((answer, former));
        }
    }

    /// Starts the runs that are on disk now.
    fn begin_what_is_written(&mut self) {
        let mut waiting = Vec::new();
        for mut new in std::mem::take(&mut self.new) {
            let Ok(begun) = new.answer.try_recv() else {
                waiting.push(new);
                continue;
            };
            let New { submission, checked, started, .. } = new;
            // Otherwise its client gets the reason.
            let Ok(begun) = begun else { continue };
            let Checked { pipeline, plan, widths } = checked;
            self.core.begin_epoch(begun.epoch);
            let (run, plan) = (begun.run, Arc::new(plan));
            self.begun.push(run);
            let (past, before) = (Arc::default(), Before::default());
            let submitted =
                Submitted { run, submission, pipeline, plan, widths, past, started, before };
            self.core.submit(submitted, &self.inbox);
        }
        self.new = waiting;
        let mut waiting = Vec::new();
        for (mut answer, former) in std::mem::take(&mut self.going_on) {
            let Ok(begun) = answer.try_recv() else {
                waiting.push((answer, former));
                continue;
            };
            let Former { run, submission, checked, restored } = former;
            let Ok(Some(begun)) = begun else { continue };
            let Checked { pipeline, plan, widths } = checked;
            self.core.begin_epoch(begun.epoch);
            let (failures, marks) = (restored.failures.clone(), restored.marks.clone());
            let (before, started) = (Before { failures, marks }, restored.started);
            let past =
                restored.into_past(|name, host, uid| self.core.worker_called(name, host, uid));
            let (submission, past, plan) = (Arc::new(submission), Arc::new(past), Arc::new(plan));
            let submitted =
                Submitted { run, submission, pipeline, plan, widths, past, started, before };
            self.core.submit(submitted, &self.inbox);
        }
        self.going_on = waiting;
    }

    /// Registers a worker. `life` says whether its process is certain to have ended, where that can be
    /// seen.
    ///
    /// # Errors
    /// When a later registration of it has arrived before.
    pub fn register(
        &mut self,
        registration: Registration,
        life: Option<Life>,
        at: Moment,
    ) -> Result<Welcomed, String> {
        let joining = Joining { registration, life };
        let welcomed = self.core.welcome(joining, at.now, &self.inbox);
        let driver::Welcomed { line, returned, .. } =
            welcomed.map_err(|error| error.to_string())?;
        Ok(Welcomed { line: Line(line), worker: line.worker.0, returned })
    }

    fn is_on(&self, line: Line) -> bool {
        self.core.is_on(line.0)
    }

    /// Reports of a worker, in a call of its; `false` when its session has ended.
    pub fn report(&mut self, line: Line, reports: Vec<Report>, number: u64) -> bool {
        let is_on = self.is_on(line);
        if is_on {
            self.inbox.push(Happened::Reports(line.0.worker, reports, number));
        }
        is_on
    }

    /// A sign of life of a worker: up to which of its calls its reports are on disk. `None` when its
    /// session has ended.
    pub fn heartbeat(&mut self, line: Line) -> Option<u64> {
        if !self.is_on(line) {
            return None;
        }
        self.inbox.push(Happened::Heard(line.0.worker));
        Some(self.core.acknowledged(line.0.worker))
    }

    /// A worker leaves.
    pub fn leaving(&mut self, line: Line) {
        if self.is_on(line) {
            self.inbox.push(Happened::Leaving(line.0.worker));
        }
    }

    /// A call to a worker has returned.
    pub fn sent(&mut self, line: Line, number: u64) {
        self.inbox.push(Happened::Sent(line.0, number));
    }

    /// A line is cut.
    pub fn cut(&mut self, line: Line) {
        self.inbox.push(Happened::Cut(line.0));
    }

    /// A client cancels, and is answered when that is on disk.
    pub fn cancel(&mut self, run: RunId, scope: CancelScope) -> oneshot::Receiver<()> {
        let (answer, on_disk) = oneshot::channel();
        self.inbox.push(Happened::Cancel(run, scope, Some(answer)));
        on_disk
    }

    /// A client follows a run, if it is live.
    #[must_use]
    pub fn observe(&self, run: RunId) -> Option<Observer> {
        self.core.published(run).map(|published| Observer(published.observe(true)))
    }

    /// Processes what has happened; returns the calls that are due.
    pub fn step(&mut self, at: Moment) -> Vec<Call> {
        while let Ok(reply) = self.replies.try_recv() {
            self.core.take_reply(reply, &self.inbox);
        }
        self.begin_what_is_written();
        self.core.step(at.of_core(), &self.inbox);
        self.go_on(at);
        let calls = self.core.calls().into_iter();
        let call = |driver::Call { line, number, order }| {
            let order = match order {
                driver::Order::Dispatch { recipes, handouts } => {
                    let recipes = recipes.iter().map(|recipe| (recipe.run, recipe.task)).collect();
                    Order::Dispatch(recipes, handouts)
                }
                driver::Order::Revoke { attempts, cancel } => Order::Revoke(attempts, cancel),
                driver::Order::Forget(run) => Order::Forget(run),
                _ => Order::Other,
            };
            Call { line: Line(line), number, order }
        };
        calls.map(call).collect()
    }

    /// How long until the next step is due if nothing happens.
    #[must_use]
    pub fn next_step(&self, at: Moment) -> Option<Micros> {
        self.core.next_step(at.of_core())
    }

    /// How many commands wait for the disk, and whether somebody waits for them.
    #[must_use]
    pub fn unwritten(&self) -> (usize, bool) {
        let (count, haste) = self.disk.waiting();
        (count, haste > Haste::Whenever)
    }

    /// How a run stands on disk. Only while nothing has been carried out and not committed.
    #[must_use]
    pub fn state_on_disk(&self, run: RunId) -> Option<RunState> {
        state_of(self.disk.database(), run)
    }

    /// Carries out the first so many commands; they are not on disk before [`Scheduler::commit`].
    pub fn carry_out(&mut self, count: usize) {
        self.disk.carry_out(count);
    }

    /// What was carried out is on disk.
    pub fn commit(&mut self) {
        self.disk.commit();
    }

    /// Why runs of former schedulers could not be gone on with.
    #[must_use]
    pub fn refused(&self) -> &[HistoryError] {
        &self.refused
    }

    /// Why it cannot go on, if so.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.core.problem().map(|error| error.to_string())
    }
}
