//! What a function can be given: values, and handles of tasks that make them.

use bytes::Bytes;
use dagrun_worker::function::shelf::Raw;
use serde::Serialize;

use super::record::{Recorder, Slot, position};
use super::{Handle, TaskRef};

/// Something that can be given to a function whose input is a `T`: a `T`, or the handle of a task that
/// makes one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given to an input of type `{T}`",
    label = "neither a `{T}` nor a handle of a task that makes one",
    note = "an input takes a value of its own type or `&Handle` of that type; an array goes through `dag.map` or `dag.gather`"
)]
pub trait IntoArg<T> {
    #[doc(hidden)]
    fn record(self, recorder: &mut Recorder<'_>);
}

impl<T: Serialize + 'static> IntoArg<T> for T {
    fn record(self, recorder: &mut Recorder<'_>) {
        let constant = recorder.constant(&self);
        recorder.push(constant.map_or(Slot::Unusable, Slot::Constant));
    }
}

impl<T> IntoArg<T> for &Handle<T> {
    fn record(self, recorder: &mut Recorder<'_>) {
        let task = recorder.own(&self.task);
        recorder.push(task.map_or(Slot::Unusable, Slot::Value));
    }
}

impl<T> IntoArg<T> for Handle<T> {
    fn record(self, recorder: &mut Recorder<'_>) {
        IntoArg::<T>::record(&self, recorder);
    }
}

/// An input that may be missing, of a task that always has a value.
impl<T> IntoArg<Option<T>> for &Handle<T> {
    fn record(self, recorder: &mut Recorder<'_>) {
        IntoArg::<T>::record(self, recorder);
    }
}

impl<T> IntoArg<Option<T>> for Handle<T> {
    fn record(self, recorder: &mut Recorder<'_>) {
        IntoArg::<T>::record(&self, recorder);
    }
}

impl IntoArg<String> for &str {
    fn record(self, recorder: &mut Recorder<'_>) {
        self.to_owned().record(recorder);
    }
}

impl IntoArg<Bytes> for Vec<u8> {
    fn record(self, recorder: &mut Recorder<'_>) {
        Bytes::from(self).record(recorder);
    }
}

/// A payload that is passed on as it is.
#[derive(Clone, Debug)]
pub(crate) struct Encoded(pub(crate) Bytes);

impl IntoArg<Raw> for Encoded {
    fn record(self, recorder: &mut Recorder<'_>) {
        let constant = recorder.record.constants.push(&self.0);
        recorder.push(Slot::Constant(constant));
    }
}

/// The values of several single tasks, as a list.
impl<T> IntoArg<Vec<T>> for &[Handle<T>] {
    fn record(self, recorder: &mut Recorder<'_>) {
        let tasks: Option<Vec<_>> = self.iter().map(|handle| recorder.own(&handle.task)).collect();
        let slot = tasks.map_or(Slot::Unusable, |tasks| {
            recorder.record.lists.push(tasks);
            Slot::Values(position(recorder.record.lists.len() - 1))
        });
        recorder.push(slot);
    }
}

impl<T> IntoArg<Vec<T>> for &Vec<Handle<T>> {
    fn record(self, recorder: &mut Recorder<'_>) {
        self.as_slice().record(recorder);
    }
}

impl<T> IntoArg<Vec<T>> for Vec<Handle<T>> {
    fn record(self, recorder: &mut Recorder<'_>) {
        self.as_slice().record(recorder);
    }
}

/// The arguments for a function whose inputs are `T`, a tuple: a tuple of as many, each [`IntoArg`].
#[diagnostic::on_unimplemented(
    message = "these arguments do not fit a function with the inputs `{T}`",
    label = "not a tuple of values or handles for `{T}`",
    note = "one argument is written with a comma: `(value,)`"
)]
pub trait IntoArgs<T> {
    #[doc(hidden)]
    fn record(self, recorder: &mut Recorder<'_>);
}

macro_rules! into_args {
    ($($given:ident: $taken:ident),*) => {
        impl<$($taken, $given: IntoArg<$taken>),*> IntoArgs<($($taken,)*)> for ($($given,)*) {
            #[allow(non_snake_case, unused_variables)]
            fn record(self, recorder: &mut Recorder<'_>) {
                let ($($given,)*) = self;
                $($given.record(recorder);)*
            }
        }
    };
}

into_args!();
into_args!(A: T);
into_args!(A: T, B: U);
into_args!(A: T, B: U, C: V);
into_args!(A: T, B: U, C: V, D: W);
into_args!(A: T, B: U, C: V, D: W, E: X);
into_args!(A: T, B: U, C: V, D: W, E: X, F: Y);

/// Inputs of which the first has a type of its own: that of what is mapped or gathered.
#[diagnostic::on_unimplemented(
    message = "a function with the inputs `{Self}` has none for what is mapped or gathered",
    label = "takes no input"
)]
pub trait Inputs {
    /// The type of the first.
    type First;
    /// The types of the others, a tuple.
    type Others;
}

macro_rules! inputs {
    ($($other:ident),*) => {
        impl<T, $($other),*> Inputs for (T, $($other,)*) {
            type First = T;
            type Others = ($($other,)*);
        }
    };
}

inputs!();
inputs!(A);
inputs!(A, B);
inputs!(A, B, C);
inputs!(A, B, C, D);
inputs!(A, B, C, D, E);

impl Recorder<'_> {
    /// Notes the values that tasks make, in their order.
    pub(super) fn tasks<'t>(
        &mut self,
        tasks: impl IntoIterator<Item = &'t TaskRef>,
    ) -> Vec<dagrun_core::ids::TaskId> {
        tasks.into_iter().filter_map(|task| self.own(task)).collect()
    }
}
