//! Functions that are given all values of an array, and reductions by functions of two.

use dagrun_core::ids::TaskId;
use dagrun_core::problem::Problem;
use dagrun_worker::function::{Gathered, TaskFn};

use super::args::Inputs;
use super::record::{Missing, Recorder, Shape, ShapeKind, Slot, What, position};
use super::{ArrayHandle, Dag, Handle, IntoArg, IntoArgs, TaskRef};

/// A type in which a function takes all values of an array of `T`: `Vec<T>`; `Vec<Option<T>>` with
/// `None` for instances that did not succeed, of which there may be any number unless `min_success` says
/// otherwise; or [`Gathered<T>`], which holds one of them at a time.
#[diagnostic::on_unimplemented(
    message = "an input of type `{Self}` cannot take all values of an array of `{T}`",
    label = "takes no array of `{T}`",
    note = "a function that gathers takes `Vec<T>`, `Vec<Option<T>>` or `Gathered<T>`"
)]
pub trait GatheredOf<T> {
    #[doc(hidden)]
    const MISSING: Missing;
}

impl<T> GatheredOf<T> for Vec<T> {
    const MISSING: Missing = Missing::Refused;
}

impl<T> GatheredOf<T> for Vec<Option<T>> {
    const MISSING: Missing = Missing::Expected;
}

impl<T> GatheredOf<T> for Gathered<T> {
    const MISSING: Missing = Missing::Allowed;
}

/// An array, or a tuple of arrays, whose values a function with the inputs `A` takes.
#[diagnostic::on_unimplemented(
    message = "a function with the inputs `{A}` cannot gather `{Self}`",
    label = "does not fit the inputs `{A}`",
    note = "each array goes to one input of type `Vec<T>`, `Vec<Option<T>>` or `Gathered<T>`; further inputs are given by `dag.gather_with`"
)]
pub trait GatherSource<A> {
    #[doc(hidden)]
    fn record(self, recorder: &mut Recorder<'_>) -> Vec<TaskId>;
}

fn gathered<T, G: GatheredOf<T>>(
    array: &ArrayHandle<T>,
    recorder: &mut Recorder<'_>,
) -> Option<TaskId> {
    let task = recorder.own(&array.task);
    recorder.push(task.map_or(Slot::Unusable, |task| Slot::Gathered(task, G::MISSING)));
    task
}

impl<T, G: GatheredOf<T>> GatherSource<(G,)> for &ArrayHandle<T> {
    fn record(self, recorder: &mut Recorder<'_>) -> Vec<TaskId> {
        gathered::<T, G>(self, recorder).into_iter().collect()
    }
}

macro_rules! gather_source {
    ($($array:ident: $taken:ident),+) => {
        impl<$($array, $taken: GatheredOf<$array>),+> GatherSource<($($taken,)+)>
            for ($(&ArrayHandle<$array>,)+)
        {
            #[allow(non_snake_case)]
            fn record(self, recorder: &mut Recorder<'_>) -> Vec<TaskId> {
                let ($($array,)+) = self;
                [$(gathered::<_, $taken>($array, recorder)),+].into_iter().flatten().collect()
            }
        }
    };
}

gather_source!(A: G);
gather_source!(A: G, B: H);
gather_source!(A: G, B: H, C: I);
gather_source!(A: G, B: H, C: I, D: J);
gather_source!(A: G, B: H, C: I, D: J, E: K);
gather_source!(A: G, B: H, C: I, D: J, E: K, F: L);

/// A gather of each of these arrays once; none where they belong to another graph, which has been
/// reported.
fn gather(mut arrays: Vec<TaskId>) -> Option<Shape> {
    let mut seen = rustc_hash::FxHashSet::default();
    arrays.retain(|array| seen.insert(*array));
    let some = !arrays.is_empty();
    some.then_some(Shape { kind: ShapeKind::Gather(arrays), width: Some(1) })
}

/// How many instances one call of a reduction takes.
const EVERY: u32 = 8;

impl Dag {
    /// A call of `f` with all values of an array, in the order of its instances, after all of them. Of
    /// several arrays, as a tuple, each goes to one input.
    ///
    /// ```
    /// # use dagrun::Dag;
    /// #[dagrun::task]
    /// fn square(x: f64) -> f64 {
    ///     x * x
    /// }
    /// #[dagrun::task]
    /// fn mean(values: Vec<f64>) -> f64 {
    ///     values.iter().sum::<f64>() / values.len() as f64
    /// }
    ///
    /// let dag = Dag::new("mean");
    /// let squares = dag.map(square, [1.0, 2.0, 3.0]);
    /// let average = dag.gather(&squares, mean);
    /// ```
    ///
    /// ```compile_fail,E0277
    /// # use dagrun::Dag;
    /// # #[dagrun::task]
    /// # fn square(x: f64) -> f64 {
    /// #     x * x
    /// # }
    /// # #[dagrun::task]
    /// # fn longest(names: Vec<String>) -> usize {
    /// #     names.len()
    /// # }
    /// # let dag = Dag::new("wrong");
    /// let squares = dag.map(square, [1.0, 2.0, 3.0]);
    /// dag.gather(&squares, longest); // `f64`s for a `Vec<String>`
    /// ```
    pub fn gather<F, S>(&self, arrays: S, f: F) -> Handle<F::Output>
    where
        F: TaskFn,
        S: GatherSource<F::Args>,
    {
        let task = self.record(|recorder| {
            let function = What::Function(recorder.record.function(f));
            let first = position(recorder.record.slots.len());
            let arrays = arrays.record(recorder);
            recorder.record.push(function, first, gather(arrays))
        });
        Handle::new(task)
    }

    /// As [`Dag::gather`] of one array, for functions with further inputs.
    pub fn gather_with<F, T, E>(&self, array: &ArrayHandle<T>, f: F, others: E) -> Handle<F::Output>
    where
        F: TaskFn,
        F::Args: Inputs,
        <F::Args as Inputs>::First: GatheredOf<T>,
        E: IntoArgs<<F::Args as Inputs>::Others>,
    {
        let task = self.record(|recorder| {
            let function = What::Function(recorder.record.function(f));
            let first = position(recorder.record.slots.len());
            let array = gathered::<T, <F::Args as Inputs>::First>(array, recorder);
            others.record(recorder);
            recorder.record.push(function, first, gather(array.into_iter().collect()))
        });
        Handle::new(task)
    }

    /// A call of `f` for each distinct combination of these parameters of the array's, with the values
    /// of the instances that have it.
    ///
    /// Where `f` has further inputs, as many as there are names in `by`, it is given the combination in
    /// them.
    ///
    /// ```
    /// use dagrun::{Dag, Sweep};
    /// # use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Point { h: f64, seed: u64 }
    ///
    /// #[dagrun::task]
    /// fn simulate(point: Point) -> f64 {
    ///     point.h * point.seed as f64
    /// }
    /// #[dagrun::task]
    /// fn summary(errors: Vec<f64>, h: f64) -> String {
    ///     format!("{h}: {}", errors.len())
    /// }
    ///
    /// let dag = Dag::new("convergence");
    /// let sweep = Sweep::new().axis("h", [0.1, 0.2]).axis("seed", 0..10);
    /// let errors = dag.map(simulate, sweep);
    /// let summaries = dag.gather_by(&errors, ["h"], summary);
    /// ```
    pub fn gather_by<'n, F, T>(
        &self,
        array: &ArrayHandle<T>,
        by: impl IntoIterator<Item = &'n str>,
        f: F,
    ) -> ArrayHandle<F::Output>
    where
        F: TaskFn,
        F::Args: Inputs,
        <F::Args as Inputs>::First: GatheredOf<T>,
    {
        let mut names: Vec<String> = Vec::new();
        for name in by {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        let task = self.record(|recorder| {
            let function = What::Function(recorder.record.function(f));
            let first = position(recorder.record.slots.len());
            let array = gathered::<T, <F::Args as Inputs>::First>(array, recorder);
            if F::PARAMS.len() > 1 {
                (0..).take(names.len()).for_each(|at| recorder.push(Slot::Group(at)));
            }
            let kind = array.map(|array| ShapeKind::GatherBy(array, names));
            recorder.record.push(function, first, kind.map(|kind| Shape { kind, width: None }))
        });
        ArrayHandle::new(task)
    }

    /// All values of an array made one by `f`, which must be associative: calls of it may be grouped in any
    /// way, but their order is that of the instances. Of one value it is that value; of an array that may be
    /// empty see [`Dag::reduce_with`].
    ///
    /// The calls form a tree where the number of instances is known before the run; otherwise one task
    /// makes them all. The options of the handle (retries, resources, ...) are those of all of them.
    ///
    /// ```
    /// # use dagrun::Dag;
    /// #[dagrun::task]
    /// fn parse(digits: String) -> u64 {
    ///     digits.parse().unwrap_or(0)
    /// }
    /// #[dagrun::task]
    /// fn larger(a: u64, b: u64) -> u64 {
    ///     a.max(b)
    /// }
    ///
    /// let dag = Dag::new("largest");
    /// let numbers = dag.map(parse, (0..1000).map(|n| n.to_string()));
    /// let largest = dag.reduce(&numbers, larger);
    /// ```
    ///
    /// What is reduced, both inputs and the value are of one type:
    ///
    /// ```compile_fail,E0271
    /// # use dagrun::Dag;
    /// # #[dagrun::task]
    /// # fn parse(digits: String) -> u64 {
    /// #     digits.parse().unwrap_or(0)
    /// # }
    /// #[dagrun::task]
    /// fn joined(a: u64, b: u64) -> String {
    ///     format!("{a}{b}")
    /// }
    /// # let dag = Dag::new("wrong");
    /// # let numbers = dag.map(parse, (0..1000).map(|n| n.to_string()));
    /// dag.reduce(&numbers, joined); // makes a `String` of two `u64`s
    /// ```
    pub fn reduce<F, T>(&self, array: &ArrayHandle<T>, f: F) -> Handle<T>
    where
        F: TaskFn<Args = (T, T), Output = T>,
    {
        self.reduced(array, f, None::<Handle<T>>)
    }

    /// As [`Dag::reduce`], with the identity of `f`: the value of an array without instances. `f` of it and
    /// any value must be that value.
    ///
    /// ```
    /// # use dagrun::Dag;
    /// #[dagrun::task]
    /// fn parse(digits: String) -> u64 {
    ///     digits.parse().unwrap_or(0)
    /// }
    /// #[dagrun::task]
    /// fn sum(a: u64, b: u64) -> u64 {
    ///     a + b
    /// }
    ///
    /// # let cluster = dagrun::Cluster::builder().slots(2).start()?;
    /// let dag = Dag::new("sum");
    /// let none = dag.map(parse, Vec::<String>::new());
    /// let all = dag.reduce_with(&none, sum, 0);
    /// assert_eq!(cluster.submit(&dag).wait()?.result(&all).wait()?, 0);
    /// # Ok::<(), dagrun::Error>(())
    /// ```
    pub fn reduce_with<F, T>(
        &self,
        array: &ArrayHandle<T>,
        f: F,
        identity: impl IntoArg<T>,
    ) -> Handle<T>
    where
        F: TaskFn<Args = (T, T), Output = T>,
    {
        self.reduced(array, f, Some(identity))
    }

    fn reduced<F: TaskFn, T>(
        &self,
        array: &ArrayHandle<T>,
        f: F,
        identity: Option<impl IntoArg<T>>,
    ) -> Handle<T> {
        let task = self.record(|recorder| {
            let function = What::Function(recorder.record.function(f));
            let Some(array) = recorder.own(&array.task) else {
                let first = position(recorder.record.slots.len());
                recorder.push(Slot::Unusable);
                return recorder.record.push(function, first, None);
            };
            reduce::<T>(recorder, function, array, identity)
        });
        Handle::new(task)
    }
}

fn reduce<T>(
    recorder: &mut Recorder<'_>,
    function: What,
    array: TaskId,
    identity: Option<impl IntoArg<T>>,
) -> TaskId {
    let mut width = recorder.record.width(array);
    if width == Some(0) && identity.is_none() {
        let task = recorder.record.next();
        let message = "it reduces an array without instances, which has no value";
        let problem = Problem::new(message).help("give its identity: `dag.reduce_with`");
        recorder.record.problem(task, problem);
    }
    let mut levels = 0;
    let mut left = width.unwrap_or(1);
    while left > EVERY {
        left = left.div_ceil(EVERY);
        levels += 1;
    }
    let last = TaskId(recorder.record.next().0 + levels);
    let mut upstream = array;
    for _ in 0..levels {
        width = width.map(|width| width.div_ceil(EVERY));
        let shape = Shape { kind: ShapeKind::Level(upstream, EVERY, last), width };
        upstream = fold::<T>(recorder, function, upstream, Some(shape), None::<Handle<T>>);
    }
    fold::<T>(recorder, function, upstream, gather(vec![upstream]), identity)
}

fn fold<T>(
    recorder: &mut Recorder<'_>,
    function: What,
    upstream: TaskId,
    shape: Option<Shape>,
    identity: Option<impl IntoArg<T>>,
) -> TaskId {
    let first = position(recorder.record.slots.len());
    if let Some(identity) = identity {
        identity.record(recorder);
    }
    recorder.push(Slot::Gathered(upstream, Missing::Refused));
    let task = recorder.record.push(function, first, shape);
    if let Some(entry) = recorder.record.entries.last_mut() {
        entry.fold = true;
    }
    task
}

impl TaskRef {
    /// The graph that it belongs to.
    #[must_use]
    pub fn dag(&self) -> Dag {
        Dag { shared: self.dag.clone() }
    }
}
