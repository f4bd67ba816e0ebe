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

use rustix::process::Signal;

use crate::groups::{GroupTable, Mark};
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

/// A running reaper, on the worker's side.
#[derive(Debug)]
pub struct Reaper {
    child: Child,
    pipe: Option<ChildStdin>,
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
        let mut child = Command::new(&config.program)
            .arg(ROLE)
            .env_clear()
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(table.try_clone()?)
            .stderr(Stdio::null())
            .spawn()?;
        let mut pipe = child.stdin.take();
        if let Some(pipe) = &mut pipe {
            let dir = dir.map(|dir| dir.as_os_str().as_bytes()).unwrap_or_default();
            pipe.write_all(&[mark.as_str().as_bytes(), b"\0", dir, b"\0"].concat())?;
        }
        Ok(Reaper { child, pipe })
    }

    /// The number of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without work: everything has ended already.
    pub fn dismiss(mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(&[ALL_DONE]);
        }
        let _ = self.child.wait();
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
