//! Workers that are processes of this program, started again when they die.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dagrun_core::offer::Offer;
use dagrun_scheduler::connection::Token;

use crate::client::Client;
use crate::deaths::{Deaths, Heard};
use crate::error::ClusterError;
use crate::worker_args::WorkerArgs;

/// How long all worker processes may take to join.
const JOINING: Duration = Duration::from_secs(30);
/// A process that lived shorter than this is not started again at once.
const SHORT_LIFE: Duration = Duration::from_millis(500);

/// The worker processes of a cluster.
#[derive(Debug)]
pub(crate) struct Processes {
    over: Arc<Over>,
    keepers: Vec<JoinHandle<()>>,
}

/// Whether the cluster is ending: then nothing is started any more.
#[derive(Debug, Default)]
struct Over {
    over: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
    /// Whether all have joined: one that dies later is started again.
    joined: AtomicBool,
    /// The first that died before, and how.
    died: Mutex<Option<(String, ExitStatus)>>,
    /// How they all ended that were not to.
    deaths: Arc<Deaths>,
}

impl Over {
    fn is(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Waits so long, or until it is over.
    fn pause(&self, span: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is() {
            drop(self.changed.wait_timeout(guard, span));
        }
    }
}

/// How one of them is started.
struct Recipe {
    address: SocketAddr,
    token: Vec<u8>,
    offer: Offer,
    enforce_memory: Option<bool>,
    name: String,
    /// The test that calls `init`.
    test: Option<String>,
}

impl Recipe {
    /// Starts it. It ends when the pipe to it is closed.
    fn start(&self) -> io::Result<Started> {
        let mut command = Command::new(std::env::current_exe()?);
        // In the environment, where nothing else in `main` looks for arguments.
        let words =
            WorkerArgs::of_child(self.address, &self.name, &self.offer, self.enforce_memory);
        command.env(crate::program::CHILD, crate::program::as_child(&words));
        if let Some(test) = &self.test {
            // The test calls `init` in the child too. What the harness prints is nobody's output.
            command.args([test.as_str(), "--exact", "--nocapture"]).stdout(io::stderr());
        }
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let heard = child.stderr.take().map(Heard::listen).transpose()?;
        let Some(mut pipe) = child.stdin.take() else {
            return Err(io::Error::other("no pipe to the worker"));
        };
        // Not on the command line, where everybody on the machine could read it.
        pipe.write_all(&self.token)?;
        Ok(Started { child, pipe, heard, at: Instant::now() })
    }
}

/// A process that was started.
struct Started {
    child: Child,
    /// It ends when this is closed.
    pipe: ChildStdin,
    heard: Option<Heard>,
    at: Instant,
}

impl Processes {
    pub(crate) fn start(
        count: u32,
        address: SocketAddr,
        token: &Token,
        offer: &Offer,
        enforce_memory: Option<bool>,
        grace: Duration,
    ) -> Result<Processes, ClusterError> {
        let mut processes = Processes { over: Arc::default(), keepers: Vec::new() };
        for at in 1..=count {
            let recipe = Recipe {
                address,
                token: token.bytes().to_vec(),
                offer: offer.clone(),
                enforce_memory,
                name: format!("p{at}"),
                test: crate::program::test(),
            };
            let child = recipe.start()?;
            let over = Arc::clone(&processes.over);
            let keeper = std::thread::Builder::new()
                .name(format!("keeper-{at}"))
                .spawn(move || keep(&recipe, child, &over, grace))?;
            processes.keepers.push(keeper);
        }
        Ok(processes)
    }

    /// Why they cannot all join: the first that died before that.
    pub(crate) fn died_early(&self) -> Option<ClusterError> {
        let died = self.over.died.lock().unwrap_or_else(PoisonError::into_inner).take();
        died.map(|(name, status)| ClusterError::Died { name, status })
    }

    /// How those ended that were not to.
    pub(crate) fn deaths(&self) -> Arc<Deaths> {
        Arc::clone(&self.over.deaths)
    }

    /// All have joined.
    pub(crate) fn have_joined(&self) {
        self.over.joined.store(true, Ordering::Release);
    }

    /// They end soon, and are not to be started again.
    pub(crate) fn expect_the_end(&self) {
        self.over.over.store(true, Ordering::Release);
        let _guard = self.over.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.over.changed.notify_all();
    }

    /// Ends them and waits for that.
    pub(crate) fn end(mut self) {
        self.expect_the_end();
        for keeper in self.keepers.drain(..) {
            let _ = keeper.join();
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.expect_the_end();
    }
}

/// Keeps one worker process alive until the cluster ends.
fn keep(recipe: &Recipe, first: Started, over: &Over, grace: Duration) {
    let mut running = Some(first);
    while let Some(Started { mut child, pipe, heard, at }) = running.take() {
        while !over.is() {
            match child.try_wait() {
                Ok(None) => over.pause(Duration::from_millis(20)),
                Ok(Some(status)) => {
                    let stderr = heard.as_ref().map(Heard::end).unwrap_or_default();
                    over.deaths.note(&recipe.name, status, stderr);
                    if !over.joined.load(Ordering::Acquire) {
                        let mut died = over.died.lock().unwrap_or_else(PoisonError::into_inner);
                        died.get_or_insert_with(|| (recipe.name.clone(), status));
                    }
                    break;
                }
                Err(_) => break,
            }
        }
        // It ends when its pipe does.
        drop(pipe);
        if over.is() {
            end(child, grace);
            return;
        }
        if at.elapsed() < SHORT_LIFE {
            over.pause(SHORT_LIFE);
        }
        while !over.is() && running.is_none() {
            match recipe.start() {
                Ok(started) => running = Some(started),
                Err(_) => over.pause(SHORT_LIFE),
            }
        }
    }
}

/// Waits for the end of a process, which is killed when it takes longer than `grace`.
fn end(mut child: Child, grace: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < grace {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Ok(Some(_)) | Err(_) => return,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Waits until so many workers have joined.
pub(crate) fn all_joined(
    client: &Client,
    processes: &Processes,
    wanted: u32,
) -> Result<(), ClusterError> {
    let begun = Instant::now();
    loop {
        let joined = client.workers().wait().map_or(0, |workers| workers.len());
        let joined = u32::try_from(joined).unwrap_or(u32::MAX);
        if joined >= wanted {
            processes.have_joined();
            return Ok(());
        }
        if let Some(error) = processes.died_early() {
            return Err(error);
        }
        if begun.elapsed() > JOINING {
            let missing = wanted - joined;
            return Err(ClusterError::Missing { missing, wanted, seconds: JOINING.as_secs() });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
