//! Pipelines built in Rust: functions and commands as tasks, joined by typed handles.
//!
//! A [`Dag`] records tasks; each gives a [`Handle`] or, where it has several instances, an
//! [`ArrayHandle`], by the type of what it makes. A handle can only be given to a function that takes
//! that type. What comes of it is a [`Pipeline`], the same as one that was read from a file: it is
//! checked, drawn, planned, written as TOML and run as any other.
//!
//! ```
//! use dagrun::Dag;
//!
//! #[dagrun::task]
//! fn square(x: f64) -> f64 {
//!     x * x
//! }
//!
//! #[dagrun::task]
//! fn sum(a: f64, b: f64) -> f64 {
//!     a + b
//! }
//!
//! let dag = Dag::new("squares");
//! let squares = dag.map(square, (1..=100).map(f64::from));
//! let total = dag.reduce(&squares, sum).name("total");
//! let shifted = dag.task(sum, (&total, 0.5));
//! dag.check()?;
//! # let _ = shifted;
//! # Ok::<(), dagrun::BuildError>(())
//! ```

mod args;
mod build;
mod command;
mod error;
mod fit;
mod gather;
mod handle;
mod naming;
mod options;
mod record;
mod source;
mod sweep;
mod words;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dagrun_core::draw;
use dagrun_core::ids::TaskId;
use dagrun_core::pipeline::Pipeline;
use dagrun_core::simulate;
use dagrun_worker::function::TaskFn;
use serde::Serialize;

pub(crate) use args::Encoded;
pub use args::{Inputs, IntoArg, IntoArgs};
pub use command::{Array, Command, IntoWord, Kind, OutputOf, Single};
pub use dagrun_core::graph::Graph;
pub use dagrun_core::ids::Micros;
pub use dagrun_core::simulate::{Cluster as Machines, Prediction};
pub use error::{BuildError, PlanError, Problem, WriteError};
pub use gather::{GatherSource, GatheredOf};
pub(crate) use handle::Origin;
pub use handle::{ArrayHandle, ArrayOf, Handle, SingleOf, TaskRef};
pub use options::{Dependency, IntoDependency, Upstreams};
pub use source::{Chunk, Each, ListOf, MapSource, Parts, Scattered, SplitOf};
pub use sweep::{Axis, IntoAxis, IntoRow, Sweep, geomspace, linspace, logspace, range};

use record::{Recorder, Shared, What};
use source::Head;

/// A graph of tasks that is being built. Clones are the same graph.
///
/// See the [module](self) for how.
#[derive(Clone)]
pub struct Dag {
    shared: Arc<Shared>,
}

impl fmt::Debug for Dag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = self.shared.record().entries.len();
        f.debug_struct("Dag").field("name", &self.shared.name).field("tasks", &tasks).finish()
    }
}

impl Dag {
    /// A graph without tasks. The name is for people: it is what runs of it are called.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Dag {
        Dag { shared: Arc::new(Shared::new(name.into())) }
    }

    /// A call of `f` with these arguments: a tuple of values and handles of tasks that make them.
    ///
    /// ```
    /// # use dagrun::Dag;
    /// #[dagrun::task]
    /// fn add(a: u64, b: u64) -> u64 {
    ///     a + b
    /// }
    ///
    /// let dag = Dag::new("sum");
    /// let three = dag.task(add, (1, 2));
    /// let six = dag.task(add, (&three, &three));
    /// ```
    ///
    /// What a task makes can only be given to an input of its type:
    ///
    /// ```compile_fail,E0277
    /// # use dagrun::Dag;
    /// # #[dagrun::task]
    /// # fn name() -> String {
    /// #     String::new()
    /// # }
    /// # #[dagrun::task]
    /// # fn half(x: f64) -> f64 {
    /// #     x / 2.0
    /// # }
    /// # let dag = Dag::new("wrong");
    /// let named = dag.task(name, ());
    /// dag.task(half, (&named,)); // a `Handle<String>` for an `f64`
    /// ```
    pub fn task<F, A>(&self, f: F, args: A) -> Handle<F::Output>
    where
        F: TaskFn,
        A: IntoArgs<F::Args>,
    {
        let task = self.record(|recorder| {
            let function = What::Function(recorder.record.function(f));
            let first = record::position(recorder.record.slots.len());
            args.record(recorder);
            recorder.record.push(function, first, None)
        });
        Handle::new(task)
    }

    /// A call of `f` for each element of `source`: of an array, element by element, each as soon as its
    /// own upstream instance has finished; of an iterator over values; of the points of a [`Sweep`]; of
    /// a list that a task makes, see [`Dag::scatter`].
    ///
    /// ```
    /// # use dagrun::Dag;
    /// #[dagrun::task]
    /// fn half(x: u32) -> f64 {
    ///     f64::from(x) / 2.0
    /// }
    /// #[dagrun::task]
    /// fn show(x: f64) -> String {
    ///     format!("{x:.1}")
    /// }
    ///
    /// let dag = Dag::new("halves");
    /// let halves = dag.map(half, 0..10);
    /// let texts = dag.map(show, &halves);
    /// assert_eq!(texts.width(), Some(10));
    /// ```
    ///
    /// ```compile_fail,E0277
    /// # use dagrun::Dag;
    /// # #[dagrun::task]
    /// # fn half(x: u32) -> f64 {
    /// #     f64::from(x) / 2.0
    /// # }
    /// # let dag = Dag::new("wrong");
    /// let halves = dag.map(half, 0..10);
    /// dag.map(half, &halves); // an array of `f64` for a `u32`
    /// ```
    ///
    /// A function of several inputs takes tuples:
    ///
    /// ```
    /// # use dagrun::Dag;
    /// #[dagrun::task]
    /// fn scaled(x: f64, by: u32) -> f64 {
    ///     x * f64::from(by)
    /// }
    ///
    /// let dag = Dag::new("scaled");
    /// let values = dag.map(scaled, [(1.5, 2), (2.5, 4)]);
    /// assert_eq!(values.width(), Some(2));
    /// ```
    pub fn map<F, S>(&self, f: F, source: S) -> ArrayHandle<F::Output>
    where
        F: TaskFn,
        S: MapSource<F::Args>,
    {
        self.mapped(f, source, |_| ())
    }

    /// As [`Dag::map`], for functions with further inputs, which are the same for all instances.
    ///
    /// ```
    /// # use dagrun::Dag;
    /// #[dagrun::task]
    /// fn scaled(x: f64, factor: f64) -> f64 {
    ///     x * factor
    /// }
    ///
    /// let dag = Dag::new("scaled");
    /// let tenfold = dag.map_with(scaled, [1.0, 2.0, 3.0], (10.0,));
    /// ```
    pub fn map_with<F, S, E>(&self, f: F, source: S, others: E) -> ArrayHandle<F::Output>
    where
        F: TaskFn,
        F::Args: Inputs,
        S: MapSource<(<F::Args as Inputs>::First,)>,
        E: IntoArgs<<F::Args as Inputs>::Others>,
    {
        self.mapped(f, source, |recorder| others.record(recorder))
    }

    fn mapped<F: TaskFn, A>(
        &self,
        f: F,
        source: impl MapSource<A>,
        others: impl FnOnce(&mut Recorder<'_>),
    ) -> ArrayHandle<F::Output> {
        let task = self.record(|recorder| {
            let function = What::Function(recorder.record.function(f));
            let Head { shape, slots } = source.head(recorder);
            let first = record::position(recorder.record.slots.len());
            slots.into_iter().for_each(|slot| recorder.push(slot));
            others(recorder);
            recorder.record.push(function, first, shape)
        });
        ArrayHandle::new(task)
    }

    /// The elements of a list that a task makes, to be mapped over: one by one ([`Each`]), so many at a
    /// time ([`Chunk`]), or in so many parts ([`Parts`]).
    ///
    /// ```
    /// use dagrun::{Chunk, Dag, Each};
    ///
    /// #[dagrun::task]
    /// fn files() -> Vec<String> {
    ///     vec!["a.csv".into(), "b.csv".into()]
    /// }
    /// #[dagrun::task]
    /// fn one(file: String) -> usize {
    ///     file.len()
    /// }
    /// #[dagrun::task]
    /// fn several(some: Vec<String>) -> usize {
    ///     some.len()
    /// }
    ///
    /// let dag = Dag::new("files");
    /// let found = dag.task(files, ());
    /// let each = dag.map(one, dag.scatter(&found, Each));
    /// let hundreds = dag.map(several, dag.scatter(&found, Chunk(100)).max_items(100_000));
    /// ```
    pub fn scatter<T, L, S>(&self, list: L, split: S) -> Scattered<S::Item>
    where
        L: ListOf<T>,
        S: SplitOf<T>,
    {
        Scattered::new(list.list(), split.split())
    }

    /// A constant that words of commands mention as `{vars.NAME}`. The last one of a name counts.
    pub fn var<T: Serialize + ?Sized>(&self, name: &str, value: &T) {
        let value = sweep::json(value);
        let mut record = self.shared.record();
        match value {
            Ok(value) => {
                record.vars.retain(|(known, _)| known != name);
                record.vars.push((name.to_owned(), value));
            }
            Err(error) => {
                record.problems.push((None, format!("variable `{name}`: {error}").into()));
            }
        }
    }

    /// How many tasks it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.record().entries.len()
    }

    /// Whether it has no tasks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that it has reserved.
    #[doc(hidden)]
    #[must_use]
    pub fn memory(&self) -> usize {
        self.shared.record().memory()
    }

    /// The pipeline: what has been recorded so far.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn pipeline(&self) -> Result<Pipeline, BuildError> {
        build::pipeline(&self.shared.name, &self.shared.record()).map(|(pipeline, _)| pipeline)
    }

    /// Whether it can be run.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn check(&self) -> Result<(), BuildError> {
        self.graph().map(drop)
    }

    /// What is allowed in it and hardly meant: axes, variables and outputs that nobody uses, rows that
    /// exclude nothing, values that become a part of the program that a shell runs. An empty list is
    /// what one hopes for.
    ///
    /// ```
    /// use dagrun::{Dag, Sweep};
    ///
    /// let dag = Dag::new("prices");
    /// let sweep = Sweep::new().axis("strike", [80, 100]).axis("rep", [1, 2, 3]);
    /// dag.map_command(sweep, ["./price", "{strike}"]);
    /// let warnings = dag.warnings()?;
    /// assert_eq!(warnings[0].message, "nothing uses parameter `rep`");
    /// # Ok::<(), dagrun::BuildError>(())
    /// ```
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn warnings(&self) -> Result<Vec<Problem>, BuildError> {
        build::warnings(&self.shared.name, &self.shared.record())
    }

    /// Its tasks, their numbers of instances and how these depend on each other.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn graph(&self) -> Result<Graph, BuildError> {
        build::pipeline(&self.shared.name, &self.shared.record()).map(|(_, graph)| graph)
    }

    /// How long it would take on a cluster that need not exist, when an attempt of each instance, given
    /// by its task's name and its index, takes as long as `durations` says. Nothing is run.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dagrun::Dag;
    /// use dagrun::dag::Machines;
    /// # #[dagrun::task]
    /// # fn work(n: u32) {
    /// #     let _ = n;
    /// # }
    ///
    /// let dag = Dag::new("eight");
    /// dag.map(work, 0..8);
    /// let cluster = Machines { workers: 2, cpus: 2, ..Machines::default() };
    /// let plan = dag.plan(cluster, |_, _| Duration::from_secs(1))?;
    /// assert_eq!(plan.makespan.to_duration(), Duration::from_secs(2));
    /// # Ok::<(), dagrun::dag::PlanError>(())
    /// ```
    ///
    /// # Errors
    /// When the graph is not sound, or cannot run on such a cluster.
    pub fn plan(
        &self,
        cluster: Machines,
        durations: impl Fn(&str, u32) -> Duration,
    ) -> Result<Prediction, PlanError> {
        let (pipeline, graph) = build::pipeline(&self.shared.name, &self.shared.record())?;
        let duration = |instance: dagrun_core::ids::InstanceId| {
            let name = pipeline.tasks.get(instance.task.at()).map_or("", |task| &task.name);
            dagrun_core::ids::Micros::of(durations(name, instance.index))
        };
        Ok(simulate::simulate(&graph.plan(&pipeline, false), cluster, &duration)?)
    }

    /// The text of a pipeline file that means the same. Signatures of functions are left out, which the
    /// file format does not have.
    ///
    /// ```standalone_crate
    /// # use dagrun::Dag;
    /// # #[dagrun::task]
    /// # fn half(x: f64) -> f64 {
    /// #     x / 2.0
    /// # }
    /// let dag = Dag::new("halves");
    /// let whole = dag.command(["./measure"]).capture::<f64>();
    /// dag.task(half, (&whole,));
    /// let expected = r#"dagrun = 1
    /// name = "halves"
    ///
    /// [task.measure]
    /// run = ["./measure"]
    /// capture = "json"
    ///
    /// [task.half]
    /// call = "half"
    /// args = { x = "{measure.value}" }
    /// "#;
    /// assert_eq!(dag.to_toml()?, expected);
    /// # Ok::<(), dagrun::dag::WriteError>(())
    /// ```
    ///
    /// # Errors
    /// When the graph is not sound, or has what the format cannot express: reductions, constants that
    /// are not JSON, and functions that share their name with others.
    pub fn to_toml(&self) -> Result<String, WriteError> {
        let pipeline = self.pipeline()?;
        if let Some(ambiguous) = crate::load::ambiguous_in(&pipeline).next() {
            return Err(ambiguous.into());
        }
        Ok(dagrun_core::unparse::to_toml(&pipeline)?)
    }

    /// A picture in Mermaid's language, as GitHub shows it.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn to_mermaid(&self) -> Result<String, BuildError> {
        let (pipeline, graph) = build::pipeline(&self.shared.name, &self.shared.record())?;
        Ok(draw::to_mermaid(&pipeline, &graph, false))
    }

    /// A picture in Graphviz' language.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn to_dot(&self) -> Result<String, BuildError> {
        let (pipeline, graph) = build::pipeline(&self.shared.name, &self.shared.record())?;
        Ok(draw::to_dot(&pipeline, &graph, false))
    }

    /// The graph as a run of its first `tasks` tasks remembers it.
    pub(crate) fn origin(&self, tasks: usize) -> Origin {
        Origin { id: self.shared.id, name: self.shared.name.clone(), tasks }
    }

    fn record(&self, record: impl FnOnce(&mut Recorder<'_>) -> TaskId) -> TaskRef {
        let mut kept = self.shared.record();
        let task = record(&mut Recorder { shared: &self.shared, record: &mut kept });
        TaskRef { dag: self.shared.clone(), task }
    }
}
