//! The directory that outlives attempts of an instance, for what they leave to those after them.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::attempt::Fault;

/// Makes it, unless it is there; only its owner may look into it.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// The same for an attempt that is about to start.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn prepare(dir: &Path) -> Result<(), Fault> {
    make(dir).map_err(|error| {
        let dir = dir.display();
        Fault::system(&error, format!("cannot create the checkpoint directory {dir}: {error}"))
    })
}

/// Removes it with all that is in it, if it is there: its instance has succeeded.
pub(crate) fn remove(dir: &Path) {
    // Most have none, or left nothing in it. What cannot be removed goes with the run's directory.
    let _ = match fs::remove_dir(dir) {
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => fs::remove_dir_all(dir),
        other => other,
    };
}
