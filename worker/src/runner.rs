//! Runs attempts that are processes, each in the calling thread, from its invocation to its outcome.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use dagrun_core::engine::Outcome;
use dagrun_core::ids::{Micros, RunId};
use dagrun_core::recipe::Invocation;
use dagrun_core::status::{Detail, FailureKind};
use dagrun_core::url;
use dagrun_disk::clock;
use rustix::process::{Pid, Signal};

use crate::attempt::{ATTEMPT_ID, Attempt, Ended, Fault};
use crate::checkpoint;
use crate::copies::{Copies, Unbrought};
use crate::data::{self, DataError, DataErrorKind, Patience};
use crate::function::{Caller, Fetch, Keeper};
use crate::groups::{GroupTable, Mark};
use crate::memory::Gauge;
use crate::orphans::{self, Traces};
use crate::output::Output;
use crate::outputs::{self, Outputs, Records, Unpublished};
use crate::process::{self, Pipes, Process, ProcessWatch, Stage, Start};
use crate::program::{self, Programs};
use crate::scratch::Scratch;
use crate::temporary::Temporary;
use crate::values::Values;

/// What all attempts of a worker share.
#[derive(Debug)]
pub struct Runner {
    programs: Programs,
    mark: Mark,
    groups: Option<GroupTable>,
    log_limit: usize,
    pub(crate) caller: Caller,
    values: Option<Arc<Values>>,
    copies: Copies,
    gauge: Gauge,
    /// How many processes of attempts there are.
    running: AtomicUsize,
}

impl Runner {
    /// Attempts keep up to `log_limit` bytes of each stream for the log.
    #[must_use]
    pub fn new(mark: Mark, groups: Option<GroupTable>, log_limit: usize) -> Runner {
        let caller = Caller::new(Records::new(mark.as_str()));
        let copies = Copies::default();
        let (programs, gauge) = (Programs::new(), Gauge::default());
        let running = AtomicUsize::new(0);
        Runner { programs, mark, groups, log_limit, caller, values: None, copies, gauge, running }
    }

    /// Whether attempts that use more memory than they asked for are ended; if not, that is noted once for
    /// each task.
    #[must_use]
    pub fn enforcing_memory(self, enforce: bool) -> Runner {
        Runner { gauge: Gauge::new(enforce), ..self }
    }

    /// Where attempts get long values from and leave theirs; without it all travel with reports.
    #[must_use]
    pub fn with_values(mut self, values: Arc<Values>) -> Runner {
        self.caller.fetch = Arc::clone(&values) as Arc<dyn Fetch>;
        self.caller.keeper = Arc::clone(&values) as Arc<dyn Keeper>;
        self.copies = Copies::below(values.dir());
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
            let Fault(outcome, reason) = Fault::stopped(attempt.control);
            return Ended::without_start(outcome, reason);
        }
        // Before the process runs: on a busy machine this thread may have to wait afterwards, and the
        // attempt would seem shorter than it was.
        let started = clock::now();
        let limit = invocation.timeout.map(Micros::to_duration);
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        // Before its process is there: what others leave behind is told from that by it.
        let running = Counted::new(&self.running);
        let records = &self.caller.records;
        let prepared = Outputs::prepare(&invocation.outputs, &invocation.run_dir, records);
        let begun = prepared.and_then(|outputs| {
            let record = || records.of_run(&invocation.run_dir);
            let mut scratch = Scratch::write(&invocation.files, record)?;
            self.fetch(attempt, deadline, &mut scratch)?;
            let below = self.values.as_deref().map(Values::dir);
            let temporary =
                below.map(|dir| Temporary::new(dir, attempt.slot)).transpose()?.flatten();
            if invocation.checkpoint.made {
                checkpoint::prepare(&invocation.checkpoint.dir)?;
            }
            let path = temporary.as_ref().map(Temporary::path);
            let (process, pipes) = self.start(attempt, deadline, path)?;
            Ok((outputs, (scratch, temporary), process, pipes))
        });
        let (outputs, scratch, process, pipes) = match begun {
            Ok(begun) => begun,
            Err(Fault(outcome, reason)) => return Ended::without_start(outcome, reason),
        };
        attempt.control.set_started(started);
        let mut output =
            Output::new(attempt.log, attempt.owner, invocation.capture, self.log_limit);
        let ended = self.watch(attempt, deadline, (process, running), pipes, &mut output);
        drop(scratch);
        output.finish();
        let judged = ended.and_then(|remark| {
            let detail = settle(attempt, deadline, &outputs, &mut output)?;
            Ok(Detail { reason: remark, ..detail })
        });
        // Sending outputs away is a part of the attempt.
        let finished = clock::now();
        drop(outputs);
        if judged.is_ok() {
            checkpoint::remove(&invocation.checkpoint.dir);
        }
        let (outcome, detail) = conclude(judged, &mut output);
        Ended { outcome, detail, started, finished }
    }

    fn start(
        &self,
        attempt: &Attempt<'_>,
        deadline: Option<Instant>,
        temporary: Option<&Path>,
    ) -> Result<(Process, Pipes), Fault> {
        let invocation = attempt.invocation;
        let mut local = invocation.reads.iter().filter(|path| url::remote(path).is_none());
        if let Some(path) = local.find(|path| !path.exists()) {
            return Err(Fault::start(format!("input {} is missing", path.display())));
        }
        let stdin = match (&invocation.stdin, &invocation.fed) {
            (Some(path), _) => Some(open_stdin(path, attempt, deadline)?),
            (None, Some(bytes)) => Some(fed(bytes).map_err(|error| {
                Fault::system(&error, format!("cannot keep standard input in a file: {error}"))
            })?),
            (None, None) => None,
        };
        let mark = self.mark.of_run(attempt.run);
        // Once more when a program that was found before has been replaced or removed.
        let mut again = true;
        loop {
            let (program, argv) = self.program(invocation)?;
            let stdin = stdin.as_ref().map(File::try_clone).transpose();
            let stdin = stdin
                .map_err(|error| Fault::system(&error, format!("no standard input: {error}")))?;
            let mark = (Mark::VARIABLE, mark.as_os_str());
            let start =
                Start { program: &program, argv: &argv, invocation, mark, stdin, temporary };
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
                    let words = (&*argv, invocation.env.as_slice());
                    let reason = program::explain(words, &program, dir, &error);
                    return Err(match program::is_missing(&error) {
                        true => Fault::missing(reason),
                        false => Fault::system(&error, reason),
                    });
                }
            }
        }
    }

    /// Brings what is at URLs into directories of the attempt's own.
    fn fetch(
        &self,
        attempt: &Attempt<'_>,
        deadline: Option<Instant>,
        scratch: &mut Scratch,
    ) -> Result<(), Fault> {
        for (url, path) in &attempt.invocation.fetches {
            let record = || self.caller.records.of_run(&attempt.invocation.run_dir);
            scratch.make_parent(path, record)?;
            let patience = Patience { wake: Some(attempt.control.wake()), deadline };
            self.copies.bring(attempt.run, url, path, patience).map_err(
                |unbrought| match unbrought {
                    Unbrought::Stopped => Fault::stopped(attempt.control),
                    Unbrought::TimedOut => Fault::timed_out(attempt),
                    Unbrought::System(error, reason) => Fault::system(&error, reason),
                    Unbrought::Failed(reason) => Fault::start(reason),
                },
            )?;
        }
        Ok(())
    }

    /// Forgets a run: its number may mean another one later.
    pub(crate) fn forget(&self, run: RunId) {
        self.copies.forget(run);
        self.gauge.forget(run);
    }

    /// The program to execute and its arguments; where `bash` is missing, a shell action runs in `sh`.
    fn program<'a>(
        &self,
        invocation: &'a Invocation,
    ) -> Result<(Arc<Path>, Cow<'a, [OsString]>), Fault> {
        let argv = &invocation.argv;
        let name = argv.first().ok_or_else(|| Fault::start("no program given".to_owned()))?;
        let find =
            |name: &OsStr| self.programs.resolve(name, &invocation.env, &invocation.working_dir);
        match find(name) {
            Ok(program) => Ok((program, argv.into())),
            Err(reason) => match argv.last() {
                Some(script) if invocation.shell => {
                    let sh = find(OsStr::new("sh")).map_err(|_| Fault::missing(reason))?;
                    let argv = ["sh", "-eu", "-c"].map(OsString::from).to_vec();
                    Ok((sh, [argv, vec![script.clone()]].concat().into()))
                }
                _ => Err(Fault::missing(reason)),
            },
        }
    }

    /// Reads and waits until the leader has ended, then ends what is left of the group. Returns what is to be
    /// remarked of an attempt that succeeds all the same.
    fn watch(
        &self,
        attempt: &Attempt<'_>,
        deadline: Option<Instant>,
        (mut process, running): (Process, Counted<'_>),
        pipes: Pipes,
        output: &mut Output<'_>,
    ) -> Result<String, Fault> {
        let (begun, group) = (Instant::now(), process.group());
        let grace = attempt.invocation.grace.to_duration();
        let meter =
            self.gauge.meter(attempt.run, attempt.owner.instance.task, attempt.invocation.memory);
        let mut watch = ProcessWatch::new(attempt.control, pipes, deadline, grace, meter);
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
        drop(running);
        self.end_of(attempt, group, begun);
        waited.map_err(|error| Fault::start(format!("cannot watch the process: {error}")))?;
        match watch.stage() {
            Stage::Running => {}
            Stage::Stopping(_) => return Err(Fault::stopped(attempt.control)),
            Stage::TimedOut(_) => return Err(Fault::timed_out(attempt)),
            Stage::OutOfMemory => {
                return Err(Fault::failed(FailureKind::Memory, watch.take_excess()));
            }
        }
        let status = status.map_err(|error| {
            Fault::failed(FailureKind::Exit(-1), format!("its exit status was lost: {error}"))
        })?;
        let Some((kind, reason)) = process::failure(status) else { return Ok(watch.take_excess()) };
        // A shell passes on how its command ended.
        let killed = matches!(kind, FailureKind::Signal(9) | FailureKind::Exit(137));
        match killed.then(|| watch.killed_for_memory()).flatten() {
            Some(reason) => Err(Fault::failed(FailureKind::Memory, reason)),
            None => Err(Fault::failed(kind, reason)),
        }
    }
}

/// An attempt whose process runs, or is about to.
struct Counted<'a>(&'a AtomicUsize);

impl Counted<'_> {
    fn new(count: &AtomicUsize) -> Counted<'_> {
        count.fetch_add(1, Ordering::AcqRel);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Runner {
    /// Ends what an attempt has left behind outside of its group.
    fn end_of(&self, attempt: &Attempt<'_>, group: Pid, begun: Instant) {
        let of_run = self.mark.of_run(attempt.run);
        let of_run = (Mark::VARIABLE, of_run.as_os_str());
        let env = &attempt.invocation.env;
        let id = env.iter().find(|(name, _)| name == ATTEMPT_ID);
        // One that has no number of its own is told by its worker and run.
        let own = id.map_or(of_run, |(_, id)| (ATTEMPT_ID, id.as_os_str()));
        let alone = || self.running.load(Ordering::Acquire) == 0;
        let (marks, took, alone) = ([of_run, own], begun.elapsed(), &alone);
        orphans::end_of(&Traces { group, marks, took, alone });
    }
}

/// The file for standard input; what is at a URL is brought here first, into a file without a name.
fn open_stdin(
    path: &Path,
    attempt: &Attempt<'_>,
    deadline: Option<Instant>,
) -> Result<File, Fault> {
    let failed = |shown: &str, reason: &dyn std::fmt::Display| {
        format!("cannot open standard input {shown}: {reason}")
    };
    let Some(url) = url::remote(path) else {
        return File::open(path)
            .map_err(|error| Fault::system(&error, failed(&path.to_string_lossy(), &error)));
    };
    let mut file = tempfile::tempfile()
        .map_err(|error| Fault::system(&error, failed(&url::redacted(url), &error)))?;
    let mut brought = || -> Result<(), DataError> {
        let local = |error: io::Error| DataError::new(url, DataErrorKind::File, error.to_string());
        let patience = Patience { wake: Some(attempt.control.wake()), deadline };
        data::download(url, file.try_clone().map_err(local)?, patience)?;
        file.rewind().map_err(local)
    };
    match brought() {
        Ok(()) => Ok(file),
        Err(error) => Err(match error.kind() {
            DataErrorKind::Stopped => Fault::stopped(attempt.control),
            DataErrorKind::TimedOut => Fault::timed_out(attempt),
            _ => Fault::start(failed(error.url(), &error.reason())),
        }),
    }
}

/// A file without a name that holds these bytes.
fn fed(bytes: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// What a successful exit still needs: a value, and the outputs in their places.
fn settle(
    attempt: &Attempt<'_>,
    deadline: Option<Instant>,
    outputs: &Outputs,
    output: &mut Output<'_>,
) -> Result<Detail, Fault> {
    let invocation = attempt.invocation;
    let value = output.value().map_err(|reason| Fault::failed(FailureKind::Capture, reason))?;
    let patience = Patience { wake: Some(attempt.control.wake()), deadline };
    let side_files = outputs.publish(patience).map_err(|error| match error {
        Unpublished::Stopped => Fault::stopped(attempt.control),
        Unpublished::TimedOut => Fault::timed_out(attempt),
        Unpublished::NoSpace(reason) | Unpublished::Failed(reason) => {
            Fault::failed(FailureKind::MissingOutput, reason)
        }
    })?;
    if !side_files.is_empty() {
        output.note(&outputs::note(&side_files));
    }
    let stamps = outputs.stamps();
    let outputs = outputs.reported(invocation.report_outputs);
    Ok(Detail { value, outputs, stamps, ..Detail::default() })
}

fn conclude(
    judged: Result<Detail, Fault>,
    output: &mut Output<'_>,
) -> (Outcome, Option<Box<Detail>>) {
    match judged {
        Ok(detail) => {
            let plain = detail == Detail::default();
            (Outcome::Succeeded, (!plain).then(|| Box::new(detail)))
        }
        Err(Fault(outcome, reason)) => {
            let stderr_tail = output.stderr_tail();
            let detail = Detail { reason, stderr_tail, ..Detail::default() };
            (outcome, Some(Box::new(detail)))
        }
    }
}
