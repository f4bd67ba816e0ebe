//! Files that an attempt is given: written before it starts into a directory of its own, and removed
//! with it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dagrun_disk::unfinished::Unfinished;

use crate::attempt::Fault;

/// The directories of an attempt with its files; dropping it removes them.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    dirs: Vec<PathBuf>,
    record: Option<Arc<Unfinished>>,
}

impl Scratch {
    /// Writes the files. `record` keeps the directories, should the worker be killed.
    ///
    /// # Errors
    /// When one cannot be written.
    pub(crate) fn write(
        files: &[(PathBuf, Vec<u8>)],
        record: impl FnOnce() -> Option<Arc<Unfinished>>,
    ) -> Result<Scratch, Fault> {
        if files.is_empty() {
            return Ok(Scratch::default());
        }
        let mut scratch = Scratch { dirs: Vec::new(), record: record() };
        for (path, content) in files {
            let failed = |error: io::Error| {
                Fault::system(&error, format!("cannot write {}: {error}", path.display()))
            };
            if let Some(dir) = path.parent() {
                scratch.make(dir).map_err(failed)?;
            }
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(path).map_err(failed)?;
            file.write_all(content).map_err(failed)?;
        }
        Ok(scratch)
    }

    /// Makes the directory that a file is to be brought into, within the attempt's own.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn make_parent(
        &mut self,
        path: &Path,
        record: impl FnOnce() -> Option<Arc<Unfinished>>,
    ) -> Result<(), Fault> {
        let Some(dir) = path.parent() else { return Ok(()) };
        if self.record.is_none() {
            self.record = record();
        }
        // The attempt's own is what is removed at the end.
        let made = dir.parent().map_or(Ok(()), |own| self.make(own));
        let made = made.and_then(|()| DirBuilder::new().recursive(true).mode(0o700).create(dir));
        made.map_err(|error| {
            Fault::system(&error, format!("cannot create {}: {error}", dir.display()))
        })
    }

    fn make(&mut self, dir: &Path) -> io::Result<()> {
        if self.dirs.iter().any(|known| known == dir) {
            return Ok(());
        }
        if let Some(record) = &self.record {
            record.begin(dir);
        }
        self.dirs.push(dir.to_owned());
        DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for dir in &self.dirs {
            let _ = fs::remove_dir_all(dir);
            if let Some(record) = &self.record {
                record.end(dir);
            }
        }
    }
}
