//! The values that a worker keeps for others, and how it gets theirs.
//!
//! What an attempt yields and is too long to travel with its report stays in the [`Store`] of the
//! worker: in memory up to a limit, on disk beyond it. Other workers fetch it from there, directly.
//! The scheduler knows who has what, and says when nobody needs a value any more.

mod attempt;
mod held;
mod keep;
mod peers;
mod server;
mod spill;
mod store;
mod transfer;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dagrun_core::ids::{InstanceId, RunId, WorkerId};
use dagrun_core::payload::{Place, Stored};

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
    /// There is no room in memory, and the disk refuses.
    #[error("no room for values in {}", dir.display())]
    Spill {
        /// Where it was to go.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It could not be read back from disk.
    #[error("a value cannot be read back from disk")]
    Read(#[source] io::Error),
    /// Whoever wanted it did not take it.
    #[error("a value cannot be written")]
    Write(#[source] io::Error),
    /// It is not what it was.
    #[error("a value is damaged: its checksum does not match")]
    Damaged,
    /// Memory does not suffice to hold all of it at once.
    #[error("a value of {0} bytes does not fit into memory")]
    TooLong(u64),
}

/// A worker's store, its door for others, and its way to theirs. For all threads of the worker.
#[derive(Debug)]
pub struct Values {
    store: Arc<Store>,
    dir: PathBuf,
    peers: Peers,
    server: OnceLock<Server>,
    own: OnceLock<WorkerId>,
}

impl Values {
    /// A store that keeps up to `memory` bytes in memory and more on disk. The directory is made when it is
    /// needed, is nobody else's, and is removed in the end.
    #[must_use]
    pub fn new(memory: u64, dir: PathBuf) -> Values {
        Values {
            store: Arc::new(Store::new(memory, dir.clone())),
            dir,
            peers: Peers::default(),
            server: OnceLock::new(),
            own: OnceLock::new(),
        }
    }

    /// Listens for other workers on a free port of this address.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn listen(&self, address: IpAddr) -> io::Result<()> {
        let server = Server::start(address, Arc::clone(&self.store))?;
        let _ = self.server.set(server);
        Ok(())
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where other workers get values from this one, and what they must know; none: it does not listen.
    #[must_use]
    pub fn door(&self) -> Option<(SocketAddr, &Secret)> {
        self.server.get().map(|server| (server.address(), server.secret()))
    }

    /// The number that the scheduler gave this worker.
    pub fn set_own(&self, id: WorkerId) {
        let _ = self.own.set(id);
    }

    /// Learns of other workers, in place of all it knew, and of the names of those that have gone.
    pub fn set_peers(
        &self,
        peers: impl IntoIterator<Item = (WorkerId, Peer)>,
        gone: impl IntoIterator<Item = (WorkerId, String)>,
    ) {
        self.peers.set(peers.into_iter().collect(), gone.into_iter().collect());
    }

    /// Keeps a value of an attempt that has ended here, and gives the reference to it.
    ///
    /// # Errors
    /// When there is no room in memory and none on disk.
    pub fn hold(&self, id: ValueId, payload: Bytes) -> Result<Stored, ValueError> {
        let held = self.store.put(id, payload)?;
        let own = self.own.get().copied().unwrap_or(WorkerId(0));
        let place = Place::Worker(own, id.instance);
        Ok(Stored { place, bytes: held.length(), checksum: held.checksum() })
    }

    /// The value that a reference in `run` stands for: from this worker's store, from that of another, or
    /// from a file. `cancelled` is asked now and then while others are waited for.
    ///
    /// # Errors
    /// When it is gone, damaged, or cannot be reached.
    pub fn get(
        &self,
        run: RunId,
        stored: &Stored,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Held, FetchError> {
        let (worker, instance) = match &stored.place {
            Place::File(path) => return peers::open_file(path, stored),
            Place::Worker(worker, instance) => (*worker, *instance),
        };
        let id = ValueId { run, instance };
        // A copy may be here, or one of the same name that is older than the reference.
        if let Some(held) = self.store.get(id).filter(|held| held.is(stored)) {
            return Ok(held);
        }
        if self.own.get() == Some(&worker) {
            return Err(FetchError::Released);
        }
        self.peers.fetch(&self.store, worker, id, stored, cancelled)
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
