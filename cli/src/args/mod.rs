//! The command line, as clap sees it: words and help texts, no behaviour.

mod cluster;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCandidates;
use dagrun_core::engine::Scheme;
use dagrun_core::ids::{Micros, RunId};
use dagrun_core::pipeline::MaxFail;
use dagrun_core::status::{RunState, Tag};

pub(crate) use cluster::{
    ClusterCommand, ClusterStartArgs, ClusterStatusArgs, ClusterStopArgs, ExecArgs, SchedulerArgs,
    WorkerArgs, WorkersArgs, scheme,
};

use crate::chosen::What;
use crate::complete;
use crate::each::EachArgs;
use crate::export::ExportArgs;
use crate::offer::OfferArgs;
use crate::sql::SqlArgs;
use crate::table::TableArgs;
use crate::target::RunName;

/// Runs pipelines of processes: parameter sweeps, map, gather, on a laptop or a cluster.
#[derive(Debug, Parser)]
#[command(name = "dagrun", version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// When to use colours
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        global = true,
        default_value_t,
        hide_default_value = true
    )]
    pub(crate) color: When,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline to its end, with progress
    #[command(visible_alias = "run")]
    Submit(SubmitArgs),
    /// Run a command for each item, without a pipeline file
    Each(Box<EachArgs>),
    /// Write a pipeline with comments to begin with
    Init(InitArgs),
    /// Format pipeline files
    Fmt(FmtArgs),
    /// Validate a pipeline; prints its tasks, instances and edges
    Check(CheckArgs),
    /// Draw a pipeline
    Graph(GraphArgs),
    /// Predict how a pipeline would run; runs nothing
    Plan(PlanArgs),
    /// List the runs, newest first
    #[command(visible_alias = "ls")]
    Runs(RunsArgs),
    /// Show one run, by task
    Status(StatusArgs),
    /// Print captured standard output and standard error
    Logs(LogsArgs),
    /// Print the captured value of an instance
    Output(OutputArgs),
    /// Print or write the results of a task as a table
    Table(Box<TableArgs>),
    /// Answer a question about results, in SQL
    Sql(SqlArgs),
    /// Write the results of a run as plain files
    Export(ExportArgs),
    /// Say why an instance waits, was skipped, failed or ran again
    Explain(ExplainArgs),
    /// Block until a run has ended
    Wait(RunArgs),
    /// Attach to a run, with progress
    Watch(WatchArgs),
    /// Cancel a run, a task or an instance
    Cancel(CancelArgs),
    /// Go on with a run that was interrupted
    Resume(ResumeArgs),
    /// Submit a finished run again: all of it, or only what did not succeed
    Retry(RetryArgs),
    /// Take ended runs out of the history; without RUN or option only lists them
    Clean(CleanArgs),
    /// Start a scheduler in the foreground
    Scheduler(SchedulerArgs),
    /// Start a worker in the foreground
    Worker(WorkerArgs),
    /// A scheduler and workers on this machine, in the background
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// List the workers of a cluster
    Workers(WorkersArgs),
    /// Run a command once on every worker of a cluster
    Exec(ExecArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page, as roff
    Man(ManArgs),
    /// Explain a command: its options and exit codes
    Help {
        /// The command, as in `cluster start`
        #[arg(value_name = "COMMAND", add = ArgValueCandidates::new(complete::commands))]
        command: Vec<String>,
    },
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless NO_COLOR is set; with FORCE_COLOR everywhere
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// `dagrun man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The command, as in `cluster start` [default: one page about all]
    #[arg(value_name = "COMMAND", add = ArgValueCandidates::new(complete::commands))]
    pub(crate) command: Vec<String>,
    /// Write the pages of all commands to files in this directory
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub(crate) dir: Option<PathBuf>,
}

/// `dagrun init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The file to write; one that exists is left alone
    #[arg(value_name = "FILE", default_value = "pipeline.toml")]
    pub(crate) file: PathBuf,
}

/// `dagrun fmt`.
#[derive(Debug, Args)]
pub(crate) struct FmtArgs {
    /// The files; `-` is standard input, which is formatted to standard output
    #[arg(value_name = "FILE", default_value = "pipeline.toml")]
    pub(crate) files: Vec<PathBuf>,
    /// Change nothing; exit with 1 if a file is not formatted
    #[arg(long)]
    pub(crate) check: bool,
}

/// Where runs are looked for.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Place {
    /// Ask the scheduler of this cluster
    #[arg(long, value_name = "NAME", env = "DAGRUN_CLUSTER", add = ArgValueCandidates::new(complete::clusters))]
    cluster: Option<String>,
    /// The state directory [default: the nearest `.dagrun/`, or beside the pipeline file]
    #[arg(long, value_name = "DIR", env = "DAGRUN_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

impl Place {
    /// A place that options name.
    pub(crate) fn new(cluster: Option<String>, state_dir: Option<PathBuf>) -> Place {
        Place { cluster, state_dir }
    }

    /// The cluster, unless it is empty, as an emptied environment variable is.
    pub(crate) fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref().filter(|name| !name.is_empty())
    }

    /// The state directory, unless it is empty.
    pub(crate) fn state_dir(&self) -> Option<&PathBuf> {
        self.state_dir.as_ref().filter(|dir| !dir.as_os_str().is_empty())
    }
}

/// A pipeline file and what changes it.
#[derive(Clone, Debug, Args)]
pub(crate) struct PipelineArgs {
    /// The pipeline file; `-` is standard input, whose paths and state are in the current directory
    #[arg(value_name = "FILE", default_value = "pipeline.toml")]
    pub(crate) file: PathBuf,
    /// Take vars of the pipeline from a file, TOML or JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) params: Option<PathBuf>,
    /// Override a var of the pipeline (repeatable)
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment, add = ArgValueCandidates::new(complete::variables))]
    pub(crate) set: Vec<(String, String)>,
}

/// What is changed of a pipeline when it is submitted.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// Call the run by another name than the pipeline's
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Add to the priority of each task: of the runs of a cluster that of higher priority goes first
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) priority: i32,
    /// Give each task this variable in its environment, without a value that of this shell
    /// (repeatable); it is recorded with the run
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Mark the run (repeatable); `runs --tag` finds it
    #[arg(long = "tag", value_name = "NAME[=VALUE]")]
    pub(crate) tags: Vec<Tag>,
}

/// `dagrun submit`.
#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) changes: ChangeArgs,
    /// Run only this task and what it needs (repeatable)
    #[arg(long, visible_alias = "until", value_name = "TASK", add = ArgValueCandidates::new(complete::tasks_of_file))]
    pub(crate) only: Vec<String>,
    /// Cancel the rest as soon as an instance has failed
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Cancel the rest as soon as more instances have failed than this: 20, or 1% of those known
    #[arg(long, value_name = "N|P%", conflicts_with = "fail_fast")]
    pub(crate) max_fail: Option<MaxFail>,
    /// Print what would be run, run nothing
    #[arg(long, conflicts_with_all = ["detach", "json"])]
    pub(crate) dry_run: bool,
    /// Seed of `{seed}`
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

/// How a run is started and reported.
#[derive(Debug, Args)]
pub(crate) struct HowArgs {
    /// Print the run's id and return (cluster only)
    #[arg(long)]
    pub(crate) detach: bool,
    /// Write events to standard output, as JSON Lines
    #[arg(long)]
    pub(crate) json: bool,
    /// Print errors only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten, next_help_heading = "The embedded worker")]
    pub(crate) offer: OfferArgs,
}

/// `dagrun resume`.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The run: its id, or `last` [default: the one that was interrupted last]
    #[arg(value_name = "RUN", add = ArgValueCandidates::new(complete::runs))]
    pub(crate) run: Option<RunName>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

/// `dagrun retry`.
#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// The run: its id, or `last` [default: the last]; and instances of it that run whether they have
    /// succeeded or not, with what has its data from them, as in `last 'price[7]'`
    #[arg(value_names = ["RUN", "TASK[SELECTOR]"], num_args = 0.., add = ArgValueCandidates::new(complete::runs_and_tasks))]
    pub(crate) what: Vec<String>,
    /// Run only what has not succeeded; what has counts as succeeded, with its values and outputs
    #[arg(long)]
    pub(crate) failed: bool,
    /// Run the pipeline as it is in this file now: what succeeded counts as far as its task,
    /// parameters, command, environment and upstreams are unchanged
    #[arg(long, value_name = "FILE", requires = "failed")]
    pub(crate) with: Option<PathBuf>,
    /// Take vars of that pipeline from a file, TOML or JSON
    #[arg(long, value_name = "FILE", requires = "with")]
    pub(crate) params: Option<PathBuf>,
    /// Override a var of that pipeline (repeatable)
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment, requires = "with", add = ArgValueCandidates::new(complete::variables))]
    pub(crate) set: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

/// `dagrun check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Take warnings for errors
    #[arg(long)]
    pub(crate) strict: bool,
}

/// `dagrun graph`.
#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    /// The language of the drawing
    #[arg(long, value_enum, default_value_t = GraphFormat::Dot)]
    pub(crate) format: GraphFormat,
    /// Draw instances instead of tasks
    #[arg(long)]
    pub(crate) instances: bool,
    /// Draw this run [default: the last] instead of a file, in the colours of its states
    #[arg(
        long,
        value_name = "RUN",
        num_args = 0..=1,
        default_missing_value = "last",
        conflicts_with_all = ["file", "params", "set", "only"],
        add = ArgValueCandidates::new(complete::runs)
    )]
    pub(crate) run: Option<RunName>,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Draw only this task and what it needs (repeatable)
    #[arg(long, value_name = "TASK", add = ArgValueCandidates::new(complete::tasks_of_file))]
    pub(crate) only: Vec<String>,
}

/// The languages that `dagrun graph` speaks.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum GraphFormat {
    /// Graphviz
    Dot,
    /// Mermaid
    Mermaid,
    /// A picture
    Svg,
}

/// `dagrun plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    #[command(flatten)]
    pub(crate) place: Place,
    /// How many workers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) workers: u32,
    /// Slots of each worker [default: all cores]
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) cpus: Option<u32>,
    /// How long instances take: a recorded run (its id, or `last`), or a JSON file of seconds
    /// [default: 1 s each]
    #[arg(long, value_name = "RUN|FILE.json", add = ArgValueCandidates::new(complete::runs))]
    pub(crate) durations: Option<String>,
    /// How workers are chosen [default: least-load, compared with the others]
    #[arg(long, value_name = "SCHEME", value_parser = scheme())]
    pub(crate) scheme: Option<Scheme>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `dagrun runs`.
#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Only so many, the newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    /// Only runs in this state (repeatable)
    #[arg(long, value_name = "STATE", value_parser = run_state())]
    pub(crate) state: Vec<RunState>,
    /// Only runs of pipelines of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Only runs with this tag, without a value with any (repeatable: all of them)
    #[arg(long = "tag", value_name = "NAME[=VALUE]")]
    pub(crate) tags: Vec<Tag>,
    /// Print one JSON line per run
    #[arg(long)]
    pub(crate) json: bool,
}

/// `dagrun clean`.
#[derive(Debug, Args)]
pub(crate) struct CleanArgs {
    /// The runs to remove, by id
    #[arg(value_name = "RUN", value_parser = run_id, add = ArgValueCandidates::new(complete::runs))]
    pub(crate) runs: Vec<RunId>,
    /// Those that ended longer ago than this, as in 30d or 12h
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(crate) older_than: Option<Micros>,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print one JSON line per run
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `dagrun status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) place: Place,
    /// List its instances
    #[arg(long)]
    pub(crate) instances: bool,
    /// List its failed instances
    #[arg(long)]
    pub(crate) failed: bool,
    /// Print JSON: one object, or a line per instance
    #[arg(long)]
    pub(crate) json: bool,
}

/// `dagrun logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Go on until the run has ended
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only failed instances
    #[arg(long)]
    pub(crate) failed: bool,
    /// Only standard output
    #[arg(long, conflicts_with = "stderr")]
    pub(crate) stdout: bool,
    /// Only standard error, and the notes of dagrun
    #[arg(long)]
    pub(crate) stderr: bool,
    /// Write a file for each stream of each attempt into this directory: TASK-INDEX.stdout,
    /// TASK-INDEX.stderr, TASK-INDEX.attempt-2.stderr
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

/// `dagrun output`.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    #[command(flatten)]
    pub(crate) what: What,
    /// Print bytes as they are, text without quotes, and no newline at the end
    #[arg(long)]
    pub(crate) raw: bool,
    /// Print the paths of its outputs, one a line
    #[arg(long, conflicts_with = "raw")]
    pub(crate) paths: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `dagrun explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// A run and where it is.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The run: its id, or `last`
    #[arg(value_name = "RUN", default_value = "last", add = ArgValueCandidates::new(complete::runs))]
    pub(crate) run: RunName,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// `dagrun watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Write events to standard output, as JSON Lines
    #[arg(long)]
    pub(crate) json: bool,
    /// Print errors only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `dagrun cancel`.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Reads the state of a run.
fn run_state() -> impl TypedValueParser<Value = RunState> {
    use RunState::{Cancelled, Failed, Interrupted, Running, Succeeded};
    const STATES: [RunState; 5] = [Running, Succeeded, Failed, Cancelled, Interrupted];
    let words = PossibleValuesParser::new(STATES.map(RunState::word));
    words.map(|word| {
        let state = STATES.into_iter().find(|state| state.word() == word);
        state.unwrap_or(RunState::Running)
    })
}

fn run_id(text: &str) -> Result<RunId, String> {
    text.parse()
        .map(RunId)
        .map_err(|_| format!("`{text}` is no id of a run: `dagrun runs` lists them"))
}

fn age(text: &str) -> Result<Micros, String> {
    let age = dagrun_core::parse::duration(text);
    age.ok_or_else(|| format!("`{text}` is no time: write it like 30d, 12h or 1h30m"))
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// `NAME=VALUE`, or `NAME` with its value in this environment.
fn variable(text: &str) -> Result<(String, String), String> {
    if text.contains('=') {
        return assignment(text);
    }
    match std::env::var(text) {
        Ok(value) => Ok((text.to_owned(), value)),
        Err(std::env::VarError::NotPresent) => {
            Err(format!("{text} is not set here; write {text}=VALUE"))
        }
        Err(error) => Err(format!("{text}: {error}")),
    }
}
