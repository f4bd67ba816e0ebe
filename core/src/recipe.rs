//! What a worker needs to run any instance of one task: the task, its space, its run.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::{Micros, TaskId};
use crate::pipeline::{Capture, Pipeline, RunContext};
use crate::value::Value;

/// A self-contained description of all instances of a task.
///
/// Sent once per worker; instances then are index ranges.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recipe {}

/// An upstream for which the scheduler passes an [`Input`] along with an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputSpec {
    /// The upstream task.
    pub task: TaskId,
    /// Instance `i` needs instance `i / factor` of it; without a factor, instance 0.
    pub factor: Option<u32>,
}

impl InputSpec {
    /// The upstream instance that instance `index` needs.
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
    /// Where it belongs, absolute.
    pub path: PathBuf,
}

/// What the scheduler passes along with an instance: one entry for each of [`Recipe::inputs`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// The upstream instance's captured value: a JSON document.
    pub value: Option<Vec<u8>>,
    /// The upstream instance's reported output paths; empty when they can be computed.
    pub outputs: Vec<Vec<u8>>,
}

/// A process to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Program and arguments, never empty. For a `shell` task `bash -euo pipefail -c SCRIPT`.
    pub argv: Vec<OsString>,
    /// Whether this is a `shell` task: where bash is missing, `sh -eu -c` and the last element of
    /// `argv` do instead.
    pub shell: bool,
    /// Variables to add to the worker's environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs, absolute.
    pub working_dir: PathBuf,
    /// The file fed to standard input, absolute; none is empty input.
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
    /// Where it belongs, as rendered (relative to the pipeline's directory, or absolute).
    pub path: PathBuf,
    /// Where it belongs, absolute.
    pub target: PathBuf,
    /// Where the attempt writes it, absolute, in the same directory.
    pub temporary: PathBuf,
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
}

impl Recipe {
    /// The recipe of a task.
    #[must_use]
    pub fn new(_pipeline: &Pipeline, _task: TaskId, _context: &RunContext) -> Recipe {
        todo!()
    }

    /// The parameters of an instance, inherited ones first.
    #[must_use]
    pub fn params(&self, _index: u32) -> Vec<(String, Value)> {
        todo!()
    }

    /// The process that attempt number `attempt` (from 1) of instance `index` starts.
    ///
    /// # Errors
    /// When a placeholder has no value for this instance.
    pub fn invocation(
        &self,
        _index: u32,
        _attempt: u32,
        _inputs: &[Input],
    ) -> Result<Invocation, RenderError> {
        todo!()
    }
}
