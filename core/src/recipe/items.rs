//! The elements of captured JSON arrays, as the instances of a scatter get them.

use std::ops::Range;

use crate::payload::{self, Kind};
use crate::pipeline::Split;

/// How many elements an array has; `None` when the value is no array. The value is a payload, see
/// [`crate::payload`].
///
/// A JSON document is assumed to be valid, as it was checked when it was captured: only its
/// outermost level is scanned.
#[must_use]
pub fn count_items(value: &[u8]) -> Option<u32> {
    let mut count = 0u32;
    let found = |_| count = count.saturating_add(1);
    match payload::kind(value).ok()? {
        Kind::Json(json) => for_each_element(json, found)?,
        Kind::MessagePack(packed) => payload::for_each_packed(packed, found)?,
        Kind::Bytes(_) | Kind::Stored(_) => return None,
    }
    Some(count)
}

/// The items of one scatter task: the elements of the captured arrays of all instances of its
/// upstream, one array after the other.
///
/// Made once for each scatter task of a run, by [`Items::push`] of each value in index order. Keeps
/// the text of each element as it was captured, and 8 bytes for each.
#[derive(Clone, Debug)]
pub struct Items {
    split: Split,
    text: Vec<u8>,
    /// Where each element ends in `text`.
    ends: Vec<usize>,
}

impl Items {
    /// No elements yet.
    #[must_use]
    pub fn new(split: Split) -> Items {
        Items { split, text: Vec::new(), ends: Vec::new() }
    }

    /// Appends the elements of an array and returns their number; `None`, and nothing is appended,
    /// when the value is not an array.
    pub fn push(&mut self, value: &[u8]) -> Option<u32> {
        let (text, ends) = (self.text.len(), self.ends.len());
        let appended = match payload::kind(value).ok()? {
            Kind::Json(json) => for_each_element(json, |element| {
                self.text.extend_from_slice(&json[element]);
                self.ends.push(self.text.len());
            }),
            Kind::MessagePack(packed) => payload::for_each_packed(packed, |element| {
                payload::push_element(&packed[element], &mut self.text);
                self.ends.push(self.text.len());
            }),
            Kind::Bytes(_) | Kind::Stored(_) => None,
        };
        if appended.is_none() {
            self.text.truncate(text);
            self.ends.truncate(ends);
        }
        appended.map(|()| u32::try_from(self.ends.len() - ends).unwrap_or(u32::MAX))
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The size of the elements in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// How many parts the elements make: the width of the scatter without its sweep.
    #[must_use]
    pub fn parts(&self) -> u64 {
        self.split.width(self.len())
    }

    /// Part number `part` as a payload: one element, or an array of those of a chunk. `None` when
    /// there is no such part. Takes time for the part alone.
    #[must_use]
    pub fn part(&self, part: u32) -> Option<Vec<u8>> {
        if u64::from(part) >= self.parts() {
            return None;
        }
        let (first, count) = self.split.elements(self.len(), part.into());
        let first = usize::try_from(first).ok()?;
        let last = first + usize::try_from(count).ok()?;
        if self.split == Split::Each {
            return self.element(first).map(<[u8]>::to_vec);
        }
        let elements: Option<Vec<&[u8]>> = (first..last).map(|at| self.element(at)).collect();
        payload::list(elements?.into_iter()).ok()
    }

    fn element(&self, at: usize) -> Option<&[u8]> {
        let start = if at == 0 { 0 } else { *self.ends.get(at - 1)? };
        self.text.get(start..*self.ends.get(at)?)
    }
}

/// Calls `found` with the place of each element, without the space around it; `None` when the
/// document is no array. Some may have been found by then.
fn for_each_element(value: &[u8], mut found: impl FnMut(Range<usize>)) -> Option<()> {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let skip = |at: usize| at + value[at..].iter().take_while(|byte| space(byte)).count();
    let mut at = skip(0);
    if value.get(at) != Some(&b'[') {
        return None;
    }
    at = skip(at + 1);
    if value.get(at) == Some(&b']') {
        return (skip(at + 1) == value.len()).then_some(());
    }
    loop {
        let end = element_end(value, at)?;
        let trimmed = value[at..end].trim_ascii_end().len();
        if trimmed == 0 {
            return None;
        }
        found(at..at + trimmed);
        match value[end] {
            b',' => at = skip(end + 1),
            _ => return (skip(end + 1) == value.len()).then_some(()),
        }
    }
}

/// Where the comma or bracket behind the element at `start` is.
fn element_end(value: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    let mut depth = 0usize;
    loop {
        match value.get(at)? {
            b'"' => at = string_end(value, at)?,
            b'[' | b'{' => depth += 1,
            b',' | b']' if depth == 0 => return Some(at),
            b']' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
    }
}

/// Where the quote that closes the string at `start` is.
fn string_end(value: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match value.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::Value;
    use crate::value::tests::any_value;

    #[test]
    fn what_is_no_array_has_no_elements() {
        for (text, count) in [
            ("[]", Some(0)),
            (" [ ]\n", Some(0)),
            ("[1]", Some(1)),
            ("[\"],\\\"\", {\"a\": [1, 2]}, [[], 3] ]", Some(3)),
            ("", None),
            ("1", None),
            ("\"[1]\"", None),
            ("{\"a\": []}", None),
            ("[1", None),
            ("[1,", None),
            ("[1,]", None),
            ("[\"a]", None),
            ("[1] 2", None),
            ("[}]", None),
        ] {
            assert_eq!(count_items(text.as_bytes()), count, "{text}");
            let mut items = Items::new(Split::Each);
            assert_eq!(items.push(b"[0]"), Some(1));
            assert_eq!(items.push(text.as_bytes()), count, "{text}");
            assert_eq!(items.len(), 1 + u64::from(count.unwrap_or(0)));
        }
    }

    #[test]
    fn elements_keep_their_text() {
        let mut items = Items::new(Split::Chunk(2));
        items.push(b"[ 1.50 , {\"b\" : 1e-9} ]").unwrap();
        items.push(b"[]").unwrap();
        items.push(b"[\"x\"]").unwrap();
        assert_eq!((items.len(), items.parts()), (3, 2));
        assert_eq!(items.part(0).unwrap(), b"[1.50,{\"b\" : 1e-9}]");
        assert_eq!(items.part(1).unwrap(), b"[\"x\"]");
        assert_eq!(items.part(2), None);
    }

    fn any_split() -> impl Strategy<Value = Split> {
        prop_oneof![
            Just(Split::Each),
            (1u32..9).prop_map(Split::Chunk),
            (1u32..9).prop_map(Split::Parts),
        ]
    }

    proptest! {
        #[test]
        fn parts_cover_all_elements_once(split in any_split(), items in 0u64..100) {
            let mut next = 0;
            let mut sizes = Vec::new();
            for part in 0..split.width(items) {
                let (first, count) = split.elements(items, part);
                prop_assert_eq!(first, next);
                prop_assert!(count > 0);
                next += count;
                sizes.push(count);
            }
            prop_assert_eq!(next, items);
            let (least, most) = (sizes.iter().min(), sizes.iter().max());
            match split {
                Split::Each => prop_assert!(sizes.iter().all(|size| *size == 1)),
                Split::Chunk(chunk) => {
                    let full = sizes.len().saturating_sub(1);
                    prop_assert!(sizes[..full].iter().all(|size| *size == u64::from(chunk)));
                    prop_assert!(sizes.iter().all(|size| *size <= u64::from(chunk)));
                }
                Split::Parts(parts) => {
                    prop_assert_eq!(sizes.len() as u64, items.min(parts.into()));
                    prop_assert!(most.unwrap_or(&0) - least.unwrap_or(&0) <= 1);
                }
            }
        }

        #[test]
        fn parts_are_the_elements_of_all_arrays(
            split in any_split(),
            arrays in prop::collection::vec(prop::collection::vec(any_value(), 0..5), 0..4),
        ) {
            let mut items = Items::new(split);
            for array in &arrays {
                let mut text = Vec::new();
                Value::List(array.clone()).write_json(&mut text);
                prop_assert_eq!(count_items(&text), Some(array.len() as u32));
                prop_assert_eq!(items.push(&text), Some(array.len() as u32));
            }
            let mut expected = Vec::new();
            for value in arrays.iter().flatten() {
                let mut text = Vec::new();
                value.write_json(&mut text);
                expected.push(Value::from_json(&text).unwrap());
            }
            let mut found = Vec::new();
            for part in 0..items.parts() as u32 {
                match Value::from_json(&items.part(part).unwrap()).unwrap() {
                    Value::List(elements) if split != Split::Each => found.extend(elements),
                    element => found.push(element),
                }
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!(items.part(items.parts() as u32), None);
        }
    }
}
