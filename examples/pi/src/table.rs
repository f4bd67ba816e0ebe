//! Adds the counts of consecutive files up, and writes and reads the tables.

use std::fmt::Write;

use serde::Deserialize;

use crate::count::{Counts, pair_index};
use crate::error::Error;

/// The counts of all files together.
#[derive(Debug)]
pub struct Table {
    single: [u64; 10],
    pairs: Vec<u64>,
}

/// A line of a manifest: what `count` captured for one file.
#[derive(Deserialize)]
struct Entry {
    value: Counts,
}

impl Table {
    /// Sums a manifest: JSON Lines in the order of the files.
    pub fn from_manifest(manifest: &[u8]) -> Result<Table, Error> {
        let mut table = Table { single: [0; 10], pairs: vec![0; 100] };
        let mut previous = None;
        for entry in serde_json::Deserializer::from_slice(manifest).into_iter::<Entry>() {
            let counts = entry.map_err(Error::Json)?.value;
            table.add(&counts);
            if let Some(before) = previous.replace(counts.last) {
                // The pair that stands across the border of the two files.
                table.pairs[pair_index(before, counts.first)] += 1;
            }
        }
        Ok(table)
    }

    fn add(&mut self, counts: &Counts) {
        for (sum, count) in self.single.iter_mut().zip(&counts.single) {
            *sum += count;
        }
        for (sum, count) in self.pairs.iter_mut().zip(&counts.pairs) {
            *sum += count;
        }
    }

    /// Ten rows (first digit) of ten columns (second digit), with headings.
    pub fn pairs_csv(&self) -> String {
        let mut csv = String::from("first,0,1,2,3,4,5,6,7,8,9\n");
        for (first, row) in self.pairs.chunks(10).enumerate() {
            let row: Vec<String> = row.iter().map(u64::to_string).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(csv, "{first},{}", row.join(","));
        }
        csv
    }

    /// A row for each digit.
    pub fn single_csv(&self) -> String {
        let mut csv = String::from("digit,count\n");
        for (digit, count) in self.single.iter().enumerate() {
            let _ = writeln!(csv, "{digit},{count}");
        }
        csv
    }
}

/// Reads what [`Table::pairs_csv`] wrote: 100 counts.
pub fn parse_pairs(csv: &[u8]) -> Result<Vec<u64>, Error> {
    let text = String::from_utf8_lossy(csv);
    let mut pairs = Vec::with_capacity(100);
    for (number, line) in text.lines().enumerate().skip(1) {
        let row: Result<Vec<u64>, _> = line.split(',').skip(1).map(str::parse).collect();
        match row {
            Ok(row) if row.len() == 10 => pairs.extend(row),
            _ => return Err(Error::BadTable(number + 1)),
        }
    }
    if pairs.len() == 100 { Ok(pairs) } else { Err(Error::BadTable(pairs.len() / 10 + 2)) }
}

/// Makes sure that no pair of `digits` digits was lost or counted twice.
pub fn check_sum(pairs: &[u64], digits: usize) -> Result<(), Error> {
    let found = pairs.iter().sum();
    let expected = (digits as u64).saturating_sub(1);
    if found == expected { Ok(()) } else { Err(Error::WrongSum { found, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(parts: &[&str]) -> String {
        let line = |(index, part): (usize, &&str)| {
            let value = serde_json::to_string(&Counts::of(part.as_bytes()).unwrap()).unwrap();
            format!("{{\"index\":{index},\"state\":\"succeeded\",\"value\":{value}}}\n")
        };
        parts.iter().enumerate().map(line).collect()
    }

    #[test]
    fn parts_sum_to_the_counts_of_the_whole() {
        let whole = Counts::of(b"14159265358979323846").unwrap();
        let table =
            Table::from_manifest(manifest(&["141592", "6", "5358979323", "846"]).as_bytes())
                .unwrap();
        assert_eq!(table.single, whole.single);
        assert_eq!(table.pairs, whole.pairs);
        assert_eq!(parse_pairs(table.pairs_csv().as_bytes()).unwrap(), whole.pairs);
        assert!(check_sum(&table.pairs, 20).is_ok());
        assert!(matches!(
            check_sum(&table.pairs, 21),
            Err(Error::WrongSum { found: 19, expected: 20 })
        ));
    }

    #[test]
    fn a_failed_entry_is_an_error() {
        let manifest = b"{\"index\":0,\"state\":\"failed\"}\n";
        assert!(matches!(Table::from_manifest(manifest), Err(Error::Json(_))));
    }

    #[test]
    fn a_damaged_table_is_an_error() {
        let table = Table { single: [0; 10], pairs: vec![77; 100] }.pairs_csv();
        let cut = table.lines().take(10).collect::<Vec<_>>().join("\n");
        assert!(matches!(parse_pairs(cut.as_bytes()), Err(Error::BadTable(11))));
        let changed = table.replacen(",77", ",x", 1);
        assert!(matches!(parse_pairs(changed.as_bytes()), Err(Error::BadTable(2))));
    }
}
