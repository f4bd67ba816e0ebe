//! The checked pipeline: made by the TOML parser and the builder, and the basis of everything else.
//!
//! Nothing here has been rendered: instances are implied by [`Task::pattern`] and [`Task::sweep`].

mod call;
mod clause;
mod conduct;
mod pattern;
mod retry;
mod task;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::call::{Arg, Args, Call};
pub use self::clause::{Clause, Outcomes, Quantifier};
pub use self::conduct::{Conduct, DEFAULT_GRACE, DEFAULT_MAX_LOST, MaxFail, MinSuccess, Targets};
pub use self::pattern::{Pattern, Scatter, Split};
pub use self::retry::{Factor, Retry, RetryOn};
pub use self::task::{Capture, Task, TaskAction};
use crate::value::Value;

/// A pipeline that has passed every check that can be made before running.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// The name of the pipeline.
    pub name: String,
    /// The constants, in the author's order, after `--set`.
    pub vars: Vec<(String, Value)>,
    /// The tasks, in the author's order; a [`TaskId`](crate::ids::TaskId) is a position in it.
    pub tasks: Vec<Task>,
}

/// What an attempt needs to know about its run, other than its task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunContext {
    /// The run's id, `{run.id}`.
    pub run: u64,
    /// The run's own directory, `{run.dir}`, absolute.
    pub run_dir: PathBuf,
    /// The pipeline file's directory, absolute.
    pub base_dir: PathBuf,
    /// The run's seed.
    pub seed: u64,
}
