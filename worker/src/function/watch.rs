//! Ends calls that were asked to end and do not.
//!
//! A function cannot be killed without its process. When its time is up its token is set, and when
//! it has not returned within `grace` after that (or after it was cancelled), its attempt's end is
//! reported without it. The slot stays occupied until it returns. One thread watches all slots; it
//! starts with the first call that needs watching.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dagrun_core::engine::Outcome;
use dagrun_core::ids::{AttemptId, Micros};
use dagrun_core::status::Detail;

use super::call::stopped;
use crate::attempt::Ended;
use crate::control::{Control, Stop};
use dagrun_disk::clock;

/// Called when an attempt has ended without its function having returned.
pub(crate) type Abandon = Box<dyn Fn(AttemptId, Ended) + Send>;

/// The calls that run, by the place of their slot.
pub(crate) struct Watch {
    calls: Vec<Mutex<Option<Watched>>>,
    controls: Vec<Arc<Control>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: bool,
    closed: bool,
    /// When the thread checks again.
    until: Option<Instant>,
}

/// A call that runs.
struct Watched {
    attempt: AttemptId,
    timeout: Option<Micros>,
    deadline: Option<Instant>,
    grace: Duration,
    /// When its end is reported without it.
    last: Option<Instant>,
}

impl Watch {
    /// Watches the slots of these controls.
    pub(crate) fn new(controls: Vec<Arc<Control>>) -> Watch {
        let calls = controls.iter().map(|_| Mutex::default()).collect();
        Watch { calls, controls, state: Mutex::default(), changed: Condvar::new() }
    }

    /// A call begins.
    pub(crate) fn begin(
        self: &Arc<Watch>,
        place: usize,
        attempt: AttemptId,
        timeout: Option<Micros>,
        grace: Micros,
        abandon: impl FnOnce() -> Abandon,
    ) {
        let span = |micros: Micros| Duration::from_micros(micros.0);
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(span(timeout)));
        let watched = Watched { attempt, timeout, deadline, grace: span(grace), last: None };
        *lock(&self.calls[place]) = Some(watched);
        // It may have been stopped just before.
        let stopped = self.controls[place].stopped().map(|_| Instant::now());
        if let Some(when) = stopped.or(deadline) {
            self.look_by(when, abandon);
        }
    }

    /// A call has ended.
    pub(crate) fn end(&self, place: usize) {
        *lock(&self.calls[place]) = None;
    }

    /// Whether a call runs there; none does beside the slots.
    pub(crate) fn is_call(&self, place: usize) -> bool {
        self.calls.get(place).is_some_and(|call| lock(call).is_some())
    }

    /// A call was asked to end.
    pub(crate) fn nudge(self: &Arc<Watch>, abandon: impl FnOnce() -> Abandon) {
        self.look_by(Instant::now(), abandon);
    }

    /// Ensures that the thread checks the calls at that time at the latest.
    fn look_by(self: &Arc<Watch>, when: Instant, abandon: impl FnOnce() -> Abandon) {
        let mut state = lock(&self.state);
        if state.until.is_some_and(|until| until <= when) {
            return;
        }
        state.until = Some(when);
        if state.running {
            self.changed.notify_one();
            return;
        }
        let (watch, abandon) = (self.clone(), abandon());
        let thread = std::thread::Builder::new().name("slots-watch".into());
        // Without it calls end when they return.
        state.running = thread.spawn(move || watch.run(&abandon)).is_ok();
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_one();
    }

    fn run(&self, abandon: &Abandon) {
        let mut state = lock(&self.state);
        while !state.closed {
            state.until = None;
            drop(state);
            let next = self.look(abandon);
            state = lock(&self.state);
            // A deadline may have come in meanwhile.
            state.until = [state.until, next].into_iter().flatten().min();
            let now = Instant::now();
            state = match state.until {
                _ if state.closed => return,
                Some(until) if until <= now => state,
                Some(until) => {
                    let waited = self.changed.wait_timeout(state, until - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Does what is due, and returns when the next check is due.
    fn look(&self, abandon: &Abandon) -> Option<Instant> {
        let now = Instant::now();
        let mut next = None;
        for (call, control) in self.calls.iter().zip(&self.controls) {
            let mut call = lock(call);
            let Some(watched) = &mut *call else { continue };
            let due = watched.due(control, now);
            if due.is_some_and(|due| due <= now) {
                let ended = watched.given_up(control);
                let attempt = watched.attempt;
                *call = None;
                drop(call);
                abandon(attempt, ended);
            } else {
                next = [next, due].into_iter().flatten().min();
            }
        }
        next
    }
}

impl Watched {
    /// When the call is next due; once it was stopped, a time in the past means that its end must
    /// be reported.
    fn due(&mut self, control: &Control, now: Instant) -> Option<Instant> {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            control.stop(Stop::Timeout);
        }
        if control.stopped().is_none() {
            return self.deadline;
        }
        if self.last.is_none() {
            self.last = now.checked_add(self.grace);
        }
        self.last
    }

    fn given_up(&self, control: &Control) -> Ended {
        let why = control.stopped().unwrap_or(Stop::Timeout);
        let (kind, reason) = stopped(why, self.timeout);
        let reason = format!("{reason}; the function has not returned and keeps its slot");
        Ended {
            outcome: Outcome::Failed(kind),
            detail: Some(Box::new(Detail { reason, ..Detail::default() })),
            started: control.started().unwrap_or_default(),
            finished: clock::now(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
