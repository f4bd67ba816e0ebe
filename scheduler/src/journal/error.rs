//! Why a state directory cannot be used.

use std::path::PathBuf;

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
        "{} was written by a newer dagrun: its version is {found}, this program knows up to {known}",
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
    /// A transaction failed: disk full, not writable, damaged.
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
