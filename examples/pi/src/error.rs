//! What can go wrong, one line each: a task's standard error shows it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a subcommand, or not its arguments.
    #[error("{0}")]
    Usage(&'static str),
    /// An argument should be a number.
    #[error("not a number: {0}")]
    NotANumber(String),
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A part that does not exist was asked for.
    #[error("there is no part {part} of {parts}")]
    NoSuchPart {
        /// Which, from 0.
        part: usize,
        /// Of how many.
        parts: usize,
    },
    /// Something else than the digits 0 to 9 in a file of digits.
    #[error("not a digit at byte {0}")]
    NotADigit(usize),
    /// A file of digits without digits.
    #[error("no digits")]
    Empty,
    /// The manifest or a value in it is not what it should be.
    #[error("invalid JSON: {0}")]
    Json(serde_json::Error),
    /// The table is not one of 10 × 10 numbers.
    #[error("line {0} is not a row of ten counts")]
    BadTable(usize),
    /// The counts were not made of that many digits.
    #[error("the counts sum to {found}, but there are {expected} pairs")]
    WrongSum {
        /// What they sum to.
        found: u64,
        /// What they should sum to.
        expected: u64,
    },
    /// The picture could not be drawn.
    #[error("cannot draw: {0}")]
    Draw(String),
    /// The picture could not be encoded.
    #[error("cannot encode the picture: {0}")]
    Encode(#[from] png::EncodingError),
}

impl Error {
    pub fn read(path: impl AsRef<Path>, source: io::Error) -> Error {
        Error::Read { path: path.as_ref().to_owned(), source }
    }

    pub fn write(path: impl AsRef<Path>, source: io::Error) -> Error {
        Error::Write { path: path.as_ref().to_owned(), source }
    }
}
