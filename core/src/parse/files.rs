//! The parser's view of files; it opens none itself: the caller provides them.

use std::path::Path;

use crate::output::Kind;
use crate::value::RawString;

/// The files that a pipeline names. Paths are as the author wrote them: relative to the
/// directory of the pipeline file, or absolute.
pub trait Files {
    /// The paths that match a glob pattern, sorted by their bytes, written the way the pattern is
    /// (a relative pattern gives relative paths).
    ///
    /// # Errors
    /// When the pattern is malformed or a directory cannot be read.
    fn glob(&self, pattern: &str) -> Result<Vec<RawString>, FileError>;

    /// The bytes of a file.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError>;

    /// Whether there is a file or directory of this path.
    ///
    /// # Errors
    /// When that cannot be determined.
    fn exists(&self, path: &str) -> Result<bool, FileError>;

    /// What exists at a path, whose last component is not followed if it is a link. What cannot be
    /// examined counts as absent: an attempt to write there reports it.
    fn kind(&self, path: &Path) -> Kind {
        let _ = path;
        Kind::Absent
    }
}

/// Why a file could not be examined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct FileError {
    /// The reason, a lowercase fragment that does not repeat the path.
    pub reason: String,
}

impl FileError {
    /// An error with this reason.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> FileError {
        FileError { reason: reason.into() }
    }
}

/// Files that are all missing: for pipelines that name none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn glob(&self, _pattern: &str) -> Result<Vec<RawString>, FileError> {
        Ok(Vec::new())
    }

    fn read(&self, _path: &str) -> Result<Vec<u8>, FileError> {
        Err(FileError::new("no such file"))
    }

    fn exists(&self, _path: &str) -> Result<bool, FileError> {
        Ok(false)
    }
}
