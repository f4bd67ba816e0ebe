//! The client: it submits, follows, cancels, and asks again when the scheduler was replaced.

use std::collections::{BTreeMap, VecDeque};

use dagrun_core::engine::CancelScope;
use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::status::{RunState, State};
use dagrun_scheduler::simulated::{Disk, Observer};
use tokio::sync::oneshot;

use super::{Event, World};
use crate::faults::SECOND;
use crate::oracle::Place;
use crate::program::{Fate, Program};
use crate::random::Random;

/// A run, as the client sees it.
pub(crate) struct Asked {
    program: Program,
    submit_at: u64,
    is_submitted: bool,
    pub(super) id: Option<RunId>,
    observer: Option<Observer>,
    cancel_at: Option<u64>,
    /// The answer to a cancellation, once it was asked for.
    cancelling: Option<oneshot::Receiver<()>>,
    is_cancelled: bool,
    ended: Option<RunState>,
}

#[derive(Default)]
pub(crate) struct Client {
    runs: Vec<Asked>,
    /// Which have been submitted, in order, and have not begun.
    submitted: VecDeque<usize>,
}

impl Asked {
    pub(super) fn fate(&self, instance: InstanceId) -> Fate {
        self.program.fate(instance)
    }

    pub(super) fn may_be_cancelled(&self) -> bool {
        self.cancel_at.is_some()
    }

    /// Checks how it ended.
    pub(super) fn check(
        &self,
        run: RunId,
        state: Option<RunState>,
        ends: &BTreeMap<InstanceId, (State, u32)>,
    ) {
        if self.cancel_at.is_some() {
            // One of which all had ended already, as far as the scheduler knew, stays what it is.
            let over = self.program.fail_fast
                || ends.values().all(|(state, _)| *state != State::Cancelled);
            let holds = state == Some(RunState::Cancelled) || over;
            assert!(!self.is_cancelled || holds, "{run:?} was cancelled, and is {state:?}");
            return;
        }
        let Some(expected) = self.program.ends() else { return };
        let expected = (0..).map(TaskId).zip(expected).flat_map(|(task, states)| {
            (0..).zip(states).map(move |(index, state)| (InstanceId { task, index }, state))
        });
        let expected: BTreeMap<InstanceId, State> = expected.collect();
        let ends: BTreeMap<InstanceId, State> =
            ends.iter().map(|(instance, (state, _))| (*instance, *state)).collect();
        assert!(ends == expected, "{run:?} ended as {ends:?}, not as {expected:?}");
    }
}

impl Client {
    pub(super) fn new(
        programs: impl Iterator<Item = Program>,
        random: &mut Random,
        until: u64,
    ) -> Client {
        let mut runs: Vec<Asked> = Vec::new();
        for program in programs {
            let submit_at = if runs.is_empty() { 0 } else { random.below(until) };
            let cancel_at = random.one_in(10).then(|| random.below(until + SECOND));
            let (id, observer, cancelling, ended) = (None, None, None, None);
            let (is_submitted, is_cancelled) = (false, false);
            runs.push(Asked {
                program,
                submit_at,
                is_submitted,
                id,
                observer,
                cancel_at,
                cancelling,
                is_cancelled,
                ended,
            });
        }
        Client { runs, submitted: VecDeque::new() }
    }

    pub(super) fn runs(&self) -> &[Asked] {
        &self.runs
    }

    pub(super) fn is_done(&self) -> bool {
        self.runs.iter().all(|asked| asked.ended.is_some())
    }

    pub(super) fn situation(&self) -> String {
        let asked = |asked: &Asked| format!("{:?} {:?}", asked.id, asked.ended);
        self.runs.iter().map(asked).collect::<Vec<_>>().join(", ")
    }

    fn of(&self, run: RunId) -> Option<&Asked> {
        self.runs.iter().find(|asked| asked.id == Some(run))
    }

    pub(super) fn fate(&self, place: Place) -> Fate {
        self.of(place.0).map_or(Fate::Succeeds, |asked| asked.fate(place.1))
    }

    pub(super) fn value(&self, place: Place) -> Option<Vec<u8>> {
        self.of(place.0).and_then(|asked| asked.program.value(place.1))
    }

    /// A run that was submitted has begun.
    pub(super) fn has_begun(&mut self, run: RunId) {
        if let Some(asked) = self.submitted.pop_front().and_then(|at| self.runs.get_mut(at)) {
            asked.id = Some(run);
        }
    }

    /// The scheduler is gone, and with it all that was under way.
    pub(super) fn scheduler_ends(&mut self) {
        for asked in &mut self.runs {
            asked.observer = None;
            asked.cancelling = None;
        }
    }

    /// There is another one: what was submitted may have come to disk or not.
    pub(super) fn scheduler_starts(&mut self, disk: &Disk) {
        for at in std::mem::take(&mut self.submitted) {
            let last = self.runs.iter().filter_map(|asked| asked.id).max();
            let next = RunId(last.map_or(1, |last| last.0 + 1));
            let asked = &mut self.runs[at];
            match disk.state(next) {
                Some(_) => asked.id = Some(next),
                None => asked.is_submitted = false,
            }
        }
    }
}

impl World {
    /// The client looks how its runs are.
    pub(super) fn look(&mut self) {
        let often = if self.client.is_done() { 10 * SECOND } else { SECOND };
        let pause = self.random.within(SECOND / 100, often);
        self.schedule(pause, Event::Client);
        let (time, moment) = (self.time, self.moment());
        let Some(server) = self.server.as_mut().filter(|server| server.paused_until <= time) else {
            return;
        };
        let scheduler = &mut server.scheduler;
        for (at, asked) in self.client.runs.iter_mut().enumerate() {
            if !asked.is_submitted && asked.submit_at <= time {
                asked.is_submitted = true;
                self.client.submitted.push_back(at);
                scheduler.submit(asked.program.submission.clone(), moment);
            }
            let Some(run) = asked.id.filter(|_| asked.ended.is_none()) else { continue };
            if asked.observer.is_none() {
                asked.observer = scheduler.observe(run);
            }
            let is_final =
                |state: &RunState| !matches!(state, RunState::Running | RunState::Interrupted);
            match &asked.observer {
                Some(observer) => {
                    let update = observer.take();
                    for ended in update.ended {
                        for index in ended.first..ended.first + ended.count {
                            let instance = InstanceId { task: ended.task, index };
                            self.oracle.tell((run, instance), ended.state);
                        }
                    }
                    asked.ended = Some(update.state).filter(is_final);
                }
                None if !server.is_open => {
                    asked.ended = scheduler.state_on_disk(run).filter(is_final);
                }
                None => {}
            }
            if let Some(state) = asked.ended {
                self.oracle.tell_end(run, state);
            }
            if let Some(answer) = &mut asked.cancelling {
                // It is on disk once the answer is there; with the run it may be gone.
                if answer.try_recv().is_ok() {
                    asked.is_cancelled = true;
                    asked.cancelling = None;
                }
            } else if asked.cancel_at.is_some_and(|at| at <= time)
                && !asked.is_cancelled
                && asked.ended.is_none()
                && asked.observer.is_some()
            {
                asked.cancelling = Some(scheduler.cancel(run, CancelScope::Run));
            }
        }
        self.wake(0);
    }
}
