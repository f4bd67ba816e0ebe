//! The checked pipeline: what the TOML parser and the builder make, and all else works from.
//!
//! Nothing here has been rendered: instances are implied by [`Task::pattern`] and [`Task::sweep`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::{Micros, TaskId};
use crate::space::Space;
use crate::template::Template;
use crate::value::Value;

/// A pipeline that has passed every check that can be made before running.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// The name of the pipeline.
    pub name: String,
    /// The constants, in the author's order, after `--set`.
    pub vars: Vec<(String, Value)>,
    /// The tasks, in the author's order; a [`TaskId`] is a position in it.
    pub tasks: Vec<Task>,
}

/// A task and everything the author said about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// What an attempt does.
    pub action: TaskAction,
    /// How its instances relate to those of other tasks.
    pub pattern: Pattern,
    /// Its own parameters; for a `map`, crossed with each upstream instance.
    pub sweep: Option<Space>,
    /// Clauses of `after`; all must hold.
    pub after: Vec<Clause>,
    /// Single tasks that its placeholders refer to; each must succeed first.
    pub references: Vec<TaskId>,
    /// What becomes of standard output.
    pub capture: Capture,
    /// Files that an attempt creates: name and path.
    pub outputs: Vec<(String, Template)>,
    /// The file fed to standard input.
    pub stdin: Option<Template>,
    /// Files that the task reads, as the author wrote them.
    pub inputs: Vec<String>,
    /// Environment to add.
    pub env: Vec<(String, Template)>,
    /// Working directory, relative to the pipeline file's directory.
    pub working_dir: Option<Template>,
    /// Extra attempts.
    pub retry: Retry,
    /// Longest run time of one attempt.
    pub timeout: Option<Micros>,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Micros,
    /// Whether its failure leaves the run successful.
    pub allow_failure: bool,
    /// Slots an attempt occupies on its worker.
    pub cpus: u32,
    /// How many of its instances may run at once.
    pub max_running: Option<u32>,
}

/// What an attempt does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskAction {
    /// An argument vector, started without a shell.
    Run(Vec<Template>),
    /// A script for a shell; nothing is substituted in it.
    Shell(String),
}

/// How the instances of a task relate to those of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// As many instances as its sweep has points, one without a sweep.
    Own,
    /// Element-wise over the instances of another task.
    Map(TaskId),
    /// One instance after all instances of these tasks.
    Gather(Vec<TaskId>),
}

/// A condition on upstream instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clause {
    /// The upstream tasks, each standing for all its instances.
    pub upstreams: Vec<TaskId>,
    /// Whether all or any of the instances count.
    pub quantifier: Quantifier,
    /// The outcomes that count.
    pub on: Outcomes,
}

/// `all` or `any` of a clause's instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantifier {
    /// Every instance.
    All,
    /// At least one instance; an empty set is met all the same.
    Any,
}

/// The outcomes that a clause counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcomes {
    /// Succeeded.
    Success,
    /// Any terminal state but succeeded.
    Failure,
    /// Any terminal state.
    Finish,
}

/// What becomes of standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capture {
    /// It is only logged.
    #[default]
    None,
    /// The instance's value is the text, without its trailing newline.
    Text,
    /// The instance's value is the JSON document.
    Json,
    /// The instance's value is a JSON array of the lines.
    Lines,
}

/// Extra attempts after a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How many extra attempts at most.
    pub count: u32,
    /// The wait before the first extra attempt.
    #[serde(default)]
    pub delay: Micros,
    /// Whether each further wait is twice the one before.
    #[serde(default)]
    pub exponential: bool,
    /// The longest wait; zero is no limit.
    #[serde(default)]
    pub max_delay: Micros,
}

/// What an attempt needs to know of its run, besides its task.
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
