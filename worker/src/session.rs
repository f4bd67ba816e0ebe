//! A worker's life: connect, log in, register, serve, wind down. It begins in [`crate::handle`].
//!
//! A cut line does not end a worker that knows how to find its scheduler again, see [`Rejoin`]: what it
//! runs goes on, and what it has to report is kept until it has registered anew.

mod beat;
mod serve;
mod stops;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::Duration;

use capnp::message::ReaderOptions;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use dagrun_core::engine::{Claim, Outcome, Report};
use dagrun_core::ids::{Micros, Timestamp, WorkerId};
use dagrun_core::offer::Offer;
use dagrun_disk::clock;
use dagrun_schema::PROTOCOL_VERSION;
use dagrun_schema::dagrun_capnp::{bootstrap, granted, session, worker};
use dagrun_schema::wire::{Door, Message as _, Registration};
use futures::io::{AsyncRead, AsyncWrite, BufReader, BufWriter};
use tokio::sync::{Notify, mpsc};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use crate::function;
use crate::groups::{GroupTable, Mark};
use crate::reaper::ReaperConfig;
use crate::reports::Message;
use crate::runner::Runner;
use crate::runs::Runs;
use crate::service::{self, Service};
use crate::slots::{Announcer, Slots, SlotsError};
use crate::values::{Values, dir_name};

/// How often a worker that leaves looks whether anything runs.
const LOOK: Duration = Duration::from_millis(20);
/// How long connecting, logging in and registering may take.
const JOINING: Duration = Duration::from_secs(10);
/// How long the last answer has to leave for the scheduler.
const FAREWELL: Duration = Duration::from_millis(2);
/// How long closing the connection may take.
const CLOSING: Duration = Duration::from_millis(500);
/// Largest message read, in words of 8 bytes: inputs carry captured values.
const MAX_MESSAGE: usize = (512 << 20) / 8;

/// Bytes of values kept in memory where the worker's memory is not known.
const DEFAULT_VALUES: u64 = 256 << 20;

/// The default number of log bytes kept of each stream of an attempt.
pub const DEFAULT_LOG_LIMIT: usize = 1 << 20;

/// The configuration of a worker.
pub struct Config {
    /// Its name; empty: the scheduler picks one.
    pub name: String,
    /// What it offers; at least one slot. [`whole_machine`](crate::whole_machine) offers
    /// everything.
    pub offer: Offer,
    /// The secret of workers.
    pub token: Vec<u8>,
    /// How to start the process that cleans up after a crash; `None`: there is no such process.
    pub reaper: Option<ReaperConfig>,
    /// Bytes of each stream of an attempt that are logged, see [`DEFAULT_LOG_LIMIT`].
    pub log_limit: usize,
    /// Where it keeps long values.
    pub values: ValuesConfig,
    /// How it finds the scheduler again when its line is cut; `None`: it ends with its line.
    pub rejoin: Option<Rejoin>,
    /// How long what runs may go on when the worker is to end. It takes nothing new meanwhile.
    pub drain: Duration,
    /// Whether processes that use more memory than they asked for are ended; if not, that is noted in
    /// their logs.
    pub enforce_memory: bool,
}

/// How a worker finds its scheduler again.
pub struct Rejoin {
    /// Where the scheduler is now, and the secret of workers; asked before each try.
    pub find: Find,
    /// The worker ends when it has found no scheduler for so long while nothing ran; `None`: it goes on
    /// for ever.
    pub patience: Option<Duration>,
}

/// Says where a scheduler is, and the secret of its workers.
pub type Find = Box<dyn Fn() -> std::io::Result<(SocketAddr, Vec<u8>)> + Send>;

impl fmt::Debug for Rejoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejoin").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// Where a worker keeps values that are too long to travel with reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValuesConfig {
    /// Bytes that it keeps in memory; `None`: a quarter of its memory.
    pub memory: Option<u64>,
    /// The parent of the directory for values on disk, which the worker creates; `None`: the
    /// directory for temporary files.
    pub dir: Option<PathBuf>,
}

impl fmt::Debug for Config {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("offer", &self.offer)
            .field("reaper", &self.reaper)
            .field("log_limit", &self.log_limit)
            .field("values", &self.values)
            .field("rejoin", &self.rejoin)
            .field("drain", &self.drain)
            .field("enforce_memory", &self.enforce_memory)
            .finish_non_exhaustive()
    }
}

/// A connection to the scheduler.
#[derive(Debug)]
pub enum Connection {
    /// Connect to this address.
    Tcp(SocketAddr),
    /// The scheduler is at the other end of this stream.
    Stream(UnixStream),
}

/// A way to the scheduler.
pub(crate) enum Way {
    /// Through a connection.
    Line(Connection),
    /// Directly: the scheduler is on this thread.
    Direct(bootstrap::Client),
}

/// Why a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The scheduler shut it down.
    Dismissed,
    /// Its own process shut it down.
    ShutDown,
    /// The connection to the scheduler ended.
    ConnectionLost(String),
    /// Its thread panicked.
    Broken,
}

/// The scheduler's answer: the worker's number and name.
pub(crate) type Accepted = Result<(u32, String), StartError>;

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The scheduler cannot be reached.
    #[error("cannot connect to the scheduler")]
    Connect(#[source] std::io::Error),
    /// The scheduler did not answer in time.
    #[error("the scheduler does not answer")]
    Silent,
    /// The scheduler refused the token or the worker.
    #[error("the scheduler refused the worker")]
    Refused(#[source] capnp::Error),
    /// The token is good for a client only.
    #[error("the token is a client's, not a worker's")]
    ClientToken,
    /// The slots could not be set up.
    #[error(transparent)]
    Slots(#[from] SlotsError),
    /// The system refused a thread or memory.
    #[error("cannot set up the worker")]
    System(#[source] std::io::Error),
}

/// The scheduler's answer to the registration.
struct Registered {
    session: session::Client,
    id: u32,
    name: String,
    /// For how long the worker may publish without a word of the scheduler's; zero: for ever.
    lease: Micros,
    /// When it asked for that.
    asked: Micros,
    /// Whether what it has is still its own.
    returned: bool,
}

/// The task of a connection, which ends with its handle: over a line that was given up, say because the
/// answer to a registration was late, nothing must be carried out any more. The next registration says
/// what the worker has by then.
struct Bound(tokio::task::JoinHandle<Result<(), capnp::Error>>);

impl Drop for Bound {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection that carries messages.
struct Line {
    rpc: Bound,
    disconnector: capnp_rpc::Disconnector<Side>,
}

/// A registered worker.
pub(crate) struct Joined {
    config: Config,
    service: Rc<Service>,
    registered: Registered,
    /// `None` when the scheduler is on this thread.
    line: Option<Line>,
    messages: mpsc::UnboundedReceiver<Message>,
    lock: Option<PathBuf>,
}

pub(crate) async fn join_scheduler(config: Config, way: Way) -> Result<Joined, StartError> {
    let (service, messages) = set_up(&config)?;
    let service = Rc::new(service);
    let lock = match &config.rejoin {
        Some(_) => service.lock_file(),
        None => None,
    };
    let (held, claims) = (Vec::new(), Vec::new());
    let own = Own { config: &config, lock: lock.as_deref(), serial: 0, held, claims };
    let joining = async {
        let (bootstrap, line) = match way {
            Way::Direct(bootstrap) => (bootstrap, None),
            Way::Line(connection) => {
                let (bootstrap, line) = converse(connection, &service).await?;
                (bootstrap, Some(line))
            }
        };
        let registered = register(&bootstrap, &own, &config.token, &service).await?;
        Ok::<_, StartError>((registered, line))
    };
    let joined = tokio::time::timeout(JOINING, joining).await;
    let (registered, line) = joined.map_err(|_| StartError::Silent)??;
    service.lease().renew(registered.asked, registered.lease);
    service.name.replace(registered.name.clone());
    service.values.set_own(WorkerId(registered.id));
    service.slots.runner().set_worker_name(&registered.name);
    Ok(Joined { config, service, registered, line, messages, lock })
}

/// Connects to the scheduler.
async fn converse(
    connection: Connection,
    service: &Service,
) -> Result<(bootstrap::Client, Line), StartError> {
    let ((reader, writer), own) = connect(connection).await.map_err(StartError::Connect)?;
    if let Some(address) = own {
        // An address from which the scheduler can be reached can be reached by the other workers.
        service.values.listen(address).map_err(StartError::System)?;
    }
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(MAX_MESSAGE));
    let network = twoparty::VatNetwork::new(
        BufReader::new(reader),
        BufWriter::new(writer),
        Side::Client,
        options,
    );
    let mut rpc = RpcSystem::new(Box::new(network), None);
    let bootstrap: bootstrap::Client = rpc.bootstrap(Side::Server);
    let disconnector = rpc.get_disconnector();
    Ok((bootstrap, Line { rpc: Bound(tokio::task::spawn_local(rpc)), disconnector }))
}

fn set_up(config: &Config) -> Result<(Service, mpsc::UnboundedReceiver<Message>), StartError> {
    let groups = match config.reaper {
        Some(_) => Some(GroupTable::new().map_err(StartError::System)?),
        None => None,
    };
    let (sender, messages) = mpsc::unbounded_channel();
    let mark = Mark::random();
    let values = Arc::new(values(config, &mark));
    let runner = Runner::new(mark, groups, config.log_limit)
        .with_values(Arc::clone(&values))
        .enforcing_memory(config.enforce_memory);
    let sink = sender.clone();
    let sink = Box::new(move |report| {
        let _ = sink.send(Message::Report(report));
    });
    let name = match config.name.as_str() {
        "" => format!("worker-{}", std::process::id()),
        name => name.to_owned(),
    };
    let announcer = announcer(sender.clone());
    let slots = config.offer.slots.max(1) as usize;
    let slots = Slots::announcing(slots, runner, sink, announcer)?;
    let starting = config.reaper.clone().map(|reaper| service::start_reaper(reaper, slots.clone()));
    let service = Service {
        slots,
        runs: Arc::new(Runs::default()),
        values,
        messages: sender,
        dispatched: Rc::new(Notify::new()),
        name: RefCell::new(name),
        starting: RefCell::new(starting.flatten()),
        reaper: RefCell::new(None),
        leaving: Cell::new(false),
        started: Cell::new(false),
        done: Rc::new(Notify::new()),
        returns: config.rejoin.is_some(),
        given: Rc::default(),
    };
    Ok((service, messages))
}

/// Announces starts through the same channel as all reports.
fn announcer(messages: mpsc::UnboundedSender<Message>) -> Announcer {
    Box::new(move |attempt, control| {
        while control.stopped().is_none() {
            let (acknowledge, acknowledged) = std_mpsc::sync_channel::<()>(1);
            let zero = Timestamp(0);
            let report = Report::one(attempt, Outcome::Started, zero, zero);
            let acknowledge = Box::new(move || {
                let _ = acknowledge.send(());
            });
            let sent = messages.send(Message::Report(report));
            if sent.and_then(|()| messages.send(Message::Barrier(acknowledge))).is_err() {
                return false; // The worker has come to its end.
            }
            loop {
                match acknowledged.recv_timeout(LOOK) {
                    Ok(()) => return true,
                    // The line was cut.
                    Err(std_mpsc::RecvTimeoutError::Disconnected) => break,
                    Err(std_mpsc::RecvTimeoutError::Timeout) if control.stopped().is_some() => {
                        return false;
                    }
                    Err(std_mpsc::RecvTimeoutError::Timeout) => {}
                }
            }
            std::thread::sleep(LOOK);
        }
        false
    })
}

/// The store of values, in a directory of its own.
fn values(config: &Config, mark: &Mark) -> Values {
    let known = Some(config.offer.memory).filter(|memory| *memory > 0);
    let limit = config.values.memory.or(known.map(|memory| memory / 4));
    let dir = config.values.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = dir.join(dir_name(mark.as_str()));
    Values::new(limit.unwrap_or(DEFAULT_VALUES), dir)
}

type Halves = (Box<dyn AsyncRead + Unpin>, Box<dyn AsyncWrite + Unpin>);

/// Connects to the scheduler; also returns the local address of a network connection.
async fn connect(connection: Connection) -> std::io::Result<(Halves, Option<IpAddr>)> {
    match connection {
        Connection::Tcp(address) => {
            let stream = tokio::net::TcpStream::connect(address).await?;
            // Small messages must not wait for the acknowledgement of earlier ones.
            stream.set_nodelay(true)?;
            let own = stream.local_addr()?.ip();
            let (reader, writer) = stream.into_split();
            let halves: Halves = (Box::new(reader.compat()), Box::new(writer.compat_write()));
            Ok((halves, Some(own)))
        }
        Connection::Stream(stream) => {
            stream.set_nonblocking(true)?;
            let (reader, writer) = tokio::net::UnixStream::from_std(stream)?.into_split();
            let halves: Halves = (Box::new(reader.compat()), Box::new(writer.compat_write()));
            Ok((halves, None))
        }
    }
}

/// What a worker says of itself when it registers.
struct Own<'a> {
    config: &'a Config,
    lock: Option<&'a Path>,
    serial: u32,
    held: Vec<Range<u64>>,
    claims: Vec<Claim>,
}

async fn register(
    bootstrap: &bootstrap::Client,
    own: &Own<'_>,
    token: &[u8],
    service: &Rc<Service>,
) -> Result<Registered, StartError> {
    let config = own.config;
    let mut login = bootstrap.login_request();
    login.get().set_token(token);
    login.get().set_protocol(PROTOCOL_VERSION);
    let answer = login.send().promise.await.map_err(StartError::Refused)?;
    let answer = answer.get().map_err(StartError::Refused)?;
    let gate = match answer.get_granted().map_err(StartError::Refused)?.which() {
        Ok(granted::Gate(gate)) => gate.map_err(StartError::Refused)?,
        Ok(granted::Client(_)) => return Err(StartError::ClientToken),
        Err(error) => return Err(StartError::Refused(error.into())),
    };
    let mut request = gate.register_request();
    let functions = function::functions().map(|one| (one.name.to_owned(), (one.signature)()));
    let door = service.values.door();
    let uid = match config.rejoin {
        Some(_) => service.slots.runner().mark().as_str().to_owned(),
        None => String::new(),
    };
    let registration = Registration {
        name: config.name.clone(),
        host: dagrun_disk::host(),
        pid: std::process::id(),
        offer: Offer { slots: config.offer.slots.max(1), ..config.offer.clone() },
        functions: functions.collect(),
        door: door.map(|(address, secret)| Door { address, secret: *secret.bytes() }),
        uid,
        serial: own.serial,
        lock: own.lock.map(Path::to_owned),
        held: own.held.clone(),
        claims: own.claims.clone(),
        runs: service.runs.known(),
        leaving: service.leaving.get(),
    };
    registration.write(request.get().init_registration());
    let worker: worker::Client = capnp_rpc::new_client_from_rc(service.clone());
    request.get().set_worker(worker);
    let asked = clock::uptime();
    let answer = request.send().promise.await.map_err(StartError::Refused)?;
    let read = || {
        let answer = answer.get()?;
        let name = answer.get_name()?.to_str()?.to_owned();
        let (session, lease) = (answer.get_session()?, Micros(answer.get_lease()));
        let (id, returned) = (answer.get_id(), answer.get_returned());
        Ok(Registered { session, id, name, lease, asked, returned })
    };
    read().map_err(StartError::Refused)
}
