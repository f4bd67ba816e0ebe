//! Lines between workers and the scheduler: messages arrive in order, late, or not at all.

use dagrun_core::engine::Report;
use dagrun_core::ids::Micros;
use dagrun_scheduler::simulated::{Line, Order, Welcomed};
use dagrun_schema::wire::Registration;

use super::{Event, World};
use crate::faults::SECOND;

/// A line between one life of a worker and one start of the scheduler.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) worker: usize,
    pub(super) life: u64,
    pub(super) start: u64,
    /// The scheduler's end, once the worker is registered.
    pub(super) line: Option<Line>,
    /// When the last message arrives at each end.
    to_scheduler: u64,
    to_worker: u64,
    /// Nothing gets through any more.
    pub(super) is_cut: bool,
    /// The worker has closed its end.
    pub(super) is_left: bool,
    /// Whether the worker knows that it is registered.
    pub(super) is_joined: bool,
    /// A call of the worker's has failed.
    pub(super) is_broken: bool,
    /// Calls of the worker's with reports that have not been answered.
    pub(super) calls: u32,
    /// The number of the answer that the worker waits for; 0 when for none.
    pub(super) waits: u64,
}

impl Connection {
    pub(super) fn is_over(&self) -> bool {
        self.is_cut || self.is_left
    }
}

#[derive(Debug)]
pub(crate) enum ToScheduler {
    Register(Box<Registration>, Micros),
    Report(u64, Vec<Report>),
    Beat(Micros),
    Leaving,
    /// A call has returned.
    Answer(u64),
    /// The line is cut.
    Cut,
}

#[derive(Debug)]
pub(crate) enum ToWorker {
    Welcome(Welcomed, Micros),
    Refused,
    Reported(bool),
    /// What was sent then is answered: up to which call reports are on disk.
    Heard(Micros, Option<u64>),
    Call(u64, Order),
    Cut,
}

impl World {
    pub(super) fn open(&mut self, worker: usize) -> Option<usize> {
        let start = self.server.as_ref()?.start;
        let life = self.workers[worker].life;
        self.connections.push(Connection {
            worker,
            life,
            start,
            line: None,
            to_scheduler: self.time,
            to_worker: self.time,
            is_cut: false,
            is_left: false,
            is_joined: false,
            is_broken: false,
            calls: 0,
            waits: 0,
        });
        Some(self.connections.len() - 1)
    }

    pub(super) fn send_to_scheduler(&mut self, at: usize, message: ToScheduler) {
        let latency = self.latency();
        let connection = &mut self.connections[at];
        let apart = self.workers[connection.worker].apart_until;
        connection.to_scheduler = (self.time + latency).max(apart).max(connection.to_scheduler);
        let when = connection.to_scheduler;
        self.schedule_at(when, Event::ToScheduler(at, message));
    }

    pub(super) fn send_to_worker(&mut self, at: usize, message: ToWorker) {
        let latency = self.latency();
        let connection = &mut self.connections[at];
        let apart = self.workers[connection.worker].apart_until;
        connection.to_worker = (self.time + latency).max(apart).max(connection.to_worker);
        let when = connection.to_worker;
        self.schedule_at(when, Event::ToWorker(at, message));
    }

    /// Cuts a line: what is under way is lost. The scheduler notices only with `both`.
    pub(super) fn cut(&mut self, at: usize, both: bool) {
        let connection = &mut self.connections[at];
        connection.is_cut = true;
        let apart = self.workers[connection.worker].apart_until.saturating_sub(self.time);
        let late = self.random.below(SECOND / 5);
        self.schedule(late + apart, Event::ToWorker(at, ToWorker::Cut));
        if both {
            let late = self.random.below(SECOND / 5);
            self.schedule(late + apart, Event::ToScheduler(at, ToScheduler::Cut));
        }
    }

    pub(super) fn arrive_at_scheduler(&mut self, at: usize, message: ToScheduler) {
        let moment = self.moment();
        let connection = &mut self.connections[at];
        let start = connection.start;
        let is_cut = connection.is_cut && !matches!(message, ToScheduler::Cut);
        let Some(server) = self.server.as_mut().filter(|server| server.start == start) else {
            return;
        };
        if is_cut {
            return;
        }
        let process = &self.workers[connection.worker];
        let scheduler = &mut server.scheduler;
        let answer = match (message, connection.line) {
            (ToScheduler::Register(registration, asked), _) => {
                let life = process.life_of(connection.life);
                match scheduler.register(*registration, life, moment) {
                    Ok(welcomed) => {
                        connection.line = Some(welcomed.line);
                        Some(ToWorker::Welcome(welcomed, asked))
                    }
                    Err(_) => Some(ToWorker::Refused),
                }
            }
            (_, None) => None,
            (ToScheduler::Report(number, reports), Some(line)) => {
                Some(ToWorker::Reported(scheduler.report(line, reports, number)))
            }
            (ToScheduler::Beat(sent), Some(line)) => {
                Some(ToWorker::Heard(sent, scheduler.heartbeat(line)))
            }
            (ToScheduler::Leaving, Some(line)) => {
                scheduler.leaving(line);
                None
            }
            (ToScheduler::Answer(number), Some(line)) => {
                scheduler.sent(line, number);
                None
            }
            (ToScheduler::Cut, Some(line)) => {
                scheduler.cut(line);
                None
            }
        };
        self.wake(0);
        if let Some(answer) = answer {
            self.send_to_worker(at, answer);
        }
    }

    pub(super) fn arrive_at_worker(&mut self, at: usize, message: ToWorker) {
        let connection = &mut self.connections[at];
        let (worker, life) = (connection.worker, connection.life);
        let is_lost = connection.is_cut && !matches!(message, ToWorker::Cut);
        if connection.is_left || is_lost || !self.is_alive(worker, life) {
            return;
        }
        let connection = &mut self.connections[at];
        match message {
            ToWorker::Welcome(welcomed, asked) => self.welcome(at, &welcomed, asked),
            ToWorker::Cut | ToWorker::Refused => self.abandon(at),
            ToWorker::Reported(is_on) => {
                connection.calls -= 1;
                connection.is_broken |= !is_on;
            }
            ToWorker::Heard(sent, acknowledged) => {
                connection.waits = 0;
                match acknowledged {
                    Some(acknowledged) => {
                        let lease = Micros(self.lease);
                        self.workers[worker].core.heard(sent, lease, acknowledged);
                        let often = (2 * SECOND).min(self.lease / 5);
                        self.schedule(often, Event::Beat(at));
                    }
                    None => self.abandon(at),
                }
            }
            ToWorker::Call(number, order) => {
                self.trace(|| format!("worker {worker} gets {number} {order:?}"));
                let core = &mut self.workers[worker].core;
                match order {
                    Order::Dispatch(recipes, handouts) => core.dispatch(recipes, handouts),
                    Order::Revoke(attempts, cancel) => core.revoke(&attempts, cancel),
                    Order::Forget(run) => core.forget(run),
                    Order::Other => {}
                }
                self.send_to_scheduler(at, ToScheduler::Answer(number));
            }
        }
        self.attend(worker);
    }
}
