//! `dagrun explain`: why an instance is where it is, and how each of its attempts went.

use dagrun_core::select::Selector;
use dagrun_core::status::{RunState, RunStatus};

use crate::args::ExplainArgs;
use crate::chosen::{self, Chosen};
use crate::exit::{Exit, Failure};
use crate::source::{RunSource, Source};
use crate::status;
use crate::terminal::{self, Output};
use crate::time::localised;

/// Prints the reason, then a line for each attempt; several instances one after the other.
pub(crate) async fn explain(args: &ExplainArgs) -> Result<Exit, Failure> {
    let (run, selector) = args.what.read_task()?;
    let run = Source::open(&args.place).await?.run(run).await?;
    let status = run.status().await?;
    let exit = instances(&run, &status, &selector).await?;
    if status.state == RunState::Interrupted {
        terminal::print(&status::interrupted(&run));
    }
    Ok(exit)
}

async fn instances(
    run: &RunSource,
    status: &RunStatus,
    selector: &Selector,
) -> Result<Exit, Failure> {
    let (_, task) = chosen::task(status, selector)?;
    if !task.width_known {
        // All that can be said of instances whose number is not known is said of all alike.
        let mut output = Output::lock();
        let index = selector.index().unwrap_or(0);
        run.explain(selector.task(), index)
            .await?
            .iter()
            .for_each(|line| output.line(localised(line)));
        return Ok(Exit::Success);
    }
    let recipes = run.recipes().await?;
    let chosen = Chosen::of(run, status, recipes.pipeline(), selector).await?;
    let mut output = Output::lock();
    if selector.is_whole() || chosen.selection.single().is_some() {
        let index = chosen.only(run).await?.index;
        run.explain(&chosen.name, index)
            .await?
            .iter()
            .for_each(|line| output.line(localised(line)));
        return Ok(Exit::Success);
    }
    // One connection for all of them.
    let asked = run.at_its_owner().await;
    let (mut from, mut first) = (Some(0), true);
    while let Some(index) = from {
        let (rows, next) = chosen.rows(run, index, false).await?;
        for row in rows {
            if !std::mem::take(&mut first) {
                output.line("");
            }
            let lines = match asked.explain(&chosen.name, row.instance.index).await {
                Ok(lines) => lines,
                // The process that ran it may have ended meanwhile.
                Err(_) => run.explain(&chosen.name, row.instance.index).await?,
            };
            lines.iter().for_each(|line| output.line(localised(line)));
        }
        from = next;
    }
    if first {
        return Err(Failure::usage(format!("no instance of `{}` is selected", chosen.name)));
    }
    Ok(Exit::Success)
}
