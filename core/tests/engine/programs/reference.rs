//! The model: every instance and edge, judged from scratch from what is known to have happened.
//!
//! Where the machine is free to choose, the model takes the choice as given: on which worker an
//! attempt ran, which workers were present when a task for each of them could start.

use std::collections::{BTreeMap, BTreeSet};

use dagrun_core::engine::{CancelScope, RunPlan, TaskPlan};
use dagrun_core::ids::{InstanceId, TaskId, WorkerId};
use dagrun_core::pipeline::{Clause, Outcomes, Quantifier, Scatter, Split, Targets};

/// What an instance may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Wait,
    Run,
    Never,
    Done(bool),
}

use Verdict::{Done, Never, Run, Wait};

/// How an instance ended, other than by being skipped.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    success: bool,
    /// Where its last attempt ran, if one was under way.
    worker: Option<WorkerId>,
    /// Whether it ended because that worker was lost.
    lost: bool,
    /// Its position in the order of all ends.
    order: usize,
}

/// Everything that happened, and nothing that follows from it.
pub(super) struct Model {
    pub(super) plan: RunPlan,
    /// Instances that ended by themselves or were cancelled.
    pub(super) ends: BTreeMap<InstanceId, End>,
    /// What the instances that feed a scatter captured.
    pub(super) items: BTreeMap<InstanceId, Option<u32>>,
    /// Tasks that were cancelled before their width was known.
    doomed: BTreeSet<TaskId>,
    /// The workers that are present.
    present: BTreeSet<WorkerId>,
    /// The workers that were present when a task for each of them could start.
    each: BTreeMap<TaskId, Vec<WorkerId>>,
    /// Widths, once known, and whether the one instance represents a width that can never be known.
    /// A worker that is followed may be lost later, which does not undo them.
    widths: BTreeMap<TaskId, (u32, bool)>,
}

/// All instances of each task whose width is known.
pub(super) type Verdicts = Vec<Option<Vec<Verdict>>>;

impl Model {
    pub(super) fn new(plan: RunPlan) -> Model {
        Model {
            plan,
            ends: BTreeMap::new(),
            items: BTreeMap::new(),
            doomed: BTreeSet::new(),
            present: BTreeSet::new(),
            each: BTreeMap::new(),
            widths: BTreeMap::new(),
        }
    }

    pub(super) fn task(&self, task: TaskId) -> &TaskPlan {
        &self.plan.tasks[task.at()]
    }

    /// An instance ended, with the worker of the attempt that was under way.
    pub(super) fn end(&mut self, instance: InstanceId, success: bool, worker: Option<WorkerId>) {
        let end = End { success, worker, lost: false, order: self.ends.len() };
        assert!(self.ends.insert(instance, end).is_none(), "{instance:?} ends twice");
    }

    /// An instance ended with its worker.
    pub(super) fn end_lost(&mut self, instance: InstanceId, worker: WorkerId) {
        self.end(instance, false, Some(worker));
        self.ends.get_mut(&instance).unwrap().lost = true;
    }

    /// Adopts what the machine was free to choose, now that these workers are present.
    pub(super) fn observe(&mut self, present: impl Iterator<Item = WorkerId>) -> Verdicts {
        self.present = present.collect();
        loop {
            let verdicts = self.verdicts();
            let opens = (0..).map(TaskId).zip(&self.plan.tasks).find(|(task, plan)| {
                let gate = || self.gate(plan, &verdicts);
                plan.conduct.targets == Targets::Each
                    && verdicts[task.at()].is_none()
                    && gate() == Run
            });
            match opens {
                Some((task, _)) if !self.present.is_empty() => {
                    self.each.insert(task, self.present.iter().copied().collect());
                }
                _ => return verdicts,
            }
        }
    }

    fn verdicts(&mut self) -> Verdicts {
        let mut known: Verdicts = Vec::new();
        for task in (0..).map(TaskId).take(self.plan.tasks.len()) {
            let gate = self.gate(self.task(task), &known);
            let width = self.widths.get(&task).copied();
            let width = width.or_else(|| self.width(task, gate, &known));
            let own = width.map(|(width, broken)| {
                self.widths.insert(task, (width, broken));
                let one = |index| self.instance(InstanceId { task, index }, gate, broken, &known);
                (0..width).map(one).collect()
            });
            known.push(own);
        }
        known
    }

    /// What must hold for all instances of a task alike.
    fn gate(&self, plan: &TaskPlan, known: &Verdicts) -> Verdict {
        let others = plan.clauses.len() - plan.follows as usize;
        let mut pins = BTreeSet::new();
        let mut parts = Vec::new();
        for (at, plan) in plan.clauses.iter().enumerate() {
            let (mut verdict, pin) = (self.clause(plan, known), self.followed(plan, known));
            if at >= others {
                verdict = pin.map_or_else(|verdict| verdict, |_| Run);
                pins.extend(pin.ok().flatten());
            }
            parts.push(verdict);
        }
        if pins.len() > 1 || pins.iter().any(|pin| !self.present.contains(pin)) {
            return Never;
        }
        all_of(parts.into_iter())
    }

    /// The worker that a task follows, once that is known.
    pub(super) fn pin(&self, task: TaskId, known: &Verdicts) -> Option<WorkerId> {
        let plan = self.task(task);
        let others = plan.clauses.len() - plan.follows as usize;
        plan.clauses[others..].iter().find_map(|clause| self.followed(clause, known).ok()?)
    }

    /// The worker of each instance of a task that has one for each worker.
    pub(super) fn worker_of_each(&self, instance: InstanceId) -> Option<WorkerId> {
        self.each.get(&instance.task)?.get(instance.index as usize).copied()
    }

    fn width(&self, task: TaskId, gate: Verdict, known: &Verdicts) -> Option<(u32, bool)> {
        let plan = self.task(task);
        let dynamic = plan.scatter.is_some() || plan.conduct.targets == Targets::Each;
        match (plan.scatter, plan.map) {
            _ if self.each.contains_key(&task) => Some((self.each[&task].len() as u32, false)),
            _ if dynamic && (self.doomed.contains(&task) || gate == Never) => Some((1, true)),
            (Some(_), _) if gate == Wait => None,
            (Some(scatter), _) => Some(self.scattered(scatter, plan.width.each(), known)),
            (None, Some(map)) => {
                Some((known[map.upstream.at()].as_ref()?.len() as u32 * map.factor, false))
            }
            (None, None) if dynamic => None,
            (None, None) => Some((plan.width.each(), false)),
        }
    }

    fn instance(
        &self,
        instance: InstanceId,
        gate: Verdict,
        broken: bool,
        known: &Verdicts,
    ) -> Verdict {
        if let Some(end) = self.ends.get(&instance) {
            return Done(end.success);
        }
        if self.doomed.contains(&instance.task) {
            return Done(false);
        }
        let gone = |worker: WorkerId| !self.present.contains(&worker);
        if broken || self.worker_of_each(instance).is_some_and(gone) {
            return Never;
        }
        all_of([gate, self.pattern(self.task(instance.task), instance.index, known)].into_iter())
    }

    fn scattered(&self, scatter: Scatter, own: u32, known: &Verdicts) -> (u32, bool) {
        let sources = known[scatter.from.at()].as_ref().map_or(0, Vec::len) as u32;
        let items = (0..sources).map(|index| self.items[&InstanceId { task: scatter.from, index }]);
        match items.sum::<Option<u32>>() {
            Some(items) if scatter.max_items.is_none_or(|most| items <= most) => {
                // By counting, not by the formula.
                let parts = match scatter.split {
                    Split::Each => (0..items).collect::<BTreeSet<u32>>().len(),
                    Split::Chunk(chunk) => {
                        (0..items).map(|i| i / chunk).collect::<BTreeSet<_>>().len()
                    }
                    Split::Parts(parts) => items.min(parts) as usize,
                };
                (parts as u32 * own, false)
            }
            _ => (1, true),
        }
    }

    fn pattern(&self, plan: &TaskPlan, index: u32, known: &Verdicts) -> Verdict {
        if let Some(map) = plan.map {
            let upstream =
                known[map.upstream.at()].as_ref().unwrap()[(index / map.factor) as usize];
            return clause(Quantifier::All, Outcomes::Success, &[Some(upstream)]);
        }
        let Some(gather) = &plan.gather else { return Run };
        let mut members: Vec<Option<Verdict>> = Vec::new();
        for upstream in &gather.upstreams {
            match &known[upstream.at()] {
                None => members.push(None),
                Some(all) => {
                    let groups = gather.groups.as_deref();
                    let in_group = |i: usize| groups.is_none_or(|of| of[i] == index);
                    members.extend(
                        all.iter().enumerate().filter(|(i, _)| in_group(*i)).map(|(_, v)| Some(*v)),
                    );
                }
            }
        }
        let Some(min) = gather.min_success else {
            return clause(Quantifier::All, Outcomes::Success, &members);
        };
        let failed = members.iter().filter(|v| matches!(v, Some(Never | Done(false)))).count();
        let waiting = members.iter().filter(|v| matches!(v, Some(Wait | Run) | None)).count();
        let known_width = !members.contains(&None);
        let total = members.len() as u64;
        if known_width && total - (failed as u64) < min.of(total) {
            Never
        } else if waiting > 0 {
            Wait
        } else {
            Run
        }
    }

    fn clause(&self, plan: &Clause, known: &Verdicts) -> Verdict {
        let members = members(plan, known).into_iter().map(|member| Some(member?.1));
        clause(plan.quantifier, plan.on, &members.collect::<Vec<_>>())
    }

    /// The worker that a clause of `follow` selects: `None` when it is over no instances, or the
    /// verdict that prevents a selection.
    fn followed(&self, plan: &Clause, known: &Verdicts) -> Result<Option<WorkerId>, Verdict> {
        let members = members(plan, known);
        let verdict = self.clause(plan, known);
        if members.is_empty() {
            return Ok(None);
        }
        // Those that count and ran, in the order in which they ended.
        let counted = |end: &&End| hit(plan.on, Done(end.success)) == Some(true);
        let ends = members.iter().flatten().filter_map(|(instance, _)| self.ends.get(instance));
        let mut ran: Vec<End> = ends.filter(counted).copied().collect();
        ran.retain(|end| end.worker.is_some());
        ran.sort_by_key(|end| end.order);
        let mut workers: Vec<WorkerId> = ran.iter().filter_map(|end| end.worker).collect();
        let pending = members.iter().any(|member| matches!(member, None | Some((_, Wait | Run))));
        match plan.quantifier {
            Quantifier::Any => {
                // An instance that ended because its worker was lost offers no worker to follow.
                match ran.iter().filter(|end| !end.lost).find_map(|end| end.worker) {
                    Some(worker) => Ok(Some(worker)),
                    None => Err(if pending { Wait } else { Never }),
                }
            }
            Quantifier::All => {
                workers.sort_unstable();
                workers.dedup();
                match (verdict, workers.as_slice()) {
                    (Never, _) | (_, [_, _, ..]) | (Run, []) => Err(Never),
                    (Run, [worker]) => Ok(Some(*worker)),
                    _ => Err(Wait),
                }
            }
        }
    }

    /// Ends the instances in scope that no worker holds.
    pub(super) fn end_all(
        &mut self,
        scope: CancelScope,
        verdicts: &Verdicts,
        held: &BTreeSet<InstanceId>,
    ) {
        let covered = |task: TaskId, index: Option<u32>| match scope {
            CancelScope::Run | CancelScope::Interruption => !self.task(task).conduct.always,
            CancelScope::Task(one) => one == task,
            CancelScope::Instance(one) => one.task == task && index == Some(one.index),
        };
        let (mut ended, mut doomed) = (Vec::new(), Vec::new());
        for (task, verdicts) in (0..).map(TaskId).zip(verdicts) {
            let Some(verdicts) = verdicts else {
                doomed.extend(covered(task, None).then_some(task));
                continue;
            };
            for (index, verdict) in (0..).zip(verdicts) {
                let instance = InstanceId { task, index };
                let waits = matches!(verdict, Wait | Run) && !held.contains(&instance);
                ended.extend((waits && covered(task, Some(index))).then_some(instance));
            }
        }
        ended.into_iter().for_each(|instance| self.end(instance, false, None));
        self.doomed.extend(doomed);
    }

    /// Whether something failed that fails the run.
    pub(super) fn failed(&self) -> bool {
        let counts = |task: &TaskId| !self.task(*task).conduct.allow_failure;
        let failed = self.ends.iter().filter(|(_, end)| !end.success).map(|(one, _)| one.task);
        failed.chain(self.doomed.iter().copied()).any(|task| counts(&task))
    }
}

/// The upstream instances of a clause; `None` represents a task of unknown width.
fn members(plan: &Clause, known: &Verdicts) -> Vec<Option<(InstanceId, Verdict)>> {
    let of = |upstream: &TaskId| match &known[upstream.at()] {
        None => vec![None],
        Some(all) => (0..)
            .zip(all)
            .map(|(index, verdict)| Some((InstanceId { task: *upstream, index }, *verdict)))
            .collect(),
    };
    plan.upstreams.iter().flat_map(of).collect()
}

/// All conditions together.
fn all_of(parts: impl Iterator<Item = Verdict>) -> Verdict {
    parts.fold(Run, |all, part| match (all, part) {
        (Never, _) | (_, Never) => Never,
        (Wait, _) | (_, Wait) => Wait,
        _ => Run,
    })
}

/// Whether an upstream is what a clause counts, once that is known.
fn hit(on: Outcomes, verdict: Verdict) -> Option<bool> {
    match (verdict, on) {
        (Wait | Run, _) => None,
        (Done(success), Outcomes::Success) => Some(success),
        (Done(success), Outcomes::Failure) => Some(!success),
        (Never, Outcomes::Success) => Some(false),
        (Never, _) | (Done(_), Outcomes::Finish) => Some(true),
    }
}

/// A clause over upstream instances; `None` represents a task of unknown width.
fn clause(quantifier: Quantifier, on: Outcomes, members: &[Option<Verdict>]) -> Verdict {
    let hits: Vec<Option<bool>> = members.iter().map(|member| hit(on, (*member)?)).collect();
    let (yes, no) = (hits.contains(&Some(true)), hits.contains(&Some(false)));
    match (quantifier, hits.contains(&None)) {
        _ if hits.is_empty() => Run,
        (Quantifier::All, _) if no => Never,
        (Quantifier::Any, _) if yes => Run,
        (_, true) => Wait,
        (Quantifier::All, false) => Run,
        (Quantifier::Any, false) => Never,
    }
}
