//! Calls of functions: from an index to the arguments.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::compile::{Compiler, Piece, Pieces};
use super::render::Renderer;
use super::{Input, Invocation, Keep, OutputFile, Recipe, RecipeError, RenderError};
use crate::ids::{Micros, RunId};
use crate::payload::{self, TAG};
use crate::pipeline::{Arg, Args, Call, TaskAction};
use crate::template::{Part, Placeholder};
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
    /// How long it may take to return once it has been told to.
    pub grace: Micros,
    /// The files it creates.
    pub outputs: Vec<OutputFile>,
    /// Whether `outputs` must travel with the report, as they cannot be computed elsewhere.
    pub report_outputs: bool,
    /// What becomes of a long result.
    pub keep: Keep,
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A payload, see [`crate::payload`].
    Value(Vec<u8>),
    /// The value of the input at this position, as it is.
    Input(usize),
    /// The values in this file, see [`super::values`].
    Gathered(PathBuf),
}

/// A call, ready for rendering.
#[derive(Clone, Debug)]
pub(super) struct CompiledCall {
    args: Vec<(Option<String>, CompiledArg)>,
}

#[derive(Clone, Debug)]
enum CompiledArg {
    Constant(Vec<u8>),
    /// The value that a placeholder stands for.
    Whole(Piece),
    Text(Pieces),
    List(Vec<CompiledArg>),
    Table(Vec<(String, CompiledArg)>),
    Params,
    /// The file without group and ending, and whether it is that of a group.
    Gathered(PathBuf, bool),
}

impl CompiledCall {
    /// What arguments are made of, other than values that are whole arguments.
    pub(super) fn parts(&self) -> Vec<&Piece> {
        let whole = |arg: &&CompiledArg| match arg {
            CompiledArg::Whole(Piece::Value(_, fields, _)) => fields.is_empty(),
            _ => false,
        };
        let args = self.args.iter().map(|(_, arg)| arg);
        let mut open: Vec<&CompiledArg> = args.filter(|arg| !whole(arg)).collect();
        let mut parts = Vec::new();
        while let Some(arg) = open.pop() {
            match arg {
                CompiledArg::Whole(piece) => parts.push(piece),
                CompiledArg::Text(pieces) => parts.extend(pieces),
                CompiledArg::List(args) => open.extend(args),
                CompiledArg::Table(args) => open.extend(args.iter().map(|(_, arg)| arg)),
                CompiledArg::Constant(_) | CompiledArg::Params | CompiledArg::Gathered(..) => {}
            }
        }
        parts
    }

    pub(super) fn new(call: &Call, compiler: &Compiler<'_>) -> Result<CompiledCall, RecipeError> {
        let args = match &call.args {
            Args::Named(args) => args
                .iter()
                .map(|(name, arg)| Ok((Some(name.clone()), compile(arg, compiler)?)))
                .collect::<Result<_, RecipeError>>()?,
            Args::Listed(args) => args
                .iter()
                .map(|arg| Ok((None, compile(arg, compiler)?)))
                .collect::<Result<_, RecipeError>>()?,
        };
        Ok(CompiledCall { args })
    }
}

// As deep as the arguments are written, which the parser bounds.
fn compile(arg: &Arg, compiler: &Compiler<'_>) -> Result<CompiledArg, RecipeError> {
    Ok(match arg {
        Arg::Value(value) => CompiledArg::Constant(payload_of(value)),
        Arg::Text(template) => match template.parts.as_slice() {
            [Part::Placeholder(Placeholder::Var(name, fields))] => {
                let value = compiler.var(name, fields);
                let value = value.ok_or(RecipeError::Incomplete("a constant"))?;
                CompiledArg::Constant(payload_of(&value))
            }
            [Part::Placeholder(placeholder)] => CompiledArg::Whole(compiler.piece(placeholder)?),
            _ => CompiledArg::Text(compiler.pieces(template)?),
        },
        Arg::List(args) => CompiledArg::List(
            args.iter().map(|arg| compile(arg, compiler)).collect::<Result<_, _>>()?,
        ),
        Arg::Table(args) => CompiledArg::Table(
            args.iter()
                .map(|(name, arg)| Ok((name.clone(), compile(arg, compiler)?)))
                .collect::<Result<_, RecipeError>>()?,
        ),
        Arg::Params => CompiledArg::Params,
        Arg::Gathered(upstream) => {
            let (stem, grouped) = compiler.values(*upstream)?;
            CompiledArg::Gathered(stem, grouped)
        }
    })
}

/// The payload of a value: text that is one stands for itself.
fn payload_of(value: &Value) -> Vec<u8> {
    if let Value::String(text) = value
        && text.0.first() == Some(&TAG)
    {
        return text.0.clone();
    }
    let mut json = Vec::new();
    value.write_json(&mut json);
    json
}

impl Renderer<'_> {
    fn argument(&self, arg: &CompiledArg) -> Result<Argument, RenderError> {
        match arg {
            CompiledArg::Whole(Piece::Value(input, fields, label)) if fields.is_empty() => {
                match self.inputs() {
                    Some(inputs) if inputs.get(*input).is_some_and(|it| it.value.is_some()) => {
                        Ok(Argument::Input(*input))
                    }
                    Some(_) => Err(super::render::missing(label, "the upstream has no value")),
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
            Err(error) => Err(super::render::missing("args", error.to_string())),
        }
    }

    /// The payload of the value that a placeholder stands for; text for those that stand for text.
    fn whole(&self, piece: &Piece) -> Result<Vec<u8>, RenderError> {
        match piece {
            Piece::Param(place, fields) => Ok(payload_of(&*self.param(*place, fields)?)),
            Piece::Value(input, fields, label) => {
                let mut out = Vec::new();
                let Some(input) = self.input(*input, label, &mut out)? else {
                    return Ok(json_text(&out));
                };
                let value = super::render::field_of(input.value.as_deref(), fields, label)?;
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

/// The file of gathered values, for one group if it is that of a group.
pub(super) fn values_path(stem: &std::path::Path, group: Option<u32>) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    if let Some(group) = group {
        path.push(format!(".{group}"));
    }
    path.push(".values");
    path.into()
}

impl Recipe {
    /// What attempt number `attempt` (from 1) of instance `index` does; `inputs` as
    /// [`Recipe::inputs`] asks for them. Values of inputs may be elsewhere only where they are whole
    /// arguments of a call, see [`Argument::Input`].
    ///
    /// # Errors
    /// As [`Recipe::invocation`].
    pub fn job(&self, index: u32, attempt: u32, inputs: &[Input]) -> Result<Job, RenderError> {
        match &self.data.action {
            TaskAction::Call(call) => {
                self.calling(call, index, attempt, Some(inputs)).map(Job::Call)
            }
            _ => self.invocation(index, attempt, inputs).map(Job::Process),
        }
    }

    /// Whether its attempts are processes, not calls of functions.
    #[must_use]
    pub fn starts_processes(&self) -> bool {
        !matches!(self.data.action, TaskAction::Call(_))
    }

    fn calling(
        &self,
        call: &Call,
        index: u32,
        attempt: u32,
        inputs: Option<&[Input]>,
    ) -> Result<Calling, RenderError> {
        let mut renderer = self.renderer(index, attempt, inputs);
        renderer.render_outputs()?;
        let compiled = self.compiled.call.iter().flat_map(|call| &call.args);
        let args = compiled
            .map(|(name, arg)| Ok((name.clone(), renderer.argument(arg)?)))
            .collect::<Result<_, RenderError>>()?;
        let data = &self.data;
        Ok(Calling {
            function: call.function.clone(),
            signature: call.signature,
            args,
            fold: call.fold,
            task: self.name().to_owned(),
            index,
            attempt,
            run: RunId(data.run),
            seed: renderer.seed()?,
            run_dir: data.run_dir().to_owned(),
            cpus: data.cpus,
            timeout: data.timeout,
            grace: data.grace,
            outputs: renderer.into_outputs(),
            report_outputs: data.report_outputs,
            keep: data.keep,
        })
    }

    /// A call as words for people: the function, then `name=value` for each argument.
    pub(super) fn call_words(
        &self,
        call: &Call,
        renderer: &Renderer<'_>,
    ) -> Result<Vec<Vec<u8>>, RenderError> {
        let mut words = vec![call.function.clone().into_bytes()];
        for (name, arg) in self.compiled.call.iter().flat_map(|call| &call.args) {
            let mut word =
                name.as_ref().map_or_else(String::new, |name| format!("{name}=")).into_bytes();
            match renderer.json(arg) {
                Ok(json) => word.extend_from_slice(&json),
                // Its value is somewhere else.
                Err(_) => word.extend_from_slice("…".as_bytes()),
            }
            words.push(word);
        }
        Ok(words)
    }
}
