//! Aligned tables for people.

use dagrun_core::table::{Row, Sheet};

use super::format::plain;
use crate::terminal::{self, cut, table};

/// Longest cell that is shown, in characters.
const CELL: usize = 40;

/// The lines of a table, its head first, each within a line of the terminal.
pub(crate) fn aligned(sheet: &Sheet, columns: &[usize], rows: &[Row]) -> Vec<String> {
    let column = |at: &usize| sheet.columns().get(*at);
    let head = columns.iter().map(|at| column(at).map_or("", |column| &column.name).to_owned());
    let mut lines = vec![head.collect::<Vec<String>>()];
    let mut numeric = vec![true; columns.len()];
    for row in rows {
        let cells = columns.iter().enumerate().map(|(number, at)| {
            let (kind, bytes) = row.get(*at);
            if let Some(numeric) = numeric.get_mut(number) {
                *numeric &= kind.is_number() || kind == dagrun_core::table::Kind::Missing;
            }
            shortened(&plain(kind, bytes))
        });
        lines.push(cells.collect());
    }
    let width = terminal::width();
    table(&lines, &numeric).iter().map(|line| cut(line, width)).collect()
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(CELL) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or("")),
        None => text.to_owned(),
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
