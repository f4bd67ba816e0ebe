//! What stands at the path of an output.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use dagrun_core::output::{Kind, Stamp};

/// What an output looks like, behind a link if there is one; `None` where none is.
#[must_use]
pub fn stamp_of(path: &Path) -> Option<Stamp> {
    let found = path.metadata().ok()?;
    if found.is_dir() {
        return Some(Stamp::Directory);
    }
    let seconds = found.mtime().saturating_mul(1_000_000_000);
    let modified = seconds.saturating_add(found.mtime_nsec());
    found.is_file().then_some(Stamp::File { bytes: found.len(), modified })
}

/// What stands at a path; a link in its last component is not followed.
///
/// # Errors
/// When that cannot be seen. A path below something that is no directory is absent.
pub fn kind_of(path: &Path) -> io::Result<Kind> {
    let found = match path.symlink_metadata() {
        Ok(found) => found.file_type(),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Kind::Absent);
        }
        Err(error) => return Err(error),
    };
    Ok(if found.is_file() {
        Kind::File
    } else if found.is_dir() {
        Kind::Directory
    } else if found.is_symlink() {
        Kind::Link(path.read_link()?)
    } else if found.is_fifo() {
        Kind::Fifo
    } else if found.is_socket() {
        Kind::Socket
    } else {
        Kind::Device
    })
}
