//! Cuts a file of digits into parts of equal size, or as nearly as can be.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use crate::error::Error;

/// Reads part `part` (from 0) of `parts` of the digits in a file; a newline at its end is no digit.
pub fn read(path: &Path, part: usize, parts: usize) -> Result<Vec<u8>, Error> {
    if part >= parts {
        return Err(Error::NoSuchPart { part, parts });
    }
    let fail = |source| Error::read(path, source);
    let mut file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    let range = bounds(length.saturating_sub(1), part as u64, parts as u64);
    file.seek(SeekFrom::Start(range.start)).map_err(fail)?;
    let mut digits = Vec::new();
    file.take(range.end - range.start).read_to_end(&mut digits).map_err(fail)?;
    Ok(digits)
}

fn bounds(length: u64, part: u64, parts: u64) -> Range<u64> {
    length * part / parts..length * (part + 1) / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_contiguous_and_differ_by_at_most_one_digit() {
        for (length, parts) in [(1_500_000, 15), (100, 15), (7, 15), (0, 3)] {
            let all: Vec<_> = (0..parts).map(|part| bounds(length, part, parts)).collect();
            assert_eq!(all.first().map(|range| range.start), Some(0));
            assert_eq!(all.last().map(|range| range.end), Some(length));
            assert!(all.windows(2).all(|two| two[0].end == two[1].start));
            let sizes: Vec<_> = all.iter().map(|range| range.end - range.start).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn a_part_beyond_the_last_is_an_error() {
        assert!(matches!(read(Path::new("any"), 3, 3), Err(Error::NoSuchPart { .. })));
    }
}
