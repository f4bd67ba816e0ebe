//! Turns what a task wrote to standard output into its value: a JSON document.

use std::fmt;

use dagrun_core::payload;
use dagrun_core::pipeline::Capture;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// The value in `bytes`, or why they contain none.
pub(crate) fn document(capture: Capture, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    if capture == Capture::None {
        return Ok(None);
    }
    if capture == Capture::Bytes {
        return Ok(Some(payload::of_bytes(bytes)));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| format!("captured output is not UTF-8 (byte {})", error.valid_up_to()))?;
    let document = match capture {
        Capture::None | Capture::Bytes => return Ok(None),
        Capture::Text => encode(&text.strip_suffix('\n').unwrap_or(text))?,
        Capture::Lines => encode(&text.lines().collect::<Vec<_>>())?,
        Capture::Json => json(text)?,
        Capture::JsonLines => json_lines(text)?,
    };
    Ok(Some(document))
}

/// A document.
fn json(text: &str) -> Result<Vec<u8>, String> {
    serde_json::from_str::<Anything>(text).map_err(|error| {
        let strange = strange_number(text, error.line(), error.column());
        format!("captured output is not JSON: {}", strange.unwrap_or_else(|| error.to_string()))
    })?;
    Ok(compact(text))
}

/// An array of the documents, one in each line; blank lines are skipped.
fn json_lines(text: &str) -> Result<Vec<u8>, String> {
    let mut array = b"[".to_vec();
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        serde_json::from_str::<Anything>(line).map_err(|error| {
            let reason = strange_number(line, 1, error.column()).map_or_else(
                || error.to_string().replace("at line 1 ", "at "),
                |strange| strange.replace("at line 1 ", "at "),
            );
            format!("line {number} of the captured output is not JSON: {reason}")
        })?;
        if array.len() > 1 {
            array.push(b',');
        }
        array.extend_from_slice(&compact(line));
    }
    array.push(b']');
    Ok(array)
}

/// What to say of a NaN or an infinity at a place, as many languages print them.
fn strange_number(text: &str, line: usize, column: usize) -> Option<String> {
    let found = text.lines().nth(line.checked_sub(1)?)?;
    // Columns count bytes, and the parser may have gone into the word.
    let near = column.saturating_sub(10)..(column + 2).min(found.len());
    let is_start = |at: &usize| found.is_char_boundary(*at) && *at <= column;
    let words = ["-Infinity", "Infinity", "NaN", "-nan", "nan", "-inf", "inf"];
    near.filter(is_start).find_map(|at| {
        let rest = found.get(at..)?;
        let before = found.get(..at)?.chars().next_back();
        let word = words.into_iter().find(|word| rest.starts_with(word))?;
        let after = rest.get(word.len()..)?.chars().next();
        let apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '"');
        (apart(before) && apart(after)).then(|| {
            format!(
                "JSON has no {word} (at line {line} column {}): print null or a text instead",
                at + 1
            )
        })
    })
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
    fn numbers_that_json_does_not_have_are_named() {
        for (text, word, place) in [
            ("NaN\n", "NaN", "line 1 column 1"),
            ("{\"a\": 1,\n \"b\": [0, -Infinity]}", "-Infinity", "line 2 column 11"),
            ("[Infinity]", "Infinity", "line 1 column 2"),
            ("[nan]", "nan", "line 1 column 2"),
            ("{\"x\": inf}", "inf", "line 1 column 7"),
        ] {
            let reason = value(Capture::Json, text.as_bytes()).unwrap_err();
            let expected = format!("JSON has no {word} (at {place}): print null or a text instead");
            assert_eq!(reason, format!("captured output is not JSON: {expected}"));
        }
        let reason = value(Capture::Json, b"[\"nan\", nope]").unwrap_err();
        assert!(!reason.contains("has no"), "{reason}");
    }

    #[test]
    fn lines_of_json_become_an_array_and_bytes_stay() {
        let text = b"{\"a\": 1}\n\n[2, 3]\r\n\"x\"\n";
        assert_eq!(value(Capture::JsonLines, text).unwrap(), r#"[{"a":1},[2,3],"x"]"#);
        assert_eq!(value(Capture::JsonLines, b"").unwrap(), "[]");
        let reason = value(Capture::JsonLines, b"1\n{\"a\": NaN}\n").unwrap_err();
        assert!(reason.starts_with("line 2 of the captured output is not JSON: JSON has no NaN"));
        let reason = value(Capture::JsonLines, b"1\n\n{\n").unwrap_err();
        assert!(reason.starts_with("line 3 of the captured output"), "{reason}");
        let bytes = document(Capture::Bytes, b"\xff\x00").unwrap();
        assert_eq!(bytes, Some(payload::of_bytes(b"\xff\x00")));
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
