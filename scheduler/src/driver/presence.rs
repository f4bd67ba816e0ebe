//! The presence of workers: registrations, cut lines, silence, leases, acknowledgements.

use std::collections::VecDeque;
use std::ops::Range;

use dagrun_core::engine::{Action, Claim, Event, WorkerInfo};
use dagrun_core::ids::{AttemptId, Micros, RunId, Timestamp, WorkerId};
use dagrun_schema::wire::Registration;
use rustc_hash::{FxHashMap, FxHashSet};

use super::SchedulerCore;
use super::inbox::{Happened, Inbox};
use super::worker::{Joining, LineId, LiveWorker, Order};
use crate::journal::workers::FormerWorker;
use crate::store::{Command, Haste, Joined};

/// How often to look whether a worker of this host whose line is cut has ended.
const DEATH: Micros = Micros(20_000);
/// How often to look for silent workers at least.
const TICK: Micros = Micros(2_000_000);

/// A later registration of the same worker has arrived before.
#[derive(Debug, thiserror::Error)]
#[error("a later registration of this worker has arrived before")]
pub(crate) struct Superseded;

/// A worker that has said what it has, and the line over which it did.
pub(crate) struct Returning {
    worker: WorkerId,
    held: Vec<Range<u64>>,
    claims: Vec<Claim>,
    runs: Vec<RunId>,
}

/// A worker that has registered.
pub(crate) struct Welcomed {
    pub(crate) line: LineId,
    pub(crate) name: String,
    /// Whether it was known, so that what it has is still its own.
    pub(crate) returned: bool,
}

impl SchedulerCore {
    /// Registers a worker at once, so that its name is taken; the state machine receives it through
    /// the inbox. One that is known already, as its uid shows, has returned.
    ///
    /// # Errors
    /// When a later registration of the same worker has arrived before.
    pub(crate) fn welcome(
        &mut self,
        joining: Joining,
        at: Timestamp,
        inbox: &Inbox,
    ) -> Result<Welcomed, Superseded> {
        let uid = &joining.registration.uid;
        let mut workers = self.workers.iter().filter(|_| !uid.is_empty());
        let known = workers.find(|(_, live)| live.uid == *uid).map(|(id, _)| *id);
        match known {
            Some(worker) => {
                let (line, name) = self.welcome_back(worker, joining, at, inbox)?;
                Ok(Welcomed { line, name, returned: true })
            }
            None => {
                let former = self.take_former(uid);
                let returned = former.is_some();
                let (line, name) = match former {
                    Some(former) => {
                        let FormerWorker { number, name, .. } = former;
                        let admitted = self.admit_as(number, name, joining, at, inbox);
                        if let Some(live) = self.workers.get_mut(&number) {
                            live.is_former = true;
                        }
                        admitted
                    }
                    None => self.welcome_new(joining, at, inbox),
                };
                Ok(Welcomed { line, name, returned })
            }
        }
    }

    fn welcome_new(&mut self, joining: Joining, at: Timestamp, inbox: &Inbox) -> (LineId, String) {
        let Registration { name: wanted, host, uid, lock, .. } = &joining.registration;
        let (worker, name) = self.admit(wanted);
        // A file that cannot be seen from here says nothing when it is missing later.
        let lock = lock.clone().filter(|_| joining.life.is_some());
        let (host, uid) = (host.clone(), uid.clone());
        let joined = Joined { worker, name: name.clone(), host, uid, lock, at };
        // A scheduler that is killed before this is on disk is followed by one that does not expect it.
        let haste = if joined.uid.is_empty() { Haste::Whenever } else { Haste::Now };
        self.store.send(Command::Joined(Box::new(joined)), haste);
        self.admit_as(worker, name, joining, at, inbox)
    }

    /// Registers a worker that this scheduler has not had yet.
    fn admit_as(
        &mut self,
        worker: WorkerId,
        name: String,
        joining: Joining,
        at: Timestamp,
        inbox: &Inbox,
    ) -> (LineId, String) {
        let Joining { registration, life } = joining;
        let Registration { host, offer, functions, door, uid, serial, .. } = registration;
        let info = WorkerInfo { name: name.clone(), offer, functions };
        let is_guest = uid.is_empty();
        self.lines += 1;
        let live = LiveWorker {
            last_heard: at,
            heard: self.awake,
            info: info.clone(),
            host,
            uid: uid.clone(),
            serial,
            line: self.lines,
            life,
            known_with: if is_guest { 0 } else { self.batch + 1 },
            is_former: false,
            door,
            peers_sent: 0,
            is_connected: true,
            outbox: VecDeque::new(),
            in_flight: VecDeque::new(),
            calls: 0,
            received: 0,
            acknowledged: 0,
            progress: FxHashMap::default(),
            known: FxHashMap::default(),
        };
        if !uid.is_empty() {
            self.uids.insert(worker, uid);
        }
        self.workers.insert(worker, live);
        self.workers_changed();
        inbox.push(Happened::Joined(worker, info));
        // What it still has was taken from it, unless it is one that was expected back.
        let (held, claims, runs) = (registration.held, registration.claims, registration.runs);
        if !held.is_empty() || !runs.is_empty() {
            inbox.push(Happened::Returned(Box::new(Returning { worker, held, claims, runs })));
        }
        if registration.leaving {
            inbox.push(Happened::Leaving(worker));
        }
        (LineId { worker, line: self.lines }, name)
    }

    fn welcome_back(
        &mut self,
        worker: WorkerId,
        joining: Joining,
        at: Timestamp,
        inbox: &Inbox,
    ) -> Result<(LineId, String), Superseded> {
        let Joining { registration, .. } = joining;
        let awake = self.awake;
        let Some(live) = self.workers.get_mut(&worker) else { return Err(Superseded) };
        if registration.serial <= live.serial {
            return Err(Superseded);
        }
        live.cut();
        self.lines += 1;
        self.lines_changed = true;
        (live.line, live.serial) = (self.lines, registration.serial);
        (live.last_heard, live.heard) = (at, awake);
        live.door = registration.door;
        live.peers_sent = 0;
        let name = live.info.name.clone();
        let (held, claims, runs) = (registration.held, registration.claims, registration.runs);
        // Nothing goes over the new line before the state machine knows what the worker has.
        inbox.push(Happened::Returned(Box::new(Returning { worker, held, claims, runs })));
        if registration.leaving {
            inbox.push(Happened::Leaving(worker));
        }
        Ok((LineId { worker, line: self.lines }, name))
    }

    /// A worker that was known, or thought to be lost, has said what it has.
    pub(super) fn returned(
        &mut self,
        returning: Returning,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let Returning { worker, held, mut claims, runs } = returning;
        let Some(live) = self.workers.get_mut(&worker) else { return };
        // What was given to it since it said what it has is not among that, and goes out again.
        live.cut();
        actions.retain(
            |action| !matches!(action, Action::Dispatch { worker: other, .. } if *other == worker),
        );
        live.is_connected = true;
        live.known.clear();
        for run in runs {
            match self.runs.contains_key(&run) || self.going_on.contains(&run) {
                true => drop(live.known.insert(run, FxHashSet::default())),
                false => live.order(Order::Forget(run)),
            }
        }
        let is_former = live.is_former;
        claims.retain(|claim| is_former && self.going_on.contains(&claim.assignment.run));
        let ids = claims.iter().flat_map(|claim| {
            let first = claim.assignment.first_attempt.0;
            first..first.saturating_add(claim.assignment.count.into())
        });
        let claimed: FxHashSet<u64> = ids.collect();
        // What it was not given, or what was given to others since, it must give up.
        let of_others = held.iter().cloned().flatten().map(AttemptId);
        let of_others = of_others.filter(|attempt| {
            self.engine.instance_of(worker, *attempt).is_none() && !claimed.contains(&attempt.0)
        });
        let attempts: Vec<AttemptId> = of_others.collect();
        if !attempts.is_empty() {
            live.order(Order::Revoke { attempts, cancel: true });
        }
        self.engine.handle(now, Event::WorkerReturned { worker, held, claims }, actions);
    }

    /// A worker's line is cut: the worker is lost with it if it lives no longer, or is one that does
    /// not return.
    pub(super) fn cut(&mut self, line: LineId, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(live) = self.workers.get_mut(&line.worker) else { return };
        if live.line != line.line {
            return;
        }
        if live.uid.is_empty() || live.has_ended() {
            self.lost(line.worker, now, actions);
        } else if live.is_connected {
            live.cut();
            self.lines_changed = true;
            self.engine.handle(now, Event::WorkerAway { worker: line.worker }, actions);
        }
    }

    /// Loses the workers that are certain to have ended, and those whose lease is over.
    pub(super) fn check_presence(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let (awake, lease) = (self.awake, self.lease);
        let is_lost = |live: &LiveWorker| {
            awake.0.saturating_sub(live.heard.0) >= lease.0
                || (!live.is_connected && live.has_ended())
        };
        let lost = self.workers.iter().filter(|(_, live)| is_lost(live));
        let lost: Vec<WorkerId> = lost.map(|(id, _)| *id).collect();
        for worker in lost {
            self.lost(worker, now, actions);
        }
        self.check_former();
    }

    /// Whether any line has been cut, or made anew, since the last call.
    pub(crate) fn have_lines_changed(&mut self) -> bool {
        std::mem::take(&mut self.lines_changed)
    }

    /// How long until presence is to be looked at again, if there is any worker.
    pub(super) fn next_check(&self) -> Option<Micros> {
        let mut away = self.workers.values().filter(|live| !live.is_connected);
        let next = match away.any(|live| live.life.is_some()) {
            true => Some(DEATH),
            false => (!self.workers.is_empty()).then(|| self.tick()),
        };
        let former = self.next_look_at_former(DEATH, self.tick());
        next.into_iter().chain(former).min()
    }

    /// Silence counts at most this much between two looks: more is not the silence of workers, but that
    /// of this process, which was stopped, or of the whole machine.
    pub(super) fn tick(&self) -> Micros {
        Micros((self.lease.0 / 4).clamp(1, TICK.0))
    }

    pub(super) fn heard(&mut self, worker: WorkerId) {
        let (awake, now) = (self.awake, self.time.for_people());
        if let Some(live) = self.workers.get_mut(&worker) {
            (live.last_heard, live.heard) = (now, awake);
        }
    }

    /// Notes up to where the reports of a worker have been received.
    pub(super) fn received(&mut self, worker: WorkerId, number: u64) {
        if let Some(live) = self.workers.get_mut(&worker)
            && number > live.received
        {
            live.received = number;
            self.reported.insert(worker);
        }
    }

    /// All reports up to this one of a worker's are on disk.
    pub(super) fn acknowledge(&mut self, worker: WorkerId, number: u64) {
        if let Some(live) = self.workers.get_mut(&worker) {
            live.acknowledged = live.acknowledged.max(number);
        }
    }

    /// Up to which of its calls a worker's reports have been received.
    pub(super) fn received_from(&self, worker: WorkerId) -> Option<u64> {
        self.workers.get(&worker).map(|live| live.received)
    }

    /// Up to which of its calls a worker's reports are on disk.
    pub(crate) fn acknowledged(&self, worker: WorkerId) -> u64 {
        self.workers.get(&worker).map_or(0, |live| live.acknowledged)
    }
}
