//! Calls of functions: from an index to the arguments.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::Keep;
use super::compile::{CompiledArg, Piece, payload_of};
use super::given::{RenderError, values_path};
use super::render::{Invocation, OutputFile, Renderer, field_of, missing};
use crate::ids::{Micros, RunId};
use crate::payload;
use crate::pipeline::Call;
use crate::value::{Value, write_json_string};

/// What an attempt does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// It starts a process.
    Process(Invocation),
    /// It calls a function.
    Call(Calling),
}

/// A function to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calling {
    /// Its name.
    pub function: String,
    /// The signature that it must have, if the caller knows it.
    pub signature: Option<u64>,
    /// Its arguments, with their names where they were given by name.
    pub args: Vec<(Option<String>, Argument)>,
    /// Whether it is a function of two, to be folded from the left over its argument, a list.
    pub fold: bool,
    /// The task's name.
    pub task: String,
    /// The instance's index.
    pub index: u32,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The run.
    pub run: RunId,
    /// `{seed}` of the instance.
    pub seed: u64,
    /// The run's own directory, absolute.
    pub run_dir: PathBuf,
    /// Slots it occupies.
    pub cpus: u32,
    /// Longest run time.
    pub timeout: Option<Micros>,
    /// How long it may take to return once it has been asked to stop.
    pub grace: Micros,
    /// The files it creates.
    pub outputs: Vec<OutputFile>,
    /// Whether `outputs` must be sent with the report, as they cannot be computed elsewhere.
    pub report_outputs: bool,
    /// How a long result is kept.
    pub keep: Keep,
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A payload, see [`crate::payload`].
    Value(Vec<u8>),
    /// The value of the input at this position, unchanged.
    Input(usize),
    /// The values in this file, see [`super::values`].
    Gathered(PathBuf),
}

impl Renderer<'_> {
    /// The call that the attempt makes.
    pub(super) fn calling(mut self, call: &Call) -> Result<Calling, RenderError> {
        self.render_outputs()?;
        let compiled = self.compiled.call.iter().flat_map(|call| &call.args);
        let args = compiled
            .map(|(name, arg)| Ok((name.clone(), self.argument(arg)?)))
            .collect::<Result<_, RenderError>>()?;
        let data = self.data;
        Ok(Calling {
            function: call.function.clone(),
            signature: call.signature,
            args,
            fold: call.fold,
            task: data.name().to_owned(),
            index: self.index(),
            attempt: self.attempt,
            run: RunId(data.run),
            seed: self.seed()?,
            run_dir: data.run_dir().to_owned(),
            cpus: data.cpus,
            timeout: data.timeout,
            grace: data.grace,
            outputs: self.outputs,
            report_outputs: data.report_outputs,
            keep: data.keep,
        })
    }

    /// A call as words for people: the function, then `name=value` for each argument.
    pub(super) fn call_words(&self, call: &Call) -> Result<Vec<Vec<u8>>, RenderError> {
        let mut words = vec![call.function.clone().into_bytes()];
        for (name, arg) in self.compiled.call.iter().flat_map(|call| &call.args) {
            let mut word =
                name.as_ref().map_or_else(String::new, |name| format!("{name}=")).into_bytes();
            match self.json(arg) {
                Ok(json) => word.extend_from_slice(&json),
                // Its value is stored elsewhere.
                Err(_) => word.extend_from_slice("…".as_bytes()),
            }
            words.push(word);
        }
        Ok(words)
    }

    fn argument(&self, arg: &CompiledArg) -> Result<Argument, RenderError> {
        match arg {
            CompiledArg::Whole(Piece::Value(input, fields, label)) if fields.is_empty() => {
                match self.inputs {
                    Some(inputs) if inputs.get(*input).is_some_and(|it| it.value.is_some()) => {
                        Ok(Argument::Input(*input))
                    }
                    Some(_) => Err(missing(label, "the upstream has no value")),
                    None => Ok(Argument::Value(json_text(format!("{{{label}}}").as_bytes()))),
                }
            }
            CompiledArg::Gathered(stem, grouped) => {
                Ok(Argument::Gathered(values_path(stem, grouped.then(|| self.index()))))
            }
            arg => self.payload(arg).map(Argument::Value),
        }
    }

    /// The payload of an argument; within lists and tables it is JSON.
    fn payload(&self, arg: &CompiledArg) -> Result<Vec<u8>, RenderError> {
        Ok(match arg {
            CompiledArg::Constant(payload) => payload.clone(),
            CompiledArg::Whole(piece) => self.whole(piece)?,
            CompiledArg::Text(pieces) => json_text(&self.text(pieces)?),
            CompiledArg::List(args) => {
                let mut json = b"[".to_vec();
                for (at, arg) in args.iter().enumerate() {
                    if at > 0 {
                        json.push(b',');
                    }
                    json.extend_from_slice(&self.json(arg)?);
                }
                json.push(b']');
                json
            }
            CompiledArg::Table(args) => {
                let mut json = b"{".to_vec();
                for (at, (name, arg)) in args.iter().enumerate() {
                    if at > 0 {
                        json.push(b',');
                    }
                    write_json_string(name.as_bytes(), &mut json);
                    json.push(b':');
                    json.extend_from_slice(&self.json(arg)?);
                }
                json.push(b'}');
                json
            }
            CompiledArg::Params => {
                let params = self.params().map(|(name, value)| (name.to_owned(), value));
                payload_of(&Value::Table(params.collect()))
            }
            CompiledArg::Gathered(stem, grouped) => {
                let path = values_path(stem, grouped.then(|| self.index()));
                json_text(path.as_os_str().as_bytes())
            }
        })
    }

    fn json(&self, arg: &CompiledArg) -> Result<Vec<u8>, RenderError> {
        let payload = self.payload(arg)?;
        match payload::to_json(&payload) {
            Ok(json) => Ok(json.into_owned()),
            Err(error) => Err(missing("args", error.to_string())),
        }
    }

    /// The payload of a placeholder's value; text for placeholders of text.
    fn whole(&self, piece: &Piece) -> Result<Vec<u8>, RenderError> {
        match piece {
            Piece::Param(place, fields) => Ok(payload_of(&*self.param(*place, fields)?)),
            Piece::Value(input, fields, label) => {
                let mut out = Vec::new();
                let Some(input) = self.input(*input, label, &mut out)? else {
                    return Ok(json_text(&out));
                };
                let value = field_of(input.value.as_deref(), fields, label)?;
                Ok(payload_of(&value))
            }
            Piece::Index(0) | Piece::Attempt => self.text(std::slice::from_ref(piece)),
            Piece::Seed => {
                let text = self.text(std::slice::from_ref(piece))?;
                let known = text.iter().all(u8::is_ascii_digit);
                Ok(if known { text } else { json_text(&text) })
            }
            piece => Ok(json_text(&self.text(std::slice::from_ref(piece))?)),
        }
    }
}

fn json_text(text: &[u8]) -> Vec<u8> {
    let mut json = Vec::with_capacity(text.len() + 2);
    write_json_string(text, &mut json);
    json
}
