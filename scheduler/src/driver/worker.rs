//! The workers that are present: what they offer, what is being sent to them, and when they last
//! sent anything.

use std::collections::VecDeque;
use std::fs::File;
use std::rc::Rc;

use dagrun_core::engine::{Action, Event, Outcome, Report, RevokeMode, WorkerInfo};
use dagrun_core::ids::{AttemptId, InstanceId, Micros, RunId, TaskId, Timestamp, WorkerId};
use dagrun_core::status::WorkerStatus;
use dagrun_schema::dagrun_capnp::worker as wire_worker;
use dagrun_schema::wire::{self, AttemptProgress, Door, Fenced, Handout, Peer, Registration};
use rustc_hash::FxHashMap;

use super::Driver;
use super::explain::shortage;
use super::inbox::Happened;
use super::run::LiveRun;

/// Outstanding calls to one worker.
const IN_FLIGHT: usize = 4;
/// Assignments in one call, and about how many bytes of inputs.
const CALL_ASSIGNMENTS: usize = 256;
const CALL_BYTES: usize = 1024 * 1024;

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
    pub(super) line: u64,
}

pub(super) struct LiveWorker {
    /// When it was heard from last: for people, and by the driver's own clock.
    pub(super) last_heard: Timestamp,
    pub(super) heard: Micros,
    pub(super) info: WorkerInfo,
    pub(super) host: String,
    /// Tells it from all others as long as it lives; empty when it lives as long as its line.
    pub(super) uid: String,
    /// The number of its last registration.
    pub(super) serial: u32,
    /// The number of its line.
    pub(super) line: u64,
    /// Locked by it as long as it lives.
    pub(super) lock: Option<File>,
    /// `None` when it does not serve its values to others.
    pub(super) door: Option<Door>,
    /// The version of the list of other workers that it was sent last.
    pub(super) peers_sent: u64,
    /// `None` while its line is cut.
    pub(super) client: Option<wire_worker::Client>,
    pub(super) outbox: VecDeque<Outgoing>,
    /// Calls under way, and what each of them sends that must not be lost with the line.
    pub(super) in_flight: VecDeque<(u64, Option<Outgoing>)>,
    pub(super) calls: u64,
    /// The last of its calls with reports: received, and on disk.
    pub(super) received: u64,
    pub(super) acknowledged: u64,
    /// The progress of those of its attempts that report it, in thousandths.
    pub(super) progress: FxHashMap<AttemptId, u32>,
    /// The recipes that it has.
    pub(super) known: FxHashMap<RunId, rustc_hash::FxHashSet<TaskId>>,
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
    pub(super) fn cut(&mut self) {
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
    pub(super) fn has_ended(&self) -> bool {
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
    pub(super) fn admit(&mut self, wanted: &str) -> (WorkerId, String) {
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

    pub(super) fn workers_changed(&mut self) {
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
