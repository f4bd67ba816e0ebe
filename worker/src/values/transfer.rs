//! The protocol by which values go from worker to worker.
//!
//! Over one connection, any number of times: a request of 48 bytes, and the answer to it. All
//! numbers are little-endian.
//!
//! ```text
//! request   secret [32]   run u64   task u32   index u32
//! answer    status u8     length u64   checksum u64   the bytes
//! ```
//!
//! The status is 0, or 1 for a value that is not there; then length and checksum are 0. A request
//! with a wrong secret closes the connection without an answer.

use std::fmt;
use std::io;

use dagrun_core::ids::{InstanceId, RunId, TaskId};
use subtle::ConstantTimeEq;

use super::ValueId;

pub(super) const REQUEST: usize = 48;
pub(super) const ANSWER: usize = 17;

const FOUND: u8 = 0;
const UNKNOWN: u8 = 1;

/// The secret that a worker needs to fetch values from another.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A new random secret.
    ///
    /// # Errors
    /// When the system provides no random bytes.
    pub fn random() -> io::Result<Secret> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Secret(bytes))
    }

    /// The secret of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Secret {
        Secret(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

pub(super) fn request(secret: &Secret, id: ValueId) -> [u8; REQUEST] {
    let mut bytes = [0; REQUEST];
    bytes[..32].copy_from_slice(&secret.0);
    bytes[32..40].copy_from_slice(&id.run.0.to_le_bytes());
    bytes[40..44].copy_from_slice(&id.instance.task.0.to_le_bytes());
    bytes[44..].copy_from_slice(&id.instance.index.to_le_bytes());
    bytes
}

/// The requested value, if the request carries the secret.
pub(super) fn read_request(bytes: &[u8; REQUEST], secret: &Secret) -> Option<ValueId> {
    let (claimed, rest) = bytes.split_first_chunk::<32>()?;
    let known: bool = claimed.ct_eq(&secret.0).into();
    let (run, rest) = rest.split_first_chunk()?;
    let (task, rest) = rest.split_first_chunk()?;
    let index = rest.try_into().ok()?;
    let instance =
        InstanceId { task: TaskId(u32::from_le_bytes(*task)), index: u32::from_le_bytes(index) };
    known.then_some(ValueId { run: RunId(u64::from_le_bytes(*run)), instance })
}

/// The head of an answer: length and checksum; `None` for a value that is not there.
pub(super) fn answer(found: Option<(u64, u64)>) -> [u8; ANSWER] {
    let mut bytes = [0; ANSWER];
    let (length, checksum) = found.unwrap_or_default();
    bytes[0] = if found.is_some() { FOUND } else { UNKNOWN };
    bytes[1..9].copy_from_slice(&length.to_le_bytes());
    bytes[9..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The content of the head of an answer. The outer `None`: it is malformed.
pub(super) fn read_answer(bytes: &[u8; ANSWER]) -> Option<Option<(u64, u64)>> {
    let (status, rest) = bytes.split_first()?;
    let (length, checksum) = rest.split_first_chunk()?;
    let numbers = (u64::from_le_bytes(*length), u64::from_le_bytes(checksum.try_into().ok()?));
    match *status {
        FOUND => Some(Some(numbers)),
        UNKNOWN => Some(None),
        _ => None,
    }
}
