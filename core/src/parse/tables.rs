//! Axes that are read from files: tables of CSV, JSON documents, lines of text.

use crate::check;
use crate::spelling::{did_you_mean, listed};
use crate::value::{RawString, Value, repeated_name};

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
    #[error("line {line}: a quote that is never closed")]
    Unclosed { line: u64 },
    #[error(
        "line {line}: text after the quote that closes a value; it was opened in line {opened}"
    )]
    AfterQuote { line: u64, opened: u64 },
    #[error("all of its first line is one column, `{}`", first.escape_debug())]
    OneColumn { first: String, delimiter: char },
    #[error("it has no column `{}`", name.escape_debug())]
    NoColumn { name: String, near: String },
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
    #[error("row {row} has `{}` twice", name.escape_debug())]
    Twice { row: usize, name: String },
    #[error("row {row} contains a NUL character")]
    Nul { row: usize },
}

impl TableError {
    /// What to do about it.
    pub(super) fn help(&self) -> Option<String> {
        Some(match self {
            TableError::Unclosed { .. } | TableError::AfterQuote { .. } => {
                "a value in quotes ends with one; a quote within it is doubled: \"5\"\" pipe\""
                    .to_owned()
            }
            TableError::Columns { .. } => {
                "a value that holds the delimiter stands in quotes: \"a, b\"".to_owned()
            }
            TableError::OneColumn { delimiter, .. } => {
                format!("add what separates them: delimiter = \"{}\"", delimiter.escape_debug())
            }
            TableError::NoColumn { near, .. } => near.clone(),
            TableError::NoHeader => "the first line has the names of the parameters".to_owned(),
            _ => return None,
        })
    }
}

/// How a CSV file is written, and which parameters its columns are.
#[derive(Debug)]
pub(super) struct CsvForm {
    pub(super) delimiter: u8,
    /// The character at the beginning of lines that are skipped.
    pub(super) comment: Option<u8>,
    /// Parameters and the columns that they are, by name.
    pub(super) columns: Vec<(String, String)>,
}

impl Default for CsvForm {
    fn default() -> CsvForm {
        CsvForm { delimiter: b',', comment: None, columns: Vec::new() }
    }
}

/// The text without the byte order mark that editors may put before it.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// A CSV file with column names in its first line.
pub(super) fn csv(bytes: &[u8], form: &CsvForm) -> Result<Table, TableError> {
    let bytes = without_mark(bytes);
    quotes(bytes, form)?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::Headers)
        .delimiter(form.delimiter)
        .comment(form.comment)
        .flexible(true)
        .from_reader(bytes);
    let header = reader.byte_headers().map_err(|error| csv_error(&error))?;
    if header.is_empty() {
        return Err(TableError::NoHeader);
    }
    let names = header.iter().map(|name| String::from_utf8(name.trim_ascii().to_vec()));
    let names: Vec<String> = names.collect::<Result<_, _>>().map_err(|_| TableError::Header)?;
    one_column(&names, form)?;
    let mut rows = Vec::new();
    for record in reader.into_byte_records() {
        let record = record.map_err(|error| csv_error(&error))?;
        // A line of nothing but space is as blank as an empty one.
        let is_blank = |cell: &[u8]| !cell.is_empty() && cell.trim_ascii().is_empty();
        if record.len() == 1 && record.iter().all(is_blank) {
            continue;
        }
        if record.len() != names.len() {
            let line = record.position().map_or(0, csv::Position::line);
            let (expected, found) = (names.len() as u64, record.len() as u64);
            return Err(TableError::Columns { line, expected, found });
        }
        rows.push(record.iter().map(cell).collect());
    }
    without_nul(chosen(Table { names, rows }, &form.columns)?)
}

/// Refuses what is in one column because another delimiter is used.
fn one_column(names: &[String], form: &CsvForm) -> Result<(), TableError> {
    let [first] = names else { return Ok(()) };
    let other = [';', '\t', ',', '|'];
    let other = other.into_iter().find(|c| first.contains(*c) && *c != char::from(form.delimiter));
    match other {
        Some(delimiter) if !form.columns.iter().any(|(_, column)| column == first) => {
            Err(TableError::OneColumn { first: first.clone(), delimiter })
        }
        _ => Ok(()),
    }
}

/// The columns under the names of their parameters. Of the others, those stay whose names can be
/// parameters.
fn chosen(table: Table, columns: &[(String, String)]) -> Result<Table, TableError> {
    if columns.is_empty() {
        return Ok(table);
    }
    let mut kept: Vec<(usize, String)> = Vec::new();
    for (param, column) in columns {
        let Some(at) = table.names.iter().position(|name| name == column) else {
            let names = || table.names.iter().map(String::as_str);
            let near = did_you_mean(column, names())
                .unwrap_or_else(|| format!("its columns are {}", listed(names())));
            return Err(TableError::NoColumn { name: column.clone(), near });
        };
        kept.push((at, param.clone()));
    }
    for (at, name) in table.names.iter().enumerate() {
        let is_taken = kept.iter().any(|(known, param)| *known == at || param == name);
        if !is_taken && check::parameter(name).is_none() {
            kept.push((at, name.clone()));
        }
    }
    kept.sort_by_key(|(at, _)| *at);
    let pick = |row: Vec<Value>| {
        kept.iter().map(|(at, _)| row.get(*at).cloned().unwrap_or(Value::Null)).collect()
    };
    let rows = table.rows.into_iter().map(pick).collect();
    Ok(Table { names: kept.into_iter().map(|(_, name)| name).collect(), rows })
}

/// Refuses quotes that end nowhere, or within a value: the reader would take all up to the next
/// quote, of another row, for one value.
fn quotes(bytes: &[u8], form: &CsvForm) -> Result<(), TableError> {
    enum At {
        Line,
        Field,
        Bare,
        Quoted(u64),
        Closed(u64),
        Comment,
    }
    let (mut at, mut line) = (At::Line, 1);
    for &byte in bytes {
        let is_end = byte == b'\n' || byte == b'\r';
        at = match at {
            At::Line if form.comment == Some(byte) => At::Comment,
            At::Line | At::Field if byte == b'"' => At::Quoted(line),
            At::Quoted(opened) if byte == b'"' => At::Closed(opened),
            At::Quoted(opened) => At::Quoted(opened),
            At::Closed(opened) if byte == b'"' => At::Quoted(opened),
            At::Comment if !is_end => At::Comment,
            _ if is_end => At::Line,
            _ if byte == form.delimiter => At::Field,
            At::Closed(opened) => return Err(TableError::AfterQuote { line, opened }),
            _ => At::Bare,
        };
        line += u64::from(byte == b'\n');
    }
    match at {
        At::Quoted(line) => Err(TableError::Unclosed { line }),
        _ => Ok(()),
    }
}

fn csv_error(error: &csv::Error) -> TableError {
    TableError::Csv(error.to_string())
}

/// A cell that is spelled like a number is one, and keeps its spelling.
pub(super) fn cell(bytes: &[u8]) -> Value {
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
    for (item, row) in items.iter().zip(1..) {
        if let Some(name) = repeated(item) {
            return Err(TableError::Twice { row, name: name.to_owned() });
        }
    }
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

/// A key that an object has twice, at any depth.
fn repeated(value: &Value) -> Option<&str> {
    match value {
        Value::List(items) => items.iter().find_map(repeated),
        Value::Table(fields) => {
            repeated_name(fields).or_else(|| fields.iter().find_map(|(_, value)| repeated(value)))
        }
        _ => None,
    }
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

/// A text, each of its lines a value; blank lines are skipped.
pub(super) fn lines(bytes: &[u8]) -> Result<Table, TableError> {
    let lines = without_mark(bytes).split(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let rows = lines.filter(|line| !line.trim_ascii().is_empty());
    let rows = rows.map(|line| vec![Value::String(RawString(line.to_vec()))]).collect();
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

    fn csv(bytes: &[u8]) -> Result<Table, TableError> {
        super::csv(bytes, &CsvForm::default())
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
    fn quotes_of_csv_are_closed_where_their_value_ends() {
        for (file, error) in [
            ("a,b\n1,\"x\n2,y\n", TableError::Unclosed { line: 2 }),
            ("a,b\n\"1,x\n2,\"y\"\n", TableError::AfterQuote { line: 3, opened: 2 }),
            ("a,b\r\n1,\"x\"y\r\n", TableError::AfterQuote { line: 2, opened: 2 }),
            ("a,\"b\n", TableError::Unclosed { line: 1 }),
        ] {
            assert_eq!(csv(file.as_bytes()).unwrap_err(), error, "{file}");
        }
        let table = csv(b"a,b\n1,\"two\nlines, and a \"\"quote\"\"\"\n5\" pipe,\n").unwrap();
        assert_eq!(table.rows[0], [number("1"), text("two\nlines, and a \"quote\"")]);
        assert_eq!(table.rows[1], [text("5\" pipe"), text("")]);
    }

    #[test]
    fn csv_has_other_delimiters_comments_and_names() {
        let form = CsvForm {
            delimiter: b';',
            comment: Some(b'#'),
            columns: vec![("sample".to_owned(), "Sample ID".to_owned())],
        };
        let file = b"# of \"today\nSample ID;dose;Other (mM)\n\n  \n#x\na;1,5;2\r\n\"b;c\";2;3\n";
        let table = super::csv(file, &form).unwrap();
        assert_eq!(table.names, ["sample", "dose"]);
        assert_eq!(table.rows, [[text("a"), text("1,5")], [text("b;c"), number("2")]]);
        for (file, delimiter) in [("a;b\n1;2\n", ';'), ("a\tb\n1\t2\n", '\t')] {
            let error = csv(file.as_bytes()).unwrap_err();
            assert!(
                matches!(&error, TableError::OneColumn { delimiter: d, .. } if *d == delimiter)
            );
        }
        let error = super::csv(b"Sample;dose\na;1\n", &form).unwrap_err();
        assert_eq!(error.to_string(), "it has no column `Sample ID`");
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
    fn json_keys_are_there_once() {
        for (file, row) in [
            (r#"[{"a":1,"a":2}]"#, 1),
            (r#"[{"a":1},{"a":1,"a":1}]"#, 2),
            (r#"[1,2,{"x":{"a":1,"a":2}}]"#, 3),
        ] {
            let error = json(file.as_bytes()).unwrap_err();
            assert_eq!(error, TableError::Twice { row, name: "a".to_owned() }, "{file}");
        }
    }

    #[test]
    fn lines_are_text_and_blank_ones_are_skipped() {
        let table = lines(b"1\r\n\n  \r\nx \xff\n\n").unwrap();
        let last = Value::String(RawString(b"x \xff".to_vec()));
        assert_eq!(table.rows, [[text("1")], [last]]);
        assert!(lines(b"").unwrap().rows.is_empty());
        assert!(lines(b"\n \n").unwrap().rows.is_empty());
        assert_eq!(lines(b"a\0\n").unwrap_err(), TableError::Nul { row: 1 });
    }
}
