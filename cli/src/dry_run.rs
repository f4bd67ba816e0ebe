//! `dagrun submit --dry-run`: what would run, without running it.

use dagrun::Loaded;
use dagrun_core::ids::TaskId;
use dagrun_core::one_line;
use dagrun_core::pipeline::RunContext;
use dagrun_core::recipe::Recipe;

use crate::exit::{Exit, Failure};
use crate::quote;
use crate::terminal::Output;

/// With more instances than this, they are counted instead of listed.
const LISTED: u64 = 1000;

/// Prints the argv of every instance, or the number of instances of every task. Where that number is
/// known only at run time, the argvs are those for one element or worker.
pub(crate) fn print(loaded: &Loaded, seed: u64) -> Result<Exit, Failure> {
    let mut output = Output::lock();
    let tasks = (0..).map(TaskId).zip(&loaded.pipeline.tasks);
    if loaded.graph.instances() > LISTED {
        for (id, task) in tasks {
            match loaded.graph.width(id) {
                Some(width) => output.line(format_args!("{} {width}", task.name)),
                None => output.line(format_args!("{} ?", task.name)),
            }
        }
        return Ok(Exit::Success);
    }
    let context =
        RunContext { run: 0, run_dir: "{run.dir}".into(), base_dir: loaded.base_dir.clone(), seed };
    for (id, task) in tasks {
        let recipe = Recipe::new(&loaded.pipeline, id, &context)
            .map_err(|error| Failure::usage(one_line(&error)))?;
        if loaded.graph.is_dynamic(id) {
            output.line(format_args!("# {}: ? instances, such as", task.name));
        }
        let width = loaded.graph.widths().get(id.at()).map_or(0, |width| width.each());
        for index in 0..width {
            let preview = recipe
                .preview(index)
                .map_err(|error| Failure::usage(format!("{}[{index}]: {error}", recipe.name())))?;
            output.line(quote::line(preview.argv));
        }
    }
    Ok(Exit::Success)
}
