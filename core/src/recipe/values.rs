//! The file with the values of the instances that a function gathers.
//!
//! Eight bytes `DAGRUNV1`, then a record for each listed instance, in index order. All numbers are
//! little-endian.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | the index |
//! | 1 | the state, [`State`] |
//! | 1 | 1 when it has a value, else 0 |
//! | 8 | the length of the payload |
//! | … | the payload, see [`crate::payload`]; a reference where the value is elsewhere |

use std::io::{self, Read, Write};

use crate::status::State;

const MAGIC: [u8; 8] = *b"DAGRUNV1";
/// The longest payload that is read: longer values are references.
const LONGEST: u64 = 1 << 30;

/// An instance that is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its index.
    pub index: u32,
    /// Its state.
    pub state: State,
    /// Its value, if it has one.
    pub payload: Option<Vec<u8>>,
}

/// Writes the beginning of a file.
///
/// # Errors
/// When the file cannot be written.
pub fn write_header(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&MAGIC)
}

/// Writes a record.
///
/// # Errors
/// When the file cannot be written.
pub fn write_record(
    to: &mut impl Write,
    index: u32,
    state: State,
    payload: Option<&[u8]>,
) -> io::Result<()> {
    to.write_all(&index.to_le_bytes())?;
    to.write_all(&[state as u8, u8::from(payload.is_some())])?;
    let payload = payload.unwrap_or_default();
    to.write_all(&(payload.len() as u64).to_le_bytes())?;
    to.write_all(payload)
}

/// Reads a file, one record at a time.
#[derive(Debug)]
pub struct Values<R> {
    from: R,
}

impl<R: Read> Values<R> {
    /// Reads the beginning.
    ///
    /// # Errors
    /// When it cannot be read or is not the beginning of such a file.
    pub fn new(mut from: R) -> io::Result<Values<R>> {
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(malformed());
        }
        Ok(Values { from })
    }

    fn record(&mut self) -> io::Result<Option<Listed>> {
        let mut head = [0; 14];
        // The file may end only between records.
        if self.from.read(&mut head[..1])? == 0 {
            return Ok(None);
        }
        self.from.read_exact(&mut head[1..])?;
        let [i0, i1, i2, i3, state, has, length @ ..] = head;
        let length = u64::from_le_bytes(length);
        if length > LONGEST || has > 1 {
            return Err(malformed());
        }
        let state = State::from_u8(state).ok_or_else(malformed)?;
        let mut payload = Vec::new();
        if (&mut self.from).take(length).read_to_end(&mut payload)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let index = u32::from_le_bytes([i0, i1, i2, i3]);
        Ok(Some(Listed { index, state, payload: (has == 1).then_some(payload) }))
    }
}

impl<R: Read> Iterator for Values<R> {
    type Item = io::Result<Listed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.record().transpose()
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file of gathered values is malformed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_a_cut_is_noticed() {
        let listed = [
            Listed { index: 0, state: State::Succeeded, payload: Some(b"1.5".to_vec()) },
            Listed { index: 7, state: State::Failed, payload: None },
            Listed { index: 9, state: State::Succeeded, payload: Some(Vec::new()) },
        ];
        let mut file = Vec::new();
        write_header(&mut file).unwrap();
        for one in &listed {
            write_record(&mut file, one.index, one.state, one.payload.as_deref()).unwrap();
        }
        let read = |file: &[u8]| Values::new(file)?.collect::<io::Result<Vec<_>>>();
        assert_eq!(read(&file).unwrap(), listed);
        let ends = [8, 25, 39, 53];
        for cut in 0..file.len() {
            assert_eq!(read(&file[..cut]).is_ok(), ends.contains(&cut), "{cut}");
        }
        file[8 + 4] = 99;
        assert!(read(&file).is_err());
    }
}
