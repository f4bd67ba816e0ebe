//! Payloads: how the value of an instance is encoded as bytes.
//!
//! Most values are JSON documents, as commands capture them. The result of a function is JSON if
//! that is short and lossless, MessagePack otherwise (numbers that are not finite, long arrays);
//! bytes are stored as they are. A value that is stored elsewhere is a reference. All but JSON
//! begin with a byte that neither JSON nor MessagePack ever begins with, and one for the kind:
//!
//! | bytes | kind |
//! | --- | --- |
//! | anything else | a JSON document |
//! | `C1 62` | the bytes that follow |
//! | `C1 6D` | the MessagePack document that follows |
//! | `C1 72` | a reference to where the value is, [`Stored`] |

mod file;
mod list;

use std::any::Any;
use std::borrow::Cow;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ids::{InstanceId, TaskId, WorkerId};
use crate::value::write_json_string;

pub use file::{file_form, file_head};
pub(crate) use list::{for_each_packed, push_element};
pub use list::{is_bytes, list, table};

/// The first byte of all that is not JSON.
pub const TAG: u8 = 0xC1;
const BYTES: u8 = b'b';
const MESSAGE_PACK: u8 = b'm';
const STORED: u8 = b'r';

/// Values up to this many bytes are encoded as JSON if possible, so that people can read them.
const SHORT: usize = 4096;

/// The kind of a value's encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A JSON document.
    Json(&'a [u8]),
    /// Plain bytes.
    Bytes(&'a [u8]),
    /// A MessagePack document; structures are maps by the names of their fields.
    MessagePack(&'a [u8]),
    /// The value is elsewhere.
    Stored(Stored),
}

/// The location of a value that is not sent with reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where it is stored.
    pub place: Whereabouts,
    /// Its length in bytes, of the payload as a whole.
    pub bytes: u64,
    /// XXH3 (64 bits) of the payload.
    pub checksum: u64,
}

/// Where a value is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// The store of a worker, as the value of this instance of the run.
    Worker(WorkerId, InstanceId),
    /// A file, absolute; see [`file_form`] for what is in it.
    File(PathBuf),
}

impl Whereabouts {
    /// The instance whose value it is, if a worker keeps it.
    #[must_use]
    pub fn instance(&self) -> Option<InstanceId> {
        match self {
            Whereabouts::Worker(_, instance) => Some(*instance),
            Whereabouts::File(_) => None,
        }
    }
}

/// Why bytes are not a value, or not one of the requested type.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The value could not be written.
    #[error("the value cannot be encoded: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    /// The JSON document does not fit the type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The MessagePack document does not fit the type.
    #[error("{0}")]
    MessagePack(#[from] rmp_serde::decode::Error),
    /// A part of the value does not fit the type.
    #[error("{path}: {error}")]
    At {
        /// Which part: `terms.strike`, `[3]`.
        path: String,
        /// What is wrong with it.
        #[source]
        error: Box<PayloadError>,
    },
    /// The value is elsewhere and must be fetched first.
    #[error("the value is not here")]
    Elsewhere,
    /// The bytes begin like a payload but are not one.
    #[error("the bytes of the value are malformed")]
    Malformed,
}

impl PayloadError {
    /// What is wrong, without the position in JSON text that the user has never seen.
    #[must_use]
    pub fn reason(&self) -> String {
        let text = self.to_string();
        match self {
            PayloadError::Json(json) => {
                let place = format!(" at line {} column {}", json.line(), json.column());
                text.strip_suffix(place.as_str()).unwrap_or(&text).to_owned()
            }
            PayloadError::At { path, error } => format!("{path}: {}", error.reason()),
            _ => text,
        }
    }
}

/// The kind of these bytes. Bytes with the tag and an unknown kind are not a payload.
///
/// # Errors
/// When they begin with the tag and are malformed.
pub fn kind(payload: &[u8]) -> Result<Kind<'_>, PayloadError> {
    match payload {
        [TAG, BYTES, rest @ ..] => Ok(Kind::Bytes(rest)),
        [TAG, MESSAGE_PACK, rest @ ..] => Ok(Kind::MessagePack(rest)),
        [TAG, STORED, rest @ ..] => {
            Stored::read(rest).map(Kind::Stored).ok_or(PayloadError::Malformed)
        }
        [TAG, ..] => Err(PayloadError::Malformed),
        json => Ok(Kind::Json(json)),
    }
}

/// Where the value is, when it is elsewhere.
#[must_use]
pub fn stored(payload: &[u8]) -> Option<Stored> {
    match payload {
        [TAG, STORED, rest @ ..] => Stored::read(rest),
        _ => None,
    }
}

impl Stored {
    /// The payload that refers to it.
    #[must_use]
    pub fn to_payload(&self) -> Vec<u8> {
        let mut payload = vec![TAG, STORED];
        payload.extend_from_slice(&self.bytes.to_le_bytes());
        payload.extend_from_slice(&self.checksum.to_le_bytes());
        match &self.place {
            Whereabouts::Worker(worker, instance) => {
                payload.push(0);
                for number in [worker.0, instance.task.0, instance.index] {
                    payload.extend_from_slice(&number.to_le_bytes());
                }
            }
            Whereabouts::File(path) => {
                payload.push(1);
                payload.extend_from_slice(path.as_os_str().as_bytes());
            }
        }
        payload
    }

    fn read(bytes: &[u8]) -> Option<Stored> {
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let (checksum, rest) = rest.split_first_chunk::<8>()?;
        let place = match rest {
            [0, numbers @ ..] => {
                let (worker, rest) = numbers.split_first_chunk()?;
                let (task, index) = rest.split_first_chunk()?;
                let instance = InstanceId {
                    task: TaskId(u32::from_le_bytes(*task)),
                    index: u32::from_le_bytes(index.try_into().ok()?),
                };
                Whereabouts::Worker(WorkerId(u32::from_le_bytes(*worker)), instance)
            }
            [1, path @ ..] => Whereabouts::File(std::ffi::OsString::from_vec(path.to_vec()).into()),
            _ => return None,
        };
        Some(Stored {
            place,
            bytes: u64::from_le_bytes(*length),
            checksum: u64::from_le_bytes(*checksum),
        })
    }
}

/// The payload of a value: its bytes where it is [`Bytes`], JSON where that is short and lossless,
/// MessagePack otherwise.
///
/// # Errors
/// When the value cannot be serialised.
pub fn encode<T: Serialize + 'static>(value: &T) -> Result<Vec<u8>, PayloadError> {
    if let Some(bytes) = (value as &dyn Any).downcast_ref::<Bytes>() {
        return Ok(tagged(BYTES, bytes));
    }
    let mut packed = vec![TAG, MESSAGE_PACK];
    rmp_serde::encode::write_named(&mut packed, value)?;
    if packed.len() <= SHORT
        && let Ok(json) = serde_json::to_vec(value)
        // JSON's null may have been a number that is not finite.
        && !json.windows(4).any(|word| word == b"null")
    {
        return Ok(json);
    }
    Ok(packed)
}

fn tagged(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(bytes.len() + 2);
    payload.extend_from_slice(&[TAG, kind]);
    payload.extend_from_slice(bytes);
    payload
}

/// The value of a payload. [`Bytes`] are taken out without a copy.
///
/// # Errors
/// When it is elsewhere, malformed or not of this type.
pub fn decode<T: DeserializeOwned + 'static>(payload: &Bytes) -> Result<T, PayloadError> {
    match kind(payload)? {
        Kind::Json(json) => serde_json::from_slice(json).map_err(|error| {
            let mut again = serde_json::Deserializer::from_slice(json);
            located(error, serde_path_to_error::deserialize::<_, T>(&mut again))
        }),
        Kind::MessagePack(packed) => rmp_serde::from_slice(packed).map_err(|error| {
            let mut again = rmp_serde::Deserializer::from_read_ref(packed);
            located(error, serde_path_to_error::deserialize::<_, T>(&mut again))
        }),
        Kind::Stored(_) => Err(PayloadError::Elsewhere),
        Kind::Bytes(_) => {
            let mut bytes = Some(payload.slice(2..));
            let mut found: Option<T> = None;
            if let Some(found) = (&mut found as &mut dyn Any).downcast_mut::<Option<Bytes>>() {
                *found = bytes.take();
            }
            match (found, bytes) {
                (Some(found), _) => Ok(found),
                // Another type that deserialises from bytes.
                (None, Some(bytes)) => Ok(rmp_serde::from_slice(&rmp_serde::to_vec(&bytes)?)?),
                (None, None) => Err(PayloadError::Malformed),
            }
        }
    }
}

/// The error with its position in the value, which a second read has found.
fn located<T, E: Into<PayloadError>>(
    error: E,
    again: Result<T, serde_path_to_error::Error<E>>,
) -> PayloadError {
    match again {
        Err(at) if at.path().iter().next().is_some() => PayloadError::At {
            path: at.path().to_string(),
            error: Box::new(at.into_inner().into()),
        },
        _ => error.into(),
    }
}

/// The value as a JSON document: numbers that are not finite become null, bytes become text, with
/// those that are not UTF-8 as the lone surrogates `\udc80` to `\udcff`.
///
/// # Errors
/// When it is elsewhere, malformed, or has keys that JSON cannot have.
pub fn to_json(payload: &[u8]) -> Result<Cow<'_, [u8]>, PayloadError> {
    match kind(payload)? {
        Kind::Json(json) => Ok(json.into()),
        Kind::Bytes(bytes) => {
            let mut json = Vec::with_capacity(bytes.len() + 2);
            write_json_string(bytes, &mut json);
            Ok(json.into())
        }
        Kind::MessagePack(packed) => {
            let mut json = Vec::new();
            let mut from = rmp_serde::Deserializer::from_read_ref(packed);
            let mut to = serde_json::Serializer::new(&mut json);
            serde_transcode::transcode(&mut from, &mut to)?;
            Ok(json.into())
        }
        Kind::Stored(_) => Err(PayloadError::Elsewhere),
    }
}

/// The payload of plain bytes.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> Vec<u8> {
    tagged(BYTES, bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn there_and_back<T>(value: &T) -> T
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        decode(&encode(value).unwrap().into()).unwrap()
    }

    #[test]
    fn short_values_are_json() {
        assert_eq!(encode(&1.5).unwrap(), b"1.5");
        assert_eq!(encode(&vec!["a", "b"]).unwrap(), b"[\"a\",\"b\"]");
        assert_eq!(there_and_back(&(1, "x".to_owned(), 0.1 + 0.2)), (1, "x".into(), 0.1 + 0.2));
    }

    #[test]
    fn what_json_would_lose_is_kept() {
        assert!(there_and_back(&f64::NAN).is_nan());
        assert_eq!(there_and_back(&vec![f64::INFINITY, 1.0]), [f64::INFINITY, 1.0]);
        let by_pair = BTreeMap::from([((1, 2), 3.0)]);
        assert_eq!(there_and_back(&by_pair), by_pair);
        assert_eq!(there_and_back(&Some(1)), Some(1));
        assert_eq!(there_and_back(&None::<f64>), None);
        let long: Vec<f64> = (0..10_000).map(|at| f64::from(at) / 7.0).collect();
        assert_eq!(there_and_back(&long), long);
    }

    #[test]
    fn bytes_are_themselves() {
        let bytes = Bytes::from_static(b"\xff\x00x");
        let payload = Bytes::from(encode(&bytes).unwrap());
        assert_eq!(payload.len(), 5);
        let back: Bytes = decode(&payload).unwrap();
        assert_eq!(back, bytes);
        assert_eq!(back.as_ptr(), payload[2..].as_ptr(), "no copy");
        assert_eq!(&*to_json(&payload).unwrap(), br#""\udcff\u0000x""#);
    }

    #[test]
    fn every_kind_has_a_json_form() {
        let payload = encode(&vec![f64::NAN, 2.0]).unwrap();
        assert_eq!(&*to_json(&payload).unwrap(), b"[null,2.0]");
        assert_eq!(&*to_json(b"{\"a\": 1}").unwrap(), b"{\"a\": 1}");
    }

    #[test]
    fn references_survive_and_malformed_ones_are_refused() {
        for place in [
            Whereabouts::Worker(WorkerId(7), InstanceId { task: TaskId(3), index: 9 }),
            Whereabouts::File("/a b/\u{e4}".into()),
        ] {
            let place = Stored { place, bytes: 1 << 40, checksum: u64::MAX };
            let payload = place.to_payload();
            assert_eq!(stored(&payload), Some(place.clone()));
            assert_eq!(kind(&payload).unwrap(), Kind::Stored(place));
            assert!(matches!(decode::<u32>(&payload.into()), Err(PayloadError::Elsewhere)));
        }
        for malformed in [&[TAG][..], &[TAG, b'?'], &[TAG, STORED, 1, 2], &[TAG, MESSAGE_PACK]] {
            assert!(
                to_json(malformed).is_err() && decode::<u32>(&malformed.to_vec().into()).is_err()
            );
        }
    }
}
