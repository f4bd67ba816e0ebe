//! The index record: 40 bytes, little-endian.
//!
//! ```text
//! 0 task u32 | 4 index u32 | 8 attempt u32 | 12 stream u32 | 16 at u64 (µs since the epoch)
//! 24 offset u64 | 32 length u32 | 36 check u32
//! ```

use dagrun_core::ids::{InstanceId, TaskId, Timestamp};
use dagrun_core::status::Stream;

/// Bytes of a record.
pub(super) const RECORD: usize = 40;

/// A piece of output in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) instance: InstanceId,
    pub(super) attempt: u32,
    pub(super) stream: Stream,
    pub(super) at: Timestamp,
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Record {
    pub(super) fn encode(&self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &self.instance.task.0.to_le_bytes());
        put(4, &self.instance.index.to_le_bytes());
        put(8, &self.attempt.to_le_bytes());
        put(12, &(self.stream as u32).to_le_bytes());
        put(16, &self.at.0.to_le_bytes());
        put(24, &self.offset.to_le_bytes());
        put(32, &self.length.to_le_bytes());
        let check = check(&bytes[..36]);
        bytes[36..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// `None` when the record is damaged or from another version.
    pub(super) fn decode(bytes: &[u8; RECORD]) -> Option<Record> {
        if u32_at(bytes, 36) != check(&bytes[..36]) {
            return None;
        }
        let stream = match u32_at(bytes, 12) {
            0 => Stream::Stdout,
            1 => Stream::Stderr,
            2 => Stream::Note,
            _ => return None,
        };
        Some(Record {
            instance: InstanceId { task: TaskId(u32_at(bytes, 0)), index: u32_at(bytes, 4) },
            attempt: u32_at(bytes, 8),
            stream,
            at: Timestamp(u64_at(bytes, 16)),
            offset: u64_at(bytes, 24),
            length: u32_at(bytes, 32),
        })
    }
}

fn u32_at(bytes: &[u8; RECORD], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(bytes: &[u8; RECORD], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

/// The check of a record, which a hole or a torn record lacks; FNV-1a over words.
fn check(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(4).fold(0x811c_9dc5, |hash, word| {
        let word = word.iter().rev().fold(0, |all, byte| all << 8 | u32::from(*byte));
        (hash ^ word).wrapping_mul(0x0100_0193).rotate_left(5)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_damage_is_noticed() {
        let record = Record {
            instance: InstanceId { task: TaskId(3), index: u32::MAX },
            attempt: 2,
            stream: Stream::Note,
            at: Timestamp(u64::MAX - 1),
            offset: 1 << 40,
            length: 77,
        };
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Some(record));
        for at in 0..RECORD {
            let mut damaged = bytes;
            damaged[at] ^= 0x10;
            assert_eq!(Record::decode(&damaged), None, "byte {at}");
        }
        assert_eq!(Record::decode(&[0; RECORD]), None);
    }
}
