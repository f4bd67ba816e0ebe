//! What the driver keeps of a run while it lives: its recipes in use, values that instances will
//! be given, and its public side. Nothing here grows with instances that wait.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use dagrun_core::engine::Record;
use dagrun_core::ids::{InstanceId, TaskId};
use dagrun_core::pipeline::{Pattern, Pipeline, RunContext};
use dagrun_core::recipe::{Input, InputSpec, ManifestSpec, Recipe, RecipeError};
use dagrun_core::status::{Counts, State};
use rustc_hash::{FxHashMap, FxHashSet};

use super::inbox::Submitted;
use super::published::Published;

/// Bytes of values kept for a run; beyond, they are read back from the store.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The directory of a run within a state directory: `{run.dir}`.
pub(crate) fn run_dir(state_dir: &Path, run: u64) -> PathBuf {
    state_dir.join("runs").join(run.to_string())
}

pub(super) struct LiveRun {
    pub(super) published: Rc<Published>,
    pub(super) log_dir: PathBuf,
    /// Manifests that are on disk, by their task.
    pub(super) manifests: FxHashSet<TaskId>,
    pipeline: Arc<Pipeline>,
    context: RunContext,
    widths: Vec<u32>,
    recipes: FxHashMap<TaskId, Rc<TaskRecipe>>,
    /// Tasks whose values or outputs other instances are given.
    consumed: FxHashSet<TaskId>,
    payloads: FxHashMap<InstanceId, Input>,
    payload_bytes: usize,
}

/// A task's recipe, and what it asks for.
pub(super) struct TaskRecipe {
    pub(super) json: Vec<u8>,
    pub(super) inputs: Vec<InputSpec>,
    pub(super) manifests: Vec<ManifestSpec>,
}

impl LiveRun {
    pub(super) fn new(submitted: Submitted, state_dir: &Path, workers: &Rc<Cell<u32>>) -> LiveRun {
        let Submitted { run, submission, pipeline, plan, started } = submitted;
        let run_dir = run_dir(state_dir, run.0);
        let widths: Vec<u32> = plan.tasks.iter().map(|task| task.width).collect();
        let names = pipeline.tasks.iter().map(|task| task.name.clone());
        let tasks = names.zip(widths.iter().copied()).collect();
        let published =
            Published::new(run, pipeline.name.clone(), started, tasks, Rc::clone(workers));
        let consumed = pipeline.tasks.iter().flat_map(|task| {
            let map = if let Pattern::Map(upstream) = task.pattern { Some(upstream) } else { None };
            task.references.iter().copied().chain(map)
        });
        LiveRun {
            published: Rc::new(published),
            log_dir: run_dir.join("logs"),
            manifests: FxHashSet::default(),
            consumed: consumed.collect(),
            context: RunContext {
                run: run.0,
                run_dir,
                base_dir: submission.base_dir.clone(),
                seed: submission.seed,
            },
            pipeline,
            widths,
            recipes: FxHashMap::default(),
            payloads: FxHashMap::default(),
            payload_bytes: 0,
        }
    }

    pub(super) fn width(&self, task: TaskId) -> u32 {
        self.widths.get(task.at()).copied().unwrap_or(0)
    }

    /// The recipe of a task, made when it is first needed.
    pub(super) fn recipe(&mut self, task: TaskId) -> Result<Rc<TaskRecipe>, RecipeError> {
        if let Some(made) = self.recipes.get(&task) {
            return Ok(Rc::clone(made));
        }
        let recipe = Recipe::new(&self.pipeline, task, &self.context)?;
        let made = Rc::new(TaskRecipe {
            // Plain data with text keys: writing it cannot fail.
            json: serde_json::to_vec(&recipe).unwrap_or_default(),
            inputs: recipe.inputs().to_vec(),
            manifests: recipe.manifests(),
        });
        self.recipes.insert(task, Rc::clone(&made));
        Ok(made)
    }

    /// The recipe of a task whose manifest is written; not kept, as its task has ended.
    pub(super) fn recipe_of_upstream(&self, task: TaskId) -> Result<Arc<Recipe>, RecipeError> {
        Recipe::new(&self.pipeline, task, &self.context).map(Arc::new)
    }

    /// Keeps a value or outputs that other instances will be given.
    pub(super) fn keep_payload(&mut self, record: &Record) {
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
        let input = Input { value: detail.value.clone(), outputs: detail.outputs.clone() };
        self.payloads.insert(InstanceId { task: record.task, index: record.first_index }, input);
    }

    pub(super) fn payload(&self, instance: InstanceId) -> Option<&Input> {
        self.payloads.get(&instance)
    }

    pub(super) fn publish_counts(&mut self, task: TaskId, counts: Counts, running: u32) {
        if counts.terminal() == counts.total() {
            self.recipes.remove(&task);
        }
        self.published.set_counts(task, counts, running);
    }
}
