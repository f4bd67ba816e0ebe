//! One attempt, from its invocation to its outcome, in the calling thread.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dagrun_core::engine::Outcome;
use dagrun_core::ids::{Micros, RunId, Timestamp};
use dagrun_core::recipe::Invocation;
use dagrun_core::status::{Detail, FailureKind, Stream};
use dagrun_core::url;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::control::{Control, Stop};
use crate::data::{self, DataError, DataErrorKind, Patience};
use crate::function::{Caller, Fetch, Keeper};
use crate::groups::{GroupTable, Mark};
use crate::output::Output;
use crate::outputs::{self, Outputs, Records, Unpublished};
use crate::process::{self, Pipes, Process, Start};
use crate::program::{self, Programs};
use crate::values::Values;
use dagrun_disk::clock;
use dagrun_disk::log::{Owner, RunLog};

/// Bytes read from a stream at once: what a pipe holds.
const READ: usize = 64 << 10;
/// Bytes read from a stream at most after the leader has ended: the most that a pipe can hold. A
/// survivor outside the group could otherwise keep us reading.
const DRAIN: usize = 1 << 20;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What all attempts of a worker share.
#[derive(Debug)]
pub struct Runner {
    programs: Programs,
    mark: Mark,
    groups: Option<GroupTable>,
    log_limit: usize,
    pub(crate) caller: Caller,
    values: Option<Arc<Values>>,
}

/// An attempt to make.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// What to start.
    pub invocation: &'a Invocation,
    /// The run it belongs to.
    pub run: RunId,
    /// Whose output it will be.
    pub owner: Owner,
    /// Where the output goes, if anywhere.
    pub log: Option<&'a RunLog>,
    /// How others reach into it.
    pub control: &'a Control,
    /// The slot it occupies: its place in the table of groups.
    pub slot: usize,
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The outcome.
    pub outcome: Outcome,
    /// What else is known; none for a plain success.
    pub detail: Option<Box<Detail>>,
    /// When its process started; zero when it did not.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
}

impl Ended {
    /// An attempt that ended without a process.
    #[must_use]
    pub fn without_start(kind: FailureKind, reason: String) -> Ended {
        let detail = Some(Box::new(Detail { reason, ..Detail::default() }));
        let outcome = Outcome::Failed(kind);
        Ended { outcome, detail, started: Timestamp(0), finished: clock::now() }
    }
}

/// Why an attempt failed.
struct Fault(FailureKind, String);

impl Runner {
    /// Attempts keep up to `log_limit` bytes of each stream for the log.
    #[must_use]
    pub fn new(mark: Mark, groups: Option<GroupTable>, log_limit: usize) -> Runner {
        let caller = Caller::new(Records::new(mark.as_str()));
        Runner { programs: Programs::new(), mark, groups, log_limit, caller, values: None }
    }

    /// Where attempts get long values from and leave theirs; without it all travel with reports.
    #[must_use]
    pub fn with_values(mut self, values: Arc<Values>) -> Runner {
        self.caller.fetch = Arc::clone(&values) as Arc<dyn Fetch>;
        self.caller.keeper = Arc::clone(&values) as Arc<dyn Keeper>;
        self.values = Some(values);
        self
    }

    /// Where attempts get long values from and leave theirs.
    #[must_use]
    pub fn values(&self) -> Option<&Values> {
        self.values.as_deref()
    }

    /// Lets functions know the name of their worker; the first one stays.
    pub fn set_worker_name(&self, name: &str) {
        let _ = self.caller.worker.set(Arc::from(name));
    }

    /// Bytes of each stream of an attempt that are logged.
    pub(crate) fn log_limit(&self) -> usize {
        self.log_limit
    }

    /// The table of the groups that run, if it is kept.
    #[must_use]
    pub fn groups(&self) -> Option<&GroupTable> {
        self.groups.as_ref()
    }

    /// The mark that every process of this worker carries.
    #[must_use]
    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Makes an attempt: starts the process, reads what it writes, waits for it, ends its group.
    #[must_use]
    pub fn run(&self, attempt: &Attempt<'_>) -> Ended {
        let invocation = attempt.invocation;
        if attempt.control.stopped().is_some() {
            let Fault(kind, reason) = stop_fault(attempt.control);
            return Ended::without_start(kind, reason);
        }
        // Before the process runs: on a busy machine this thread may have to wait afterwards, and the
        // attempt would seem shorter than it was.
        let started = clock::now();
        let limit = invocation.timeout.map(Micros::to_duration);
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let records = &self.caller.records;
        let prepared = Outputs::prepare(&invocation.outputs, &invocation.run_dir, records);
        let begun = prepared.map_err(|(kind, reason)| Fault(kind, reason)).and_then(|outputs| {
            let (process, pipes) = self.start(attempt, deadline)?;
            Ok((outputs, process, pipes))
        });
        let (outputs, process, pipes) = match begun {
            Ok(begun) => begun,
            Err(Fault(kind, reason)) => return Ended::without_start(kind, reason),
        };
        attempt.control.set_started(started);
        let mut output =
            Output::new(attempt.log, attempt.owner, invocation.capture, self.log_limit);
        let ended = self.watch(attempt, deadline, process, pipes, &mut output);
        output.finish();
        let judged = ended.and_then(|()| settle(attempt, deadline, &outputs, &mut output));
        // Sending outputs away is a part of the attempt.
        let finished = clock::now();
        drop(outputs);
        let (outcome, detail) = conclude(judged, &mut output);
        Ended { outcome, detail, started, finished }
    }

    fn start(
        &self,
        attempt: &Attempt<'_>,
        deadline: Option<Instant>,
    ) -> Result<(Process, Pipes), Fault> {
        let invocation = attempt.invocation;
        let stdin = match &invocation.stdin {
            Some(path) => Some(open_stdin(path, attempt, deadline)?),
            None => None,
        };
        let mark = self.mark.of_run(attempt.run);
        // Once more when a program that was found before has been replaced or removed.
        let mut again = true;
        loop {
            let (program, argv) = self.program(invocation).map_err(cannot_start)?;
            let name = argv.first().map(OsString::as_os_str).unwrap_or_default();
            let stdin = stdin.as_ref().map(File::try_clone).transpose();
            let stdin =
                stdin.map_err(|error| cannot_start(format!("no standard input: {error}")))?;
            let mark = (Mark::VARIABLE, mark.as_os_str());
            let start = Start { program: &program, argv: &argv, invocation, mark, stdin };
            match Process::start(start) {
                Ok((process, pipes)) => {
                    if let Some(groups) = &self.groups {
                        groups.set(attempt.slot, process.group());
                    }
                    return Ok((process, pipes));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && again => {
                    again = false;
                    self.programs.forget();
                }
                Err(error) => {
                    let dir = &invocation.working_dir;
                    return Err(cannot_start(program::explain(name, &program, dir, &error)));
                }
            }
        }
    }

    /// The program to execute and its arguments; where `bash` is missing, a shell action runs in `sh`.
    fn program<'a>(
        &self,
        invocation: &'a Invocation,
    ) -> Result<(std::sync::Arc<std::path::Path>, std::borrow::Cow<'a, [OsString]>), String> {
        let argv = &invocation.argv;
        let name = argv.first().ok_or("no program given")?;
        let find =
            |name: &OsStr| self.programs.resolve(name, &invocation.env, &invocation.working_dir);
        match find(name) {
            Ok(program) => Ok((program, argv.into())),
            Err(reason) => match argv.last() {
                Some(script) if invocation.shell => {
                    let sh = find(OsStr::new("sh")).map_err(|_| reason)?;
                    let argv = ["sh", "-eu", "-c"].map(OsString::from).to_vec();
                    Ok((sh, [argv, vec![script.clone()]].concat().into()))
                }
                _ => Err(reason),
            },
        }
    }

    /// Reads and waits until the leader has ended, then ends what is left of the group.
    fn watch(
        &self,
        attempt: &Attempt<'_>,
        deadline: Option<Instant>,
        mut process: Process,
        pipes: Pipes,
        output: &mut Output<'_>,
    ) -> Result<(), Fault> {
        let mut watch = Watch {
            control: attempt.control,
            streams: [Some(pipes.stdout), Some(pipes.stderr)],
            stage: Stage::Running,
            deadline,
            grace: attempt.invocation.grace.to_duration(),
        };
        let waited = watch.until_exit(&process, output);
        // The leader is still to be reaped, so its group's number cannot belong to others yet.
        process.signal(Signal::KILL);
        if waited.is_ok() {
            watch.drain(output);
        }
        if let Some(groups) = &self.groups {
            groups.clear(attempt.slot);
        }
        let status = process.reap();
        waited.map_err(|error| {
            Fault(FailureKind::Start, format!("cannot watch the process: {error}"))
        })?;
        match watch.stage {
            Stage::Running => {}
            Stage::Stopping(_) => return Err(stop_fault(attempt.control)),
            Stage::TimedOut(_) => return Err(timeout_fault(attempt)),
        }
        let status = status.map_err(|error| {
            Fault(FailureKind::Exit(-1), format!("its exit status was lost: {error}"))
        })?;
        process::failure(status).map_or(Ok(()), |(kind, reason)| Err(Fault(kind, reason)))
    }
}

fn stop_fault(control: &Control) -> Fault {
    match control.stopped() {
        Some(Stop::Leave) => Fault(FailureKind::Lost, "its worker stopped".to_owned()),
        _ => Fault(FailureKind::Cancelled, "cancelled".to_owned()),
    }
}

fn timeout_fault(attempt: &Attempt<'_>) -> Fault {
    let span = attempt.invocation.timeout.unwrap_or_default();
    Fault(FailureKind::Timeout, format!("timed out after {span}"))
}

fn cannot_start(reason: String) -> Fault {
    Fault(FailureKind::Start, reason)
}

/// The file for standard input; what is at a URL is brought here first, into a file without a name.
fn open_stdin(
    path: &Path,
    attempt: &Attempt<'_>,
    deadline: Option<Instant>,
) -> Result<File, Fault> {
    let failed = |shown: &str, reason: &dyn std::fmt::Display| {
        cannot_start(format!("cannot open standard input {shown}: {reason}"))
    };
    let Some(url) = url::remote(path) else {
        return File::open(path).map_err(|error| failed(&path.to_string_lossy(), &error));
    };
    let brought = || -> Result<File, DataError> {
        let local = |error: io::Error| DataError::new(url, DataErrorKind::File, error.to_string());
        let mut file = tempfile::tempfile().map_err(local)?;
        let patience = Patience { wake: Some(attempt.control.wake()), deadline };
        data::download(url, file.try_clone().map_err(local)?, patience)?;
        file.rewind().map_err(local)?;
        Ok(file)
    };
    brought().map_err(|error| match error.kind() {
        DataErrorKind::Stopped => stop_fault(attempt.control),
        DataErrorKind::TimedOut => timeout_fault(attempt),
        _ => failed(error.url(), &error.reason()),
    })
}

/// What a successful exit still needs: a value, and the outputs in their places.
fn settle(
    attempt: &Attempt<'_>,
    deadline: Option<Instant>,
    outputs: &Outputs,
    output: &mut Output<'_>,
) -> Result<Detail, Fault> {
    let invocation = attempt.invocation;
    let value = output.value().map_err(|reason| Fault(FailureKind::Capture, reason))?;
    let patience = Patience { wake: Some(attempt.control.wake()), deadline };
    let side_files = outputs.publish(patience).map_err(|error| match error {
        Unpublished::Stopped => stop_fault(attempt.control),
        Unpublished::TimedOut => timeout_fault(attempt),
        Unpublished::Failed(reason) => Fault(FailureKind::MissingOutput, reason),
    })?;
    if !side_files.is_empty() {
        output.note(&outputs::note(&side_files));
    }
    let outputs = outputs.reported(invocation.report_outputs);
    Ok(Detail { value, outputs, ..Detail::default() })
}

fn conclude(
    judged: Result<Detail, Fault>,
    output: &mut Output<'_>,
) -> (Outcome, Option<Box<Detail>>) {
    match judged {
        Ok(detail) => {
            let plain = detail.value.is_none() && detail.outputs.is_empty();
            (Outcome::Succeeded, (!plain).then(|| Box::new(detail)))
        }
        Err(Fault(kind, reason)) => {
            let stderr_tail = output.stderr_tail();
            let detail = Detail { reason, stderr_tail, ..Detail::default() };
            (Outcome::Failed(kind), Some(Box::new(detail)))
        }
    }
}

/// How far the end of an attempt has come; with the time of SIGKILL, none once it was sent.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Running,
    Stopping(Option<Instant>),
    TimedOut(Option<Instant>),
}

/// Waits for events of one process.
struct Watch<'a> {
    control: &'a Control,
    streams: [Option<OwnedFd>; 2],
    stage: Stage,
    deadline: Option<Instant>,
    grace: Duration,
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

impl Watch<'_> {
    fn until_exit(&mut self, process: &Process, output: &mut Output<'_>) -> io::Result<()> {
        loop {
            let wait = [self.signal_due(), output.due()].into_iter().flatten().min();
            let (exited, woken) = self.poll(Some(process), wait, output)?;
            if exited {
                return Ok(());
            }
            if woken && matches!(self.stage, Stage::Running) {
                process.terminate();
                self.stage = Stage::Stopping(Instant::now().checked_add(self.grace));
            }
            let now = Instant::now();
            if self.signal_due().is_some_and(|due| due <= now) {
                self.escalate(process, now);
            }
            if output.due().is_some_and(|due| due <= now) {
                output.show();
            }
        }
    }

    /// When the next signal is due.
    fn signal_due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Running => self.deadline,
            Stage::Stopping(kill) | Stage::TimedOut(kill) => kill,
        }
    }

    fn escalate(&mut self, process: &Process, now: Instant) {
        self.stage = match self.stage {
            Stage::Running => {
                process.terminate();
                Stage::TimedOut(now.checked_add(self.grace))
            }
            Stage::Stopping(_) => {
                process.signal(Signal::KILL);
                Stage::Stopping(None)
            }
            Stage::TimedOut(_) => {
                process.signal(Signal::KILL);
                Stage::TimedOut(None)
            }
        };
    }

    /// Waits for something to happen, and reads what can be read without blocking. Tells whether the
    /// leader has ended, and whether the attempt has to.
    fn poll(
        &mut self,
        process: Option<&Process>,
        until: Option<Instant>,
        output: &mut Output<'_>,
    ) -> io::Result<(bool, bool)> {
        let wake = self.control.wake();
        let nothing = PollFlags::empty();
        let stoppable = process.is_some() && matches!(self.stage, Stage::Running);
        let of = |wanted: bool| if wanted { PollFlags::IN } else { nothing };
        let [out, err] = &self.streams;
        let mut fds = [
            PollFd::from_borrowed_fd(
                process.map_or(wake, |p| p.pidfd().as_fd()),
                of(process.is_some()),
            ),
            PollFd::from_borrowed_fd(wake, of(stoppable)),
            PollFd::from_borrowed_fd(out.as_ref().map_or(wake, |fd| fd.as_fd()), of(out.is_some())),
            PollFd::from_borrowed_fd(err.as_ref().map_or(wake, |fd| fd.as_fd()), of(err.is_some())),
        ];
        let timeout = until.map(|until| timespec(until.saturating_duration_since(Instant::now())));
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR | Errno::AGAIN) => return Ok((false, false)),
            Err(error) => return Err(error.into()),
        }
        let [exit, woken, out, err] = fds.map(|fd| fd.revents());
        for (at, events) in [(0, out), (1, err)] {
            if self.streams[at].is_some() && !events.is_empty() {
                self.read(at, events, output);
            }
        }
        let exited = process.is_some() && !exit.is_empty();
        Ok((exited, stoppable && !woken.is_empty()))
    }

    /// Reads once; we are the only reader, so what `poll` promised is there. Tells how much it was.
    fn read(&mut self, at: usize, events: PollFlags, output: &mut Output<'_>) -> usize {
        let Some(fd) = &self.streams[at] else { return 0 };
        if !events.contains(PollFlags::IN) {
            self.streams[at] = None;
            return 0;
        }
        let got = BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(READ, 0);
            let got = rustix::io::read(fd, &mut buffer[..]);
            if let Ok(length) = got {
                output.take(STREAMS[at], &buffer[..length]);
            }
            got
        });
        match got {
            Ok(length) if length > 0 => length,
            Err(Errno::INTR) => 0,
            _ => {
                self.streams[at] = None;
                0
            }
        }
    }

    /// Reads what is in the pipes, without waiting for their end: others may hold them open.
    fn drain(&mut self, output: &mut Output<'_>) {
        for at in 0..STREAMS.len() {
            let mut left = DRAIN;
            while left > 0
                && let Some(fd) = &self.streams[at]
            {
                let mut fds = [PollFd::new(fd, PollFlags::IN)];
                let ready = rustix::event::poll(&mut fds, Some(&Timespec::default()));
                let events = fds[0].revents();
                match ready {
                    Ok(1..) if events.contains(PollFlags::IN) => {
                        left = left.saturating_sub(self.read(at, events, output));
                    }
                    Err(Errno::INTR) => {}
                    _ => break,
                }
            }
        }
    }
}

fn timespec(span: Duration) -> Timespec {
    let tv_sec = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: span.subsec_nanos().into() }
}
