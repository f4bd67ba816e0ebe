//! Whether the database that is being written is still what stands at its path: somebody may remove it,
//! cut it off, or put another in its place, and SQLite writes on into a file that nobody will find.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use dagrun_core::ids::RunId;
use dagrun_core::layout;
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

    /// Of a database in memory.
    #[cfg(feature = "simulation")]
    pub(crate) fn in_memory() -> Standing {
        Standing { path: PathBuf::new(), file: None, wal: None }
    }

    /// Looks again, after a commit.
    ///
    /// # Errors
    /// When it is another file, shorter, or none.
    pub(crate) fn check(&mut self) -> Result<(), StoreError> {
        if cfg!(feature = "simulation") && self.path.as_os_str().is_empty() {
            return Ok(());
        }
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

/// Looks at what stands in a state directory, before SQLite touches it; `false` when there is nothing yet.
///
/// # Errors
/// When a database should be there and is not, or it is shorter than it says itself.
pub(crate) fn is_there(state_dir: &Path) -> Result<bool, StoreError> {
    let path = layout::database(state_dir);
    let bytes = path.metadata().ok().map(|found| found.len());
    let is_empty = |path: &Path| path.metadata().map_or(true, |found| found.len() == 0);
    if bytes.unwrap_or(0) == 0 {
        let log = Some(wal(&path)).filter(|log| !is_empty(log));
        if let Some(left) = log.or_else(|| left_by_a_run(state_dir)) {
            return Err(StoreError::Lost { path, empty: bytes.is_some(), left });
        }
        return Ok(bytes.is_some());
    }
    // A log that has not been brought over may hold what is lacking.
    if is_empty(&wal(&path)) && said_bytes(&path).is_some_and(|said| bytes.unwrap_or(0) < said) {
        return Err(StoreError::Damaged { path, source: None });
    }
    Ok(true)
}

/// The directory of a run, if there is any.
fn left_by_a_run(state_dir: &Path) -> Option<PathBuf> {
    let runs = layout::run_dir(state_dir, RunId(0)).parent()?.to_owned();
    let entries = std::fs::read_dir(runs).ok()?;
    let is_run = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.parse::<u64>().is_ok())
    };
    entries.filter_map(|entry| Some(entry.ok()?.path())).find(is_run)
}

/// How long a database is by its own header; `None` where that does not say.
fn said_bytes(path: &Path) -> Option<u64> {
    let mut header = [0; 100];
    File::open(path).and_then(|mut file| file.read_exact(&mut header)).ok()?;
    let word = |at: usize| header.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let page = header.get(16..18)?.try_into().ok().map(u16::from_be_bytes)?;
    let page = if page == 1 { 65_536 } else { u64::from(page) };
    // The number of pages is right if it was written together with the counter of changes.
    let is_right = header.starts_with(START) && word(24)? == word(92)?;
    is_right.then_some(u64::from(word(28)?) * page)
}

/// How every database begins.
const START: &[u8; 16] = b"SQLite format 3\0";

/// Whether a file begins as every database does. One that has not been written yet is none.
fn is_one(path: &Path) -> bool {
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
