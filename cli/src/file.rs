//! Pipeline files, for the commands that take one: load, complain, give back.

use dagrun::{LoadError, Loaded};
use dagrun_core::one_line;

use crate::args::PipelineArgs;
use crate::diagnostics;
use crate::exit::{Exit, Failure};
use crate::terminal::Terminal;

/// The pipeline, or the failure that remains when all its problems have been printed.
pub(crate) fn load(args: &PipelineArgs) -> Result<Loaded, Failure> {
    dagrun::load(&args.file, &args.set).map_err(|error| match error {
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
