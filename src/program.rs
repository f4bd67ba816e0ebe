//! The roles of a program that uses dagrun: itself, a worker, or the reaper of a worker.

use std::ffi::OsString;
use std::io::Read;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use dagrun_core::parse::parse_bytes;
use dagrun_scheduler::connection::{ClusterDir, Role, Token};
use dagrun_worker::{EndReason, WorkerHandle};

use crate::cluster::{ClusterError, WorkerSettings, worker_config};

/// The first argument of a program that is to be a worker.
pub(crate) const WORKER: &str = "worker";
/// The first argument of a program that is to be a reaper.
pub(crate) const REAPER: &str = "__dagrun-reaper";

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
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(role) if role == REAPER => {
            dagrun_worker::reaper::run();
            std::process::exit(0);
        }
        Some(role) if role == WORKER => std::process::exit(work(arguments)),
        _ => {}
    }
}

/// A worker with the functions of this program.
#[derive(Debug, Parser)]
#[command(
    name = "worker",
    about = "Joins a cluster as a worker with the functions of this program"
)]
struct WorkerArgs {
    /// The cluster
    #[arg(long, value_name = "NAME", env = "DAGRUN_CLUSTER", default_value = "default")]
    cluster: String,
    /// The address of a scheduler, whose token is read from standard input
    #[arg(long, value_name = "ADDRESS", hide = true)]
    connect: Option<SocketAddr>,
    /// How many attempts may run at once [default: all cores]
    #[arg(short = 'j', long, value_name = "SLOTS", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,
    /// Its name, unique within the cluster [default: the scheduler picks one]
    #[arg(long, value_name = "N", default_value = "")]
    name: String,
    /// Memory for the tasks of the worker, as in 8GiB [default: that of the machine]
    #[arg(long, value_name = "BYTES", value_parser = memory)]
    memory: Option<u64>,
    /// A custom resource that `resources` of tasks may ask for, as in gpu=2 (repeatable)
    #[arg(long = "resource", value_name = "NAME=AMOUNT", value_parser = resource)]
    resources: Vec<(String, u64)>,
    /// A label that `targets` of tasks may name (repeatable)
    #[arg(long = "label", value_name = "L", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    labels: Vec<String>,
}

/// Reads an amount of memory: `512MB`, `8GiB` or a number of bytes.
///
/// # Errors
/// What was expected, in words.
pub fn memory(text: &str) -> Result<u64, String> {
    let plain = text.parse::<u64>().ok();
    let bytes = plain.or_else(|| parse_bytes(text));
    bytes.ok_or_else(|| "expected an amount such as 512MB or 8GiB, or a number of bytes".to_owned())
}

/// Reads an amount of a custom resource: `gpu=2`.
///
/// # Errors
/// What was expected, in words.
pub fn resource(text: &str) -> Result<(String, u64), String> {
    let (name, amount) = text.split_once('=').ok_or("expected NAME=AMOUNT, as in gpu=2")?;
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    match (name, amount.parse::<u32>()) {
        ("cpus", _) => Err("`cpus` are the slots of the worker: -j".to_owned()),
        ("memory", _) => Err("`memory` has an option of its own: --memory".to_owned()),
        (name, _) if !is_name(name) => {
            Err(format!("`{name}` is no name: letters, digits, `_` and `-`, not a digit first"))
        }
        (name, Ok(amount)) => Ok((name.to_owned(), amount.into())),
        (_, Err(_)) => Err(format!("`{amount}` is not a whole number")),
    }
}

/// The life of a worker process: its exit code.
fn work(arguments: impl Iterator<Item = OsString>) -> i32 {
    let program = OsString::from(WORKER);
    let args = WorkerArgs::parse_from(std::iter::once(program).chain(arguments));
    let of_parent = args.connect.is_some();
    match join(args) {
        Ok(worker) => serve(worker, of_parent),
        Err(error) => {
            tell(&format!("the worker cannot join: {}", chain(&error)));
            3
        }
    }
}

fn join(args: WorkerArgs) -> Result<WorkerHandle, ClusterError> {
    let (address, token) = match args.connect {
        Some(address) => {
            let mut token = [0; Token::BYTES];
            std::io::stdin().read_exact(&mut token)?;
            (address, Token::from_bytes(token))
        }
        None => {
            let connection = ClusterDir::of(&args.cluster)?.read(Role::Worker)?;
            (connection.address, connection.token)
        }
    };
    let settings = WorkerSettings {
        slots: args.jobs,
        labels: args.labels,
        memory: args.memory,
        resources: args.resources,
    };
    let connection = dagrun_worker::Connection::Tcp(address);
    Ok(dagrun_worker::spawn(worker_config(&settings, args.name, &token), connection)?)
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
        tell(&format!("worker {}: joined", worker.name()));
        stop_on_signals(&worker);
    }
    match worker.join() {
        EndReason::Dismissed | EndReason::ShutDown => 0,
        EndReason::ConnectionLost(_) if of_parent => 3,
        EndReason::ConnectionLost(why) => {
            tell(&format!("the connection to the scheduler was lost: {why}"));
            3
        }
        EndReason::Broken => {
            tell("the worker's thread has panicked");
            1
        }
    }
}

/// The first signal ends the worker, the second the process.
fn stop_on_signals(worker: &WorkerHandle) {
    let stopper = worker.stopper();
    let signals = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
    let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) else { return };
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            stopper.stop();
        }
        if let Some(signal) = signals.forever().next() {
            std::process::exit(128 + signal);
        }
    });
}

/// A worker process speaks to people on standard error.
#[expect(clippy::print_stderr, reason = "a process of its own, before or without a user interface")]
fn tell(message: &str) {
    eprintln!("{message}");
}

fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
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
