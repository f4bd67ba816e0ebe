//! Rows as bytes: a byte says of which table the next one is, and its columns follow.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// Rows of one input.
const MOST: usize = 40;
/// Bytes of one text or blob.
const LONGEST: usize = 255;

/// The tables, with what follows the number of the run in each, if it has one.
const TABLES: [Table; 5] = [
    Table {
        sql: "INSERT OR REPLACE INTO events (run, task, first_index, seq, count, state, attempt, worker,
            started, finished, cause, code, root_task, root_index, reason, stderr_tail, value, outputs)
            VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        columns: "iiiiiiniinnnntbbb",
    },
    Table {
        sql: "UPDATE tasks SET width = ?2, succeeded = ?3, failed = ?4, skipped = ?5, cancelled = ?6,
            known = ?7, duration = ?8, leased = ?9, widened = ?10 WHERE run = 1 AND task = ?1",
        columns: "iwnnnninii",
    },
    Table {
        sql: "INSERT OR REPLACE INTO notes (run, seq, at, kind, task, first_index)
            VALUES (1, ?1, ?2, ?3, ?4, ?5)",
        columns: "iiinn",
    },
    Table {
        sql: "INSERT OR REPLACE INTO workers (worker, name, host, joined, left_at, number, uid, lock, lost)
            VALUES (?1, ifnull(?2, ''), ifnull(?3, ''), ?4, ?5, ?6, ?7, ?8, ?9)",
        columns: "ittinntbi",
    },
    Table {
        sql: "UPDATE runs SET seed = ?1, fail_fast = ?2, state = ?3, started = ?4, finished = ?5,
            owner = ?6 WHERE run = 1",
        columns: "iiiini",
    },
];

/// A table, and what its columns are: a number, a width, a number or NULL, a text or NULL, bytes or
/// NULL.
struct Table {
    sql: &'static str,
    columns: &'static str,
}

/// What is left of an input.
pub struct Bytes<'a>(pub &'a [u8]);

impl std::fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Bytes<'_> {
    /// The next one; 0 at the end.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Mostly a small number, which is one byte.
    fn number(&mut self) -> Option<i64> {
        Some(match self.byte() {
            250 => return None,
            251 => -i64::from(self.byte()),
            252 => i64::from(u32::MAX) - i64::from(self.byte()),
            253 => i64::from(u32::from_le_bytes(std::array::from_fn(|_| self.byte()))),
            254 => i64::MAX - i64::from(self.byte()),
            255 => i64::from_le_bytes(std::array::from_fn(|_| self.byte())),
            small => i64::from(small),
        })
    }

    fn blob(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (blob, rest) = self.0.split_at(length);
        self.0 = rest;
        (length > 0).then(|| blob.to_vec())
    }

    fn column(&mut self, kind: u8) -> Value {
        match kind {
            // A width is believed, as it is when a run is submitted, and takes memory in proportion to it.
            b'w' => Value::Integer(self.number().unwrap_or_default().clamp(0, 100_000)),
            b'i' => Value::Integer(self.number().unwrap_or_default()),
            b'n' => self.number().map_or(Value::Null, Value::Integer),
            b't' => {
                let text = self.blob().map(|blob| String::from_utf8_lossy(&blob).into_owned());
                text.map_or(Value::Null, Value::Text)
            }
            _ => self.blob().map_or(Value::Null, Value::Blob),
        }
    }
}

/// Puts the rows of an input into a journal.
///
/// # Errors
/// When the database cannot be written.
pub fn write(database: &Connection, bytes: &mut Bytes<'_>) -> rusqlite::Result<()> {
    for _ in 0..MOST {
        if bytes.0.is_empty() {
            break;
        }
        let table = &TABLES[usize::from(bytes.byte()) % TABLES.len()];
        let columns: Vec<Value> = table.columns.bytes().map(|kind| bytes.column(kind)).collect();
        database.prepare_cached(table.sql)?.execute(params_from_iter(columns))?;
    }
    Ok(())
}

/// The rows of a journal as bytes that make the same ones, as far as they fit into an input.
///
/// # Errors
/// When the database cannot be read.
pub fn read(database: &Connection) -> rusqlite::Result<Vec<u8>> {
    let queries = [
        "SELECT task, first_index, seq, count, state, attempt, worker, started, finished, cause, code,
            root_task, root_index, reason, stderr_tail, value, outputs FROM events WHERE run = 1",
        "SELECT task, width, succeeded, failed, skipped, cancelled, known, duration, leased, widened
            FROM tasks WHERE run = 1",
        "SELECT seq, at, kind, task, first_index FROM notes WHERE run = 1",
        "SELECT worker, name, host, joined, left_at, number, uid, lock, lost FROM workers",
        "SELECT seed, fail_fast, state, started, finished, 1 FROM runs WHERE run = 1",
    ];
    let mut bytes = Vec::new();
    for ((at, sql), table) in (0..).zip(queries).zip(&TABLES) {
        let mut rows = database.prepare(sql)?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            bytes.push(at);
            for (column, kind) in table.columns.bytes().enumerate() {
                put(&mut bytes, kind, &row.get(column)?);
            }
        }
    }
    Ok(bytes)
}

fn put(bytes: &mut Vec<u8>, kind: u8, value: &Value) {
    let blob = match value {
        Value::Null => return bytes.push(if matches!(kind, b'i' | b'w' | b'n') { 250 } else { 0 }),
        Value::Integer(small @ 0..250) => return bytes.push(u8::try_from(*small).unwrap_or(0)),
        Value::Integer(number) => {
            bytes.push(255);
            return bytes.extend_from_slice(&number.to_le_bytes());
        }
        Value::Real(_) => return bytes.push(0),
        Value::Text(text) => text.as_bytes(),
        Value::Blob(blob) => blob,
    };
    let blob = &blob[..blob.len().min(LONGEST)];
    bytes.push(u8::try_from(blob.len()).unwrap_or(0));
    bytes.extend_from_slice(blob);
}
