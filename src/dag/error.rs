//! What is wrong with a graph.

use std::fmt;

use dagrun_core::simulate::SimulateError;
use dagrun_core::unparse::UnparseError;

/// All that is wrong with a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    pub(super) problems: Vec<Problem>,
}

/// Something that is wrong with a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", task.as_ref().map(|task| format!("task `{task}`: ")).unwrap_or_default())]
pub struct Problem {
    /// The task that it is about; `None` is the graph as a whole.
    pub task: Option<String>,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl BuildError {
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
