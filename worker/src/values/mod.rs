//! The values that a worker keeps for others, and how it gets theirs.
//!
//! What an attempt yields and is too long to travel with its report stays in the [`Store`] of the
//! worker: in memory up to a limit, on disk beyond it. Other workers fetch it from there, directly.
//! The scheduler knows who has what, and says when nobody needs a value any more.

mod held;
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

pub use held::{Held, checksum};
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
    peers: Peers,
    server: Option<Server>,
    own: OnceLock<WorkerId>,
}

impl Values {
    /// A store that keeps up to `memory` bytes in memory and more in files in `dir`. With an address, it
    /// listens there for other workers.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn new(memory: u64, dir: PathBuf, listen: Option<IpAddr>) -> io::Result<Values> {
        let store = Arc::new(Store::new(memory, dir));
        let server =
            listen.map(|address| Server::start(address, Arc::clone(&store))).transpose()?;
        Ok(Values { store, peers: Peers::default(), server, own: OnceLock::new() })
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where other workers get values from this one, and what they must know; none: it does not listen.
    #[must_use]
    pub fn door(&self) -> Option<(SocketAddr, &Secret)> {
        self.server.as_ref().map(|server| (server.address(), server.secret()))
    }

    /// The number that the scheduler gave this worker.
    pub fn set_own(&self, id: WorkerId) {
        let _ = self.own.set(id);
    }

    /// Learns of other workers, in place of all it knew.
    pub fn set_peers(&self, peers: impl IntoIterator<Item = (WorkerId, Peer)>) {
        self.peers.set(peers);
    }

    /// Keeps a value of an attempt that has ended here, and gives the reference to it.
    ///
    /// # Errors
    /// When there is no room in memory and none on disk.
    pub fn keep(&self, id: ValueId, payload: Bytes) -> Result<Stored, ValueError> {
        let held = self.store.put(id, payload)?;
        let place = Place::Worker(self.own.get().copied().unwrap_or(WorkerId(0)));
        Ok(Stored { place, bytes: held.length(), checksum: held.checksum() })
    }

    /// The value that a reference stands for: from this worker's store, from that of another, or from a
    /// file. `cancelled` is asked now and then while others are waited for.
    ///
    /// # Errors
    /// When it is gone, damaged, or cannot be reached.
    pub fn fetch(
        &self,
        id: ValueId,
        stored: &Stored,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Held, FetchError> {
        // A copy may be here, or one of the same name that is older than the reference.
        let here = self.store.get(id);
        let fits =
            |held: &Held| (held.length(), held.checksum()) == (stored.bytes, stored.checksum);
        if let Some(held) = here.filter(fits) {
            return Ok(held);
        }
        match &stored.place {
            Place::Worker(worker) if self.own.get() == Some(worker) => Err(FetchError::Released),
            Place::Worker(worker) => self.peers.fetch(&self.store, *worker, id, stored, cancelled),
            Place::File(path) => peers::read_file(&self.store, path, id, stored),
        }
    }
}
