//! `dagrun resume`: goes on with a run that was interrupted.

use dagrun_core::status::{RunState, RunSummary};

use crate::args::ResumeArgs;
use crate::exit::{Exit, Failure};
use crate::launch::{self, Work};
use crate::source::{RunSource, Source, read_pipeline};
use crate::target::RunName;
use crate::terminal;

/// Goes on with the same run, to its end.
pub(crate) async fn resume(args: &ResumeArgs) -> Result<Exit, Failure> {
    launch::check(&args.how, args.place.cluster())?;
    let source = Source::open_live(&args.place).await?;
    let name = match args.run {
        Some(name) => name,
        None => newest_interrupted(&source).await?,
    };
    let run = source.run(name).await?;
    let state = run.status().await?.state;
    match state {
        RunState::Interrupted => {}
        RunState::Running => return Err(running(&run)),
        RunState::Succeeded => {
            if !args.how.quiet {
                terminal::print(&format!("nothing to do: run {} succeeded", run.id()));
            }
            return Ok(Exit::Success);
        }
        RunState::Failed | RunState::Cancelled => {
            let (id, option) = (run.id(), run.option());
            return Err(Failure::usage(format!("run {id} has ended: {}", state.word())).help(
                format!("`dagrun retry {id} --failed{option}` runs what had not succeeded"),
            ));
        }
    }
    let pipeline = read_pipeline(&run.submission().await?)?;
    let work = Work::Resume { of: run.id(), pipeline };
    drop(run);
    match source {
        Source::Cluster { name, .. } => launch::to_cluster(&args.how, &work, &name, None).await,
        Source::Disk { state_dir, .. } => launch::embedded(&args.how, &work, state_dir, None).await,
    }
}

/// The run that was interrupted last.
async fn newest_interrupted(source: &Source) -> Result<RunName, Failure> {
    let runs = source.runs(u32::MAX).await?;
    let interrupted = |run: &&RunSummary| run.state == RunState::Interrupted;
    let found = runs.iter().find(interrupted).map(|run| RunName::Id(run.run));
    let none = || Failure::usage("no run was interrupted").help("`dagrun runs` lists all runs");
    found.ok_or_else(none)
}

/// Who has a run, so that nobody else can go on with it.
fn running(run: &RunSource) -> Failure {
    let (id, option) = (run.id(), run.option());
    let who = match run {
        RunSource::Disk(disk) => disk.history().owner_of(id),
        RunSource::Live { .. } => None,
    };
    let who =
        who.map_or_else(String::new, |who| format!(": process {} on {} has it", who.pid, who.host));
    Failure::usage(format!("run {id} is running{who}"))
        .help(format!("`dagrun watch {id}{option}` attaches to it"))
}
