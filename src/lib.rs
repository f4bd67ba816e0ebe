//! dagrun, a dataflow DAG task engine: functions and processes as tasks, with parameter sweeps, `map`,
//! `scatter` and `gather`, run in this process, in processes of this program, or on a cluster.
//!
//! # Call a function on a worker
//!
//! [`task`] makes a function one that workers call. A [`Cluster`] is a scheduler and workers that belong to the
//! program; what takes time gives a [`Pending`], to be awaited or waited for.
//!
//! ```
//! #[dagrun::task]
//! fn double(x: u64) -> u64 {
//!     2 * x
//! }
//!
//! let cluster = dagrun::Cluster::embedded()?;
//! assert_eq!(cluster.call(double, (21,)).wait()?, 42);
//! let doubled: Result<Vec<u64>, _> = cluster.map(double, 0..4).collect();
//! assert_eq!(doubled?, [0, 2, 4, 6]);
//! # Ok::<(), dagrun::Error>(())
//! ```
//!
//! # Join functions to a graph
//!
//! A [`Dag`] records tasks; each gives a [`Handle`] of one value or an [`ArrayHandle`] of many, which the compiler lets
//! only into inputs of their type. A [`Run`] has the results as they come.
//!
//! ```
//! use dagrun::{Cluster, Dag};
//!
//! #[dagrun::task]
//! fn square(x: f64) -> f64 {
//!     x * x
//! }
//! #[dagrun::task]
//! fn total(values: Vec<f64>) -> f64 {
//!     values.iter().sum()
//! }
//!
//! let cluster = Cluster::embedded()?;
//! let dag = Dag::new("squares");
//! let squares = dag.map(square, [1.0, 2.0, 3.0]);
//! let sum = dag.gather(&squares, total);
//! let run = cluster.submit(&dag).wait()?;
//! assert_eq!(run.result(&sum).wait()?, 14.0);
//! assert_eq!(run.results(&squares).wait()?, [1.0, 4.0, 9.0]);
//! # Ok::<(), dagrun::Error>(())
//! ```
//!
//! # Sweep over parameters
//!
//! The axes of a [`Sweep`] are the fields of the function's input; each point is an instance.
//!
//! ```
//! use dagrun::{Cluster, Dag, Sweep, linspace};
//!
//! #[derive(serde::Deserialize)]
//! struct Throw {
//!     angle: f64,
//!     speed: f64,
//! }
//!
//! #[dagrun::task]
//! fn distance(throw: Throw) -> f64 {
//!     throw.speed.powi(2) * (2.0 * throw.angle.to_radians()).sin() / 9.81
//! }
//! #[dagrun::task]
//! fn farther(a: f64, b: f64) -> f64 {
//!     a.max(b)
//! }
//!
//! let cluster = Cluster::embedded()?;
//! let dag = Dag::new("throws");
//! let sweep = Sweep::new().axis("angle", linspace(0.0, 90.0, 31)).axis("speed", [10.0, 30.0]);
//! let farthest = dag.reduce(&dag.map(distance, sweep), farther);
//! let run = cluster.submit(&dag).wait()?;
//! assert!((run.result(&farthest).wait()? - 91.74).abs() < 0.01);
//! # Ok::<(), dagrun::Error>(())
//! ```
//!
//! # Run commands
//!
//! Processes are tasks as well: what they write becomes values, and values become their words.
//!
//! ```
//! use dagrun::{Cluster, Dag};
//!
//! #[dagrun::task]
//! fn twice(x: f64) -> f64 {
//!     2.0 * x
//! }
//!
//! let cluster = Cluster::embedded()?;
//! let dag = Dag::new("commands");
//! let measured = dag.command(["echo", "21"]).capture::<f64>();
//! let doubled = dag.task(twice, (&measured,));
//! let said = dag.command(["echo", "it is"]).arg(&doubled).capture_text();
//! let run = cluster.submit(&dag).wait()?;
//! assert_eq!(run.result(&said).wait()?, "it is 42.0");
//! # Ok::<(), dagrun::Error>(())
//! ```
//!
//! # Use processes, or a cluster
//!
//! [`init`], first thing in `main`, lets the program be its own workers: as processes beside it, or on other machines,
//! where `my-program worker --cluster NAME` joins a cluster that `dagrun cluster start` made.
//!
//! ```standalone_crate
//! #[dagrun::task]
//! fn process() -> u32 {
//!     std::process::id()
//! }
//!
//! fn main() -> Result<(), dagrun::Error> {
//!     dagrun::init();
//!     let cluster = dagrun::Cluster::builder().processes(2).slots(1).start()?;
//!     assert_ne!(cluster.call(process, ()).wait()?, std::process::id());
//!     if let Ok(client) = dagrun::Client::connect("default") {
//!         println!("{} workers", client.workers().wait()?.len());
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Further
//!
//! - [`Context`] is what a function can know of its attempt; [`Failure`] and [`Failed`] say why one failed.
//! - [`View`] calls functions on workers by name and keeps values there.
//! - [`load()`] reads a graph from a pipeline file; [`data`] reads and writes files by URL (feature `urls`).
//! - The guide is [`docs/rust.md`](https://github.com/dagrun/dagrun/blob/main/docs/rust.md) in the repository.
//! - [`rpc`] speaks to a scheduler without threads of its own, for programs that live on a
//!   [`tokio::task::LocalSet`] anyway; what it sends and returns is `dagrun-core`'s and may change more often.

mod client;
mod cluster;
pub mod dag;
pub mod data;
mod deaths;
mod docs;
mod embedded;
mod error;
#[doc(hidden)]
pub mod files;
mod load;
mod mapped;
mod pending;
mod processes;
#[doc(hidden)]
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
pub use dagrun_core::ids::{InstanceId, RunId, TaskId};
pub use dagrun_core::offer::Offer;
pub use dagrun_core::parse::Diagnostic;
pub use dagrun_core::pipeline::{Factor, MaxFail, MinSuccess, Outcomes, Pipeline, Retry, RetryOn};
pub use dagrun_core::status::{Counts, FailureKind, RunState, State, Stream, TaskStatus};
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
#[doc(hidden)]
pub use embedded::Embedded;
pub use error::{ClusterError, Error, Failed};
#[doc(hidden)]
pub use files::Disk;
pub use load::{LoadError, LoadOptions, Loaded, Problems, load, load_text, load_with};
pub use mapped::Mapped;
pub use pending::Pending;
pub use program::init;
pub use report::{Instance, LogChunk, RunStatus, RunSummary, WorkerStatus};
pub use results::{Completed, Results};
pub use rpc::ClientError;
#[doc(hidden)]
pub use rpc::Updates;
pub use run::{Progress, Run, Times};
pub use view::{LoadBalanced, View};

/// The examples of the guide are tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/rust.md")]
struct Guide;

/// So is that of the page of the package.
#[cfg(doctest)]
#[doc = include_str!("README.md")]
struct Readme;
