//! The roles of a program that uses dagrun: itself, a worker, or the reaper of a worker.

use std::cell::Cell;
use std::ffi::OsString;
use std::io::Read;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dagrun_core::offer::Offer;
use dagrun_scheduler::connection::{ClusterDir, Role, Token};
use dagrun_worker::function::ambiguous;
use dagrun_worker::{EndReason, Rejoin, WorkerHandle};

pub use crate::worker_args::{memory, offer_words, resource};

use crate::error::ClusterError;
use crate::worker_args::{HELP, WORKER, WorkerArgs, Wrong, worker_config};

/// The variable by which a process knows that it is a worker of its parent's: the number of the parent, which
/// processes that a worker starts do not have as theirs, and the words after [`WORKER`].
pub(crate) const CHILD: &str = "DAGRUN_CHILD";
/// What stands between them.
const BETWEEN: char = '\u{1f}';

/// The test that called [`init`] first, by its thread.
static TEST: OnceLock<String> = OnceLock::new();

thread_local! {
    /// Whether this thread has called [`init`].
    static CALLED: Cell<bool> = const { Cell::new(false) };
}

static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Whether [`init`] was called: this program can be started as its own worker.
pub(crate) fn is_initialised() -> bool {
    INITIALISED.load(Ordering::Acquire)
}

/// Lets this program be its own worker. To be called first thing in `main`.
///
/// Started as `my-program worker --cluster NAME`, it joins the cluster as a worker with all its
/// functions, and does not return from here before it ends; so it is when
/// [`Cluster::processes`](crate::Cluster::processes) starts it. Otherwise this does nothing.
///
/// It works in a `#[test]` too, first thing in the function: the workers run that test again, and become workers
/// there.
///
/// Pipeline files name functions, so a worker's names must be unique: where two functions of the program share
/// one, this reports the paths of both and ends the process with exit code 2. Programs that never call it may
/// have several, as graphs in Rust mean the function itself.
///
/// ```no_run
/// fn main() -> Result<(), dagrun::Error> {
///     dagrun::init();
///     let cluster = dagrun::Cluster::processes(4)?;
///     # let _ = cluster;
///     Ok(())
/// }
/// ```
pub fn init() {
    INITIALISED.store(true, Ordering::Release);
    dagrun_worker::reaper::take_part();
    let ambiguous: Vec<String> = ambiguous().map(|names| names.to_string()).collect();
    if !ambiguous.is_empty() {
        report(&ambiguous.join("\n"));
        std::process::exit(2);
    }
    CALLED.set(true);
    if let Some(name) = test_of_thread() {
        TEST.get_or_init(|| name);
    }
    if let Some(words) = of_parent() {
        std::process::exit(work(words.into_iter().map(OsString::from)));
    }
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|role| role == WORKER) {
        std::process::exit(work(arguments));
    }
}

/// The name of a test that calls [`init`], of this thread if it does: tests of `cargo test` have threads of
/// their own, which are called as they are.
pub(crate) fn test() -> Option<String> {
    test_of_thread().filter(|_| CALLED.get()).or_else(|| TEST.get().cloned())
}

fn test_of_thread() -> Option<String> {
    std::thread::current().name().filter(|name| *name != "main").map(str::to_owned)
}

/// What [`CHILD`] is for a worker with these arguments, the first of which is [`WORKER`].
pub(crate) fn as_child(words: &[impl AsRef<str>]) -> String {
    let mut value = std::process::id().to_string();
    for word in words.iter().skip(1) {
        value.push(BETWEEN);
        value.push_str(word.as_ref());
    }
    value
}

/// The arguments of this process as a worker of its parent's, if it is one.
fn of_parent() -> Option<Vec<String>> {
    let value = std::env::var(CHILD).ok()?;
    let mut words = value.split(BETWEEN).map(str::to_owned);
    let parent: u32 = words.next()?.parse().ok()?;
    (parent == std::os::unix::process::parent_id()).then(|| words.collect())
}

/// The life of a worker process: its exit code.
#[expect(clippy::print_stdout, reason = "whoever asks for help reads it there")]
fn work(arguments: impl Iterator<Item = OsString>) -> i32 {
    let args = match WorkerArgs::parse(arguments) {
        Ok(args) => args,
        Err(Wrong::Help) => {
            print!("{HELP}");
            return 0;
        }
        Err(Wrong::Usage(why)) => {
            report(&format!("error: {why}\n\n{HELP}"));
            return 2;
        }
    };
    let of_parent = args.connect.is_some();
    match join(args) {
        Ok(worker) => serve(worker, of_parent),
        Err(error) => {
            report(&format!("the worker cannot join: {}", dagrun_core::one_line(&error)));
            3
        }
    }
}

fn join(args: WorkerArgs) -> Result<WorkerHandle, ClusterError> {
    let Some(address) = args.connect else {
        let staying = Staying { enforce_memory: args.enforce_memory, ..Staying::default() };
        return join_cluster_for(&args.cluster, args.name, args.offer, staying);
    };
    let (drain, wait) = (Duration::ZERO, None);
    let staying = Staying { drain, wait, enforce_memory: args.enforce_memory };
    let mut token = [0; Token::BYTES];
    std::io::stdin().read_exact(&mut token)?;
    let find = move || Ok((address, token.to_vec()));
    let rejoin = Rejoin { find: Box::new(find), patience: Some(OF_PARENT) };
    let token = Token::from_bytes(token);
    start_worker(address, &token, (args.name, args.offer), rejoin, staying)
}

/// Joins the cluster of this name as a worker with the functions of this program. With an empty `name`
/// the scheduler picks one. When its line to the scheduler is cut, the worker goes on with what it runs
/// and looks for the scheduler for ever; asked to end, it finishes what runs within 20 seconds.
///
/// # Errors
/// When there is no such cluster, or its scheduler cannot be reached or refuses.
pub fn join_cluster(
    cluster: &str,
    name: String,
    offer: Offer,
) -> Result<WorkerHandle, ClusterError> {
    join_cluster_for(cluster, name, offer, Staying::default())
}

/// How long a worker stays, and what it bears meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staying {
    /// How long what runs may go on when the worker is to end.
    pub drain: Duration,
    /// How long it looks for its scheduler while nothing runs; `None`: for ever.
    pub wait: Option<Duration>,
    /// Whether it ends processes that use more memory than they asked for, or only notes that in their
    /// logs; `None`: below a batch system.
    pub enforce_memory: Option<bool>,
}

impl Default for Staying {
    fn default() -> Staying {
        Staying { drain: DRAIN, wait: None, enforce_memory: None }
    }
}

/// How long what a worker runs may go on by default when it is to end: less than batch systems allow.
const DRAIN: Duration = Duration::from_secs(20);

/// As [`join_cluster`], for as long as `staying` says.
///
/// # Errors
/// As [`join_cluster`].
pub fn join_cluster_for(
    cluster: &str,
    name: String,
    offer: Offer,
    staying: Staying,
) -> Result<WorkerHandle, ClusterError> {
    let folder = ClusterDir::of(cluster)?;
    let connection = folder.read(Role::Worker)?;
    let find = move || {
        let connection = folder.read(Role::Worker).map_err(std::io::Error::other)?;
        Ok((connection.address, connection.token.bytes().to_vec()))
    };
    let rejoin = Rejoin { find: Box::new(find), patience: staying.wait };
    start_worker(connection.address, &connection.token, (name, offer), rejoin, staying)
}

/// How long a worker of this program's looks for its parent's scheduler.
const OF_PARENT: Duration = Duration::from_secs(10);

fn start_worker(
    address: SocketAddr,
    token: &Token,
    (name, offer): (String, Offer),
    rejoin: Rejoin,
    staying: Staying,
) -> Result<WorkerHandle, ClusterError> {
    let connection = dagrun_worker::Connection::Tcp(address);
    let mut config = worker_config(name, offer, token, dagrun_worker::DEFAULT_LOG_LIMIT);
    (config.rejoin, config.drain) = (Some(rejoin), staying.drain);
    config.enforce_memory = staying.enforce_memory.unwrap_or(config.enforce_memory);
    Ok(dagrun_worker::spawn(config, connection)?)
}

fn serve(worker: WorkerHandle, of_parent: bool) -> i32 {
    if of_parent {
        let stopper = worker.stopper();
        std::thread::spawn(move || {
            // The parent holds the other end as long as it wants this worker.
            let mut rest = [0; 64];
            while matches!(std::io::stdin().read(&mut rest), Ok(1..)) {}
            stopper.stop();
        });
    } else {
        report(&format!("worker {}: joined", worker.name()));
        stop_on_signals(&worker);
    }
    match worker.join() {
        EndReason::Dismissed | EndReason::ShutDown => 0,
        EndReason::ConnectionLost(_) if of_parent => 3,
        EndReason::ConnectionLost(why) => {
            report(&format!("the connection to the scheduler was lost: {why}"));
            3
        }
        EndReason::Broken => {
            report("the worker's thread has panicked");
            1
        }
    }
}

/// From now on the first SIGINT or SIGTERM lets the worker finish what runs, see [`Staying`], the second
/// ends that too, and the third this process; its reaper ends what is left then.
pub fn stop_on_signals(worker: &WorkerHandle) {
    let stopper = worker.stopper();
    let signals = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
    let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) else { return };
    std::thread::spawn(move || {
        for _ in 0..2 {
            if signals.forever().next().is_some() {
                stopper.stop();
            }
        }
        if let Some(signal) = signals.forever().next() {
            std::process::exit(128 + signal);
        }
    });
}

/// A worker process speaks to people on standard error.
#[expect(clippy::print_stderr, reason = "a process of its own, before or without a user interface")]
fn report(message: &str) {
    eprintln!("{message}");
}

/// The exit code for `main` of a failed program, where it is wanted.
impl From<&crate::Error> for ExitCode {
    fn from(error: &crate::Error) -> ExitCode {
        match error {
            crate::Error::Client(error) if error.is_unreachable() => ExitCode::from(3),
            crate::Error::Build(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}
