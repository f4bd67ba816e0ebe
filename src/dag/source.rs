//! What a function can be mapped over.

use std::marker::PhantomData;

use dagrun_core::ids::TaskId;
use dagrun_core::pipeline::{Scatter, Split};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fit::{Fit, fits};
use super::record::{Recorder, Shape, ShapeKind, Slot};
use super::sweep::{Axis, Sweep};
use super::{ArrayHandle, Handle, TaskRef};

/// What gives the inputs `A`, a tuple, of a function for each instance. For one input, `(T,)`:
/// [`ArrayHandle<T>`], an iterator over `T`, [`Sweep`], [`Axis`], [`Scattered<T>`]; for several an
/// iterator over tuples.
#[diagnostic::on_unimplemented(
    message = "a function with the inputs `{A}` cannot be mapped over `{Self}`",
    label = "does not give the inputs `{A}`",
    note = "map over `&ArrayHandle`, an iterator, a `Sweep` or what `dag.scatter` gives, of the type that the function takes; over tuples where it takes several inputs"
)]
pub trait MapSource<A> {
    #[doc(hidden)]
    fn head(self, recorder: &mut Recorder<'_>) -> Head;
}

/// How a source makes instances, and what each is given of it.
#[derive(Debug)]
pub struct Head {
    /// Nothing where something was wrong, which has been reported.
    pub(super) shape: Option<Shape>,
    /// One for each input that it gives.
    pub(super) slots: Vec<Slot>,
}

impl Head {
    pub(super) fn one(shape: Shape, slot: Slot) -> Head {
        Head { shape: Some(shape), slots: vec![slot] }
    }

    pub(super) fn unusable() -> Head {
        Head { shape: None, slots: vec![Slot::Unusable] }
    }
}

impl<T> MapSource<(T,)> for &ArrayHandle<T> {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        let Some(upstream) = recorder.own(&self.task) else { return Head::unusable() };
        mapped(recorder, upstream)
    }
}

pub(super) fn mapped(recorder: &Recorder<'_>, upstream: TaskId) -> Head {
    let width = recorder.record.width(upstream);
    let shape = Shape { kind: ShapeKind::Map(upstream), width };
    Head::one(shape, Slot::Value(upstream))
}

impl<T> MapSource<(T,)> for ArrayHandle<T> {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        (&self).head(recorder)
    }
}

/// One input for each instance.
impl<T: Serialize + 'static, I: IntoIterator<Item = T>> MapSource<(T,)> for I {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        values(recorder, 1, self, |recorder, value| recorder.constant(&value).is_some())
    }
}

/// Several inputs for each instance, as a tuple.
macro_rules! tuples {
    ($count:literal: $($item:ident),+) => {
        impl<$($item: Serialize + 'static,)+ Items> MapSource<($($item,)+)> for Items
        where
            Items: IntoIterator<Item = ($($item,)+)>,
        {
            #[allow(non_snake_case)]
            fn head(self, recorder: &mut Recorder<'_>) -> Head {
                values(recorder, $count, self, |recorder, ($($item,)+)| {
                    true $(&& recorder.constant(&$item).is_some())+
                })
            }
        }
    };
}

tuples!(2: A, B);
tuples!(3: A, B, C);
tuples!(4: A, B, C, D);
tuples!(5: A, B, C, D, E);
tuples!(6: A, B, C, D, E, F);

/// So many constants for each instance.
fn values<T>(
    recorder: &mut Recorder<'_>,
    each: u8,
    items: impl IntoIterator<Item = T>,
    note: impl Fn(&mut Recorder<'_>, T) -> bool,
) -> Head {
    let first = recorder.record.constants.count();
    if !items.into_iter().all(|item| note(recorder, item)) {
        return Head::unusable();
    }
    let count = (recorder.record.constants.count() - first) / u32::from(each);
    let shape = Shape { kind: ShapeKind::Values(first, count, each), width: Some(count) };
    Head { shape: Some(shape), slots: (0..each).map(Slot::Input).collect() }
}

impl<T: DeserializeOwned + 'static> MapSource<(T,)> for Sweep {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        self.head(recorder, fits::<T>)
    }
}

impl<T: DeserializeOwned + 'static> MapSource<(T,)> for &Sweep {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        self.clone().head(recorder, fits::<T>)
    }
}

impl Sweep {
    pub(super) fn head(self, recorder: &mut Recorder<'_>, fit: Fit) -> Head {
        let space = self.space(recorder.record);
        let width = space.compile().ok().map(|grid| grid.width());
        Head::one(Shape { kind: ShapeKind::Sweep(space, fit), width }, Slot::Params)
    }
}

/// Numbers, given as they are.
impl MapSource<(f64,)> for Axis {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        let head = Sweep::new().axis(INPUTS[0], self).head(recorder, |_, _| Ok(()));
        Head { slots: vec![Slot::Input(0)], ..head }
    }
}

/// The parameters of a map over values, or over tuples of these.
pub(super) const INPUTS: [&str; 6] = ["input", "input2", "input3", "input4", "input5", "input6"];

/// The elements of a list that a task makes, one or several for each instance; see
/// [`super::Dag::scatter`].
#[derive(Clone, Debug)]
pub struct Scattered<T> {
    from: TaskRef,
    split: Split,
    max_items: Option<u32>,
    of: PhantomData<fn() -> T>,
}

impl<T> Scattered<T> {
    pub(super) fn new(from: TaskRef, split: Split) -> Scattered<T> {
        Scattered { from, split, max_items: None, of: PhantomData }
    }

    /// The most elements that the list may have; more of them fail the run's task instead of making as
    /// many instances.
    #[must_use]
    pub fn max_items(mut self, most: u32) -> Scattered<T> {
        self.max_items = Some(most);
        self
    }
}

impl<T> MapSource<(T,)> for Scattered<T> {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        let Some(from) = recorder.own(&self.from) else { return Head::unusable() };
        let scatter = Scatter { from, split: self.split, max_items: self.max_items };
        let shape = Shape { kind: ShapeKind::Scatter(scatter), width: None };
        Head::one(shape, Slot::Item)
    }
}

impl<T> MapSource<(T,)> for &Scattered<T> {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        let again: Scattered<T> = Scattered {
            from: self.from.clone(),
            split: self.split,
            max_items: self.max_items,
            of: PhantomData,
        };
        again.head(recorder)
    }
}

/// A task, or an array of tasks, whose values are lists of `T`; those of an array are one list, one after
/// another.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be scattered",
    label = "not a handle of a `Vec`"
)]
pub trait ListOf<T> {
    #[doc(hidden)]
    fn list(self) -> TaskRef;
}

impl<T> ListOf<T> for &Handle<Vec<T>> {
    fn list(self) -> TaskRef {
        self.task.clone()
    }
}

impl<T> ListOf<T> for &ArrayHandle<Vec<T>> {
    fn list(self) -> TaskRef {
        self.task.clone()
    }
}

/// How a list is split: [`Each`], [`Chunk`], [`Parts`].
pub trait SplitOf<T> {
    /// What one instance gets.
    type Item;
    #[doc(hidden)]
    fn split(self) -> Split;
}

/// Every instance gets one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Each;

/// Every instance gets so many consecutive elements, the last one perhaps fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk(pub u32);

/// So many instances get consecutive elements, as evenly as possible and at least one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts(pub u32);

impl<T> SplitOf<T> for Each {
    type Item = T;

    fn split(self) -> Split {
        Split::Each
    }
}

impl<T> SplitOf<T> for Chunk {
    type Item = Vec<T>;

    fn split(self) -> Split {
        Split::Chunk(self.0)
    }
}

impl<T> SplitOf<T> for Parts {
    type Item = Vec<T>;

    fn split(self) -> Split {
        Split::Parts(self.0)
    }
}
