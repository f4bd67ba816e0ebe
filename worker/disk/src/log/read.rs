//! The reading half: the logs of all workers of a run as one stream, from a cursor on.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use dagrun_core::ids::InstanceId;
use dagrun_core::status::LogChunk;

use super::format::{RECORD, Record};

/// Index records read at once.
const INDEX_WINDOW: usize = 4096;
/// Log bytes read at once.
const LOG_WINDOW: usize = 256 << 10;
/// Longest piece that is given out whole.
const MAX_CHUNK: usize = 16 << 20;

/// How far a reader has come, for each worker's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// By file stem: records read, and the latest time among them.
    positions: BTreeMap<String, (u64, u64)>,
}

impl Cursor {
    /// The cursor as bytes that mean nothing to others.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (stem, (records, latest)) in &self.positions {
            let length = u16::try_from(stem.len()).unwrap_or(0);
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(stem.as_bytes());
            bytes.extend_from_slice(&records.to_le_bytes());
            bytes.extend_from_slice(&latest.to_le_bytes());
        }
        bytes
    }

    /// The cursor that these bytes stand for; `None` when [`Cursor::to_bytes`] did not make them.
    /// No bytes are the beginning.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Cursor> {
        let mut positions = BTreeMap::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_first_chunk::<2>()?;
            let (stem, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
            let (records, rest) = rest.split_first_chunk::<8>()?;
            let (latest, rest) = rest.split_first_chunk::<8>()?;
            let stem = std::str::from_utf8(stem).ok()?.to_owned();
            positions.insert(stem, (u64::from_le_bytes(*records), u64::from_le_bytes(*latest)));
            bytes = rest;
        }
        Some(Cursor { positions })
    }
}

/// Reads the logs that all workers have written for a run.
///
/// What it gives is ordered by time within an instance, also when its attempts ran on several
/// workers; between instances, roughly.
#[derive(Debug)]
pub struct LogReader {
    dir: PathBuf,
    sources: BTreeMap<String, Source>,
}

impl LogReader {
    /// A reader of the logs in `log_dir`, which need not exist yet.
    #[must_use]
    pub fn open(log_dir: &Path) -> LogReader {
        LogReader { dir: log_dir.to_owned(), sources: BTreeMap::new() }
    }

    /// The next pieces that `wanted` accepts (by instance and attempt), about `max_bytes` of them,
    /// and moves `cursor` behind them. Nothing means: that is all for now.
    ///
    /// # Errors
    /// When a log cannot be read. Damaged records are skipped.
    pub fn read(
        &mut self,
        cursor: &mut Cursor,
        max_bytes: usize,
        wanted: &mut dyn FnMut(InstanceId, u32) -> bool,
    ) -> io::Result<Vec<LogChunk>> {
        self.look_for_logs()?;
        for (stem, source) in &mut self.sources {
            let at = cursor.positions.get(stem).copied().unwrap_or_default();
            source.rewind(at)?;
        }
        let mut chunks = Vec::new();
        let mut bytes = 0;
        while bytes < max_bytes {
            // Merging by the latest time so far keeps each log's own order, and an attempt behind
            // the earlier ones of its instance: whatever precedes an attempt's last record in a log
            // is not later than the attempt's end.
            let heads = self.sources.values_mut().filter(|source| source.head.is_some());
            let Some(source) = heads.min_by_key(|source| source.latest) else { break };
            if let Some(record) = source.head.take()
                && wanted(record.instance, record.attempt)
            {
                let chunk = source.chunk(&record)?;
                bytes += chunk.bytes.len().max(1);
                chunks.push(chunk);
            }
            source.advance()?;
        }
        for (stem, source) in &self.sources {
            cursor.positions.insert(stem.clone(), source.position());
        }
        Ok(chunks)
    }

    fn look_for_logs(&mut self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let (Some(stem), true) = (stem, path.extension().is_some_and(|e| e == "idx")) else {
                continue;
            };
            if !self.sources.contains_key(stem) {
                let source = Source::open(&path)?;
                self.sources.insert(stem.to_owned(), source);
            }
        }
        Ok(())
    }
}

/// One worker's log.
#[derive(Debug)]
struct Source {
    index: File,
    log: File,
    /// Records before the window.
    window_at: u64,
    window: Vec<u8>,
    /// Position of the next record within the window.
    next: usize,
    /// The record at which the merge stands, and its position in the index.
    head: Option<Record>,
    head_at: u64,
    /// The latest time among the records up to the head, and among those before it.
    latest: u64,
    before: u64,
    bytes_at: u64,
    bytes: Vec<u8>,
}

impl Source {
    fn open(index: &Path) -> io::Result<Source> {
        Ok(Source {
            index: File::open(index)?,
            log: File::open(index.with_extension("log"))?,
            window_at: 0,
            window: Vec::new(),
            next: 0,
            head: None,
            head_at: 0,
            latest: 0,
            before: 0,
            bytes_at: 0,
            bytes: Vec::new(),
        })
    }

    /// Where to go on: behind all that was given out.
    fn position(&self) -> (u64, u64) {
        match self.head {
            Some(_) => (self.head_at, self.before),
            None => (self.window_at + self.next as u64, self.latest),
        }
    }

    fn rewind(&mut self, (records, latest): (u64, u64)) -> io::Result<()> {
        if self.position() != (records, latest) {
            (self.window_at, self.next, self.head) = (records, 0, None);
            self.window.clear();
            (self.latest, self.before) = (latest, latest);
        }
        if self.head.is_none() { self.advance() } else { Ok(()) }
    }

    /// Steps to the next whole record.
    fn advance(&mut self) -> io::Result<()> {
        self.head = None;
        loop {
            let from = self.next * RECORD;
            let Some(bytes) = self.window.get(from..).and_then(|rest| rest.first_chunk()) else {
                if self.refill()? {
                    continue;
                }
                return Ok(());
            };
            let record = Record::decode(bytes);
            self.head_at = self.window_at + self.next as u64;
            self.next += 1;
            if let Some(record) = record {
                self.before = self.latest;
                self.latest = self.latest.max(record.at.0);
                self.head = Some(record);
                return Ok(());
            }
        }
    }

    /// Reads more of the index; false at its present end.
    fn refill(&mut self) -> io::Result<bool> {
        self.window_at += self.next as u64;
        self.next = 0;
        self.window.resize(INDEX_WINDOW * RECORD, 0);
        let offset = self.window_at.saturating_mul(RECORD as u64);
        let length = read_up_to(&self.index, &mut self.window, offset)?;
        self.window.truncate(length / RECORD * RECORD);
        Ok(!self.window.is_empty())
    }

    fn chunk(&mut self, record: &Record) -> io::Result<LogChunk> {
        let length = (record.length as usize).min(MAX_CHUNK);
        Ok(LogChunk {
            instance: record.instance,
            attempt: record.attempt,
            stream: record.stream,
            at: record.at,
            bytes: self.bytes_at(record.offset, length)?.to_vec(),
        })
    }

    /// The bytes of the log there; fewer when a crash cut it.
    fn bytes_at(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let end = offset.saturating_add(length as u64);
        let known = self.bytes_at..self.bytes_at + self.bytes.len() as u64;
        if offset < known.start || end > known.end {
            self.bytes.resize(length.max(LOG_WINDOW), 0);
            let got = read_up_to(&self.log, &mut self.bytes, offset)?;
            self.bytes.truncate(got);
            self.bytes_at = offset;
        }
        let from = usize::try_from(offset - self.bytes_at).unwrap_or(usize::MAX);
        let rest = self.bytes.get(from..).unwrap_or_default();
        Ok(&rest[..length.min(rest.len())])
    }
}

/// Reads until the buffer is full or the file ends.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], offset.saturating_add(length as u64)) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
