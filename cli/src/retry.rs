//! `dagrun retry`: a run that has ended, submitted once more.

use std::ops::Range;

use dagrun::rpc::{ClientError, Retry, Submission};
use dagrun_core::ids::TaskId;
use dagrun_core::pipeline::Pipeline;
use dagrun_core::select::Selector;
use dagrun_core::status::{RunState, RunStatus};

use crate::args::{ChangeArgs, PipelineArgs, RetryArgs};
use crate::chosen::{Chosen, is_run};
use crate::diagnostics;
use crate::exit::{Exit, Failure};
use crate::file;
use crate::launch::{self, Work};
use crate::source::{RunSource, Source, read_pipeline};
use crate::submit;
use crate::target::RunName;
use crate::terminal::Terminal;

/// Submits a run once more: all of it, what has not succeeded, or what is selected.
pub(crate) async fn retry(args: &RetryArgs) -> Result<Exit, Failure> {
    launch::check(&args.how, args.place.cluster())?;
    let (name, selectors) = read_words(&args.what)?;
    if args.with.is_some() && !selectors.is_empty() {
        return Err(Failure::usage("--with and a selection of instances do not go together")
            .help("--with runs again what has changed, and what has not succeeded"));
    }
    let source = Source::open_live(&args.place).await?;
    let run = source.run(name).await?;
    let status = run.status().await?;
    if status.state == RunState::Running {
        let (id, option) = (run.id(), run.option());
        return Err(Failure::usage(format!("run {id} has not ended")).help(format!(
            "`dagrun wait {id}{option}` waits for its end, `dagrun cancel {id}{option}` ends it"
        )));
    }
    let mut retry = Retry { failed_only: args.failed, ..Retry::default() };
    let pipeline = match &args.with {
        Some(_) => with(args, &run, &mut retry).await?,
        None => read_pipeline(&run.submission().await?)?,
    };
    for selector in &selectors {
        retry.selected.extend(selected(&run, &status, &pipeline, selector).await?);
    }
    let work = Work::Retry { of: run.id(), retry: Box::new(retry), pipeline };
    drop(run);
    match source {
        Source::Cluster { name, .. } => launch::to_cluster(&args.how, &work, &name, None).await,
        Source::Disk { state_dir, .. } => launch::embedded(&args.how, &work, state_dir, None).await,
    }
}

/// The run and the selectors that are named. A first word that is no run is a selector.
fn read_words(words: &[String]) -> Result<(RunName, Vec<Selector>), Failure> {
    let (run, rest) = match words.split_first() {
        Some((run, rest)) if is_run(run) => (run.parse().map_err(Failure::usage)?, rest),
        _ => (RunName::Last, words),
    };
    let selectors = rest.iter().map(|word| Selector::parse(word)).collect::<Result<_, _>>()?;
    Ok((run, selectors))
}

/// The pipeline as it is in the file now.
async fn with(args: &RetryArgs, run: &RunSource, retry: &mut Retry) -> Result<Pipeline, Failure> {
    let pipeline = PipelineArgs {
        file: args.with.clone().unwrap_or_default(),
        params: args.params.clone(),
        set: args.set.clone(),
    };
    let mut loaded = file::load(&pipeline)?;
    // Its tasks had an environment that is not in the file.
    let before = run.submission().await?;
    let env = before.file().map(|file| file.env).unwrap_or_default();
    let tags = Submission::tags_in(&before.pipeline);
    let changes = ChangeArgs { name: None, priority: 0, env, tags };
    submit::change(&mut loaded, &changes)?;
    if !args.how.quiet {
        diagnostics::warn(&loaded.warnings, Terminal::stderr());
    }
    let submission = loaded.submission()?.tagged(&changes.tags);
    retry.with = Some(submission.map_err(ClientError::Pipeline)?);
    Ok(loaded.pipeline)
}

/// The instances that a selector names; there must be some.
async fn selected(
    run: &RunSource,
    status: &RunStatus,
    pipeline: &Pipeline,
    selector: &Selector,
) -> Result<Vec<(TaskId, Range<u32>)>, Failure> {
    let chosen = Chosen::of(run, status, pipeline, selector).await?;
    let task = chosen.task;
    let ranges: Vec<Range<u32>> = match chosen.selection.states() {
        None => chosen.selection.ranges().collect(),
        Some(_) => {
            let rows = chosen.all_rows(run).await?;
            rows.iter().map(|row| row.instance.index..row.instance.index + 1).collect()
        }
    };
    if ranges.is_empty() {
        return Err(Failure::usage(format!("no instance of `{}` is selected", chosen.name)));
    }
    Ok(ranges.into_iter().map(|range| (task, range)).collect())
}
