//! The world: what is where, and what happens next.

mod clients;
mod network;
mod scheduler;
mod workers;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use dagrun_core::ids::{AttemptId, InstanceId, Micros, Timestamp};
use dagrun_core::status::State;
use dagrun_scheduler::simulated::{Disk, Moment};

use self::clients::Client;
use self::network::{Connection, ToScheduler, ToWorker};
use self::scheduler::Server;
use self::workers::{Process, Stage};
use crate::faults::{Fault, Planned, SECOND, planned};
use crate::oracle::Oracle;
use crate::program::{Fate, Program};
use crate::random::Random;
use crate::{Options, Seen};

/// More events than this are taken for a run that never ends.
const MOST_EVENTS: u64 = 2_000_000;
/// How long after the last fault everything must have ended, besides what attempts and leases take.
const PATIENCE: u64 = 1_800 * SECOND;

/// Something that happens at its time.
#[derive(Debug)]
pub(crate) enum Event {
    /// The scheduler looks for work.
    Step(u64),
    /// The journal's disk is ready.
    Disk(u64),
    /// A scheduler is started.
    StartScheduler,
    ToScheduler(usize, ToScheduler),
    ToWorker(usize, ToWorker),
    /// A worker looks for the scheduler.
    Connect(usize, u64),
    /// A worker has waited too long for an answer.
    Silence(usize, u64),
    /// It is time for a sign of life.
    Beat(usize),
    /// Something happens to an attempt.
    Attempt(usize, u64, AttemptId, Stage),
    /// A worker that leaves has no more time.
    Drained(usize, u64),
    /// A worker is started.
    StartWorker(usize),
    Fault(Planned),
    /// Nothing goes wrong any more.
    Heal,
    /// The client looks.
    Client,
}

/// An event, and in which order it comes.
struct Due {
    at: u64,
    place: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        (self.at, self.place) == (other.at, other.place)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at, self.place).cmp(&(other.at, other.place))
    }
}

/// Everything.
pub(crate) struct World {
    options: Options,
    random: Random,
    /// Microseconds since the beginning.
    time: u64,
    /// By how much the scheduler's clock is wrong.
    jump: i64,
    place: u64,
    due: BinaryHeap<Reverse<Due>>,
    lease: u64,
    server: Option<Server>,
    /// What is on disk while there is no scheduler.
    disk: Option<Disk>,
    starts: u64,
    workers: Vec<Process>,
    connections: Vec<Connection>,
    client: Client,
    oracle: Oracle,
    /// Until when each commit takes how long.
    slow_disk: (u64, u64),
    /// Whether faults are over.
    healed: bool,
    /// Whether no worker can be lost, so that all that runs goes on.
    is_gentle: bool,
    seen: Seen,
}

impl World {
    pub(crate) fn new(options: Options) -> World {
        let seed = options.seed;
        let mut random = Random::new(seed, 4);
        let lease = random.pick(&[2 * SECOND, 5 * SECOND, 30 * SECOND]);
        let workers = random.within(1, 3).min(options.most_workers.max(1) as u64);
        let runs = if random.one_in(4) { 2 } else { 1 };
        let program =
            |at: u64| Program::new(seed.wrapping_mul(31).wrapping_add(at), options.most_tasks);
        let (faults, until) = planned(seed, options.most_faults);
        let client = Client::new((0..runs).map(program), &mut random, until);
        let mut world = World {
            options,
            random,
            time: 0,
            jump: 0,
            place: 0,
            due: BinaryHeap::new(),
            lease,
            server: None,
            disk: Some(Disk::new()),
            starts: 0,
            workers: Vec::new(),
            connections: Vec::new(),
            client,
            oracle: Oracle::default(),
            slow_disk: (0, 0),
            healed: false,
            is_gentle: lease > 20 * SECOND && faults.iter().all(|one| one.fault.loses_nobody()),
            seen: Seen::default(),
        };
        world.schedule(0, Event::StartScheduler);
        for at in 0..workers {
            let process = world.process(at);
            world.workers.push(process);
            let delay = world.random.below(SECOND / 100);
            world.schedule(delay, Event::StartWorker(world.workers.len() - 1));
        }
        for planned in faults {
            world.schedule(planned.at, Event::Fault(planned));
        }
        world.schedule(until, Event::Heal);
        world.schedule(0, Event::Client);
        world
    }

    fn schedule(&mut self, delay: u64, event: Event) {
        self.schedule_at(self.time + delay, event);
    }

    fn schedule_at(&mut self, at: u64, event: Event) {
        self.place += 1;
        self.due.push(Reverse(Due { at, place: self.place, event }));
    }

    /// The moment, as the scheduler sees it.
    fn moment(&self) -> Moment {
        let now = 1_000_000 * SECOND + self.time;
        Moment { now: Timestamp(now.saturating_add_signed(self.jump)), uptime: self.uptime() }
    }

    fn uptime(&self) -> Micros {
        Micros(1_000 * SECOND + self.time)
    }

    #[expect(clippy::print_stdout, reason = "it was asked for")]
    fn trace(&self, what: impl FnOnce() -> String) {
        if self.options.trace {
            println!("{:>12.6} {}", self.time as f64 / SECOND as f64, what());
        }
    }

    /// Plays it to its end, and checks what must hold then.
    pub(crate) fn run(mut self) -> Seen {
        let last = self.due.iter().map(|Reverse(due)| due.at).max().unwrap_or_default();
        let limit = last + PATIENCE;
        let mut over_at = None;
        while let Some(Reverse(due)) = self.due.pop() {
            self.seen.events += 1;
            assert!(self.seen.events < MOST_EVENTS, "it never ends: {}", self.situation());
            self.time = self.time.max(due.at);
            assert!(self.time < limit, "somebody waits for ever: {}", self.situation());
            if let Some(until) = self.paused_until(&due.event).filter(|until| *until > self.time) {
                // What happens to a stopped process, happens when it goes on, in the same order.
                self.due.push(Reverse(Due { at: until, ..due }));
                continue;
            }
            self.happen(due.event);
            if over_at.is_none() && self.healed && self.client.is_done() {
                // What is left is taken away in this time.
                let rests = self.workers.iter().flat_map(|one| [one.paused_until, one.apart_until]);
                let server = self.server.iter().map(|server| server.paused_until);
                let rest = rests.chain(server).fold(self.time, u64::max);
                over_at = Some(rest + 3 * self.lease + 60 * SECOND);
            }
            if over_at.is_some_and(|at| self.time >= at) {
                break;
            }
        }
        self.check();
        self.seen.time = self.time;
        self.seen
    }

    /// Until when the process to which an event happens is stopped.
    fn paused_until(&self, event: &Event) -> Option<u64> {
        let of_worker = |at: &usize| self.workers.get(*at).map(|process| process.paused_until);
        let of_connection = |at: &usize| of_worker(&self.connections.get(*at)?.worker);
        match event {
            Event::Step(_) | Event::Disk(_) | Event::ToScheduler(..) => {
                self.server.as_ref().map(|server| server.paused_until)
            }
            Event::ToWorker(at, _) | Event::Silence(at, _) | Event::Beat(at) => of_connection(at),
            Event::Connect(at, _) | Event::Attempt(at, ..) | Event::Drained(at, _) => of_worker(at),
            _ => None,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Step(start) => self.step(start),
            Event::Disk(start) => self.write(start),
            Event::StartScheduler => self.start_scheduler(),
            Event::ToScheduler(at, message) => self.arrive_at_scheduler(at, message),
            Event::ToWorker(at, message) => self.arrive_at_worker(at, message),
            Event::Connect(at, life) => self.connect(at, life),
            Event::Silence(at, waits) => self.silence(at, waits),
            Event::Beat(at) => self.beat(at),
            Event::Attempt(at, life, attempt, stage) => self.attempt(at, life, attempt, stage),
            Event::Drained(at, life) => self.drained(at, life),
            Event::StartWorker(at) => self.start_worker(at),
            Event::Fault(planned) => self.fault(planned),
            Event::Heal => self.heal(),
            Event::Client => self.look(),
        }
    }

    fn fault(&mut self, planned: Planned) {
        let Planned { fault, whom, .. } = planned;
        self.seen.faults += 1;
        let worker = usize::try_from(whom % self.workers.len() as u64).unwrap_or(0);
        self.trace(|| format!("FAULT {fault:?} (worker {worker})"));
        match fault {
            Fault::KillScheduler(rest) => self.kill_scheduler(rest),
            Fault::PauseScheduler(rest) => {
                let until = self.time + rest;
                if let Some(server) = &mut self.server {
                    server.paused_until = server.paused_until.max(until);
                }
            }
            Fault::KillWorker(rest) => self.kill_worker(worker, rest, false),
            Fault::LoseMachine(rest) => self.kill_worker(worker, rest, true),
            Fault::PauseWorker(rest) => {
                let until = self.time + rest;
                let process = &mut self.workers[worker];
                process.paused_until = process.paused_until.max(until);
            }
            Fault::Cut => {
                if let Some(at) = self.workers[worker].connection {
                    self.cut(at, true);
                }
            }
            Fault::Partition(rest) => {
                let until = self.time + rest;
                let process = &mut self.workers[worker];
                process.apart_until = process.apart_until.max(until);
            }
            Fault::Jump(by) => self.jump = by,
            Fault::Leave(drain) => self.leave(worker, drain),
            Fault::SlowDisk(each) => self.slow_disk = (self.time + 60 * SECOND, each),
        }
    }

    /// Nothing goes wrong any more: what is stopped goes on, what is apart comes together.
    fn heal(&mut self) {
        self.trace(|| "HEAL".to_owned());
        self.healed = true;
        self.slow_disk = (0, 0);
        // Events that wait for the end of a pause stay where they are: that end is near enough.
    }

    fn situation(&self) -> String {
        let workers = self.workers.iter().map(|process| {
            let (waiting, unacknowledged) = process.core.left();
            let (up, connected) = (process.is_up, process.connection.is_some());
            format!(
                "{} up {up} connected {connected} has {waiting} attempts, {unacknowledged} reports",
                process.uid
            )
        });
        let workers: Vec<String> = workers.collect();
        let scheduler = self.server.is_some();
        format!("scheduler {scheduler}, {}, client {}", workers.join(", "), self.client.situation())
    }

    /// What must hold when all is over.
    fn check(&mut self) {
        for process in self.workers.iter().filter(|process| process.is_up) {
            let (attempts, reports) = process.core.left();
            let runs = process.core.runs();
            assert!(
                attempts == 0 && reports == 0 && runs.is_empty(),
                "{} still has {attempts} attempts, {reports} reports and {runs:?}",
                process.uid
            );
        }
        let Some(disk) = self.stop_scheduler() else { panic!("there is no scheduler") };
        for asked in self.client.runs() {
            let Some(run) = asked.id else { panic!("a run was never submitted") };
            let told = self.oracle.end_of(run);
            assert!(disk.state(run) == told, "{run:?} is {:?}, not {told:?}", disk.state(run));
            let mut ends: BTreeMap<InstanceId, (State, u32)> = BTreeMap::new();
            for (task, first, count, state, attempt) in disk.ends(run) {
                for index in first..first + count {
                    let instance = InstanceId { task, index };
                    let before = ends.insert(instance, (state, attempt));
                    assert!(
                        before.is_none(),
                        "{instance:?} has ended twice: {before:?}, {state:?}"
                    );
                }
            }
            self.oracle.check_ends(run, &ends);
            asked.check(run, told, &ends);
            // A cancellation that never came to disk may have ended attempts.
            let is_gentle = self.is_gentle && !asked.may_be_cancelled();
            for instance in ends.keys().filter(|_| is_gentle) {
                let begun = self.oracle.begun((run, *instance));
                let once = begun <= 1 || asked.fate(*instance) != Fate::Succeeds;
                assert!(
                    once,
                    "{begun} attempts of {instance:?} of {run:?} began, and none was lost"
                );
            }
        }
    }
}
