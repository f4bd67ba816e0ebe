//! `dagrun submit`: a pipeline, run to its end in this process or handed to a cluster.

use std::path::Path;

use dagrun::Loaded;
use dagrun::rpc::{ClientError, Submission};
use dagrun_core::check;
use dagrun_core::pipeline::TaskAction;
use dagrun_core::status::Tag;
use dagrun_core::template::Template;
use dagrun_scheduler::History;

use crate::args::{ChangeArgs, SubmitArgs};
use crate::diagnostics;
use crate::dry_run;
use crate::exit::{Exit, Failure};
use crate::file;
use crate::launch::{self, Work};
use crate::overlap;
use crate::source::{Source, state_dir_option};
use crate::terminal::{self, Terminal};

/// Runs a pipeline.
pub(crate) async fn submit(args: &SubmitArgs) -> Result<Exit, Failure> {
    let cluster = args.place.cluster();
    launch::check(&args.how, cluster)?;
    let mut loaded = file::select(file::load(&args.pipeline)?, &args.only)?;
    change(&mut loaded, &args.changes)?;
    if !args.how.quiet {
        diagnostics::warn(&loaded.warnings, Terminal::stderr());
    }
    if args.dry_run {
        return dry_run::print(&loaded, args.seed);
    }
    let (seed, fail_fast, max_fail) = (args.seed, args.fail_fast, args.max_fail);
    let submission = Submission { seed, fail_fast, max_fail, ..loaded.submission()? };
    let submission = submission.tagged(&args.changes.tags).map_err(ClientError::Pipeline)?;
    let work = Work::New { submission, pipeline: loaded.pipeline.clone() };
    let state_dir = || match args.place.state_dir() {
        Some(dir) => dir.clone(),
        None => loaded.base_dir.join(".dagrun"),
    };
    match cluster {
        Some(name) => {
            if !args.how.quiet
                && let Ok(others) = Source::open_live(&args.place).await
            {
                overlap::warn(&loaded, args.seed, &others).await;
            }
            launch::to_cluster(&args.how, &work, name, None).await
        }
        None => {
            let state_dir = state_dir();
            if !args.how.quiet {
                note_interrupted(&loaded, &state_dir);
                if let Some(others) = overlap::in_state_dir(&state_dir) {
                    overlap::warn(&loaded, args.seed, &others).await;
                }
            }
            launch::embedded(&args.how, &work, state_dir, None).await
        }
    }
}

/// Says how to go on with the last run of the same file, if that was interrupted.
fn note_interrupted(loaded: &Loaded, state_dir: &Path) {
    let Some(file) = &loaded.file else { return };
    // What cannot be read is no reason not to run: whoever writes there says what is wrong.
    let Ok(history) = History::open(state_dir) else { return };
    let Ok(Some(run)) = history.interrupted_of(&file.path) else { return };
    let option = state_dir_option(state_dir);
    terminal::print(&format!(
        "note: run {run} of this file was interrupted; go on with it: dagrun resume {run}{option}"
    ));
}

/// Changes the pipeline as the options say. What a task says itself about its environment stays.
pub(crate) fn change(loaded: &mut Loaded, changes: &ChangeArgs) -> Result<(), Failure> {
    if let Some(name) = &changes.name {
        if let Some(problem) = check::pipeline_name(name) {
            return Err(Failure::usage(format!("--name: {}", problem.message)));
        }
        loaded.pipeline.name.clone_from(name);
    }
    check_tags(&changes.tags)?;
    for task in &mut loaded.pipeline.tasks {
        task.conduct.priority = task.conduct.priority.saturating_add(changes.priority);
        if matches!(task.action, TaskAction::Call(_)) {
            continue;
        }
        for (name, value) in &changes.env {
            if !task.env.iter().any(|(known, _)| known == name) {
                task.env.push((name.clone(), Template::literal(value)));
            }
        }
        if let Some(problem) = check::task(task) {
            let text = format!("--env: task `{}`: {}", task.name, problem.message);
            return Err(Failure::usage(text));
        }
    }
    if let Some(file) = &mut loaded.file {
        file.env.clone_from(&changes.env);
    }
    Ok(())
}

fn check_tags(tags: &[Tag]) -> Result<(), Failure> {
    if tags.len() > Tag::MOST {
        return Err(Failure::usage(format!("--tag: a run has at most {} tags", Tag::MOST)));
    }
    let mut earlier = tags.iter().enumerate().map(|(at, tag)| (tag, &tags[..at]));
    match earlier.find(|(tag, before)| before.iter().any(|known| known.name == tag.name)) {
        Some((tag, _)) => Err(Failure::usage(format!("--tag: `{}` is given twice", tag.name))),
        None => Ok(()),
    }
}
