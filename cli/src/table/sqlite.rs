//! Rows into tables of an SQLite database.

use dagrun_core::table::{Group, Kind, Row, Sheet, push_json};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql};

use super::rows::Rows;
use crate::exit::{Exit, Failure};

/// A name as SQL has it, whatever is in it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The error that the database of a table, which is our own, could not be used.
pub(crate) fn failed(error: &rusqlite::Error) -> Failure {
    Failure::new(Exit::Failed, format!("sqlite: {error}"))
}

/// A cell as SQLite stores it.
struct Cell<'a>(ValueRef<'a>);

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

/// Fills a new table with those columns that `wanted` wants, in the order of the sheet. Columns that
/// turn up later are added at the end.
pub(crate) async fn fill(
    database: &Connection,
    name: &str,
    rows: &mut Rows,
    declare: fn(Kind) -> &'static str,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    let is_wanted = |sheet: &Sheet, at: &usize| {
        let column = sheet.columns().get(*at);
        column.is_some_and(|column| wanted(&column.name))
    };
    let definition = |sheet: &Sheet, at: usize| {
        let column = &sheet.columns()[at];
        format!("{} {}", quoted(&column.name), declare(column.kind()))
    };
    let mut columns: Vec<usize> = rows.sheet().order(true);
    columns.retain(|at| is_wanted(rows.sheet(), at));
    // A table has at least one column; this one is there always.
    if columns.is_empty() {
        columns.extend(rows.sheet().group(Group::Index).take(1));
    }
    let list: Vec<String> = columns.iter().map(|at| definition(rows.sheet(), *at)).collect();
    let create = format!("CREATE TABLE {} ({})", quoted(name), list.join(", "));
    database.execute_batch(&format!("BEGIN; {create}")).map_err(|error| failed(&error))?;
    let mut known = rows.sheet().columns().len();
    let mut insert = insertion(name, columns.len());
    rows.each(&mut |sheet, row| {
        while known < sheet.columns().len() {
            if is_wanted(sheet, &known) {
                let definition = definition(sheet, known);
                let add = format!("ALTER TABLE {} ADD COLUMN {definition}", quoted(name));
                database.execute_batch(&add).map_err(|error| failed(&error))?;
                columns.push(known);
                insert = insertion(name, columns.len());
            }
            known += 1;
        }
        put(database, &insert, sheet, row, &columns).map_err(|error| failed(&error))?;
        Ok(true)
    })
    .await?;
    database.execute_batch("COMMIT").map_err(|error| failed(&error))
}

fn insertion(name: &str, columns: usize) -> String {
    format!("INSERT INTO {} VALUES ({})", quoted(name), vec!["?"; columns].join(","))
}

fn put(
    database: &Connection,
    insert: &str,
    sheet: &Sheet,
    row: &Row,
    columns: &[usize],
) -> rusqlite::Result<()> {
    let mut statement = database.prepare_cached(insert)?;
    for (number, at) in (1..).zip(columns) {
        let (kind, bytes) = row.get(*at);
        let group = sheet.columns().get(*at).map(|column| column.group);
        // What was captured as text and is a number is compared as one.
        let kind = match kind {
            Kind::Text if group == Some(Group::Value) => spelled(bytes),
            kind => kind,
        };
        let text = std::str::from_utf8(bytes).unwrap_or("");
        let mut json = Vec::new();
        let value = match kind {
            Kind::Missing => ValueRef::Null,
            Kind::Boolean => ValueRef::Integer(i64::from(bytes == b"true")),
            Kind::Integer => match text.parse() {
                Ok(number) => ValueRef::Integer(number),
                // Beyond 64 bits, or in another notation: what SQLite makes of it loses nothing.
                Err(_) => match text.get(..2) {
                    Some("0x" | "0o" | "0b") => row
                        .number(*at)
                        .map_or(ValueRef::Null, |number| ValueRef::Integer(number as i64)),
                    _ => ValueRef::Text(bytes),
                },
            },
            Kind::Float => match row.number(*at).filter(|number| !number.is_nan()) {
                Some(number) => ValueRef::Real(number),
                None => ValueRef::Null,
            },
            Kind::Text => ValueRef::Text(bytes),
            Kind::Json => {
                push_json(kind, bytes, &mut json);
                ValueRef::Text(&json)
            }
        };
        statement.raw_bind_parameter(number, Cell(value))?;
    }
    statement.raw_execute().map(drop)
}

/// Whether text is a number as JSON spells it, and which kind.
fn spelled(bytes: &[u8]) -> Kind {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let number = match digits {
        [b'0', b'0'..=b'9', ..] => false,
        [b'0'..=b'9', ..] => serde_json::from_slice::<serde_json::Number>(bytes).is_ok(),
        _ => false,
    };
    match number {
        true if digits.iter().all(u8::is_ascii_digit) => Kind::Integer,
        true => Kind::Float,
        false => Kind::Text,
    }
}
