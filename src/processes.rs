//! Workers that are processes of this program, started again when they die.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dagrun_core::offer::Offer;
use dagrun_scheduler::connection::Token;

use crate::client::Client;
use crate::error::ClusterError;
use crate::worker_args::WorkerArgs;

/// How long all worker processes may take to join.
const JOINING: Duration = Duration::from_secs(30);
/// How long a worker process may take to end once it was told to.
const ENDING: Duration = Duration::from_secs(15);
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
    told: Condvar,
}

impl Over {
    fn is(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Waits so long, or until it is over.
    fn pause(&self, span: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is() {
            drop(self.told.wait_timeout(guard, span));
        }
    }
}

/// How one of them is started.
struct Recipe {
    address: SocketAddr,
    token: Vec<u8>,
    offer: Offer,
    name: String,
}

impl Recipe {
    /// Starts it. It ends when the pipe to it is closed.
    fn start(&self) -> io::Result<(Child, ChildStdin)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(WorkerArgs::of_child(self.address, &self.name, &self.offer));
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let Some(mut pipe) = child.stdin.take() else {
            return Err(io::Error::other("no pipe to the worker"));
        };
        // Not on the command line, where everybody on the machine could read it.
        pipe.write_all(&self.token)?;
        Ok((child, pipe))
    }
}

impl Processes {
    pub(crate) fn start(
        count: u32,
        address: SocketAddr,
        token: &Token,
        offer: &Offer,
    ) -> Result<Processes, ClusterError> {
        let mut processes = Processes { over: Arc::default(), keepers: Vec::new() };
        for at in 1..=count {
            let recipe = Recipe {
                address,
                token: token.bytes().to_vec(),
                offer: offer.clone(),
                name: format!("p{at}"),
            };
            let child = recipe.start()?;
            let over = Arc::clone(&processes.over);
            let keeper = std::thread::Builder::new()
                .name(format!("keeper-{at}"))
                .spawn(move || keep(&recipe, child, &over))?;
            processes.keepers.push(keeper);
        }
        Ok(processes)
    }

    /// They end soon, and are not to be started again.
    pub(crate) fn expect_the_end(&self) {
        self.over.over.store(true, Ordering::Release);
        let _guard = self.over.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.over.told.notify_all();
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
fn keep(recipe: &Recipe, first: (Child, ChildStdin), over: &Over) {
    let mut running = Some((first, Instant::now()));
    while let Some(((mut child, pipe), started)) = running.take() {
        while !over.is() {
            match child.try_wait() {
                Ok(None) => over.pause(Duration::from_millis(20)),
                Ok(Some(_)) | Err(_) => break,
            }
        }
        // The end of the pipe tells it to end.
        drop(pipe);
        if over.is() {
            end(child);
            return;
        }
        if started.elapsed() < SHORT_LIFE {
            over.pause(SHORT_LIFE);
        }
        while !over.is() && running.is_none() {
            match recipe.start() {
                Ok(child) => running = Some((child, Instant::now())),
                Err(_) => over.pause(SHORT_LIFE),
            }
        }
    }
}

fn end(mut child: Child) {
    let begun = Instant::now();
    while begun.elapsed() < ENDING {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Ok(Some(_)) | Err(_) => return,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Waits until so many workers have joined.
pub(crate) fn all_joined(client: &Client, wanted: u32) -> Result<(), ClusterError> {
    let begun = Instant::now();
    loop {
        let joined = client.workers().wait().map_or(0, |workers| workers.len());
        let joined = u32::try_from(joined).unwrap_or(u32::MAX);
        if joined >= wanted {
            return Ok(());
        }
        if begun.elapsed() > JOINING {
            let missing = wanted - joined;
            return Err(ClusterError::Missing { missing, wanted, seconds: JOINING.as_secs() });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
