//! The reaper: a small process that ends what a worker left behind, however the worker ended.
//!
//! It shares the worker's table of process groups and waits for the end of a pipe that only the
//! worker holds. It is the same program, started with a hidden argument; `main` begins with
//! [`take_part`], which acts on that argument.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::groups::{GroupTable, Mark};
use crate::orphans;
use crate::values::dir_name;

/// What a worker writes before it closes the pipe when it has cleaned up itself.
const ALL_DONE: u8 = b'.';

/// The first argument of a program that is to be a reaper.
const ROLE: &str = "__dagrun-reaper";

/// Whether this program can be its own reaper.
static TAKES_PART: AtomicBool = AtomicBool::new(false);

/// Makes this program the reaper of its workers: to be called first in `main`. In a process that
/// was started as a reaper, this does the reaper's work and ends the process.
pub fn take_part() {
    TAKES_PART.store(true, Ordering::Release);
    if std::env::args_os().nth(1).is_some_and(|role| role == ROLE) {
        run();
        std::process::exit(0);
    }
}

/// How to start the reaper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaperConfig {
    program: PathBuf,
}

impl ReaperConfig {
    /// This program again; `None` when its `main` does not call [`take_part`].
    #[must_use]
    pub fn this_program() -> Option<ReaperConfig> {
        let program = TAKES_PART.load(Ordering::Acquire).then(std::env::current_exe)?.ok()?;
        Some(ReaperConfig { program })
    }
}

/// How long to wait before a reaper that died is started again: at first, and at most, when it dies again
/// and again.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A running reaper, on the worker's side. It is started again when it dies.
#[derive(Debug)]
pub struct Reaper {
    line: Arc<Line>,
    keeper: Option<JoinHandle<()>>,
}

/// What a reaper is started with.
#[derive(Debug)]
struct Recipe {
    program: PathBuf,
    table: GroupTable,
    /// What is written to it first.
    words: Vec<u8>,
}

/// The line to the reaper that runs now.
#[derive(Debug, Default)]
struct Line {
    state: Mutex<State>,
    /// Notified when it is dismissed.
    dismissed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pid: u32,
    pipe: Option<ChildStdin>,
    dismissed: bool,
    all_done: bool,
}

impl Recipe {
    fn start(&self) -> io::Result<(Child, ChildStdin)> {
        let mut child = Command::new(&self.program)
            .arg(ROLE)
            .env_clear()
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(self.table.try_clone()?)
            .stderr(Stdio::null())
            .spawn()?;
        orphans::own(child.id());
        let mut pipe = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        match pipe.write_all(&self.words) {
            Ok(()) => Ok((child, pipe)),
            Err(error) => {
                let _ = child.kill();
                reap(&mut child);
                Err(error)
            }
        }
    }
}

fn reap(child: &mut Child) {
    let _ = child.wait();
    orphans::disown(child.id());
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for one reaper after the other, until they are not wanted any more.
    fn keep(&self, recipe: &Recipe, mut child: Child) {
        let mut pause = PAUSE;
        loop {
            let begun = Instant::now();
            reap(&mut child);
            if begun.elapsed() > LONGEST_PAUSE {
                pause = PAUSE;
            }
            child = loop {
                let state = self.lock();
                let waited = self.dismissed.wait_timeout_while(state, pause, |it| !it.dismissed);
                let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                if state.dismissed {
                    return;
                }
                drop(state);
                pause = (pause * 2).min(LONGEST_PAUSE);
                let Ok((child, pipe)) = recipe.start() else { continue };
                let mut state = self.lock();
                (state.pid, state.pipe) = (child.id(), Some(pipe));
                if state.dismissed {
                    let all_done = state.all_done;
                    state.end(all_done);
                }
                break child;
            };
        }
    }
}

impl State {
    /// Ends the reaper, and none follows it. It cleans up, unless all has been done.
    fn end(&mut self, all_done: bool) {
        (self.dismissed, self.all_done) = (true, all_done);
        if let Some(mut pipe) = self.pipe.take().filter(|_| all_done) {
            let _ = pipe.write_all(&[ALL_DONE]);
        }
    }
}

impl Reaper {
    /// Starts the process in a group of its own, so that Ctrl-C does not reach it, and without
    /// environment, so that it is never taken for an attempt's descendant. `dir` is the worker's own
    /// directory, which it removes.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        config: &ReaperConfig,
        table: &GroupTable,
        mark: &Mark,
        dir: Option<&Path>,
    ) -> io::Result<Reaper> {
        let dir = dir.map(|dir| dir.as_os_str().as_bytes()).unwrap_or_default();
        let words = [mark.as_str().as_bytes(), b"\0", dir, b"\0"].concat();
        let table = GroupTable::of(table.try_clone()?);
        let recipe = Recipe { program: config.program.clone(), table, words };
        let (child, pipe) = recipe.start()?;
        let line = Arc::<Line>::default();
        {
            let mut state = line.lock();
            (state.pid, state.pipe) = (child.id(), Some(pipe));
        }
        let kept = Arc::clone(&line);
        let keeper = std::thread::Builder::new().name("dagrun-keeper".into());
        let keeper = keeper.spawn(move || kept.keep(&recipe, child))?;
        Ok(Reaper { line, keeper: Some(keeper) })
    }

    /// The number of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.line.lock().pid
    }

    /// Ends it without work: everything has ended already.
    pub fn dismiss(mut self) {
        self.line.lock().end(true);
        self.line.dismissed.notify_all();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Drop for Reaper {
    /// A worker that ends without dismissing it leaves the work to it.
    fn drop(&mut self) {
        if self.keeper.is_some() {
            self.line.lock().end(false);
            self.line.dismissed.notify_all();
        }
    }
}

/// The reaper's work: waits until the worker has ended, then ends its processes.
///
/// Expects the worker's pipe as standard input and the table of groups as standard output, as the
/// worker arranges it.
fn run() {
    // The working directory must not block an unmount or a removal.
    let _ = std::env::set_current_dir("/");
    let mut received = Vec::new();
    // An error means the same as the end of the pipe: the worker has ended.
    let _ = io::stdin().lock().read_to_end(&mut received);
    let mut words = received.split(|byte| *byte == 0);
    let (Some(mark), Some(dir), Some(rest)) = (words.next(), words.next(), words.next()) else {
        return;
    };
    if rest.first() == Some(&ALL_DONE) {
        return;
    }
    for group in GroupTable::read(io::stdout().as_fd()) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    if let Ok(mark) = std::str::from_utf8(mark)
        && !mark.is_empty()
    {
        Mark::from_text(mark).kill_all(None);
        // Nothing but the worker's own.
        let dir = Path::new(OsStr::from_bytes(dir));
        if dir.is_absolute() && dir.ends_with(dir_name(mark)) {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}
