//! A value that a worker has: its bytes in memory, or on disk.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use dagrun_core::payload::Stored;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::ValueError;
use super::spill::Extent;

/// Bytes that are read from disk or sent at once.
pub(super) const PIECE: usize = 256 << 10;

/// The checksum of a payload, as references carry it: XXH3 (64 bits).
#[must_use]
pub fn checksum(payload: &[u8]) -> u64 {
    xxh3_64(payload)
}

/// A value that a worker has. Clones share it; it stays readable after the store has released it.
#[derive(Clone, Debug)]
pub struct Held {
    pub(super) length: u64,
    pub(super) checksum: u64,
    pub(super) body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Memory(Bytes),
    Disk(Arc<Extent>),
    /// A file that the store does not own, and the bytes that precede its content.
    File(Arc<File>, &'static [u8]),
}

impl Held {
    /// A value in memory that no store knows.
    #[must_use]
    pub fn of(payload: Bytes) -> Held {
        let (length, checksum) = (payload.len() as u64, checksum(&payload));
        Held { length, checksum, body: Body::Memory(payload) }
    }

    /// The length of the payload in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// XXH3 (64 bits) of the payload.
    #[must_use]
    pub fn checksum(&self) -> u64 {
        self.checksum
    }

    /// Whether its length and checksum match a reference.
    pub(super) fn is(&self, stored: &Stored) -> bool {
        (self.length, self.checksum) == (stored.bytes, stored.checksum)
    }

    /// Whether its bytes are on disk only.
    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        !matches!(self.body, Body::Memory(_))
    }

    /// The whole payload: shared where it is in memory, read and checked where it is on disk.
    ///
    /// # Errors
    /// When it cannot be read back as it was written.
    pub fn read(&self) -> Result<Bytes, ValueError> {
        if let Body::Memory(bytes) = &self.body {
            return Ok(bytes.clone());
        }
        let length = usize::try_from(self.length).map_err(|_| ValueError::TooLong(self.length))?;
        let mut payload = Vec::new();
        payload.try_reserve_exact(length).map_err(|_| ValueError::TooLong(self.length))?;
        self.copy_to(&mut payload)?;
        Ok(payload.into())
    }

    /// Writes the payload in pieces. What comes from disk is checked on the way: after an error,
    /// the written bytes are not a value.
    ///
    /// # Errors
    /// When it cannot be read back as it was written, or cannot be written.
    pub fn copy_to(&self, to: &mut impl Write) -> Result<(), ValueError> {
        self.copy_after(0, to)
    }

    /// The same without the first `skip` bytes.
    pub(super) fn copy_after(&self, skip: usize, to: &mut impl Write) -> Result<(), ValueError> {
        if let Body::Memory(bytes) = &self.body {
            let rest = bytes.get(skip..).unwrap_or_default();
            return to.write_all(rest).map_err(ValueError::Write);
        }
        let mut hasher = Xxh3::new();
        let mut buffer = vec![0; PIECE.min(usize::try_from(self.length).unwrap_or(PIECE))];
        let mut at = 0;
        while at < self.length {
            let left = usize::try_from(self.length - at).unwrap_or(PIECE).min(PIECE);
            let piece = &mut buffer[..left];
            self.read_at(piece, at).map_err(ValueError::Read)?;
            hasher.update(piece);
            let skip = if at == 0 { skip.min(left) } else { 0 };
            to.write_all(&piece[skip..]).map_err(ValueError::Write)?;
            at += left as u64;
        }
        if hasher.digest() == self.checksum { Ok(()) } else { Err(ValueError::Damaged) }
    }

    /// The first bytes of the payload, at most `most`.
    ///
    /// # Errors
    /// When they cannot be read back.
    pub fn head(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut head = vec![0; most.min(usize::try_from(self.length).unwrap_or(most))];
        self.read_at(&mut head, 0)?;
        Ok(head)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        match &self.body {
            Body::Memory(bytes) => {
                let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..));
                let part = rest.and_then(|rest| rest.get(..buffer.len()));
                buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
            Body::Disk(extent) => extent.read_at(buffer, at),
            Body::File(file, head) => {
                let (mut at, mut buffer) = (at, buffer);
                let rest = usize::try_from(at).ok().and_then(|at| head.get(at..));
                if let Some(rest) = rest {
                    let part = rest.len().min(buffer.len());
                    let (first, others) = buffer.split_at_mut(part);
                    first.copy_from_slice(&rest[..part]);
                    (at, buffer) = (at + part as u64, others);
                }
                file.read_exact_at(buffer, at.saturating_sub(head.len() as u64))
            }
        }
    }
}
