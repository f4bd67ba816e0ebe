//! Turns what a task wrote to standard output into its value: a JSON document.

use std::fmt;

use dagrun_core::pipeline::Capture;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// The value in `bytes`, or why they contain none.
pub(crate) fn document(capture: Capture, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    if capture == Capture::None {
        return Ok(None);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| format!("captured output is not UTF-8 (byte {})", error.valid_up_to()))?;
    let document = match capture {
        Capture::None => return Ok(None),
        Capture::Text => encode(&text.strip_suffix('\n').unwrap_or(text))?,
        Capture::Lines => encode(&text.lines().collect::<Vec<_>>())?,
        Capture::Json => {
            serde_json::from_str::<Anything>(text)
                .map_err(|error| format!("captured output is not JSON: {error}"))?;
            compact(text)
        }
    };
    Ok(Some(document))
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|error| format!("captured output is not JSON: {error}"))
}

/// Valid JSON without the white space between its tokens; numbers and strings keep their spelling.
fn compact(json: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for &byte in json.as_bytes() {
        if in_string {
            if escaped {
                escaped = false;
            } else if byte == b'\\' {
                escaped = true;
            } else if byte == b'"' {
                in_string = false;
            }
        } else if byte == b'"' {
            in_string = true;
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        }
        out.push(byte);
    }
    out
}

/// Accepts exactly what `serde_json::Value` accepts, and keeps nothing of it.
struct Anything;

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Anything;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON document")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Anything, E> {
        Ok(Anything)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Anything, E> {
        Ok(Anything)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Anything, E> {
        Ok(Anything)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Anything, E> {
        Ok(Anything)
    }
    fn visit_str<E>(self, _: &str) -> Result<Anything, E> {
        Ok(Anything)
    }
    fn visit_unit<E>(self) -> Result<Anything, E> {
        Ok(Anything)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Anything, A::Error> {
        while seq.next_element::<Anything>()?.is_some() {}
        Ok(Anything)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Anything, A::Error> {
        while map.next_entry::<Anything, Anything>()?.is_some() {}
        Ok(Anything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(capture: Capture, bytes: &[u8]) -> Result<String, String> {
        let document = document(capture, bytes)?.unwrap_or_default();
        Ok(String::from_utf8(document).unwrap())
    }

    #[test]
    fn text_loses_one_newline_and_lines_become_an_array() {
        assert_eq!(value(Capture::Text, b"a \"b\"\n\n").unwrap(), r#""a \"b\"\n""#);
        assert_eq!(value(Capture::Text, b"").unwrap(), r#""""#);
        assert_eq!(value(Capture::Lines, b"a\n\nb\n").unwrap(), r#"["a","","b"]"#);
        assert_eq!(value(Capture::Lines, b"").unwrap(), "[]");
    }

    #[test]
    fn json_keeps_the_spelling_of_numbers_and_strings() {
        let text = b" { \"a b\" : [ 1e-9 , 0.10,\n 12345678901234567890123 ], \"\\\" \": null }\n";
        let compacted = r#"{"a b":[1e-9,0.10,12345678901234567890123],"\" ":null}"#;
        assert_eq!(value(Capture::Json, text).unwrap(), compacted);
    }

    #[test]
    fn what_is_not_a_document_is_refused_with_the_reason() {
        let reason = value(Capture::Json, b"{\"a\": }").unwrap_err();
        assert!(reason.contains("not JSON: expected value at line 1 column 7"), "{reason}");
        assert!(value(Capture::Json, b"").unwrap_err().contains("EOF"));
        assert!(value(Capture::Json, b"1 2").is_err());
        assert!(value(Capture::Json, "[".repeat(100_000).as_bytes()).is_err());
        for capture in [Capture::Text, Capture::Lines, Capture::Json] {
            let reason = value(capture, b"\"a\xff\"").unwrap_err();
            assert_eq!(reason, "captured output is not UTF-8 (byte 2)");
        }
    }
}
