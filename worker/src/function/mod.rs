//! Functions of the worker's own program as tasks: how they are registered, and how they are
//! called.
//!
//! `#[dagrun::task]` implements [`TaskFn`] and registers a [`Function`]; the linker gathers those
//! of the whole program. A worker offers all of them. An attempt that is a call looks its function
//! up by name, decodes its inputs ([`FromInput`], [`Gathered`]), calls it on the slot's own thread
//! with a [`Context`], and encodes its result. Errors and panics are a [`Failure`].
//!
//! What affects the whole process is not caught: a function that aborts, exits, or overflows its
//! stack takes the worker with it.

mod call;
mod context;
mod failure;
mod gathered;
mod input;
mod panics;
mod pools;
mod registry;
pub mod shelf;
pub(crate) mod watch;

pub use crate::values::{Fetch, Inline, Keeper};
pub(crate) use call::{Caller, Surroundings};
pub use context::{Cancelled, Context};
pub use failure::Failure;
pub use gathered::{Entry, GatherError, Gathered};
#[doc(hidden)]
pub use input::Elements;
pub use input::{FromInput, Input, Inputs};
pub(crate) use panics::message as panic_message;
pub(crate) use pools::STACK;
pub use registry::{Ambiguous, Function, ambiguous, functions};
pub use shelf::ShelfError;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A function that is a task; `#[dagrun::task]` implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    label = "neither the name of a function with `#[dagrun::task]` nor its `handle`",
    note = "a task is a function with `#[dagrun::task]`; closures and plain functions cannot travel to a worker",
    note = "the function comes first in `task`, `map`, `call` and `apply`, and after the arrays in `gather` and `reduce`"
)]
pub trait TaskFn: Copy + Send + Sync + 'static {
    /// The types of its inputs, as a tuple: `()`, `(A,)`, `(A, B)`…
    type Args;
    /// The type of its value: `T` where it returns `Result<T, E>`.
    type Output: Travels;
    /// What pipelines call it.
    const NAME: &'static str;
    /// The names of its inputs.
    const PARAMS: &'static [&'static str];

    /// Where it is defined: the crate, the modules, and the functions around it.
    #[must_use]
    fn path(self) -> &'static str {
        std::any::type_name::<Self>()
    }

    /// A hash of its path, name and types, which distinguishes it from other functions of this
    /// name, in this program and in others. Types are compared by their paths, not by their
    /// content.
    #[must_use]
    fn signature(self) -> u64 {
        let args = std::any::type_name::<Self::Args>();
        let output = std::any::type_name::<Self::Output>();
        let text = format!("{} {}{args} -> {output}", self.path(), Self::NAME);
        dagrun_core::hash::fnv1a(text.as_bytes())
    }
}

/// A type that a function can return: it travels, so that serde must be able to write and read it.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be what a task returns",
    label = "serde cannot write and read it",
    note = "what a task returns implements `serde::Serialize` and `serde::de::DeserializeOwned`, and is `Send + 'static`: for a type of your own add `#[derive(serde::Serialize, serde::Deserialize)]`"
)]
pub trait Travels: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Travels for T {}

/// The value of a task, from what its function returns: `FALLIBLE` says whether that is a `Result`,
/// even under an alias. The attribute determines it with [`Probe`].
#[doc(hidden)]
pub trait Returned<const FALLIBLE: bool> {
    /// The type of the value.
    type Value;
    /// The type of the error.
    type Error;

    /// The value, or the error.
    ///
    /// # Errors
    /// The function's own.
    fn split(self) -> Result<Self::Value, Self::Error>;
}

impl<T> Returned<false> for T {
    type Value = T;
    type Error = Failure;

    fn split(self) -> Result<T, Failure> {
        Ok(self)
    }
}

impl<T, E> Returned<true> for Result<T, E> {
    type Value = T;
    type Error = E;

    fn split(self) -> Result<T, E> {
        self
    }
}

/// `Probe::<R>::FALLIBLE` is whether `R` is a `Result`: a constant of the type itself takes
/// precedence over that of a trait, [`Infallible`].
#[doc(hidden)]
#[derive(Debug)]
pub struct Probe<R>(std::marker::PhantomData<R>);

impl<T, E> Probe<Result<T, E>> {
    pub const FALLIBLE: bool = true;
}

#[doc(hidden)]
pub trait Infallible {
    const FALLIBLE: bool = false;
}

impl<R> Infallible for Probe<R> {}

/// What the code that `#[dagrun::task]` generates needs. Not a public API.
#[doc(hidden)]
pub mod __private {
    pub use std::ops::Deref;

    pub use inventory;

    pub use super::failure::{Raised, raised};
    pub use super::input::{encode, fold};
    pub use super::{Context, Failure, Function, Infallible, Inputs, Probe, Returned, TaskFn};
}
