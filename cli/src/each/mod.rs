//! `dagrun each`: a command for each item, as GNU parallel runs it, with the history, the logs and the retries of
//! any run. It makes a pipeline of one task and runs it as `dagrun submit` does.

mod args;
mod halt;
mod items;
mod joblog;
mod outputs;
mod pipeline;
mod sink;
mod words;

use dagrun::Loaded;
use dagrun_core::ids::TaskId;
use dagrun_core::one_line;
use dagrun_core::pipeline::RunContext;
use dagrun_core::recipe::Recipe;

pub(crate) use args::EachArgs;
pub(crate) use sink::{Aside, Sink};

use crate::dry_run;
use crate::exit::{Exit, Failure};
use crate::launch::{self, Work};
use crate::terminal;

/// Runs a command for each item.
pub(crate) async fn each(args: &EachArgs) -> Result<Exit, Failure> {
    let cluster = args.place.cluster();
    launch::check(&args.how, cluster)?;
    let dir = std::env::current_dir()
        .map_err(|error| Failure::new(Exit::Failed, format!("current directory: {error}")))?;
    let from = items::Sources { csv: args.csv.as_deref(), lines: args.lines, null: args.null };
    let (command, groups) = items::read(&args.words, &from, &dir)?;
    let command = items::texts(command)?;
    if command.is_empty() {
        return Err(Failure::usage("there is no command before the items")
            .help("as in `dagrun each echo ::: a b`"));
    }
    // A worker holds more than it has slots for, which it would start although nothing new is to be started.
    let exact = args.halt.lets_run() && cluster.is_none();
    let at_once = exact.then(|| args.how.offer.offer().slots);
    let made = pipeline::make(&command, groups, args.retries, at_once, &dir)?;
    let loaded = made.loaded;
    if pipeline::width(&loaded) == 0 {
        if !args.how.quiet {
            terminal::print("no items: nothing to run");
        }
        return Ok(Exit::Success);
    }
    if args.dry_run {
        return dry_run::print(&loaded, 0);
    }
    let mut sink = sink(args, &loaded, made.inputs)?;
    let work = Work::New { submission: loaded.submission()?, pipeline: loaded.pipeline.clone() };
    let state_dir = args.place.state_dir().cloned().unwrap_or_else(|| dir.join(".dagrun"));
    let exit = match cluster {
        Some(name) => launch::to_cluster(&args.how, &work, name, Some(&mut sink)).await?,
        None => launch::embedded(&args.how, &work, state_dir, Some(&mut sink)).await?,
    };
    Ok(if exit == Exit::Failed && sink.is_success() { Exit::Success } else { exit })
}

fn sink(args: &EachArgs, loaded: &Loaded, inputs: Vec<String>) -> Result<Sink, Failure> {
    let recipe = || recipe(loaded);
    let results = match &args.results {
        Some(dir) => Some(outputs::Results { dir: dir.clone(), inputs, recipe: recipe()? }),
        None => None,
    };
    let joblog = match &args.joblog {
        Some(path) => Some(joblog::JobLog::create(path, recipe()?)?),
        None => None,
    };
    let (keep_order, print) = (args.keep_order, !args.how.json);
    let outputs = outputs::Outputs::new(keep_order, print, results);
    Ok(Sink { outputs, halt: args.halt, joblog, halted: false, reader_left: false })
}

fn recipe(loaded: &Loaded) -> Result<Recipe, Failure> {
    let context = RunContext {
        run: 0,
        run_dir: "{run.dir}".into(),
        base_dir: loaded.base_dir.clone(),
        seed: 0,
    };
    Recipe::new(&loaded.pipeline, TaskId(0), &context)
        .map_err(|error| Failure::usage(one_line(&error)))
}
