//! The values that a worker keeps for others, and how it fetches theirs.
//!
//! A value that is too long to travel with its report stays in the [`Store`] of the worker: in
//! memory up to a limit, on disk beyond it. Other workers fetch it from there, directly. The
//! scheduler knows which worker holds which value, and releases a value that nobody needs any more.

mod access;
mod attempt;
mod held;
mod keep;
mod peers;
mod server;
mod spill;
mod store;
mod transfer;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dagrun_core::ids::{InstanceId, RunId, WorkerId};
use dagrun_core::payload::{Stored, Whereabouts};

pub(crate) use access::Watched;
pub use access::{Fetch, Inline, Keeper, NotFetched};
pub(crate) use attempt::Given;
pub use held::{Held, checksum};
pub use keep::Keeping;
pub use peers::{FetchError, Peer};
pub use store::Store;
pub use transfer::Secret;

use peers::Peers;
use server::Server;

/// Names a value: that of an instance of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueId {
    /// The run.
    pub run: RunId,
    /// The instance.
    pub instance: InstanceId,
}

/// Why a value could not be kept or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// There is no memory left for it, and it could not be written to disk.
    #[error("no space for values in {}", dir.display())]
    Spill {
        /// The directory for values on disk.
        dir: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It could not be read back from disk.
    #[error("a value cannot be read back from disk")]
    Read(#[source] io::Error),
    /// Its destination did not accept it.
    #[error("a value cannot be written")]
    Write(#[source] io::Error),
    /// It has changed since it was written.
    #[error("a value is damaged: its checksum does not match")]
    Damaged,
    /// It does not fit into memory as a whole.
    #[error("a value of {0} bytes does not fit into memory")]
    TooLong(u64),
}

/// A worker's store, its server for other workers, and its client for theirs. All threads of the
/// worker share it.
#[derive(Debug)]
pub struct Values {
    store: Arc<Store>,
    dir: PathBuf,
    peers: Peers,
    server: OnceLock<Server>,
    /// The worker's number; 0 before it has one.
    own: AtomicU32,
    /// Locked as long as this process lives.
    alive: OnceLock<File>,
}

impl Values {
    /// A store that keeps up to `memory` bytes in memory and more on disk. The directory is created
    /// when it is needed, must not be used by others, and is removed at the end.
    #[must_use]
    pub fn new(memory: u64, dir: PathBuf) -> Values {
        Values {
            store: Arc::new(Store::new(memory, dir.clone())),
            dir,
            peers: Peers::default(),
            server: OnceLock::new(),
            own: AtomicU32::new(0),
            alive: OnceLock::new(),
        }
    }

    /// The worker's own directory for what attempts are given and leave.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file in that directory that is locked as long as this process lives. `None` where there can be
    /// none.
    pub(crate) fn lock_file(&self) -> Option<PathBuf> {
        let path = self.dir.join(ALIVE);
        clean(self.dir.parent()?);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).ok()?;
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path).ok()?;
        file.try_lock().ok()?;
        self.alive.set(file).ok()?;
        Some(path)
    }

    /// Listens for other workers on a free port of this address, unless it listens already.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn listen(&self, address: IpAddr) -> io::Result<()> {
        if self.server.get().is_some() {
            return Ok(());
        }
        let server = Server::start(address, Arc::clone(&self.store))?;
        let _ = self.server.set(server);
        Ok(())
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where other workers fetch values from this one, and the secret for it; `None` when it does
    /// not listen.
    #[must_use]
    pub fn door(&self) -> Option<(SocketAddr, &Secret)> {
        self.server.get().map(|server| (server.address(), server.secret()))
    }

    /// The number that the scheduler gave this worker.
    pub fn set_own(&self, id: WorkerId) {
        self.own.store(id.0, Ordering::Release);
    }

    /// Sets the other workers and the names of lost ones, in place of all that were known.
    pub fn set_peers(
        &self,
        peers: impl IntoIterator<Item = (WorkerId, Peer)>,
        lost: impl IntoIterator<Item = (WorkerId, String)>,
    ) {
        self.peers.set(peers.into_iter().collect(), lost.into_iter().collect());
    }

    /// Keeps the value of an attempt that has ended here, and returns the reference to it.
    ///
    /// # Errors
    /// When there is no capacity left in memory or on disk.
    pub fn hold(&self, id: ValueId, payload: Bytes) -> Result<Stored, ValueError> {
        let held = self.store.put(id, payload)?;
        let own = WorkerId(self.own.load(Ordering::Acquire));
        let place = Whereabouts::Worker(own, id.instance);
        Ok(Stored { place, bytes: held.length(), checksum: held.checksum() })
    }

    /// The value that a reference in `run` stands for: from this worker's store, from that of
    /// another, or from a file. `cancelled` is called now and then while waiting for other workers.
    ///
    /// # Errors
    /// When it is lost, damaged, or cannot be reached.
    pub fn get(
        &self,
        run: RunId,
        stored: &Stored,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Held, FetchError> {
        let (worker, instance) = match &stored.place {
            Whereabouts::File(path) => return peers::open_file(path, stored),
            Whereabouts::Worker(worker, instance) => (*worker, *instance),
        };
        let id = ValueId { run, instance };
        // There may be a copy here, or an older value with the same id.
        if let Some(held) = self.store.get(id).filter(|held| held.is(stored)) {
            return Ok(held);
        }
        if self.own.load(Ordering::Acquire) == worker.0 {
            return Err(FetchError::Released);
        }
        self.peers.fetch(&self.store, worker, id, stored, cancelled)
    }
}

/// The name of the file by which others see that a worker lives.
const ALIVE: &str = "alive";

/// Removes the directories of workers that live no longer, where no reaper has done so. Best effort.
fn clean(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with(&dir_name(""))) {
            continue;
        }
        let path = entry.path();
        // One without a lock may be that of a worker of another kind.
        let lock = File::open(path.join(ALIVE));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

/// The name of the directory of the worker with this mark.
pub(crate) fn dir_name(mark: &str) -> String {
    format!("dagrun-worker-{mark}")
}

impl Values {
    /// Removes the directory, when nothing will be kept any more. A thread that has not ended yet may
    /// keep this alive for longer than the process lives.
    pub(crate) fn remove_dir(&self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        self.remove_dir();
    }
}
