//! `dagrun explain`: why an instance is where it is, and how each of its attempts went.

use dagrun_core::ids::TaskId;

use crate::args::ExplainArgs;
use crate::exit::{Exit, Failure};
use crate::source::Source;
use crate::terminal::Output;

/// Prints the reason, then a line for each attempt.
pub(crate) async fn explain(args: &ExplainArgs) -> Result<Exit, Failure> {
    let run = Source::open(&args.place).await?.run(args.run).await?;
    let status = run.status().await?;
    let name = &args.target.task;
    let found = (0..).map(TaskId).zip(&status.tasks).find(|(_, task)| task.name == *name);
    let (id, task) =
        found.ok_or_else(|| Failure::usage(format!("the run has no task `{name}`")))?;
    let index = match args.target.index {
        // All that can be said of instances whose number is not known is said of all alike.
        index if !task.width_known => index.unwrap_or(0),
        _ => args.target.instance(id, task)?.index,
    };
    let mut output = Output::lock();
    for line in run.explain(name, index).await? {
        output.line(line);
    }
    Ok(Exit::Success)
}
