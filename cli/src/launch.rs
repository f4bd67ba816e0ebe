//! Starting a run, whatever it is of: in this process, to its end, or on a cluster.

use std::path::{Path, PathBuf};

use dagrun::rpc::{Client, Retried, Retry, Run, Submission};
use dagrun::{Cluster, ClusterError, Embedded};
use dagrun_core::ids::RunId;
use dagrun_core::one_line;
use dagrun_core::pipeline::Pipeline;
use dagrun_core::status::RunState;
use dagrun_disk::private;
use dagrun_scheduler::StartError;

use crate::args::HowArgs;
use crate::attach::{self, exit_of};
use crate::cluster;
use crate::each::Sink;
use crate::exit::{Exit, Failure};
use crate::follow::{End, Feed, Followed, OnSignal};
use crate::offer::{self, Misfit};
use crate::quote;
use crate::report;
use crate::signals::Signals;
use crate::source::{At, RunSource};
use crate::tail::{self, Advice};
use crate::terminal::{self, Output, Terminal};

/// What to do when the state directory will not do.
const ELSEWHERE: &str = "--state-dir DIR, or DAGRUN_STATE_DIR, keeps the state in another place";

/// What is to be run.
#[derive(Debug)]
pub(crate) enum Work {
    /// A pipeline.
    New {
        /// It and how it is to run.
        submission: Submission,
        /// The same pipeline.
        pipeline: Pipeline,
    },
    /// What a run was submitted with that has ended.
    Retry {
        /// The run.
        of: RunId,
        /// What of it.
        retry: Box<Retry>,
        /// The pipeline that is run.
        pipeline: Pipeline,
    },
    /// The rest of a run that was interrupted.
    Resume {
        /// The run.
        of: RunId,
        /// Its pipeline.
        pipeline: Pipeline,
    },
}

impl Work {
    fn pipeline(&self) -> &Pipeline {
        match self {
            Work::New { pipeline, .. }
            | Work::Retry { pipeline, .. }
            | Work::Resume { pipeline, .. } => pipeline,
        }
    }

    /// Submits it; `None` when nothing is left to be done, which has been printed.
    async fn submit(&self, client: &Client, how: &HowArgs) -> Result<Option<Run>, Failure> {
        let (of, retry) = match self {
            Work::New { submission, .. } => return Ok(Some(client.submit(submission).await?)),
            Work::Resume { of, .. } => return Ok(Some(client.resume(*of).await?)),
            Work::Retry { of, retry, .. } => (*of, retry),
        };
        let Some(Retried { run, taken_over }) = client.retry(of, retry).await? else {
            if !how.quiet {
                let unchanged = if retry.with.is_some() { ", and nothing has changed" } else { "" };
                terminal::print(&format!("nothing to retry: all of run {of} succeeded{unchanged}"));
            }
            return Ok(None);
        };
        let partly = retry.failed_only || !retry.selected.is_empty();
        if partly && !how.quiet && !how.json && !how.detach {
            let plural = if taken_over == 1 { "instance" } else { "instances" };
            terminal::print(&format!(
                "run {} takes {taken_over} {plural} over from run {of}",
                run.id()
            ));
        }
        Ok(Some(run))
    }
}

/// Fails when the options do not go together.
pub(crate) fn check(how: &HowArgs, cluster: Option<&str>) -> Result<(), Failure> {
    if how.detach && cluster.is_none() {
        return Err(Failure::usage("--detach needs a cluster that goes on without this process")
            .help("name one with --cluster; `dagrun cluster start` starts one"));
    }
    if cluster.is_some() && !how.offer.is_empty() {
        let text = "-j, --memory, --resource, --label and --enforce-memory are for the embedded \
                    worker, which --cluster does without";
        return Err(Failure::usage(text)
            .help("what a worker offers is set with `dagrun cluster start` or `dagrun worker`"));
    }
    Ok(())
}

/// Starts a run on a cluster, and follows it unless it is to be left alone. A sink takes the outputs.
pub(crate) async fn to_cluster(
    how: &HowArgs,
    work: &Work,
    name: &str,
    sink: Option<&mut Sink>,
) -> Result<Exit, Failure> {
    let client = cluster::connect(name).await?;
    if offer::asks(work.pipeline()) && !how.quiet {
        let workers = client.workers().await?;
        let misfits = offer::misfits(work.pipeline(), &workers);
        misfits.iter().filter(|_| !workers.is_empty()).for_each(note_misfit);
    }
    let Some(run) = work.submit(&client, how).await? else { return Ok(Exit::Success) };
    if how.detach {
        Output::lock().line(run.id());
        return Ok(Exit::Success);
    }
    let run = RunSource::Live { run, at: At::Cluster(name.to_owned()) };
    let advice = retry_of(&run, how);
    let quiet = is_quiet(how, sink.is_some());
    attach::follow(&run, how.json, quiet, Some(advice), sink).await
}

/// Where outputs are handed on, progress is for a terminal only.
fn is_quiet(how: &HowArgs, outputs: bool) -> bool {
    how.quiet || outputs && !Terminal::stderr().interactive
}

/// Runs it to its end in this process. A sink takes the outputs.
pub(crate) async fn embedded(
    how: &HowArgs,
    work: &Work,
    state_dir: PathBuf,
    sink: Option<&mut Sink>,
) -> Result<Exit, Failure> {
    // Before anything starts: a signal must find someone who cleans up.
    let mut signals = Signals::take()?;
    make_state_dir(&state_dir)?;
    let mut builder = Cluster::builder().state_dir(&state_dir).offer(how.offer.offer());
    if let Some(enforce) = how.offer.enforce_memory {
        builder = builder.enforce_memory(enforce);
    }
    if sink.is_some() {
        // What is handed on is handed on whole.
        builder = builder.log_limit(usize::MAX);
    }
    dagrun_worker::orphans::adopt();
    let cluster = Embedded::start(&builder).map_err(|error| not_started(&error))?;
    let client = cluster.client().await?;
    let submitted = match check_worker(work.pipeline(), &client).await {
        Ok(()) => work.submit(&client, how).await,
        Err(failure) => Err(failure),
    };
    let exit = match submitted {
        Ok(Some(run)) => {
            let run = RunSource::Live { run, at: At::Here(state_dir) };
            to_the_end(how, &run, &mut signals, sink).await
        }
        Ok(None) => Ok(Exit::Success),
        Err(failure) => Err(failure),
    };
    drop(client);
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
        misfits.into_iter().partition(|misfit| misfit.task.conduct.start_within.is_some());
    bounded.iter().for_each(note_misfit);
    if endless.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = endless.iter().map(Misfit::to_string).collect();
    let help = "no other worker can join: give this one more with -j, --memory, --resource or \
                --label, or submit to a cluster";
    Err(Failure::usage(lines.join("\n")).help(help))
}

fn note_misfit(misfit: &Misfit<'_>) {
    terminal::print(&format!("note: {misfit}; it waits for a worker that can"));
}

async fn to_the_end(
    how: &HowArgs,
    run: &RunSource,
    signals: &mut Signals,
    sink: Option<&mut Sink>,
) -> Result<Exit, Failure> {
    let feed = Feed::of(run, sink.is_some()).await?;
    let status = run.status().await?;
    let reporter = report::choose(how.json, is_quiet(how, sink.is_some()), run).await?;
    let mut followed = Followed::new(run, &status, reporter);
    followed.sink = sink;
    let end = followed.until_the_end(feed, signals, OnSignal::Interrupt).await?;
    followed.finish().await?;
    let End::Finished(state) = end else { return Ok(Exit::Failed) };
    let advice = retry_of(run, how);
    match (state, followed.interrupted_by) {
        (RunState::Failed, _) => {
            tail::check_recorded(run, &advice).await?;
            tail::print(run, &followed.failures, &advice).await?;
        }
        (RunState::Interrupted, _) => {
            let command = with_offer(run.go_on(), how);
            terminal::print(&format!("continue with: {command}"));
        }
        (RunState::Cancelled, Some(_)) => {
            terminal::print(&format!("continue with: {}", advice.command));
        }
        _ => {}
    }
    Ok(followed.interrupted_by.map_or_else(|| exit_of(state), crate::signals::Signal::exit))
}

/// Why nothing can run in this process.
fn not_started(error: &ClusterError) -> Failure {
    let failure = Failure::new(Exit::Failed, one_line(error));
    match error {
        ClusterError::Scheduler(StartError::Store(store)) if store.is_about_the_place() => {
            failure.help(ELSEWHERE)
        }
        _ => failure,
    }
}

/// The state directory, kept out of version control.
fn make_state_dir(dir: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let dir = dir.display();
        let text = format!("cannot create the state directory {dir}: {error}");
        Failure::new(Exit::Failed, text).help(ELSEWHERE)
    };
    let ignore: PathBuf = dir.join(".gitignore");
    if ignore.exists() {
        return Ok(());
    }
    private::create_dir_all(dir).map_err(failed)?;
    std::fs::write(ignore, "*\n").map_err(failed)
}

/// The command that runs what has not succeeded, with a worker that offers the same.
fn retry_of(run: &RunSource, how: &HowArgs) -> Advice {
    let command = format!("dagrun retry {} --failed{}", run.id(), run.option());
    Advice { label: tail::RETRY, command: with_offer(command, how) }
}

/// A command with a worker that offers the same.
fn with_offer(mut command: String, how: &HowArgs) -> String {
    for word in how.offer.words() {
        command.push(' ');
        command.push_str(&quote::word(word));
    }
    command
}
