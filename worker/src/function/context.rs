//! What a function can learn about its attempt, and report about it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::{env, fs, io, process};

use dagrun_core::ids::{RunId, Timestamp};
use dagrun_core::layout;
use dagrun_core::recipe::Calling;
use dagrun_core::status::Stream;

use super::shelf::Shelf;
use crate::checkpoint;
use crate::control::Token;
use dagrun_disk::clock;
use dagrun_disk::log::{Owner, RunLog, Span};

/// What a function can learn about its attempt, and report about it.
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
    /// The run's own directory; empty without a run.
    pub(super) run_dir: PathBuf,
    /// The directory that outlives attempts, once it was asked for.
    pub(super) checkpoint: OnceLock<PathBuf>,
}

/// The attempt has to end: it was cancelled, or has run longer than its `timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

impl Context {
    /// A context without a run, for calling a function in its own program's tests: everything is
    /// zero, and what is logged is dropped.
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
            run_dir: PathBuf::new(),
            checkpoint: OnceLock::new(),
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
            run_dir: calling.run_dir.clone(),
            checkpoint: OnceLock::new(),
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

    /// Slots that the attempt occupies: rayon has this many threads within the function.
    #[must_use]
    pub fn cpus(&self) -> u32 {
        self.cpus
    }

    /// A number that depends only on the run's seed, the task and the instance's parameters: a seed
    /// for a random generator. Further attempts have the same one.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The name of the worker.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Whether the attempt has to end. A long function should check this now and then and return
    /// early; what it returns then does not matter. The check takes a nanosecond.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.token.stopped().is_some()
    }

    /// The same, for `context.cancelled()?`.
    ///
    /// # Errors
    /// When the attempt has to end.
    pub fn cancelled(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }

    /// Sets how much is done, from 0 to 1. The latest value is shown, a few times a second, in the
    /// progress of the run; setting it often costs nothing.
    pub fn progress(&self, fraction: f64) {
        self.token.set_progress(fraction);
    }

    /// Writes a line into the attempt's log, as if to standard output. What a function prints does
    /// not get there: it belongs to the worker's process.
    pub fn log(&self, line: &str) {
        if let Some(log) = &self.log {
            log.write(line);
        }
    }

    /// A directory for this attempt alone. It is created at the first call, and removed with all
    /// its content when the function has returned.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn temp_dir(&self) -> io::Result<&Path> {
        if let Some(made) = self.temp.get() {
            return Ok(&made.0);
        }
        let made = TempDir::make()?;
        // Another thread may have been faster; then this directory is removed at once.
        Ok(&self.temp.get_or_init(|| made).0)
    }

    /// A directory that all attempts of the instance share, for what one leaves to those after it. It is
    /// created at the first call, and removed with all its content when the instance has succeeded.
    /// Without a run it is that of [`Context::temp_dir`].
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn checkpoint_dir(&self) -> io::Result<&Path> {
        if self.run_dir.as_os_str().is_empty() {
            return self.temp_dir();
        }
        if let Some(made) = self.checkpoint.get() {
            return Ok(made);
        }
        let dir = layout::checkpoint(&self.run_dir, &self.task, self.index);
        checkpoint::make(&dir)?;
        Ok(self.checkpoint.get_or_init(|| dir))
    }

    /// The same where it may be there: this attempt has asked for it, or one before may have.
    pub(super) fn checkpoint(&self) -> Option<PathBuf> {
        let earlier = || {
            let dir = || layout::checkpoint(&self.run_dir, &self.task, self.index);
            (self.attempt > 1).then(dir)
        };
        self.checkpoint.get().cloned().or_else(earlier)
    }
}

/// Writes the lines of an attempt to the log.
#[derive(Debug)]
pub(super) struct Log {
    to: Arc<RunLog>,
    owner: Owner,
    limit: usize,
    written: AtomicUsize,
    shown: AtomicU64,
}

/// Lines that are written within this many microseconds are shown together.
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

/// A directory that is removed with its owner.
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
        // A directory that cannot be removed does not fail the attempt.
        let _ = fs::remove_dir_all(&self.0);
    }
}
