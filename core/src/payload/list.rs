//! Lists of payloads: building and splitting them.

use std::ops::Range;

use crate::value::write_json_string;

use super::{BYTES, Kind, MESSAGE_PACK, PayloadError, TAG, kind};

/// The payload of a list with these elements: JSON when all are, MessagePack otherwise.
///
/// # Errors
/// When an element is elsewhere or malformed.
pub fn list<'p>(
    elements: impl ExactSizeIterator<Item = &'p [u8]> + Clone,
) -> Result<Vec<u8>, PayloadError> {
    let json = |payload: &[u8]| payload.first() != Some(&TAG);
    if elements.clone().all(json) {
        let mut list = b"[".to_vec();
        for (at, element) in elements.enumerate() {
            if at > 0 {
                list.push(b',');
            }
            list.extend_from_slice(element);
        }
        list.push(b']');
        return Ok(list);
    }
    let mut list = vec![TAG, MESSAGE_PACK, 0xdd];
    let count = u32::try_from(elements.len()).map_err(|_| PayloadError::Malformed)?;
    list.extend_from_slice(&count.to_be_bytes());
    for element in elements {
        push_packed(element, &mut list)?;
    }
    Ok(list)
}

/// The payload of a table with these fields: JSON when all are, MessagePack otherwise.
///
/// # Errors
/// When a field is elsewhere or malformed.
pub fn table(fields: &[(&str, &[u8])]) -> Result<Vec<u8>, PayloadError> {
    if fields.iter().all(|(_, payload)| payload.first() != Some(&TAG)) {
        let mut table = b"{".to_vec();
        for (at, (name, payload)) in fields.iter().enumerate() {
            if at > 0 {
                table.push(b',');
            }
            write_json_string(name.as_bytes(), &mut table);
            table.push(b':');
            table.extend_from_slice(payload);
        }
        table.push(b'}');
        return Ok(table);
    }
    let mut table = vec![TAG, MESSAGE_PACK, 0xdf];
    let count = u32::try_from(fields.len()).map_err(|_| PayloadError::Malformed)?;
    table.extend_from_slice(&count.to_be_bytes());
    for (name, payload) in fields {
        rmp_serde::encode::write(&mut table, name)?;
        push_packed(payload, &mut table)?;
    }
    Ok(table)
}

/// Appends a payload as MessagePack.
fn push_packed(payload: &[u8], to: &mut Vec<u8>) -> Result<(), PayloadError> {
    match kind(payload)? {
        Kind::MessagePack(packed) => to.extend_from_slice(packed),
        Kind::Bytes(bytes) => {
            let length = u32::try_from(bytes.len()).map_err(|_| PayloadError::Malformed)?;
            to.push(0xc6);
            to.extend_from_slice(&length.to_be_bytes());
            to.extend_from_slice(bytes);
        }
        Kind::Json(json) => {
            let mut from = serde_json::Deserializer::from_slice(json);
            serde_transcode::transcode(&mut from, &mut rmp_serde::Serializer::new(to))?;
            from.end()?;
        }
        Kind::Stored(_) => return Err(PayloadError::Elsewhere),
    }
    Ok(())
}

/// Calls `found` with the place of each element of a MessagePack document; `None` when it is no
/// array, or cut off. Some may have been found by then.
pub(crate) fn for_each_packed(packed: &[u8], mut found: impl FnMut(Range<usize>)) -> Option<()> {
    let (count, mut at) = match *packed.first()? {
        marker @ 0x90..=0x9f => (u32::from(marker & 0x0f), 1),
        0xdc => (number(packed, 1, 2)?, 3),
        0xdd => (number(packed, 1, 4)?, 5),
        _ => return None,
    };
    for _ in 0..count {
        let end = end_of(packed, at)?;
        found(at..end);
        at = end;
    }
    (at == packed.len()).then_some(())
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + length)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// Where the value at `start` ends. Does not recurse: nested values are only counted.
fn end_of(packed: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut open) = (start, 1u64);
    while open > 0 {
        open -= 1;
        let marker = *packed.get(at)?;
        at += 1;
        // How many bytes the length takes, then how many bytes follow, and how many values.
        let mut length = |size: usize| {
            let length = number(packed, at, size)?;
            at += size;
            Some(length)
        };
        let (bytes, values) = match marker {
            0x80..=0x8f => (0, 2 * u64::from(marker & 0x0f)),
            0x90..=0x9f => (0, u64::from(marker & 0x0f)),
            0xa0..=0xbf => (usize::from(marker & 0x1f), 0),
            0xc4 | 0xd9 => (length(1)? as usize, 0),
            0xc5 | 0xda => (length(2)? as usize, 0),
            0xc6 | 0xdb => (length(4)? as usize, 0),
            0xc7 => (length(1)? as usize + 1, 0),
            0xc8 => (length(2)? as usize + 1, 0),
            0xc9 => (length(4)? as usize + 1, 0),
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 | 0xd4 => (2, 0),
            0xd5 => (3, 0),
            0xca | 0xce | 0xd2 => (4, 0),
            0xd6 => (5, 0),
            0xcb | 0xcf | 0xd3 => (8, 0),
            0xd7 => (9, 0),
            0xd8 => (17, 0),
            0xdc => (0, length(2)?.into()),
            0xdd => (0, length(4)?.into()),
            0xde => (0, 2 * u64::from(length(2)?)),
            0xdf => (0, 2 * u64::from(length(4)?)),
            0xc1 => return None,
            _ => (0, 0),
        };
        at = at.checked_add(bytes)?;
        open += values;
        if at > packed.len() {
            return None;
        }
    }
    Some(at)
}

/// The payload of a part of a MessagePack document.
pub(crate) fn push_element(packed: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(&[TAG, MESSAGE_PACK]);
    to.extend_from_slice(packed);
}

/// Whether a payload is plain bytes.
#[must_use]
pub fn is_bytes(payload: &[u8]) -> bool {
    payload.starts_with(&[TAG, BYTES])
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::payload::{decode, encode};

    fn elements(packed: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        for_each_packed(packed, |range| found.push(packed[range].to_vec()))?;
        Some(found)
    }

    #[test]
    fn a_list_of_mixed_payloads_is_read_as_one() {
        let parts = [encode(&1.5).unwrap(), encode(&f64::NAN).unwrap(), b"2".to_vec()];
        let together = list(parts.iter().map(Vec::as_slice)).unwrap();
        let back: Vec<f64> = decode(&together.into()).unwrap();
        assert!(back[0] == 1.5 && back[1].is_nan() && back[2] == 2.0, "{back:?}");
        let parts = [encode(&Bytes::from_static(b"\xff\x00")).unwrap(), b"[1]".to_vec()];
        let together = list(parts.iter().map(Vec::as_slice)).unwrap();
        let (bytes, numbers): (Bytes, Vec<u8>) = decode(&together.into()).unwrap();
        assert_eq!((&*bytes, &*numbers), (&b"\xff\x00"[..], &[1u8][..]));
        assert_eq!(list([].into_iter()).unwrap(), b"[]");
        assert_eq!(list([&b"1"[..], b"{}"].into_iter()).unwrap(), b"[1,{}]");
    }

    #[test]
    fn a_table_of_mixed_payloads_is_read_as_one() {
        for x in [2.0, f64::NEG_INFINITY] {
            let x = encode(&x).unwrap();
            let together = table(&[("x", &x), ("a \"b\"", b"[1]")]).unwrap();
            let back: std::collections::BTreeMap<String, Either> =
                decode(&together.into()).unwrap();
            assert_eq!(back["a \"b\""], Either::List(vec![1]));
            assert_eq!(back["x"], Either::Number(decode(&x.into()).unwrap()));
        }
        assert_eq!(table(&[]).unwrap(), b"{}");
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(f64),
        List(Vec<u8>),
    }

    #[test]
    fn what_is_no_array_or_cut_off_has_no_elements() {
        for bad in [&[][..], &[0x01], &[0xdd, 0, 0], &[0x92, 1], &[0x91, 1, 1], &[0x91, 0xc1]] {
            assert_eq!(elements(bad), None, "{bad:?}");
        }
    }

    type Value =
        (Vec<u8>, Option<f64>, String, Vec<(i64, bool)>, std::collections::BTreeMap<u32, f32>);

    fn any_value() -> impl Strategy<Value = Value> {
        let pairs = prop::collection::vec(any::<(i64, bool)>(), 0..20);
        let map = prop::collection::btree_map(any::<u32>(), any::<f32>(), 0..20);
        (prop::collection::vec(any::<u8>(), 0..40), any::<Option<f64>>(), ".{0,300}", pairs, map)
    }

    proptest! {
        #[test]
        fn elements_are_found_where_they_were_written(values in prop::collection::vec(any_value(), 0..40)) {
            let expected: Vec<_> = values.iter().map(|value| rmp_serde::to_vec_named(value).unwrap()).collect();
            prop_assert_eq!(elements(&rmp_serde::to_vec_named(&values).unwrap()), Some(expected));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            elements(&bytes);
        }
    }
}
