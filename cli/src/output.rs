//! `dagrun output`: the value of an instance.

use dagrun_core::ids::InstanceId;
use dagrun_core::payload;
use dagrun_core::pipeline::{Capture, TaskAction};
use dagrun_core::select::Selector;
use dagrun_core::status::State;
use dagrun_core::value::Value;

use crate::args::OutputArgs;
use crate::chosen::Chosen;
use crate::exit::{Exit, Failure};
use crate::quote;
use crate::recipes::Recipes;
use crate::source::{RunSource, Source};
use crate::terminal::Output;

/// Prints a value: text as it is, anything else as JSON; or paths of outputs, where there is no value.
pub(crate) async fn output(args: &OutputArgs) -> Result<Exit, Failure> {
    let (name, selector) = args.what.read_task()?;
    let run = Source::open(&args.place).await?.run(name).await?;
    let mut recipes = run.recipes().await?;
    let status = run.status().await?;
    let chosen = Chosen::of(&run, &status, recipes.pipeline(), &selector).await?;
    let instance = chosen.only(&run).await.map_err(|failure| several(failure, &run, &selector))?;

    let lacking = || Failure::new(Exit::Failed, "the run's pipeline lacks a task");
    let task = recipes.pipeline().tasks.get(instance.task.at()).ok_or_else(lacking)?;
    let capture = task.capture;
    let has_value = capture != Capture::None || matches!(task.action, TaskAction::Call(_));
    let has_outputs = !task.outputs.is_empty();
    if args.paths && !has_outputs {
        return Err(Failure::usage(format!("`{}` has no outputs", chosen.name)));
    }
    if !has_value && !has_outputs {
        return Err(Failure::usage(format!("`{}` captures no value", chosen.name))
            .help("`capture = \"text\"` in its task keeps standard output as the value"));
    }
    if args.paths || !has_value {
        return paths(&run, &mut recipes, instance, &selector).await;
    }
    match run.value(&chosen.name, instance.index).await? {
        Some(value) => print(&value, capture == Capture::Text, args.raw),
        None => Err(nothing(&run, instance, &selector, "value").await?),
    }
}

/// Adds how several instances are seen.
fn several(failure: Failure, run: &RunSource, selector: &Selector) -> Failure {
    let target = quote::word(selector.to_string());
    failure.help(format!(
        "`dagrun table {} {target}{}` shows them all, as a table",
        run.id(),
        run.option()
    ))
}

/// Why an instance has no value or no outputs.
async fn nothing(
    run: &RunSource,
    instance: InstanceId,
    selector: &Selector,
    what: &str,
) -> Result<Failure, Failure> {
    let rows = run.instances(instance, 1, false).await?.rows;
    let state = rows.first().map_or(State::Blocked, |row| row.state);
    let text = format!("{selector} has no {what}: it is {}", state.word());
    Ok(Failure::new(Exit::Failed, text))
}

/// Prints the paths of an instance's outputs, one a line.
async fn paths(
    run: &RunSource,
    recipes: &mut Recipes,
    instance: InstanceId,
    selector: &Selector,
) -> Result<Exit, Failure> {
    let paths = run.output_paths(recipes, instance).await?;
    if paths.is_empty() {
        return Err(nothing(run, instance, selector, "outputs").await?);
    }
    let mut output = Output::lock();
    for path in paths {
        output.bytes(&path);
        output.bytes(b"\n");
    }
    Ok(Exit::Success)
}

/// Prints a payload; `text` is text as it is, and so are bytes with `raw`.
fn print(payload: &[u8], text: bool, raw: bool) -> Result<Exit, Failure> {
    let mut output = Output::lock();
    if let (Ok(payload::Kind::Bytes(bytes)), true) = (payload::kind(payload), raw) {
        output.bytes(bytes);
        return Ok(Exit::Success);
    }
    let json = payload::to_json(payload)
        .map_err(|error| Failure::new(Exit::Failed, format!("the value is unusable: {error}")))?;
    match Value::from_json(&json) {
        Ok(Value::String(string)) if text || raw => output.bytes(&string.0),
        _ => output.bytes(&json),
    }
    if !raw {
        output.bytes(b"\n");
    }
    Ok(Exit::Success)
}
