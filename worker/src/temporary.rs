//! The directory for temporary files of an attempt, its `TMPDIR`: empty when it starts, and removed
//! with all that is left in it.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A directory that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// Makes the directory of the attempt in a slot, below one of the worker's own. `None` where that
    /// is not possible: the attempt then has the worker's.
    pub(crate) fn new(below: &Path, slot: usize) -> Option<Temporary> {
        let path = below.join(format!("tmp-{slot}"));
        let make = || DirBuilder::new().mode(0o700).create(&path);
        let made = match make() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut parents = DirBuilder::new();
                parents.recursive(true).mode(0o700).create(below).and_then(|()| make())
            }
            // What a crash left there is not this attempt's.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::remove_dir_all(&path).and_then(|()| make())
            }
            made => made,
        };
        made.ok().map(|()| Temporary { path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Most attempts leave nothing.
        if fs::remove_dir(&self.path).is_err() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_empty_at_first_and_removed_with_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("worker");
        let first = Temporary::new(&below, 3).unwrap();
        fs::create_dir(first.path().join("a")).unwrap();
        fs::write(first.path().join("a/b"), "").unwrap();
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists() && below.exists());
        fs::create_dir(&path).unwrap();
        fs::write(path.join("left"), "").unwrap();
        let second = Temporary::new(&below, 3).unwrap();
        assert_eq!(fs::read_dir(second.path()).unwrap().count(), 0);
        assert!(Temporary::new(Path::new("/proc/nowhere"), 0).is_none());
    }
}
