//! `dagrun submit`: a pipeline, run to its end in this process or handed to a cluster.

use dagrun::rpc::Submission;

use crate::args::SubmitArgs;
use crate::diagnostics;
use crate::dry_run;
use crate::exit::{Exit, Failure};
use crate::file;
use crate::launch::{self, Work};
use crate::terminal::Terminal;

/// Runs a pipeline.
pub(crate) async fn submit(args: &SubmitArgs) -> Result<Exit, Failure> {
    let cluster = args.place.cluster();
    launch::check(&args.how, cluster)?;
    let loaded = file::select(file::load(&args.pipeline)?, &args.only)?;
    if !args.how.quiet {
        diagnostics::warn(&loaded.warnings, Terminal::stderr());
    }
    if args.dry_run {
        return dry_run::print(&loaded, args.seed);
    }
    let (seed, fail_fast, max_fail) = (args.seed, args.fail_fast, args.max_fail);
    let submission = Submission { seed, fail_fast, max_fail, ..loaded.submission()? };
    let work = Work::New { submission, pipeline: loaded.pipeline.clone() };
    let state_dir = || match args.place.state_dir() {
        Some(dir) => dir.clone(),
        None => loaded.base_dir.join(".dagrun"),
    };
    match cluster {
        Some(name) => launch::to_cluster(&args.how, &work, name, None).await,
        None => launch::embedded(&args.how, &work, state_dir(), None).await,
    }
}
