//! dagrun, a dataflow DAG task engine: pipelines of processes with parameter sweeps, `map` and
//! `gather`, run in this process or on a cluster.
//!
//! [`load()`] reads a pipeline file, [`Embedded::start`] is a scheduler and a worker in this
//! process, [`rpc::Client`] speaks to a scheduler, embedded or not.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let loaded = dagrun::load("pipeline.toml".as_ref(), &[])?;
//! let cluster = dagrun::Embedded::start(dagrun::EmbeddedConfig::new(".dagrun"))?;
//! let client = cluster.client().await?;
//! let run = client.submit(&loaded.submission()).await?;
//! let mut updates = run.watch().await?;
//! while let Some(update) = updates.next().await {
//!     println!("{:?}", update.state);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! All of it must be called on a [`tokio::task::LocalSet`], as the protocol's objects belong to one
//! thread.

mod client;
pub mod cluster;
pub mod dag;
pub mod data;
mod embedded;
mod error;
pub mod files;
mod load;
mod pending;
mod processes;
pub mod program;
pub mod rpc;
mod run;
mod session;
mod updates;
mod view;
mod watch;

pub use client::{Client, Mapped, Options};
pub use cluster::{Cluster, ClusterBuilder, ClusterError};
pub use dag::{
    ArrayHandle, Axis, BuildError, Chunk, Command, Dag, Dependency, Each, Handle, Parts, Sweep,
    TaskRef, geomspace, linspace, logspace, range,
};
pub use dagrun_core as core;
/// ```
/// use dagrun::{Context, Failure};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Point {
///     x: f64,
/// }
///
/// /// The square root of `x`, which must have one.
/// #[dagrun::task]
/// fn root(point: Point, context: &Context) -> Result<f64, Failure> {
///     context.cancelled()?;
///     if point.x < 0.0 {
///         return Err(Failure::new(format!("{} has no root", point.x)));
///     }
///     Ok(point.x.sqrt())
/// }
///
/// assert_eq!(root(Point { x: 4.0 }, &Context::detached()).unwrap(), 2.0);
/// assert!(root(Point { x: -4.0 }, &Context::detached()).is_err());
/// ```
pub use dagrun_macros::task;
pub use dagrun_schema::wire;
#[doc(hidden)]
pub use dagrun_worker::function::__private;
pub use dagrun_worker::function::{
    Cancelled, Context, Entry, Failure, FromInput, GatherError, Gathered, ShelfError, TaskFn,
};
pub use embedded::{Embedded, EmbeddedConfig, EmbeddedError};
pub use error::{Error, Failed};
pub use files::Disk;
pub use load::{LoadError, Loaded, Problems, load};
pub use pending::Pending;
pub use program::init;
pub use rpc::ClientError;
pub use run::{Completed, Progress, Results, Run, Times};
pub use updates::Updates;
pub use view::{LoadBalanced, View};
