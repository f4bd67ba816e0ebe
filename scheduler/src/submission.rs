//! What a client submits: hostile until it has been checked again.

use std::path::PathBuf;
use std::sync::Arc;

use dagrun_core::engine::RunPlan;
use dagrun_core::graph::{Graph, GraphError};
use dagrun_core::ids::{Micros, TaskId};
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

/// The longest time that a pipeline may name: about a century.
const LONGEST: Micros = Micros::from_secs(100 * 366 * 24 * 3600);
/// Custom resources of a task, names of `targets`, and bytes of such a name.
const NAMES: usize = 256;

/// The first number of a task that no checked pipeline holds.
fn out_of_range(task: &Task) -> Option<&'static str> {
    let long = |span: Option<Micros>| span.is_some_and(|span| span > LONGEST);
    let mut names: Vec<&str> = task.resources.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).any(|pair| pair[0] == pair[1]);
    let bad_resources = twice || names.len() > NAMES || names.iter().any(|name| name.len() > NAMES);
    let bad_targets = match &task.targets {
        Targets::Named(names) => {
            names.is_empty() || names.len() > NAMES || names.iter().any(|name| name.len() > NAMES)
        }
        Targets::Each => task.pattern != Pattern::Own,
        Targets::Any => false,
    };
    let bad_split = match &task.pattern {
        Pattern::Scatter(scatter) => {
            matches!(scatter.split, Split::Chunk(0) | Split::Parts(0))
        }
        _ => false,
    };
    let bad_gather = match task.min_success {
        Some(_) if task.pattern.gathered().is_empty() => true,
        Some(MinSuccess::Part(part)) => part > 10_000,
        _ => false,
    };
    let amounts = task.resources.iter().map(|(_, amount)| *amount).chain([task.memory]);
    [
        (task.cpus == 0 || task.cpus > 65_536, "cpus"),
        (task.max_running == Some(0), "max-running"),
        // A worker holds at most 65,536 attempts and as many ahead: sums stay far below 64 bits.
        (amounts.max() > Some(1 << 44), "memory or a resource"),
        (bad_resources, "a resource"),
        (bad_targets, "targets"),
        (bad_split, "chunk or parts"),
        (bad_gather, "min-success"),
        (long(task.start_within), "start-within"),
        (long(task.timeout), "timeout"),
        (long(Some(task.grace)), "grace"),
        (long(Some(task.retry.delay)) || long(Some(task.retry.max_delay)), "the delay of retries"),
    ]
    .into_iter()
    .find_map(|(bad, what)| bad.then_some(what))
}
