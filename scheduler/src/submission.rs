//! What a client submits: hostile until it has been checked again.

use std::path::PathBuf;
use std::sync::Arc;

use dagrun_core::engine::RunPlan;
use dagrun_core::graph::{Graph, GraphError};
use dagrun_core::ids::TaskId;
use dagrun_core::pipeline::{MinSuccess, Pattern, Pipeline, Split, Targets, Task};

/// A pipeline to run, as it travels and as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The checked pipeline: JSON of [`Pipeline`].
    pub pipeline: Vec<u8>,
    /// The pipeline file's directory, absolute.
    pub base_dir: PathBuf,
    /// The run's seed.
    pub seed: u64,
    /// Whether the first failure cancels the rest.
    pub fail_fast: bool,
}

/// Why a submission was refused. Nothing of it has run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmissionError {
    /// The pipeline is not JSON, or not of a pipeline.
    #[error("the pipeline cannot be read")]
    Json(#[from] serde_json::Error),
    /// The graph is broken.
    #[error("the pipeline cannot run")]
    Graph(#[from] GraphError),
    /// The directory is relative.
    #[error("the pipeline's directory is not absolute: {}", .0.display())]
    BaseDir(PathBuf),
    /// There is nothing to run.
    #[error("the pipeline has no tasks")]
    Empty,
    /// A number that no checked pipeline holds.
    #[error("task {task}: {what} is out of range")]
    Range {
        /// The task's name.
        task: String,
        /// What the number is.
        what: &'static str,
    },
}

/// A submission that may run.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) plan: RunPlan,
    /// The number of instances of each task; none where it is known only later.
    pub(crate) widths: Vec<Option<u32>>,
}

impl Submission {
    /// The pipeline, read from its JSON.
    ///
    /// # Errors
    /// When it is not a pipeline's JSON.
    pub fn read_pipeline(&self) -> Result<Pipeline, serde_json::Error> {
        serde_json::from_slice(&self.pipeline)
    }

    /// Checks what a client of ours has checked before, and makes the plan.
    pub(crate) fn check(&self) -> Result<Checked, SubmissionError> {
        if !self.base_dir.is_absolute() {
            return Err(SubmissionError::BaseDir(self.base_dir.clone()));
        }
        let pipeline = self.read_pipeline()?;
        if pipeline.tasks.is_empty() {
            return Err(SubmissionError::Empty);
        }
        for task in &pipeline.tasks {
            if let Some(what) = out_of_range(task) {
                return Err(SubmissionError::Range { task: task.name.clone(), what });
            }
        }
        let graph = Graph::new(&pipeline)?;
        let mut plan = graph.plan(&pipeline, self.fail_fast);
        plan.seed = self.seed;
        let tasks = (0..u32::try_from(pipeline.tasks.len()).unwrap_or(u32::MAX)).map(TaskId);
        let widths = tasks.map(|task| graph.width(task)).collect();
        Ok(Checked { pipeline: Arc::new(pipeline), plan, widths })
    }
}

/// What of a task no checked pipeline holds, and the state machine must not see. Needs that no worker
/// could meet are none of it: such a task waits.
fn out_of_range(task: &Task) -> Option<&'static str> {
    let mut resources: Vec<&str> =
        task.conduct.resources.iter().map(|(name, _)| name.as_str()).collect();
    resources.sort_unstable();
    let twice = resources.windows(2).any(|pair| pair[0] == pair[1]);
    let bad_targets = match &task.conduct.targets {
        Targets::Named(names) => names.is_empty(),
        Targets::Each => task.pattern != Pattern::Own || task.sweep.is_some(),
        Targets::Any => false,
    };
    let bad_split = match &task.pattern {
        Pattern::Scatter(scatter) => matches!(scatter.split, Split::Chunk(0) | Split::Parts(0)),
        _ => false,
    };
    let bad_tolerance = match task.conduct.min_success {
        Some(_) if task.pattern.gathered().is_empty() => true,
        Some(MinSuccess::Part(part)) => part > 10_000,
        _ => false,
    };
    let checks = [
        (task.conduct.cpus == 0, "cpus"),
        (task.conduct.max_running == Some(0), "max-running"),
        (twice, "a resource"),
        (bad_targets, "targets"),
        (bad_split, "chunk or parts"),
        (bad_tolerance, "min-success"),
    ];
    checks.into_iter().find_map(|(bad, what)| bad.then_some(what))
}

#[cfg(test)]
mod tests {
    use dagrun_core::pipeline::{Conduct, Scatter, TaskAction};

    use super::*;

    #[test]
    fn what_no_parser_makes_is_refused() {
        let task = || Task::new("a", TaskAction::Shell("true".into()));
        let scatter = |split| Pattern::Scatter(Scatter { from: TaskId(0), split, max_items: None });
        let gpu = || ("gpu".to_owned(), 1);
        let with = |conduct| Task { conduct, ..task() };
        let none = Conduct::default;
        let each = with(Conduct { targets: Targets::Each, ..none() });
        let least = Some(MinSuccess::Count(1));
        let bad = [
            (with(Conduct { cpus: 0, ..none() }), "cpus"),
            (with(Conduct { resources: vec![gpu(), gpu()], ..none() }), "a resource"),
            (with(Conduct { targets: Targets::Named(vec![]), ..none() }), "targets"),
            (Task { pattern: scatter(Split::Each), ..each }, "targets"),
            (Task { pattern: scatter(Split::Chunk(0)), ..task() }, "chunk or parts"),
            (with(Conduct { min_success: least, ..none() }), "min-success"),
        ];
        for (task, what) in bad {
            assert_eq!(out_of_range(&task), Some(what));
        }
        let (cpus, memory, resources) = (u32::MAX, u64::MAX, vec![gpu()]);
        let large = with(Conduct { cpus, memory, resources, ..none() });
        assert_eq!(out_of_range(&large), None);
    }
}
