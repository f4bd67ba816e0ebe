//! The workers that are present: what they offer, what is being sent to them, and when they last
//! sent anything.

use std::collections::VecDeque;
use std::fs::{File, TryLockError};
use std::ops::Range;
use std::rc::Rc;

use dagrun_core::engine::{Action, Event, Outcome, Report, RevokeMode, WorkerInfo};
use dagrun_core::ids::{AttemptId, InstanceId, Micros, RunId, TaskId, Timestamp, WorkerId};
use dagrun_core::status::WorkerStatus;
use dagrun_schema::dagrun_capnp::worker as wire_worker;
use dagrun_schema::wire::{self, AttemptProgress, Door, Fenced, Handout, Peer, Registration};
use rustc_hash::FxHashMap;
use rustix::fs::{Mode, OFlags};

use super::Driver;
use super::explain::shortage;
use super::inbox::{Happened, Inbox};
use super::run::LiveRun;
use crate::store::{Command, Haste};

/// Outstanding calls to one worker.
const IN_FLIGHT: usize = 4;
/// Assignments in one call, and about how many bytes of inputs.
const CALL_ASSIGNMENTS: usize = 256;
const CALL_BYTES: usize = 1024 * 1024;

/// How often to look whether a worker of this host whose line is cut has ended.
const DEATH: Micros = Micros(20_000);
/// How often to look for silent workers at least.
const TICK: Micros = Micros(2_000_000);

/// A later registration of the same worker has arrived before.
#[derive(Debug, thiserror::Error)]
#[error("a later registration of this worker has arrived before")]
pub(crate) struct Superseded;

/// Lost workers whose names are kept and sent to the others.
const LOST: usize = 256;

/// A worker that registers, and its end of the line.
pub(crate) struct Joining {
    pub(crate) registration: Registration,
    pub(crate) client: wire_worker::Client,
}

/// A line to a worker, as it was made at a registration: the worker, and the number of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineId {
    pub(crate) worker: WorkerId,
    line: u64,
}

pub(super) struct LiveWorker {
    /// When it was heard from last: for people, and by the driver's own clock.
    last_heard: Timestamp,
    heard: Micros,
    pub(super) info: WorkerInfo,
    host: String,
    /// Tells it from all others as long as it lives; empty when it lives as long as its line.
    uid: String,
    /// The number of its last registration.
    serial: u32,
    /// The number of its line.
    line: u64,
    /// Locked by it as long as it lives.
    lock: Option<File>,
    /// `None` when it does not serve its values to others.
    door: Option<Door>,
    /// The version of the list of other workers that it was sent last.
    peers_sent: u64,
    /// `None` while its line is cut.
    client: Option<wire_worker::Client>,
    outbox: VecDeque<Outgoing>,
    /// Calls under way, and what each of them sends that must not be lost with the line.
    in_flight: VecDeque<(u64, Option<Outgoing>)>,
    calls: u64,
    /// The last of its calls with reports: received, and on disk.
    received: u64,
    acknowledged: u64,
    /// The progress of those of its attempts that report it, in thousandths.
    progress: FxHashMap<AttemptId, u32>,
    /// The recipes that it has.
    known: FxHashMap<RunId, rustc_hash::FxHashSet<TaskId>>,
}

/// Something to send to a worker, in order.
#[derive(Clone)]
pub(super) enum Outgoing {
    Dispatch { handout: Box<Handout>, bytes: usize },
    Revoke { attempts: Vec<AttemptId>, cancel: bool },
    Forget(RunId),
    Peers(Vec<Peer>),
    Release(RunId, Vec<InstanceId>),
    Shutdown,
}

type Answer = capnp::capability::Promise<(), capnp::Error>;

impl LiveWorker {
    pub(super) fn push(&mut self, outgoing: Outgoing) {
        self.outbox.push_back(outgoing);
    }

    pub(super) fn forget(&mut self, run: RunId) {
        if self.known.remove(&run).is_some() {
            self.push(Outgoing::Forget(run));
        }
    }

    /// Records the progress of attempts, from 0 to 1.
    pub(super) fn come_to(&mut self, progress: impl IntoIterator<Item = AttemptProgress>) {
        let thousandths = |one: AttemptProgress| (one.attempt, (one.fraction * 1000.0) as u32);
        self.progress.extend(progress.into_iter().map(thousandths));
    }

    /// Drops the progress of attempts that have ended.
    pub(super) fn have_ended(&mut self, reports: &[Report]) {
        if self.progress.is_empty() {
            return;
        }
        for report in reports.iter().filter(|report| report.outcome != Outcome::Started) {
            let ended = report.first.0..report.first.0.saturating_add(report.count.into());
            self.progress.retain(|attempt, _| !ended.contains(&attempt.0));
        }
    }

    pub(super) fn progress(&self) -> impl Iterator<Item = (AttemptId, u32)> {
        self.progress.iter().map(|(attempt, thousandths)| (*attempt, *thousandths))
    }

    /// A call has returned.
    pub(super) fn sent(&mut self, call: u64) {
        self.in_flight.retain(|(other, _)| *other != call);
    }

    /// Its line is cut. What was being sent goes out again when there is another, but for assignments:
    /// it says then which of those it has.
    fn cut(&mut self) {
        self.client = None;
        let under_way = self.in_flight.drain(..).filter_map(|(_, outgoing)| outgoing);
        let mut again: VecDeque<Outgoing> = under_way.collect();
        again.append(&mut self.outbox);
        let kept = |one: &Outgoing| {
            !matches!(one, Outgoing::Dispatch { .. } | Outgoing::Peers(_) | Outgoing::Revoke { .. })
        };
        again.retain(kept);
        self.outbox = again;
    }

    /// Whether its process is certain to have ended.
    fn has_ended(&self) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.try_lock_shared().is_ok())
    }

    /// Makes the next call from the head of the outbox: its number, and the answer.
    fn call(&mut self, runs: &mut FxHashMap<RunId, LiveRun>) -> Option<(u64, Answer)> {
        let client = self.client.clone()?;
        let (answer, kept) = match self.outbox.front()? {
            Outgoing::Dispatch { .. } => (self.dispatch_call(&client, runs), None),
            _ => {
                let outgoing = self.outbox.pop_front()?;
                (plain_call(&client, &outgoing), Some(outgoing))
            }
        };
        self.calls += 1;
        self.in_flight.push_back((self.calls, kept));
        Some((self.calls, answer))
    }

    /// One call with as many of the assignments at the head of the outbox as fit into it.
    fn dispatch_call(
        &mut self,
        client: &wire_worker::Client,
        runs: &mut FxHashMap<RunId, LiveRun>,
    ) -> Answer {
        let mut handouts = Vec::new();
        let mut recipes: Vec<wire::TaskRecipe> = Vec::new();
        let mut total = 0;
        while handouts.len() < CALL_ASSIGNMENTS && total < CALL_BYTES {
            if !matches!(self.outbox.front(), Some(Outgoing::Dispatch { .. })) {
                break;
            }
            let next = self.outbox.pop_front();
            let Some(Outgoing::Dispatch { handout, bytes }) = next else { break };
            let assignment = handout.assignment;
            let Some(run) = runs.get_mut(&assignment.run) else { continue };
            if self.known.entry(assignment.run).or_default().insert(assignment.task)
                && let Ok(recipe) = run.recipe(assignment.task)
            {
                total += recipe.json.len();
                let (json, log_dir) = (recipe.json.clone(), run.log_dir.clone());
                let (run, task) = (assignment.run, assignment.task);
                recipes.push(wire::TaskRecipe { run, task, json, log_dir });
            }
            total += bytes;
            handouts.push(*handout);
        }
        let mut request = client.dispatch_request();
        let mut params = request.get();
        wire::write_list(&recipes, params.reborrow().init_recipes(wire::length(recipes.len())));
        let length = wire::length(handouts.len());
        wire::write_list(&handouts, params.init_assignments(length));
        answer(request.send().promise)
    }
}

fn plain_call(client: &wire_worker::Client, outgoing: &Outgoing) -> Answer {
    match outgoing {
        Outgoing::Revoke { attempts, cancel } => {
            let mut request = client.revoke_request();
            let mut params = request.get();
            params.set_cancel(*cancel);
            let mut list = params.init_attempts(wire_length(attempts.len()));
            for (i, attempt) in (0..).zip(attempts) {
                list.set(i, attempt.0);
            }
            answer(request.send().promise)
        }
        Outgoing::Forget(run) => {
            let mut request = client.forget_request();
            request.get().set_run(run.0);
            answer(request.send().promise)
        }
        Outgoing::Peers(peers) => {
            let mut request = client.peers_request();
            wire::write_list(peers, request.get().init_peers(wire::length(peers.len())));
            answer(request.send().promise)
        }
        Outgoing::Release(run, values) => {
            let mut request = client.release_request();
            let mut params = request.get();
            params.set_run(run.0);
            wire::write_list(values, params.init_values(wire::length(values.len())));
            answer(request.send().promise)
        }
        Outgoing::Shutdown => answer(client.shutdown_request().send().promise),
        Outgoing::Dispatch { .. } => capnp::capability::Promise::ok(()),
    }
}

fn wire_length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn answer<T: 'static>(promise: impl Future<Output = Result<T, capnp::Error>> + 'static) -> Answer {
    capnp::capability::Promise::from_future(async move { promise.await.map(drop) })
}

impl Driver {
    /// A number for a worker that registers, and a name that none of those present has.
    fn admit(&mut self, wanted: &str) -> (WorkerId, String) {
        self.next_worker += 1;
        let taken = |name: &str| self.workers.values().any(|worker| worker.info.name == name);
        let candidates = (1u32..).map(|n| match wanted {
            "" => format!("w{n}"),
            name if n == 1 => name.to_owned(),
            name => format!("{name}-{n}"),
        });
        let name = candidates.into_iter().find(|name| !taken(name)).unwrap_or_default();
        (WorkerId(self.next_worker), name)
    }

    /// Registers a worker at once, so that its name is taken; the state machine receives it through
    /// the inbox. One that is known already, as its uid shows, has returned.
    ///
    /// # Errors
    /// When a later registration of the same worker has arrived before.
    pub(crate) fn welcome(
        &mut self,
        joining: Joining,
        inbox: &Inbox,
    ) -> Result<(LineId, String), Superseded> {
        let uid = &joining.registration.uid;
        let mut workers = self.workers.iter().filter(|_| !uid.is_empty());
        let known = workers.find(|(_, live)| live.uid == *uid).map(|(id, _)| *id);
        match known {
            Some(worker) => self.welcome_back(worker, joining, inbox),
            None => Ok(self.welcome_new(joining, inbox)),
        }
    }

    fn welcome_new(&mut self, joining: Joining, inbox: &Inbox) -> (LineId, String) {
        let Joining { registration, client } = joining;
        let lock = lock_of(&registration);
        let Registration { name: wanted, host, offer, functions, door, uid, serial, .. } =
            registration;
        let (worker, name) = self.admit(&wanted);
        let info = WorkerInfo { name: name.clone(), offer, functions };
        let at = dagrun_disk::clock::now();
        let command = Command::Joined { worker, name: name.clone(), host: host.clone(), at };
        self.store.send(command, Haste::Whenever);
        self.lines += 1;
        let live = LiveWorker {
            last_heard: at,
            heard: self.awake,
            info: info.clone(),
            host,
            uid: uid.clone(),
            serial,
            line: self.lines,
            lock,
            door,
            peers_sent: 0,
            client: Some(client),
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
        // What it still has was taken from it.
        let (held, runs) = (registration.held, registration.runs);
        if !held.is_empty() || !runs.is_empty() {
            inbox.push(Happened::Returned(worker, held, runs));
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
        inbox: &Inbox,
    ) -> Result<(LineId, String), Superseded> {
        let Joining { registration, client } = joining;
        let (at, awake) = (dagrun_disk::clock::now(), self.awake);
        let Some(live) = self.workers.get_mut(&worker) else { return Err(Superseded) };
        if registration.serial <= live.serial {
            return Err(Superseded);
        }
        live.cut();
        self.lines += 1;
        (live.line, live.serial) = (self.lines, registration.serial);
        (live.last_heard, live.heard) = (at, awake);
        (live.client, live.door) = (Some(client), registration.door);
        live.peers_sent = 0;
        let name = live.info.name.clone();
        inbox.push(Happened::Returned(worker, registration.held, registration.runs));
        if registration.leaving {
            inbox.push(Happened::Leaving(worker));
        }
        Ok((LineId { worker, line: self.lines }, name))
    }

    /// A worker that was known, or thought to be lost, has said what it has.
    pub(super) fn returned(
        &mut self,
        worker: WorkerId,
        held: Vec<Range<u64>>,
        runs: &[RunId],
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let Some(live) = self.workers.get_mut(&worker) else { return };
        live.known.clear();
        for run in runs {
            match self.runs.contains_key(run) {
                true => drop(live.known.insert(*run, rustc_hash::FxHashSet::default())),
                false => live.push(Outgoing::Forget(*run)),
            }
        }
        // What it was not given, or what was given to others since, it must give up.
        let of_others = held.iter().cloned().flatten().map(AttemptId);
        let of_others =
            of_others.filter(|attempt| self.engine.instance_of(worker, *attempt).is_none());
        let attempts: Vec<AttemptId> = of_others.collect();
        if !attempts.is_empty() {
            live.push(Outgoing::Revoke { attempts, cancel: true });
        }
        self.engine.handle(now, Event::WorkerReturned { worker, held }, actions);
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
        } else if live.client.is_some() {
            live.cut();
            self.engine.handle(now, Event::WorkerAway { worker: line.worker }, actions);
        }
    }

    /// Loses the workers that are certain to have ended, and those whose lease is over.
    pub(super) fn check_presence(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let (awake, lease) = (self.awake, self.lease);
        let is_lost = |live: &LiveWorker| {
            awake.0.saturating_sub(live.heard.0) >= lease.0
                || (live.client.is_none() && live.has_ended())
        };
        let lost = self.workers.iter().filter(|(_, live)| is_lost(live));
        let lost: Vec<WorkerId> = lost.map(|(id, _)| *id).collect();
        for worker in lost {
            self.lost(worker, now, actions);
        }
    }

    /// How long until presence is to be looked at again, if there is any worker.
    pub(super) fn next_check(&self) -> Option<Micros> {
        let mut away = self.workers.values().filter(|live| live.client.is_none());
        match away.any(|live| live.lock.is_some()) {
            true => Some(DEATH),
            false => (!self.workers.is_empty()).then(|| self.tick()),
        }
    }

    /// Silence counts at most this much between two looks: more is not the silence of workers, but that
    /// of this process, which was stopped, or of the whole machine.
    pub(super) fn tick(&self) -> Micros {
        Micros((self.lease.0 / 4).clamp(1, TICK.0))
    }

    pub(super) fn heard(&mut self, worker: WorkerId, now: Timestamp) {
        let awake = self.awake;
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

    /// What is known of earlier attempts of an instance: whether the next one's start is to be reported
    /// before it begins, and those that may still run.
    pub(super) fn caution(&self, run: RunId, instance: InstanceId) -> (bool, Vec<Fenced>) {
        let taken = self.engine.taken(run, instance);
        let fenced = taken.iter().filter_map(|taken| {
            let worker = self.uids.get(&taken.worker)?.clone();
            Some(Fenced { worker, number: taken.number })
        });
        (taken.iter().any(|taken| !taken.ran), fenced.collect())
    }

    pub(super) fn lost(&mut self, worker: WorkerId, now: Timestamp, actions: &mut Vec<Action>) {
        // The loss may be noticed twice; the second time there is nothing left to do.
        if let Some(live) = self.workers.remove(&worker) {
            if live.door.is_some() {
                self.lost_lately.truncate(LOST - 1);
                self.lost_lately.push_front((worker, live.info.name));
            }
            self.left.push(worker);
            self.workers_changed();
            self.engine.handle(now, Event::WorkerLost { worker }, actions);
        }
    }

    fn workers_changed(&mut self) {
        self.peers_version += 1;
        self.present.set(wire_length(self.workers.len()));
        for run in self.runs.values() {
            run.published.workers_changed();
        }
    }

    /// The worker of this name on this host, if it is present.
    pub(crate) fn worker_called(&self, name: &str, host: &str) -> Option<WorkerId> {
        let mut workers = self.workers.iter();
        let found = workers.find(|(_, live)| live.info.name == name && live.host == host);
        found.map(|(id, _)| *id)
    }

    /// Whether this is still the line of its worker.
    pub(crate) fn is_on(&self, line: LineId) -> bool {
        self.workers.get(&line.worker).is_some_and(|live| live.line == line.line)
    }

    /// The line to a worker, unless it is cut.
    pub(super) fn line_to(&self, worker: WorkerId) -> Option<LineId> {
        let live = self.workers.get(&worker).filter(|live| live.client.is_some())?;
        Some(LineId { worker, line: live.line })
    }

    /// Whether any worker is present.
    pub(crate) fn has_workers(&self) -> bool {
        !self.workers.is_empty()
    }

    /// The workers that are present.
    pub(crate) fn worker_statuses(&self) -> Vec<WorkerStatus> {
        let status = |(id, worker): (&WorkerId, &LiveWorker)| WorkerStatus {
            id: id.0,
            name: worker.info.name.clone(),
            host: worker.host.clone(),
            offer: worker.info.offer.clone(),
            running: wire_length(self.engine.held_by(*id).unwrap_or(0)),
            last_heartbeat: worker.last_heard,
            note: match &worker.client {
                Some(_) => self.engine.shortage(*id).map(|one| shortage(&one)).unwrap_or_default(),
                None => "its line is cut: it is given nothing until it returns".to_owned(),
            },
        };
        self.workers.iter().map(status).collect()
    }

    pub(super) fn send_revoke(
        &mut self,
        worker: WorkerId,
        attempts: Vec<AttemptId>,
        mode: RevokeMode,
    ) {
        // One whose line is cut is asked again when it returns.
        if let Some(worker) = self.workers.get_mut(&worker).filter(|live| live.client.is_some()) {
            worker.push(Outgoing::Revoke { attempts, cancel: mode == RevokeMode::Cancel });
        }
    }

    /// Sends a worker the list of the others, unless it has the current one.
    pub(super) fn introduce(&mut self, worker: WorkerId) {
        let version = self.peers_version;
        let known = self.workers.get(&worker).is_none_or(|live| live.peers_sent == version);
        if known {
            return;
        }
        let others = self.workers.iter().filter(|(id, _)| **id != worker);
        let peer = |(id, live): (&WorkerId, &LiveWorker)| {
            let door = Some(live.door.clone()?);
            Some(Peer { id: *id, name: live.info.name.clone(), door })
        };
        let lost =
            |(id, name): &(WorkerId, String)| Peer { id: *id, name: name.clone(), door: None };
        let peers = others.filter_map(peer).chain(self.lost_lately.iter().map(lost)).collect();
        if let Some(live) = self.workers.get_mut(&worker) {
            live.peers_sent = version;
            live.push(Outgoing::Peers(peers));
        }
    }

    /// Releases values: at the worker that keeps them, and at those that may have copies.
    pub(super) fn release(&mut self, run: RunId, values: &[InstanceId]) {
        for worker in self.workers.values_mut().filter(|worker| worker.known.contains_key(&run)) {
            worker.push(Outgoing::Release(run, values.to_vec()));
        }
    }

    /// Asks all workers to end. The caller must wake the inbox afterwards.
    pub(crate) fn shut_workers_down(&mut self) {
        for worker in self.workers.values_mut() {
            worker.push(Outgoing::Shutdown);
        }
    }

    /// Makes the calls that are due; their completion comes back through the inbox.
    pub(super) fn pump(&mut self, shared: &Rc<super::Shared>) {
        for (id, worker) in &mut self.workers {
            while worker.in_flight.len() < IN_FLIGHT {
                let Some((call, answer)) = worker.call(&mut self.runs) else { break };
                let line = LineId { worker: *id, line: worker.line };
                let shared = Rc::clone(shared);
                tokio::task::spawn_local(async move {
                    let happened = match answer.await {
                        Ok(()) => Happened::Sent(line, call),
                        Err(_) => Happened::Cut(line),
                    };
                    shared.inbox.push(happened);
                });
            }
        }
    }
}

/// The file that a worker of this host holds locked as long as it lives, if it does.
fn lock_of(registration: &Registration) -> Option<File> {
    let path = registration.lock.as_ref().filter(|_| registration.host == dagrun_disk::host())?;
    // The path is a peer's word: it must not make this thread wait, nor be anything but a file.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let is_file = file.metadata().is_ok_and(|found| found.is_file());
    let is_held = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    (is_file && is_held).then_some(file)
}
