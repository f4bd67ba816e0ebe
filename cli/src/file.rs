//! Pipeline files, for the commands that take one: load, complain, give back.

use std::io::Read;
use std::path::{Path, PathBuf};

use dagrun::{LoadError, LoadOptions, Loaded};
use dagrun_core::one_line;

use crate::args::PipelineArgs;
use crate::diagnostics;
use crate::exit::{Exit, Failure};
use crate::terminal::Terminal;

/// The pipeline as it is read, from standard input if the file is `-`.
pub(crate) fn read(args: &PipelineArgs) -> Result<Loaded, LoadError> {
    let mut options = LoadOptions::new();
    options.params.clone_from(&args.params);
    options.set.clone_from(&args.set);
    if args.file.as_os_str() != "-" {
        return dagrun::load_with(&args.file, &options);
    }
    let path = || PathBuf::from("<stdin>");
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut bytes);
    read.map_err(|source| LoadError::Read { path: path(), source })?;
    let text = String::from_utf8(bytes)
        .map_err(|error| LoadError::Text { path: path(), source: error.utf8_error() })?;
    dagrun::load_text(text, Path::new("."), &options)
}

/// The pipeline, or the failure that remains when all its problems have been printed.
pub(crate) fn load(args: &PipelineArgs) -> Result<Loaded, Failure> {
    read(args).map_err(|error| match error {
        LoadError::Invalid(problems) => {
            diagnostics::report(&problems, Terminal::stderr());
            Failure::reported(Exit::Invalid)
        }
        other => Failure::new(Exit::Invalid, one_line(&other)),
    })
}

/// The part of the pipeline that the tasks called `only` need; all of it when there are none.
pub(crate) fn select(loaded: Loaded, only: &[String]) -> Result<Loaded, Failure> {
    if only.is_empty() {
        return Ok(loaded);
    }
    loaded.only(only).map_err(|error| Failure::usage(error.to_string()))
}
