//! Directories and files that only their owner may look into, whatever the umask: what tasks print and
//! return is nobody else's.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Makes a directory and those above it, as far as they are not there.
///
/// # Errors
/// When one cannot be made.
pub fn create_dir_all(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Opens a file as the options say. One that is made is its owner's alone.
///
/// # Errors
/// When it cannot be opened.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.mode(0o600).open(path)
}

/// Makes a file, or empties one that is there.
///
/// # Errors
/// When it cannot be made.
pub fn create(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().write(true).create(true).truncate(true))
}
