//! `dagrun graph`: pictures of pipelines.

use crate::args::GraphArgs;
use crate::exit::{Exit, Failure};
use crate::file;

/// Draws a pipeline.
pub(crate) fn graph(args: &GraphArgs) -> Result<Exit, Failure> {
    let _ = file::select(file::load(&args.pipeline)?, &args.only)?;
    Ok(Exit::Success)
}
