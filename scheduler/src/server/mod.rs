//! The RPC side: a thread that listens, lets peers log in, and serves them.
//!
//! [`spawn`] starts it. Peers connect over TCP or, from the same process, over a socket pair or an
//! in-memory stream ([`SchedulerHandle::attach`], [`SchedulerHandle::attach_line`]), or run on its
//! own thread ([`SchedulerHandle::host`]). All use the same interfaces and log in the same way.

mod client;
mod config;
mod gate;
mod guard;
mod load;
mod login;
mod observer;
mod reader;
mod run;
mod socket;
mod strangers;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use dagrun_core::ids::{Micros, RunId};
use dagrun_core::layout;
use dagrun_core::status::{Refused, RunState};
use dagrun_disk::private;
use dagrun_schema::dagrun_capnp::bootstrap;
use futures::future::LocalBoxFuture;
use futures::io::{BufReader, BufWriter};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_util::compat::{TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _};

pub use self::config::{Config, LEASE, StartError};
use self::guard::{Guard, MESSAGE_BYTES, Peer};
use self::load::{Drained, Load, Measured};
use self::reader::Reader;
use self::socket::OwnSocket;
use self::strangers::{Failed, Stranger, Strangers};
use crate::driver::{self, Former, Settings, Shared, life_of_former};
use crate::history::History;
use crate::holding::{Holding, Untaken};
use crate::journal::StoreError;
use crate::journal::lock::Owner;
use crate::journal::workers::FormerWorker;
use crate::store::Store;

/// How long peers have to read the last answers at the end.
const LINGER: Duration = Duration::from_millis(250);

enum Order {
    Attach(UnixStream),
    AttachLine(DuplexStream),
    Host(Guest),
    Shutdown,
    Leave,
}

/// A peer that runs on the scheduler's thread. It is given the bootstrap capability of a
/// connection.
pub type Guest = Box<dyn FnOnce(bootstrap::Client) -> LocalBoxFuture<'static, ()> + Send>;

/// A running scheduler. Dropping the handle does not end it.
#[derive(Debug)]
pub struct SchedulerHandle {
    address: Option<SocketAddr>,
    orders: mpsc::UnboundedSender<Order>,
    thread: JoinHandle<()>,
}

impl SchedulerHandle {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Serves the peer at the other end of `stream`, as if it had come over the network. When the
    /// scheduler has ended, the stream is closed.
    pub fn attach(&self, stream: UnixStream) {
        let _ = self.orders.send(Order::Attach(stream));
    }

    /// The same for a peer in this process, at the other end of `line`.
    pub fn attach_line(&self, line: DuplexStream) {
        let _ = self.orders.send(Order::AttachLine(line));
    }

    /// Runs a peer on the scheduler's own thread. Both call each other's capabilities without a
    /// connection between them, which saves messages and context switches. The guest must never
    /// block for long, and must end when it is asked to shut down; the scheduler waits for its end.
    pub fn host(&self, guest: Guest) {
        let _ = self.orders.send(Order::Host(guest));
    }

    /// Asks the scheduler to end, and its workers with it. Does not wait; see
    /// [`SchedulerHandle::join`].
    pub fn shutdown(&self) {
        let _ = self.orders.send(Order::Shutdown);
    }

    /// What asks the scheduler to end, and nothing else with it: its workers go on with what they have, and
    /// another scheduler with the same state goes on with its runs.
    pub fn leaving(&self) -> impl Fn() + Send + 'static {
        let orders = self.orders.clone();
        move || drop(orders.send(Order::Leave))
    }

    /// Waits until the scheduler has ended, whoever asked for it.
    ///
    /// # Panics
    /// When the scheduler's thread has panicked.
    pub fn join(self) {
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Starts a scheduler on a thread of its own.
///
/// # Errors
/// When the state directory or the address cannot be used.
pub fn spawn(mut config: Config) -> Result<SchedulerHandle, StartError> {
    let same = config.client_token == config.worker_token;
    if same || config.client_token.is_empty() || config.worker_token.is_empty() {
        return Err(StartError::Tokens);
    }
    config.state_dir = std::path::absolute(&config.state_dir)
        .map_err(|source| StartError::StateDir { path: config.state_dir.clone(), source })?;
    let holding = hold(&config)?;
    let (reply_to, replies) = mpsc::unbounded_channel();
    // What attempts of killed workers left.
    dagrun_disk::unfinished::clean(&layout::unfinished(&config.state_dir));
    let mut owner = config.shared.then(Owner::here);
    // Without a socket others still have the history.
    let socket = owner.as_ref().and_then(|_| OwnSocket::bind().ok());
    if let (Some(owner), Some(socket)) = (&mut owner, &socket) {
        owner.socket = Some(socket.path.clone());
        owner.token = hex::encode(&config.client_token);
    }
    let store = Store::start(&config.state_dir, owner, reply_to)?;
    let former = config.continues.then(|| read_former(&config.state_dir)).transpose()?;
    let listener = config.listen.map(listen).transpose()?;
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let (orders, inbox) = mpsc::unbounded_channel();
    let thread = std::thread::Builder::new()
        .name("dagrun-scheduler".into())
        .spawn(move || {
            let _held_to_the_end = holding;
            let tasks = tokio::task::LocalSet::new();
            let lease = Micros(u64::try_from(config.lease.as_micros()).unwrap_or(u64::MAX));
            let (state_dir, scheme) = (config.state_dir.clone(), config.scheme);
            let former = former.map(|(workers, last_worker, lost, runs)| {
                let with_life = |worker| {
                    let life = life_of_former(&worker);
                    (worker, life)
                };
                let workers = workers.into_iter().map(with_life).collect();
                Former { workers, runs, last_worker, lost }
            });
            let settings = Settings { state_dir, lease, scheme, former };
            let shared = Rc::new(Shared::new(Box::new(store), settings));
            let server = Rc::new(Server::new(config, Rc::clone(&shared)));
            tasks.block_on(&runtime, async move {
                tokio::task::spawn_local(driver::serve(shared, replies));
                server.serve(listener, socket, inbox).await;
            });
        })
        .map_err(StartError::Thread)?;
    Ok(SchedulerHandle { address, orders, thread })
}

/// Takes the state directory, of which one scheduler that listens may be in charge. Runs within commands
/// share it, as each has its own lock.
fn hold(config: &Config) -> Result<Option<Holding>, StartError> {
    if config.listen.is_none() || !config.shared {
        return Ok(None);
    }
    let path = config.state_dir.clone();
    private::create_dir_all(&path)
        .map_err(|source| StoreError::CreateDir { path: path.clone(), source })?;
    match Holding::take(&layout::scheduler_lock(&path)) {
        Ok(holding) => Ok(Some(holding)),
        Err(Untaken::Held(holder)) => Err(StartError::Held { path, holder }),
        // What is wrong with the directory is said when the database is opened.
        Err(Untaken::Unwritable) => Ok(None),
    }
}

type FormerState = (Vec<FormerWorker>, u32, Vec<String>, BTreeSet<RunId>);

/// What earlier schedulers left: workers that may return, the last number of a worker, and runs.
fn read_former(state_dir: &Path) -> Result<FormerState, StartError> {
    let history = History::open(state_dir)?;
    let (workers, last) = history.former_workers()?;
    let runs = history.runs(u32::MAX)?.into_iter();
    let unfinished =
        runs.filter(|run| run.state == RunState::Interrupted && run.finished.is_none());
    let lost = history.lost_workers()?;
    Ok((workers, last, lost, unfinished.map(|run| run.run).collect()))
}

fn listen(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// What all connections share.
pub(crate) struct Server {
    config: Config,
    shared: Rc<Shared>,
    reader: Reader,
    strangers: Rc<Strangers>,
    connections: Cell<u32>,
    /// What was refused, but for what others count; of connections when they have ended.
    refused: Cell<Refused>,
    /// Those that have not ended, for what they have refused.
    peers: RefCell<Vec<(Weak<Peer>, Weak<Load>)>>,
    /// Notified when a connection has ended.
    disconnected: Notify,
    /// Notified when a client asks the scheduler to end.
    stop: Notify,
}

impl Server {
    fn new(config: Config, shared: Rc<Shared>) -> Server {
        Server {
            reader: Reader::new(config.state_dir.clone()),
            config,
            shared,
            strangers: Rc::default(),
            connections: Cell::new(0),
            refused: Cell::default(),
            peers: RefCell::default(),
            disconnected: Notify::new(),
            stop: Notify::new(),
        }
    }

    async fn serve(
        self: Rc<Self>,
        listener: Option<std::net::TcpListener>,
        socket: Option<OwnSocket>,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) {
        // Nonblocking already, so only a runtime without I/O could refuse.
        let listener = listener.and_then(|listener| TcpListener::from_std(listener).ok());
        let own = socket.as_ref().and_then(|socket| {
            tokio::net::UnixListener::from_std(socket.listener.try_clone().ok()?).ok()
        });
        let mut guests = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = accept(listener.as_ref()) => match accepted {
                    Ok((stream, from)) => {
                        // Without it a small message may wait 40 ms for an acknowledgement.
                        if stream.set_nodelay(true).is_ok() {
                            self.connect(stream, Some(from.ip()));
                        }
                    }
                    // Out of descriptors, most likely: some will be free again soon.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                },
                accepted = accept_own(own.as_ref()) => match accepted {
                    Ok((stream, _)) => self.connect(stream, None),
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                },
                order = orders.recv() => match order {
                    Some(Order::Attach(stream)) => self.attach(stream),
                    Some(Order::AttachLine(line)) => self.connect(line, None),
                    Some(Order::Host(guest)) => {
                        guests.spawn_local(guest(self.door_for_a_guest()));
                    }
                    Some(Order::Shutdown) => {
                        self.shut_workers_down().await;
                        break;
                    }
                    Some(Order::Leave) => break,
                    // The handle was dropped: keep serving until a client ends the scheduler.
                    None => orders = never(),
                },
                () = self.stop.notified() => break,
            }
        }
        let _ = tokio::time::timeout(LINGER, self.all_disconnected()).await;
        while guests.join_next().await.is_some() {}
    }

    /// The bootstrap capability for a peer without a connection.
    fn door_for_a_guest(self: &Rc<Self>) -> bootstrap::Client {
        login::bootstrap(self, &Rc::new(self.newcomer(None)))
    }

    fn attach(self: &Rc<Self>, stream: UnixStream) {
        let stream =
            stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream));
        if let Ok(stream) = stream {
            self.connect(stream, None);
        }
    }

    fn newcomer(self: &Rc<Self>, address: Option<IpAddr>) -> Newcomer {
        let (peer, load) = (Rc::<Peer>::default(), Rc::<Load>::default());
        self.peers.borrow_mut().push((Rc::downgrade(&peer), Rc::downgrade(&load)));
        let stranger = self.strangers.admit(address);
        Newcomer { server: Rc::clone(self), peer, load, stranger }
    }

    fn connect(
        self: &Rc<Self>,
        stream: impl AsyncRead + AsyncWrite + 'static,
        address: Option<IpAddr>,
    ) {
        self.connections.set(self.connections.get() + 1);
        let server = Rc::clone(self);
        let connection = Rc::clone(self).converse(stream, self.newcomer(address));
        tokio::task::spawn_local(async move {
            // A task of its own, so that a panic in the RPC library ends this connection alone.
            let _ = tokio::task::spawn_local(connection).await;
            server.connections.set(server.connections.get() - 1);
            server.disconnected.notify_waiters();
        });
    }

    async fn converse(
        self: Rc<Self>,
        stream: impl AsyncRead + AsyncWrite + 'static,
        newcomer: Newcomer,
    ) {
        let newcomer = Rc::new(newcomer);
        let (peer, load) = (Rc::clone(&newcomer.peer), Rc::clone(&newcomer.load));
        let (input, output) = tokio::io::split(stream);
        let input = Guard::new(input.compat(), Rc::clone(&peer));
        let output = Drained { inner: output.compat_write(), load: Rc::clone(&load) };
        let mut options = capnp::message::ReaderOptions::new();
        options.traversal_limit_in_words(usize::try_from(MESSAGE_BYTES / 8).ok());
        options.nesting_limit(64);
        let network = twoparty::VatNetwork::new(
            BufReader::new(input),
            BufWriter::new(output),
            Side::Server,
            options,
        );
        let network = Measured { inner: Box::new(network), load, peer };
        let bootstrap = login::bootstrap(&self, &newcomer);
        let mut rpc = RpcSystem::new(Box::new(network), Some(bootstrap.client));
        tokio::select! {
            // It does not matter why a peer left: what it held is dropped with the connection.
            _ = &mut rpc => {}
            () = newcomer.out_of_time() => {
                // What it has asked for holds the connection: it does not end by being dropped. One that
                // does not read its last answers has a moment for them.
                let end = futures::future::join(rpc.get_disconnector(), rpc);
                let _ = tokio::time::timeout(LINGER, end).await;
            }
        }
    }

    /// A worker's line has asked for more sessions than it may have.
    fn too_many_sessions(&self) {
        let refused = self.refused.get();
        self.refused.set(Refused { sessions: refused.sessions + 1, ..refused });
    }

    /// What was refused since the start.
    fn refused(&self) -> Refused {
        let mut refused = self.refused.get();
        for (peer, load) in self.peers.borrow().iter() {
            refused.messages += peer.upgrade().map_or(0, |peer| peer.refused.get());
            refused.requests += load.upgrade().map_or(0, |load| load.held_up.get());
        }
        refused.logins = self.strangers.failed.get();
        refused.strangers = self.strangers.gave_way.get();
        refused.reports = self.shared.driver.borrow().stale();
        refused
    }

    /// A connection has ended: what it refused is added up.
    fn left(&self, peer: &Peer, load: &Load) {
        let Refused { messages, requests, .. } = self.refused.get();
        let messages = messages + peer.refused.get();
        let requests = requests + load.held_up.get();
        self.refused.set(Refused { messages, requests, ..self.refused.get() });
        let is_another = |known: &Weak<Peer>| !std::ptr::eq(known.as_ptr(), peer);
        self.peers.borrow_mut().retain(|(known, _)| is_another(known));
    }

    /// Ends all workers, within the time that they have for it.
    async fn shut_workers_down(&self) {
        self.shared.driver.borrow_mut().shut_workers_down();
        self.shared.inbox.wake();
        let _ = tokio::time::timeout(self.config.shutdown_timeout, async {
            loop {
                let left = self.shared.workers_left.notified();
                if !self.shared.driver.borrow().has_workers() {
                    return;
                }
                left.await;
            }
        })
        .await;
    }

    /// Whether it is about to go on with a run that a killed scheduler left.
    fn is_about_to_go_on(&self, run: RunId) -> bool {
        self.shared.driver.borrow().is_about_to_go_on(run)
    }

    async fn all_disconnected(&self) {
        loop {
            let disconnected = self.disconnected.notified();
            if self.connections.get() == 0 {
                return;
            }
            disconnected.await;
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn accept_own(
    listener: Option<&tokio::net::UnixListener>,
) -> io::Result<(tokio::net::UnixStream, tokio::net::unix::SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// A channel that never receives anything and never closes.
fn never() -> mpsc::UnboundedReceiver<Order> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::mem::forget(sender);
    receiver
}

/// A connection, from its beginning on.
struct Newcomer {
    server: Rc<Server>,
    peer: Rc<Peer>,
    load: Rc<Load>,
    /// It counts as a stranger until it logs in or ends.
    stranger: Rc<Stranger>,
}

impl Newcomer {
    fn log_in(&self) {
        self.peer.log_in();
        self.stranger.leave();
    }

    /// A login has failed: takes the time after which that is answered, and notes it in the log, but ever
    /// more seldom.
    async fn fail(&self) {
        let Failed { wait, lately, address } = self.stranger.fail();
        if let Some(log) = self.server.config.log
            && lately.is_power_of_two()
        {
            let from = address.map_or("this machine".to_owned(), |address| address.to_string());
            log(&format!("refused a login from {from}: a wrong secret, {lately} of late"));
        }
        tokio::time::sleep(wait).await;
    }

    /// Completes when the connection must end: its time is up, or it must give way, and the peer is still a
    /// stranger.
    async fn out_of_time(&self) {
        tokio::select! {
            () = tokio::time::sleep(self.server.config.login_timeout) => {}
            () = self.stranger.out() => {}
        }
        if self.peer.has_logged_in() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.server.left(&self.peer, &self.load);
    }
}

/// An exception for a peer.
pub(crate) fn exception(error: &dyn std::error::Error) -> capnp::Error {
    capnp::Error::failed(dagrun_core::one_line(error))
}

/// An exception for a peer, from the error of a disk that can no longer be written.
pub(crate) fn broken(error: &Arc<StoreError>) -> capnp::Error {
    match error.is_about_space() {
        true => capnp::Error::overloaded(dagrun_core::one_line(error.as_ref())),
        false => exception(error.as_ref()),
    }
}
