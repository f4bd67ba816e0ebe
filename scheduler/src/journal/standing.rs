//! Whether the database that is being written is still what stands at its path: somebody may remove it,
//! cut it off, or put another in its place, and SQLite writes on into a file that nobody will find.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{StoreError, schema};

/// The file that was opened, and what was seen of it last.
#[derive(Debug)]
pub(crate) struct Standing {
    path: PathBuf,
    file: Option<Seen>,
    /// The write-ahead log beside it, which is there from the first commit on.
    wal: Option<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    device: u64,
    inode: u64,
    bytes: u64,
}

impl Seen {
    fn at(path: &Path) -> Option<Seen> {
        let found: Metadata = path.symlink_metadata().ok()?;
        Some(Seen { device: found.dev(), inode: found.ino(), bytes: found.len() })
    }

    fn is(&self, other: &Seen) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl Standing {
    /// What stands at the path of a database that has just been opened.
    pub(crate) fn new(path: &Path) -> Standing {
        Standing { path: path.to_owned(), file: Seen::at(path), wal: Seen::at(&wal(path)) }
    }

    /// Looks again, after a commit.
    ///
    /// # Errors
    /// When it is another file, shorter, or none.
    pub(crate) fn check(&mut self) -> Result<(), StoreError> {
        let removed = || StoreError::Removed { path: self.path.clone() };
        let now = Seen::at(&self.path).ok_or_else(removed)?;
        if let Some(before) = self.file {
            if !now.is(&before) {
                return Err(removed());
            }
            // It only grows: pages are used again, and never given back.
            if now.bytes < before.bytes || !is_one(&self.path) {
                return Err(StoreError::Damaged { path: self.path.clone(), source: None });
            }
        }
        let wal_now = Seen::at(&wal(&self.path));
        match (self.wal, wal_now) {
            (Some(before), Some(now)) if !now.is(&before) => return Err(removed()),
            (Some(_), None) => return Err(removed()),
            _ => {}
        }
        (self.file, self.wal) = (Some(now), wal_now);
        Ok(())
    }

    /// Whether a newer version has changed the tables meanwhile.
    ///
    /// # Errors
    /// When one has, or the database cannot be read.
    pub(crate) fn check_version(&self, database: &Connection) -> Result<(), StoreError> {
        schema::check_version(database, &self.path, |source| {
            StoreError::writing(&self.path, source)
        })
        .map(drop)
    }
}

/// Whether a file begins as every database does. One that has not been written yet is none.
fn is_one(path: &Path) -> bool {
    const START: &[u8; 16] = b"SQLite format 3\0";
    let mut start = Vec::with_capacity(START.len());
    let read = File::open(path).and_then(|file| file.take(16).read_to_end(&mut start));
    // Who may not open it any more cannot say.
    read.is_err() || start.is_empty() || start == START
}

fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}
