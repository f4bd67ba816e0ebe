//! Values that a program has put on a worker by name, and the functions that do so.
//!
//! Each worker has one shelf. It lives as long as the worker does, and holds a value until that is
//! replaced or removed. Functions reach it through [`Context::get`] and [`Context::set`]; programs
//! through calls of [`Push`], [`Pull`] and [`Remove`], which every worker has. `#[dagrun::task]`
//! does not allow their names, and their signatures do not depend on types: values pass through
//! them unchanged.

use std::marker::PhantomData;

use bytes::Bytes;
use dagrun_core::payload::{self, PayloadError};
use dashmap::DashMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Context, Failure, Function, Inputs, TaskFn};

/// The prefix of the names of functions that every worker has.
pub const BUILT_IN: &str = "dagrun::";

/// The signature of functions that take and return payloads unchanged; a later form of them will
/// have another.
const SIGNATURE: u64 = 1;

/// Values by name.
#[derive(Debug, Default)]
pub(crate) struct Shelf(DashMap<String, Bytes>);

impl Shelf {
    fn get(&self, name: &str) -> Option<Bytes> {
        self.0.get(name).map(|payload| payload.value().clone())
    }

    fn set(&self, name: String, payload: Bytes) {
        self.0.insert(name, payload);
    }

    fn remove(&self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }
}

/// Why a value cannot be read from the worker, or stored there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// There is none of this name.
    #[error("worker {worker} has no value called `{name}`")]
    Missing {
        /// The name.
        name: String,
        /// The worker's name.
        worker: String,
    },
    /// It is of another type, or cannot be encoded.
    #[error("the value called `{name}`")]
    Value {
        /// Its name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: PayloadError,
    },
}

impl Context {
    /// The value that was put under this name on the worker: by a view's `push` or `scatter`, or by
    /// [`Context::set`] in an earlier call.
    ///
    /// ```
    /// use dagrun_worker::function::{Context, ShelfError};
    ///
    /// fn scaled(x: f64, context: &Context) -> Result<f64, ShelfError> {
    ///     Ok(x * context.get::<f64>("factor")?)
    /// }
    ///
    /// let context = Context::detached();
    /// assert!(scaled(2.0, &context).is_err());
    /// context.set("factor", &10.0)?;
    /// assert_eq!(scaled(2.0, &context)?, 20.0);
    /// # Ok::<(), ShelfError>(())
    /// ```
    ///
    /// # Errors
    /// When there is none, or it is not a `T`.
    pub fn get<T: DeserializeOwned + 'static>(&self, name: &str) -> Result<T, ShelfError> {
        let payload = self.shelf.get(name).ok_or_else(|| self.missing(name))?;
        payload::decode(&payload)
            .map_err(|source| ShelfError::Value { name: name.to_owned(), source })
    }

    /// Puts a value under this name on the worker, in place of one that is there. It stays until it
    /// is replaced or removed, or the worker ends; only the worker's memory bounds what is kept.
    ///
    /// # Errors
    /// When the value cannot be encoded.
    pub fn set<T: Serialize + 'static>(&self, name: &str, value: &T) -> Result<(), ShelfError> {
        let payload = payload::encode(value)
            .map_err(|source| ShelfError::Value { name: name.to_owned(), source })?;
        self.shelf.set(name.to_owned(), payload.into());
        Ok(())
    }

    fn missing(&self, name: &str) -> ShelfError {
        ShelfError::Missing { name: name.to_owned(), worker: self.worker.to_string() }
    }
}

/// A payload, whatever is in it: the type of an input that is passed on unchanged.
#[derive(Debug)]
pub struct Raw(());

/// Puts a value on the worker.
#[derive(Clone, Copy, Debug)]
pub struct Push;

/// The value of this name on the worker, which is a `T`.
pub struct Pull<T>(PhantomData<fn() -> T>);

/// Removes the value of this name from the worker, and says whether there was one.
#[derive(Clone, Copy, Debug)]
pub struct Remove;

impl<T> Default for Pull<T> {
    fn default() -> Pull<T> {
        Pull(PhantomData)
    }
}

impl<T> Clone for Pull<T> {
    fn clone(&self) -> Pull<T> {
        *self
    }
}

impl<T> Copy for Pull<T> {}

impl<T> std::fmt::Debug for Pull<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pull")
    }
}

impl TaskFn for Push {
    type Args = (String, Raw);
    type Output = ();
    const NAME: &'static str = "dagrun::push";
    const PARAMS: &'static [&'static str] = &["name", "value"];

    fn signature(self) -> u64 {
        SIGNATURE
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> TaskFn for Pull<T> {
    type Args = (String,);
    type Output = T;
    const NAME: &'static str = "dagrun::pull";
    const PARAMS: &'static [&'static str] = &["name"];

    fn signature(self) -> u64 {
        SIGNATURE
    }
}

impl TaskFn for Remove {
    type Args = (String,);
    type Output = bool;
    const NAME: &'static str = "dagrun::remove";
    const PARAMS: &'static [&'static str] = &["name"];

    fn signature(self) -> u64 {
        SIGNATURE
    }
}

fn push(inputs: &mut Inputs, context: &Context) -> Result<Vec<u8>, Failure> {
    let name = inputs.take::<String>(0)?;
    context.shelf.set(name, inputs.take_payload(1)?);
    super::input::encoded(&())
}

fn pull(inputs: &mut Inputs, context: &Context) -> Result<Vec<u8>, Failure> {
    let name = inputs.take::<String>(0)?;
    let payload = context.shelf.get(&name);
    let payload = payload.ok_or_else(|| Failure::new(context.missing(&name).to_string()))?;
    Ok(payload.into())
}

fn remove(inputs: &mut Inputs, context: &Context) -> Result<Vec<u8>, Failure> {
    let name = inputs.take::<String>(0)?;
    super::input::encoded(&context.shelf.remove(&name))
}

inventory::submit! {
    Function {
        name: Push::NAME,
        params: Push::PARAMS,
        path: || Push::NAME,
        signature: || SIGNATURE,
        call: push,
        fold: None,
    }
}

inventory::submit! {
    Function {
        name: Pull::<()>::NAME,
        params: Pull::<()>::PARAMS,
        path: || Pull::<()>::NAME,
        signature: || SIGNATURE,
        call: pull,
        fold: None,
    }
}

inventory::submit! {
    Function {
        name: Remove::NAME,
        params: Remove::PARAMS,
        path: || Remove::NAME,
        signature: || SIGNATURE,
        call: remove,
        fold: None,
    }
}
