//! `dagrun graph`: pictures of pipelines, and of what became of a run.

use std::collections::HashMap;

use dagrun_core::draw;
use dagrun_core::graph::Graph;
use dagrun_core::ids::{InstanceId, TaskId};
use dagrun_core::one_line;
use dagrun_core::pipeline::Pipeline;
use dagrun_core::status::{Counts, State};

use crate::args::{GraphArgs, GraphFormat};
use crate::exit::{Exit, Failure};
use crate::file;
use crate::source::Source;
use crate::target::RunName;
use crate::terminal::{self, Output};

/// Draws a pipeline, or a run in the colours of its states.
pub(crate) async fn graph(args: &GraphArgs) -> Result<Exit, Failure> {
    if let Some(run) = args.run {
        return graph_of_run(args, run).await;
    }
    let loaded = file::select(file::load(&args.pipeline)?, &args.only)?;
    let (pipeline, graph) = (&loaded.pipeline, &loaded.graph);
    note_wide(args, pipeline, graph);
    let picture = match args.format {
        GraphFormat::Dot => draw::to_dot(pipeline, graph, args.instances),
        GraphFormat::Mermaid => draw::to_mermaid(pipeline, graph, args.instances),
        GraphFormat::Svg => draw::to_svg(pipeline, graph, args.instances),
    };
    Output::lock().line(picture.trim_end());
    Ok(Exit::Success)
}

async fn graph_of_run(args: &GraphArgs, run: RunName) -> Result<Exit, Failure> {
    if !matches!(args.format, GraphFormat::Svg) {
        return Err(Failure::usage("the colours of a run are drawn in SVG only")
            .help("add `--format svg`, or leave `--run` out"));
    }
    let run = Source::open(&args.place).await?.run(run).await?;
    let status = run.status_now().await?;
    let recipes = run.recipes().await?;
    let pipeline = recipes.pipeline();
    let graph = Graph::new(pipeline)
        .map_err(|error| Failure::new(Exit::Failed, format!("the run: {}", one_line(&error))))?;
    note_wide(args, pipeline, &graph);
    let mut instances = HashMap::new();
    if args.instances {
        for (id, task) in (0..).map(TaskId).zip(&pipeline.tasks) {
            if task.is_array() && graph.width(id).is_some_and(|width| width <= draw::MAX_DRAWN) {
                let first = InstanceId { task: id, index: 0 };
                let page = run.instances(first, draw::MAX_DRAWN, false).await?;
                let rows = page.rows.iter().filter(|row| row.instance.task == id);
                instances.extend(rows.map(|row| (row.instance, row.state)));
            }
        }
    }
    let states = |task: TaskId, index: Option<u32>| match index {
        Some(index) => instances.get(&InstanceId { task, index }).copied(),
        None => status.tasks.get(task.at()).and_then(|task| together(task.counts)),
    };
    let picture = draw::to_svg_of_run(pipeline, &graph, args.instances, &states);
    Output::lock().line(picture.trim_end());
    Ok(Exit::Success)
}

/// The state that says most about instances in several; `None` without any.
fn together(counts: Counts) -> Option<State> {
    use State::{Backoff, Blocked, Cancelled, Failed, Leased, Ready, Skipped, Succeeded};
    let order = [Failed, Leased, Backoff, Cancelled, Ready, Blocked, Skipped, Succeeded];
    order.into_iter().find(|state| counts.of(*state) > 0)
}

/// Says which arrays are drawn as one box although instances were asked for.
fn note_wide(args: &GraphArgs, pipeline: &Pipeline, graph: &Graph) {
    if !args.instances {
        return;
    }
    for (id, task) in (0..).map(TaskId).zip(&pipeline.tasks) {
        let width = graph.width(id).filter(|width| *width > draw::MAX_DRAWN);
        if let Some(width) = width.filter(|_| task.is_array()) {
            terminal::print(&format!(
                "note: `{}` has {width} instances and is one box: up to {} are drawn one by one",
                task.name,
                draw::MAX_DRAWN
            ));
        }
    }
}
