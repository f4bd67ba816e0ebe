//! Results as tables: which columns there are, what is in a cell, and writing rows as text.
//!
//! A [`Sheet`] knows the columns: the index, the parameters, the item, the state, the fields of the
//! values as they turn up, the outputs, and what is known of attempts. A [`Row`] is the cells of one
//! instance, in one buffer that is used again. Numbers keep their spelling to the end. Reading
//! instances is left to those who have them.

mod build;
mod fields;
mod filter;
mod sheet;
mod summary;
mod write;

pub use build::{Attempt, Builder, Each, Known, ManifestNames};
pub use filter::{Filter, FilterError};
pub use sheet::{Column, Group, Sheet, WIDE};
pub use summary::{Line, Summary};
pub use write::{push_csv, push_json, push_json_name};

use crate::value::{Value, is_number};

/// What is in a cell, or in all cells of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing.
    #[default]
    Missing,
    /// A whole number, as it was spelled.
    Integer,
    /// Another number, as it was spelled.
    Float,
    /// `true` or `false`.
    Boolean,
    /// Text.
    Text,
    /// A JSON document: an array, or in a column what has no other kind in common.
    Json,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Missing => "null",
            Kind::Integer => "integer",
            Kind::Float => "float",
            Kind::Boolean => "boolean",
            Kind::Text => "text",
            Kind::Json => "json",
        }
    }

    /// Whether it is a number.
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(self, Kind::Integer | Kind::Float)
    }

    /// That of a number of this spelling.
    fn of_number(spelling: &[u8]) -> Kind {
        let whole = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'_');
        let radix = spelling.len() > 2
            && spelling.starts_with(b"0")
            && matches!(spelling.get(1), Some(b'x' | b'o' | b'b'));
        if radix || spelling.iter().all(whole) { Kind::Integer } else { Kind::Float }
    }
}

/// The cells of one row, by the numbers of the columns of its [`Sheet`].
#[derive(Clone, Debug, Default)]
pub struct Row {
    bytes: Vec<u8>,
    cells: Vec<(Kind, u32, u32)>,
}

impl Row {
    /// Empties it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.cells.clear();
    }

    /// What is in a cell. The bytes of text are what they are, those of numbers their spelling.
    #[must_use]
    pub fn get(&self, column: usize) -> (Kind, &[u8]) {
        match self.cells.get(column) {
            Some((kind, start, end)) => {
                (*kind, self.bytes.get(*start as usize..*end as usize).unwrap_or_default())
            }
            None => (Kind::Missing, &[]),
        }
    }

    /// Puts something into a cell.
    pub fn put(&mut self, column: usize, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        if self.cells.len() <= column {
            self.cells.resize(column + 1, (Kind::Missing, 0, 0));
        }
        let end = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        if let Some(cell) = self.cells.get_mut(column) {
            *cell = (kind, u32::try_from(start).unwrap_or(u32::MAX), end);
        }
    }

    /// Puts a value into a cell.
    pub fn put_value(&mut self, column: usize, value: &Value) {
        let kind = match value {
            Value::Null => return,
            Value::Bool(_) => Kind::Boolean,
            Value::Number(spelling) => Kind::of_number(spelling.as_bytes()),
            Value::String(_) => Kind::Text,
            Value::List(_) | Value::Table(_) => Kind::Json,
        };
        self.put(column, kind, |out| value.write_text(out));
    }

    /// The number in a cell, rounded to 64 bits; also that which its text spells.
    #[must_use]
    pub fn number(&self, column: usize) -> Option<f64> {
        let (kind, bytes) = self.get(column);
        if matches!(kind, Kind::Missing | Kind::Boolean | Kind::Json) {
            return None;
        }
        number(std::str::from_utf8(bytes).ok()?)
    }

    /// Appends all of it, for [`Row::read`].
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&u32::try_from(self.cells.len()).unwrap_or(0).to_le_bytes());
        for (kind, start, end) in &self.cells {
            out.push(*kind as u8);
            out.extend_from_slice(&start.to_le_bytes());
            out.extend_from_slice(&end.to_le_bytes());
        }
        out.extend_from_slice(&self.bytes);
    }

    /// Takes over what [`Row::write`] wrote; false when it did not.
    pub fn read(&mut self, bytes: &[u8]) -> bool {
        self.clear();
        let kinds =
            [Kind::Missing, Kind::Integer, Kind::Float, Kind::Boolean, Kind::Text, Kind::Json];
        let Some((count, mut rest)) = bytes.split_first_chunk::<4>() else { return false };
        for _ in 0..u32::from_le_bytes(*count) {
            let Some((cell, after)) = rest.split_first_chunk::<9>() else { return false };
            let [kind, s0, s1, s2, s3, e0, e1, e2, e3] = *cell;
            let Some(kind) = kinds.get(usize::from(kind)) else { return false };
            let (start, end) = ([s0, s1, s2, s3], [e0, e1, e2, e3]);
            self.cells.push((*kind, u32::from_le_bytes(start), u32::from_le_bytes(end)));
            rest = after;
        }
        self.bytes.extend_from_slice(rest);
        true
    }
}

/// The number that a text spells, rounded to 64 bits.
fn number(text: &str) -> Option<f64> {
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) if is_number(text) => {
            let digits = text.get(2..)?;
            let radix = match text.get(..2)? {
                "0x" => 16,
                "0o" => 8,
                _ => 2,
            };
            u128::from_str_radix(digits, radix).ok().map(|number| number as f64)
        }
        Err(_) => None,
    }
}
