//! The fields of a JSON document, found in its text: nothing is built that is not a cell.

use super::{Kind, Row, Sheet};
use crate::value::Value;

/// Deepest nesting that is followed; deeper objects are cells of JSON.
const MAX_DEPTH: usize = 100;

/// Puts the fields of a document into the cells of a row; `path` is where it belongs, empty for a
/// value as a whole. Text that is no JSON yields what was found before that shows.
pub(super) fn flatten(json: &[u8], path: &str, sheet: &mut Sheet, row: &mut Row) {
    let mut walk = Walk { json, at: 0, path: path.to_owned(), explode: None };
    walk.value(0, sheet, row);
}

/// The same, but the array at `explode` is not put anywhere: its place in the text is returned.
pub(super) fn flatten_but(
    json: &[u8],
    explode: &str,
    sheet: &mut Sheet,
    row: &mut Row,
) -> Option<std::ops::Range<usize>> {
    let mut walk = Walk { json, at: 0, path: String::new(), explode: Some((explode, None)) };
    walk.value(0, sheet, row);
    walk.explode.and_then(|(_, found)| found)
}

struct Walk<'a> {
    json: &'a [u8],
    at: usize,
    path: String,
    explode: Option<(&'a str, Option<std::ops::Range<usize>>)>,
}

impl Walk<'_> {
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.json.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.json.get(self.at).copied()
    }

    /// Goes on behind a value; `None` at the end of malformed text.
    fn value(&mut self, depth: usize, sheet: &mut Sheet, row: &mut Row) -> Option<()> {
        let first = self.peek()?;
        if first == b'{' && depth < MAX_DEPTH {
            return self.object(depth, sheet, row);
        }
        let start = self.at;
        self.skip(first)?;
        let text = self.json.get(start..self.at)?;
        if first == b'['
            && let Some((wanted, found)) = &mut self.explode
            && (*wanted == self.path || (*wanted == "value" && self.path.is_empty()))
        {
            *found = Some(start..self.at);
            return Some(());
        }
        let kind = match first {
            b'n' => return Some(()),
            b't' | b'f' => Kind::Boolean,
            b'"' => Kind::Text,
            b'[' | b'{' => Kind::Json,
            _ => Kind::of_number(text),
        };
        let column = sheet.field(&self.path);
        row.put(column, kind, |out| match kind {
            Kind::Text => push_string(text, out),
            // Line breaks stand only between the tokens of JSON.
            Kind::Json => out.extend(text.iter().filter(|byte| !matches!(byte, b'\n' | b'\r'))),
            _ => out.extend_from_slice(text),
        });
        Some(())
    }

    fn object(&mut self, depth: usize, sheet: &mut Sheet, row: &mut Row) -> Option<()> {
        self.at += 1;
        let length = self.path.len();
        loop {
            match self.peek()? {
                b'}' => break,
                b',' => self.at += 1,
                b'"' => {
                    let start = self.at;
                    self.skip(b'"')?;
                    let mut name = Vec::new();
                    push_string(self.json.get(start..self.at)?, &mut name);
                    if self.peek()? != b':' {
                        return None;
                    }
                    self.at += 1;
                    if length > 0 {
                        self.path.push('.');
                    }
                    self.path.push_str(&String::from_utf8_lossy(&name));
                    self.value(depth + 1, sheet, row)?;
                    self.path.truncate(length);
                }
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    /// Goes behind the value that begins here with `first`.
    fn skip(&mut self, first: u8) -> Option<()> {
        match first {
            b'"' => self.skip_string(),
            b'[' | b'{' => {
                let mut depth = 0usize;
                loop {
                    match self.json.get(self.at)? {
                        b'"' => {
                            self.skip_string()?;
                            continue;
                        }
                        b'[' | b'{' => depth += 1,
                        b']' | b'}' => depth -= 1,
                        _ => {}
                    }
                    self.at += 1;
                    if depth == 0 {
                        return Some(());
                    }
                }
            }
            _ => {
                let rest = self.json.get(self.at..)?;
                let ends = |byte: &u8| {
                    matches!(byte, b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\n' | b'\r')
                };
                let length = rest.iter().position(ends).unwrap_or(rest.len());
                self.at += length;
                (length > 0).then_some(())
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.json.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(())
    }
}

/// Appends what a JSON string stands for.
fn push_string(json: &[u8], out: &mut Vec<u8>) {
    if !json.contains(&b'\\') {
        out.extend_from_slice(json.get(1..json.len().saturating_sub(1)).unwrap_or_default());
    } else if let Ok(value) = Value::from_json(json) {
        value.write_text(out);
    }
}

/// The elements of an array, each as a range of its text.
pub(super) fn elements(array: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut walk = Walk { json: array, at: 1, path: String::new(), explode: None };
    let mut found = Vec::new();
    while let Some(first) = walk.peek() {
        match first {
            b']' => break,
            b',' => walk.at += 1,
            _ => {
                let start = walk.at;
                if walk.skip(first).is_none() {
                    break;
                }
                found.push(start..walk.at);
            }
        }
    }
    found
}
