//! `dagrun wait`, `watch` and `cancel`: runs that another process has submitted.

use dagrun_core::status::RunState;

use crate::args::{CancelArgs, RunArgs, WatchArgs};
use crate::exit::{Exit, Failure};
use crate::follow::{End, Feed, Followed, OnSignal};
use crate::report;
use crate::signals::Signals;
use crate::source::{RunSource, Source};
use crate::tail::{self, Advice};
use crate::terminal;

/// Blocks until a run has ended.
pub(crate) async fn wait(args: &RunArgs) -> Result<Exit, Failure> {
    let run = Source::open(&args.place).await?.run(args.run).await?;
    follow(&run, false, true, None).await
}

/// Attaches to a run, with progress.
pub(crate) async fn watch(args: &WatchArgs) -> Result<Exit, Failure> {
    let run = Source::open(&args.run.place).await?.run(args.run.run).await?;
    let command = format!("dagrun status {} --failed{}", run.id(), run.option());
    let advice = Advice { label: "others", command };
    follow(&run, args.json, args.quiet, Some(advice)).await
}

/// Follows a run that goes on without this process. The failure tail ends with the advice; without
/// one there is no tail.
pub(crate) async fn follow(
    run: &RunSource,
    json: bool,
    quiet: bool,
    advice: Option<Advice>,
) -> Result<Exit, Failure> {
    let mut signals = Signals::take()?;
    let feed = Feed::of(run).await?;
    let status = run.status().await?;
    let reporter = report::choose(json, quiet, run).await?;
    let mut followed = Followed::new(run, &status, reporter);
    match followed.until_the_end(feed, &mut signals, OnSignal::LetGo).await? {
        End::Finished(state) => {
            followed.finish();
            if let (RunState::Failed, Some(advice)) = (state, &advice) {
                tail::print(run, &followed.failures, advice).await?;
            }
            Ok(exit_of(state))
        }
        End::LetGo(signal) => {
            followed.let_go();
            let (id, option) = (run.id(), run.option());
            terminal::print(&format!(
                "detached: run {id} goes on; cancel it with: dagrun cancel {id}{option}"
            ));
            Ok(signal.exit())
        }
    }
}

/// The exit code of a run that ended so.
pub(crate) fn exit_of(state: RunState) -> Exit {
    match state {
        RunState::Succeeded => Exit::Success,
        RunState::Running | RunState::Failed | RunState::Cancelled => Exit::Failed,
    }
}

/// Cancels a run, a task or an instance.
pub(crate) async fn cancel(args: &CancelArgs) -> Result<Exit, Failure> {
    let run = Source::open(&args.place).await?.run(args.run).await?;
    let status = run.status().await?;
    if status.state != RunState::Running {
        terminal::print(&format!("run {} has ended: {}", run.id(), status.state.word()));
        return Ok(Exit::Success);
    }
    run.cancel(args.target.as_ref()).await?;
    Ok(Exit::Success)
}
