//! Rendering: from an index to arguments, environment and paths.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::compile::{Compiled, ParamAt, Piece, dotted};
use super::frame::Frame;
use super::given::{Input, InputKind, InputSpec, RecipeData, RenderError};
use crate::hash::StableHash;
use crate::ids::{InstanceId, Micros, RunId};
use crate::layout;
use crate::payload;
use crate::pipeline::{Capture, TaskAction};
use crate::shell;
use crate::url;
use crate::value::{RawString, Value};

/// What is wrong with a URL as a working directory.
const NO_DIRECTORY: &str = "a process runs in a directory of this machine";
/// Deepest nesting of paths made of paths; a recipe has fewer.
const MAX_DEPTH: u32 = 20;

/// The variable with the directory that outlives attempts of an instance.
pub(super) const CHECKPOINT_DIR: &str = "DAGRUN_CHECKPOINT_DIR";

/// A directory that outlives attempts of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its absolute path.
    pub dir: PathBuf,
    /// Whether it is to be there when the attempt starts.
    pub made: bool,
}

/// A process to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Program and arguments, never empty. For a `shell` task `bash -euo pipefail -c SCRIPT`; for a
    /// `call`, which starts no process, the function and its arguments in words for people.
    pub argv: Vec<OsString>,
    /// Whether this is a `shell` task: where bash is missing, `sh -eu -c` with the last element of
    /// `argv` is used instead.
    pub shell: bool,
    /// Variables to add to the worker's environment, in order: a later one of the same name wins.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs, absolute.
    pub working_dir: PathBuf,
    /// The run's own directory, absolute.
    pub run_dir: PathBuf,
    /// Files that must be there when it starts, absolute, or URLs.
    pub reads: Vec<PathBuf>,
    /// The file fed to standard input, absolute, or its URL; `None` is empty input, or `fed`.
    pub stdin: Option<PathBuf>,
    /// What is fed to standard input where that is no file.
    pub fed: Option<Vec<u8>>,
    /// Files that must be there before it starts, in directories of the attempt's own: absolute
    /// paths and contents.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// Files that must be brought there before it starts: their URLs, and absolute paths in
    /// directories of the attempt's own.
    pub fetches: Vec<(String, PathBuf)>,
    /// The directory that it shares with the other attempts of its instance.
    pub checkpoint: Checkpoint,
    /// The files it creates.
    pub outputs: Vec<OutputFile>,
    /// Whether `outputs` must be sent with the report, as they cannot be computed elsewhere.
    pub report_outputs: bool,
    /// How standard output is used.
    pub capture: Capture,
    /// Longest run time.
    pub timeout: Option<Micros>,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Micros,
    /// Slots it occupies.
    pub cpus: u32,
    /// Bytes of memory that it asks for; 0: none. Its worker knows them.
    pub memory: u64,
}

/// A file or directory that an attempt creates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFile {
    /// Its name, as in `out.NAME`.
    pub name: String,
    /// Its final path, as rendered (relative to the pipeline's directory, absolute, or a URL).
    pub path: PathBuf,
    /// Its final path, absolute and without a slash at its end, or its URL: see
    /// [`crate::url::remote`].
    pub target: PathBuf,
    /// The absolute path that the attempt writes: the same name in a directory of the attempt's
    /// own, which is in the target's directory, or in the run's directory if the output is uploaded
    /// to a URL.
    pub temporary: PathBuf,
    /// Whether it must be a directory, as declared by a slash at the end of the path.
    pub directory: bool,
    /// Whether it is removed when nobody needs it any more.
    pub temp: bool,
}

/// What is known while an attempt is rendered.
pub(super) struct Renderer<'a> {
    pub(super) data: &'a RecipeData,
    pub(super) compiled: &'a Compiled,
    pub(super) frame: Frame<'a>,
    pub(super) attempt: u32,
    /// `None` before the run.
    pub(super) inputs: Option<&'a [Input]>,
    pub(super) outputs: Vec<OutputFile>,
    depth: u32,
}

pub(super) fn missing(placeholder: &str, problem: impl Into<String>) -> RenderError {
    RenderError::Placeholder { placeholder: placeholder.to_owned(), problem: problem.into() }
}

/// A path without the slashes at its end.
fn trimmed(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    &path[..end]
}

fn os(bytes: Vec<u8>) -> OsString {
    OsString::from_vec(bytes)
}

impl<'a> Renderer<'a> {
    pub(super) fn new(
        (data, compiled): (&'a RecipeData, &'a Compiled),
        index: u32,
        attempt: u32,
        inputs: Option<&'a [Input]>,
    ) -> Renderer<'a> {
        let frame = Frame::new(&compiled.own, index);
        Renderer { data, compiled, frame, attempt, inputs, outputs: Vec::new(), depth: 0 }
    }
}

impl Renderer<'_> {
    /// The process that the attempt starts.
    pub(super) fn invocation(mut self) -> Result<Invocation, RenderError> {
        let (data, compiled) = (self.data, self.compiled);
        self.render_outputs()?;
        let (argv, shell) = match &data.action {
            TaskAction::Run(_) => {
                let words = compiled.argv.iter().map(|word| Ok(os(self.text(word)?)));
                (words.collect::<Result<Vec<_>, RenderError>>()?, false)
            }
            TaskAction::Call(call) => {
                let words = self.call_words(call)?;
                (words.into_iter().map(os).collect(), false)
            }
            TaskAction::Shell(script) => {
                let words = ["bash", "-euo", "pipefail", "-c", script];
                (words.map(OsString::from).to_vec(), true)
            }
            TaskAction::Script(script) => {
                let words = shell::interpreter(script).into_iter().map(OsString::from);
                (words.chain([self.script_file().into()]).collect(), false)
            }
        };
        if argv.is_empty() {
            return Err(RenderError::NoProgram);
        }
        let wrap = compiled.wrap.iter().map(|word| Ok(os(self.text(word)?)));
        let wrap = wrap.collect::<Result<Vec<_>, RenderError>>()?;
        let shell = shell && wrap.is_empty();
        let argv = [wrap, argv].concat();
        let path = |pieces: &Vec<Piece>| data.absolute(&self.text(pieces)?);
        let working_dir = match &compiled.working_dir {
            Some(pieces) => path(pieces)?,
            None => data.base_dir().to_owned(),
        };
        if let Some(url) = url::remote(&working_dir) {
            let (url, problem) = (url::redacted(url).into_owned(), NO_DIRECTORY.to_owned());
            return Err(RenderError::Url { url, problem });
        }
        let fed = compiled.stdin.as_ref().map(|pieces| self.fed(pieces)).transpose()?.flatten();
        let stdin = compiled.stdin.as_ref().filter(|_| fed.is_none());
        let stdin = stdin.map(path).transpose()?;
        let checkpoint = Checkpoint {
            dir: layout::checkpoint(data.run_dir(), data.name(), self.frame.index),
            made: data.checkpoint || self.attempt > 1,
        };
        Ok(Invocation {
            argv,
            shell,
            env: self.env(&checkpoint)?,
            checkpoint,
            files: self.script_files()?,
            fetches: self.fetches()?,
            working_dir,
            run_dir: data.run_dir().to_owned(),
            reads: compiled.reads.iter().map(path).collect::<Result<_, _>>()?,
            stdin,
            fed,
            outputs: self.outputs,
            report_outputs: data.report_outputs,
            capture: data.capture,
            timeout: data.timeout,
            grace: data.grace,
            cpus: data.cpus,
            memory: 0,
        })
    }

    /// An item or a value that is all of `stdin` and cannot be a path: it is fed itself, as JSON.
    fn fed(&self, pieces: &[Piece]) -> Result<Option<Vec<u8>>, RenderError> {
        /// The longest path that Linux takes.
        const PATH: usize = 4096;
        let ([Piece::Value(input, fields, label)], Some(inputs)) = (pieces, self.inputs) else {
            return Ok(None);
        };
        let value = inputs.get(*input).and_then(|input| input.value.as_deref());
        let value = field_of(value, fields, label)?;
        if let Value::String(text) = &value
            && text.0.len() <= PATH
            && !text.0.contains(&b'\n')
        {
            return Ok(None);
        }
        let mut json = Vec::new();
        value.write_json(&mut json);
        Ok(Some(json))
    }

    pub(super) fn text(&self, pieces: &[Piece]) -> Result<Vec<u8>, RenderError> {
        // One allocation is enough for most words and paths.
        let mut out = Vec::with_capacity(64);
        for piece in pieces {
            self.push(piece, &mut out)?;
        }
        Ok(out)
    }

    fn push(&self, piece: &Piece, out: &mut Vec<u8>) -> Result<(), RenderError> {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Param(place, fields) => self.push_param(*place, fields, out)?,
            Piece::Index(digits) => {
                out.extend_from_slice(format!("{:0digits$}", self.frame.index).as_bytes());
            }
            Piece::Key => out.extend_from_slice(self.frame.key().as_bytes()),
            Piece::Seed => match (self.compiled.item, self.depth, self.inputs) {
                (Some(_), 0, None) => out.extend_from_slice(b"{seed}"),
                _ => out.extend_from_slice(self.seed()?.to_string().as_bytes()),
            },
            Piece::Manifest(stem, grouped) => {
                out.extend_from_slice(stem);
                if *grouped {
                    out.extend_from_slice(format!(".{}", self.frame.index).as_bytes());
                }
                out.extend_from_slice(b".jsonl");
            }
            Piece::Attempt => out.extend_from_slice(self.attempt.to_string().as_bytes()),
            Piece::Out(output) => {
                let file = self.outputs.get(*output);
                let file = file.ok_or_else(|| missing("out", "not known here"))?;
                out.extend_from_slice(file.temporary.as_os_str().as_bytes());
            }
            Piece::In(input) => {
                let (path, _) = self.named_input(*input)?;
                out.extend_from_slice(path.as_os_str().as_bytes());
            }
            Piece::Computed(related, output, factor) => {
                out.extend_from_slice(&self.computed(*related, *output, *factor)?);
            }
            Piece::Reported(input, output, label) => {
                let Some(input) = self.input(*input, label, out)? else { return Ok(()) };
                let path = input.outputs.get(*output);
                let path = path.ok_or_else(|| missing(label, "its path was not reported"))?;
                let path = self.data.absolute(path)?;
                out.extend_from_slice(path.as_os_str().as_bytes());
            }
            Piece::Value(input, fields, label) => {
                let Some(input) = self.input(*input, label, out)? else { return Ok(()) };
                push_value(input.value.as_deref(), fields, label, out)?;
            }
            Piece::File(input, label) => {
                let Some(input) = self.input(*input, label, out)? else { return Ok(()) };
                match &input.file {
                    Some(file) => out.extend_from_slice(file.as_os_str().as_bytes()),
                    // Only workers make files: here the command is shown, not started.
                    None => out.extend_from_slice(format!("{{{label}}}").as_bytes()),
                }
            }
            Piece::Missing(label, problem) => return Err(missing(label, *problem)),
        }
        Ok(())
    }

    fn push_param(
        &self,
        place: ParamAt,
        fields: &[String],
        out: &mut Vec<u8>,
    ) -> Result<(), RenderError> {
        if fields.is_empty() && self.frame.write_text(place, out) {
            return Ok(());
        }
        self.param(place, fields)?.write_text(out);
        Ok(())
    }

    /// A parameter, or a field of it.
    pub(super) fn param(
        &self,
        place: ParamAt,
        fields: &[String],
    ) -> Result<Cow<'_, Value>, RenderError> {
        let label = || dotted(self.frame.scope.name_of(place), "", fields);
        let value = self.frame.value(place).ok_or_else(|| missing(&label(), "no such instance"))?;
        if fields.is_empty() {
            return Ok(value);
        }
        let field = value.field_path(fields).ok_or_else(|| missing(&label(), "no such field"))?;
        Ok(Cow::Owned(field.into_owned()))
    }

    /// All parameters, inherited ones first.
    pub(super) fn params(&self) -> impl Iterator<Item = (&str, Value)> {
        self.frame.params().map(|(name, value)| (name, value.into_owned()))
    }

    pub(super) fn index(&self) -> u32 {
        self.frame.index
    }

    pub(super) fn render_outputs(&mut self) -> Result<(), RenderError> {
        self.outputs = self.own_outputs()?;
        Ok(())
    }

    /// `{seed}`; with the item where there is one.
    pub(super) fn seed(&self) -> Result<u64, RenderError> {
        let of_this_task = self.depth == 0;
        let item = self.compiled.item.filter(|_| of_this_task).map(|at| {
            let input = self.inputs.and_then(|inputs| inputs.get(at));
            let value = input.and_then(|input| input.value.as_deref());
            let value = value.ok_or_else(|| missing("seed", "the item is not known"))?;
            json_value(value, "seed")
        });
        Ok(self.frame.seed(self.data.seed, item.transpose()?.as_ref()))
    }

    /// An input; before the run there is none, and the placeholder is kept instead.
    pub(super) fn input(
        &self,
        at: usize,
        label: &str,
        out: &mut Vec<u8>,
    ) -> Result<Option<&Input>, RenderError> {
        let Some(inputs) = self.inputs else {
            out.extend_from_slice(format!("{{{label}}}").as_bytes());
            return Ok(None);
        };
        let input = inputs.get(at).ok_or_else(|| missing(label, "the upstream is not known"))?;
        Ok(Some(input))
    }

    /// The absolute path of an upstream's output.
    fn computed(
        &self,
        related: usize,
        output: usize,
        factor: Option<u32>,
    ) -> Result<Vec<u8>, RenderError> {
        let scope = self.compiled.related.get(related);
        let pieces = scope.and_then(|scope| Some((scope, &scope.outputs.get(output)?.1)));
        let (scope, pieces) = pieces.ok_or_else(|| missing("out", "no such output"))?;
        if self.depth > MAX_DEPTH {
            return Err(missing("out", "paths refer to each other"));
        }
        // The upstream index is computed as for an input.
        let kind = InputKind::Instance;
        let spec = InputSpec { task: self.data.task(), factor, kind };
        let renderer = Renderer {
            data: self.data,
            compiled: self.compiled,
            frame: Frame::new(scope, spec.upstream_index(self.frame.index)),
            attempt: self.attempt,
            inputs: None,
            outputs: Vec::new(),
            depth: self.depth + 1,
        };
        let path = self.data.absolute(&renderer.text(pieces)?)?;
        Ok(path.into_os_string().into_vec())
    }

    /// Where an own input with a name is, and the URL that it is brought from, if it is.
    pub(super) fn named_input(
        &self,
        input: usize,
    ) -> Result<(PathBuf, Option<String>), RenderError> {
        let found = self.compiled.named.get(input);
        let (name, pieces) = found.ok_or_else(|| missing("in", "no such input"))?;
        // Before the run it may not be known.
        let path = self.data.absolute(&self.text(pieces)?)?;
        let Some(url) = url::remote(&path) else { return Ok((path, None)) };
        if let TaskAction::Call(_) = self.data.action {
            let problem = "a function reads a URL itself, by `dagrun::data`".to_owned();
            return Err(RenderError::Url { url: url::redacted(url).into_owned(), problem });
        }
        let named = url::path_part(url.as_bytes()).file_name();
        let file = named.map_or_else(|| OsString::from("content"), ToOwned::to_owned);
        let dir = format!("in-{:016x}", StableHash::of(name.as_bytes()));
        Ok((self.scratch().join(dir).join(file), Some(url.to_owned())))
    }

    /// What is brought from URLs.
    fn fetches(&self) -> Result<Vec<(String, PathBuf)>, RenderError> {
        let mut fetches = Vec::new();
        for at in (0..self.compiled.named.len()).filter(|_| self.inputs.is_some()) {
            if let (path, Some(url)) = self.named_input(at)? {
                fetches.push((url, path));
            }
        }
        Ok(fetches)
    }

    fn own_outputs(&self) -> Result<Vec<OutputFile>, RenderError> {
        let outputs = &self.compiled.own.outputs;
        outputs.iter().map(|(name, pieces)| self.own_output(name, &self.text(pieces)?)).collect()
    }

    /// One output path as rendered, when it follows from the index.
    pub(super) fn output_text(&self, output: usize) -> Result<Vec<u8>, RenderError> {
        let pieces = self.compiled.own.outputs.get(output);
        let (_, pieces) = pieces.ok_or_else(|| missing("out", "no such output"))?;
        self.text(pieces)
    }

    /// The absolute output paths, when they follow from the index.
    pub(super) fn computed_outputs(&self) -> Result<Vec<PathBuf>, RenderError> {
        let outputs = self.compiled.own.outputs.iter();
        outputs.map(|(_, pieces)| self.data.absolute(&self.text(pieces)?)).collect()
    }

    fn own_output(&self, name: &str, path: &[u8]) -> Result<OutputFile, RenderError> {
        let target = self.data.absolute(path)?;
        let is_remote = url::remote(&target).is_some();
        let directory = !is_remote && crate::output::is_directory(&target);
        let target = match directory {
            true => PathBuf::from(os(trimmed(target.as_os_str().as_bytes()).to_vec())),
            false => target,
        };
        let named = match is_remote {
            true => url::path_part(path),
            false => &target,
        };
        // `a/.` has a last component, `a`, which is not what its author means.
        let file_name = named
            .file_name()
            .filter(|name| named.as_os_str().as_bytes().ends_with(name.as_bytes()));
        // `s3://bucket` ends with the bucket.
        let file_name = file_name.filter(|_| !is_remote || named.components().count() > 2);
        let Some(file_name) = file_name.filter(|_| !path.is_empty()) else {
            let path = url::redacted(&String::from_utf8_lossy(path)).into_owned();
            return Err(RenderError::NotAFile { name: name.to_owned(), path });
        };
        let temporary = match is_remote {
            // Keys of different buckets may have the same last component.
            true => self.data.outgoing_dir().join(self.attempt_dir(name)).join(file_name),
            false => target.with_file_name(self.attempt_dir("")).join(file_name),
        };
        let path = PathBuf::from(os(path.to_vec()));
        let at = u32::try_from(self.outputs.len()).unwrap_or(u32::MAX);
        let temp = self.data.temp.contains(&at);
        Ok(OutputFile { name: name.to_owned(), path, target, temporary, directory, temp })
    }

    /// The name of a directory of the attempt's own: hidden, and different from that of any other
    /// attempt of any run in any state directory, as it contains the worker's mark.
    pub(super) fn attempt_dir(&self, of: &str) -> OsString {
        let (run, task, index) = (RunId(self.data.run), self.data.own.id, self.frame.index);
        let instance = InstanceId { task, index };
        let mut name = super::attempt_dir(&self.data.mark, run, instance, self.attempt);
        if !of.is_empty() {
            name.push_str(&format!("-{:016x}", StableHash::of(of.as_bytes())));
        }
        name.into()
    }

    fn env(&self, checkpoint: &Checkpoint) -> Result<Vec<(OsString, OsString)>, RenderError> {
        let data = self.data;
        let mut env = Vec::new();
        if data.action.script().is_some() {
            self.script_env(&mut env)?;
        }
        let mut number = |name: &str, value: u64| env.push((name.into(), value.to_string().into()));
        number("DAGRUN_RUN_ID", data.run);
        number("DAGRUN_INDEX", self.frame.index.into());
        number("DAGRUN_ATTEMPT", self.attempt.into());
        number("DAGRUN_CPUS", data.cpus.max(1).into());
        env.push(("DAGRUN_TASK".into(), self.data.name().into()));
        env.push((CHECKPOINT_DIR.into(), checkpoint.dir.clone().into()));
        for (name, pieces) in &self.compiled.env {
            env.push((name.into(), os(self.text(pieces)?)));
        }
        Ok(env)
    }
}

fn push_value(
    value: Option<&[u8]>,
    fields: &[String],
    label: &str,
    out: &mut Vec<u8>,
) -> Result<(), RenderError> {
    field_of(value, fields, label)?.write_text(out);
    Ok(())
}

/// A field of an upstream's value.
pub(super) fn field_of(
    value: Option<&[u8]>,
    fields: &[String],
    label: &str,
) -> Result<Value, RenderError> {
    let value = value.ok_or_else(|| missing(label, "the upstream captured no value"))?;
    if let (Ok(payload::Kind::Bytes(bytes)), []) = (payload::kind(value), fields) {
        if bytes.contains(&0) {
            let problem = "bytes with a NUL character fit into no word; pass their file by `:file`";
            return Err(missing(label, problem));
        }
        return Ok(Value::String(RawString(bytes.to_vec())));
    }
    let value = json_value(value, label)?;
    let found = value.field_path(fields).ok_or_else(|| missing(label, "no such field"))?;
    Ok(found.into_owned())
}

fn json_value(payload: &[u8], label: &str) -> Result<Value, RenderError> {
    let json = payload::to_json(payload).map_err(|error| missing(label, error.to_string()))?;
    Value::from_json(&json).map_err(|error| missing(label, error.to_string()))
}
