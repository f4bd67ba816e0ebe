//! Fetches values from other workers, and opens those in files.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dagrun_core::ids::WorkerId;
use dagrun_core::payload::{self, Stored};

use super::held::{Body, Held, PIECE};
use super::store::{Receiving, Store};
use super::transfer::{self, ANSWER, Secret};
use super::{ValueError, ValueId};

/// How long another worker may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may be silent in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(30);
/// How often a waiting thread checks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(100);
/// Connections to one worker that are kept for the next value.
const SPARE: usize = 2;
/// How long they are kept: a shorter time than on the other side.
const SPARE_FOR: Duration = Duration::from_secs(3);

/// Why a value could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The worker that had it is not present, or offers no values.
    #[error("worker {0}, which had it, is gone")]
    NoWorker(String),
    /// The worker that had it does not have it any more.
    #[error("worker {0} does not have it any more")]
    Unknown(String),
    /// This worker had it and has released it.
    #[error("it has been released here")]
    Released,
    /// The worker that has it cannot be reached, or broke off.
    #[error("cannot get it from worker {name} at {address}")]
    Peer {
        /// Its name.
        name: String,
        /// The address that was tried.
        address: SocketAddr,
        /// What happened.
        source: io::Error,
    },
    /// The file that has it cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What came is not what the reference says.
    #[error("what came has another length or checksum than it should")]
    Mismatch,
    /// It cannot be kept here.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The attempt that needs it has to end.
    #[error("given up, as the attempt is to end")]
    Cancelled,
}

impl FetchError {
    /// Whether the value may be had elsewhere, or once it has been made again.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            FetchError::NoWorker(_)
            | FetchError::Unknown(_)
            | FetchError::Released
            | FetchError::Peer { .. } => true,
            FetchError::File { .. }
            | FetchError::Mismatch
            | FetchError::Value(_)
            | FetchError::Cancelled => false,
        }
    }
}

/// Another worker, as the scheduler describes it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Where it serves its values.
    pub address: SocketAddr,
    /// The secret that it requires.
    pub secret: Secret,
}

/// All other workers, and what is being fetched from them.
#[derive(Debug, Default)]
pub(super) struct Peers {
    state: Mutex<State>,
    /// Notified when a fetch has succeeded or failed.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<WorkerId, Peer>,
    /// The names of lost workers.
    lost: HashMap<WorkerId, String>,
    spare: HashMap<WorkerId, Vec<(TcpStream, Instant)>>,
    /// Values that a thread is fetching; others wait for it.
    under_way: std::collections::HashSet<ValueId>,
}

impl Peers {
    pub(super) fn set(&self, peers: HashMap<WorkerId, Peer>, lost: HashMap<WorkerId, String>) {
        let mut state = self.lock();
        (state.known, state.lost) = (peers, lost);
        let State { known, spare, .. } = &mut *state;
        spare.retain(|worker, _| known.contains_key(worker));
    }

    /// Fetches a value. Of several threads that need the same value, only one fetches it.
    pub(super) fn fetch(
        &self,
        store: &Store,
        worker: WorkerId,
        id: ValueId,
        stored: &Stored,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Held, FetchError> {
        let mut state = self.lock();
        while !state.under_way.insert(id) {
            state = self.ended.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            if cancelled() {
                return Err(FetchError::Cancelled);
            }
        }
        drop(state);
        let _turn = Turn { peers: self, id };
        let fits =
            |held: &Held| (held.length(), held.checksum()) == (stored.bytes, stored.checksum);
        if let Some(held) = store.get(id).filter(fits) {
            return Ok(held); // Another thread has fetched it meanwhile.
        }
        self.fetch_alone(store, worker, id, stored, cancelled)
    }

    fn fetch_alone(
        &self,
        store: &Store,
        worker: WorkerId,
        id: ValueId,
        stored: &Stored,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Held, FetchError> {
        let (peer, spare) = self.way_to(worker)?;
        let broken = |source| {
            let Peer { name, address, .. } = peer.clone();
            FetchError::Peer { name, address, source }
        };
        let request = transfer::request(&peer.secret, id);
        // A spare connection may have been closed at the other side, which shows only now.
        let asked = spare.and_then(|stream| Line { stream, cancelled }.ask(&request).ok());
        let (line, head) = match asked {
            Some(answered) => answered,
            None => {
                let stream = TcpStream::connect_timeout(&peer.address, CONNECT);
                let stream = stream.and_then(prepare).map_err(broken)?;
                match (Line { stream, cancelled }).ask(&request) {
                    Err(_) if cancelled() => return Err(FetchError::Cancelled),
                    asked => asked.map_err(broken)?,
                }
            }
        };
        match head {
            None => {
                self.put_back(worker, line.stream);
                return Err(FetchError::Unknown(peer.name));
            }
            Some(head) if head != (stored.bytes, stored.checksum) => {
                return Err(FetchError::Mismatch);
            }
            Some(_) => {}
        }
        let mut receiving = store.receive(stored.bytes)?;
        while receiving.left() > 0 {
            match line.receive(&mut receiving) {
                Ok(()) => {}
                Err(Broken::Value(error)) => return Err(error.into()),
                Err(Broken::Line(_)) if cancelled() => return Err(FetchError::Cancelled),
                Err(Broken::Line(error)) => return Err(broken(error)),
            }
        }
        let held = receiving.finish(id, stored.checksum).map_err(|_| FetchError::Mismatch)?;
        self.put_back(worker, line.stream);
        Ok(held)
    }

    fn way_to(&self, worker: WorkerId) -> Result<(Peer, Option<TcpStream>), FetchError> {
        let mut state = self.lock();
        let Some(peer) = state.known.get(&worker).cloned() else {
            let name = state.lost.get(&worker).cloned();
            return Err(FetchError::NoWorker(name.unwrap_or_else(|| worker.to_string())));
        };
        let spare = state.spare.get_mut(&worker);
        let spare = spare.and_then(|spare| {
            spare.retain(|(_, since)| since.elapsed() < SPARE_FOR);
            spare.pop()
        });
        Ok((peer, spare.map(|(stream, _)| stream)))
    }

    fn put_back(&self, worker: WorkerId, stream: TcpStream) {
        let mut state = self.lock();
        if state.known.contains_key(&worker) {
            let spare = state.spare.entry(worker).or_default();
            spare.retain(|(_, since)| since.elapsed() < SPARE_FOR);
            if spare.len() < SPARE {
                spare.push((stream, Instant::now()));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread's turn to fetch a value: however it ends, the next thread may try.
struct Turn<'a> {
    peers: &'a Peers,
    id: ValueId,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.peers.lock().under_way.remove(&self.id);
        self.peers.ended.notify_all();
    }
}

fn prepare(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    // Short, so that a cancelled attempt is noticed.
    stream.set_read_timeout(Some(LOOK))?;
    stream.set_write_timeout(Some(SILENCE))?;
    Ok(stream)
}

/// A connection to another worker, and a check for whether it is still needed.
struct Line<'a> {
    stream: TcpStream,
    cancelled: &'a dyn Fn() -> bool,
}

/// Why a transfer broke off.
enum Broken {
    Line(io::Error),
    Value(ValueError),
}

impl From<ValueError> for Broken {
    fn from(error: ValueError) -> Broken {
        Broken::Value(error)
    }
}

/// Length and checksum; `None` for a value that is not there.
type Head = Option<(u64, u64)>;

impl Line<'_> {
    fn ask(mut self, request: &[u8]) -> io::Result<(Self, Head)> {
        self.stream.write_all(request)?;
        let mut head = Vec::with_capacity(ANSWER);
        while head.len() < ANSWER {
            let left = (ANSWER - head.len()) as u64;
            self.append(&mut head, left)?;
        }
        let head = <[u8; ANSWER]>::try_from(head.as_slice()).ok();
        let head = head.and_then(|head| transfer::read_answer(&head));
        let head = head.ok_or_else(|| io::Error::other("its answer makes no sense"))?;
        Ok((self, head))
    }

    fn receive(&self, receiving: &mut Receiving<'_>) -> Result<(), Broken> {
        receiving.take(|to, most| self.append(to, most).map_err(Broken::Line))
    }

    /// Waits for some of `most` bytes, and appends what has come.
    fn append(&self, to: &mut Vec<u8>, most: u64) -> io::Result<()> {
        let since = Instant::now();
        loop {
            match append_some(&self.stream, to, most) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if (self.cancelled)() || since.elapsed() >= SILENCE {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                read => return read,
            }
        }
    }
}

/// Reads once, into spare capacity that need not be initialised. More than `most` bytes are an
/// error.
fn append_some(from: impl AsFd, to: &mut Vec<u8>, most: u64) -> io::Result<()> {
    if to.capacity() == to.len() {
        to.reserve_exact(usize::try_from(most).unwrap_or(PIECE).min(PIECE));
    }
    loop {
        match rustix::io::read(&from, rustix::buffer::spare_capacity(to)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(got) if got as u64 > most => return Err(io::Error::other("more than announced")),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A value that is in a file. Its content is checked when it is read.
pub(super) fn open_file(path: &Path, stored: &Stored) -> Result<Held, FetchError> {
    let failed = |source| FetchError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let head = payload::file_head(path);
    let length = file.metadata().map_err(failed)?.len().saturating_add(head.len() as u64);
    if length != stored.bytes {
        return Err(FetchError::Mismatch);
    }
    let body = Body::File(Arc::new(file), head);
    Ok(Held { length, checksum: stored.checksum, body })
}
