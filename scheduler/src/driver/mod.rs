//! The scheduler as a machine without input and output, [`SchedulerCore`]: it passes events to the state
//! machine in batches, and its actions to the journal, to workers as calls that are due, and to observers.
//!
//! [`host`] gives it a clock, the store thread and lines; the simulator gives it others. All events go
//! through the [`Inbox`]; [`SchedulerCore::step`] takes it out in batches. What clients may see is in
//! [`Published`], and gets there only after the journal has acknowledged it.

mod commit;
mod dispatch;
mod durable;
mod explain;
mod former;
mod host;
mod inbox;
mod presence;
mod published;
mod run;
mod time;
mod values;
mod worker;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use dagrun_core::engine::{
    Action, CancelScope, Cause, Engine, Event, Outcome, Record, Report, Scheme,
};
use dagrun_core::ids::{InstanceId, Micros, RunId, Timestamp, WorkerId};
use dagrun_core::recipe::count_items;
use dagrun_core::status::{Failure, State};
use dagrun_schema::wire::{AttemptProgress, Ended};
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use self::commit::News;
use self::dispatch::Held;
use self::run::LiveRun;
use self::time::Time;
use self::worker::LiveWorker;
use crate::journal::StoreError;
use crate::journal::words::cause_text;
use crate::journal::workers::FormerWorker;
use crate::store::{Command, Haste, Journal, Line, PrepareJob, Reply};

pub(crate) use self::former::Former;
pub(crate) use self::host::{Shared, life_of_former, serve};
pub(crate) use self::inbox::{Before, Happened, Inbox, Submitted};
pub(crate) use self::presence::Welcomed;
pub(crate) use self::published::{FAILURES, ObserverState, Published};
pub(crate) use self::time::Moment;
pub(crate) use self::worker::{Call, Joining, Life, LineId, Order};

/// Records that may wait for the disk before workers have to hold their reports back.
const BACKLOG: usize = 100_000;

/// What a scheduler is to know of itself.
pub(crate) struct Settings {
    pub(crate) state_dir: PathBuf,
    /// For how long a worker's attempts are its own without a word of it.
    pub(crate) lease: Micros,
    pub(crate) scheme: Scheme,
    /// What earlier schedulers left, for one that goes on with it.
    pub(crate) former: Option<Former>,
}

/// The state machine and what surrounds it, without a clock, a disk or a network of its own.
pub(crate) struct SchedulerCore {
    engine: Engine,
    store: Box<dyn Journal>,
    state_dir: PathBuf,
    /// For how long a worker's attempts are its own without a word of it.
    lease: Micros,
    time: Time,
    /// How long this process has watched its workers: it does not count while the process, or the machine,
    /// was stopped.
    awake: Micros,
    /// Whether a line has been cut, or made anew, since the host asked last.
    lines_changed: bool,
    runs: FxHashMap<RunId, LiveRun>,
    workers: BTreeMap<WorkerId, LiveWorker>,
    /// Workers of earlier schedulers that are expected back.
    former: Vec<(FormerWorker, Option<Life>)>,
    /// Runs of earlier schedulers that are about to be gone on with.
    going_on: BTreeSet<RunId>,
    /// Whether any of them has not come back, or was lost since.
    misses_former: bool,
    /// Whether the numbers of workers are not those of any before.
    continues: bool,
    next_worker: u32,
    /// The number of the last line to a worker.
    lines: u64,
    /// The uids of all workers that there have been.
    uids: FxHashMap<WorkerId, String>,
    /// Workers with reports that are to be acknowledged once they are on disk.
    reported: BTreeSet<WorkerId>,
    /// With which batch the reports of a worker up to a number are on disk.
    receipts: VecDeque<(u64, WorkerId, u64)>,
    /// Workers that kept values and were lost, the last first.
    lost_lately: VecDeque<(WorkerId, String)>,
    /// Changes whenever a worker joins or is lost.
    peers_version: u64,
    /// Whether some worker keeps, or kept, values that others may need.
    values_kept: bool,
    /// Workers that left, to be recorded after the records of the current batch, and whether they are lost.
    left: Vec<(WorkerId, bool)>,
    /// The uids of workers of earlier schedulers that were lost without their end being certain.
    lost_before: Vec<String>,
    /// How many workers are present, for observers.
    present: Rc<Cell<u32>>,
    held: Held,
    /// Values that nobody needs any more, and with which batch the reason is on disk: before, a kill would
    /// bring back who needs them.
    unneeded: VecDeque<(u64, RunId, Vec<InstanceId>)>,
    /// To be sent after the records of the current batch.
    prepares: Vec<PrepareJob>,
    /// The number of the last batch sent to the store, and the record counts of those not yet
    /// acknowledged.
    batch: u64,
    committed: u64,
    unwritten: VecDeque<(u64, usize)>,
    /// What is journaled before the records of the current batch.
    notes: Vec<Line>,
    /// How soon the current batch must be on disk.
    haste: Haste,
    /// The batches with the ends of attempts that are followed by others, until they are on disk.
    followed: FxHashMap<(RunId, InstanceId), u64>,
    /// Clients that wait for the disk; the first ones for the current batch.
    unanswered: Vec<oneshot::Sender<()>>,
    answers: VecDeque<(u64, oneshot::Sender<()>)>,
    backlog: usize,
    /// What becomes public with the acknowledgement of a batch.
    news: VecDeque<(u64, News)>,
    halted: Option<Arc<StoreError>>,
    /// Why nothing is handed out for now; empty when it is.
    paused: String,
}

/// The result of a batch of events.
#[derive(Default)]
struct Batch {
    entries: Vec<Line>,
    news: News,
}

impl SchedulerCore {
    /// A machine that writes to this journal, and places what belongs to runs in this directory.
    pub(crate) fn new(settings: Settings, journal: Box<dyn Journal>, at: Moment) -> SchedulerCore {
        let Settings { state_dir, lease, scheme, former } = settings;
        let mut core = SchedulerCore {
            engine: Engine::with_scheme(scheme, at.now.0),
            store: journal,
            state_dir,
            lease,
            time: Time::new(at),
            awake: Micros(0),
            lines_changed: false,
            runs: FxHashMap::default(),
            workers: BTreeMap::new(),
            former: Vec::new(),
            misses_former: false,
            going_on: BTreeSet::new(),
            continues: false,
            next_worker: 0,
            lines: 0,
            uids: FxHashMap::default(),
            reported: BTreeSet::new(),
            receipts: VecDeque::new(),
            lost_lately: VecDeque::new(),
            peers_version: 0,
            values_kept: false,
            left: Vec::new(),
            lost_before: Vec::new(),
            present: Rc::default(),
            held: Held::default(),
            unneeded: VecDeque::new(),
            prepares: Vec::new(),
            batch: 0,
            committed: 0,
            notes: Vec::new(),
            haste: Haste::default(),
            followed: FxHashMap::default(),
            unanswered: Vec::new(),
            answers: VecDeque::new(),
            unwritten: VecDeque::new(),
            backlog: 0,
            news: VecDeque::new(),
            halted: None,
            paused: String::new(),
        };
        if let Some(former) = former {
            core.expect(former);
        }
        core
    }

    /// Takes everything from the inbox and processes it.
    pub(crate) fn step(&mut self, at: Moment, inbox: &Inbox) {
        let passed = self.time.look(at);
        self.watch(passed);
        let now = self.time.now();
        let mut actions = Vec::new();
        for happened in inbox.take() {
            self.take(happened, now, &mut actions);
        }
        self.check_presence(now, &mut actions);
        if self.engine.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.engine.handle(now, Event::Tick, &mut actions);
        }
        self.perform(actions, inbox);
    }

    /// Takes an answer of the journal.
    pub(crate) fn take_reply(&mut self, reply: Reply, inbox: &Inbox) {
        match reply {
            Reply::Committed(number) => self.committed(number, inbox),
            Reply::Prepared(prepared) => self.prepared(*prepared, inbox),
            Reply::Paused(why) => self.pause(why),
            Reply::Resumed => self.pause(String::new()),
            Reply::Failed(error) => self.halt(error, inbox),
        }
    }

    /// How long until the next step is due if nothing happens.
    pub(crate) fn next_step(&self, at: Moment) -> Option<Micros> {
        let deadline = self.engine.next_deadline().map(|deadline| self.time.left(deadline, at));
        deadline.into_iter().chain(self.next_check()).min()
    }

    /// Whether so many records wait for the disk that workers have to hold their reports back.
    pub(crate) fn is_behind(&self) -> bool {
        self.backlog >= BACKLOG
    }

    /// Counts the time since the last look, as far as this process cannot have been stopped in it.
    fn watch(&mut self, passed: Micros) {
        // A look may be late without anybody having been stopped.
        self.awake.0 += passed.0.min(self.tick().0.saturating_mul(2));
    }

    fn take(&mut self, happened: Happened, now: Timestamp, actions: &mut Vec<Action>) {
        match happened {
            Happened::Submitted(run, plan, past) => {
                if self.halted.is_none() {
                    self.engine.claims_are_complete(!self.misses_former);
                    let event = Event::RunSubmitted { run, plan, past };
                    self.engine.handle(now, event, actions);
                }
            }
            Happened::Cancel(run, scope, answer) => {
                self.note_cancel(run, scope);
                self.unanswered.extend(answer);
                self.engine.handle(now, Event::CancelRequested { run, scope }, actions);
            }
            Happened::Joined(worker, info) => {
                // It may have been lost again meanwhile.
                if self.workers.contains_key(&worker) {
                    self.engine.handle(now, Event::WorkerJoined { worker, info }, actions);
                }
            }
            Happened::Progress(worker, progress) => {
                let held =
                    |one: &AttemptProgress| self.engine.instance_of(worker, one.attempt).is_some();
                let progress: Vec<_> = progress.into_iter().filter(held).collect();
                if let Some(live) = self.workers.get_mut(&worker) {
                    live.come_to(progress);
                }
            }
            Happened::Heard(worker) => self.heard(worker),
            Happened::Reports(worker, mut reports, number) => {
                self.check_references(worker, &mut reports);
                self.count_items(&mut reports);
                self.heard(worker);
                self.received(worker, number);
                if let Some(live) = self.workers.get_mut(&worker) {
                    live.have_ended(&reports);
                }
                self.engine.handle(now, Event::Reported { worker, reports }, actions);
            }
            Happened::Returned(returning) => self.returned(*returning, now, actions),
            Happened::Leaving(worker) => {
                self.engine.handle(now, Event::WorkerLeaving { worker }, actions);
            }
            // Each sign of life says so; most are from workers that always had enough.
            Happened::Short(worker, left)
                if left.is_some() || self.engine.shortage(worker).is_some() =>
            {
                self.engine.handle(now, Event::WorkerShort { worker, left }, actions);
            }
            Happened::Short(..) => {}
            Happened::Unsent(worker, reports) => {
                self.engine.handle(now, Event::Reported { worker, reports }, actions);
            }
            Happened::Sent(line, call) => {
                if let Some(live) = self.workers.get_mut(&line.worker) {
                    live.sent(call);
                }
            }
            Happened::Cut(line) => self.cut(line, now, actions),
            Happened::Abandoned(run) => self.abandoned(run, now, actions),
        }
    }

    /// Counts the elements of the arrays that attempts captured, where any are scattered.
    fn count_items(&self, reports: &mut [Report]) {
        // What is about to be gone on with may scatter as well.
        if self.going_on.is_empty() && !self.runs.values().any(LiveRun::scatters) {
            return;
        }
        for report in reports.iter_mut().filter(|report| report.outcome == Outcome::Succeeded) {
            let value = report.detail.as_deref().and_then(|detail| detail.value.as_deref());
            report.items = value.and_then(count_items);
        }
    }

    fn perform(&mut self, actions: Vec<Action>, inbox: &Inbox) {
        let now = self.time.for_people();
        let mut batch = Batch { entries: std::mem::take(&mut self.notes), ..Batch::default() };
        for action in actions {
            match action {
                Action::Dispatch { worker, assignment } => {
                    if self.halted.is_none() {
                        match self.wait_for_disk(worker, &assignment, &mut batch) {
                            None => self.dispatch(worker, assignment, inbox),
                            Some(number) => self.hold_until(number, worker, assignment),
                        }
                    }
                }
                Action::Revoke { worker, attempts, mode } => {
                    self.revoke(worker, attempts, mode, inbox);
                }
                Action::Record(record) => self.record(record, &mut batch),
                Action::WidthKnown { run, task, width } => {
                    if let Some(run) = self.runs.get_mut(&run) {
                        run.widen(task, width);
                    }
                    batch.entries.push(Line::Width { run, task, width });
                }
                Action::Reopen { run, instance } => self.reopen(run, instance, &mut batch),
                Action::Release { run, values, .. } => {
                    self.unneeded.push_back((self.batch + 1, run, values));
                }
                Action::Remove { run, task, first_index, count } => {
                    let live = self.runs.get_mut(&run);
                    let removal = live.and_then(|live| live.removal(run, task, first_index, count));
                    batch.entries.extend(removal.map(Line::Remove));
                }
                Action::RunFinished { run, state } => batch.news.ends.push((run, state, now)),
            }
        }
        self.write(batch);
        self.release_unneeded();
        self.note_receipts();
        // Only now: the records written above still name these workers.
        for (worker, lost) in self.left.drain(..) {
            self.store.send(Command::Left { worker, at: now, lost }, Haste::Whenever);
        }
        for job in self.prepares.drain(..) {
            self.store.send(Command::Prepare(Box::new(job)), Haste::Now);
        }
    }

    /// The value that an instance made is lost: it runs again, when that is on disk.
    fn reopen(&mut self, run: RunId, instance: InstanceId, batch: &mut Batch) {
        if let Some(run) = self.runs.get_mut(&run) {
            run.reopen(instance);
        }
        for (_, of, values) in &mut self.unneeded {
            if *of == run {
                // What is made again is not that which nobody needed.
                values.retain(|value| *value != instance);
            }
        }
        self.followed.insert((run, instance), self.batch + 1);
        batch.entries.push(Line::Reopen { run, instance });
    }

    fn record(&mut self, mut record: Record, batch: &mut Batch) {
        if record.finished == self.time.now() {
            // The state machine's time, not that of a worker.
            record.finished = self.time.for_people();
        }
        if let Some(run) = self.runs.get_mut(&record.run) {
            run.keep_payload(&record);
            run.note_duration(&record);
            if record.state.is_terminal() {
                // Kept even without an observer: one may attach before it is written.
                let Record { task, first_index: first, count, state, .. } = record;
                batch.news.ended.push((record.run, Ended { task, first, count, state }));
            }
        }
        if matches!(record.state, State::Ready | State::Backoff) {
            let instance = InstanceId { task: record.task, index: record.first_index };
            self.followed.insert((record.run, instance), self.batch + 1);
        }
        if record.state == State::Failed {
            let failures = batch.news.failures.entry(record.run).or_default();
            if failures.len() < FAILURES {
                failures.push(self.failure(&record));
            }
        }
        batch.entries.push(Line::Record(record));
    }

    fn failure(&self, record: &Record) -> Failure {
        let detail = record.detail.as_deref();
        let own = detail.map(|detail| detail.reason.clone()).filter(|reason| !reason.is_empty());
        let task = self.runs.get(&record.run).and_then(|run| run.task(record.task));
        let words = || record.cause.map(|cause| cause_text(cause, task));
        Failure {
            instance: InstanceId { task: record.task, index: record.first_index },
            reason: own.filter(|_| !is_limit(record.cause)).or_else(words).unwrap_or_default(),
            stderr_tail: detail.map(|detail| detail.stderr_tail.clone()).unwrap_or_default(),
        }
    }

    /// The store has failed: starts nothing more, ends what runs, and notifies clients.
    fn halt(&mut self, error: Arc<StoreError>, inbox: &Inbox) {
        let problem = dagrun_core::one_line(error.as_ref());
        self.halted = Some(error);
        self.news.clear();
        self.unwritten.clear();
        self.unanswered.clear();
        self.answers.clear();
        self.receipts.clear();
        self.backlog = 0;
        for (run, live) in &self.runs {
            live.published.stop(&problem);
            inbox.push(Happened::Cancel(*run, CancelScope::Run, None));
        }
    }

    /// Registers a run at once, so that clients can query it; the state machine receives it through
    /// the inbox.
    pub(crate) fn submit(&mut self, submitted: Submitted, inbox: &Inbox) {
        let (run, plan) = (submitted.run, Arc::clone(&submitted.plan));
        let past = Arc::clone(&submitted.past);
        let live = LiveRun::new(submitted, &self.state_dir, &self.present);
        if let Some(error) = &self.halted {
            live.published.stop(&dagrun_core::one_line(error.as_ref()));
        }
        live.published.wait(&self.paused);
        self.runs.insert(run, live);
        self.going_on.remove(&run);
        inbox.push(Happened::Submitted(run, plan, past));
    }

    /// Numbers attempts as those of this start of the scheduler.
    pub(crate) fn begin_epoch(&mut self, epoch: u64) {
        self.engine.begin_epoch(epoch);
    }

    /// For how long a worker's attempts are its own without a word of it.
    pub(crate) fn lease(&self) -> Micros {
        self.lease
    }

    /// Why no new run can start, if so.
    pub(crate) fn problem(&self) -> Option<Arc<StoreError>> {
        self.halted.clone()
    }

    /// The public side of a live run.
    pub(crate) fn published(&self, run: RunId) -> Option<Rc<Published>> {
        self.runs.get(&run).map(|run| Rc::clone(&run.published))
    }

    /// The store.
    pub(crate) fn store(&self) -> &dyn Journal {
        self.store.as_ref()
    }
}

/// Whether a limit was exceeded, so that the attempt's own reason does not count.
fn is_limit(cause: Option<Cause>) -> bool {
    matches!(cause, Some(Cause::LostTooOften | Cause::NotStartedInTime))
}
