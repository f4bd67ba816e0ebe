//! The scheduler's process: when it looks, when its disk is ready, when it is killed and started.

use dagrun_scheduler::simulated::{Call, Disk, Order, Scheduler};

use super::network::ToWorker;
use super::{Event, World};
use crate::faults::SECOND;

/// A scheduler that runs.
pub(crate) struct Server {
    pub(super) scheduler: Scheduler,
    /// The number of this start.
    pub(super) start: u64,
    pub(super) paused_until: u64,
    /// When it looks next.
    step_at: Option<u64>,
    /// Whether its disk is about to be ready.
    is_writing: bool,
    /// Whether something has been carried out and is not committed.
    pub(super) is_open: bool,
}

impl World {
    pub(super) fn start_scheduler(&mut self) {
        let Some(disk) = self.disk.take() else { return };
        self.starts += 1;
        let start = self.starts;
        let scheme = self.random.pick(&dagrun_core::engine::Scheme::ALL);
        let lease = dagrun_core::ids::Micros(self.lease);
        self.client.scheduler_starts(&disk);
        let life = |uid: &str| {
            let process = self.workers.iter().find(|process| process.has_been(uid));
            process.and_then(|process| process.end_of(uid))
        };
        let scheduler = Scheduler::start(disk, lease, scheme, &life, self.moment());
        let scheduler = scheduler.unwrap_or_else(|error| panic!("the journal: {error}"));
        self.trace(|| format!("scheduler {start} starts"));
        let (step_at, is_writing, is_open) = (None, false, false);
        let paused_until = 0;
        self.server = Some(Server { scheduler, start, paused_until, step_at, is_writing, is_open });
        self.wake(0);
    }

    /// Has the scheduler look after so long at the latest.
    pub(super) fn wake(&mut self, delay: u64) {
        let at = self.time + delay;
        let Some(server) = &mut self.server else { return };
        if server.step_at.is_none_or(|before| at < before) {
            server.step_at = Some(at);
            let start = server.start;
            self.schedule(delay, Event::Step(start));
        }
    }

    pub(super) fn step(&mut self, start: u64) {
        let (moment, time) = (self.moment(), self.time);
        let Some(server) = self.server.as_mut().filter(|server| server.start == start) else {
            return;
        };
        if server.step_at.is_some_and(|at| at <= time) {
            server.step_at = None;
        }
        let calls = server.scheduler.step(moment);
        if let Some(problem) = server.scheduler.problem() {
            panic!("the journal cannot be written: {problem}");
        }
        if let [error, ..] = server.scheduler.refused() {
            panic!("a run cannot be gone on with: {error}");
        }
        let (begun, next) = (server.scheduler.begun(), server.scheduler.next_step(moment));
        for run in begun {
            self.client.has_begun(run);
        }
        for Call { line, number, order } in calls {
            if let Order::Dispatch(_, handouts) = &order {
                for assignment in handouts.iter().map(|handout| handout.assignment) {
                    for index in assignment.first_index..assignment.first_index + assignment.count {
                        let instance =
                            dagrun_core::ids::InstanceId { task: assignment.task, index };
                        self.oracle.dispatch((assignment.run, instance), assignment.number);
                    }
                }
            }
            let connection = self
                .connections
                .iter()
                .rposition(|connection| connection.line == Some(line) && connection.start == start);
            if let Some(at) = connection {
                self.trace(|| format!("scheduler -> {at}: {number} {order:?}"));
                self.send_to_worker(at, ToWorker::Call(number, order));
            }
        }
        if let Some(next) = next {
            self.wake(next.0);
        }
        self.need_disk();
    }

    /// Has the disk be ready some time, if anything is to be written.
    fn need_disk(&mut self) {
        let (until, slow) = self.slow_disk;
        let slow = if self.time < until { slow } else { 0 };
        let Some(server) = &mut self.server else { return };
        let (waiting, hurry) = server.scheduler.unwritten();
        if server.is_writing || (waiting == 0 && !server.is_open) {
            return;
        }
        server.is_writing = true;
        let start = server.start;
        let usual = if hurry { 2_000 } else { 100_000 };
        let delay = self.random.within(50, usual + slow);
        self.schedule(delay, Event::Disk(start));
    }

    pub(super) fn write(&mut self, start: u64) {
        let all = self.random.one_in(2);
        let part = self.random.next();
        let is_committed = !self.random.one_in(4);
        let Some(server) = self.server.as_mut().filter(|server| server.start == start) else {
            return;
        };
        server.is_writing = false;
        let (waiting, _) = server.scheduler.unwritten();
        let count = match all {
            true => waiting,
            false => usize::try_from(part % (waiting as u64 + 1)).unwrap_or(waiting),
        };
        server.scheduler.carry_out(count);
        server.is_open = !is_committed;
        if is_committed {
            server.scheduler.commit();
        }
        self.wake(0);
        self.need_disk();
    }

    /// Kills it: what was not committed is lost. It is started again after a while.
    pub(super) fn kill_scheduler(&mut self, rest: u64) {
        let Some(mut server) = self.server.take() else { return };
        let (waiting, _) = server.scheduler.unwritten();
        let part = self.random.below(waiting as u64 + 1);
        server.scheduler.carry_out(usize::try_from(part).unwrap_or(waiting));
        self.disk = Some(server.scheduler.kill());
        self.client.scheduler_ends();
        for at in 0..self.connections.len() {
            if self.connections[at].start == server.start && !self.connections[at].is_over() {
                self.cut(at, false);
            }
        }
        self.schedule(rest, Event::StartScheduler);
    }

    /// Ends it when all is over: all is written.
    pub(super) fn stop_scheduler(&mut self) -> Option<Disk> {
        let mut server = self.server.take()?;
        let (waiting, _) = server.scheduler.unwritten();
        server.scheduler.carry_out(waiting);
        server.scheduler.commit();
        Some(server.scheduler.kill())
    }

    /// How long a message takes.
    pub(super) fn latency(&mut self) -> u64 {
        match self.random.below(100) {
            0 => self.random.below(3 * SECOND),
            1..6 => self.random.below(SECOND / 20),
            _ => self.random.within(20, 400),
        }
    }
}
