//! Why a state directory cannot be used.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rustix::fs::{Access, access, statvfs};
use rustix::io::Errno;

/// With less than so many bytes free nothing can be written.
const NOTHING: u64 = 64 << 10;

/// Why the state directory could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The state directory could not be created.
    #[error("cannot create the state directory {}", path.display())]
    CreateDir {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The database could not be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The database.
        path: PathBuf,
        /// The error of SQLite.
        source: rusqlite::Error,
    },
    /// A newer dagrun has written the database.
    #[error(
        "{} was written by a newer dagrun: its version is {found}, this program knows up to {known}; \
         it is left alone: begin beside it (--state-dir DIR)",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// The version of the database.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The database is not where it was any more.
    #[error(
        "{} has been removed or replaced; what is there now is left alone, and what ran since may be \
         lost: begin anew, here or beside it (--state-dir DIR)",
        path.display()
    )]
    Removed {
        /// The database.
        path: PathBuf,
    },
    /// There is no database, or an empty one, where runs have left something.
    #[error(
        "{} is {}, but {} is there, which a run has left: all of it is left alone; put the database back, \
         or begin beside it (--state-dir DIR)",
        path.display(), if *empty { "empty" } else { "missing" }, left.display()
    )]
    Lost {
        /// The database.
        path: PathBuf,
        /// Whether there is an empty one.
        empty: bool,
        /// What is there.
        left: PathBuf,
    },
    /// The database is damaged.
    #[error(
        "{} is damaged; it is left alone: move it away, or begin beside it (--state-dir DIR)",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The error of SQLite, if it was noticed there.
        source: Option<rusqlite::Error>,
    },
    /// No space is left where the state directory is.
    #[error("the state directory is full: cannot write {}", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// The state directory, or what is in it, may not be written.
    #[error("the state directory cannot be written: {}", path.display())]
    ReadOnly {
        /// The directory, or the file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The database cannot be read where it is, and could not be copied.
    #[error("cannot copy {} to a place where it can be read", path.display())]
    Copy {
        /// The database.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A transaction failed: not writable, damaged.
    #[error("cannot write {}", path.display())]
    Write {
        /// The database.
        path: PathBuf,
        /// The error of SQLite.
        source: rusqlite::Error,
    },
    /// A file beside the database could not be written.
    #[error("cannot write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The writing thread could not be started.
    #[error("cannot start the thread that writes the state directory")]
    Thread(#[source] std::io::Error),
    /// Writing has stopped after an earlier error, or because the scheduler is ending.
    #[error("the state directory is no longer written: {0}")]
    Stopped(String),
}

impl StoreError {
    /// The database could not be opened for writing.
    pub(crate) fn opening(path: &Path, source: rusqlite::Error) -> StoreError {
        StoreError::known(path, &source).unwrap_or_else(|| StoreError::reading(path, source))
    }

    /// The database could not be read.
    pub(crate) fn reading(path: &Path, source: rusqlite::Error) -> StoreError {
        match is_damage(&source) {
            true => StoreError::Damaged { path: path.to_owned(), source: Some(source) },
            false => StoreError::Open { path: path.to_owned(), source },
        }
    }

    /// Whether what stands at the path is not to be touched any more.
    pub(crate) fn is_about_the_file(&self) -> bool {
        use StoreError::{Damaged, Lost, Newer, Removed};
        matches!(self, Damaged { .. } | Lost { .. } | Newer { .. } | Removed { .. })
    }

    /// The database could not be written.
    pub(crate) fn writing(path: &Path, source: rusqlite::Error) -> StoreError {
        StoreError::known(path, &source).unwrap_or_else(|| match is_damage(&source) {
            true => StoreError::Damaged { path: path.to_owned(), source: Some(source) },
            false => StoreError::Write { path: path.to_owned(), source },
        })
    }

    /// The database may not be written.
    pub(crate) fn read_only(path: &Path) -> StoreError {
        let opened = OpenOptions::new().write(true).open(path).map(drop);
        let source = opened.err().unwrap_or_else(|| std::io::ErrorKind::ReadOnlyFilesystem.into());
        StoreError::ReadOnly { path: path.to_owned(), source }
    }

    /// There is no space for a database to grow.
    pub(crate) fn full(path: &Path) -> StoreError {
        StoreError::Full { path: path.to_owned() }
    }

    /// Whether the same will succeed once there is space.
    pub(crate) fn is_about_space(&self) -> bool {
        match self {
            StoreError::Full { .. } => true,
            StoreError::File { source, .. } => is_no_space(source),
            _ => false,
        }
    }

    /// What the words of SQLite hide: a full disk, or one that may not be written.
    fn known(path: &Path, source: &rusqlite::Error) -> Option<StoreError> {
        let dir = path.parent()?;
        if source.sqlite_error_code() == Some(ErrorCode::DiskFull) || is_full(dir) {
            return Some(StoreError::full(path));
        }
        let read_only =
            |path: &Path, source| StoreError::ReadOnly { path: path.to_owned(), source };
        if let Err(error) = access(dir, Access::WRITE_OK | Access::EXEC_OK) {
            return Some(read_only(dir, error.into()));
        }
        let opened = path.exists().then(|| OpenOptions::new().write(true).open(path));
        opened?.err().map(|error| read_only(path, error))
    }

    /// Whether another state directory would do, where this one does not.
    #[must_use]
    pub fn is_about_the_place(&self) -> bool {
        use StoreError::{CreateDir, Full, ReadOnly};
        matches!(self, CreateDir { .. } | Full { .. } | ReadOnly { .. })
    }
}

/// Whether a file could not be written as there is no space for it, or for its owner.
pub(crate) fn is_no_space(error: &std::io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| errno == Errno::NOSPC || errno == Errno::DQUOT)
}

/// Whether no file can grow in a directory. SQLite says so of a disk, but not of a quota, nor of a disk
/// that is noticed to be full only when what was written is synced.
fn is_full(dir: &Path) -> bool {
    let left = statvfs(dir).map(|there| there.f_bavail.saturating_mul(there.f_frsize));
    left.is_ok_and(|left| left < NOTHING)
        || try_to_write(dir).is_err_and(|error| is_no_space(&error))
}

/// Writes a file and removes it again.
fn try_to_write(dir: &Path) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&[0; NOTHING as usize])?;
    file.as_file().sync_all()
}

/// Whether SQLite says that the file is none of its own, or not as it wrote it.
fn is_damage(error: &rusqlite::Error) -> bool {
    let codes = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase];
    error.sqlite_error_code().is_some_and(|code| codes.contains(&code))
}
