//! `dagrun graph`: pictures of pipelines.

use dagrun_core::draw;

use crate::args::{GraphArgs, GraphFormat};
use crate::exit::{Exit, Failure};
use crate::file;
use crate::terminal::Output;

/// Draws a pipeline.
pub(crate) fn graph(args: &GraphArgs) -> Result<Exit, Failure> {
    let loaded = file::select(file::load(&args.pipeline)?, &args.only)?;
    let picture = match args.format {
        GraphFormat::Dot => draw::to_dot(&loaded.pipeline, &loaded.graph, args.instances),
        GraphFormat::Mermaid => draw::to_mermaid(&loaded.pipeline, &loaded.graph, args.instances),
        GraphFormat::Svg => draw::to_svg(&loaded.pipeline, &loaded.graph, args.instances),
    };
    Output::lock().line(picture.trim_end());
    Ok(Exit::Success)
}
