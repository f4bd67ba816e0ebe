//! `dagrun wait`, `watch` and `cancel`: runs that another process has submitted.

use dagrun_core::status::RunState;

use crate::args::{CancelArgs, RunArgs, WatchArgs};
use crate::chosen::{self, Chosen};
use crate::each::Sink;
use crate::exit::{Exit, Failure};
use crate::follow::{End, Feed, Followed, OnSignal};
use crate::report;
use crate::signals::Signals;
use crate::source::{RunSource, Source};
use crate::status;
use crate::tail::{self, Advice};
use crate::target::{RunName, Target};
use crate::terminal;

/// Blocks until a run has ended.
pub(crate) async fn wait(args: &RunArgs) -> Result<Exit, Failure> {
    let run = Source::open(&args.place).await?.run(args.run).await?;
    follow(&run, false, true, None, None).await
}

/// Attaches to a run, with progress.
pub(crate) async fn watch(args: &WatchArgs) -> Result<Exit, Failure> {
    let run = Source::open(&args.run.place).await?.run(args.run.run).await?;
    let command = format!("dagrun status {} --failed{}", run.id(), run.option());
    let advice = Advice { label: "others", command };
    follow(&run, args.json, args.quiet, Some(advice), None).await
}

/// Follows a run that goes on without this process. The failure tail ends with the advice; without
/// one there is no tail. A sink takes the outputs.
pub(crate) async fn follow(
    run: &RunSource,
    json: bool,
    quiet: bool,
    advice: Option<Advice>,
    sink: Option<&mut Sink>,
) -> Result<Exit, Failure> {
    let mut signals = Signals::take()?;
    let feed = Feed::of(run, sink.is_some()).await?;
    let state = run.status().await?;
    let reporter = report::choose(json, quiet, run).await?;
    let mut followed = Followed::new(run, &state, reporter);
    followed.sink = sink;
    match followed.until_the_end(feed, &mut signals, OnSignal::LetGo).await? {
        End::Finished(state) => {
            followed.finish().await?;
            match (state, &advice) {
                (RunState::Failed, Some(advice)) => {
                    tail::check_recorded(run, advice).await?;
                    tail::print(run, &followed.failures, advice).await?;
                }
                (RunState::Interrupted, _) => terminal::print(&status::interrupted(run)),
                _ => {}
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
        RunState::Interrupted => Exit::Unreachable,
    }
}

/// Cancels a run, a task or some of its instances.
pub(crate) async fn cancel(args: &CancelArgs) -> Result<Exit, Failure> {
    let (run, selector) = args.what.read()?;
    let source = Source::open(&args.place).await?;
    let run = match run {
        Some(run) => run,
        None => only_running(&source).await?,
    };
    let run = source.run(run).await?;
    let status = run.status().await?;
    if status.state == RunState::Interrupted {
        // Nothing of it runs, so all of it or nothing can be given up.
        if let Some(selector) = &selector {
            let text =
                format!("run {} was interrupted: nothing of `{}` runs", run.id(), selector.task());
            let help = format!("`dagrun cancel {}{}` gives all of it up", run.id(), run.option());
            return Err(Failure::usage(text).help(help));
        }
        run.give_up().await?;
        return Ok(Exit::Success);
    }
    if status.state != RunState::Running {
        terminal::print(&format!("run {} has ended: {}", run.id(), status.state.word()));
        return Ok(Exit::Success);
    }
    let Some(selector) = selector else {
        run.cancel(None).await?;
        return Ok(Exit::Success);
    };
    if selector.is_whole() {
        let task = chosen::task(&status, &selector)?.1.name.clone();
        run.cancel(Some(&Target { task, index: None })).await?;
        return Ok(Exit::Success);
    }
    let recipes = run.recipes().await?;
    let chosen = Chosen::of(&run, &status, recipes.pipeline(), &selector).await?;
    let (mut from, mut none) = (Some(0), true);
    while let Some(index) = from {
        let (rows, next) = chosen.rows(&run, index, false).await?;
        for row in rows {
            none = false;
            let target = Target { task: chosen.name.clone(), index: Some(row.instance.index) };
            run.cancel(Some(&target)).await?;
        }
        from = next;
    }
    if none {
        return Err(Failure::usage(format!("no instance of `{}` is selected", chosen.name)));
    }
    Ok(Exit::Success)
}

/// The run that runs, when there is only one.
async fn only_running(source: &Source) -> Result<RunName, Failure> {
    let runs = source.runs(u32::MAX).await?;
    let mut running = runs.iter().filter(|run| run.state == RunState::Running);
    let failure = match (running.next(), running.next()) {
        (Some(run), None) => return Ok(RunName::Id(run.run)),
        (None, _) => Failure::usage("no run is running"),
        (Some(_), Some(_)) => Failure::usage("several runs are running: say which"),
    };
    Err(failure.help("`dagrun runs` lists them"))
}
