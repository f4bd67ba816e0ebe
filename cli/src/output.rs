//! `dagrun output`: the value of an instance.

use dagrun_core::payload;
use dagrun_core::pipeline::{Capture, TaskAction};
use dagrun_core::status::State;
use dagrun_core::value::Value;

use crate::args::OutputArgs;
use crate::exit::{Exit, Failure};
use crate::source::Source;
use crate::terminal::Output;

/// Prints a value: text as it is, anything else as JSON.
pub(crate) async fn output(args: &OutputArgs) -> Result<Exit, Failure> {
    let run = Source::open(&args.place).await?.run(args.run).await?;
    let recipes = run.recipes().await?;
    let id = args.target.task_in(recipes.pipeline())?;
    let status = run.status().await?;
    let task = status.tasks.get(id.at());
    let task = task.ok_or_else(|| Failure::new(Exit::Failed, "the run's status lacks a task"))?;
    let instance = args.target.instance(id, task)?;

    let capture = recipes.pipeline().tasks.get(id.at()).map_or(Capture::None, |task| task.capture);
    let action = recipes.pipeline().tasks.get(id.at()).map(|task| &task.action);
    let is_call = matches!(action, Some(TaskAction::Call(_)));
    if capture == Capture::None && !is_call {
        return Err(Failure::usage(format!("`{}` captures no value", args.target.task))
            .help("`capture = \"text\"` in its task keeps standard output as the value"));
    }
    let Some(value) = run.value(&args.target.task, instance.index).await? else {
        let rows = run.instances(instance, 1, false).await?.rows;
        let state = rows.first().map_or(State::Blocked, |row| row.state);
        return Err(Failure::new(
            Exit::Failed,
            format!("{} has no value: it is {}", args.target, state.word()),
        ));
    };
    print(&value, capture == Capture::Text, args.raw)
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
