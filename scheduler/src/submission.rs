//! What a client submits: hostile until it has been checked again.

use std::path::PathBuf;
use std::sync::Arc;

use dagrun_core::engine::RunPlan;
use dagrun_core::graph::{Graph, GraphError};
use dagrun_core::pipeline::Pipeline;

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
    pub(crate) plan: Arc<RunPlan>,
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
            let range = |what| Err(SubmissionError::Range { task: task.name.clone(), what });
            if task.cpus == 0 {
                return range("cpus");
            }
            if task.max_running == Some(0) {
                return range("max-running");
            }
        }
        let graph = Graph::new(&pipeline)?;
        let plan = graph.plan(&pipeline, self.fail_fast);
        Ok(Checked { pipeline: Arc::new(pipeline), plan: Arc::new(plan) })
    }
}
