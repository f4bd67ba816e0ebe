//! What a worker needs to run any instance of one task: the task, its space, its run.
//!
//! A recipe is made once for each task of a run, sent once to each worker, and then renders
//! instances from their indices alone, but for what [`Recipe::inputs`] asks the scheduler for.
//!
//! # Key and seed
//!
//! `{key}` is `name=text` for each parameter, inherited ones first, joined with commas. Bytes other
//! than ASCII letters, digits and `._+-` become `_`; when that lost something, or the whole is
//! longer than 100 bytes and is cut there, `~` and 16 hexadecimal digits follow that tell such keys
//! apart. Points whose texts are all the same are told apart by `~` and their index. The key of a
//! task without parameters is its index, `0`, and so it is where the number of instances is known only
//! at run time.
//!
//! `{seed}` is FNV-1a (64 bits), finished with one step of SplitMix64, over: the run's seed in 8
//! bytes, little end first; the task's name; for each parameter, in the order of the names' bytes,
//! its name and its value. Names and values are encoded by
//! [`Value::write_canonical`](crate::value::Value::write_canonical), names as text. So a seed depends on what a number means,
//! not on its spelling (`0.1` and `0.10` agree), and neither on the index nor on the order of the
//! axes; points with the same parameters have the same seed. In a scatter and the maps over one the
//! element or chunk counts as a parameter called `item`; with `targets = "each"` the number of the
//! worker counts as one called `index`.
//!
//! # Items
//!
//! The instances of a scatter, and of the maps over one, get elements of a captured array. With a
//! sweep of *w* points (*w* = 1 without one), instance *i* of the scatter gets part *i / w* and
//! point *i mod w*; an instance of a map gets what its upstream instance got. [`Items`] makes the
//! parts; [`Recipe::inputs`] asks for one with [`InputKind::Item`].

mod build;
mod calling;
mod compile;
mod identity;
mod items;
mod keep;
mod render;
mod shape;
#[cfg(test)]
mod tests;
pub mod values;
mod wants;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::grids::GridError;
use crate::ids::{Micros, TaskId};
use crate::payload::{self, Place, Stored};
use crate::pipeline::{Capture, Pipeline, RunContext};
use crate::space::SpaceError;
use crate::value::{Value, write_json_string};
use build::RecipeData;
pub use calling::{Argument, Calling, Job};
use compile::Compiled;
pub use items::{Items, count_items};
pub use keep::{INLINE, Keep};
use render::Frame;
pub(crate) use shape::PathShape;
pub use wants::Wants;

/// A self-contained description of all instances of a task.
///
/// Sent once per worker; instances then are index ranges.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "RecipeData")]
pub struct Recipe {
    data: RecipeData,
    compiled: Compiled,
}

/// Something that the scheduler passes as an [`Input`] along with an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSpec {
    /// The upstream task; for an item, the task that scatters, which may be the recipe's own.
    pub task: TaskId,
    /// Instance `i` needs instance `i / factor` of it; without a factor, instance 0.
    pub factor: Option<u32>,
    /// What of it.
    #[serde(default)]
    pub kind: InputKind,
}

/// What an [`Input`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// The value and outputs of the instance [`InputSpec::upstream_index`] of the task.
    #[default]
    Instance,
    /// The part [`InputSpec::upstream_index`] of the [`Items`] of the task, which scatters, as the
    /// input's value; no outputs.
    Item,
}

impl InputSpec {
    /// The upstream instance that instance `index` needs, or the part of the items.
    #[must_use]
    pub fn upstream_index(self, index: u32) -> u32 {
        self.factor.map_or(0, |factor| index / factor.max(1))
    }
}

/// A manifest file that must exist before an instance starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestSpec {
    /// The task whose instances it lists, a line each, see [`Recipe::manifest_line`].
    pub upstream: TaskId,
    /// The group of each instance of `upstream`, when each instance of the recipe's task has a
    /// manifest of its own: that of instance `g` lists the instances of group `g` only.
    pub groups: Option<Arc<[u32]>>,
    /// Whether it is a file of values for a function, see [`values`], and not one of JSON lines.
    pub values: bool,
    /// Without the group and the ending.
    stem: PathBuf,
}

impl ManifestSpec {
    /// Where the manifest for instance `index` belongs, absolute; the same for all when there are no
    /// groups.
    #[must_use]
    pub fn path(&self, index: u32) -> PathBuf {
        let group = self.groups.is_some().then_some(index);
        if self.values {
            return calling::values_path(&self.stem, group);
        }
        let mut path = self.stem.clone().into_os_string();
        if let Some(group) = group {
            path.push(format!(".{group}"));
        }
        path.push(".jsonl");
        path.into()
    }

    /// Whether the manifest for instance `index` lists instance `upstream` of the upstream.
    #[must_use]
    pub fn lists(&self, index: u32, upstream: u32) -> bool {
        let groups = self.groups.as_ref();
        groups.is_none_or(|groups| groups.get(upstream as usize) == Some(&index))
    }
}

/// What the scheduler passes along with an instance: one entry for each of [`Recipe::inputs`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// The upstream instance's value, see [`crate::payload`].
    pub value: Option<Vec<u8>>,
    /// The upstream instance's reported output paths; empty when they can be computed.
    pub outputs: Vec<Vec<u8>>,
    /// A file with the value, where that is long: what a command is given in its place. Workers make
    /// it.
    pub file: Option<PathBuf>,
}

/// A process to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Program and arguments, never empty. For a `shell` task `bash -euo pipefail -c SCRIPT`; for a
    /// `call`, which starts no process, the function and its arguments in words for people.
    pub argv: Vec<OsString>,
    /// Whether this is a `shell` task: where bash is missing, `sh -eu -c` and the last element of
    /// `argv` do instead.
    pub shell: bool,
    /// Variables to add to the worker's environment, in order: a later one of the same name wins.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs, absolute.
    pub working_dir: PathBuf,
    /// The file fed to standard input, absolute, or its URL; none is empty input.
    pub stdin: Option<PathBuf>,
    /// The files it creates.
    pub outputs: Vec<OutputFile>,
    /// Whether `outputs` must travel with the report, as they cannot be computed elsewhere.
    pub report_outputs: bool,
    /// What becomes of standard output.
    pub capture: Capture,
    /// Longest run time.
    pub timeout: Option<Micros>,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Micros,
    /// Slots it occupies.
    pub cpus: u32,
}

/// A file that an attempt creates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFile {
    /// Its name, as in `out.NAME`.
    pub name: String,
    /// Where it belongs, as rendered (relative to the pipeline's directory, absolute, or a URL).
    pub path: PathBuf,
    /// Where it belongs, absolute, or its URL: see [`crate::url::remote`].
    pub target: PathBuf,
    /// Where the attempt writes it, absolute, different for each attempt: in the same directory; in the
    /// run's directory when it goes to a URL.
    pub temporary: PathBuf,
}

/// Why a task has no recipe. A pipeline that [`crate::graph::Graph::new`] accepts has all of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// A task that the pipeline does not have, or that depends on itself.
    #[error("no usable task {0}")]
    Task(TaskId),
    /// Something that a recipe refers to is not in it.
    #[error("the recipe lacks {0}")]
    Incomplete(&'static str),
    /// A sweep without points.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// Groups that cannot be made.
    #[error("the instances that task {0} gathers cannot be put into groups")]
    Groups(TaskId),
}

impl From<GridError> for RecipeError {
    fn from(error: GridError) -> RecipeError {
        match error {
            GridError::Task(task) => RecipeError::Task(task),
            GridError::Space(_, error) => RecipeError::Space(error),
            GridError::Groups(task) => RecipeError::Groups(task),
        }
    }
}

/// Why an instance could not be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A placeholder's value has no such field, or is of the wrong type.
    #[error("{{{placeholder}}}: {problem}")]
    Placeholder {
        /// The placeholder, without braces.
        placeholder: String,
        /// What is wrong.
        problem: String,
    },
    /// An output path that does not name a file.
    #[error("out.{name}: `{path}` does not name a file")]
    NotAFile {
        /// The output.
        name: String,
        /// The path.
        path: String,
    },
    /// A URL that cannot be what it is used for, shown without its secrets.
    #[error("{url}: {problem}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// A task without a program.
    #[error("the argument vector is empty")]
    NoProgram,
}

impl Recipe {
    /// The recipe of a task. Takes time and memory for this task and those it maps or mentions.
    ///
    /// # Errors
    /// When the pipeline is not one that [`crate::graph::Graph::new`] would accept.
    pub fn new(
        pipeline: &Pipeline,
        task: TaskId,
        context: &RunContext,
    ) -> Result<Recipe, RecipeError> {
        Recipe::try_from(RecipeData::new(pipeline, task, context)?)
    }

    /// The task.
    #[must_use]
    pub fn task(&self) -> TaskId {
        self.data.own.id
    }

    /// The task's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.data.own.name
    }

    /// For what an [`Input`] must come with each instance, in this order.
    #[must_use]
    pub fn inputs(&self) -> &[InputSpec] {
        &self.data.inputs
    }

    /// The items that the instances of this task have, whether or not they need them: of which task
    /// that scatters, and which part; `None` when it is no scatter and maps over none.
    #[must_use]
    pub fn item(&self) -> Option<InputSpec> {
        self.data.own.item()
    }

    /// The same, with this for long values instead of [`Keep::Report`].
    #[must_use]
    pub fn keeping(mut self, keep: Keep) -> Recipe {
        self.data.keep = keep;
        self
    }

    /// The name of the task that an input is of.
    #[must_use]
    pub fn input_task(&self, input: usize) -> Option<&str> {
        self.data.input_names.get(input).map(|(name, _)| name.as_str())
    }

    /// What becomes of a long value.
    #[must_use]
    pub fn keep(&self) -> Keep {
        self.data.keep
    }

    /// The run's own directory, absolute.
    #[must_use]
    pub fn run_dir(&self) -> &std::path::Path {
        self.data.run_dir()
    }

    /// The manifests that must exist before an instance starts: those that placeholders mention. Ask
    /// a recipe that was made by [`Recipe::new`]: the groups are not sent.
    #[must_use]
    pub fn manifests(&self) -> Vec<ManifestSpec> {
        let spec = |values: bool| {
            move |upstream: &(TaskId, String)| ManifestSpec {
                upstream: upstream.0,
                groups: self.data.groups.clone(),
                values,
                stem: self.data.manifest_stem(&upstream.1),
            }
        };
        let lines = self.data.manifests.iter().map(spec(false));
        lines.chain(self.data.gathered.iter().map(spec(true))).collect()
    }

    /// Whether the output paths of an attempt must travel with its report.
    #[must_use]
    pub fn reports_outputs(&self) -> bool {
        self.data.report_outputs
    }

    /// The parameters of an instance, inherited ones first; what a scatter gives it is not among
    /// them.
    #[must_use]
    pub fn params(&self, index: u32) -> Vec<(String, Value)> {
        let frame = Frame::new(&self.compiled.own, index);
        frame.params().map(|(name, value)| (name.to_owned(), value.into_owned())).collect()
    }

    /// `{key}` of an instance.
    #[must_use]
    pub fn key(&self, index: u32) -> String {
        Frame::new(&self.compiled.own, index).key()
    }

    /// `{seed}` of an instance; `inputs` as for [`Recipe::invocation`], which matter where
    /// [`Recipe::item`] is not `None`.
    ///
    /// # Errors
    /// When the instance's item is missing or no JSON.
    pub fn seed(&self, index: u32, inputs: &[Input]) -> Result<u64, RenderError> {
        self.render_seed(index, inputs)
    }

    /// The process that attempt number `attempt` (from 1) of instance `index` starts; `inputs` as
    /// [`Recipe::inputs`] asks for them.
    ///
    /// # Errors
    /// When a placeholder has no value for this instance, or an output path names no file.
    pub fn invocation(
        &self,
        index: u32,
        attempt: u32,
        inputs: &[Input],
    ) -> Result<Invocation, RenderError> {
        self.render(index, attempt, Some(inputs))
    }

    /// What [`Recipe::invocation`] would give for the first attempt, before the run: placeholders
    /// whose values are not known yet stay as they are, in braces.
    ///
    /// # Errors
    /// When a placeholder has no value for this instance, or an output path names no file.
    pub fn preview(&self, index: u32) -> Result<Invocation, RenderError> {
        self.render(index, 1, None)
    }

    /// The absolute output paths of an instance, or their URLs, when the index alone decides them.
    ///
    /// # Errors
    /// When a placeholder has no value for this instance.
    pub fn output_paths(&self, index: u32) -> Result<Option<Vec<PathBuf>>, RenderError> {
        if self.data.report_outputs {
            return Ok(None);
        }
        self.computed_outputs(index).map(Some)
    }

    /// The absolute output paths of an instance that ran in the very run that the recipe is of, when
    /// its index and the run decide them; `None` when they must be looked up. Unlike
    /// [`Recipe::output_paths`] it does not hold for instances that were taken over.
    #[must_use]
    pub fn own_output_paths(&self, index: u32) -> Option<Vec<PathBuf>> {
        use crate::template::Placeholder as P;
        let outputs = self.data.own.outputs.iter();
        let decided = outputs.flat_map(|(_, path)| path.placeholders()).all(|placeholder| {
            !matches!(
                placeholder,
                P::UpstreamValue(..)
                    | P::UpstreamOut(..)
                    | P::Item(_)
                    | P::Attempt
                    | P::Out(_)
                    | P::Seed
            )
        });
        if decided { self.computed_outputs(index).ok() } else { None }
    }

    /// A line of a manifest that lists this task's instances, with its newline:
    /// `{"index":7,"params":{…},"state":"succeeded","value":…,"out":{"price":"…"}}`.
    ///
    /// `state` is the word of a state. `value` is a payload and becomes JSON, null when there is
    /// none or it is elsewhere; a file is named as `"value-file"` then. `outputs` are the reported paths, empty when they can be computed. Paths are written
    /// absolute, so that they can be opened from anywhere; an instance that did not succeed has no
    /// files, and `out` is empty.
    #[must_use]
    pub fn manifest_line(
        &self,
        index: u32,
        state: &str,
        value: Option<&[u8]>,
        outputs: &[Vec<u8>],
    ) -> Vec<u8> {
        self.manifest_line_of_item(index, None, state, value, outputs)
    }

    /// The same for an instance with an item, a JSON document, which becomes `"item"` among the
    /// parameters.
    #[must_use]
    pub fn manifest_line_of_item(
        &self,
        index: u32,
        item: Option<&[u8]>,
        state: &str,
        value: Option<&[u8]>,
        outputs: &[Vec<u8>],
    ) -> Vec<u8> {
        let mut line = format!("{{\"index\":{index},\"params\":").into_bytes();
        let mut params = self.params(index);
        let item = item.and_then(|item| Value::from_json(item).ok());
        params.extend(item.map(|item| ("item".to_owned(), item)));
        Value::Table(params).write_json(&mut line);
        line.extend_from_slice(b",\"state\":");
        write_json_string(state.as_bytes(), &mut line);
        line.extend_from_slice(b",\"value\":");
        match value.map(|value| (payload::to_json(value), payload::stored(value))) {
            Some((Ok(json), _)) => push_on_one_line(&json, &mut line),
            Some((_, Some(Stored { place: Place::File(path), .. }))) => {
                line.extend_from_slice(b"null,\"value-file\":");
                write_json_string(path.as_os_str().as_encoded_bytes(), &mut line);
            }
            _ => line.extend_from_slice(b"null"),
        }
        line.extend_from_slice(b",\"out\":{");
        if state == crate::status::State::Succeeded.word() {
            self.push_outputs(index, outputs, &mut line);
        }
        line.extend_from_slice(b"}}\n");
        line
    }
}

/// Appends a JSON document without its line breaks, which JSON has only between tokens.
fn push_on_one_line(value: &[u8], out: &mut Vec<u8>) {
    if value.contains(&b'\n') || value.contains(&b'\r') {
        out.extend(value.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    } else {
        out.extend_from_slice(value);
    }
}

impl Serialize for Recipe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.data.serialize(serializer)
    }
}

impl TryFrom<RecipeData> for Recipe {
    type Error = RecipeError;

    fn try_from(data: RecipeData) -> Result<Recipe, RecipeError> {
        let compiled = Compiled::new(&data)?;
        Ok(Recipe { data, compiled })
    }
}
