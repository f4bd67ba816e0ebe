//! dagrun, a dataflow DAG task engine: functions and processes as tasks, with parameter sweeps, `map`,
//! `scatter` and `gather`, run in this process, in processes of this program, or on a cluster.
//!
//! ```standalone_crate
//! use dagrun::{Cluster, Dag};
//!
//! #[dagrun::task]
//! fn square(x: f64) -> f64 {
//!     x * x
//! }
//!
//! #[dagrun::task]
//! fn total(values: Vec<f64>) -> f64 {
//!     values.iter().sum()
//! }
//!
//! fn main() -> Result<(), dagrun::Error> {
//!     dagrun::init();
//!     let cluster = Cluster::embedded()?;
//!     let dag = Dag::new("squares");
//!     let squares = dag.map(square, [1.0, 2.0, 3.0]);
//!     let sum = dag.gather(&squares, total);
//!     let run = cluster.submit(&dag).wait()?;
//!     assert_eq!(run.result(&sum).wait()?, 14.0);
//!     Ok(())
//! }
//! ```
//!
//! - [`task`] makes a function one that workers call; [`Context`] is what it can know of its attempt.
//! - [`Dag`] joins functions and commands to a graph; [`load()`] reads one from a pipeline file.
//! - [`Cluster`] is a scheduler and workers that belong to the program, [`Client`] a connection to those or to
//!   others; [`init`] lets the program be its own worker.
//! - [`Run`] has the results as they come; each answer is a [`Pending`], to be awaited or waited for.
//! - [`data`] reads and writes files by URL.
//!
//! The guide is `docs/rust.md` in the repository. [`rpc`] speaks to a scheduler without threads of its own, for
//! programs that live on a [`tokio::task::LocalSet`] anyway.

mod client;
pub mod cluster;
pub mod dag;
pub mod data;
mod deaths;
mod docs;
mod embedded;
mod error;
pub mod files;
mod load;
mod mapped;
mod pending;
mod processes;
pub mod program;
mod report;
mod results;
pub mod rpc;
mod run;
mod session;
pub mod table;
mod view;
mod watch;
mod worker_args;

pub use client::{Again, Client, Options};
pub use cluster::{Cluster, ClusterBuilder};
pub use dag::{
    ArrayHandle, Axis, BuildError, Chunk, Command, Dag, Dependency, Each, Handle, Parts, Sweep,
    TaskRef, geomspace, linspace, logspace, range,
};
#[doc(hidden)]
pub use dagrun_core as core;
pub use dagrun_core::engine::Scheme;
pub use dagrun_core::ids::RunId;
pub use dagrun_core::pipeline::{MinSuccess, Outcomes, Pipeline, Retry, RetryOn};
pub use dagrun_core::status::{FailureKind, RunState, State, Stream, TaskStatus};
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
///
/// An input is a value of its own, which can travel:
///
/// ```
/// #[dagrun::task]
/// fn letters(text: String) -> usize {
///     text.len()
/// }
/// ```
///
/// ```compile_fail
/// #[dagrun::task]
/// fn letters(text: &str) -> usize { // error: an input of a task is a value of its own, not borrowed
///     text.len()
/// }
/// ```
///
/// Workers must know its types:
///
/// ```compile_fail
/// #[dagrun::task]
/// fn same<T>(value: T) -> T { // error: a task is not generic
///     value
/// }
/// ```
pub use dagrun_macros::task;
#[doc(hidden)]
pub use dagrun_schema::wire;
#[doc(hidden)]
pub use dagrun_worker::function::__private;
/// ```
/// use dagrun::{Cancelled, Context};
///
/// #[dagrun::task]
/// fn count(to: u64, context: &Context) -> Result<u64, Cancelled> {
///     let mut sum = context.seed() % 2;
///     for n in 0..to {
///         context.cancelled()?;
///         context.progress(n as f64 / to as f64);
///         sum += n;
///     }
///     context.log(&format!("attempt {} is done", context.attempt()));
///     Ok(sum)
/// }
///
/// assert_eq!(count(4, &Context::detached()), Ok(6));
/// ```
pub use dagrun_worker::function::Context;
/// ```
/// use dagrun::{Dag, GatherError, Gathered};
///
/// #[dagrun::task]
/// fn halve(x: f64) -> f64 {
///     x / 2.0
/// }
/// #[dagrun::task]
/// fn largest(values: Gathered<f64>) -> Result<f64, GatherError> {
///     values.values().try_fold(f64::MIN, |most, value| Ok(most.max(value?)))
/// }
///
/// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
/// let dag = Dag::new("largest");
/// let halves = dag.map(halve, [1.0, 8.0, 3.0]);
/// let most = dag.gather(&halves, largest);
/// assert_eq!(cluster.submit(&dag).wait()?.result(&most).wait()?, 4.0);
/// # Ok::<(), dagrun::Error>(())
/// ```
pub use dagrun_worker::function::Gathered;
pub use dagrun_worker::function::{
    Cancelled, Entry, Failure, FromInput, GatherError, ShelfError, TaskFn,
};
pub use embedded::Embedded;
pub use error::{ClusterError, Error, Failed};
pub use files::Disk;
pub use load::{LoadError, LoadOptions, Loaded, Problems, load, load_text, load_with};
pub use mapped::Mapped;
pub use pending::Pending;
pub use program::init;
pub use report::{Instance, LogChunk, RunStatus, RunSummary, WorkerStatus};
pub use results::{Completed, Results};
pub use rpc::{ClientError, Updates};
pub use run::{Progress, Run, Times};
pub use view::{LoadBalanced, View};

/// The examples of the guide are tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/rust.md")]
struct Guide;
