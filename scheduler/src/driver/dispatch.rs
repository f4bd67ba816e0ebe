//! Turns an assignment of the state machine into what is sent to a worker: looks inputs up, and
//! holds the assignment back until its manifests and values are ready.

use std::collections::VecDeque;

use dagrun_core::engine::{Assignment, Outcome, Report, RevokeMode};
use dagrun_core::ids::{AttemptId, InstanceId, TaskId, Timestamp, WorkerId};
use dagrun_core::recipe::{Input, InputKind, ManifestSpec, RecipeError};
use dagrun_core::status::{Detail, FailureKind};
use dagrun_schema::wire::Handout;
use rustc_hash::{FxHashMap, FxHashSet};

use super::SchedulerCore;
use super::inbox::{Happened, Inbox};
use super::run::{LiveRun, ManifestKey, TaskRecipe};
use super::worker::{LineId, Outgoing};
use crate::store::{ManifestJob, PrepareJob, Prepared};

/// Bytes of inputs that travel with one assignment; a range with more is split.
const ASSIGNMENT_BYTES: usize = 1024 * 1024;

/// Assignments that wait for the store.
#[derive(Default)]
pub(super) struct Held {
    next_ticket: u64,
    waiting: FxHashMap<u64, Waiting>,
    /// Those that wait for a batch to be on disk: its number, and the ticket.
    until: VecDeque<(u64, u64)>,
}

struct Waiting {
    worker: WorkerId,
    /// The line that it was to be sent through: what was to go through a line that is cut is given out
    /// again.
    line: Option<LineId>,
    assignment: Assignment,
    values: Vec<InstanceId>,
    manifests: Vec<ManifestKey>,
    /// The items that this one reads.
    items: Vec<TaskId>,
    /// Attempts that were revoked meanwhile, and whose outcome has been reported.
    revoked: FxHashSet<AttemptId>,
}

impl SchedulerCore {
    pub(super) fn dispatch(&mut self, worker: WorkerId, assignment: Assignment, inbox: &Inbox) {
        if let Err(error) = self.try_dispatch(worker, assignment) {
            let attempts = attempts(&assignment);
            inbox.push(Happened::Unsent(worker, not_started(attempts, &error)));
        }
    }

    fn try_dispatch(
        &mut self,
        worker: WorkerId,
        assignment: Assignment,
    ) -> Result<(), RecipeError> {
        let Some(run) = self.runs.get_mut(&assignment.run) else { return Ok(()) };
        let recipe = run.recipe(assignment.task)?;
        let (manifests, jobs) = missing_manifests(run, &recipe, &assignment)?;
        let values = missing_values(run, &recipe, &assignment);
        let own = recipe.inputs.iter().filter(|spec| spec.kind == InputKind::Item);
        let own: Vec<TaskId> =
            own.map(|spec| spec.task).filter(|task| run.items(*task).is_none()).collect();
        if jobs.is_empty() && values.is_empty() && own.is_empty() {
            return self.send(worker, assignment, &FxHashMap::default());
        }
        // Items of manifests are needed while the manifests are written. The assignment's own items
        // are needed only afterwards: another assignment may be reading them already.
        let mut items: Vec<TaskId> =
            own.into_iter().filter(|task| run.loading.insert(*task)).collect();
        let listed = jobs.iter().filter_map(|job| Some(job.item?.task));
        let (known, missing): (Vec<TaskId>, Vec<TaskId>) =
            listed.partition(|task| run.items(*task).is_some());
        items.extend(missing);
        items.sort_unstable();
        items.dedup();
        self.held.next_ticket += 1;
        let ticket = self.held.next_ticket;
        self.prepares.push(PrepareJob {
            ticket,
            run: assignment.run,
            items: known.into_iter().filter_map(|task| Some((task, run.items(task)?))).collect(),
            missing_items: items.iter().filter_map(|task| run.items_job(*task)).collect(),
            manifests: jobs,
            values: values.clone(),
        });
        let revoked = FxHashSet::default();
        let line = self.line_to(worker);
        let waiting = Waiting { worker, line, assignment, values, manifests, items, revoked };
        self.held.waiting.insert(ticket, waiting);
        Ok(())
    }

    /// Sends an assignment when a batch is on disk.
    pub(super) fn hold_until(&mut self, batch: u64, worker: WorkerId, assignment: Assignment) {
        self.held.next_ticket += 1;
        let ticket = self.held.next_ticket;
        let (values, manifests, items) = (Vec::new(), Vec::new(), Vec::new());
        let revoked = FxHashSet::default();
        let line = self.line_to(worker);
        let waiting = Waiting { worker, line, assignment, values, manifests, items, revoked };
        self.held.waiting.insert(ticket, waiting);
        self.held.until.push_back((batch, ticket));
    }

    /// All batches up to this one are on disk.
    pub(super) fn send_what_waited(&mut self, batch: u64, inbox: &Inbox) {
        if self.held.until.is_empty() {
            return;
        }
        let all = std::mem::take(&mut self.held.until).into_iter();
        let (due, rest): (VecDeque<_>, _) = all.partition(|(of, _)| *of <= batch);
        self.held.until = rest;
        for (_, ticket) in due {
            let Some(waiting) = self.held.waiting.remove(&ticket) else { continue };
            let Waiting { worker, line, assignment, revoked, .. } = waiting;
            if line.is_some() && self.line_to(worker) == line && self.halted.is_none() {
                for part in remaining(assignment, &revoked) {
                    self.dispatch(worker, part, inbox);
                }
            }
        }
    }

    /// The store has prepared what an assignment waited for.
    pub(super) fn prepared(&mut self, prepared: Prepared, inbox: &Inbox) {
        let Some(waiting) = self.held.waiting.remove(&prepared.ticket) else { return };
        let Waiting { worker, line, assignment, values, manifests, items, revoked } = waiting;
        if let Some(run) = self.runs.get_mut(&assignment.run) {
            items.iter().for_each(|task| {
                run.loading.remove(task);
            });
            if let Ok(fetched) = &prepared.result {
                fetched.items.iter().for_each(|(task, items)| run.keep_items(*task, items));
                run.manifests.extend(manifests);
            }
        }
        if line.is_none() || self.line_to(worker) != line || self.halted.is_some() {
            return;
        }
        let attempts = attempts(&assignment).filter(|attempt| !revoked.contains(attempt));
        let inputs = match prepared.result {
            Ok(fetched) => fetched.values,
            Err(error) => {
                return inbox.push(Happened::Unsent(worker, not_started(attempts, &error)));
            }
        };
        let values: FxHashMap<_, _> = values.into_iter().zip(inputs).collect();
        for part in remaining(assignment, &revoked) {
            let sent = match self.lacks_items(&part) {
                false => self.send(worker, part, &values),
                true => self.try_dispatch(worker, part),
            };
            if let Err(error) = sent {
                let attempts = self::attempts(&part);
                inbox.push(Happened::Unsent(worker, not_started(attempts, &error)));
            }
        }
    }

    /// Whether items that an assignment needs have been dropped since they were read, or were to be
    /// read for another assignment, which failed.
    fn lacks_items(&mut self, assignment: &Assignment) -> bool {
        let Some(run) = self.runs.get_mut(&assignment.run) else { return false };
        let Ok(recipe) = run.recipe(assignment.task) else { return false };
        let mut needed = recipe.inputs.iter().filter(|spec| spec.kind == InputKind::Item);
        needed.any(|spec| run.items(spec.task).is_none())
    }

    /// Revokes attempts: those that are held back are reported here, the others by the worker.
    pub(super) fn revoke(
        &mut self,
        worker: WorkerId,
        mut attempts: Vec<AttemptId>,
        mode: RevokeMode,
        inbox: &Inbox,
    ) {
        let outcome = match mode {
            RevokeMode::Steal => Outcome::Returned,
            RevokeMode::Cancel => Outcome::Failed(FailureKind::Cancelled),
        };
        let mut answered = Vec::new();
        for waiting in self.held.waiting.values_mut().filter(|waiting| waiting.worker == worker) {
            attempts.retain(|attempt| {
                let held = contains(&waiting.assignment, *attempt);
                if held && waiting.revoked.insert(*attempt) {
                    answered.push(report(*attempt, outcome, None));
                }
                !held
            });
        }
        if !answered.is_empty() {
            inbox.push(Happened::Unsent(worker, answered));
        }
        if !attempts.is_empty() {
            self.send_revoke(worker, attempts, mode);
        }
    }

    /// Puts an assignment into its worker's outbox, in parts that are not too large.
    fn send(
        &mut self,
        worker: WorkerId,
        assignment: Assignment,
        fetched: &FxHashMap<InstanceId, Input>,
    ) -> Result<(), RecipeError> {
        let Some(run) = self.runs.get_mut(&assignment.run) else { return Ok(()) };
        let recipe = run.recipe(assignment.task)?;
        if self.values_kept && recipe.takes_values {
            self.introduce(worker);
        }
        let first = InstanceId { task: assignment.task, index: assignment.first_index };
        let (announce, fenced) = match assignment.count {
            1 => self.caution(assignment.run, first),
            // Those with a history go out one by one; those without have the same numbers.
            _ => (false, self.fenced_before(assignment.run, first).collect()),
        };
        let handout = Handout { assignment, inputs: Vec::new(), announce, fenced };
        let Some(run) = self.runs.get_mut(&assignment.run) else { return Ok(()) };
        let Some(worker) = self.workers.get_mut(&worker) else { return Ok(()) };
        if recipe.inputs.is_empty() {
            worker.push(Outgoing::Dispatch { handout: Box::new(handout), bytes: 64 });
            return Ok(());
        }
        let mut part = part_of(&assignment, 0, 0);
        let (mut inputs, mut bytes) = (Vec::new(), 0);
        for offset in 0..assignment.count {
            let of_instance = inputs_of(run, &recipe, assignment.first_index + offset, fetched);
            bytes += of_instance.iter().map(size).sum::<usize>();
            inputs.push(of_instance);
            part.count += 1;
            if bytes >= ASSIGNMENT_BYTES || offset + 1 == assignment.count {
                let inputs = std::mem::take(&mut inputs);
                let handout = Box::new(Handout { assignment: part, inputs, ..handout.clone() });
                worker.push(Outgoing::Dispatch { handout, bytes });
                part = part_of(&assignment, offset + 1, 0);
                bytes = 0;
            }
        }
        Ok(())
    }
}

fn size(input: &Input) -> usize {
    let outputs: usize = input.outputs.iter().map(Vec::len).sum();
    64 + outputs + input.value.as_ref().map_or(0, Vec::len)
}

fn inputs_of(
    run: &LiveRun,
    recipe: &TaskRecipe,
    index: u32,
    fetched: &FxHashMap<InstanceId, Input>,
) -> Vec<Input> {
    let specs = recipe.inputs.iter();
    let inputs = specs.map(|spec| {
        let instance = InstanceId { task: spec.task, index: spec.upstream_index(index) };
        match spec.kind {
            InputKind::Instance => {
                let found = run.payload(instance).or_else(|| fetched.get(&instance));
                found.cloned().unwrap_or_default()
            }
            InputKind::Item => {
                let part = run.items(instance.task).and_then(|items| items.part(instance.index));
                Input { value: part, outputs: Vec::new(), ..Input::default() }
            }
        }
    });
    inputs.collect()
}

/// The manifests that an assignment needs and that are not on disk: their keys, and how to write
/// them.
fn missing_manifests(
    run: &LiveRun,
    recipe: &TaskRecipe,
    assignment: &Assignment,
) -> Result<(Vec<ManifestKey>, Vec<ManifestJob>), RecipeError> {
    let (mut keys, mut jobs) = (Vec::new(), Vec::new());
    for spec in &recipe.manifests {
        for index in manifest_indices(spec, assignment) {
            let (task, upstream, values) = (assignment.task, spec.upstream, spec.values);
            let key = ManifestKey { task, upstream, index, values };
            if run.manifests.contains(&key) {
                continue;
            }
            let of_upstream = run.recipe_of_upstream(recipe, spec.upstream)?;
            jobs.push(ManifestJob {
                upstream: spec.upstream,
                listed: recipe.listed(index, run.width(spec.upstream)),
                item: of_upstream.item(),
                recipe: of_upstream,
                path: spec.path(index),
                values,
            });
            keys.push(key);
        }
    }
    Ok((keys, jobs))
}

/// The instances of an assignment that have a manifest each; index 0 when all share one.
fn manifest_indices(spec: &ManifestSpec, assignment: &Assignment) -> std::ops::Range<u32> {
    match spec.groups {
        None => 0..1,
        Some(_) => assignment.first_index..assignment.first_index + assignment.count,
    }
}

fn missing_values(run: &LiveRun, recipe: &TaskRecipe, assignment: &Assignment) -> Vec<InstanceId> {
    let mut missing = Vec::new();
    for spec in recipe.inputs.iter().filter(|spec| spec.kind == InputKind::Instance) {
        for offset in 0..assignment.count {
            let index = spec.upstream_index(assignment.first_index + offset);
            let instance = InstanceId { task: spec.task, index };
            if run.payload(instance).is_none() && missing.last() != Some(&instance) {
                missing.push(instance);
            }
        }
    }
    missing
}

fn part_of(whole: &Assignment, offset: u32, count: u32) -> Assignment {
    Assignment {
        first_index: whole.first_index + offset,
        first_attempt: AttemptId(whole.first_attempt.0 + u64::from(offset)),
        count,
        ..*whole
    }
}

fn attempts(assignment: &Assignment) -> impl Iterator<Item = AttemptId> + use<> {
    let first = assignment.first_attempt.0;
    (first..first + u64::from(assignment.count)).map(AttemptId)
}

fn contains(assignment: &Assignment, attempt: AttemptId) -> bool {
    let offset = attempt.0.checked_sub(assignment.first_attempt.0);
    offset.is_some_and(|offset| offset < u64::from(assignment.count))
}

/// The parts of an assignment around the attempts that were revoked.
fn remaining(assignment: Assignment, revoked: &FxHashSet<AttemptId>) -> Vec<Assignment> {
    if revoked.is_empty() {
        return vec![assignment];
    }
    let mut parts: Vec<Assignment> = Vec::new();
    for (offset, attempt) in (0..).zip(attempts(&assignment)) {
        if revoked.contains(&attempt) {
            continue;
        }
        match parts.last_mut() {
            Some(last) if last.first_index + last.count == assignment.first_index + offset => {
                last.count += 1;
            }
            _ => parts.push(part_of(&assignment, offset, 1)),
        }
    }
    parts
}

/// Reports on attempts that cannot be started.
fn not_started(
    attempts: impl Iterator<Item = AttemptId>,
    error: &dyn std::error::Error,
) -> Vec<Report> {
    let detail = Detail { reason: dagrun_core::one_line(error), ..Detail::default() };
    let outcome = Outcome::Failed(FailureKind::Start);
    attempts.map(|attempt| report(attempt, outcome, Some(&detail))).collect()
}

fn report(attempt: AttemptId, outcome: Outcome, detail: Option<&Detail>) -> Report {
    let detail = detail.cloned().map(Box::new);
    Report { detail, ..Report::one(attempt, outcome, Timestamp(0), Timestamp(0)) }
}

#[cfg(test)]
mod tests {
    use dagrun_core::ids::{RunId, TaskId};

    use super::*;

    #[test]
    fn what_was_taken_back_is_cut_out_of_an_assignment() {
        let whole = Assignment {
            run: RunId(1),
            task: TaskId(0),
            first_index: 10,
            count: 5,
            first_attempt: AttemptId(100),
            number: 1,
            memory: 0,
        };
        let revoked = [AttemptId(100), AttemptId(103)].into_iter().collect();
        let parts = remaining(whole, &revoked);
        let ranges: Vec<_> =
            parts.iter().map(|part| (part.first_index, part.first_attempt.0, part.count)).collect();
        assert_eq!(ranges, [(11, 101, 2), (14, 104, 1)]);
        assert_eq!(remaining(whole, &FxHashSet::default()), [whole]);
    }
}
