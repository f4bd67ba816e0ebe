//! What stands at the path of an output.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use dagrun_core::output::Kind;

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
