//! Rows in the order of columns. Only the keys are kept in memory: the rows wait in a file.

use std::cmp::Ordering;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};

use dagrun_core::table::{Row, Sheet};

use super::column;
use crate::exit::{Exit, Failure};

/// Bytes of rows that are kept in memory.
const IN_MEMORY: usize = 8 << 20;

/// The columns whose order is wanted, and whether from the largest down.
pub(crate) struct By(Vec<(usize, bool)>);

impl By {
    pub(crate) fn parse(text: &str, sheet: &Sheet) -> Result<By, Failure> {
        let one = |word: &str| {
            let (name, down) = match word.trim().strip_prefix('-') {
                Some(name) if sheet.find(word.trim()).is_none() => (name, true),
                _ => (word.trim(), false),
            };
            Ok((column(sheet, name)?, down))
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(By)
    }

    fn key(&self, row: &Row) -> Box<[Key]> {
        let key = |(at, _): &(usize, bool)| match (row.get(*at), row.number(*at)) {
            ((dagrun_core::table::Kind::Missing, _), _) => Key::Missing,
            (_, Some(number)) if !number.is_nan() => Key::Number(number),
            ((_, bytes), _) => Key::Text(bytes.into()),
        };
        self.0.iter().map(key).collect()
    }

    /// What is missing comes last, whatever the direction.
    fn compare(&self, one: &[Key], two: &[Key]) -> Ordering {
        for ((one, two), (_, down)) in one.iter().zip(two).zip(&self.0) {
            let order = match (one, two) {
                (Key::Number(a), Key::Number(b)) => a.total_cmp(b),
                (Key::Text(a), Key::Text(b)) => a.cmp(b),
                (Key::Missing, Key::Missing) => Ordering::Equal,
                (Key::Missing, _) => return Ordering::Greater,
                (_, Key::Missing) => return Ordering::Less,
                (Key::Number(_), Key::Text(_)) => Ordering::Less,
                (Key::Text(_), Key::Number(_)) => Ordering::Greater,
            };
            let order = if *down { order.reverse() } else { order };
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }
}

enum Key {
    Missing,
    Number(f64),
    Text(Box<[u8]>),
}

/// Rows that are being sorted; those of equal keys stay in their order.
pub(crate) struct Sorted {
    by: By,
    limit: Option<u64>,
    /// The key, where the row begins, and how long it is.
    rows: Vec<(Box<[Key]>, u64, u32)>,
    spilled: tempfile::SpooledTempFile,
    end: u64,
    buffer: Vec<u8>,
}

fn spill(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("the rows could not be sorted: {error}"))
}

impl Sorted {
    pub(crate) fn new(by: By, limit: Option<u64>) -> Result<Sorted, Failure> {
        let spilled = tempfile::spooled_tempfile(IN_MEMORY);
        Ok(Sorted { by, limit, rows: Vec::new(), spilled, end: 0, buffer: Vec::new() })
    }

    pub(crate) fn add(&mut self, row: &Row) -> Result<(), Failure> {
        self.buffer.clear();
        row.write(&mut self.buffer);
        self.spilled.write_all(&self.buffer).map_err(|error| spill(&error))?;
        let length = u32::try_from(self.buffer.len()).unwrap_or(u32::MAX);
        self.rows.push((self.by.key(row), self.end, length));
        self.end += u64::from(length);
        // Of a few first rows the rest need not be remembered.
        if let Some(limit) = self.limit
            && self.rows.len() as u64 > limit.saturating_mul(2).max(100_000)
        {
            self.cut(limit);
        }
        Ok(())
    }

    fn cut(&mut self, limit: u64) {
        self.rows.sort_by(|one, two| self.by.compare(&one.0, &two.0));
        self.rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }

    /// Hands over the rows in order.
    pub(crate) fn each(
        mut self,
        each: &mut dyn FnMut(&Row) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        self.cut(self.limit.unwrap_or(u64::MAX));
        let mut row = Row::default();
        let mut spilled = BufReader::with_capacity(1 << 12, self.spilled);
        let mut at = 0;
        spilled.seek(SeekFrom::Start(0)).map_err(|error| spill(&error))?;
        for (_, start, length) in &self.rows {
            let distance = start.wrapping_sub(at).cast_signed();
            spilled.seek_relative(distance).map_err(|error| spill(&error))?;
            self.buffer.resize(*length as usize, 0);
            spilled.read_exact(&mut self.buffer).map_err(|error| spill(&error))?;
            at = start + u64::from(*length);
            row.read(&self.buffer);
            if !each(&row)? {
                break;
            }
        }
        Ok(())
    }
}
