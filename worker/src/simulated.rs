//! A worker for the simulator: its queue, reports and lease, as `crate::core` has them, joined as
//! `crate::service`, `crate::reports` and `crate::session` join them, on simulated time. In place of
//! processes there are starts and ends, which the simulator decides on.
//!
//! Nothing here is for use by others.

#![expect(missing_debug_implementations, reason = "the simulator prints what it needs")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

use dagrun_core::engine::{Assignment, Claim, Outcome, Report};
use dagrun_core::ids::{AttemptId, InstanceId, Micros, RunId, TaskId, Timestamp};
use dagrun_core::offer::Offer;
use dagrun_core::recipe::{Input, Job};
use dagrun_core::status::{Detail, FailureKind};
use dagrun_schema::wire::{Fenced, Handout, Registration};

use crate::core::given::Given;
use crate::core::ledger::{Ledger, Message, Next};
use crate::core::queue::{Place, State, Taken};
use crate::core::tenure::{self, Tenure, Term};
use crate::slots::{TaskSource, Work};

/// Whether something may be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Now.
    Granted,
    /// Not before the lease is renewed.
    NotNow,
    /// Never: it was taken away.
    Never,
}

/// A recipe, of which nothing is known.
#[derive(Debug)]
struct Recipe;

impl TaskSource for Recipe {
    fn cpus(&self) -> u32 {
        1
    }

    fn job(&self, _: u32, _: u32, _: &[Input]) -> Result<Job, String> {
        Err("nothing runs here".to_owned())
    }
}

/// Whether an attempt is to end.
#[derive(Default)]
struct Flag(Cell<Option<Stop>>);

impl Place for Flag {
    fn reset(&self) {
        self.0.set(None);
    }
}

/// Why an attempt is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is cancelled.
    Cancel,
    /// Its worker leaves.
    Leave,
}

/// An attempt that has a slot, or the start of which waits for its acknowledgement.
#[derive(Clone, Debug)]
pub struct Started {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its run.
    pub run: RunId,
    /// Its instance.
    pub instance: InstanceId,
    /// Its number.
    pub number: u32,
    /// Whether it may begin only when the scheduler has acknowledged that it is about to.
    pub announce: bool,
    /// Earlier attempts that may still run: nothing of them may get to its place any more.
    pub fenced: Vec<Fenced>,
}

struct Running {
    taken: Taken<Work, Flag>,
    term: Term,
    started: Timestamp,
    is_long: bool,
}

/// What a worker is to do after a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// Go on with what it has.
    Stays,
    /// Give up all, and register once more when nothing runs.
    GivesUp,
}

/// A worker.
pub struct WorkerCore {
    uid: String,
    serial: u32,
    slots: State<Work, Flag>,
    ledger: Ledger<AttemptId>,
    given: Given,
    tenure: Tenure,
    running: BTreeMap<AttemptId, Running>,
    recipes: BTreeSet<(RunId, TaskId)>,
    leaving: bool,
    /// Runs to be forgotten as soon as nothing of them runs.
    forgotten: BTreeSet<RunId>,
    /// Whether it had anything when it registered last.
    was_new: bool,
}

impl WorkerCore {
    /// A worker with as many slots.
    #[must_use]
    pub fn new(uid: String, slots: usize) -> WorkerCore {
        let controls = (0..slots).map(|_| Arc::default()).collect();
        WorkerCore {
            uid,
            serial: 0,
            slots: State::new(slots, controls),
            ledger: Ledger::new(true),
            given: Given::default(),
            tenure: Tenure::default(),
            running: BTreeMap::new(),
            recipes: BTreeSet::new(),
            leaving: false,
            forgotten: BTreeSet::new(),
            was_new: true,
        }
    }

    /// What it says of itself when it registers.
    pub fn registration(&mut self) -> Registration {
        self.serial += 1;
        // First what runs, then what has ended.
        let mut held = self.slots.held();
        held.extend(self.ledger.pending());
        held.sort_unstable_by_key(|range| range.start);
        held.dedup();
        let mut runs: Vec<RunId> = self.recipes.iter().map(|(run, _)| *run).collect();
        runs.dedup();
        self.was_new = held.is_empty() && runs.is_empty();
        Registration {
            name: String::new(),
            host: "simulated".to_owned(),
            pid: 1,
            offer: Offer {
                slots: u32::try_from(self.slots.slots).unwrap_or(1),
                ..Offer::default()
            },
            functions: Vec::new(),
            door: None,
            uid: self.uid.clone(),
            serial: self.serial,
            lock: None,
            held: merged(held),
            claims: self.claims(),
            runs,
            leaving: self.leaving,
        }
    }

    /// What it has, so that a scheduler which did not hand it out can adopt it.
    fn claims(&self) -> Vec<Claim> {
        let ended = self.ledger.ended();
        let started = |attempt: &u64| {
            let running = self.running.get(&AttemptId(*attempt));
            running.map(|one| one.started).unwrap_or_default()
        };
        let held = self.slots.held().into_iter();
        let held = held.filter(|range| self.stopped(AttemptId(range.start)).is_none());
        let held = held.map(|range| (range.clone(), started(&range.start)));
        self.given.all(held, ended)
    }

    /// An attempt begins.
    pub fn begin(&mut self, attempt: AttemptId, at: Timestamp) {
        if let Some(one) = self.running.get_mut(&attempt) {
            one.started = at;
        }
    }

    /// It was registered: whether what it has is its own, and the lease from when it asked.
    pub fn registered(&mut self, returned: bool, asked: Micros, lease: Micros) -> Joined {
        if !returned && !self.was_new {
            self.give_up_all();
            return Joined::GivesUp;
        }
        if self.was_new {
            self.discard();
        }
        self.tenure.renew(asked, lease);
        Joined::Stays
    }

    fn give_up_all(&mut self) {
        self.tenure.void();
        let _ = self.slots.withdraw(|_, _| true);
        self.stop_all(Stop::Cancel);
        self.discard();
        self.forgotten.extend(self.recipes.iter().map(|(run, _)| *run));
        self.forget_what_can_be();
    }

    /// Whether anything runs.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether all has been reported and acknowledged, so that it may end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_idle() && self.slots.queue.is_empty() && self.ledger.next().is_none()
    }

    /// Drops what waits for its acknowledgement, when the scheduler is another one.
    pub fn discard(&mut self) {
        self.given.clear();
        self.ledger.discard();
    }

    /// Takes work.
    ///
    /// # Panics
    /// When it has no recipe for it.
    pub fn dispatch(&mut self, recipes: Vec<(RunId, TaskId)>, handouts: Vec<Handout>) {
        self.recipes.extend(recipes);
        for Handout { assignment, announce, fenced, .. } in handouts {
            assert!(self.recipes.contains(&(assignment.run, assignment.task)), "no recipe");
            if self.leaving {
                let first = assignment.first_attempt.0;
                self.report_range(first..first + u64::from(assignment.count), Outcome::Returned);
                continue;
            }
            self.given.note(assignment);
            let (plan, inputs): (Arc<dyn TaskSource>, _) = (Arc::new(Recipe), Arc::default());
            self.slots.push(Work { assignment, plan, inputs, log: None, announce, fenced });
        }
    }

    /// Gives attempts up that have not started, and with `cancel` ends those that run.
    pub fn revoke(&mut self, attempts: &[AttemptId], cancel: bool) {
        let attempts: HashSet<AttemptId> = attempts.iter().copied().collect();
        let withdrawn = self.slots.withdraw(|attempt, _| attempts.contains(&attempt));
        let outcome = match cancel {
            true => Outcome::Failed(FailureKind::Cancelled),
            false => Outcome::Returned,
        };
        for attempt in withdrawn {
            self.report_range(attempt.0..attempt.0 + 1, outcome);
        }
        if cancel {
            let running = self.running.iter().filter(|(attempt, _)| attempts.contains(attempt));
            running.for_each(|(_, one)| one.stop(Stop::Cancel));
        }
    }

    /// Ends what is left of a run, and forgets it.
    pub fn forget(&mut self, run: RunId) {
        let _ = self.slots.withdraw(|_, of| of == run);
        let of_run = self.running.values().filter(|one| one.taken.work.assignment.run == run);
        of_run.for_each(|one| one.stop(Stop::Cancel));
        self.forgotten.insert(run);
        self.forget_what_can_be();
    }

    fn forget_what_can_be(&mut self) {
        let runs: BTreeSet<RunId> =
            self.running.values().map(|one| one.taken.work.assignment.run).collect();
        let over: Vec<RunId> = self.forgotten.difference(&runs).copied().collect();
        for run in over {
            self.forgotten.remove(&run);
            self.recipes.retain(|(of, _)| *of != run);
        }
    }

    /// Takes nothing new, and gives back what has not started.
    pub fn leave(&mut self) {
        self.leaving = true;
        for attempt in self.slots.withdraw(|_, _| true) {
            self.report_range(attempt.0..attempt.0 + 1, Outcome::Returned);
        }
    }

    /// Ends everything that runs.
    pub fn stop_all(&self, why: Stop) {
        self.running.values().for_each(|one| one.stop(why));
    }

    fn report_range(&mut self, attempts: Range<u64>, outcome: Outcome) {
        let count = u32::try_from(attempts.end - attempts.start).unwrap_or(u32::MAX);
        let zero = Timestamp(0);
        let first = AttemptId(attempts.start);
        let report = Report { count, ..Report::one(first, outcome, zero, zero) };
        self.ledger.push(Message::Report(report));
    }

    /// What there are free slots for.
    pub fn start(&mut self) -> Vec<Started> {
        let mut started = Vec::new();
        for taken in self.slots.take_all() {
            let attempt = taken.attempt();
            let work = &taken.work;
            let Assignment { run, task, first_index, number, .. } = work.assignment;
            let instance = InstanceId { task, index: first_index + taken.offset };
            let (announce, fenced) = (work.announce, work.fenced.clone());
            started.push(Started { attempt, run, instance, number, announce, fenced });
            let term = self.tenure.term();
            let started = Timestamp(0);
            self.running.insert(attempt, Running { taken, term, started, is_long: false });
        }
        started
    }

    /// Says that an attempt is about to run, and asks for the acknowledgement of that.
    pub fn announce(&mut self, attempt: AttemptId) {
        self.report_range(attempt.0..attempt.0 + 1, Outcome::Started);
        self.ledger.push(Message::Barrier(attempt));
    }

    /// An attempt has run for a while.
    pub fn is_long(&mut self, attempt: AttemptId, since: Timestamp) {
        if let Some(one) = self.running.get_mut(&attempt).filter(|one| !one.is_long) {
            one.is_long = true;
            let report = Report::one(attempt, Outcome::Started, since, Timestamp(0));
            self.ledger.push(Message::Report(report));
        }
    }

    /// Why an attempt is to end, if it is.
    #[must_use]
    pub fn stopped(&self, attempt: AttemptId) -> Option<Stop> {
        self.running.get(&attempt).and_then(|one| one.taken.control.0.get())
    }

    /// Whether an attempt that runs may place its outputs.
    #[must_use]
    pub fn permission(&self, attempt: AttemptId, uptime: Micros) -> Permission {
        let Some(one) = self.running.get(&attempt) else { return Permission::Never };
        match self.tenure.permission(one.term, uptime) {
            tenure::Permission::Granted => Permission::Granted,
            tenure::Permission::NotNow => Permission::NotNow,
            tenure::Permission::Never => Permission::Never,
        }
    }

    /// An attempt has ended, and what it captured.
    pub fn end(
        &mut self,
        attempt: AttemptId,
        outcome: Outcome,
        times: (Timestamp, Timestamp),
        value: Option<Vec<u8>>,
    ) {
        let Some(Running { taken, .. }) = self.running.remove(&attempt) else { return };
        let is_first = self.slots.end(attempt);
        self.slots.vacate(&taken);
        self.slots.running.remove(&attempt);
        if is_first {
            let (started, finished) = times;
            let detail =
                value.map(|value| Box::new(Detail { value: Some(value), ..Detail::default() }));
            let report = Report { detail, ..Report::one(attempt, outcome, started, finished) };
            self.ledger.push(Message::Report(report));
        }
        self.forget_what_can_be();
    }

    /// Reports to be sent now, with the number of the call.
    pub fn batch(&mut self) -> Option<(u64, Vec<Report>)> {
        if self.ledger.next() != Some(Next::Report) {
            return None;
        }
        let (number, batch) = self.ledger.take_batch();
        self.ledger.keep(number, batch.clone());
        Some((number, batch))
    }

    /// The attempt that may begin as all reports before have been received, if that is what is next. To be
    /// asked when no call is under way.
    pub fn announced(&mut self) -> Option<AttemptId> {
        self.ledger.take_barrier()
    }

    /// The reports to be sent over a new line.
    #[must_use]
    pub fn again(&self) -> Vec<(u64, Vec<Report>)> {
        let kept = (0..).map_while(|at| self.ledger.kept(at));
        kept.map(|(number, batch)| (number, batch.to_vec())).collect()
    }

    /// The scheduler has answered a sign of life that was sent then.
    pub fn heard(&mut self, sent: Micros, lease: Micros, acknowledged: u64) {
        self.tenure.renew(sent, lease);
        self.ledger.trim(acknowledged);
    }

    /// The runs of which it has anything.
    #[must_use]
    pub fn runs(&self) -> BTreeSet<RunId> {
        self.recipes.iter().map(|(run, _)| *run).collect()
    }

    /// How many attempts, and reports that are not acknowledged, it still has.
    #[must_use]
    pub fn left(&self) -> (usize, usize) {
        let waiting = self.slots.held().len();
        (waiting, self.ledger.pending().len())
    }
}

impl Running {
    fn stop(&self, why: Stop) {
        let flag = &self.taken.control.0;
        if flag.get().is_none() {
            flag.set(Some(why));
        }
    }
}

/// The same ranges, those that touch or overlap as one.
fn merged(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}
