//! The workers that are present: what they offer, what is being sent to them, and when they last
//! sent anything.

use std::collections::VecDeque;

use dagrun_core::engine::{Action, Event, Outcome, Report, RevokeMode, WorkerInfo};
use dagrun_core::ids::{AttemptId, InstanceId, Micros, RunId, TaskId, Timestamp, WorkerId};
use dagrun_core::status::WorkerStatus;
use dagrun_schema::wire::{self, AttemptProgress, Door, Fenced, Handout, Peer, Registration};
use rustc_hash::FxHashMap;

use super::SchedulerCore;
use super::explain::shortage;
#[cfg(doc)]
use super::inbox::Happened;
use super::run::LiveRun;

/// Outstanding calls to one worker.
const IN_FLIGHT: usize = 4;
/// Assignments in one call, and about how many bytes of inputs.
const CALL_ASSIGNMENTS: usize = 256;
const CALL_BYTES: usize = 1024 * 1024;

/// Lost workers whose names are kept and sent to the others.
const LOST: usize = 256;

/// A worker that registers.
pub(crate) struct Joining {
    pub(crate) registration: Registration,
    /// Where its end can be seen from here.
    pub(crate) life: Option<Life>,
}

/// Whether the process of a worker is certain to have ended.
pub(crate) type Life = Box<dyn Fn() -> bool>;

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
    /// Whether an earlier scheduler had it, so that what it has may be adopted.
    pub(super) is_former: bool,
    /// The number of its last registration.
    pub(super) serial: u32,
    /// The number of its line.
    pub(super) line: u64,
    /// Where its end can be seen from here.
    pub(super) life: Option<Life>,
    /// The batch with which it is on disk that there is such a worker.
    pub(super) known_with: u64,
    /// `None` when it does not serve its values to others.
    pub(super) door: Option<Door>,
    /// The version of the list of other workers that it was sent last.
    pub(super) peers_sent: u64,
    /// Not while its line is cut.
    pub(super) is_connected: bool,
    pub(super) outbox: VecDeque<Outgoing>,
    /// Calls under way, and what each of them sends that must not be lost with the line.
    pub(super) in_flight: VecDeque<(u64, Option<Order>)>,
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
    Order(Order),
}

/// A call to make to a worker.
pub(crate) struct Call {
    /// Over which line: it must not go over any other.
    pub(crate) line: LineId,
    /// Its number, for [`Happened::Sent`](super::Happened::Sent).
    pub(crate) number: u64,
    pub(crate) order: Order,
}

/// What a worker is to do.
#[derive(Clone)]
pub(crate) enum Order {
    /// Run these, by these recipes that it does not have yet.
    Dispatch {
        recipes: Vec<wire::TaskRecipe>,
        handouts: Vec<Handout>,
    },
    Revoke {
        attempts: Vec<AttemptId>,
        cancel: bool,
    },
    Forget(RunId),
    Peers(Vec<Peer>),
    Release(RunId, Vec<InstanceId>),
    Shutdown,
}

impl LiveWorker {
    pub(super) fn push(&mut self, outgoing: Outgoing) {
        self.outbox.push_back(outgoing);
    }

    pub(super) fn order(&mut self, order: Order) {
        self.push(Outgoing::Order(order));
    }

    pub(super) fn forget(&mut self, run: RunId) {
        if self.known.remove(&run).is_some() {
            self.order(Order::Forget(run));
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
        self.is_connected = false;
        let under_way = self.in_flight.drain(..).filter_map(|(_, order)| order);
        let mut again: VecDeque<Outgoing> = under_way.map(Outgoing::Order).collect();
        again.append(&mut self.outbox);
        let kept = |one: &Outgoing| matches!(one, Outgoing::Order(order) if !matches!(order, Order::Peers(_) | Order::Revoke { .. }));
        again.retain(kept);
        self.outbox = again;
    }

    /// Whether its process is certain to have ended.
    pub(super) fn has_ended(&self) -> bool {
        self.life.as_ref().is_some_and(|has_ended| has_ended())
    }

    /// The next call, from the head of the outbox: its number, and what it is.
    fn call(&mut self, runs: &mut FxHashMap<RunId, LiveRun>) -> Option<(u64, Order)> {
        if !self.is_connected {
            return None;
        }
        let (order, kept) = match self.outbox.front()? {
            Outgoing::Dispatch { .. } => (self.dispatch(runs), None),
            Outgoing::Order(_) => {
                let Some(Outgoing::Order(order)) = self.outbox.pop_front() else { return None };
                (order.clone(), Some(order))
            }
        };
        self.calls += 1;
        self.in_flight.push_back((self.calls, kept));
        Some((self.calls, order))
    }

    /// One call with as many of the assignments at the head of the outbox as fit into it.
    fn dispatch(&mut self, runs: &mut FxHashMap<RunId, LiveRun>) -> Order {
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
        Order::Dispatch { recipes, handouts }
    }
}

fn wire_length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl SchedulerCore {
    /// A number for a worker that registers, and a name that none of those present has.
    pub(super) fn admit(&mut self, wanted: &str) -> (WorkerId, String) {
        self.next_worker += 1;
        let taken = |name: &str| {
            self.workers.values().any(|worker| worker.info.name == name)
                || self.is_name_of_former(name)
        };
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
        let announce = taken.iter().any(|taken| !taken.ran);
        (announce, fenced.chain(self.fenced_before(run, instance)).collect())
    }

    /// The attempts that an earlier scheduler may have given to workers that are lost.
    pub(super) fn fenced_before(
        &self,
        run: RunId,
        instance: InstanceId,
    ) -> impl Iterator<Item = Fenced> {
        let lost = match self.lost_before.is_empty() {
            true => 0..0,
            false => self.engine.untraced(run, instance),
        };
        lost.flat_map(|number| {
            let of = move |uid: &String| Fenced { worker: uid.clone(), number };
            self.lost_before.iter().map(of)
        })
    }

    pub(super) fn lost(&mut self, worker: WorkerId, now: Timestamp, actions: &mut Vec<Action>) {
        // The loss may be noticed twice; the second time there is nothing left to do.
        if let Some(live) = self.workers.remove(&worker) {
            if live.door.is_some() {
                self.lost_lately.truncate(LOST - 1);
                self.lost_lately.push_front((worker, live.info.name.clone()));
            }
            self.misses_former |= live.is_former;
            let is_lost = !live.uid.is_empty() && !live.has_ended();
            if is_lost && live.is_former {
                // What it claimed may never have been known.
                self.lost_before.push(live.uid.clone());
            }
            self.left.push((worker, is_lost));
            self.workers_changed();
            self.lines_changed = true;
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

    /// The worker of this uid, or else of this name on this host, if it is present.
    pub(crate) fn worker_called(&self, name: &str, host: &str, uid: &str) -> Option<WorkerId> {
        let mut known = self.workers.iter().filter(|_| !uid.is_empty());
        if let Some((id, _)) = known.find(|(_, live)| live.uid == uid) {
            return Some(*id);
        }
        let mut workers = self.workers.iter();
        let found = workers.find(|(_, live)| live.info.name == name && live.host == host);
        found.map(|(id, _)| *id)
    }

    /// Whether this is still the line of its worker.
    pub(crate) fn is_on(&self, line: LineId) -> bool {
        self.workers.get(&line.worker).is_some_and(|live| live.line == line.line)
    }

    /// The line to a worker, unless it is cut.
    pub(crate) fn line_to(&self, worker: WorkerId) -> Option<LineId> {
        let live = self.workers.get(&worker).filter(|live| live.is_connected)?;
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
            note: match worker.is_connected {
                true => self.engine.shortage(*id).map(|one| shortage(&one)).unwrap_or_default(),
                false => "its line is cut: it is given nothing until it returns".to_owned(),
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
        if let Some(worker) = self.workers.get_mut(&worker).filter(|live| live.is_connected) {
            worker.order(Order::Revoke { attempts, cancel: mode == RevokeMode::Cancel });
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
            live.order(Order::Peers(peers));
        }
    }

    /// Releases what is certain not to be needed.
    pub(super) fn release_unneeded(&mut self) {
        let (committed, nothing_waits) = (self.committed, self.unwritten.is_empty());
        while let Some((batch, ..)) = self.unneeded.front()
            && (*batch <= committed || nothing_waits)
        {
            let Some((_, run, values)) = self.unneeded.pop_front() else { return };
            self.release(run, &values);
        }
    }

    /// Releases values: at the worker that keeps them, and at those that may have copies.
    pub(super) fn release(&mut self, run: RunId, values: &[InstanceId]) {
        for worker in self.workers.values_mut().filter(|worker| worker.known.contains_key(&run)) {
            worker.order(Order::Release(run, values.to_vec()));
        }
    }

    /// Asks all workers to end. The caller must wake the inbox afterwards.
    pub(crate) fn shut_workers_down(&mut self) {
        for worker in self.workers.values_mut() {
            worker.order(Order::Shutdown);
        }
    }

    /// The calls that are due. That one has returned is to be reported with [`Happened::Sent`].
    pub(crate) fn calls(&mut self) -> Vec<Call> {
        let mut calls = Vec::new();
        for (id, worker) in &mut self.workers {
            while worker.in_flight.len() < IN_FLIGHT {
                let Some((number, order)) = worker.call(&mut self.runs) else { break };
                let line = LineId { worker: *id, line: worker.line };
                calls.push(Call { line, number, order });
            }
        }
        calls
    }
}
