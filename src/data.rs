//! Files and objects by URL, for functions: `s3://`, `http(s)://`, `file://`, and plain paths.
//!
//! What a pipeline file can do with URLs, a function can do here: list the keys of a bucket, so that a
//! scatter can run over them, read one, write another. Credentials and endpoints come from the
//! environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` and so on). Paths are relative to the current
//! directory.
//!
//! Each is there twice: [`list`], [`read`] and [`write()`] block, wherever they are called;
//! [`list_async`] and so on are futures for any runtime. All of a value is held in memory.
//!
//! ```no_run
//! # fn example() -> Result<(), dagrun::data::DataError> {
//! for url in dagrun::data::list("s3://bucket/points/*.csv")? {
//!     let rows = dagrun::data::read(&url)?.iter().filter(|byte| **byte == b'\n').count();
//!     dagrun::data::write(&url.replace("points", "rows"), rows.to_string())?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! No error holds a secret: users, passwords and queries of URLs are left out.

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dagrun_core::parse::Files;
use dagrun_core::url::Location;
use dagrun_worker::data as remote;
pub use dagrun_worker::data::{DataError, DataErrorKind};

use crate::files::Disk;

/// The URLs or paths that match a pattern like `s3://bucket/data/*.txt` or `data/*.txt`, sorted by their
/// bytes; none when nothing matches. `*` and `?` stop at `/` and pass over hidden files, `**` is any
/// number of directories. A `file://` pattern gives paths.
///
/// # Errors
/// When the pattern is malformed, its place cannot be listed (a web server lists nothing), or a path is
/// not UTF-8.
pub fn list(pattern: &str) -> Result<Vec<String>, DataError> {
    match location(pattern)? {
        Location::Remote(url) => remote::list(url),
        Location::Path(_) => {
            let failed = |reason| DataError::new(pattern, DataErrorKind::File, reason);
            let found = Disk::new("").glob(pattern).map_err(|error| failed(error.reason))?;
            let text = |path: Vec<u8>| String::from_utf8(path);
            let paths = found.into_iter().map(|path| text(path.0)).collect::<Result<_, _>>();
            paths.map_err(|_| failed("a path is not UTF-8".to_owned()))
        }
    }
}

/// The bytes at a URL or path.
///
/// # Errors
/// When they cannot be read.
pub fn read(url: &str) -> Result<Bytes, DataError> {
    match location(url)? {
        Location::Remote(url) => remote::read(url),
        Location::Path(path) => {
            let read = std::fs::read(OsStr::from_bytes(&path));
            read.map(Bytes::from).map_err(|error| local(url, &error))
        }
    }
}

/// Puts bytes at a URL or path, all or nothing: nobody sees a part of them. Directories of a path are
/// made.
///
/// # Errors
/// When they cannot be put there.
pub fn write(url: &str, bytes: impl Into<Bytes>) -> Result<(), DataError> {
    match location(url)? {
        Location::Remote(url) => remote::write(url, bytes),
        Location::Path(path) => {
            let path = Path::new(OsStr::from_bytes(&path));
            write_file(path, &bytes.into()).map_err(|error| local(url, &error))
        }
    }
}

/// As [`list`], as a future. It blocks no runtime.
///
/// # Errors
/// As [`list`].
pub async fn list_async(pattern: &str) -> Result<Vec<String>, DataError> {
    match location(pattern)? {
        Location::Remote(url) => remote::list_async(url.to_owned()).await,
        Location::Path(_) => aside(pattern, list).await,
    }
}

/// As [`read`], as a future. It blocks no runtime.
///
/// # Errors
/// As [`read`].
pub async fn read_async(url: &str) -> Result<Bytes, DataError> {
    match location(url)? {
        Location::Remote(url) => remote::read_async(url.to_owned()).await,
        Location::Path(_) => aside(url, read).await,
    }
}

/// As [`write()`], as a future. It blocks no runtime.
///
/// # Errors
/// As [`write()`].
pub async fn write_async(url: &str, bytes: impl Into<Bytes>) -> Result<(), DataError> {
    let bytes = bytes.into();
    match location(url)? {
        Location::Remote(url) => remote::write_async(url.to_owned(), bytes).await,
        Location::Path(_) => aside(url, move |url| write(url, bytes)).await,
    }
}

/// Does what blocks on a thread of its own.
fn aside<T: Send + 'static>(
    url: &str,
    work: impl FnOnce(&str) -> Result<T, DataError> + Send + 'static,
) -> impl Future<Output = Result<T, DataError>> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let (url, failed) = (url.to_owned(), local(url, &io::ErrorKind::Other.into()));
    std::thread::spawn(move || sender.send(work(&url)));
    async move { receiver.await.unwrap_or(Err(failed)) }
}

fn location(url: &str) -> Result<Location<'_>, DataError> {
    Location::of(url.as_bytes())
        .map_err(|error| DataError::new(url, DataErrorKind::Unsupported, error.to_string()))
}

fn local(url: &str, error: &io::Error) -> DataError {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => DataErrorKind::Missing,
        io::ErrorKind::PermissionDenied => DataErrorKind::Denied,
        _ => DataErrorKind::File,
    };
    DataError::new(url, kind, error.to_string())
}

/// Writes a file beside its place and renames it there.
fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    if !directory.as_os_str().is_empty() {
        std::fs::create_dir_all(directory)?;
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".dagrun-{}-{number}", std::process::id()));
    let temporary: PathBuf = directory.join(temporary);
    let written = std::fs::write(&temporary, bytes);
    let placed = written.and_then(|()| std::fs::rename(&temporary, path));
    if placed.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    placed
}
