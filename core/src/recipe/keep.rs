//! What becomes of values that are too long to travel with reports.

use serde::{Deserialize, Serialize};

/// Values of up to so many bytes travel with the report.
pub const INLINE: usize = 64 << 10;

/// What becomes of an instance's value that is longer than [`INLINE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// It travels with the report all the same.
    #[default]
    Report,
    /// It stays in the store of the worker that made it.
    Hold,
    /// It becomes a file in the run's directory.
    File,
}
