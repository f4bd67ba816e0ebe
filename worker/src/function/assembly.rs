//! A list or a table put together from payloads: JSON while all of them are, MessagePack otherwise.

use bytes::Bytes;
use dagrun_core::payload::{self, Kind, PayloadError, TAG};
use dagrun_core::value::write_json_string;

/// A list or table in the making.
#[derive(Debug)]
pub(super) struct Assembly {
    table: bool,
    /// Names and values, in order.
    parts: Vec<(String, Bytes)>,
    json: bool,
}

/// `null` of JSON.
const NULL: &[u8] = b"null";

impl Assembly {
    /// A list without elements yet.
    pub(super) fn list() -> Assembly {
        Assembly { table: false, parts: Vec::new(), json: true }
    }

    /// A table without fields yet.
    pub(super) fn table() -> Assembly {
        Assembly { table: true, ..Assembly::list() }
    }

    /// Appends an element.
    pub(super) fn push(&mut self, payload: &Bytes) -> Result<(), PayloadError> {
        self.push_named("", payload)
    }

    /// Appends an element where there is no value.
    pub(super) fn push_nothing(&mut self) -> Result<(), PayloadError> {
        self.push(&Bytes::from_static(NULL))
    }

    /// Appends a field.
    pub(super) fn push_named(&mut self, name: &str, payload: &Bytes) -> Result<(), PayloadError> {
        self.json &= matches!(payload::kind(payload)?, Kind::Json(_));
        self.parts.push((name.to_owned(), payload.clone()));
        Ok(())
    }

    /// The payload of the whole.
    pub(super) fn finish(self) -> Result<Bytes, PayloadError> {
        if self.json { Ok(self.into_json().into()) } else { self.into_message_pack().map(Bytes::from) }
    }

    fn into_json(self) -> Vec<u8> {
        let length: usize = self.parts.iter().map(|(name, part)| name.len() + part.len() + 8).sum();
        let mut json = Vec::with_capacity(length);
        json.push(if self.table { b'{' } else { b'[' });
        for (at, (name, part)) in self.parts.iter().enumerate() {
            if at > 0 {
                json.push(b',');
            }
            if self.table {
                write_json_string(name.as_bytes(), &mut json);
                json.push(b':');
            }
            json.extend_from_slice(part);
        }
        json.push(if self.table { b'}' } else { b']' });
        json
    }

    fn into_message_pack(self) -> Result<Vec<u8>, PayloadError> {
        // The kind of a payload, then that of the array or map, with a length of 32 bits.
        let mut packed = vec![TAG, b'm', if self.table { 0xdf } else { 0xdd }];
        let count = u32::try_from(self.parts.len()).map_err(|_| PayloadError::Malformed)?;
        packed.extend_from_slice(&count.to_be_bytes());
        for (name, part) in &self.parts {
            if self.table {
                rmp_serde::encode::write(&mut packed, name)?;
            }
            match payload::kind(part)? {
                Kind::Json(json) => {
                    let mut from = serde_json::Deserializer::from_slice(json);
                    let mut to = rmp_serde::Serializer::new(&mut packed);
                    serde_transcode::transcode(&mut from, &mut to)?;
                }
                Kind::MessagePack(part) => packed.extend_from_slice(part),
                Kind::Bytes(bytes) => {
                    rmp_serde::encode::write(&mut packed, &Bytes::copy_from_slice(bytes))?;
                }
                Kind::Stored(_) => return Err(PayloadError::Elsewhere),
            }
        }
        Ok(packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(parts: &[Vec<u8>]) -> Bytes {
        let mut list = Assembly::list();
        for part in parts {
            list.push(&part.clone().into()).unwrap();
        }
        list.finish().unwrap()
    }

    #[test]
    fn parts_of_all_kinds_make_one_list() {
        let json = list(&[b"1.5".to_vec(), b"2".to_vec()]);
        assert_eq!(&json[..], b"[1.5,2]");
        let mixed = list(&[b"1.5".to_vec(), payload::encode(&f64::INFINITY).unwrap()]);
        assert_eq!(payload::decode::<Vec<f64>>(&mixed).unwrap(), [1.5, f64::INFINITY]);
        let bytes = list(&[payload::of_bytes(b"\xff"), payload::of_bytes(b"")]);
        let bytes: Vec<Bytes> = payload::decode(&bytes).unwrap();
        assert_eq!(bytes, [&b"\xff"[..], b""]);
        assert_eq!(&list(&[])[..], b"[]");
    }

    #[test]
    fn fields_of_all_kinds_make_one_table() {
        #[derive(serde::Deserialize, PartialEq, Debug)]
        struct Point {
            x: f64,
            name: Option<String>,
        }
        for x in [2.0, f64::NEG_INFINITY] {
            let mut table = Assembly::table();
            table.push_named("x", &payload::encode(&x).unwrap().into()).unwrap();
            table.push_named("name", &Bytes::from_static(b"\"\\\"a\"")).unwrap();
            let point: Point = payload::decode(&table.finish().unwrap()).unwrap();
            assert_eq!(point, Point { x, name: Some("\"a".into()) });
        }
    }

    #[test]
    fn a_reference_is_no_part() {
        let stored = payload::Stored {
            place: payload::Place::File("/x".into()),
            bytes: 1,
            checksum: 2,
        };
        let mut list = Assembly::list();
        list.push(&stored.to_payload().into()).unwrap();
        assert!(list.finish().is_err());
    }
}
