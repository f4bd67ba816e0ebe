//! Objects at `s3://` and `http(s)://` URLs: looked up, listed, read and written through the crate
//! `object_store`.
//!
//! ```text
//! blocking callers ─► runtime (one thread) ─► store ─► wire ─► network
//!                                               │        └─► trouble: what the server answered
//!                                               └─► error
//! ```
//!
//! Credentials and endpoints come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` and
//! so on). No error of this module holds a secret: URLs are shown without user and query, and of a
//! server's answer only the status and the error code are shown.
//!
//! Paths and `file://` URLs do not come here, see [`dagrun_core::url`].

mod error;
#[cfg(feature = "urls")]
mod runtime;
#[cfg(feature = "urls")]
mod store;
#[cfg(feature = "urls")]
mod wire;

use std::fs::File;
use std::future::Future;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec};

pub use error::{DataError, DataErrorKind};

/// How long to wait for a transfer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience<'a> {
    /// Readable once the transfer has to end.
    pub wake: Option<BorrowedFd<'a>>,
    /// When the transfer has to end.
    pub deadline: Option<Instant>,
}

impl Patience<'_> {
    /// Whether its time is over.
    pub(crate) fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Whether what it is for has to end, whatever time there may be left.
    pub(crate) fn is_stopped(&self) -> bool {
        self.wake.is_some_and(|wake| {
            let mut wake = [PollFd::new(&wake, PollFlags::IN)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            rustix::event::poll(&mut wake, Some(&now)).is_ok_and(|ready| ready > 0)
        })
    }
}

/// Whether there is an object at a URL.
///
/// # Errors
/// When this cannot be determined.
pub fn exists(url: &str) -> Result<bool, DataError> {
    wait(url, Patience::default(), ops::exists(url.to_owned()))
}

/// The URLs that match a pattern like `s3://bucket/data/*.txt`, sorted by their bytes; empty when
/// there are none. `*` and `?` do not match `/`; `**` matches any number of directories.
///
/// # Errors
/// When the pattern is malformed, or the server cannot list.
pub fn list(pattern: &str) -> Result<Vec<String>, DataError> {
    wait(pattern, Patience::default(), ops::list(pattern.to_owned()))
}

/// As [`list`], for callers that do not block.
///
/// # Errors
/// As [`list`].
pub fn list_async(
    pattern: String,
) -> impl Future<Output = Result<Vec<String>, DataError>> + Send + 'static {
    spawn(pattern.clone(), ops::list(pattern))
}

/// The bytes at a URL.
///
/// # Errors
/// When they cannot be read.
pub fn read(url: &str) -> Result<Bytes, DataError> {
    wait(url, Patience::default(), ops::read(url.to_owned()))
}

/// As [`read`], for callers that do not block.
///
/// # Errors
/// As [`read`].
pub fn read_async(url: String) -> impl Future<Output = Result<Bytes, DataError>> + Send + 'static {
    spawn(url.clone(), ops::read(url))
}

/// Puts bytes at a URL, all or nothing.
///
/// # Errors
/// When they cannot be put there.
pub fn write(url: &str, bytes: impl Into<Bytes>) -> Result<(), DataError> {
    wait(url, Patience::default(), ops::write(url.to_owned(), bytes.into()))
}

/// As [`write()`], for callers that do not block.
///
/// # Errors
/// As [`write()`].
pub fn write_async(
    url: String,
    bytes: impl Into<Bytes>,
) -> impl Future<Output = Result<(), DataError>> + Send + 'static {
    spawn(url.clone(), ops::write(url, bytes.into()))
}

/// Appends the bytes at a URL to a file.
///
/// # Errors
/// When they cannot be read or written, or the patience runs out.
pub fn download(url: &str, file: File, patience: Patience<'_>) -> Result<(), DataError> {
    wait(url, patience, ops::download(url.to_owned(), file))
}

/// Puts a file at a URL, all or nothing.
///
/// # Errors
/// When it cannot be put there, or the patience runs out; then nothing at the URL has changed.
pub fn upload(file: File, url: &str, patience: Patience<'_>) -> Result<(), DataError> {
    wait(url, patience, ops::upload(url.to_owned(), file))
}

/// Removes the object at a URL. It is no error if there is none.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(url: &str) -> Result<(), DataError> {
    wait(url, Patience::default(), ops::remove(url.to_owned()))
}

#[cfg(feature = "urls")]
use runtime::{spawn, wait};
#[cfg(feature = "urls")]
use store as ops;

/// Stands in for the stores where there are none.
#[cfg(not(feature = "urls"))]
mod ops {
    use super::{Bytes, DataError, File};

    pub(super) async fn exists(url: String) -> Result<bool, DataError> {
        Err(DataError::left_out(&url))
    }

    pub(super) async fn list(pattern: String) -> Result<Vec<String>, DataError> {
        Err(DataError::left_out(&pattern))
    }

    pub(super) async fn read(url: String) -> Result<Bytes, DataError> {
        Err(DataError::left_out(&url))
    }

    pub(super) async fn write(url: String, _: Bytes) -> Result<(), DataError> {
        Err(DataError::left_out(&url))
    }

    pub(super) async fn download(url: String, _: File) -> Result<(), DataError> {
        Err(DataError::left_out(&url))
    }

    pub(super) async fn upload(url: String, _: File) -> Result<(), DataError> {
        Err(DataError::left_out(&url))
    }

    pub(super) async fn remove(url: String) -> Result<(), DataError> {
        Err(DataError::left_out(&url))
    }
}

#[cfg(not(feature = "urls"))]
fn wait<T>(
    _: &str,
    _: Patience<'_>,
    work: impl Future<Output = Result<T, DataError>>,
) -> Result<T, DataError> {
    futures::FutureExt::now_or_never(work).unwrap_or_else(|| Err(DataError::left_out("")))
}

#[cfg(not(feature = "urls"))]
fn spawn<T: Send + 'static>(
    _: String,
    work: impl Future<Output = Result<T, DataError>> + Send + 'static,
) -> impl Future<Output = Result<T, DataError>> + Send + 'static {
    work
}
