//! How calls get and leave long values, whoever keeps them.

use std::fmt;

use bytes::Bytes;
use dagrun_core::ids::RunId;
use dagrun_core::payload::{Stored, Whereabouts};

use super::Keeping;

/// Gets values that are kept elsewhere.
pub trait Fetch: fmt::Debug + Send + Sync {
    /// The payload that `stored` refers to, for an instance of `run`.
    ///
    /// # Errors
    /// Why it cannot be fetched, in words for people.
    fn fetch(&self, run: RunId, stored: &Stored) -> Result<Bytes, String>;
}

/// Decides where the value of an attempt that has succeeded is kept.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// The payload to report: `payload` itself, or a reference to where it is kept now.
    ///
    /// # Errors
    /// Why it could not be kept, in words for people.
    fn keep(&self, of: &Keeping<'_>, payload: Vec<u8>) -> Result<Vec<u8>, String>;
}

/// Keeps nothing: every value travels with its report.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Fetch for Inline {
    fn fetch(&self, _: RunId, stored: &Stored) -> Result<Bytes, String> {
        Err(match &stored.place {
            Whereabouts::Worker(worker, _) => format!("the value is kept by worker {}", worker.0),
            Whereabouts::File(path) => format!("the value is kept in {}", path.display()),
        })
    }
}

impl Keeper for Inline {
    fn keep(&self, _: &Keeping<'_>, payload: Vec<u8>) -> Result<Vec<u8>, String> {
        Ok(payload)
    }
}
