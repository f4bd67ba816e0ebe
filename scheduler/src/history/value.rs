//! Values of instances, wherever they are.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use dagrun_core::ids::{InstanceId, RunId};
use dagrun_core::payload::{self, Stored, Whereabouts};

use super::{History, HistoryError, check_index};
use crate::journal::read;

/// The longest part of a value that is read at once, in bytes.
const PART: u64 = 16 << 20;

/// A value as it was reported.
pub(super) enum Reported {
    Here(Vec<u8>),
    /// The file that holds it, and the length of the whole payload.
    File(PathBuf, u64),
}

impl History {
    /// The value of an instance that has succeeded, see [`dagrun_core::payload`].
    ///
    /// # Errors
    /// When there is no such instance, it has no value or has it no longer, or the database or the
    /// value's file cannot be read.
    pub fn value(&self, run: RunId, task: &str, index: u32) -> Result<Vec<u8>, HistoryError> {
        match self.reported_value(run, task, index)? {
            Reported::Here(value) => Ok(value),
            Reported::File(path, length) => read_file(&path, 0, length),
        }
    }

    /// A part of the value from `offset` on, at most `limit` bytes and at most 16 MiB, and the
    /// length of the whole.
    ///
    /// # Errors
    /// As [`History::value`].
    pub fn value_part(
        &self,
        run: RunId,
        task: &str,
        index: u32,
        offset: u64,
        limit: u32,
    ) -> Result<(Vec<u8>, u64), HistoryError> {
        let limit = u64::from(limit).min(PART);
        match self.reported_value(run, task, index)? {
            Reported::Here(value) => {
                let total = value.len() as u64;
                let end = offset.saturating_add(limit).min(total);
                let range = usize::try_from(offset.min(end)).unwrap_or(0)
                    ..usize::try_from(end).unwrap_or(0);
                Ok((value.get(range).unwrap_or_default().to_vec(), total))
            }
            Reported::File(path, length) => {
                let limit = limit.min(length.saturating_sub(offset));
                Ok((read_file(&path, offset, limit)?, length))
            }
        }
    }

    /// What was reported as the value.
    pub(super) fn reported_value(
        &self,
        run: RunId,
        task: &str,
        index: u32,
    ) -> Result<Reported, HistoryError> {
        let (id, width) = self.task(run, task)?;
        check_index(task, index, width)?;
        let instance = InstanceId { task: id, index };
        let no_value = |why| HistoryError::NoValue { instance: format!("{task}[{index}]"), why };
        let reported = self.read(read::payload(&self.database, run, instance))?;
        let value = reported
            .ok_or_else(|| no_value("it has not succeeded"))?
            .value
            .ok_or_else(|| no_value("its task captures nothing"))?;
        match payload::stored(&value) {
            None => Ok(Reported::Here(value)),
            Some(Stored { place: Whereabouts::File(path), bytes, .. }) => {
                Ok(Reported::File(path, bytes))
            }
            Some(Stored { place: Whereabouts::Worker(..), .. }) => {
                Err(no_value("it was kept by a worker, for as long as other tasks needed it"))
            }
        }
    }
}

/// Reads `length` bytes of the payload in a file.
pub(super) fn read_file(path: &Path, offset: u64, length: u64) -> Result<Vec<u8>, HistoryError> {
    read_part(path, offset, length)
        .map_err(|source| HistoryError::File { path: path.to_owned(), source })
}

fn read_part(path: &Path, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let head = payload::file_head(path);
    let skipped = head.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
    let mut part: Vec<u8> =
        skipped.iter().copied().take(usize::try_from(length).unwrap_or(usize::MAX)).collect();
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset.saturating_sub(head.len() as u64)))?;
    file.take(length - part.len() as u64).read_to_end(&mut part)?;
    if part.len() as u64 == length { Ok(part) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_file_are_parts_of_the_payload() {
        let dir = tempfile::tempdir().unwrap();
        let payload = payload::of_bytes(b"0123456789");
        let path = dir.path().join("a-0.bin");
        std::fs::write(&path, b"0123456789").unwrap();
        for offset in 0..=12 {
            for length in 0..=12 - offset {
                let part = read_part(&path, offset as u64, length as u64).unwrap();
                assert_eq!(part, payload[offset..offset + length]);
            }
        }
        assert!(read_part(&path, 0, 13).is_err());
    }
}
