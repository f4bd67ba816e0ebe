//! Counts the digits and the pairs of neighbouring digits of a text.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What a text of digits consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Its first digit.
    pub first: u8,
    /// Its last digit.
    pub last: u8,
    /// How often each digit occurs.
    pub single: [u64; 10],
    /// How often each pair occurs; `ab` is at `10 a + b`. Pairs overlap: 1415 has 14, 41 and 15.
    pub pairs: Vec<u64>,
}

impl Counts {
    /// Counts a text of digits.
    pub fn of(text: &[u8]) -> Result<Counts, Error> {
        if let Some(at) = text.iter().position(|byte| !byte.is_ascii_digit()) {
            return Err(Error::NotADigit(at));
        }
        let (Some(first), Some(last)) = (text.first(), text.last()) else {
            return Err(Error::Empty);
        };
        let mut single = [0; 10];
        for byte in text {
            single[usize::from(byte - b'0')] += 1;
        }
        let mut pairs = vec![0; 100];
        for pair in text.windows(2) {
            pairs[pair_index(pair[0] - b'0', pair[1] - b'0')] += 1;
        }
        Ok(Counts { first: first - b'0', last: last - b'0', single, pairs })
    }
}

/// Where the pair of two digits is counted.
pub fn pair_index(first: u8, second: u8) -> usize {
    usize::from(first) * 10 + usize::from(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_overlap() {
        let counts = Counts::of(b"14159").unwrap();
        assert_eq!((counts.first, counts.last), (1, 9));
        assert_eq!(counts.single, [0, 2, 0, 0, 1, 1, 0, 0, 0, 1]);
        let found: Vec<usize> = (0..100).filter(|&pair| counts.pairs[pair] == 1).collect();
        assert_eq!(found, [14, 15, 41, 59]);
        assert_eq!(counts.pairs.iter().sum::<u64>(), 4);
    }

    #[test]
    fn other_characters_are_errors() {
        assert!(matches!(Counts::of(b"314.15"), Err(Error::NotADigit(3))));
        assert!(matches!(Counts::of(b""), Err(Error::Empty)));
    }
}
