//! What a function can know of its attempt, and tell about it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::{env, fs, io, process};

use dagrun_core::ids::{RunId, Timestamp};
use dagrun_core::recipe::Calling;
use dagrun_core::status::Stream;

use super::shelf::Shelf;
use crate::control::Token;
use dagrun_disk::clock;
use dagrun_disk::log::{Owner, RunLog, Span};

/// What a function can know of its attempt, and tell about it.
///
/// A function gets it by having a parameter of type `&Context`.
#[derive(Debug)]
pub struct Context {
    pub(super) task: String,
    pub(super) index: u32,
    pub(super) attempt: u32,
    pub(super) run: RunId,
    pub(super) seed: u64,
    pub(super) cpus: u32,
    pub(super) worker: Arc<str>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) token: Arc<Token>,
    pub(super) log: Option<Log>,
    pub(super) temp: OnceLock<TempDir>,
}

/// The attempt was told to end: it was cancelled, or has run longer than its `timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

impl Context {
    /// A context without a run, for calling a function in its own program's tests: everything is zero, and
    /// what is logged is dropped.
    #[must_use]
    pub fn detached() -> Context {
        Context {
            task: String::new(),
            index: 0,
            attempt: 1,
            run: RunId(0),
            seed: 0,
            cpus: 1,
            worker: Arc::from(""),
            shelf: Arc::default(),
            token: Arc::default(),
            log: None,
            temp: OnceLock::new(),
        }
    }

    pub(super) fn new(
        calling: &Calling,
        cpus: u32,
        worker: Arc<str>,
        shelf: Arc<Shelf>,
        token: Arc<Token>,
        log: Option<Log>,
    ) -> Context {
        Context {
            task: calling.task.clone(),
            index: calling.index,
            attempt: calling.attempt,
            run: calling.run,
            seed: calling.seed,
            cpus,
            worker,
            shelf,
            token,
            log,
            temp: OnceLock::new(),
        }
    }

    /// The index of the instance in its task, from 0.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Which attempt of the instance this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The run.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.run
    }

    /// The name of the task.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.task
    }

    /// Slots that the attempt occupies: rayon has so many threads within the function.
    #[must_use]
    pub fn cpus(&self) -> u32 {
        self.cpus
    }

    /// A number that depends on the run's seed, the task and the instance's parameters only: what to
    /// start a random generator from. Further attempts have the same.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The name of the worker.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Whether the attempt was told to end. A function that takes long asks now and then and returns
    /// early; what it returns then does not matter. It takes a nanosecond.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.token.stopped().is_some()
    }

    /// The same, for `context.cancelled()?`.
    ///
    /// # Errors
    /// When the attempt was told to end.
    pub fn cancelled(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }

    /// Tells how much is done, from 0 to 1. What was told last is seen, a few times a second, in the
    /// progress of the run; telling often costs nothing.
    pub fn progress(&self, fraction: f64) {
        self.token.set_progress(fraction);
    }

    /// Writes a line into the attempt's log, as if to standard output. What a function prints does not
    /// get there: it belongs to the worker's process.
    pub fn log(&self, line: &str) {
        if let Some(log) = &self.log {
            log.write(line);
        }
    }

    /// A directory for this attempt alone, made when it is first asked for and removed with all that is in it when
    /// the function has returned.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn temp_dir(&self) -> io::Result<&Path> {
        if let Some(made) = self.temp.get() {
            return Ok(&made.0);
        }
        let made = TempDir::make()?;
        // Another thread may have been faster; then this one goes at once.
        Ok(&self.temp.get_or_init(|| made).0)
    }
}

/// Where the lines of an attempt go.
#[derive(Debug)]
pub(super) struct Log {
    to: Arc<RunLog>,
    owner: Owner,
    limit: usize,
    written: AtomicUsize,
    shown: AtomicU64,
}

/// Lines that were written within so many microseconds are shown together.
const SHOW: u64 = 100_000;

impl Log {
    /// At most `limit` bytes are kept.
    pub(super) fn new(to: Arc<RunLog>, owner: Owner, limit: usize) -> Log {
        Log { to, owner, limit, written: AtomicUsize::new(0), shown: AtomicU64::new(0) }
    }

    fn write(&self, line: &str) {
        let length = line.len() + 1;
        let before = self.written.fetch_add(length, Ordering::Relaxed);
        let at = clock::now();
        if before >= self.limit {
            return;
        }
        if before.saturating_add(length) > self.limit {
            self.append(Stream::Note, at, "… more is not kept …");
            return;
        }
        self.append(Stream::Stdout, at, line);
        let shown = self.shown.load(Ordering::Relaxed);
        if at.0.saturating_sub(shown) >= SHOW {
            self.shown.store(at.0, Ordering::Relaxed);
            self.to.flush();
        }
    }

    fn append(&self, stream: Stream, at: Timestamp, line: &str) {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.to.append(self.owner, &[Span { stream, at, length }], &bytes);
    }
}

/// A directory that goes with its owner.
#[derive(Debug)]
pub(super) struct TempDir(PathBuf);

impl TempDir {
    fn make() -> io::Result<TempDir> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        // A name may be left over from a process that was killed.
        loop {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("dagrun-{}-{number}", process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(TempDir(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What cannot be removed is no failure of the attempt.
        let _ = fs::remove_dir_all(&self.0);
    }
}
