//! The writing half: shared by all slots of a worker, buffered, never in the way of an attempt.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dagrun_core::ids::{InstanceId, Timestamp};
use dagrun_core::status::Stream;

use super::format::{RECORD, Record};
use crate::private;

/// Bytes kept in memory at most before they are written.
const BUFFER: usize = 1 << 20;
/// Notes about lost output that are remembered at most.
const MAX_LOSSES: usize = 64;

/// Whose output it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The instance.
    pub instance: InstanceId,
    /// The number of its attempt, from 1.
    pub attempt: u32,
}

/// A piece of output within the bytes that are handed over with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it came from.
    pub stream: Stream,
    /// When its first byte was read.
    pub at: Timestamp,
    /// How many bytes.
    pub length: u32,
}

/// The log of one run on one worker.
///
/// The files come into being with the first bytes. What cannot be written (disk full) is counted and
/// noted in the log as soon as it can be; the attempt never learns of it.
#[derive(Debug)]
pub struct RunLog {
    dir: PathBuf,
    stem: String,
    dirty: AtomicBool,
    lost: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: Option<Files>,
    bytes: Vec<u8>,
    /// Offsets count from the beginning of `bytes`.
    records: Vec<Record>,
    losses: Vec<Loss>,
}

#[derive(Debug)]
struct Files {
    log: File,
    index: File,
    log_len: u64,
    index_len: u64,
}

#[derive(Debug)]
struct Loss {
    owner: Owner,
    at: Timestamp,
    bytes: u64,
    error: String,
}

impl RunLog {
    /// The log of the worker called `worker` in `dir`; nothing is created yet.
    #[must_use]
    pub fn new(dir: PathBuf, worker: &str) -> RunLog {
        RunLog {
            dir,
            stem: file_stem(worker),
            dirty: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Keeps `bytes`, cut up into `spans`; readers see them after the next [`RunLog::flush`].
    pub fn append(&self, owner: Owner, spans: &[Span], bytes: &[u8]) {
        let mut state = self.lock();
        let mut offset = state.bytes.len() as u64;
        for span in spans {
            state.records.push(Record {
                instance: owner.instance,
                attempt: owner.attempt,
                stream: span.stream,
                at: span.at,
                offset,
                length: span.length,
            });
            offset += u64::from(span.length);
        }
        state.bytes.extend_from_slice(bytes);
        self.dirty.store(true, Ordering::Release);
        if state.bytes.len() >= BUFFER {
            self.write_out(&mut state);
        }
    }

    /// Lets readers see all that was appended; costs nothing when there is nothing new.
    pub fn flush(&self) {
        if self.dirty.load(Ordering::Acquire) {
            self.write_out(&mut self.lock());
        }
    }

    /// Bytes that could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_out(&self, state: &mut State) {
        self.dirty.store(false, Ordering::Release);
        let notes = std::mem::take(&mut state.losses);
        for loss in &notes {
            push_note(state, loss);
        }
        let written = self.try_write(state);
        if let Err(error) = written {
            // The next flush tries the notes again, so that the log says what it lacks.
            self.dirty.store(true, Ordering::Release);
            let fresh = state.records.len().saturating_sub(notes.len());
            state.losses = notes;
            let records: Vec<Record> = state.records.drain(..).take(fresh).collect();
            for record in records {
                self.lost.fetch_add(record.length.into(), Ordering::Relaxed);
                note_loss(&mut state.losses, &record, &error);
            }
        }
        state.bytes.clear();
        state.records.clear();
        state.bytes.shrink_to(2 * BUFFER);
    }

    fn try_write(&self, state: &mut State) -> io::Result<()> {
        if state.files.is_none() {
            state.files = Some(Files::open(&self.dir, &self.stem)?);
        }
        let Some(files) = &mut state.files else { return Ok(()) };
        files.log.write_all_at(&state.bytes, files.log_len)?;
        let mut index = Vec::with_capacity(state.records.len() * RECORD);
        for record in &state.records {
            let placed = Record { offset: files.log_len + record.offset, ..*record };
            index.extend_from_slice(&placed.encode());
        }
        files.index.write_all_at(&index, files.index_len)?;
        files.log_len += state.bytes.len() as u64;
        files.index_len += index.len() as u64;
        Ok(())
    }
}

fn push_note(state: &mut State, loss: &Loss) {
    let text = format!("… {} bytes lost: {} …\n", loss.bytes, loss.error);
    state.records.push(Record {
        instance: loss.owner.instance,
        attempt: loss.owner.attempt,
        stream: Stream::Note,
        at: loss.at,
        offset: state.bytes.len() as u64,
        length: u32::try_from(text.len()).unwrap_or(u32::MAX),
    });
    state.bytes.extend_from_slice(text.as_bytes());
}

fn note_loss(losses: &mut Vec<Loss>, record: &Record, error: &io::Error) {
    let owner = Owner { instance: record.instance, attempt: record.attempt };
    if let Some(known) = losses.iter_mut().find(|loss| loss.owner == owner) {
        known.bytes += u64::from(record.length);
    } else if losses.len() < MAX_LOSSES {
        let bytes = record.length.into();
        losses.push(Loss { owner, at: record.at, bytes, error: error.to_string() });
    }
}

impl Files {
    /// Opens or creates the pair; a pair that another live worker of the same name holds is left
    /// alone, and one with a number is taken.
    fn open(dir: &Path, stem: &str) -> io::Result<Files> {
        private::create_dir_all(dir)?;
        for number in 1..1000 {
            let name = if number == 1 { stem.to_owned() } else { format!("{stem}.{number}") };
            let open = |extension: &str| {
                let path = dir.join(format!("{name}.{extension}"));
                let mut options = OpenOptions::new();
                options.read(true).write(true).create(true).truncate(false);
                private::open(&path, &mut options)
            };
            let log = open("log")?;
            match log.try_lock() {
                // File systems without locks: rely on the names being unique.
                Ok(()) | Err(TryLockError::Error(_)) => {}
                Err(TryLockError::WouldBlock) => continue,
            }
            let index = open("idx")?;
            let log_len = log.metadata()?.len();
            // A record that a crash tore is overwritten.
            let index_len = index.metadata()?.len() / RECORD as u64 * RECORD as u64;
            return Ok(Files { log, index, log_len, index_len });
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many logs of the same worker"))
    }
}

/// A worker's name as a file name.
fn file_stem(worker: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = worker.chars().take(100).map(safe).collect();
    match name.trim_start_matches('.') {
        "" => "worker".to_owned(),
        name => name.to_owned(),
    }
}
