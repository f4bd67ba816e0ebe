//! The slots of a worker: a queue of assigned instances in front of a thread for each slot.
//!
//! The thread of a slot is a rayon pool of its own, so that a function that uses rayon stays within
//! its slot. First in, first out: the head waits until enough slots are free, and what is behind it
//! waits too, so that an attempt that needs many slots is not starved by small ones.

mod beside;
mod places;
mod work;

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use dagrun_core::engine::{Assignment, Outcome, Report};
use dagrun_core::ids::{AttemptId, InstanceId, RunId, Timestamp};
use dagrun_core::recipe::{Calling, INLINE, Input, Job, Keep, attempt_dir};
use dagrun_core::status::{Detail, FailureKind};

pub use self::work::{TaskSource, Work};
use rustix::process::Signal;

use crate::attempt::{ATTEMPT_ID, Attempt, Ended, Fault};
use crate::control::{Control, Stop};
use crate::core::queue::{self, Running};
use crate::core::tenure::Term;
use crate::function::watch::{Abandon, Watch};
use crate::function::{self, Surroundings};
use crate::outputs;
use crate::runner::Runner;
use crate::values::{Given, Keeping, ValueId};
use dagrun_disk::log::Owner;

type State = queue::State<Work>;
type Taken = queue::Taken<Work>;

/// Receives the outcome of attempts, to be reported.
pub type Sink = Box<dyn Fn(Report) + Send + Sync>;

/// Reports that an attempt is about to run, and waits until the scheduler has received that; returns
/// false when the attempt is stopped before.
pub type Announcer = Box<dyn Fn(AttemptId, &Control) -> bool + Send + Sync>;

/// Why the slots could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotsError {
    /// The threads.
    #[error("cannot start the threads of the slots")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The file descriptors.
    #[error("cannot get a file descriptor for each slot")]
    Descriptors(#[from] std::io::Error),
}

/// Slots and their queue. Clones share them.
#[derive(Clone)]
pub struct Slots {
    shared: Arc<Shared>,
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("threads", &self.shared.pools.len()).finish()
    }
}

struct Shared {
    runner: Runner,
    sink: Sink,
    announcer: Announcer,
    /// For each place, a pool with a single thread; at most as many as there are slots.
    pools: Vec<rayon::ThreadPool>,
    watch: Arc<Watch>,
    leaving: AtomicBool,
    state: Mutex<State>,
    /// Notified when an attempt has ended and somebody waits for that.
    ended: Condvar,
}

impl Slots {
    /// `count` free slots (at least one). `sink` is called by the threads of the slots.
    ///
    /// Where the machine has too few threads or file descriptors, fewer attempts run at once than
    /// there are slots.
    ///
    /// # Errors
    /// When there is none for a single one.
    pub fn new(count: usize, runner: Runner, sink: Sink) -> Result<Slots, SlotsError> {
        Slots::announcing(count, runner, sink, Box::new(|_, _| true))
    }

    /// The same, where an attempt that must be announced waits for `announcer`.
    ///
    /// # Errors
    /// When there is none for a single one.
    pub fn announcing(
        count: usize,
        runner: Runner,
        sink: Sink,
        announcer: Announcer,
    ) -> Result<Slots, SlotsError> {
        let slots = count.max(1);
        let controls = places::controls(slots)?;
        let pools = places::pools(controls.len())?;
        let controls = controls[..pools.len()].to_vec();
        let watch = Arc::new(Watch::new(controls.clone()));
        let state = State::new(slots, controls);
        let (state, ended) = (Mutex::new(state), Condvar::new());
        let leaving = AtomicBool::new(false);
        let shared = Shared { runner, sink, announcer, pools, watch, leaving, state, ended };
        Ok(Slots { shared: Arc::new(shared) })
    }

    /// What all attempts share.
    #[must_use]
    pub fn runner(&self) -> &Runner {
        &self.shared.runner
    }

    /// Appends to the queue, and starts what occupies no slot.
    pub fn push(&self, works: impl IntoIterator<Item = Work>) {
        let mut beside = Vec::new();
        let mut state = self.shared.lock();
        for work in works {
            beside.extend(state.push(work));
        }
        let ready = state.take_all();
        drop(state);
        self.start(ready);
        beside.iter().for_each(|work| beside::start(&self.shared, work));
    }

    /// Removes these attempts from the queue unless they have started, and returns the ids of those
    /// removed.
    #[must_use]
    pub fn withdraw(&self, attempts: &HashSet<AttemptId>) -> Vec<AttemptId> {
        let mut state = self.shared.lock();
        let withdrawn = state.withdraw(|attempt, _| attempts.contains(&attempt));
        // The head may be another one now, with fewer slots to wait for.
        let ready = state.take_all();
        drop(state);
        self.start(ready);
        withdrawn
    }

    /// Removes everything (of one run, or of all) that has not started from the queue.
    #[must_use]
    pub fn withdraw_all(&self, run: Option<RunId>) -> Vec<AttemptId> {
        let mut state = self.shared.lock();
        let withdrawn = state.withdraw(|_, of| run.is_none_or(|run| run == of));
        let ready = state.take_all();
        drop(state);
        self.start(ready);
        withdrawn
    }

    /// Ends these attempts if they run.
    pub fn stop(&self, attempts: &HashSet<AttemptId>, why: Stop) {
        let state = self.shared.lock();
        for running in attempts.iter().filter_map(|attempt| state.running.get(attempt)) {
            if !running.ended {
                self.shared.stop(running, why);
            }
        }
    }

    /// Ends everything (of one run, or of all) that runs.
    pub fn stop_all(&self, run: Option<RunId>, why: Stop) {
        let state = self.shared.lock();
        for running in state.running.values() {
            if !running.ended && run.is_none_or(|run| run == running.run) {
                self.shared.stop(running, why);
            }
        }
    }

    /// Blocks until nothing (of one run, or of all) runs and every end has been reported. Queued
    /// work keeps starting meanwhile.
    pub fn wait_idle(&self, run: Option<RunId>) {
        let mut state = self.shared.lock();
        while state.running.values().any(|running| run.is_none_or(|run| run == running.run)) {
            state.waiting += 1;
            state = self.shared.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    /// Attempts that have been running since `before` or earlier and that no earlier call has
    /// returned, and whether there may be more of them later.
    #[must_use]
    pub fn newly_running(&self, before: Timestamp) -> (Vec<Report>, bool) {
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        let mut reports = Vec::new();
        let mut more = false;
        for (attempt, running) in &mut state.running {
            if running.announced || running.ended {
                continue;
            }
            match running.control.started().filter(|started| *started <= before) {
                Some(started) => {
                    running.announced = true;
                    reports.push(report(*attempt, Outcome::Started, started));
                }
                None => more = true,
            }
        }
        (reports, more)
    }

    /// The progress of running functions, from 0 to 1: of those that have set it since the last
    /// call.
    #[must_use]
    pub fn progress(&self) -> Vec<(AttemptId, f32)> {
        let state = self.shared.lock();
        let running = state.running.iter().filter(|(_, running)| !running.ended);
        let reported = running.filter_map(|(attempt, running)| {
            Some((*attempt, running.control.token().take_progress()?))
        });
        reported.collect()
    }

    /// The attempts that wait or run, or have ended without having been reported yet.
    #[must_use]
    pub fn held(&self) -> Vec<Range<u64>> {
        self.shared.lock().held()
    }

    /// The same without those that are to end, each with when it started; zero: it waits, or is about to
    /// start.
    #[must_use]
    pub fn held_since(&self) -> Vec<(Range<u64>, Timestamp)> {
        let state = self.shared.lock();
        let started = |range: Range<u64>| {
            let running = state.running.get(&AttemptId(range.start));
            let started = running.and_then(|running| running.control.started());
            (range, started.unwrap_or_default())
        };
        let goes_on = |range: &Range<u64>| {
            let running = state.running.get(&AttemptId(range.start));
            running.is_none_or(|running| running.control.stopped().is_none())
        };
        state.held().into_iter().filter(goes_on).map(started).collect()
    }

    /// From now on an attempt that a signal ends is not at fault: it may have been meant for the worker.
    pub fn leave(&self) {
        self.shared.leaving.store(true, Ordering::Release);
    }

    /// Whether the queue is much longer than the number of slots.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        let state = self.shared.lock();
        let waiting = state.queue.iter().map(|queued| queued.left.len());
        waiting.sum::<usize>() >= 4 * state.slots
    }

    /// The number of attempts that run at present.
    #[must_use]
    pub fn running(&self) -> usize {
        self.shared.lock().running.values().filter(|running| !running.ended).count()
    }

    fn start(&self, ready: Vec<Taken>) {
        for taken in ready {
            spawn(&self.shared, taken);
        }
    }
}

/// Whether an attempt ended by a signal with which machines are taken back.
fn is_notice(outcome: Outcome) -> bool {
    const NOTICES: [Signal; 6] =
        [Signal::INT, Signal::TERM, Signal::HUP, Signal::USR1, Signal::USR2, Signal::KILL];
    let signal = match outcome {
        Outcome::Failed(FailureKind::Signal(signal)) => signal,
        Outcome::Failed(FailureKind::Exit(code)) => code - 128,
        _ => return false,
    };
    NOTICES.iter().any(|notice| notice.as_raw() == signal)
}

/// Runs an attempt on the thread of its place.
fn spawn(shared: &Arc<Shared>, taken: Taken) {
    let of_thread = shared.clone();
    shared.pools[taken.place].spawn(move || work_off(&of_thread, taken));
}

/// A report without detail.
fn report(attempt: AttemptId, outcome: Outcome, started: Timestamp) -> Report {
    Report {
        first: attempt,
        count: 1,
        outcome,
        started,
        finished: Timestamp(0),
        detail: None,
        items: None,
    }
}

/// Runs an attempt, then those that its end frees slots for: one of them on this thread.
fn work_off(shared: &Arc<Shared>, first: Taken) {
    let mut next = Some(first);
    while let Some(taken) = next.take() {
        let place = taken.place;
        let slot = Slot { shared, taken: Some(taken) };
        for ready in slot.run() {
            if ready.place == place && next.is_none() {
                next = Some(ready);
            } else {
                spawn(shared, ready);
            }
        }
    }
}

/// An occupied slot. Whatever happens on its thread, the attempt's end is reported once and its
/// slots are freed.
struct Slot<'a> {
    shared: &'a Arc<Shared>,
    taken: Option<Taken>,
}

impl Slot<'_> {
    fn run(mut self) -> Vec<Taken> {
        let Some(taken) = &self.taken else { return Vec::new() };
        let ended =
            catch_unwind(AssertUnwindSafe(|| self.shared.make(taken))).unwrap_or_else(|panic| {
                let message = function::panic_message(panic.as_ref());
                let reason = format!("internal error of the worker: {message}");
                Ended::without_start(Outcome::Failed(FailureKind::Start), reason)
            });
        self.end(ended)
    }

    fn end(&mut self, ended: Ended) -> Vec<Taken> {
        let Some(taken) = self.taken.take() else { return Vec::new() };
        let (ready, is_first) = self.shared.release(&taken);
        // Only now: whoever still sees the attempt running may rely on its end not having been
        // reported yet.
        if is_first {
            self.shared.report(taken.attempt(), ended);
        }
        ready
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if self.taken.is_some() {
            let reason = "internal error of the worker".to_owned();
            self.end(Ended::without_start(Outcome::Failed(FailureKind::Start), reason));
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.watch.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renders and runs.
    fn make(self: &Arc<Shared>, taken: &Taken) -> Ended {
        let work = &taken.work;
        let term = self.runner.caller.records.lease.term();
        let assignment = &work.assignment;
        let inputs = work.inputs.get(taken.offset as usize).map_or(&[][..], Vec::as_slice);
        let index = assignment.first_index.saturating_add(taken.offset);
        let owner = Owner {
            instance: InstanceId { task: assignment.task, index },
            attempt: assignment.number,
        };
        let given = match self.give(taken, inputs) {
            Ok(given) => given,
            Err(Fault(outcome, reason)) => return Ended::without_start(outcome, reason),
        };
        let inputs = given.as_ref().map_or(inputs, |given| &given.inputs);
        let job = work.plan.job(index, assignment.number, inputs);
        if let Ok(job) = &job
            && let Err(Fault(outcome, reason)) = self.take_care(taken, owner.instance, job)
        {
            return Ended::without_start(outcome, reason);
        }
        match job {
            Ok(Job::Process(mut invocation)) => {
                let id = assignment.first_attempt.0.wrapping_add(taken.offset.into());
                invocation.env.push((ATTEMPT_ID.into(), id.to_string().into()));
                invocation.memory = assignment.memory;
                let ended = self.runner.run(&Attempt {
                    invocation: &invocation,
                    run: assignment.run,
                    owner,
                    log: work.log.as_deref(),
                    control: &taken.control,
                    slot: taken.place,
                });
                self.keep(taken, term, owner.instance, ended)
            }
            Ok(Job::Call(calling)) => self.call(calling, inputs, owner, taken),
            Err(reason) => Ended::without_start(Outcome::Failed(FailureKind::Start), reason),
        }
    }

    /// What must be done before an attempt begins whose instance has lost workers.
    fn take_care(&self, taken: &Taken, instance: InstanceId, job: &Job) -> Result<(), Fault> {
        let work = &taken.work;
        if work.announce && !(self.announcer)(taken.attempt(), &taken.control) {
            return Err(Fault::stopped(&taken.control));
        }
        if work.fenced.is_empty() {
            return Ok(());
        }
        let outputs = match job {
            Job::Process(invocation) => &invocation.outputs,
            Job::Call(calling) => &calling.outputs,
        };
        let Assignment { run, number, .. } = work.assignment;
        let dir = |mark: &str, number| attempt_dir(mark, run, instance, number);
        let others = work.fenced.iter().map(|fenced| dir(&fenced.worker, fenced.number));
        let others: Vec<String> = others.collect();
        outputs::fence(outputs, &dir(self.runner.mark().as_str(), number), &others)
    }

    /// Fetches the inputs of an attempt that are kept elsewhere or are long.
    fn give(&self, taken: &Taken, inputs: &[Input]) -> Result<Option<Given>, Fault> {
        let Some(values) = self.runner.values() else { return Ok(None) };
        let (plan, run) = (&taken.work.plan, taken.work.assignment.run);
        let name = |input| plan.input_task(input);
        let stopped = || taken.control.stopped().is_some();
        values.give((run, taken.attempt()), inputs, plan.wants(), name, &stopped)
    }

    /// Keeps the long value of a process that has succeeded. One that others read as a file gets there
    /// only while the attempt is certainly still this worker's.
    fn keep(&self, taken: &Taken, term: Term, instance: InstanceId, mut ended: Ended) -> Ended {
        let work = &taken.work;
        let value = ended.detail.as_mut().and_then(|detail| detail.value.take());
        let (Some(value), Some(detail)) = (value, &mut ended.detail) else { return ended };
        let keeping = work.plan.keeping();
        let is_file = matches!(keeping, Some((_, Keep::File, _))) && value.len() > INLINE;
        let lease = &self.runner.caller.records.lease;
        let is_stopped = || taken.control.stopped().is_some();
        let may = || if is_file { lease.hold(term, &is_stopped) } else { !is_stopped() };
        let stopped = |mut ended: Ended| {
            let Fault(outcome, reason) = Fault::stopped(&taken.control);
            ended.outcome = outcome;
            ended.detail = Some(Box::new(Detail { reason, ..Detail::default() }));
            ended
        };
        if is_file && !may() {
            return stopped(ended);
        }
        let kept = match keeping {
            Some((task, keep, run_dir)) => {
                let id = ValueId { run: work.assignment.run, instance };
                let of = Keeping { id, task, keep, run_dir, may: &may };
                self.runner.caller.keeper.keep(&of, value)
            }
            None => Ok(value),
        };
        match kept {
            Ok(value) => detail.value = Some(value),
            Err(_) if is_stopped() => return stopped(ended),
            Err(reason) => {
                let detail = Detail { reason, ..Detail::default() };
                ended.outcome = Outcome::Failed(FailureKind::Capture);
                ended.detail = Some(Box::new(detail));
            }
        }
        ended
    }

    fn call(
        self: &Arc<Shared>,
        calling: Calling,
        inputs: &[Input],
        owner: Owner,
        taken: &Taken,
    ) -> Ended {
        let (place, attempt) = (taken.place, taken.attempt());
        let begin = |calling: &Calling| {
            let (timeout, grace) = (calling.timeout, calling.grace);
            self.watch.begin(place, attempt, timeout, grace, || self.abandoning());
        };
        let at = Surroundings {
            owner,
            log: taken.work.log.as_ref(),
            log_limit: self.runner.log_limit(),
            control: &taken.control,
            width: taken.width,
            begin: &begin,
        };
        let ended = self.runner.caller.call(calling, inputs, &at);
        self.watch.end(place);
        ended
    }

    /// Stops an attempt.
    fn stop(self: &Arc<Shared>, running: &Running, why: Stop) {
        running.control.stop(why);
        if self.watch.is_call(running.place) {
            self.watch.nudge(|| self.abandoning());
        }
    }

    /// Reports the end of an attempt whose function continues and keeps its place.
    fn abandoning(self: &Arc<Shared>) -> Abandon {
        let shared = Arc::downgrade(self);
        Box::new(move |attempt, ended| {
            let Some(shared) = Weak::upgrade(&shared) else { return };
            let is_first = shared.lock().end(attempt);
            if is_first {
                shared.report(attempt, ended);
            }
        })
    }

    /// Frees an attempt's slots, and takes what now fits. Also returns whether its end is still to
    /// be reported.
    fn release(&self, taken: &Taken) -> (Vec<Taken>, bool) {
        let mut state = self.lock();
        let is_first = state.end(taken.attempt());
        state.vacate(taken);
        (state.take_all(), is_first)
    }

    fn report(&self, attempt: AttemptId, mut ended: Ended) {
        if self.leaving.load(Ordering::Acquire) && is_notice(ended.outcome) {
            ended.outcome = Outcome::Preempted;
        }
        (self.sink)(Report {
            first: attempt,
            count: 1,
            outcome: ended.outcome,
            started: ended.started,
            finished: ended.finished,
            detail: ended.detail,
            items: None,
        });
        self.free(attempt);
    }

    fn free(&self, attempt: AttemptId) {
        let mut state = self.lock();
        state.running.remove(&attempt);
        // A wake-up costs a system call even when nobody waits.
        if state.waiting > 0 {
            self.ended.notify_all();
        }
    }
}
