//! Errors of access to a URL.

use dagrun_core::url;

/// Why something at a URL could not be found, read or written. Holds no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct DataError {
    url: String,
    kind: DataErrorKind,
    reason: String,
}

/// What kind of reason it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataErrorKind {
    /// There is no such object, or no such bucket.
    Missing,
    /// The server does not know the caller, or refuses access.
    Denied,
    /// The server could not be reached, or the connection broke.
    Unreachable,
    /// The URL is malformed, or does not support the operation.
    Unsupported,
    /// A file on this side of the transfer could not be read or written.
    File,
    /// The caller gave up.
    Stopped,
    /// The caller's deadline passed.
    TimedOut,
    /// Anything else that the server answered.
    Refused,
}

impl DataError {
    /// An error about a URL, of which the secrets are left out.
    #[must_use]
    pub fn new(url: &str, kind: DataErrorKind, reason: impl Into<String>) -> DataError {
        DataError { url: url::redacted(url).into_owned(), kind, reason: reason.into() }
    }

    #[cfg(not(feature = "urls"))]
    pub(super) fn left_out(url: &str) -> DataError {
        let reason = "this program was built without URLs (the feature `urls`)";
        DataError::new(url, DataErrorKind::Unsupported, reason)
    }

    /// The URL without its secrets.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What kind of reason it is.
    #[must_use]
    pub fn kind(&self) -> DataErrorKind {
        self.kind
    }

    /// The reason, a lowercase fragment that does not repeat the URL.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
