//! Axes that are read from files: tables of CSV, JSON documents, lines of text.

use crate::value::{RawString, Value};

/// Rows of named values. `names` is empty when the rows are single values without a name.
#[derive(Debug, PartialEq)]
pub(super) struct Table {
    pub(super) names: Vec<String>,
    pub(super) rows: Vec<Vec<Value>>,
}

/// Why a file is not a table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TableError {
    #[error("line {line} does not have as many columns ({found}) as the first ({expected})")]
    Columns { line: u64, expected: u64, found: u64 },
    #[error("it has no line with column names")]
    NoHeader,
    #[error("the column names are not UTF-8")]
    Header,
    #[error("malformed CSV: {0}")]
    Csv(String),
    #[error("invalid JSON: {0}")]
    Json(#[from] crate::value::JsonError),
    #[error("it holds {0}, not an array of values or objects")]
    NotRows(&'static str),
    #[error("row {row} is not an object like the first")]
    Mixed { row: usize },
    #[error("row {row} lacks `{name}`, which the first has")]
    Lacks { row: usize, name: String },
    #[error("row {row} has `{name}`, which the first lacks")]
    Extra { row: usize, name: String },
    #[error("row {row} contains a NUL character")]
    Nul { row: usize },
}

/// The text without the byte order mark that editors may put before it.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// A CSV file with column names in its first line.
pub(super) fn csv(bytes: &[u8]) -> Result<Table, TableError> {
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(without_mark(bytes));
    let header = reader.byte_headers().map_err(|error| csv_error(&error))?;
    if header.is_empty() {
        return Err(TableError::NoHeader);
    }
    let names = header.iter().map(|name| String::from_utf8(name.trim_ascii().to_vec()));
    let names = names.collect::<Result<_, _>>().map_err(|_| TableError::Header)?;
    let mut rows = Vec::new();
    for record in reader.into_byte_records() {
        let record = record.map_err(|error| csv_error(&error))?;
        rows.push(record.iter().map(cell).collect());
    }
    without_nul(Table { names, rows })
}

fn csv_error(error: &csv::Error) -> TableError {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => TableError::Columns {
            line: pos.as_ref().map_or(0, csv::Position::line),
            expected: *expected_len,
            found: *len,
        },
        _ => TableError::Csv(error.to_string()),
    }
}

/// A cell that is spelled like a number is one, and keeps its spelling.
fn cell(bytes: &[u8]) -> Value {
    match Value::from_json(bytes.trim_ascii()) {
        Ok(Value::Number(number)) => Value::Number(number),
        _ => Value::String(RawString(bytes.to_vec())),
    }
}

/// A JSON document: an array of values, or of objects with the same keys.
pub(super) fn json(bytes: &[u8]) -> Result<Table, TableError> {
    let items = match Value::from_json(without_mark(bytes))? {
        Value::List(items) => items,
        Value::Null => return Err(TableError::NotRows("null")),
        Value::Bool(_) => return Err(TableError::NotRows("a boolean")),
        Value::Number(_) => return Err(TableError::NotRows("a number")),
        Value::String(_) => return Err(TableError::NotRows("a string")),
        Value::Table(_) => return Err(TableError::NotRows("an object")),
    };
    let names: Vec<String> = match items.first() {
        Some(Value::Table(first)) => first.iter().map(|(name, _)| name.clone()).collect(),
        _ => {
            let table = items.iter().position(|item| matches!(item, Value::Table(_)));
            return match table {
                Some(row) => Err(TableError::Mixed { row: row + 1 }),
                None => without_nul(Table {
                    names: Vec::new(),
                    rows: items.into_iter().map(|item| vec![item]).collect(),
                }),
            };
        }
    };
    let rows = items.into_iter().zip(1..).map(|(item, row)| object_row(&names, item, row));
    let rows = rows.collect::<Result<_, _>>()?;
    without_nul(Table { names, rows })
}

fn object_row(names: &[String], item: Value, row: usize) -> Result<Vec<Value>, TableError> {
    let Value::Table(mut fields) = item else { return Err(TableError::Mixed { row }) };
    if let Some((name, _)) = fields.iter().find(|(name, _)| !names.contains(name)) {
        return Err(TableError::Extra { row, name: name.clone() });
    }
    let values = names.iter().map(|name| {
        let at = fields.iter().position(|(field, _)| field == name);
        let at = at.ok_or_else(|| TableError::Lacks { row, name: name.clone() })?;
        Ok(fields.swap_remove(at).1)
    });
    values.collect()
}

/// A text, each of its lines a value; a line ending at the very end ends the last line.
pub(super) fn lines(bytes: &[u8]) -> Result<Table, TableError> {
    let bytes = without_mark(bytes);
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut rows = Vec::new();
    if !bytes.is_empty() {
        rows.extend(bytes.split(|byte| *byte == b'\n').map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            vec![Value::String(RawString(line.to_vec()))]
        }));
    }
    without_nul(Table { names: Vec::new(), rows })
}

/// A NUL character cannot be passed to a process.
fn without_nul(table: Table) -> Result<Table, TableError> {
    match table.rows.iter().position(|row| row.iter().any(holds_nul)) {
        Some(row) => Err(TableError::Nul { row: row + 1 }),
        None => Ok(table),
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.0.contains(&0),
        Value::List(items) => items.iter().any(holds_nul),
        Value::Table(fields) => {
            fields.iter().any(|(name, item)| name.contains('\0') || holds_nul(item))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::String(text.into())
    }

    fn number(spelling: &str) -> Value {
        Value::Number(spelling.to_owned())
    }

    #[test]
    fn csv_cells_keep_their_spelling() {
        let table = csv(b"\xef\xbb\xbfid, sigma\n007,0.10\n\"a,b\", 1e-9\n").unwrap();
        assert_eq!(table.names, ["id", "sigma"]);
        assert_eq!(table.rows, [[text("007"), number("0.10")], [text("a,b"), number("1e-9")]]);
    }

    #[test]
    fn csv_rows_are_equally_long() {
        let error = csv(b"a,b\n1,2\n3\n").unwrap_err();
        assert_eq!(error, TableError::Columns { line: 3, expected: 2, found: 1 });
        assert_eq!(csv(b"").unwrap_err(), TableError::NoHeader);
        assert_eq!(csv(b"a,b\n").unwrap().rows, Vec::<Vec<Value>>::new());
    }

    #[test]
    fn json_is_values_or_equal_objects() {
        let table = json(br#"[1.50, "x", [2]]"#).unwrap();
        assert_eq!(table.names, Vec::<String>::new());
        assert_eq!(table.rows[0], [number("1.50")]);
        let table = json(br#"[{"b":1,"a":2},{"a":4,"b":3}]"#).unwrap();
        assert_eq!(table.names, ["b", "a"]);
        assert_eq!(table.rows[1], [number("3"), number("4")]);
        assert!(matches!(json(b"{}").unwrap_err(), TableError::NotRows("an object")));
        assert!(matches!(json(br#"[1,{"a":2}]"#).unwrap_err(), TableError::Mixed { row: 2 }));
        assert!(matches!(json(br#"[{"a":2},1]"#).unwrap_err(), TableError::Mixed { row: 2 }));
        assert!(matches!(json(br#"[{"a":2},{}]"#).unwrap_err(), TableError::Lacks { row: 2, .. }));
        assert!(matches!(
            json(br#"[{"a":2},{"a":1,"b":1}]"#).unwrap_err(),
            TableError::Extra { row: 2, .. }
        ));
    }

    #[test]
    fn lines_are_text_and_only_the_last_ending_is_dropped() {
        let table = lines(b"1\r\n\nx \xff\n").unwrap();
        let last = Value::String(RawString(b"x \xff".to_vec()));
        assert_eq!(table.rows, [[text("1")], [text("")], [last]]);
        assert!(lines(b"").unwrap().rows.is_empty());
        assert_eq!(lines(b"a\0\n").unwrap_err(), TableError::Nul { row: 1 });
    }
}
