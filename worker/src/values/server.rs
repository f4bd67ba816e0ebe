//! The server from which other workers fetch values: a thread that accepts, and one for each
//! connection.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::store::Store;
use super::transfer::{self, REQUEST, Secret};

/// Connections at once; further ones wait to be accepted.
const CONNECTIONS: usize = 64;
/// How long a connection may be silent before a request has come.
const IDLE: Duration = Duration::from_secs(5);
/// How long the peer may take to accept the next part of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait for the connection that wakes the accepting thread when the server stops.
const KNOCK: Duration = Duration::from_secs(1);

/// Serves values until it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    secret: Secret,
    door: Mutex<Door>,
    /// Notified when a connection has ended, or all are to end.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Door {
    closed: bool,
    next: u64,
    /// To be cut off when the server stops.
    open: HashMap<u64, TcpStream>,
}

impl Server {
    /// Listens on a free port of this address.
    pub(super) fn start(address: IpAddr, store: Arc<Store>) -> io::Result<Server> {
        let secret = Secret::random()?;
        let listener = TcpListener::bind((address, 0))?;
        let address = listener.local_addr()?;
        let door = Mutex::default();
        let shared = Arc::new(Shared { store, secret, door, ended: Condvar::new() });
        let accepting = Arc::clone(&shared);
        let accept = move || accepting.accept(&listener);
        let thread = std::thread::Builder::new().name("values-door".into()).spawn(accept)?;
        Ok(Server { address, shared, thread: Some(thread) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.shared.secret
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut door = self.shared.lock();
        door.closed = true;
        door.open.values().for_each(|stream| {
            let _ = stream.shutdown(Shutdown::Both);
        });
        drop(door);
        self.shared.ended.notify_all();
        // Wakes the thread that accepts; when that fails, it stays until the process ends.
        if TcpStream::connect_timeout(&self.address, KNOCK).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let accepted = listener.accept();
            let mut door = self.lock();
            if door.closed {
                return;
            }
            let Ok((stream, _)) = accepted else {
                // Descriptors have run out, or the peer has disconnected: connections may end
                // meanwhile.
                drop(self.ended.wait_timeout(door, Duration::from_millis(100)));
                continue;
            };
            self.serve(&mut door, stream);
            while door.open.len() >= CONNECTIONS && !door.closed {
                door = self.ended.wait(door).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Starts a thread for a connection. If that fails, the connection is closed.
    fn serve(self: &Arc<Self>, door: &mut Door, stream: TcpStream) {
        let Ok(handle) = stream.try_clone() else { return };
        let number = door.next;
        let shared = Arc::clone(self);
        let serve = move || {
            // Whatever went wrong, the connection ends.
            let _ = shared.converse(stream);
            shared.lock().open.remove(&number);
            shared.ended.notify_all();
        };
        if std::thread::Builder::new().name("values".into()).spawn(serve).is_ok() {
            door.next += 1;
            door.open.insert(number, handle);
        }
    }

    fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IDLE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        loop {
            let mut request = [0; REQUEST];
            stream.read_exact(&mut request)?;
            let Some(id) = transfer::read_request(&request, &self.secret) else { return Ok(()) };
            let held = self.store.get(id);
            let head = held.as_ref().map(|held| (held.length(), held.checksum()));
            stream.write_all(&transfer::answer(head))?;
            if let Some(held) = held {
                held.copy_to(&mut stream).map_err(io::Error::other)?;
            }
        }
    }
}
