//! The workers' processes, and the attempts in them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use dagrun_core::engine::Outcome;
use dagrun_core::ids::{AttemptId, Micros, Timestamp};
use dagrun_core::status::FailureKind;
use dagrun_scheduler::simulated::{Planted, Welcomed};
use dagrun_worker::simulated::{Joined, Permission, Started, Stop, WorkerCore};

use super::network::ToScheduler;
use super::{Event, World};
use crate::faults::SECOND;
use crate::oracle::Place;
use crate::program::Fate;

/// The shortest and the longest time before the scheduler is looked for again.
const PAUSES: (u64, u64) = (SECOND / 20, SECOND);
/// How long a registration may take.
const JOINING: u64 = 10 * SECOND;
/// How long an attempt has run before its start is reported.
const LONG: u64 = SECOND / 20;
/// Calls with reports under way at most.
const CALLS: u32 = 4;

/// A worker's process, one life after the other.
pub(crate) struct Process {
    pub(super) core: WorkerCore,
    pub(super) uid: String,
    pub(super) life: u64,
    pub(super) is_up: bool,
    /// Seen by the scheduler, where it is on the same host.
    alive: Rc<Cell<bool>>,
    is_near: bool,
    pub(super) paused_until: u64,
    /// Until when nothing gets to it or from it.
    pub(super) apart_until: u64,
    pub(super) connection: Option<usize>,
    pause: u64,
    attempts: BTreeMap<AttemptId, Running>,
    is_leaving: bool,
    gives_up: bool,
    slots: usize,
}

struct Running {
    place: Place,
    number: u32,
    stage: Option<Stage>,
    started: Timestamp,
    /// The start of the scheduler during which it began.
    start: u64,
    succeeds: bool,
    is_stopping: bool,
    fenced: Vec<(String, u32)>,
}

/// What happens to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has run for a while.
    Long,
    /// Its process ends.
    Done,
    /// It moves its outputs to their place, as was permitted before.
    Publish,
    /// It has been stopped.
    Stop,
}

impl Process {
    /// Whether a life of it is certain to be over, where that can be seen.
    pub(super) fn life_of(&self, life: u64) -> Option<Box<dyn Fn() -> bool>> {
        let alive = Rc::clone(&self.alive);
        let is_now = self.is_near && life == self.life && alive.get();
        is_now.then(|| -> Box<dyn Fn() -> bool> { Box::new(move || !alive.get()) })
    }

    /// Whether some life of it had this uid.
    pub(super) fn has_been(&self, uid: &str) -> bool {
        let at = |uid: &str| uid.split('.').next().map(str::to_owned);
        at(uid) == at(&self.uid)
    }

    /// Where the end of the life with this uid can be seen, if it can.
    pub(super) fn end_of(&self, uid: &str) -> Option<Box<dyn Fn() -> bool>> {
        let alive = Rc::clone(&self.alive);
        match uid == self.uid {
            _ if !self.is_near => None,
            true => Some(Box::new(move || !alive.get())),
            false => Some(Box::new(|| true)),
        }
    }
}

impl World {
    pub(super) fn process(&mut self, at: u64) -> Process {
        let slots = usize::try_from(self.random.within(1, 3)).unwrap_or(1);
        Process {
            core: WorkerCore::new(String::new(), slots),
            uid: format!("worker {at}"),
            life: 0,
            is_up: false,
            alive: Rc::default(),
            is_near: self.random.one_in(2),
            paused_until: 0,
            apart_until: 0,
            connection: None,
            pause: PAUSES.0,
            attempts: BTreeMap::new(),
            is_leaving: false,
            gives_up: false,
            slots,
        }
    }

    pub(super) fn is_alive(&self, at: usize, life: u64) -> bool {
        self.workers[at].is_up && self.workers[at].life == life
    }

    pub(super) fn start_worker(&mut self, at: usize) {
        let process = &mut self.workers[at];
        if process.is_up {
            return;
        }
        process.life += 1;
        process.uid = format!("{at}.{}", process.life);
        process.core = WorkerCore::new(process.uid.clone(), process.slots);
        process.alive = Rc::new(Cell::new(true));
        (process.is_up, process.is_leaving, process.gives_up) = (true, false, false);
        (process.connection, process.pause) = (None, PAUSES.0);
        (process.paused_until, process.apart_until) = (0, 0);
        process.attempts.clear();
        let life = process.life;
        self.trace(|| format!("worker {at}.{life} starts"));
        self.schedule(0, Event::Connect(at, life));
    }

    /// Kills a worker, or its machine, of which nothing is heard then.
    pub(super) fn kill_worker(&mut self, at: usize, rest: u64, silently: bool) {
        let process = &mut self.workers[at];
        if !process.is_up {
            return;
        }
        process.is_up = false;
        process.attempts.clear();
        process.alive.set(false);
        let connection = process.connection.take();
        match connection {
            Some(line) if silently => self.connections[line].is_cut = true,
            Some(line) => self.cut(line, true),
            None => {}
        }
        self.schedule(rest, Event::StartWorker(at));
    }

    /// Tells a worker to stop.
    pub(super) fn leave(&mut self, at: usize, drain: u64) {
        let process = &mut self.workers[at];
        if !process.is_up || process.is_leaving {
            return;
        }
        process.is_leaving = true;
        process.core.leave();
        let (life, connection) = (process.life, process.connection);
        if let Some(line) = connection {
            self.send_to_scheduler(line, ToScheduler::Leaving);
        }
        self.schedule(drain, Event::Drained(at, life));
        self.attend(at);
    }

    pub(super) fn drained(&mut self, at: usize, life: u64) {
        if self.is_alive(at, life) {
            self.workers[at].core.stop_all(Stop::Leave);
            self.attend(at);
        }
    }

    /// A worker has come to its end.
    fn exit(&mut self, at: usize) {
        let process = &mut self.workers[at];
        process.is_up = false;
        process.alive.set(false);
        if let Some(line) = process.connection.take() {
            self.connections[line].is_left = true;
            self.send_to_scheduler(line, ToScheduler::Cut);
        }
        self.trace(|| format!("worker {at} exits"));
        let rest = self.random.within(SECOND / 10, 5 * SECOND);
        self.schedule(rest, Event::StartWorker(at));
    }

    pub(super) fn connect(&mut self, at: usize, life: u64) {
        if !self.is_alive(at, life) || self.workers[at].connection.is_some() {
            return;
        }
        let Some(line) = self.open(at) else {
            let process = &mut self.workers[at];
            process.pause = (process.pause * 2).min(PAUSES.1);
            let pause = process.pause;
            return self.schedule(pause, Event::Connect(at, life));
        };
        let asked = self.uptime();
        let process = &mut self.workers[at];
        process.connection = Some(line);
        let registration = process.core.registration();
        self.trace(|| format!("worker {at}.{life} registers at {line}: {registration:?}"));
        self.send_to_scheduler(line, ToScheduler::Register(Box::new(registration), asked));
        self.wait(line, JOINING);
    }

    /// Has a worker wait for an answer, for so long.
    fn wait(&mut self, line: usize, patience: u64) {
        self.place += 1;
        self.connections[line].waits = self.place;
        let place = self.place;
        self.schedule(patience, Event::Silence(line, place));
    }

    pub(super) fn silence(&mut self, line: usize, waits: u64) {
        let connection = &self.connections[line];
        let (at, life) = (connection.worker, connection.life);
        if connection.waits == waits && !connection.is_left && self.is_alive(at, life) {
            self.abandon(line);
        }
    }

    /// A worker closes a line, and looks for another one.
    pub(super) fn abandon(&mut self, line: usize) {
        let connection = &mut self.connections[line];
        if connection.is_left {
            return;
        }
        connection.is_left = true;
        let (at, is_cut) = (connection.worker, connection.is_cut);
        if !is_cut {
            self.send_to_scheduler(line, ToScheduler::Cut);
        }
        let process = &mut self.workers[at];
        if process.connection == Some(line) {
            process.connection = None;
            process.pause = PAUSES.0;
            let (life, pause) = (process.life, process.pause);
            self.schedule(pause, Event::Connect(at, life));
        }
    }

    pub(super) fn welcome(&mut self, line: usize, welcomed: &Welcomed, asked: Micros) {
        let connection = &mut self.connections[line];
        connection.waits = 0;
        let at = connection.worker;
        let process = &mut self.workers[at];
        let lease = Micros(self.lease);
        match process.core.registered(welcomed.returned, asked, lease) {
            Joined::Stays => {
                connection.is_joined = true;
                for (number, reports) in process.core.again() {
                    self.connections[line].calls += 1;
                    self.send_to_scheduler(line, ToScheduler::Report(number, reports));
                }
                self.beat(line);
            }
            Joined::GivesUp => {
                connection.is_left = true;
                process.connection = None;
                process.gives_up = true;
                self.send_to_scheduler(line, ToScheduler::Cut);
            }
        }
    }

    pub(super) fn beat(&mut self, line: usize) {
        let connection = &self.connections[line];
        if connection.is_left || !self.is_alive(connection.worker, connection.life) {
            return;
        }
        let sent = self.uptime();
        self.send_to_scheduler(line, ToScheduler::Beat(sent));
        self.wait(line, (self.lease / 3).max(SECOND));
    }

    /// Does what a worker has to do: begins and ends attempts, sends reports.
    pub(super) fn attend(&mut self, at: usize) {
        self.notice_stops(at);
        for started in self.workers[at].core.start() {
            self.take(at, started);
        }
        self.send_reports(at);
        let process = &mut self.workers[at];
        if process.gives_up && process.core.is_idle() {
            process.core.discard();
            process.gives_up = false;
            let life = process.life;
            self.schedule(PAUSES.0, Event::Connect(at, life));
        }
        let process = &self.workers[at];
        let calls = process.connection.map_or(0, |line| self.connections[line].calls);
        if process.is_leaving && process.is_up && process.core.is_done() && calls == 0 {
            self.exit(at);
        }
    }

    fn notice_stops(&mut self, at: usize) {
        let process = &mut self.workers[at];
        let life = process.life;
        let mut stopped = Vec::new();
        for (attempt, running) in &mut process.attempts {
            if !running.is_stopping && process.core.stopped(*attempt).is_some() {
                running.is_stopping = true;
                stopped.push(*attempt);
            }
        }
        for attempt in stopped {
            let delay = self.random.below(5_000);
            self.schedule(delay, Event::Attempt(at, life, attempt, Stage::Stop));
        }
    }

    /// An attempt has a slot.
    fn take(&mut self, at: usize, started: Started) {
        let Started { attempt, run, instance, number, announce, fenced } = started;
        let fenced = fenced.into_iter().map(|fenced| (fenced.worker, fenced.number)).collect();
        let (place, stage, is_stopping) = ((run, instance), None, false);
        let (started, succeeds, start) = (Timestamp(0), false, 0);
        let running =
            Running { place, number, stage, started, start, succeeds, is_stopping, fenced };
        self.workers[at].attempts.insert(attempt, running);
        match announce {
            true => self.workers[at].core.announce(attempt),
            false => self.begin(at, attempt),
        }
    }

    fn begin(&mut self, at: usize, attempt: AttemptId) {
        let process = &mut self.workers[at];
        let Some(running) = process.attempts.get_mut(&attempt) else { return };
        if running.is_stopping || running.stage.is_some() {
            return;
        }
        let (place, number) = (running.place, running.number);
        if self.options.planted != Some(Planted::StaleAttempts) {
            for (uid, number) in &running.fenced {
                self.oracle.fence(place, uid, *number);
            }
        }
        self.oracle.begin(place, number, &process.uid);
        self.seen.attempts += 1;
        let fate = self.client.fate(place);
        running.succeeds = match fate {
            Fate::Succeeds => true,
            Fate::Fails => false,
            Fate::Changes => self.random.one_in(2),
        };
        running.started = Timestamp(1_000_000 * SECOND + self.time);
        running.start = self.starts;
        running.stage = Some(Stage::Long);
        process.core.begin(attempt, running.started);
        let life = process.life;
        let uid = process.uid.clone();
        self.trace(|| format!("worker {uid} begins attempt {number} of {place:?}"));
        let takes = match self.random.below(20) {
            0 => self.random.within(SECOND, 60 * SECOND),
            1 | 2 => self.random.within(SECOND / 10, 2 * SECOND),
            _ => self.random.within(100, 30_000),
        };
        if takes > LONG {
            self.schedule(LONG, Event::Attempt(at, life, attempt, Stage::Long));
        }
        self.schedule(takes, Event::Attempt(at, life, attempt, Stage::Done));
    }

    pub(super) fn attempt(&mut self, at: usize, life: u64, attempt: AttemptId, stage: Stage) {
        if !self.is_alive(at, life) {
            return;
        }
        let uptime = self.uptime();
        let process = &mut self.workers[at];
        let Some(running) = process.attempts.get_mut(&attempt) else { return };
        let stopped = process.core.stopped(attempt).map(|stop| match stop {
            Stop::Cancel => Outcome::Failed(FailureKind::Cancelled),
            Stop::Leave => Outcome::Preempted,
        });
        let cancelled = Outcome::Failed(FailureKind::Cancelled);
        let is_careless = self.options.planted == Some(Planted::StaleAttempts);
        let outcome = match stage {
            Stage::Long => {
                process.core.is_long(attempt, running.started);
                None
            }
            // It does not look while it moves its outputs.
            Stage::Stop if running.stage == Some(Stage::Publish) => None,
            Stage::Stop => stopped,
            Stage::Done if !running.succeeds => Some(Outcome::Failed(FailureKind::Exit(1))),
            Stage::Done => match process.core.permission(attempt, uptime) {
                permission if permission == Permission::Granted || is_careless => {
                    running.stage = Some(Stage::Publish);
                    let delay = self.random.below(2_000);
                    self.schedule(delay, Event::Attempt(at, life, attempt, Stage::Publish));
                    None
                }
                Permission::NotNow if stopped.is_none() => {
                    self.schedule(LONG, Event::Attempt(at, life, attempt, Stage::Done));
                    None
                }
                _ => stopped.or(Some(cancelled)),
            },
            Stage::Publish => {
                match self.oracle.publish(running.place, running.number, &process.uid) {
                    true => Some(Outcome::Succeeded),
                    // What it wrote is not there any more.
                    false => Some(Outcome::Failed(FailureKind::MissingOutput)),
                }
            }
        };
        if let Some(outcome) = outcome {
            self.end(at, attempt, outcome);
        }
        self.attend(at);
    }

    fn end(&mut self, at: usize, attempt: AttemptId, outcome: Outcome) {
        let process = &mut self.workers[at];
        let Some(running) = process.attempts.remove(&attempt) else { return };
        self.seen.survived += u64::from(running.start > 0 && running.start < self.starts);
        let finished = Timestamp(1_000_000 * SECOND + self.time);
        let value = match outcome {
            Outcome::Succeeded => self.client.value(running.place),
            _ => None,
        };
        process.core.end(attempt, outcome, (running.started, finished), value);
        let uid = process.uid.clone();
        self.trace(|| {
            format!(
                "worker {uid} ends attempt {} of {:?}: {outcome:?}",
                running.number, running.place
            )
        });
    }

    fn send_reports(&mut self, at: usize) {
        loop {
            let Some(line) = self.workers[at].connection else { return };
            let connection = &mut self.connections[line];
            if !connection.is_joined || connection.is_broken || connection.calls >= CALLS {
                return;
            }
            let core = &mut self.workers[at].core;
            if let Some((number, reports)) = core.batch() {
                connection.calls += 1;
                self.trace(|| format!("worker {at} reports {number}: {reports:?}"));
                self.send_to_scheduler(line, ToScheduler::Report(number, reports));
                continue;
            }
            if connection.calls > 0 {
                return;
            }
            let Some(attempt) = core.announced() else { return };
            self.begin(at, attempt);
        }
    }
}
