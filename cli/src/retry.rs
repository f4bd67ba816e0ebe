//! `dagrun retry`: a run that has ended, submitted once more.

use dagrun_core::status::RunState;

use crate::args::RetryArgs;
use crate::exit::{Exit, Failure};
use crate::launch::{self, Work};
use crate::source::{Source, read_pipeline};

/// Submits a run once more, all of it or what has not succeeded.
pub(crate) async fn retry(args: &RetryArgs) -> Result<Exit, Failure> {
    launch::check(&args.how, args.place.cluster())?;
    let source = Source::open_live(&args.place).await?;
    let run = source.run(args.run).await?;
    if run.status().await?.state == RunState::Running {
        let (id, option) = (run.id(), run.option());
        return Err(Failure::usage(format!("run {id} has not ended")).help(format!(
            "`dagrun wait {id}{option}` waits for its end, `dagrun cancel {id}{option}` ends it"
        )));
    }
    let pipeline = read_pipeline(&run.submission().await?)?;
    let work = Work::Retry { of: run.id(), failed_only: args.failed, pipeline };
    drop(run);
    match source {
        Source::Cluster { name, .. } => launch::to_cluster(&args.how, &work, &name, None).await,
        Source::Disk { state_dir, .. } => launch::embedded(&args.how, &work, state_dir, None).await,
    }
}
