//! The TOML layer: a spanned tree of bounded depth, and its values.
//!
//! Knows nothing of pipelines.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::diagnostic::{Diagnostic, Problems};
use crate::value::{RawString, Value};

/// A key with its place.
pub(super) type Key<'i> = Spanned<DeString<'i>>;
/// A value with its place.
pub(super) type Node<'i> = Spanned<DeValue<'i>>;

/// How deep tables and arrays may nest. Readers of the tree may recurse.
const MAX_DEPTH: usize = 64;

/// The maximum number of syntax errors reported; after a wrong quote the rest would be noise.
const MAX_SYNTAX_ERRORS: usize = 20;

/// Reads a document. `None` when it is too broken to be interpreted.
pub(super) fn read<'i>(source: &'i str, problems: &mut Problems) -> Option<DeTable<'i>> {
    let (root, errors) = DeTable::parse_recoverable(source);
    let mut readable = true;
    let mut doubled_table = 0..0;
    for error in errors.iter().take(MAX_SYNTAX_ERRORS) {
        let span = error.span().unwrap_or(source.len()..source.len());
        // After a duplicate key the rest of the file is intact, so it can still be interpreted.
        if error.message() == "duplicate key" {
            if doubled_table.contains(&span.start) {
                continue;
            }
            doubled_table = table_at(source, span.start);
            let key = source.get(span.clone()).unwrap_or_default();
            let message = format!("`{key}` is defined twice");
            problems.add(Diagnostic::at(span, message).label("again here"));
        } else {
            readable = false;
            // A key without a value is parsed as a key with an empty unquoted string.
            let nothing = source.get(span.clone()).is_none_or(|text| text.trim().is_empty());
            let message = match error.message() {
                text if nothing && text.starts_with("string values must be quoted") => {
                    "invalid TOML: a value is missing".to_owned()
                }
                text => format!("invalid TOML: {text}"),
            };
            problems.add(Diagnostic::at(span, message));
        }
    }
    let root = bounded(DeValue::Table(root.into_inner()), problems)?;
    match root {
        DeValue::Table(table) if readable => Some(table),
        _ => None,
    }
}

/// The extent of the table whose header is at `at`: if the header is duplicated, so are its keys.
/// Empty when there is no header.
fn table_at(source: &str, at: usize) -> Range<usize> {
    let line = source.get(..at).map_or("", |before| before.rsplit('\n').next().unwrap_or(before));
    if !line.trim_start().starts_with('[') {
        return 0..0;
    }
    let end = source.get(at..).and_then(|rest| rest.find("\n["));
    at..end.map_or(source.len(), |end| at + end)
}

/// Reads a text as a TOML value if it is one (`5`, `true`, `[1, 2]`), else as a string.
///
/// # Errors
/// When it nests too deeply.
pub(super) fn read_loose(text: &str) -> Result<Value, String> {
    let Ok(node) = DeValue::parse(text) else {
        return Ok(Value::String(RawString::from(text)));
    };
    let span = node.span();
    match bounded(node.into_inner(), &mut Problems::default()) {
        Some(value) => Ok(to_value(text, &Spanned::new(span, value))),
        None => Err("the value nests too deeply".to_owned()),
    }
}

/// The value when it nests no deeper than the limit; otherwise it is dismantled without recursion,
/// because the destructor of a deep tree would overflow the stack.
fn bounded<'i>(root: DeValue<'i>, problems: &mut Problems) -> Option<DeValue<'i>> {
    let Some(span) = too_deep(&root) else { return Some(root) };
    problems.add(Diagnostic::at(
        span,
        format!("tables and arrays nest more than {MAX_DEPTH} levels deep"),
    ));
    let mut left = vec![root];
    while let Some(value) = left.pop() {
        match value {
            DeValue::Array(array) => left.extend(array.into_iter().map(Spanned::into_inner)),
            DeValue::Table(table) => {
                left.extend(table.into_iter().map(|(_, node)| node.into_inner()));
            }
            _ => {}
        }
    }
    None
}

/// The place of a value below the limit.
fn too_deep(root: &DeValue<'_>) -> Option<Range<usize>> {
    let mut left = vec![(root, 0)];
    while let Some((value, depth)) = left.pop() {
        let first = match value {
            DeValue::Array(array) => array.first(),
            DeValue::Table(table) => table.values().next(),
            _ => None,
        };
        match first {
            None => continue,
            Some(child) if depth == MAX_DEPTH => return Some(child.span()),
            Some(_) => {}
        }
        let below = |child| (Spanned::get_ref(child), depth + 1);
        match value {
            DeValue::Array(array) => left.extend(array.iter().map(below)),
            DeValue::Table(table) => left.extend(table.values().map(below)),
            _ => {}
        }
    }
    None
}

/// The entries of a table in the author's order.
pub(super) fn entries<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Key<'i>, &'t Node<'i>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// What a value is, with its article, for messages.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The value as written in `source`: numbers keep their spelling, without digit separators; dates
/// become text.
pub(super) fn to_value(source: &str, node: &Node<'_>) -> Value {
    let spelling = || source.get(node.span()).unwrap_or_default();
    match node.get_ref() {
        DeValue::String(text) => Value::String(RawString::from(&**text)),
        DeValue::Integer(_) | DeValue::Float(_) => Value::Number(spelling().replace('_', "")),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(_) => Value::String(RawString::from(spelling())),
        DeValue::Array(array) => {
            Value::List(array.iter().map(|item| to_value(source, item)).collect())
        }
        DeValue::Table(table) => Value::Table(
            entries(table)
                .into_iter()
                .map(|(key, item)| (key.get_ref().to_string(), to_value(source, item)))
                .collect(),
        ),
    }
}

/// The position in the source of the first byte of a string's text, if the source contains the text
/// verbatim: without escapes and without line endings that TOML changes.
pub(super) fn plain_start(source: &str, node: &Node<'_>, text: &str) -> Option<usize> {
    let span = node.span();
    let raw = source.get(span.clone())?;
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| raw.starts_with(quote))?;
    let inner = raw.get(quote.len()..raw.len().checked_sub(quote.len())?)?;
    let newline = match quote.len() {
        3 if inner.starts_with("\r\n") => 2,
        3 if inner.starts_with('\n') => 1,
        _ => 0,
    };
    (inner.get(newline..)? == text).then_some(span.start + quote.len() + newline)
}
