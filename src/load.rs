//! Pipelines from files: read, parsed and checked, with the directory that they belong to.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use dagrun_core::graph::{self, Graph};
use dagrun_core::hash::fnv1a;
use dagrun_core::parse::{self, Diagnostic, Params, ParseOptions, Parsed};
use dagrun_core::pipeline::{Pipeline, TaskAction};
use dagrun_worker::function::{Ambiguous, ambiguous};

use crate::files::Disk;
use crate::rpc::{ClientError, PipelineFile, Submission};

/// Why a file is no pipeline.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not UTF-8.
    #[error("{} is not UTF-8 text", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// Where it is not.
        #[source]
        source: std::str::Utf8Error,
    },
    /// The pipeline has problems.
    #[error(transparent)]
    Invalid(Problems),
}

/// All problems of a pipeline file, or what it warns of.
#[derive(Clone, Debug)]
pub struct Problems {
    /// The file.
    pub path: PathBuf,
    /// Its text, which the places of the problems refer to.
    pub source: String,
    /// The problems, in the order of the text.
    pub list: Vec<Diagnostic>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.list.iter().enumerate() {
            let separator = if position == 0 { "" } else { "\n" };
            write!(f, "{separator}{}:{problem}", self.path.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A pipeline from a file.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Its graph.
    pub graph: Graph,
    /// The directory of its file, absolute.
    pub base_dir: PathBuf,
    /// What is allowed in the file and hardly meant.
    pub warnings: Problems,
    /// The file, and what was given with it; nothing for a text that is in none.
    pub file: Option<PipelineFile>,
}

/// What is given besides a pipeline file.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LoadOptions {
    /// A file with values of variables, JSON if its name ends so, else TOML (`--params`).
    pub params: Option<PathBuf>,
    /// Values of variables, also of those in `params` (`--set`).
    pub set: Vec<(String, String)>,
}

impl LoadOptions {
    /// Nothing.
    #[must_use]
    pub fn new() -> LoadOptions {
        LoadOptions::default()
    }

    /// Takes variables from a file.
    #[must_use]
    pub fn params(mut self, file: impl Into<PathBuf>) -> LoadOptions {
        self.params = Some(file.into());
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> LoadOptions {
        self.set.push((name.into(), value.into()));
        self
    }
}

impl Loaded {
    /// A submission of it, with seed 0.
    ///
    /// # Errors
    /// When the pipeline cannot be written as JSON.
    pub fn submission(&self) -> Result<Submission, ClientError> {
        let submission = Submission::new(&self.pipeline, &self.base_dir)?;
        match &self.file {
            Some(file) => Ok(submission.of_file(&self.pipeline, file)?),
            None => Ok(submission),
        }
    }

    /// The named tasks and everything that they need; `Err` is the first name that is no task's.
    ///
    /// # Errors
    /// When there is no task of one of the names.
    pub fn only(self, tasks: &[String]) -> Result<Loaded, UnknownTask> {
        let mut ids = Vec::new();
        for name in tasks {
            let position = (0..).zip(&self.pipeline.tasks).find(|(_, task)| task.name == *name);
            let (position, _) = position.ok_or_else(|| UnknownTask { task: name.clone() })?;
            ids.push(dagrun_core::ids::TaskId(position));
        }
        let pipeline = graph::only(&self.pipeline, &ids);
        let graph = Graph::new(&pipeline).unwrap_or_else(|_| self.graph.clone());
        // The file has more than that.
        Ok(Loaded { pipeline, graph, file: None, ..self })
    }
}

/// A task that the pipeline does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pipeline has no task `{task}`")]
pub struct UnknownTask {
    /// Its name.
    pub task: String,
}

/// Reads and checks a pipeline file; `set` overrides variables, as `--set` does.
///
/// # Errors
/// When the file cannot be read, or with all of its problems.
pub fn load(path: &Path, set: &[(String, String)]) -> Result<Loaded, LoadError> {
    load_with(path, &LoadOptions { set: set.to_vec(), ..LoadOptions::default() })
}

/// Reads and checks a pipeline file.
///
/// # Errors
/// When a file cannot be read, or with all problems of the pipeline.
pub fn load_with(path: &Path, options: &LoadOptions) -> Result<Loaded, LoadError> {
    let absolute = std::path::absolute(path)
        .map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    let base_dir = absolute.parent().unwrap_or(&absolute);
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let source = read(path)?;
    let given = options.params.as_deref().map(std::path::absolute).transpose();
    let file = PipelineFile {
        path: absolute.clone(),
        hash: fnv1a(source.as_bytes()),
        params: given.map_err(|source| LoadError::Read { path: path.to_owned(), source })?,
        set: options.set.clone(),
        env: Vec::new(),
    };
    let text = Text { path, stem: &stem.unwrap_or_default(), source };
    Ok(Loaded { file: Some(file), ..text.load(base_dir, options)? })
}

/// Checks the text of a pipeline that is in no file; its paths are relative to `base_dir`.
///
/// # Errors
/// When a file cannot be read, or with all problems of the pipeline.
pub fn load_text(
    source: String,
    base_dir: &Path,
    options: &LoadOptions,
) -> Result<Loaded, LoadError> {
    let base_dir = std::path::absolute(base_dir)
        .map_err(|source| LoadError::Read { path: base_dir.to_owned(), source })?;
    Text { path: Path::new("<stdin>"), stem: "stdin", source }.load(&base_dir, options)
}

fn read(path: &Path) -> Result<String, LoadError> {
    let bytes =
        std::fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    String::from_utf8(bytes)
        .map_err(|error| LoadError::Text { path: path.to_owned(), source: error.utf8_error() })
}

/// A pipeline as it was read.
struct Text<'t> {
    /// For messages.
    path: &'t Path,
    stem: &'t str,
    source: String,
}

impl Text<'_> {
    fn load(self, base_dir: &Path, given: &LoadOptions) -> Result<Loaded, LoadError> {
        let Text { path, stem, source } = self;
        // Before anything looks at places in the text.
        let source = if source.contains("\r\n") { source.replace("\r\n", "\n") } else { source };
        let params = given.params.as_deref();
        let params = params.map(|path| Ok((path.to_string_lossy(), read(path)?))).transpose()?;
        let params = params.as_ref().map(|(path, text)| Params { path, text });
        let options = ParseOptions { file_stem: stem, params, set: &given.set };
        let problems = |source, list| Problems { path: path.to_owned(), source, list };
        match parse::parse(&source, &options, &Disk::new(base_dir)) {
            Err(list) => Err(LoadError::Invalid(problems(source, list))),
            Ok(Parsed { pipeline, graph, warnings }) => {
                let ambiguous = ambiguous_in(&pipeline);
                let list: Vec<_> =
                    ambiguous.map(|ambiguous| located(&ambiguous, &source)).collect();
                if !list.is_empty() {
                    return Err(LoadError::Invalid(problems(source, list)));
                }
                let warnings = problems(source, warnings);
                let base_dir = base_dir.to_owned();
                Ok(Loaded { pipeline, graph, base_dir, warnings, file: None })
            }
        }
    }
}

/// The calls of a pipeline from a file that could mean several functions of this program.
pub(crate) fn ambiguous_in(pipeline: &Pipeline) -> impl Iterator<Item = Ambiguous> {
    let called = |name: &str| {
        pipeline
            .tasks
            .iter()
            .any(|task| matches!(&task.action, TaskAction::Call(call) if call.function == name))
    };
    ambiguous().filter(move |ambiguous| called(&ambiguous.name))
}

/// A call of one of several functions of a name, at the first `call` that has the name.
fn located(ambiguous: &Ambiguous, source: &str) -> Diagnostic {
    let (mut start, mut line, mut column) = (None, 1, 1);
    let mut before = 0;
    for (number, text) in (1u32..).zip(source.split_inclusive('\n')) {
        let after =
            text.find("call").and_then(|at| text.get(at..)?.find(&ambiguous.name).map(|n| at + n));
        if let Some(at) = after {
            let characters = text.get(..at).unwrap_or_default().chars().count();
            (start, line) = (Some(before + at), number);
            column = u32::try_from(characters + 1).unwrap_or(1);
            break;
        }
        before += text.len();
    }
    Diagnostic {
        message: ambiguous.to_string(),
        span: start.map(|start| start..start + ambiguous.name.len()),
        label: None,
        help: None,
        line,
        column,
    }
}
