//! The directory for temporary files of an attempt, its `TMPDIR`: empty when it starts, and emptied of
//! all that is left in it.
//!
//! Each slot has one, which its attempts take in turn: to make and remove a directory for each takes
//! longer than a short task. They go with the worker's own directory.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags, open};

use crate::attempt::{Fault, is_scarce};

/// A directory that is emptied when this is dropped.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// The directory of the attempt in a slot, below one of the worker's own. `None` where it cannot be
    /// made: the attempt then has the worker's.
    ///
    /// # Errors
    /// When the machine has not what it takes.
    pub(crate) fn new(below: &Path, slot: usize) -> Result<Option<Temporary>, Fault> {
        let path = below.join(format!("tmp-{slot}"));
        let make = || DirBuilder::new().mode(0o700).create(&path);
        let made = match is_empty(&path) {
            Ok(true) => Ok(()),
            // What was left there is not this attempt's.
            Ok(false) => remove(&path).and_then(|()| make()),
            Err(error) if error.kind() == ErrorKind::NotFound => make().or_else(|_| {
                let mut parents = DirBuilder::new();
                parents.recursive(true).mode(0o700).create(below).and_then(|()| make())
            }),
            Err(error) => Err(error),
        };
        match made {
            Ok(()) => Ok(Some(Temporary { path })),
            Err(error) if is_scarce(&error) => {
                let reason = format!("cannot create {}: {error}", path.display());
                Err(Fault::system(&error, reason))
            }
            Err(_) => Ok(None),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Most attempts leave nothing.
        if matches!(is_empty(&self.path), Ok(false)) {
            let _ = remove(&self.path);
        }
    }
}

/// Whether it is a directory, of ours as we made it, with nothing in it. Anything else in its place is
/// not empty.
fn is_empty(path: &Path) -> io::Result<bool> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => return Ok(false),
        opened => opened?,
    };
    for entry in Dir::new(dir)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes whatever is there; links are not followed.
fn remove(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path).or_else(|_| fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_empty_at_first_and_emptied_of_what_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("worker");
        let first = Temporary::new(&below, 3).unwrap().unwrap();
        fs::create_dir(first.path().join("a")).unwrap();
        fs::write(first.path().join("a/b"), "").unwrap();
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists() && below.exists());
        drop(Temporary::new(&below, 3).unwrap());
        assert!(path.exists());
        fs::write(path.join("left"), "").unwrap();
        let second = Temporary::new(&below, 3).unwrap().unwrap();
        assert_eq!(fs::read_dir(second.path()).unwrap().count(), 0);
        assert!(Temporary::new(Path::new("/proc/nowhere"), 0).unwrap().is_none());
    }

    #[test]
    fn what_an_attempt_puts_in_its_place_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (below, other) = (dir.path().join("worker"), dir.path().join("other"));
        fs::create_dir(&other).unwrap();
        fs::write(other.join("kept"), "").unwrap();
        let path = Temporary::new(&below, 0).unwrap().unwrap().path().to_owned();
        for make in [
            (|path: &Path, other: &Path| std::os::unix::fs::symlink(other, path))
                as fn(&Path, &Path) -> _,
            |path, _| fs::write(path, "a file"),
        ] {
            let _ = remove(&path);
            make(&path, &other).unwrap();
            let again = Temporary::new(&below, 0).unwrap().unwrap();
            assert!(fs::symlink_metadata(again.path()).unwrap().is_dir());
            assert!(other.join("kept").exists());
        }
    }
}
