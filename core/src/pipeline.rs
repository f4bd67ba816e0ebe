//! The checked pipeline: what the TOML parser and the builder make, and all else works from.
//!
//! Nothing here has been rendered: instances are implied by [`Task::pattern`] and [`Task::sweep`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::{Micros, TaskId};
use crate::space::Space;
use crate::status::FailureKind;
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
    #[serde(default, skip_serializing_if = "is_default")]
    pub pattern: Pattern,
    /// Its own parameters; for a `map`, crossed with each upstream instance.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sweep: Option<Space>,
    /// Clauses of `after`; all must hold.
    #[serde(default, skip_serializing_if = "is_default")]
    pub after: Vec<Clause>,
    /// Clauses of `follow`: like `after`, and they place the task where their upstreams ran.
    #[serde(default, skip_serializing_if = "is_default")]
    pub follow: Vec<Clause>,
    /// Single tasks that its placeholders refer to; each must succeed first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub references: Vec<TaskId>,
    /// What becomes of standard output.
    #[serde(default, skip_serializing_if = "is_default")]
    pub capture: Capture,
    /// Files that an attempt creates: name and path.
    #[serde(default, skip_serializing_if = "is_default")]
    pub outputs: Vec<(String, Template)>,
    /// The file fed to standard input.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stdin: Option<Template>,
    /// Files that the task reads, as the author wrote them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub inputs: Vec<String>,
    /// Environment to add.
    #[serde(default, skip_serializing_if = "is_default")]
    pub env: Vec<(String, Template)>,
    /// Working directory, relative to the pipeline file's directory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub working_dir: Option<Template>,
    /// How its attempts are made, placed and judged.
    #[serde(flatten)]
    pub conduct: Conduct,
}

impl Task {
    /// A single task of which nothing else is said: every key as if it were absent.
    #[must_use]
    pub fn new(name: impl Into<String>, action: TaskAction) -> Task {
        Task {
            name: name.into(),
            action,
            pattern: Pattern::Own,
            sweep: None,
            after: Vec::new(),
            follow: Vec::new(),
            references: Vec::new(),
            capture: Capture::None,
            outputs: Vec::new(),
            stdin: None,
            inputs: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            conduct: Conduct::default(),
        }
    }

    /// Whether it may have another number of instances than one: these are named with their index.
    #[must_use]
    pub fn is_array(&self) -> bool {
        self.sweep.is_some()
            || self.conduct.targets == Targets::Each
            || !matches!(self.pattern, Pattern::Own | Pattern::Gather(_))
    }
}

/// How the attempts of a task are made, placed and judged: what does not depend on what it does.
///
/// It is stored among the task's own keys, and only what differs from the default is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conduct {
    /// Extra attempts.
    #[serde(skip_serializing_if = "is_default")]
    pub retry: Retry,
    /// Longest run time of one attempt.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout: Option<Micros>,
    /// Time between SIGTERM and SIGKILL.
    #[serde(skip_serializing_if = "is_default_grace")]
    pub grace: Micros,
    /// Whether a failure of the task leaves the run successful.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_failure: bool,
    /// Slots an attempt occupies on its worker.
    #[serde(skip_serializing_if = "is_default_cpus")]
    pub cpus: u32,
    /// How many of its instances may run at once.
    #[serde(skip_serializing_if = "is_default")]
    pub max_running: Option<u32>,
    /// How often an attempt that lost its worker is made again.
    #[serde(skip_serializing_if = "is_default_max_lost")]
    pub max_lost: u32,
    /// How long an instance may wait, once it is ready, before its first attempt starts.
    #[serde(skip_serializing_if = "is_default")]
    pub start_within: Option<Micros>,
    /// Whether it runs even when the run is being cancelled.
    #[serde(skip_serializing_if = "is_default")]
    pub always: bool,
    /// Higher first.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: i32,
    /// Memory that an attempt occupies on its worker, in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub memory: u64,
    /// Custom resources that an attempt occupies on its worker, by name.
    #[serde(skip_serializing_if = "is_default")]
    pub resources: Vec<(String, u64)>,
    /// The workers that may run it.
    #[serde(skip_serializing_if = "is_default")]
    pub targets: Targets,
    /// How many gathered instances must succeed; all when not given. Only with a gather.
    #[serde(skip_serializing_if = "is_default")]
    pub min_success: Option<MinSuccess>,
    /// Whether a long value stays readable after the run, even when other tasks use it.
    #[serde(skip_serializing_if = "is_default")]
    pub keep: bool,
}

impl Default for Conduct {
    fn default() -> Conduct {
        Conduct {
            retry: Retry::default(),
            timeout: None,
            grace: DEFAULT_GRACE,
            allow_failure: false,
            cpus: 1,
            max_running: None,
            max_lost: DEFAULT_MAX_LOST,
            start_within: None,
            always: false,
            priority: 0,
            memory: 0,
            resources: Vec::new(),
            targets: Targets::Any,
            min_success: None,
            keep: false,
        }
    }
}

/// How long a process may take to end after SIGTERM, unless the author says otherwise.
pub const DEFAULT_GRACE: Micros = Micros::from_secs(10);

/// How often a lost attempt is made again, unless the author says otherwise.
pub const DEFAULT_MAX_LOST: u32 = 5;

// What is left at its default is not written: there may be a million tasks.

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_default_max_lost(count: &u32) -> bool {
    *count == DEFAULT_MAX_LOST
}

fn is_default_grace(grace: &Micros) -> bool {
    *grace == DEFAULT_GRACE
}

fn is_default_cpus(cpus: &u32) -> bool {
    *cpus == 1
}

/// The workers that may run a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Targets {
    /// Any.
    #[default]
    Any,
    /// Those with one of these names or labels.
    Named(Vec<String>),
    /// One instance for each worker present when the task becomes ready, each on its own.
    Each,
}

/// How many of the gathered instances must succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MinSuccess {
    /// At least so many, or all when there are fewer.
    Count(u32),
    /// At least this part of them, in 1/10,000, rounded up.
    Part(u32),
}

impl From<u32> for MinSuccess {
    fn from(count: u32) -> MinSuccess {
        MinSuccess::Count(count)
    }
}

/// A part from 0 to 1; less and more than that are these.
impl From<f64> for MinSuccess {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn from(part: f64) -> MinSuccess {
        MinSuccess::Part((part.clamp(0.0, 1.0) * 10_000.0).round() as u32)
    }
}

impl MinSuccess {
    /// How many of `total` must succeed.
    #[must_use]
    pub fn of(self, total: u64) -> u64 {
        match self {
            MinSuccess::Count(count) => u64::from(count),
            MinSuccess::Part(part) => (total * u64::from(part)).div_ceil(10_000),
        }
    }
}

/// What an attempt does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskAction {
    /// An argument vector, started without a shell.
    Run(Vec<Template>),
    /// A script for a shell; nothing is substituted in it.
    Shell(String),
    /// A function of the worker's own program.
    Call(Box<Call>),
}

/// A call of a function that workers have by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its name.
    pub function: String,
    /// The signature that it must have; any when the caller does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<u64>,
    /// What it is given.
    pub args: Args,
    /// Whether it takes two values and gives one of the same type, and is applied to all values of
    /// its only argument, a list, from the left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fold: bool,
}

/// The arguments of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Args {
    /// By the names of the function's parameters; or the fields of its only parameter.
    Named(Vec<(String, Arg)>),
    /// By position.
    Listed(Vec<Arg>),
}

impl Args {
    /// All of them, those that are within others not counted.
    pub fn iter(&self) -> impl Iterator<Item = &Arg> {
        let (named, listed) = match self {
            Args::Named(named) => (named.as_slice(), &[][..]),
            Args::Listed(listed) => (&[][..], listed.as_slice()),
        };
        named.iter().map(|(_, arg)| arg).chain(listed)
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Arg> {
        let (named, listed) = match self {
            Args::Named(named) => (named.as_mut_slice(), &mut [][..]),
            Args::Listed(listed) => (&mut [][..], listed.as_mut_slice()),
        };
        named.iter_mut().map(|(_, arg)| arg).chain(listed)
    }
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arg {
    /// The same for all instances. Text whose bytes begin with [`crate::payload::TAG`] is a payload.
    Value(Value),
    /// Text. One that is a placeholder and nothing else stands for that value itself, not its text.
    Text(Template),
    /// A list.
    List(Vec<Arg>),
    /// A table.
    Table(Vec<(String, Arg)>),
    /// A table of all parameters of the instance.
    Params,
    /// The values of the instances that the task gathers of this upstream, in index order.
    Gathered(TaskId),
}

/// How the instances of a task relate to those of others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// As many instances as its sweep has points, one without a sweep.
    #[default]
    Own,
    /// Element-wise over the instances of another task.
    Map(TaskId),
    /// One instance after all instances of these tasks.
    Gather(Vec<TaskId>),
    /// One instance for each distinct combination of these parameters of the task's, after its
    /// instances of that combination.
    GatherBy(TaskId, Vec<String>),
    /// One instance for each so many consecutive instances of the task's, after these; the last one
    /// may have fewer. Its parameter `part` counts them. At least one.
    GatherEvery(TaskId, u32),
    /// As many instances as the JSON array that the upstream captures has elements or parts.
    Scatter(Scatter),
}

impl Pattern {
    /// The tasks whose instances this pattern relates to.
    #[must_use]
    pub fn upstreams(&self) -> &[TaskId] {
        match self {
            Pattern::Own => &[],
            Pattern::Map(upstream)
            | Pattern::GatherBy(upstream, _)
            | Pattern::GatherEvery(upstream, _)
            | Pattern::Scatter(Scatter { from: upstream, .. }) => std::slice::from_ref(upstream),
            Pattern::Gather(upstreams) => upstreams,
        }
    }

    /// The same, to be changed.
    #[must_use]
    pub fn upstreams_mut(&mut self) -> &mut [TaskId] {
        match self {
            Pattern::Own => &mut [],
            Pattern::Map(upstream)
            | Pattern::GatherBy(upstream, _)
            | Pattern::GatherEvery(upstream, _)
            | Pattern::Scatter(Scatter { from: upstream, .. }) => std::slice::from_mut(upstream),
            Pattern::Gather(upstreams) => upstreams,
        }
    }

    /// The tasks that it gathers.
    #[must_use]
    pub fn gathered(&self) -> &[TaskId] {
        match self {
            Pattern::Gather(_) | Pattern::GatherBy(..) | Pattern::GatherEvery(..) => {
                self.upstreams()
            }
            _ => &[],
        }
    }

    /// The task whose instances it gathers in groups.
    #[must_use]
    pub fn grouped(&self) -> Option<TaskId> {
        match self {
            Pattern::GatherBy(upstream, _) | Pattern::GatherEvery(upstream, _) => Some(*upstream),
            _ => None,
        }
    }
}

/// A dynamic fan-out over a captured JSON array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scatter {
    /// The task that captures the array; of several instances, their arrays one after the other.
    pub from: TaskId,
    /// What an instance gets of it.
    pub split: Split,
    /// More elements than this are an error.
    pub max_items: Option<u32>,
}

/// What an instance of a scatter gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// One element.
    Each,
    /// An array of up to so many consecutive elements.
    Chunk(u32),
    /// One of so many contiguous, balanced arrays; never an empty one.
    Parts(u32),
}

impl Split {
    /// How many instances `items` elements make.
    #[must_use]
    pub fn width(self, items: u64) -> u64 {
        match self {
            Split::Each => items,
            Split::Chunk(chunk) => items.div_ceil(u64::from(chunk.max(1))),
            Split::Parts(parts) => items.min(parts.into()),
        }
    }

    /// The elements of part `part`: the first, and how many.
    #[must_use]
    pub fn elements(self, items: u64, part: u64) -> (u64, u64) {
        match self {
            Split::Each => (part, 1),
            Split::Chunk(chunk) => {
                let first = part * u64::from(chunk);
                (first, items.saturating_sub(first).min(chunk.into()))
            }
            Split::Parts(_) => {
                let width = self.width(items).max(1);
                let (least, larger) = (items / width, items % width);
                (part * least + part.min(larger), least + u64::from(part < larger))
            }
        }
    }
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
    /// Whether each wait is a random part of itself, between a half and the whole.
    #[serde(default)]
    pub jitter: bool,
    /// The failures that are tried again; empty is all. `lost` here lifts nothing: lost attempts are
    /// made again anyway.
    #[serde(default)]
    pub on: Vec<RetryOn>,
}

/// A kind of failure that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetryOn {
    /// `exit:75`: this exit code.
    Exit(i32),
    /// `exit`: any exit code.
    AnyExit,
    /// `signal:9`: this signal.
    Signal(i32),
    /// `signal`: any signal.
    AnySignal,
    /// `timeout`.
    Timeout,
    /// `lost`.
    Lost,
    /// `output`: a declared output is missing.
    Output,
    /// `capture`: the output could not become the value.
    Capture,
    /// `start`: the process could not be started, or the function not be called.
    Start,
    /// `error`: the function returned an error.
    Error,
    /// `panic`: the function panicked.
    Panic,
}

impl RetryOn {
    /// Whether a failure is of this kind.
    #[must_use]
    pub fn covers(self, kind: FailureKind) -> bool {
        match (self, kind) {
            (RetryOn::Exit(code), FailureKind::Exit(other)) => code == other,
            (RetryOn::Signal(signal), FailureKind::Signal(other)) => signal == other,
            (RetryOn::AnyExit, FailureKind::Exit(_))
            | (RetryOn::AnySignal, FailureKind::Signal(_))
            | (RetryOn::Timeout, FailureKind::Timeout)
            | (RetryOn::Lost, FailureKind::Lost)
            | (RetryOn::Output, FailureKind::MissingOutput)
            | (RetryOn::Capture, FailureKind::Capture)
            | (RetryOn::Start, FailureKind::Start)
            | (RetryOn::Error, FailureKind::Function)
            | (RetryOn::Panic, FailureKind::Panic) => true,
            _ => false,
        }
    }
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
