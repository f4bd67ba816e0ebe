//! `dagrun submit`: a pipeline, run to its end in this process or handed to a cluster.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use dagrun::rpc::{Client, Submission};
use dagrun::{Embedded, EmbeddedConfig, Loaded};
use dagrun_core::pipeline::Pipeline;
use dagrun_core::status::RunState;

use crate::args::SubmitArgs;
use crate::attach::{self, exit_of};
use crate::cluster;
use crate::dry_run;
use crate::exit::{Exit, Failure, chain};
use crate::file;
use crate::follow::{End, Feed, Followed, OnSignal};
use crate::offer::{self, Misfit};
use crate::quote;
use crate::report;
use crate::signals::Signals;
use crate::source::{At, RunSource};
use crate::tail::{self, Advice};
use crate::terminal::{self, Output};

/// Runs a pipeline.
pub(crate) async fn submit(args: &SubmitArgs) -> Result<Exit, Failure> {
    let cluster = args.place.cluster();
    if args.detach && cluster.is_none() {
        return Err(Failure::usage("--detach needs a cluster that goes on without this process")
            .help("name one with --cluster; `dagrun cluster start` starts one"));
    }
    let loaded = file::select(file::load(&args.pipeline)?, &args.only)?;
    if args.dry_run {
        return dry_run::print(&loaded, args.seed);
    }
    match cluster {
        Some(name) => to_cluster(args, &loaded, name).await,
        None => embedded(args, &loaded).await,
    }
}

fn submission(args: &SubmitArgs, loaded: &Loaded) -> Submission {
    Submission { seed: args.seed, fail_fast: args.fail_fast, ..loaded.submission() }
}

async fn to_cluster(args: &SubmitArgs, loaded: &Loaded, name: &str) -> Result<Exit, Failure> {
    if args.jobs.is_some() || !args.offer.is_empty() {
        let text = "-j, --memory, --resource and --label are for the embedded worker, which \
                    --cluster does without";
        return Err(Failure::usage(text)
            .help("what a worker offers is told to `dagrun cluster start` or `dagrun worker`"));
    }
    let client = cluster::connect(name).await?;
    if offer::asks(&loaded.pipeline) && !args.quiet {
        let workers = client.workers().await?;
        let misfits = offer::misfits(&loaded.pipeline, &workers);
        misfits.iter().filter(|_| !workers.is_empty()).for_each(tell_misfit);
    }
    let run = client.submit(&submission(args, loaded)).await?;
    if args.detach {
        Output::lock().line(run.id());
        return Ok(Exit::Success);
    }
    let run = RunSource::Live { run, at: At::Cluster(name.to_owned()) };
    attach::follow(&run, args.json, args.quiet, Some(again())).await
}

async fn embedded(args: &SubmitArgs, loaded: &Loaded) -> Result<Exit, Failure> {
    // Before anything starts: a signal must find someone who cleans up.
    let mut signals = Signals::take()?;
    let state_dir = match args.place.state_dir() {
        Some(dir) => dir.clone(),
        None => loaded.base_dir.join(".dagrun"),
    };
    make_state_dir(&state_dir)?;
    let mut config = EmbeddedConfig::new(&state_dir);
    config.slots = args.jobs;
    config.memory = args.offer.memory;
    config.resources = args.offer.resources();
    config.labels = args.offer.labels.clone();
    config.reaper = crate::reaper_argv();
    let cluster =
        Embedded::start(config).map_err(|error| Failure::new(Exit::Failed, chain(&error)))?;
    let client = cluster.client().await?;
    if let Err(failure) = check_worker(&loaded.pipeline, &client).await {
        drop(client);
        cluster.shutdown().await;
        return Err(failure);
    }
    let run = client.submit(&submission(args, loaded)).await?;
    let run = RunSource::Live { run, at: At::Here(state_dir) };
    let exit = to_the_end(args, &run, &mut signals).await;
    drop((run, client));
    tokio::select! {
        () = cluster.shutdown() => exit,
        // Whoever is as impatient as this gets the reaper.
        signal = signals.next() => std::process::exit(i32::from(signal.exit().code())),
    }
}

/// Fails when a task would wait for ever: no other worker can join an embedded run.
async fn check_worker(pipeline: &Pipeline, client: &Client) -> Result<(), Failure> {
    if !offer::asks(pipeline) {
        return Ok(());
    }
    let workers = client.workers().await?;
    let misfits = offer::misfits(pipeline, &workers);
    let (bounded, endless): (Vec<_>, Vec<_>) =
        misfits.into_iter().partition(|misfit| misfit.task.start_within.is_some());
    bounded.iter().for_each(tell_misfit);
    if endless.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = endless.iter().map(Misfit::to_string).collect();
    let help = "no other worker can join: give this one more with -j, --memory, --resource or \
                --label, or submit to a cluster";
    Err(Failure::usage(told.join("\n")).help(help))
}

fn tell_misfit(misfit: &Misfit<'_>) {
    terminal::tell(&format!("note: {misfit}; it waits for a worker that can"));
}

async fn to_the_end(
    args: &SubmitArgs,
    run: &RunSource,
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    let feed = Feed::of(run).await?;
    let status = run.status().await?;
    let reporter = report::choose(args.json, args.quiet, run).await?;
    let mut followed = Followed::new(run, &status, reporter);
    let end = followed.until_the_end(feed, signals, OnSignal::Cancel).await?;
    followed.finish();
    let End::Finished(state) = end else { return Ok(Exit::Failed) };
    match (state, followed.cancelled_by) {
        (RunState::Failed, _) => {
            tail::print(run, &followed.failures, &again()).await?;
        }
        (RunState::Cancelled, Some(_)) => {
            terminal::tell(&format!("run it again with: {}", again().command));
        }
        _ => {}
    }
    Ok(followed.cancelled_by.map_or_else(|| exit_of(state), crate::signals::Signal::exit))
}

/// The state directory, kept out of version control.
fn make_state_dir(dir: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let dir = dir.display();
        Failure::new(Exit::Failed, format!("cannot create the state directory {dir}: {error}"))
    };
    let ignore: PathBuf = dir.join(".gitignore");
    if ignore.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(dir).map_err(failed)?;
    std::fs::write(ignore, "*\n").map_err(failed)
}

/// The command that this process was started with.
fn again() -> Advice {
    let arguments = std::env::args_os().skip(1);
    let command = quote::line([OsString::from("dagrun")].into_iter().chain(arguments));
    Advice { label: "again", command }
}
