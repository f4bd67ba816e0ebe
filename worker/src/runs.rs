//! What the worker knows about runs: how to run their tasks, and where to write their output.

use std::path::Path;
use std::sync::Arc;

use dagrun_core::ids::{RunId, TaskId};
use dagrun_core::recipe::{Input, Job, Keep, Recipe, Wants};
use dagrun_schema::wire::Handout;
use dashmap::DashMap;

use crate::slots::{TaskSource, Work};
use dagrun_disk::log::RunLog;

/// The runs that have not been forgotten yet.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    plans: DashMap<(RunId, TaskId), Arc<RecipePlan>>,
    logs: DashMap<RunId, Arc<RunLog>>,
}

impl Runs {
    /// Adds the recipe of a task; returns true when its attempts are processes. An earlier recipe
    /// is kept.
    pub(crate) fn learn(
        &self,
        run: RunId,
        task: TaskId,
        recipe: &[u8],
        mark: &str,
        log: impl FnOnce() -> RunLog,
    ) -> bool {
        self.logs.entry(run).or_insert_with(|| Arc::new(log()));
        let plan = self.plans.entry((run, task)).or_insert_with(|| {
            let recipe = serde_json::from_slice::<Recipe>(recipe)
                .map(|recipe| recipe.marked(mark))
                .map_err(|error| format!("the worker cannot read the task's recipe: {error}"));
            Arc::new(RecipePlan::new(recipe))
        });
        plan.starts_processes()
    }

    /// The work for an assignment. Without a recipe, each of its instances fails.
    pub(crate) fn work(&self, handout: Handout) -> Work {
        let Handout { assignment, inputs, announce, fenced } = handout;
        let key = (assignment.run, assignment.task);
        let plan = self.plans.get(&key).map(|plan| plan.clone()).unwrap_or_else(|| {
            let recipe = Err("the worker was not given the task's recipe".to_owned());
            Arc::new(RecipePlan::new(recipe))
        });
        let log = self.logs.get(&assignment.run).map(|log| log.clone());
        Work { assignment, plan, inputs: Arc::new(inputs), log, announce, fenced }
    }

    /// Lets readers of the logs see all that has been written.
    pub(crate) fn flush_logs(&self) {
        for log in &self.logs {
            log.flush();
        }
    }

    /// Forgets a run and closes its log; returns true when processes may have been started for it.
    pub(crate) fn forget(&self, run: RunId) -> bool {
        let mut processes = false;
        self.plans.retain(|(of, _), plan| {
            processes |= *of == run && plan.starts_processes();
            *of != run
        });
        if let Some((_, log)) = self.logs.remove(&run) {
            log.flush();
        }
        processes
    }

    /// Those that have not been forgotten.
    pub(crate) fn known(&self) -> Vec<RunId> {
        let mut known: Vec<RunId> = self.logs.iter().map(|one| *one.key()).collect();
        known.sort_unstable();
        known
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }
}

/// A task's recipe, read once.
#[derive(Debug)]
struct RecipePlan {
    recipe: Result<Recipe, String>,
    wants: Vec<Wants>,
}

impl RecipePlan {
    fn new(recipe: Result<Recipe, String>) -> RecipePlan {
        let wants = recipe.as_ref().map(Recipe::wants).unwrap_or_default();
        RecipePlan { recipe, wants }
    }

    fn starts_processes(&self) -> bool {
        self.recipe.as_ref().is_ok_and(|recipe| recipe.starts_processes())
    }
}

impl TaskSource for RecipePlan {
    fn cpus(&self) -> u32 {
        self.recipe.as_ref().map_or(1, Recipe::cpus)
    }

    fn job(&self, index: u32, attempt: u32, inputs: &[Input]) -> Result<Job, String> {
        let recipe = self.recipe.as_ref().map_err(Clone::clone)?;
        recipe.job(index, attempt, inputs).map_err(|error| error.to_string())
    }

    fn wants(&self) -> &[Wants] {
        &self.wants
    }

    fn input_task(&self, input: usize) -> &str {
        let recipe = self.recipe.as_ref().ok();
        recipe.and_then(|recipe| recipe.input_task(input)).unwrap_or("an upstream")
    }

    fn keeping(&self) -> Option<(&str, Keep, &Path)> {
        let recipe = self.recipe.as_ref().ok()?;
        Some((recipe.name(), recipe.keep(), recipe.run_dir()))
    }
}
