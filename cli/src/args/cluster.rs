//! The words of the commands about clusters.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use dagrun_core::engine::Scheme;
use dagrun_core::ids::Micros;

use crate::complete;
use crate::offer::OfferArgs;

/// Which cluster.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterName {
    /// The name of the cluster
    #[arg(long, value_name = "NAME", env = "DAGRUN_CLUSTER", add = ArgValueCandidates::new(complete::clusters), default_value = "default")]
    cluster: String,
}

impl ClusterName {
    /// The name, `default` where the environment variable is empty.
    pub(crate) fn name(&self) -> &str {
        if self.cluster.is_empty() { "default" } else { &self.cluster }
    }
}

/// `dagrun cluster stop`.
#[derive(Debug, Args)]
pub(crate) struct ClusterStopArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterName,
    /// Also when runs are running, which are interrupted
    #[arg(long)]
    pub(crate) force: bool,
}

/// `dagrun scheduler`.
#[derive(Debug, Args)]
pub(crate) struct SchedulerArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterName,
    /// The address to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// The state directory [default: in the folder of the cluster]
    #[arg(long, value_name = "DIR", env = "DAGRUN_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Which of the workers with free slots gets an attempt
    #[arg(long, value_name = "SCHEME", default_value = Scheme::default().word(), value_parser = scheme())]
    pub(crate) scheme: Scheme,
    /// For how long the attempts of a worker that is not heard from are its own
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = super::age)]
    pub(crate) lease: Micros,
    /// Leave the session of the terminal
    #[arg(long, hide = true)]
    pub(crate) new_session: bool,
}

/// `dagrun worker`.
#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterName,
    /// Its name, unique within the cluster [default: the scheduler picks one]
    #[arg(long, value_name = "N", default_value = "")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) offer: OfferArgs,
    /// How long what runs may go on when the worker is to end
    #[arg(long, value_name = "DUR", default_value = "20s", value_parser = super::age)]
    pub(crate) drain: Micros,
    /// End when no scheduler is found for so long while nothing runs [default: never]
    #[arg(long, value_name = "DUR", value_parser = super::age)]
    pub(crate) wait: Option<Micros>,
    /// Leave the session of the terminal
    #[arg(long, hide = true)]
    pub(crate) new_session: bool,
}

/// `dagrun cluster …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Start a scheduler and workers; returns when all have joined
    Start(ClusterStartArgs),
    /// End the scheduler and all its workers
    Stop(ClusterStopArgs),
    /// Show the scheduler and its workers
    Status(ClusterStatusArgs),
}

/// `dagrun cluster start`.
#[derive(Debug, Args)]
pub(crate) struct ClusterStartArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterName,
    /// How many workers; they share the cores and the memory of the machine
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1)]
    pub(crate) workers: u32,
    /// Which of the workers with free slots gets an attempt
    #[arg(long, value_name = "SCHEME", default_value = Scheme::default().word(), value_parser = scheme())]
    pub(crate) scheme: Scheme,
    /// For how long the attempts of a worker that is not heard from are its own
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = super::age)]
    pub(crate) lease: Micros,
    #[command(flatten, next_help_heading = "Each worker")]
    pub(crate) offer: OfferArgs,
    /// How long what runs may go on when the worker is to end
    #[arg(long, value_name = "DUR", default_value = "20s", value_parser = super::age)]
    pub(crate) drain: Micros,
    /// End when no scheduler is found for so long while nothing runs
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = super::age)]
    pub(crate) wait: Micros,
}

/// `dagrun cluster status`.
#[derive(Debug, Args)]
pub(crate) struct ClusterStatusArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterName,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `dagrun workers`.
#[derive(Debug, Args)]
pub(crate) struct WorkersArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterName,
    /// Print one JSON line per worker
    #[arg(long)]
    pub(crate) json: bool,
}

/// `dagrun exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// The cluster
    #[arg(long, value_name = "NAME", env = "DAGRUN_CLUSTER", add = ArgValueCandidates::new(complete::clusters))]
    cluster: Option<String>,
    /// Only on this worker, by name (repeatable) [default: all]
    #[arg(long = "worker", value_name = "W", add = ArgValueCandidates::new(complete::workers))]
    pub(crate) workers: Vec<String>,
    /// Print one JSON line per worker
    #[arg(long)]
    pub(crate) json: bool,
    /// The program and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
}

impl ExecArgs {
    /// The cluster, unless it is empty, as an emptied environment variable is.
    pub(crate) fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref().filter(|name| !name.is_empty())
    }
}

/// Reads a placement scheme.
pub(crate) fn scheme() -> impl TypedValueParser<Value = Scheme> {
    let words = PossibleValuesParser::new(Scheme::ALL.map(Scheme::word));
    words.map(|word| Scheme::from_word(&word).unwrap_or_default())
}
