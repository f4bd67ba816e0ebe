//! The data of a recipe, the inputs that it requests, and their values.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Keep;
use crate::grids::GridError;
use crate::ids::{Micros, TaskId};
use crate::layout;
use crate::pipeline::{Capture, TaskAction};
use crate::space::{Grid, SpaceError};
use crate::template::Template;
use crate::url::{self, Location};
use crate::value::{RawString, Value};

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A recipe as it is sent: plain data with unresolved names. [`super::Recipe`] renders it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecipeData {
    pub(super) own: Scope,
    pub(super) action: TaskAction,
    #[serde(default)]
    pub(super) wrap: Vec<Template>,
    pub(super) capture: Capture,
    pub(super) stdin: Option<Template>,
    /// Files that must be there when an attempt starts.
    #[serde(default)]
    pub(super) reads: Vec<Template>,
    /// Inputs that have a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) named: Vec<(String, Template)>,
    pub(super) env: Vec<(String, Template)>,
    pub(super) working_dir: Option<Template>,
    pub(super) timeout: Option<Micros>,
    pub(super) grace: Micros,
    pub(super) cpus: u32,
    pub(super) run: u64,
    pub(super) seed: u64,
    // Not `PathBuf`: JSON cannot hold paths that are not UTF-8.
    pub(super) run_dir: RawString,
    pub(super) base_dir: RawString,
    /// The constants that placeholders mention; all of them for `shell`.
    pub(super) vars: Vec<(String, Value)>,
    /// The grids of all scopes, by task.
    pub(super) grids: Vec<(TaskId, Grid)>,
    /// The other tasks whose output paths are computed here.
    pub(super) related: Vec<Scope>,
    pub(super) inputs: Vec<InputSpec>,
    /// For each of `inputs` the names of the task and of its outputs, for messages.
    pub(super) input_names: Vec<(String, Vec<String>)>,
    /// The tasks whose manifests are mentioned, with their names.
    pub(super) manifests: Vec<(TaskId, String)>,
    /// The tasks of whose instances all values are arguments, with their names.
    #[serde(default)]
    pub(super) gathered: Vec<(TaskId, String)>,
    /// How a long value is kept.
    #[serde(default)]
    pub(super) keep: Keep,
    /// Whether each instance has manifests of its own.
    #[serde(default)]
    pub(super) grouped: bool,
    /// The group of each gathered instance; only for those who write the manifests.
    #[serde(skip)]
    pub(super) groups: Option<Arc<[u32]>>,
    pub(super) report_outputs: bool,
    /// The outputs that are removed when nobody needs them any more, by position.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) temp: Vec<u32>,
    /// Whether the directory that outlives attempts is there for the first one already.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) checkpoint: bool,
    /// The mark of the worker that makes the attempts, see [`super::Recipe::marked`].
    #[serde(skip)]
    pub(super) mark: String,
}

/// The parameters and output paths of a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Scope {
    pub(super) id: TaskId,
    pub(super) name: String,
    /// The tasks from which it gets parameters, the outermost first, itself last, each with the
    /// number of instances of this task for each of theirs.
    pub(super) chain: Vec<(TaskId, u32)>,
    #[serde(default)]
    pub(super) root: Root,
    pub(super) outputs: Vec<(String, Template)>,
}

/// What decides the number of instances of the outermost task of a scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Root {
    /// Its parameters, or nothing.
    #[default]
    Grid,
    /// Items, with this many instances of the scope's task for each part.
    Items(u32),
    /// Workers, with this many instances of the scope's task for each.
    Workers(u32),
}

/// Something that the scheduler passes as an [`Input`] along with an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSpec {
    /// The upstream task; for an item, the task that scatters, which may be the recipe's own.
    pub task: TaskId,
    /// Instance `i` needs instance `i / factor` of it; without a factor, instance 0.
    pub factor: Option<u32>,
    /// What it is.
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
    /// The part [`InputSpec::upstream_index`] of the [`super::Items`] of the task, which scatters,
    /// as the input's value; no outputs.
    Item,
}

/// A manifest file that must exist before an instance starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestSpec {
    /// The task whose instances it lists, a line each, see [`super::Recipe::manifest_line`].
    pub upstream: TaskId,
    /// The group of each instance of `upstream`, when each instance of the recipe's task has a
    /// manifest of its own: that of instance `g` lists the instances of group `g` only.
    pub groups: Option<Arc<[u32]>>,
    /// Whether it is a file of values for a function, see [`super::values`], and not one of JSON
    /// lines.
    pub values: bool,
    /// Without the group and the ending.
    pub(super) stem: PathBuf,
}

/// What the scheduler passes along with an instance: one entry for each of [`RecipeData::inputs`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// The upstream instance's value, see [`crate::payload`].
    pub value: Option<Vec<u8>>,
    /// The upstream instance's reported output paths; empty when they can be computed.
    pub outputs: Vec<Vec<u8>>,
    /// A file with the value as JSON (bytes as they are), where one is wanted, see
    /// [`super::Wants::file`]. Workers create it.
    pub file: Option<PathBuf>,
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

/// Why an instance could not be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A placeholder's value has no such field, or has the wrong type.
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
    /// A text that is longer than a process can be given as one word.
    #[error("{what} has {bytes} bytes, and a process can be given {most} in one word; {help}")]
    TooLong {
        /// What it is: a placeholder in braces, or a variable.
        what: String,
        /// Its length.
        bytes: usize,
        /// The longest that can be.
        most: usize,
        /// What to do instead.
        help: String,
    },
    /// A task without a program.
    #[error("the argument vector is empty")]
    NoProgram,
}

impl RecipeData {
    /// The task.
    #[must_use]
    pub fn task(&self) -> TaskId {
        self.own.id
    }

    /// The task's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.own.name
    }

    /// The specifications of the [`Input`]s that each instance needs, in this order.
    #[must_use]
    pub fn inputs(&self) -> &[InputSpec] {
        &self.inputs
    }

    /// The items that the instances of this task have, whether or not they need them: of which task
    /// that scatters, and which part; `None` when it is no scatter and maps over none.
    #[must_use]
    pub fn item(&self) -> Option<InputSpec> {
        self.own.item()
    }

    /// The same, with this policy for long values instead of [`Keep::Report`].
    #[must_use]
    pub fn keeping(mut self, keep: Keep) -> RecipeData {
        self.keep = keep;
        self
    }

    /// The name of the task that an input belongs to.
    #[must_use]
    pub fn input_task(&self, input: usize) -> Option<&str> {
        self.input_names.get(input).map(|(name, _)| name.as_str())
    }

    /// How a long value is kept.
    #[must_use]
    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// The manifests that must exist before an instance starts: those that placeholders mention.
    /// Valid only on a recipe made by [`RecipeData::new`]: the groups are not sent.
    #[must_use]
    pub fn manifests(&self) -> Vec<ManifestSpec> {
        let spec = |values: bool| {
            move |upstream: &(TaskId, String)| ManifestSpec {
                upstream: upstream.0,
                groups: self.groups.clone(),
                values,
                stem: self.manifest_stem(&upstream.1),
            }
        };
        let lines = self.manifests.iter().map(spec(false));
        lines.chain(self.gathered.iter().map(spec(true))).collect()
    }

    /// Whether the output paths of an attempt must be sent with its report.
    #[must_use]
    pub fn reports_outputs(&self) -> bool {
        self.report_outputs
    }

    /// Whether its attempts are processes, not calls of functions.
    #[must_use]
    pub fn starts_processes(&self) -> bool {
        !matches!(self.action, TaskAction::Call(_))
    }

    /// The run's own directory, absolute.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        Path::new(std::ffi::OsStr::from_bytes(&self.run_dir.0))
    }

    /// The pipeline file's directory.
    pub(super) fn base_dir(&self) -> &Path {
        Path::new(std::ffi::OsStr::from_bytes(&self.base_dir.0))
    }

    /// A path as rendered, made absolute; a remote URL is unchanged.
    pub(super) fn absolute(&self, rendered: &[u8]) -> Result<PathBuf, RenderError> {
        match Location::of(rendered) {
            Ok(Location::Path(path)) => {
                Ok(self.base_dir().join(OsString::from_vec(path.into_owned())))
            }
            Ok(Location::Remote(url)) => Ok(PathBuf::from(url)),
            Err(error) => {
                let url = String::from_utf8_lossy(rendered);
                let url = url::redacted(&url).into_owned();
                Err(RenderError::Url { url, problem: error.to_string() })
            }
        }
    }

    /// The directory for outputs that will be uploaded to a URL.
    pub(super) fn outgoing_dir(&self) -> PathBuf {
        layout::outgoing(self.run_dir())
    }

    /// The path of the manifests of an upstream, without group and extension.
    pub(super) fn manifest_stem(&self, upstream: &str) -> PathBuf {
        let file = format!("{}.{upstream}", self.own.name);
        layout::manifests(self.run_dir()).join(file)
    }
}

impl Scope {
    /// The items that its instances have.
    pub(super) fn item(&self) -> Option<InputSpec> {
        match (self.root, self.chain.first()) {
            (Root::Items(factor), Some(&(task, _))) => {
                Some(InputSpec { task, factor: Some(factor), kind: InputKind::Item })
            }
            _ => None,
        }
    }

    /// How many instances of this task there are for each one of `upstream`, when this task maps
    /// it, directly or through others.
    pub(super) fn factor(&self, upstream: TaskId) -> Option<u32> {
        let mapped = self.chain.iter().rev().skip(1).find(|link| link.0 == upstream);
        mapped.map(|link| link.1)
    }
}

impl InputSpec {
    /// The upstream instance that instance `index` needs, or the part of the items.
    #[must_use]
    pub fn upstream_index(self, index: u32) -> u32 {
        self.factor.map_or(0, |factor| index / factor.max(1))
    }
}

impl ManifestSpec {
    /// The absolute path of the manifest for instance `index`; the same for all if there are no
    /// groups.
    #[must_use]
    pub fn path(&self, index: u32) -> PathBuf {
        let group = self.groups.is_some().then_some(index);
        if self.values {
            return values_path(&self.stem, group);
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

/// The file of gathered values, for one group if it is that of a group.
pub(super) fn values_path(stem: &std::path::Path, group: Option<u32>) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    if let Some(group) = group {
        path.push(format!(".{group}"));
    }
    path.push(".values");
    path.into()
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
