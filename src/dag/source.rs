//! What a function can be mapped over.

use std::marker::PhantomData;

use dagrun_core::ids::TaskId;
use dagrun_core::pipeline::{Scatter, Split};
use serde::Serialize;

use super::store::{Recorder, Shape, ShapeKind, Slot};
use super::sweep::{Axis, Sweep};
use super::{ArrayHandle, Handle, TaskRef};

/// Something whose elements are `T`, or from which a `T` can be made for each instance:
/// [`ArrayHandle<T>`], an iterator over `T`, [`Sweep`], [`Axis`], [`Scattered<T>`].
#[diagnostic::on_unimplemented(
    message = "a function whose input is `{T}` cannot be mapped over `{Self}`",
    label = "does not give `{T}`",
    note = "map over `&ArrayHandle`, an iterator, a `Sweep` or what `dag.scatter` gives, of the type that the function takes"
)]
pub trait MapSource<T> {
    #[doc(hidden)]
    fn head(self, recorder: &mut Recorder<'_>) -> Head;
}

/// How a source makes instances, and what each is given of it.
#[derive(Debug)]
pub struct Head {
    /// Nothing where something was wrong, which has been told.
    pub(super) shape: Option<Shape>,
    pub(super) slot: Slot,
}

impl Head {
    pub(super) const UNUSABLE: Head = Head { shape: None, slot: Slot::Unusable };
}

impl<T> MapSource<T> for &ArrayHandle<T> {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        let Some(upstream) = recorder.own(&self.task) else { return Head::UNUSABLE };
        mapped(recorder, upstream)
    }
}

pub(super) fn mapped(recorder: &Recorder<'_>, upstream: TaskId) -> Head {
    let width = recorder.store.width(upstream);
    let shape = Shape { kind: ShapeKind::Map(upstream), width };
    Head { shape: Some(shape), slot: Slot::Value(upstream) }
}

impl<T> MapSource<T> for ArrayHandle<T> {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        (&self).head(recorder)
    }
}

impl<T: Serialize + 'static, I: IntoIterator<Item = T>> MapSource<T> for I {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        let first = recorder.store.constants.count();
        for value in self {
            if recorder.constant(&value).is_none() {
                return Head::UNUSABLE;
            }
        }
        let count = recorder.store.constants.count() - first;
        let shape = Shape { kind: ShapeKind::Values(first, count), width: Some(count) };
        Head { shape: Some(shape), slot: Slot::Input }
    }
}

impl<T> MapSource<T> for Sweep {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        let space = self.space(recorder.store);
        let width = space.compile().ok().map(|grid| grid.width());
        Head { shape: Some(Shape { kind: ShapeKind::Sweep(space), width }), slot: Slot::Params }
    }
}

impl<T> MapSource<T> for &Sweep {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        MapSource::<T>::head(self.clone(), recorder)
    }
}

/// Numbers, given as they are.
impl MapSource<f64> for Axis {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        let head: Head = MapSource::<f64>::head(Sweep::new().axis(INPUT, self), recorder);
        Head { slot: Slot::Input, ..head }
    }
}

/// The parameter of a map over values.
pub(super) const INPUT: &str = "input";

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

impl<T> MapSource<T> for Scattered<T> {
    fn head(self, recorder: &mut Recorder<'_>) -> Head {
        let Some(from) = recorder.own(&self.from) else { return Head::UNUSABLE };
        let scatter = Scatter { from, split: self.split, max_items: self.max_items };
        let shape = Shape { kind: ShapeKind::Scatter(scatter), width: None };
        Head { shape: Some(shape), slot: Slot::Item }
    }
}

impl<T> MapSource<T> for &Scattered<T> {
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
