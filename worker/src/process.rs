//! One child process and its group: started on the fast path, signalled as a group, reaped last.

mod watch;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use dagrun_core::recipe::Invocation;
use dagrun_core::status::FailureKind;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal};

pub(crate) use self::watch::{ProcessWatch, Stage};
use crate::attempt::is_scarce;
use crate::{descriptors, orphans};

/// How long a child is waited for a descriptor, and how often it is asked for.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);

/// A running child, leader of its process group.
///
/// Dropping it ends the group and reaps the child.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Pid,
    pidfd: OwnedFd,
    reaped: bool,
}

/// Our ends of a child's standard output and standard error.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Everything that a start needs besides the invocation.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) program: &'a Path,
    pub(crate) argv: &'a [OsString],
    pub(crate) invocation: &'a Invocation,
    pub(crate) mark: (&'static str, &'a OsStr),
    pub(crate) stdin: Option<File>,
    /// Its `TMPDIR`, unless it is given another one.
    pub(crate) temporary: Option<&'a Path>,
}

impl Process {
    /// Starts a process in a group of its own.
    ///
    /// Nothing here may make the standard library leave its `posix_spawn` path: no hook between
    /// fork and exec, no bare program name.
    pub(crate) fn start(start: Start<'_>) -> io::Result<(Process, Pipes)> {
        let (out_read, out_write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (err_read, err_write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        if descriptors::are_few(&err_write) {
            return Err(Errno::MFILE.into());
        }
        let mut command = Command::new(start.program);
        if let Some((name, arguments)) = start.argv.split_first() {
            command.arg0(name).args(arguments);
        }
        let (mark, value) = start.mark;
        if let Some(temporary) = start.temporary {
            command.env("TMPDIR", temporary);
        }
        command
            .envs(start.invocation.env.iter().map(|(key, value)| (key, value)))
            .env(mark, value)
            .current_dir(&start.invocation.working_dir)
            .process_group(0)
            .stdin(start.stdin.map_or_else(Stdio::null, Stdio::from))
            .stdout(out_write)
            .stderr(err_write);
        let mut child = command.spawn()?;
        // The command still holds the pipes' write ends; without this no end of file would come.
        drop(command);
        orphans::own(child.id());
        let group = Pid::from_child(&child);
        match open(group) {
            Ok(pidfd) => {
                let process = Process { child, group, pidfd, reaped: false };
                Ok((process, Pipes { stdout: out_read, stderr: err_read }))
            }
            Err(error) => {
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
                let _ = child.wait();
                orphans::disown(child.id());
                Err(error)
            }
        }
    }

    /// Readable as soon as the leader has ended.
    pub(crate) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// The number of the group.
    pub(crate) fn group(&self) -> Pid {
        self.group
    }

    /// Sends a signal to the whole group. The group cannot have been reused: its leader has not
    /// been reaped.
    pub(crate) fn signal(&self, signal: Signal) {
        if !self.reaped {
            let _ = rustix::process::kill_process_group(self.group, signal);
        }
    }

    /// Asks the group to end; a stopped group is woken so that it can.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Reaps the leader. Blocks when it has not ended.
    pub(crate) fn reap(&mut self) -> io::Result<ExitStatus> {
        self.reaped = true;
        let status = self.child.wait();
        orphans::disown(self.child.id());
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::KILL);
            let _ = self.reap();
        }
    }
}

/// A descriptor of a child that is not reaped. The child runs by now, so it is waited for one.
fn open(child: Pid) -> io::Result<OwnedFd> {
    let begun = Instant::now();
    loop {
        match rustix::process::pidfd_open(child, PidfdFlags::empty()) {
            Err(error) if is_scarce(&error.into()) && begun.elapsed() < PATIENCE => {
                std::thread::sleep(PAUSE);
            }
            opened => return Ok(opened?),
        }
    }
}

/// How a process ended, unless it succeeded.
pub(crate) fn failure(status: ExitStatus) -> Option<(FailureKind, String)> {
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some((FailureKind::Exit(code), format!("exit code {code}"))),
        (None, Some(signal)) => {
            let name = signal_name(signal).map(|name| format!(" ({name})")).unwrap_or_default();
            Some((FailureKind::Signal(signal), format!("killed by signal {signal}{name}")))
        }
        (None, None) => Some((FailureKind::Exit(-1), format!("ended strangely: {status}"))),
    }
}

/// The name of a signal as `kill -l` gives it, on Linux for x86 and Arm.
fn signal_name(signal: i32) -> Option<&'static str> {
    const NAMES: [&str; 31] = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    usize::try_from(signal).ok()?.checked_sub(1).and_then(|at| NAMES.get(at)).copied()
}
