//! How calls get and leave long values, whoever keeps them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dagrun_core::ids::{InstanceId, RunId};
use dagrun_core::payload::{Stored, Whereabouts};

use super::Keeping;

/// Gets values that are kept elsewhere.
pub trait Fetch: fmt::Debug + Send + Sync {
    /// The payload that `stored` refers to, for an instance of `run`.
    ///
    /// # Errors
    /// Why it cannot be fetched, in words for people.
    fn fetch(&self, run: RunId, stored: &Stored) -> Result<Bytes, NotFetched>;
}

/// Why a value cannot be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFetched {
    /// In words for people.
    pub reason: String,
    /// The instance whose value it is, if it is not where it was.
    pub absent: Option<InstanceId>,
}

/// What a call fetches; it remembers which value was not where it was.
#[derive(Debug)]
pub(crate) struct Watched {
    fetch: Arc<dyn Fetch>,
    absent: OnceLock<InstanceId>,
}

impl Watched {
    pub(crate) fn new(fetch: Arc<dyn Fetch>) -> Watched {
        Watched { fetch, absent: OnceLock::new() }
    }

    /// The instance whose value was the first that was not where it was.
    pub(crate) fn absent(&self) -> Option<InstanceId> {
        self.absent.get().copied()
    }
}

impl Fetch for Watched {
    fn fetch(&self, run: RunId, stored: &Stored) -> Result<Bytes, NotFetched> {
        let fetched = self.fetch.fetch(run, stored);
        if let Err(NotFetched { absent: Some(absent), .. }) = &fetched {
            let _ = self.absent.set(*absent);
        }
        fetched
    }
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
    fn fetch(&self, _: RunId, stored: &Stored) -> Result<Bytes, NotFetched> {
        let reason = match &stored.place {
            Whereabouts::Worker(worker, _) => format!("the value is kept by worker {}", worker.0),
            Whereabouts::File(path) => format!("the value is kept in {}", path.display()),
        };
        Err(NotFetched { reason, absent: None })
    }
}

impl Keeper for Inline {
    fn keep(&self, _: &Keeping<'_>, payload: Vec<u8>) -> Result<Vec<u8>, String> {
        Ok(payload)
    }
}
