//! What a shell offers when somebody presses tab: runs, tasks, clusters, workers, variables, as they are at that
//! moment. Whatever cannot be found out quickly is not offered; nothing is reported.

use std::ffi::OsString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::CommandFactory as _;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};
use dagrun::Loaded;
use dagrun_core::status::WorkerStatus;
use dagrun_scheduler::connection::ClusterDir;

use crate::args::{Cli, Place};
use crate::chosen;
use crate::cluster;
use crate::exit::{Exit, Failure};
use crate::on_local_set;
use crate::source::Source;
use crate::target::RunName;
use crate::terminal::Output;
use crate::time;

/// How long a tab may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Runs that are offered at most: nobody reads more.
const RUNS: u32 = 50;

/// The variable by which the script of a shell asks.
const VARIABLE: &str = "COMPLETE";

/// Answers a shell, if this process was started by one for that.
pub(crate) fn answer() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// Prints the script that makes a shell ask.
pub(crate) fn script(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let shell = shells.completer(&shell.to_string());
    let written =
        shell.map(|it| it.write_registration(VARIABLE, "dagrun", "dagrun", "dagrun", &mut script));
    match written {
        Some(Ok(())) => {
            Output::lock().bytes(&script);
            Ok(Exit::Success)
        }
        _ => Err(Failure::new(Exit::Failed, "the script cannot be written")),
    }
}

/// The words that stand on the command line already, without the program's name.
fn words() -> Vec<String> {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    words.skip_while(|word| word != "--").skip(2).collect()
}

/// The value of an option that stands there.
fn option(name: &str) -> Option<String> {
    let words = words();
    let at = words.iter().position(|word| word == name);
    let behind = at.and_then(|at| words.get(at + 1)).cloned();
    let within = || words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    behind.or_else(|| within().map(str::to_owned)).filter(|value| !value.is_empty())
}

/// Where the command line looks for runs.
fn place() -> Place {
    let variable = |name| std::env::var(name).ok();
    let cluster = option("--cluster").or_else(|| variable("DAGRUN_CLUSTER"));
    let state_dir = option("--state-dir").or_else(|| variable("DAGRUN_STATE_DIR"));
    Place::new(cluster, state_dir.map(PathBuf::from))
}

/// What is found out in time; nothing otherwise.
fn quickly<T: Default>(look: impl Future<Output = Result<T, Failure>>) -> T {
    let look = async { Ok(tokio::time::timeout(PATIENCE, look).await.ok().and_then(Result::ok)) };
    on_local_set(look).ok().flatten().unwrap_or_default()
}

fn candidate(value: impl Into<OsString>, help: String) -> CompletionCandidate {
    CompletionCandidate::new(value).help((!help.is_empty()).then(|| help.into()))
}

/// Runs, the newest first.
pub(crate) fn runs() -> Vec<CompletionCandidate> {
    let runs = quickly(async { Source::open(&place()).await?.runs(RUNS).await });
    let last = (!runs.is_empty()).then(|| candidate("last", "the newest run".to_owned()));
    let each = runs.iter().map(|run| {
        let started = time::local(run.started);
        let help = format!("{}, {}, {started}", run.name, run.state.word());
        candidate(run.run.to_string(), help)
    });
    last.into_iter().chain(each).collect()
}

/// The tasks of the run that is named, else of the last one.
pub(crate) fn tasks() -> Vec<CompletionCandidate> {
    let words = words();
    let named = words.iter().skip(1).find(|word| chosen::is_run(word) && !word.is_empty());
    let name = named.and_then(|run| run.parse().ok()).unwrap_or(RunName::Last);
    let tasks =
        quickly(async { Ok(Source::open(&place()).await?.run(name).await?.status().await?.tasks) });
    let help = |count: u32| match count {
        1 => String::new(),
        count => format!("{count} instances"),
    };
    tasks.iter().map(|task| candidate(&task.name, help(task.counts.total()))).collect()
}

/// Runs, and the tasks of the last one: a first word may be either.
pub(crate) fn runs_and_tasks() -> Vec<CompletionCandidate> {
    let mut all = runs();
    all.extend(tasks());
    all
}

/// Clusters of which there are connection files.
pub(crate) fn clusters() -> Vec<CompletionCandidate> {
    let dir = ClusterDir::of("default").ok();
    let dir = dir.and_then(|dir| dir.path().parent().map(Path::to_owned));
    let entries = dir.and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    let is_one = |path: &Path| path.join("client.json").exists();
    let mut names: Vec<_> =
        entries.filter(|entry| is_one(&entry.path())).map(|entry| entry.file_name()).collect();
    names.sort();
    names.into_iter().map(|name| candidate(name, String::new())).collect()
}

/// The workers of the cluster that is named.
pub(crate) fn workers() -> Vec<CompletionCandidate> {
    let place = place();
    let mut workers: Vec<WorkerStatus> = quickly(async {
        let client = cluster::connect(place.cluster().unwrap_or("default")).await?;
        Ok(client.workers().await?)
    });
    workers.sort_by(|a, b| a.name.cmp(&b.name));
    workers.iter().map(|worker| candidate(&worker.name, worker.host.clone())).collect()
}

/// The pipeline that the command line names, or that of the file that is taken otherwise.
fn pipeline() -> Option<Loaded> {
    let words = words();
    let named = words.iter().skip(1).find(|word| word.ends_with(".toml"));
    let file = Path::new(named.map_or("pipeline.toml", String::as_str));
    dagrun::load(file, &[]).ok()
}

/// The tasks of a pipeline file.
pub(crate) fn tasks_of_file() -> Vec<CompletionCandidate> {
    let tasks = pipeline().map(|loaded| loaded.pipeline.tasks).unwrap_or_default();
    tasks.iter().map(|task| candidate(&task.name, String::new())).collect()
}

/// The variables of a pipeline file, each with the equal sign behind it.
pub(crate) fn variables() -> Vec<CompletionCandidate> {
    let vars = pipeline().map(|loaded| loaded.pipeline.vars).unwrap_or_default();
    let value =
        |value: &dagrun_core::value::Value| String::from_utf8_lossy(&value.to_text()).into_owned();
    vars.iter().map(|(name, set)| candidate(format!("{name}="), value(set))).collect()
}

/// The commands.
pub(crate) fn commands() -> Vec<CompletionCandidate> {
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set());
    let about =
        |command: &clap::Command| command.get_about().map(ToString::to_string).unwrap_or_default();
    shown.map(|command| candidate(command.get_name(), about(command))).collect()
}
