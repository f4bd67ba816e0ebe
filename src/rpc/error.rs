//! Why the scheduler could not be asked, or what it answered instead.

use std::io;

use dagrun_schema::wire::WireError;

/// Why the scheduler could not be asked, or what it answered instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no scheduler is reachable at {address}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The connection ended.
    #[error("the connection to the scheduler was lost")]
    Lost,
    /// The scheduler did not accept the token or the version of the protocol.
    #[error("the scheduler refused the login: {reason}")]
    Login {
        /// In the scheduler's words.
        reason: String,
    },
    /// The token belongs to a worker.
    #[error("the scheduler refused the login: the token is one for workers")]
    NotAClient,
    /// The scheduler will not do what was asked.
    #[error("{reason}")]
    Refused {
        /// In the scheduler's words.
        reason: String,
    },
    /// The scheduler cannot do it for now: it lacks space.
    #[error("{reason}")]
    NotNow {
        /// In the scheduler's words.
        reason: String,
    },
    /// The scheduler's answer cannot be read.
    #[error("the scheduler's answer cannot be read")]
    Answer(#[from] WireError),
    /// The pipeline cannot be written or read as JSON.
    #[error("the pipeline cannot be written or read as JSON")]
    Pipeline(#[from] serde_json::Error),
}

impl ClientError {
    /// Whether the scheduler could not be reached or was lost, rather than refused something.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        use ClientError::{Login, Lost, NotAClient, Unreachable};
        matches!(self, Unreachable { .. } | Lost | Login { .. } | NotAClient)
    }
}

impl From<capnp::Error> for ClientError {
    fn from(error: capnp::Error) -> Self {
        match error.kind {
            capnp::ErrorKind::Disconnected => ClientError::Lost,
            capnp::ErrorKind::Overloaded => ClientError::NotNow { reason: in_its_words(error) },
            _ => ClientError::Refused { reason: in_its_words(error) },
        }
    }
}

/// What the scheduler said, without what the RPC layer put before it.
pub(super) fn in_its_words(error: capnp::Error) -> String {
    let text = error.extra;
    text.strip_prefix("remote exception: ").map(str::to_owned).unwrap_or(text)
}
