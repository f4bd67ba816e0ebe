//! What the driver keeps of a live run: its recipes in use, values for instances still to start,
//! and its public side. Nothing here grows with the number of waiting instances.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use dagrun_core::engine::{Past, Record};
use dagrun_core::ids::{InstanceId, Micros, RunId, TaskId};
use dagrun_core::layout;
use dagrun_core::pipeline::{Pattern, Pipeline, RunContext, Task};
use dagrun_core::recipe::{
    Input, InputSpec, Items, Keep, ManifestSpec, Recipe, RecipeData, RecipeError,
};
use dagrun_core::status::{Counts, State};
use dagrun_schema::wire::TaskDelta;
use rustc_hash::{FxHashMap, FxHashSet};

use super::inbox::Submitted;
use super::published::Published;
use crate::store::{FIRST_MARK, ItemsJob, Listed, Removal};

/// Bytes of values kept for a run; values beyond that are read back from the store.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

pub(super) struct LiveRun {
    pub(super) published: Rc<Published>,
    pub(super) log_dir: PathBuf,
    /// Manifests that are on disk.
    pub(super) manifests: FxHashSet<ManifestKey>,
    /// Items that are being read, by the task that scatters them.
    pub(super) loading: FxHashSet<TaskId>,
    /// Where long values of each task are kept.
    keeps: Vec<Keep>,
    pipeline: Arc<Pipeline>,
    context: RunContext,
    /// `None` where it is not known yet.
    widths: Vec<Option<u32>>,
    /// Tasks whose captured arrays are scattered.
    scattered: FxHashSet<TaskId>,
    items: FxHashMap<TaskId, Arc<Items>>,
    item_bytes: usize,
    /// Total duration and number of the attempts that succeeded, by task.
    durations: Vec<(u64, u64)>,
    recipes: FxHashMap<TaskId, Rc<TaskRecipe>>,
    /// What is needed to remove the temporary outputs of a task.
    removals: FxHashMap<TaskId, (Arc<Recipe>, Arc<[u32]>)>,
    /// Tasks whose values or outputs are inputs of other instances.
    consumed: FxHashSet<TaskId>,
    payloads: FxHashMap<InstanceId, Input>,
    payload_bytes: usize,
    /// Instances whose values are made again.
    reopened: FxHashSet<InstanceId>,
    /// Below which indices attempts may be handed out, where that is not the first mark.
    marks: FxHashMap<TaskId, Mark>,
}

/// The index below which attempts of a task may be handed out: so it is in the journal, for who goes on
/// with the run after a kill.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// What is on disk.
    durable: u32,
    /// What was sent there last, and with which batch.
    sent: u32,
    batch: u64,
}

/// By how much a mark grows.
const GROWTH: u32 = 4;

/// What an assignment needs of its task's mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marking {
    /// The mark that is to be written with the current batch.
    pub(super) below: Option<u32>,
    /// The batch that must be on disk before the assignment is sent.
    pub(super) wait_for: Option<u64>,
}

impl Mark {
    /// Moves it ahead of what is handed out, up to an index, in blocks that grow.
    fn cover(&mut self, end: u32, width: u32, committed: u64, current: u64) -> Marking {
        if self.batch <= committed {
            self.durable = self.sent;
        }
        let ahead = end > self.sent / 2 && self.sent == self.durable && self.sent < width;
        let mut marking = Marking::default();
        if end > self.sent || ahead {
            (self.sent, self.batch) = (end.max(self.sent).saturating_mul(GROWTH), current);
            marking.below = Some(self.sent);
        }
        marking.wait_for = (end > self.durable).then_some(self.batch);
        marking
    }
}

/// Identifies a manifest: the task it belongs to, the task it lists, and the instance if each has
/// its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ManifestKey {
    pub(super) task: TaskId,
    pub(super) upstream: TaskId,
    pub(super) index: u32,
    /// Whether it holds values rather than lines.
    pub(super) values: bool,
}

/// A task's recipe, and what it needs.
pub(super) struct TaskRecipe {
    pub(super) json: Vec<u8>,
    pub(super) inputs: Vec<InputSpec>,
    pub(super) manifests: Vec<ManifestSpec>,
    /// Whether its instances may be given values that workers keep.
    pub(super) takes_values: bool,
    groups: Option<Members>,
    /// The recipes of the tasks that manifests list, where each instance has manifests of its own.
    listed: RefCell<FxHashMap<TaskId, Arc<Recipe>>>,
}

/// The instances of each group, in order: those of group `g` begin at `starts[g]` and end where the
/// next group begins.
struct Members {
    starts: Vec<u32>,
    instances: Vec<u32>,
}

impl Members {
    fn new(groups: &[u32]) -> Members {
        let count = groups.iter().max().map_or(0, |last| *last as usize + 1);
        let mut starts = vec![0u32; count + 1];
        groups.iter().for_each(|group| starts[*group as usize + 1] += 1);
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut instances = vec![0; groups.len()];
        for (instance, group) in (0..).zip(groups) {
            let place = &mut next[*group as usize];
            instances[*place as usize] = instance;
            *place += 1;
        }
        Members { starts, instances }
    }

    fn of(&self, group: u32) -> &[u32] {
        let place = |at: usize| self.starts.get(at).map_or(0, |start| *start as usize);
        let (from, to) = (place(group as usize), place(group as usize + 1));
        self.instances.get(from..to).unwrap_or_default()
    }
}

impl TaskRecipe {
    /// What a manifest for instance `index` lists of an upstream of this width.
    pub(super) fn listed(&self, index: u32, width: u32) -> Listed {
        match &self.groups {
            None => Listed::All(width),
            Some(members) => Listed::Some(members.of(index).to_vec()),
        }
    }
}

impl LiveRun {
    pub(super) fn new(submitted: Submitted, state_dir: &Path, workers: &Rc<Cell<u32>>) -> LiveRun {
        let Submitted { run, submission, pipeline, mut widths, past, started, before, .. } =
            submitted;
        let run_dir = layout::run_dir(state_dir, run);
        for (task, width) in &past.widths {
            if let Some(slot) = widths.get_mut(task.at()) {
                *slot = Some(*width);
            }
        }
        let names = pipeline.tasks.iter().map(|task| task.name.clone());
        let counts = initial_counts(&widths, &past);
        let tasks = names.zip(widths.iter().zip(counts));
        let tasks = tasks.map(|(name, (width, counts))| (name, counts, width.is_some())).collect();
        let published =
            Published::new(run, pipeline.name.clone(), started, tasks, Rc::clone(workers));
        before.failures.into_iter().for_each(|failure| published.fail(failure));
        let marks = (0..).map(TaskId).zip(before.marks).filter(|(_, below)| *below > FIRST_MARK);
        let mark = |below| Mark { durable: below, sent: below, batch: 0 };
        let consumed = pipeline.tasks.iter().flat_map(|task| {
            let map = if let Pattern::Map(upstream) = task.pattern { Some(upstream) } else { None };
            task.references.iter().copied().chain(map)
        });
        LiveRun {
            published: Rc::new(published),
            log_dir: layout::logs(&run_dir),
            manifests: FxHashSet::default(),
            loading: FxHashSet::default(),
            scattered: pipeline.tasks.iter().filter_map(scattered).collect(),
            items: FxHashMap::default(),
            item_bytes: 0,
            durations: vec![(0, 0); widths.len()],
            consumed: consumed.collect(),
            context: RunContext {
                run: run.0,
                run_dir,
                base_dir: submission.base_dir.clone(),
                seed: submission.seed,
            },
            keeps: Keep::of_tasks(&pipeline),
            pipeline,
            widths,
            recipes: FxHashMap::default(),
            removals: FxHashMap::default(),
            payloads: FxHashMap::default(),
            payload_bytes: 0,
            reopened: FxHashSet::default(),
            marks: marks.map(|(task, below)| (task, mark(below))).collect(),
        }
    }

    /// Moves the mark of a task, of which attempts up to an index are handed out, while one batch has been
    /// committed and another is being made.
    pub(super) fn mark(&mut self, task: TaskId, end: u32, committed: u64, current: u64) -> Marking {
        if end <= FIRST_MARK / 2 {
            return Marking::default();
        }
        let width = self.width(task);
        let first = Mark { durable: FIRST_MARK, sent: FIRST_MARK, batch: 0 };
        self.marks.entry(task).or_insert(first).cover(end, width, committed, current)
    }

    /// The number of instances of a task; 0 while it is unknown.
    pub(super) fn width(&self, task: TaskId) -> u32 {
        self.widths.get(task.at()).copied().flatten().unwrap_or(0)
    }

    /// Sets the number of instances of a task that has become known.
    pub(super) fn widen(&mut self, task: TaskId, width: u32) {
        if let Some(slot) = self.widths.get_mut(task.at()) {
            *slot = Some(width);
        }
    }

    /// A task as its author wrote it.
    pub(super) fn task(&self, task: TaskId) -> Option<&Task> {
        self.pipeline.tasks.get(task.at())
    }

    /// Whether any captured array of the run is scattered.
    pub(super) fn scatters(&self) -> bool {
        !self.scattered.is_empty()
    }

    /// The items that a task scatters, unless they must be read first.
    pub(super) fn items(&self, task: TaskId) -> Option<Arc<Items>> {
        self.items.get(&task).cloned()
    }

    /// The job that reads the items that a task scatters.
    pub(super) fn items_job(&self, task: TaskId) -> Option<ItemsJob> {
        let Pattern::Scatter(scatter) = self.task(task)?.pattern else { return None };
        Some(ItemsJob { task, scatter, width: self.width(scatter.from) })
    }

    /// Keeps items that were read. The latest are kept whatever their size: reading them back for
    /// each of their instances would take quadratic time.
    pub(super) fn keep_items(&mut self, task: TaskId, items: &Arc<Items>) {
        let bytes = items.bytes() + 8 * usize::try_from(items.len()).unwrap_or(usize::MAX / 8);
        if self.item_bytes.saturating_add(bytes) > CACHE_BYTES {
            self.items.clear();
            self.item_bytes = 0;
        }
        if self.items.insert(task, Arc::clone(items)).is_none() {
            self.item_bytes = self.item_bytes.saturating_add(bytes);
        }
    }

    /// Adds the duration of attempts that succeeded.
    pub(super) fn note_duration(&mut self, record: &Record) {
        if record.state == State::Succeeded
            && record.started.0 > 0
            && let Some((total, count)) = self.durations.get_mut(record.task.at())
        {
            let took = record.finished.since(record.started).0;
            *total = total.saturating_add(took.saturating_mul(record.count.into()));
            *count += u64::from(record.count);
        }
    }

    /// The mean duration of the attempts that succeeded, by task.
    pub(super) fn durations(&self) -> Vec<Option<Micros>> {
        let mean = |(total, count): &(u64, u64)| total.checked_div(*count).map(Micros);
        self.durations.iter().map(mean).collect()
    }

    /// The recipe of a task, made when it is first needed.
    pub(super) fn recipe(&mut self, task: TaskId) -> Result<Rc<TaskRecipe>, RecipeError> {
        if let Some(made) = self.recipes.get(&task) {
            return Ok(Rc::clone(made));
        }
        let keep = self.keeps.get(task.at()).copied().unwrap_or_default();
        let recipe = RecipeData::new(&self.pipeline, task, &self.context)?.keeping(keep);
        let manifests = recipe.manifests();
        let groups = manifests.iter().find_map(|spec| spec.groups.clone());
        let made = Rc::new(TaskRecipe {
            // Plain data with text keys: writing it cannot fail.
            json: serde_json::to_vec(&recipe).unwrap_or_default(),
            inputs: recipe.inputs().to_vec(),
            groups: groups.map(|groups| Members::new(&groups)),
            takes_values: !recipe.inputs().is_empty() || manifests.iter().any(|spec| spec.values),
            listed: RefCell::default(),
            manifests,
        });
        self.recipes.insert(task, Rc::clone(&made));
        Ok(made)
    }

    /// The recipe of a task that a manifest of `recipe` lists. Kept only where more manifests will
    /// be written.
    pub(super) fn recipe_of_upstream(
        &self,
        recipe: &TaskRecipe,
        upstream: TaskId,
    ) -> Result<Arc<Recipe>, RecipeError> {
        if let Some(made) = recipe.listed.borrow().get(&upstream) {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(Recipe::new(&self.pipeline, upstream, &self.context)?);
        if recipe.groups.is_some() {
            recipe.listed.borrow_mut().insert(upstream, Arc::clone(&made));
        }
        Ok(made)
    }

    /// The removal of the temporary outputs of instances.
    pub(super) fn removal(
        &mut self,
        run: RunId,
        task: TaskId,
        first: u32,
        count: u32,
    ) -> Option<Removal> {
        if !self.removals.contains_key(&task) {
            let recipe = Arc::new(Recipe::new(&self.pipeline, task, &self.context).ok()?);
            let temp: Arc<[u32]> = self.task(task)?.temp.as_slice().into();
            self.removals.insert(task, (recipe, temp));
        }
        let (recipe, temp) = self.removals.get(&task).cloned()?;
        let base_dir = self.context.base_dir.clone();
        Some(Removal { run, task, first, count, temp, recipe, base_dir })
    }

    /// The value that an instance made is lost, and made again: what lists it is not true any more.
    pub(super) fn reopen(&mut self, instance: InstanceId) {
        self.reopened.insert(instance);
        self.forget_lists_of(instance.task);
    }

    fn forget_lists_of(&mut self, upstream: TaskId) {
        self.manifests.retain(|key| !key.values || key.upstream != upstream);
    }

    /// Keeps a value or outputs that are inputs of other instances.
    pub(super) fn keep_payload(&mut self, record: &Record) {
        let instance = InstanceId { task: record.task, index: record.first_index };
        if record.state == State::Succeeded && self.reopened.remove(&instance) {
            self.forget_lists_of(record.task);
        }
        let Some(detail) = record.detail.as_deref() else { return };
        let nothing = detail.value.is_none() && detail.outputs.is_empty();
        if nothing || record.state != State::Succeeded || !self.consumed.contains(&record.task) {
            return;
        }
        let outputs: usize = detail.outputs.iter().map(Vec::len).sum();
        let bytes = detail.value.as_ref().map_or(0, Vec::len) + outputs;
        if self.payload_bytes + bytes > CACHE_BYTES {
            // The newest are needed soonest; the others are in the store.
            self.payloads.clear();
            self.payload_bytes = 0;
        }
        if bytes > CACHE_BYTES {
            return;
        }
        self.payload_bytes += bytes;
        let input = Input {
            value: detail.value.clone(),
            outputs: detail.outputs.clone(),
            ..Input::default()
        };
        self.payloads.insert(instance, input);
    }

    pub(super) fn payload(&self, instance: InstanceId) -> Option<&Input> {
        self.payloads.get(&instance)
    }

    pub(super) fn publish_counts(&mut self, delta: TaskDelta) {
        if delta.width_known && delta.counts.terminal() == delta.counts.total() {
            self.recipes.remove(&delta.task);
            self.manifests.retain(|key| key.task != delta.task);
        }
        self.published.set_counts(delta);
    }
}

/// The counts of each task before anything of it runs.
fn initial_counts(widths: &[Option<u32>], past: &Past) -> Vec<Counts> {
    let mut counts = vec![Counts::default(); widths.len()];
    for (counts, width) in counts.iter_mut().zip(widths) {
        counts.0[State::Blocked as usize] = width.unwrap_or(0);
    }
    for done in &past.done {
        if let Some(counts) = counts.get_mut(done.task.at()) {
            let count = done.count.min(counts.of(State::Blocked));
            counts.0[State::Blocked as usize] -= count;
            counts.0[State::Succeeded as usize] += count;
        }
    }
    for end in past.resumed.iter().flat_map(|resumed| &resumed.ends) {
        if let Some(counts) = counts.get_mut(end.task.at()) {
            let count = end.count.min(counts.of(State::Blocked));
            counts.0[State::Blocked as usize] -= count;
            counts.0[end.state as usize] += count;
        }
    }
    counts
}

/// The task whose captured arrays a task scatters.
fn scattered(task: &Task) -> Option<TaskId> {
    match task.pattern {
        Pattern::Scatter(scatter) => Some(scatter.from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_move_ahead_and_what_they_do_not_cover_waits() {
        let mut mark = Mark { durable: 100, sent: 100, batch: 0 };
        let marking = |below, wait_for| Marking { below, wait_for };
        assert_eq!(mark.cover(50, 1_000, 0, 1), marking(None, None));
        assert_eq!(mark.cover(51, 1_000, 0, 1), marking(Some(400), None));
        assert_eq!(mark.cover(100, 1_000, 0, 2), marking(None, None));
        assert_eq!(mark.cover(101, 1_000, 0, 2), marking(None, Some(1)));
        assert_eq!(mark.cover(102, 1_000, 1, 3), marking(None, None));
        assert_eq!(mark.cover(401, 1_000, 1, 3), marking(Some(1_604), Some(3)));
        // Nothing is to come beyond it.
        assert_eq!(mark.cover(1_000, 1_000, 3, 4), marking(None, None));
    }

    #[test]
    fn members_of_groups_are_in_order() {
        let members = Members::new(&[1, 0, 1, 3]);
        let all: Vec<&[u32]> = (0..5).map(|group| members.of(group)).collect();
        assert_eq!(all, [&[1][..], &[0, 2], &[], &[3], &[]]);
    }
}
