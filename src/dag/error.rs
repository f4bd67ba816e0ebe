//! What is wrong with a graph.

use std::fmt;
use std::path::Path;

use dagrun_core::graph::{self, Graph, Taken};
use dagrun_core::ids::TaskId;
use dagrun_core::parse::Files;
use dagrun_core::pipeline::{Pipeline, Task};
use dagrun_core::problem;
use dagrun_core::simulate::SimulateError;
use dagrun_core::unparse::UnparseError;

use crate::files::Disk;

/// All that is wrong with a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    problems: Vec<Problem>,
}

/// Something that is wrong with a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The task that it is about; `None` is the graph as a whole.
    pub task: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What would mend it.
    pub help: Option<String>,
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(task) = &self.task {
            write!(f, "task `{task}`: ")?;
        }
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

impl BuildError {
    /// Problems in the order of the tasks, each once.
    pub(super) fn new(
        mut problems: Vec<(Option<TaskId>, problem::Problem)>,
        tasks: &[Task],
    ) -> BuildError {
        problems.sort_by_key(|(task, _)| task.map_or(0, |task| u64::from(task.0) + 1));
        problems.dedup();
        let name = |task: TaskId| tasks.get(task.at()).map_or("", |task| &task.name);
        let problem = |(task, problem): (Option<TaskId>, problem::Problem)| Problem {
            task: task.map(|task| name(task).to_owned()),
            message: problem.message,
            help: problem.help,
        };
        BuildError { problems: problems.into_iter().map(problem).collect() }
    }

    /// Inputs that are missing and outputs in whose place stands what is never replaced, as far as
    /// it can be seen from here.
    pub(crate) fn on_disk(pipeline: &Pipeline, base_dir: &Path) -> Option<BuildError> {
        let is_apart = |task: &Task| task.outputs.is_empty() && task.inputs.is_empty();
        if pipeline.tasks.iter().all(is_apart) {
            return None;
        }
        // What is wrong with the graph is reported by whoever submits it.
        let graph = Graph::new(pipeline).ok()?;
        let disk = Disk::new(base_dir);
        let taken = graph::taken(pipeline, &graph, &|path| disk.kind(path));
        let problem = |taken: Taken| {
            let message = format!("`{}` {}", taken.path.display(), taken.why);
            (Some(taken.instance.task), problem::Problem::new(message))
        };
        let mut problems: Vec<_> = taken.into_iter().map(problem).collect();
        let exists = |path: &str| disk.exists(path).map_err(|error| error.to_string());
        let missing = graph::missing(pipeline, &graph, false, &exists).into_iter();
        let missing =
            missing.map(|missing| (Some(missing.task), problem::Problem::new(missing.to_string())));
        problems.extend(missing);
        (!problems.is_empty()).then(|| BuildError::new(problems, &pipeline.tasks))
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Everything, in the order of the tasks.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for BuildError {}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More would hide what is above.
        const SHOWN: usize = 50;
        for (at, problem) in self.problems.iter().take(SHOWN).enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        match self.problems.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more problems"),
        }
    }
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The graph is not sound.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// It cannot run on such a cluster.
    #[error(transparent)]
    Simulate(#[from] SimulateError),
}

/// Why there is no pipeline file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The graph is not sound.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The file format cannot express it.
    #[error(transparent)]
    Unparse(#[from] UnparseError),
    /// A file could not say which of several functions it means.
    #[error(transparent)]
    Ambiguous(#[from] dagrun_worker::function::Ambiguous),
}
