//! What single instances of a run are: their parameters and the processes that they start.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use dagrun::rpc::Submission;
use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::pipeline::{Pipeline, RunContext};
use dagrun_core::recipe::{Input, InputSpec, Recipe};
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
    pub(crate) fn new(
        run: RunId,
        submission: &Submission,
        pipeline: Pipeline,
        run_dir: PathBuf,
    ) -> Recipes {
        let context = RunContext {
            run: run.0,
            run_dir,
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

    /// The upstreams whose values [`Recipes::argv`] needs.
    pub(crate) fn inputs(&mut self, task: TaskId) -> Vec<InputSpec> {
        self.of(task).map(|recipe| recipe.inputs().to_vec()).unwrap_or_default()
    }

    /// The output paths of an instance that ran in this run, where they can be told.
    pub(crate) fn outputs(&mut self, instance: InstanceId) -> Vec<Vec<u8>> {
        let paths = self.of(instance.task).and_then(|task| task.own_output_paths(instance.index));
        paths.into_iter().flatten().map(|path| path.into_os_string().into_vec()).collect()
    }

    /// What an instance's attempt starts; `None` when it cannot be told.
    pub(crate) fn argv(
        &mut self,
        instance: InstanceId,
        attempt: u32,
        inputs: &[Input],
    ) -> Option<Vec<OsString>> {
        let recipe = self.of(instance.task)?;
        recipe.invocation(instance.index, attempt.max(1), inputs).ok().map(|made| made.argv)
    }
}
