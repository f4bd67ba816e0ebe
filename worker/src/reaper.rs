//! The reaper: a small process that ends what a worker left behind, however the worker ended.
//!
//! It shares the worker's table of process groups and waits for the end of a pipe that only the
//! worker holds. It is the same program, started with a hidden argument; `main` calls [`run`] when it
//! sees that argument.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::Signal;

use crate::groups::{GroupTable, Mark};

/// What a worker writes before it closes the pipe when it has cleaned up itself.
const ALL_DONE: u8 = b'.';

/// How to start the reaper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaperConfig {
    /// Program (an absolute path) and arguments.
    pub argv: Vec<OsString>,
}

/// A running reaper, on the worker's side.
#[derive(Debug)]
pub struct Reaper {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Reaper {
    /// Starts the process in a group of its own, so that Ctrl-C does not reach it, and without
    /// environment, so that it is no attempt's descendant to anyone.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(config: &ReaperConfig, table: &GroupTable, mark: &Mark) -> io::Result<Reaper> {
        let no_program = || io::Error::new(io::ErrorKind::InvalidInput, "no program given");
        let (program, arguments) = config.argv.split_first().ok_or_else(no_program)?;
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(table.try_clone()?)
            .stderr(Stdio::null())
            .spawn()?;
        let mut pipe = child.stdin.take();
        if let Some(pipe) = &mut pipe {
            pipe.write_all(format!("{}\n", mark.as_str()).as_bytes())?;
        }
        Ok(Reaper { child, pipe })
    }

    /// The number of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it go without work: everything has been ended already.
    pub fn dismiss(mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(&[ALL_DONE]);
        }
        let _ = self.child.wait();
    }
}

/// The reaper's whole life: waits until the worker is gone, then ends its processes.
///
/// Expects the worker's pipe as standard input and the table of groups as standard output, as the
/// worker arranges it.
pub fn run() {
    // A directory that somebody wants to unmount or remove must not be kept busy.
    let _ = std::env::set_current_dir("/");
    let mut told = Vec::new();
    // An error means the same as the end: nobody is there any more.
    let _ = io::stdin().lock().read_to_end(&mut told);
    let Some(end) = told.iter().position(|byte| *byte == b'\n') else { return };
    if told.get(end + 1) == Some(&ALL_DONE) {
        return;
    }
    for group in GroupTable::read(io::stdout().as_fd()) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    if let Ok(mark) = std::str::from_utf8(&told[..end])
        && !mark.is_empty()
    {
        Mark::from_text(mark).kill_all(None);
    }
}
