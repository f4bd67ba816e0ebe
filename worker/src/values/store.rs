//! The values that a worker holds, within a memory limit; beyond it, the oldest are on disk.
//!
//! One lock guards the map, the order and the sum, which must agree; nothing is written or read
//! under it. Memory is reserved before it is filled, so that the sum never exceeds the limit.
//! Copies of values that other workers hold are evicted first, and need no disk: they can be
//! fetched again.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dagrun_core::ids::{InstanceId, RunId};
use xxhash_rust::xxh3::Xxh3;

use super::held::{Body, Held, checksum};
use super::spill::{Extent, Spill};
use super::{ValueError, ValueId};

/// The values of a worker.
#[derive(Debug)]
pub struct Store {
    limit: u64,
    spill: Arc<Spill>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<ValueId, Entry>,
    /// The values in memory that may be evicted: copies first, then the oldest.
    leaving: BTreeMap<Rank, ValueId>,
    next: u64,
    /// Bytes in memory, including reserved ones.
    used: u64,
}

/// The order in which values leave memory: whether it is the worker's own, and when it came.
type Rank = (bool, u64);

#[derive(Debug)]
struct Entry {
    held: Held,
    rank: Rank,
}

impl Entry {
    fn in_memory(&self) -> u64 {
        if self.held.is_on_disk() { 0 } else { self.held.length }
    }
}

impl Store {
    /// Keeps up to `limit` bytes in memory, and more on disk in `dir`.
    #[must_use]
    pub fn new(limit: u64, dir: PathBuf) -> Store {
        Store { limit, spill: Arc::new(Spill::new(dir)), state: Mutex::default() }
    }

    /// Bytes of values in memory, including those that are being received.
    #[must_use]
    pub fn in_memory(&self) -> u64 {
        self.lock().used
    }

    /// Bytes of values on disk.
    #[must_use]
    pub fn on_disk(&self) -> u64 {
        self.spill.bytes()
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().held.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().held.is_empty()
    }

    /// The directory for values that do not fit into memory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.spill.dir()
    }

    /// Keeps a value until it is released. One of the same id is replaced.
    ///
    /// # Errors
    /// When there is no capacity left in memory or on disk.
    pub fn put(&self, id: ValueId, payload: Bytes) -> Result<Held, ValueError> {
        let (length, checksum) = (payload.len() as u64, checksum(&payload));
        let (body, promise) = match self.promise(length)? {
            Some(promise) => (Body::Memory(payload), Some(promise)),
            None => (Body::Disk(Arc::new(self.write(&payload)?)), None),
        };
        let held = Held { length, checksum, body };
        self.insert(id, held.clone(), true, promise);
        Ok(held)
    }

    /// A value, if it is here.
    #[must_use]
    pub fn get(&self, id: ValueId) -> Option<Held> {
        self.lock().held.get(&id).map(|entry| entry.held.clone())
    }

    /// Releases values that nobody needs any more.
    pub fn release(&self, run: RunId, instances: impl IntoIterator<Item = InstanceId>) {
        let mut state = self.lock();
        let released: Vec<Entry> = instances
            .into_iter()
            .filter_map(|instance| state.remove(ValueId { run, instance }))
            .collect();
        drop(state);
        drop(released); // Freeing disk space takes time.
    }

    /// Releases all values of a run.
    pub fn forget(&self, run: RunId) {
        let state = self.lock();
        let ids: Vec<ValueId> = state.held.keys().filter(|id| id.run == run).copied().collect();
        drop(state);
        self.release(run, ids.into_iter().map(|id| id.instance));
    }

    /// A value that comes in pieces: a copy of what another worker holds. It goes to memory if it
    /// fits there, otherwise to disk.
    pub(super) fn receive(&self, length: u64) -> Result<Receiving<'_>, ValueError> {
        let part = match self.promise(length)? {
            Some(promise) => {
                let mut bytes = Vec::new();
                let wanted = usize::try_from(length).ok();
                let wanted = wanted.and_then(|length| bytes.try_reserve_exact(length).ok());
                wanted.ok_or(ValueError::TooLong(length))?;
                Part::Memory(bytes, promise)
            }
            None => {
                Part::Disk(self.spill.extent(length).map_err(|error| self.no_room(error))?, vec![])
            }
        };
        Ok(Receiving { store: self, length, got: 0, hasher: Box::new(Xxh3::new()), part })
    }

    fn write(&self, payload: &[u8]) -> Result<Extent, ValueError> {
        let written = self.spill.extent(payload.len() as u64).and_then(|extent| {
            extent.write_at(payload, 0)?;
            Ok(extent)
        });
        written.map_err(|error| self.no_room(error))
    }

    fn no_room(&self, source: std::io::Error) -> ValueError {
        ValueError::Spill { dir: self.spill.dir().to_owned(), source }
    }

    /// Reserves this many bytes of memory, and evicts other values for it. `None`: the value
    /// belongs on disk.
    fn promise(&self, bytes: u64) -> Result<Option<Promise<'_>>, ValueError> {
        if bytes > self.limit {
            return Ok(None);
        }
        loop {
            let mut state = self.lock();
            if state.used + bytes <= self.limit {
                state.used += bytes;
                return Ok(Some(Promise { store: self, bytes }));
            }
            // Other threads are writing everything that could be evicted. Rather than wait for
            // them, this value goes to disk itself.
            let Some((rank, id)) = state.leaving.pop_first() else { return Ok(None) };
            let (own, _) = rank;
            if !own {
                state.remove(id);
                continue;
            }
            let held = state.held.get(&id).map(|entry| entry.held.clone());
            drop(state);
            if let Some(held) = held {
                self.move_out(id, rank, &held)?;
            }
        }
    }

    /// Moves a value to disk, unless it is released meanwhile.
    fn move_out(&self, id: ValueId, rank: Rank, held: &Held) -> Result<(), ValueError> {
        let Body::Memory(bytes) = &held.body else { return Ok(()) };
        let written = self.write(bytes);
        let mut state = self.lock();
        let State { held, leaving, used, .. } = &mut *state;
        let Some(entry) = held.get_mut(&id).filter(|entry| entry.rank == rank) else {
            return Ok(());
        };
        match written {
            Ok(extent) => {
                *used -= entry.in_memory();
                entry.held.body = Body::Disk(Arc::new(extent));
                Ok(())
            }
            Err(error) => {
                leaving.insert(rank, id);
                Err(error)
            }
        }
    }

    fn insert(&self, id: ValueId, held: Held, own: bool, promise: Option<Promise<'_>>) {
        let mut state = self.lock();
        let old = state.remove(id);
        // From now on the entry accounts for the bytes.
        promise.into_iter().for_each(std::mem::forget);
        let rank = (own, state.next);
        state.next += 1;
        if !held.is_on_disk() {
            state.leaving.insert(rank, id);
        }
        state.held.insert(id, Entry { held, rank });
        drop(state);
        drop(old);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, id: ValueId) -> Option<Entry> {
        let entry = self.held.remove(&id)?;
        self.leaving.remove(&entry.rank);
        self.used -= entry.in_memory();
        Some(entry)
    }
}

/// Memory that is reserved for a value that is not there yet.
#[derive(Debug)]
struct Promise<'a> {
    store: &'a Store,
    bytes: u64,
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        self.store.lock().used -= self.bytes;
    }
}

/// A value that comes in pieces. Dropping it drops what was received.
pub(super) struct Receiving<'a> {
    store: &'a Store,
    length: u64,
    got: u64,
    hasher: Box<Xxh3>,
    part: Part<'a>,
}

enum Part<'a> {
    Memory(Vec<u8>, Promise<'a>),
    /// With a buffer for the current piece.
    Disk(Extent, Vec<u8>),
}

impl Receiving<'_> {
    /// Bytes still to come.
    pub(super) fn left(&self) -> u64 {
        self.length.saturating_sub(self.got)
    }

    /// Lets `read` append some of the bytes to come; what it appended counts even when it fails.
    pub(super) fn take<E: From<ValueError>>(
        &mut self,
        read: impl FnOnce(&mut Vec<u8>, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let most = self.left();
        let (result, got) = match &mut self.part {
            Part::Memory(bytes, _) => {
                let before = bytes.len();
                let result = read(bytes, most);
                self.hasher.update(&bytes[before..]);
                (result, bytes.len() - before)
            }
            Part::Disk(extent, buffer) => {
                buffer.clear();
                let result = read(buffer, most);
                self.hasher.update(buffer);
                let written = extent.write_at(buffer, self.got);
                written.map_err(|error| self.store.no_room(error))?;
                (result, buffer.len())
            }
        };
        self.got += got as u64;
        result
    }

    /// Completes the value, if it is the expected one.
    pub(super) fn finish(self, id: ValueId, checksum: u64) -> Result<Held, ValueError> {
        if self.left() > 0 || self.hasher.digest() != checksum {
            return Err(ValueError::Damaged);
        }
        let (body, promise) = match self.part {
            Part::Memory(bytes, promise) => (Body::Memory(bytes.into()), Some(promise)),
            Part::Disk(extent, _) => (Body::Disk(Arc::new(extent)), None),
        };
        let held = Held { length: self.length, checksum, body };
        self.store.insert(id, held.clone(), false, promise);
        Ok(held)
    }
}
