//! The parameters of single instances of a run.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use dagrun::rpc::Submission;
use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::pipeline::{Pipeline, RunContext};
use dagrun_core::recipe::Recipe;
use dagrun_core::value::Value;

/// The recipes of a run, each made when it is first asked for.
#[derive(Debug)]
pub(crate) struct Recipes {
    pipeline: Pipeline,
    context: RunContext,
    made: HashMap<TaskId, Recipe>,
}

impl Recipes {
    /// Of a run that was submitted so, with this pipeline.
    pub(crate) fn new(run: RunId, submission: &Submission, pipeline: Pipeline) -> Recipes {
        let context = RunContext {
            run: run.0,
            // No parameter depends on it.
            run_dir: "{run.dir}".into(),
            base_dir: submission.base_dir.clone(),
            seed: submission.seed,
        };
        Recipes { pipeline, context, made: HashMap::new() }
    }

    /// The run's pipeline.
    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The recipe of a task; `None` when there is no such task.
    pub(crate) fn of(&mut self, task: TaskId) -> Option<&Recipe> {
        match self.made.entry(task) {
            Entry::Occupied(made) => Some(made.into_mut()),
            Entry::Vacant(slot) => {
                let recipe = Recipe::new(&self.pipeline, task, &self.context).ok()?;
                Some(slot.insert(recipe))
            }
        }
    }

    /// The parameters of an instance.
    pub(crate) fn params(&mut self, instance: InstanceId) -> Vec<(String, Value)> {
        self.of(instance.task).map(|recipe| recipe.params(instance.index)).unwrap_or_default()
    }

    /// The recipe of a task, for whoever needs no other.
    pub(crate) fn take(&mut self, task: TaskId) -> Option<Recipe> {
        self.of(task)?;
        self.made.remove(&task)
    }
}
