//! The `dagrun` command: it reads its arguments, does what they say, and ends with the exit code
//! that says how it went.

mod args;
mod attach;
mod check;
mod chosen;
mod clean;
mod cluster;
mod complete;
mod diagnostics;
mod docs;
mod dry_run;
mod durations;
mod each;
mod ending;
mod exec;
mod exit;
mod explain;
mod export;
mod failed;
mod file;
mod fmt;
mod follow;
mod graph;
mod init;
mod json;
mod launch;
mod logs;
mod offer;
mod output;
mod overlap;
mod pages;
mod plan;
mod plot;
mod progress;
mod quote;
mod recipes;
mod report;
mod resume;
mod retry;
mod serve;
mod signals;
mod source;
mod sql;
mod status;
mod submit;
mod table;
mod tail;
mod target;
mod terminal;
mod time;

use std::future::Future;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use exit::{Exit, Failure};

fn main() -> ExitCode {
    dagrun_worker::reaper::take_part();
    dagrun_worker::orphans::serve_as_init();
    complete::answer();
    // clap ends the process itself: 0 for --help and --version, 2 for wrong usage.
    let cli = Cli::parse();
    terminal::set_color(cli.color);
    let exit = dispatch(&cli.command).unwrap_or_else(|failure| {
        if !failure.message.is_empty() {
            terminal::print(&failure.to_string());
        }
        failure.exit
    });
    exit.into()
}

fn dispatch(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Check(args) => check::check(args),
        Command::Completions { shell } => complete::script(*shell),
        Command::Init(args) => init::init(args),
        Command::Fmt(args) => fmt::fmt(args),
        Command::Man(args) => docs::man(args),
        Command::Help { command } => docs::help(command),
        Command::Scheduler(args) => serve::scheduler(args),
        Command::Worker(args) => serve::worker(args),
        other => on_local_set(talk(other)),
    }
}

/// The commands that talk to a scheduler, or may have to.
async fn talk(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Submit(args) => submit::submit(args).await,
        Command::Each(args) => each::each(args).await,
        Command::Graph(args) => graph::graph(args).await,
        Command::Plan(args) => plan::plan(args).await,
        Command::Runs(args) => status::runs(args).await,
        Command::Status(args) => status::status(args).await,
        Command::Logs(args) => logs::logs(args).await,
        Command::Output(args) => output::output(args).await,
        Command::Table(args) => table::table(args).await,
        Command::Sql(args) => sql::sql(args).await,
        Command::Export(args) => export::export(args).await,
        Command::Explain(args) => explain::explain(args).await,
        Command::Wait(args) => attach::wait(args).await,
        Command::Watch(args) => attach::watch(args).await,
        Command::Cancel(args) => attach::cancel(args).await,
        Command::Clean(args) => clean::clean(args).await,
        Command::Resume(args) => resume::resume(args).await,
        Command::Retry(args) => retry::retry(args).await,
        Command::Cluster(command) => cluster::cluster(command).await,
        Command::Workers(args) => cluster::workers(args).await,
        Command::Exec(args) => exec::exec(args).await,
        Command::Check(_)
        | Command::Completions { .. }
        | Command::Init(_)
        | Command::Fmt(_)
        | Command::Man(_)
        | Command::Help { .. }
        | Command::Scheduler(_)
        | Command::Worker(_) => Ok(Exit::Success),
    }
}

/// Runs a future on this thread, where the objects of the protocol live.
fn on_local_set<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(Exit::Failed, format!("cannot start: {error}")))?;
    tokio::task::LocalSet::new().block_on(&runtime, future)
}
