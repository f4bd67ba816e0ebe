//! The canonical form of a task, in which it can be compared with one read from a text.

use super::Written;
use crate::payload::{self, Kind, TAG};
use crate::pipeline::{Arg, Args, Task, TaskAction};
use crate::space::Points;
use crate::template::{Part, Template};
use crate::value::Value;

/// Brings a task into its canonical form: without the signature of its function, payloads as the
/// values that they encode, constants as constants.
pub(super) fn task(task: &mut Task) -> Written<()> {
    if let TaskAction::Call(call) = &mut task.action {
        call.signature = None;
        if call.args == Args::Listed(Vec::new()) {
            call.args = Args::Named(Vec::new());
        }
        call.args.iter_mut().try_for_each(arg)?;
    }
    let axes = task.sweep.iter_mut().flat_map(|space| &mut space.axes);
    for axis in axes {
        if let Points::Rows(rows) = &mut axis.points {
            rows.iter_mut().flatten().try_for_each(value)?;
        }
    }
    Ok(())
}

// As deep as the arguments of the pipeline, which was built or read.
fn arg(place: &mut Arg) -> Written<()> {
    match place {
        Arg::Value(of) => value(of),
        Arg::Payload(payload) => {
            *place = Arg::Value(meant(&payload.0)?);
            Ok(())
        }
        Arg::Text(template) => {
            if let Some(text) = literal(template) {
                *place = Arg::Value(Value::String(text.into()));
            }
            Ok(())
        }
        Arg::List(args) => {
            args.iter_mut().try_for_each(arg)?;
            if let Some(values) = args.iter().map(constant).collect::<Option<Vec<_>>>() {
                *place = Arg::Value(Value::List(values));
            }
            Ok(())
        }
        Arg::Table(fields) => {
            fields.iter_mut().try_for_each(|(_, field)| arg(field))?;
            let constants =
                fields.iter().map(|(name, field)| Some((name.clone(), constant(field)?)));
            if let Some(values) = constants.collect::<Option<Vec<_>>>() {
                *place = Arg::Value(Value::Table(values));
            }
            Ok(())
        }
        Arg::Params | Arg::Gathered(_) => Ok(()),
    }
}

fn constant(arg: &Arg) -> Option<Value> {
    match arg {
        Arg::Value(value) => Some(value.clone()),
        _ => None,
    }
}

/// The text of a template without placeholders.
fn literal(template: &Template) -> Option<String> {
    let literal = |part: &Part| match part {
        Part::Literal(text) => Some(text.clone()),
        Part::Placeholder(_) => None,
    };
    template.parts.iter().map(literal).collect()
}

/// Replaces a payload by the value that it encodes.
fn value(value: &mut Value) -> Written<()> {
    let Value::String(text) = value else { return Ok(()) };
    if text.0.first() != Some(&TAG) {
        return Ok(());
    }
    *value = meant(&text.0)?;
    Ok(())
}

/// The value that a payload encodes.
fn meant(payload: &[u8]) -> Written<Value> {
    let meant = match payload::kind(payload) {
        Ok(Kind::MessagePack(_)) => payload::to_json(payload)
            .ok()
            .and_then(|json| Value::from_json(&json).ok())
            // It may have been a number that is not finite.
            .filter(|value| !has_null(value)),
        _ => None,
    };
    meant.ok_or_else(|| "a constant that is not JSON".to_owned())
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::List(values) => values.iter().any(has_null),
        Value::Table(fields) => fields.iter().any(|(_, value)| has_null(value)),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
