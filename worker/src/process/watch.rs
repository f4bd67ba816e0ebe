//! The watch over one process: reads what it writes, finds its end without races, and signals it when
//! its time is up.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use dagrun_core::status::Stream;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::Signal;

use super::{Pipes, Process};
use crate::control::Control;
use crate::memory::{Excess, Meter};
use crate::output::Output;

/// Bytes read from a stream at once: what a pipe holds.
const READ: usize = 64 << 10;
/// Bytes read from a stream at most after the leader has ended: the most that a pipe can hold. A
/// survivor outside the group could otherwise keep us reading.
const DRAIN: usize = 1 << 20;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How far the end of an attempt has come; with the time of SIGKILL, none once it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage {
    Running,
    Stopping(Option<Instant>),
    TimedOut(Option<Instant>),
    /// It was killed at once.
    OutOfMemory,
}

/// Waits for events of one process.
pub(crate) struct ProcessWatch<'a> {
    control: &'a Control,
    streams: [Option<OwnedFd>; 2],
    stage: Stage,
    deadline: Option<Instant>,
    grace: Duration,
    meter: Meter<'a>,
    /// How much memory it used, and what it asked for, if that was less.
    excess: String,
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

impl<'a> ProcessWatch<'a> {
    /// Watches a process that writes to these pipes. After `deadline` it is asked to end, and is
    /// killed `grace` later.
    pub(crate) fn new(
        control: &'a Control,
        pipes: Pipes,
        deadline: Option<Instant>,
        grace: Duration,
        meter: Meter<'a>,
    ) -> ProcessWatch<'a> {
        let streams = [Some(pipes.stdout), Some(pipes.stderr)];
        let (stage, excess) = (Stage::Running, String::new());
        ProcessWatch { control, streams, stage, deadline, grace, meter, excess }
    }

    /// How much memory it used, if that was too much.
    pub(crate) fn take_excess(&mut self) -> String {
        std::mem::take(&mut self.excess)
    }

    /// Why SIGKILL means that memory ran out, if it does.
    pub(crate) fn killed_for_memory(&self) -> Option<String> {
        self.meter.killed()
    }

    /// How far its end has come.
    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// Reads what the process writes, and ends it when it has to, until its leader has ended.
    pub(crate) fn until_exit(
        &mut self,
        process: &Process,
        output: &mut Output<'_>,
    ) -> io::Result<()> {
        loop {
            let wait = [self.signal_due(), output.due(), self.meter.due()];
            let wait = wait.into_iter().flatten().min();
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
            if self.meter.due().is_some_and(|due| due <= now) {
                self.measure(process, output);
            }
        }
    }

    /// Looks how much memory it uses. What uses too much goes on using more while it is asked to end, so it
    /// is killed.
    fn measure(&mut self, process: &Process, output: &mut Output<'_>) {
        match self.meter.look(process.group()) {
            None => {}
            Some(Excess::Note(excess)) => {
                output.note(&excess);
                output.show();
                self.excess = excess;
            }
            Some(Excess::End(excess)) => {
                process.signal(Signal::KILL);
                if matches!(self.stage, Stage::Running) {
                    (self.stage, self.excess) = (Stage::OutOfMemory, excess);
                }
            }
        }
    }

    /// When the next signal is due.
    fn signal_due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Running => self.deadline,
            Stage::Stopping(kill) | Stage::TimedOut(kill) => kill,
            Stage::OutOfMemory => None,
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
            Stage::OutOfMemory => Stage::OutOfMemory,
        };
    }

    /// Waits for something to happen, and reads what can be read without blocking. Returns whether
    /// the leader has ended, and whether the attempt has to.
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

    /// Reads once; we are the only reader, so what `poll` promised is there. Returns how many
    /// bytes it was.
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
    pub(crate) fn drain(&mut self, output: &mut Output<'_>) {
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
