//! The commands for the writing thread. It sleeps while a group of records gathers, and is woken
//! early only for urgent commands: waking it for each record would cost more than the record.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Command;
use super::group::is_asked;

/// This many records do not wait for more: about as many as a transaction holds.
pub(super) const ENOUGH: usize = 1_000;

/// How soon a command must be on disk. After a pause everything is written at once. The levels
/// matter while records keep coming, since each commit takes time from the attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Haste {
    /// Nobody waits for this in particular.
    #[default]
    Whenever,
    /// Programs wait for this.
    Soon,
    /// Nothing continues before this.
    Now,
}

impl Haste {
    /// The least time from the last commit to the next.
    fn pause(self) -> Duration {
        match self {
            Haste::Whenever => Duration::from_millis(100),
            Haste::Soon => Duration::from_millis(10),
            Haste::Now => Duration::ZERO,
        }
    }
}

/// Commands on their way to the writing thread, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    commands: VecDeque<Command>,
    /// Records among them.
    records: usize,
    /// Whether a client waits for any of them.
    asked: bool,
    /// The haste of the most urgent command.
    haste: Haste,
    /// No more commands will come.
    closed: bool,
    /// Whether the thread has ended, so that nobody takes commands any more.
    abandoned: bool,
    /// What the thread waits for, if it is waiting.
    waiting: Option<Waiting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// Anything.
    Idle,
    /// More commands, since nothing is more urgent than this.
    Gathering(Haste),
    /// Space on the disk; who asks is answered all the same.
    Space,
}

impl State {
    /// The least time from the last commit to the next.
    fn pause(&self) -> Duration {
        match self.closed || self.records >= ENOUGH {
            true => Duration::ZERO,
            false => self.haste.pause(),
        }
    }

    /// Takes all commands.
    fn empty(&mut self) -> VecDeque<Command> {
        self.waiting = None;
        (self.records, self.asked, self.haste) = (0, false, Haste::default());
        std::mem::take(&mut self.commands)
    }

    /// Whether the thread must be woken for the commands in the queue.
    fn wakes(&self) -> bool {
        match self.waiting {
            None => false,
            Some(Waiting::Idle) => true,
            Some(Waiting::Gathering(than)) => self.pause() < than.pause(),
            Some(Waiting::Space) => self.asked,
        }
    }
}

fn records(command: &Command) -> usize {
    match command {
        Command::Append(_, entries, _) => entries.len(),
        _ => 0,
    }
}

impl Queue {
    /// Adds a command. When the thread has ended, the command is dropped, which notifies whoever
    /// waits for its answer.
    pub(super) fn push(&self, command: Command, haste: Haste) {
        let mut state = self.lock();
        if state.abandoned {
            return;
        }
        state.records += records(&command);
        state.asked |= is_asked(&command);
        state.haste = state.haste.max(haste);
        state.commands.push_back(command);
        let wake = state.wakes();
        drop(state);
        if wake {
            self.changed.notify_one();
        }
    }

    /// Lets the thread end when it has done everything.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// The receiving end, for the one thread that takes commands.
    pub(super) fn taker(self: &Arc<Self>) -> Taker {
        Taker(Arc::clone(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The receiving end of the queue.
pub(super) struct Taker(Arc<Queue>);

impl Taker {
    /// Waits for commands, and for more of them as long as their haste permits since the last
    /// commit. `None` after the last command.
    pub(super) fn take(&self, last_commit: Option<Instant>) -> Option<VecDeque<Command>> {
        let Queue { changed, .. } = &*self.0;
        let mut state = self.0.lock();
        while state.commands.is_empty() {
            if state.closed {
                return None;
            }
            state.waiting = Some(Waiting::Idle);
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let since = last_commit.map_or(Duration::MAX, |last| last.elapsed());
        let started = Instant::now();
        loop {
            let left = state.pause().saturating_sub(since).saturating_sub(started.elapsed());
            if left.is_zero() {
                break;
            }
            state.waiting = Some(Waiting::Gathering(state.haste));
            let waited = changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(state.empty())
    }

    /// Waits for so long, unless a client asks for something or no more commands will come. Then all
    /// that has come meanwhile, and whether no more will come.
    pub(super) fn pause(&self, pause: Duration) -> (VecDeque<Command>, bool) {
        let mut state = self.0.lock();
        let started = Instant::now();
        while !state.closed && !state.asked {
            let left = pause.saturating_sub(started.elapsed());
            if left.is_zero() {
                break;
            }
            state.waiting = Some(Waiting::Space);
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        (state.empty(), state.closed)
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.abandoned = true;
        state.commands.clear();
    }
}

#[cfg(test)]
mod tests {
    use dagrun_core::ids::{Timestamp, WorkerId};
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn patient() -> Command {
        Command::Left { worker: WorkerId(1), at: Timestamp(1), lost: false }
    }

    fn len(commands: Option<VecDeque<Command>>) -> Option<usize> {
        commands.map(|commands| commands.len())
    }

    #[test]
    fn what_has_gathered_comes_at_once_when_there_was_a_pause() {
        let queue = Arc::new(Queue::default());
        queue.push(patient(), Haste::Whenever);
        queue.push(patient(), Haste::Whenever);
        assert_eq!(len(queue.taker().take(None)), Some(2));
    }

    #[test]
    fn what_is_urgent_takes_along_what_waited() {
        let queue = Arc::new(Queue::default());
        queue.push(patient(), Haste::Whenever);
        assert!(queue.lock().pause() > Duration::ZERO);
        queue.push(patient(), Haste::Now);
        assert_eq!(queue.lock().pause(), Duration::ZERO);
        assert_eq!(len(queue.taker().take(Some(Instant::now()))), Some(2));
        assert_eq!(queue.lock().haste, Haste::Whenever);
    }

    #[test]
    fn the_thread_is_woken_for_what_cannot_wait() {
        let gathering = Some(Waiting::Gathering(Haste::Whenever));
        let wakes = |waiting, haste| State { waiting, haste, ..State::default() }.wakes();
        assert!(wakes(Some(Waiting::Idle), Haste::Whenever));
        assert!(!wakes(gathering, Haste::Whenever));
        assert!(wakes(gathering, Haste::Soon) && wakes(gathering, Haste::Now));
        assert!(!wakes(Some(Waiting::Gathering(Haste::Soon)), Haste::Soon));
        let many = State { waiting: gathering, records: ENOUGH, ..State::default() };
        assert!(many.wakes());
        assert!(!wakes(None, Haste::Now), "it looks before it sleeps");
    }

    #[test]
    fn after_the_last_there_is_no_more() {
        let queue = Arc::new(Queue::default());
        queue.push(patient(), Haste::Whenever);
        queue.close();
        let taker = queue.taker();
        assert_eq!(len(taker.take(None)), Some(1));
        assert!(taker.take(None).is_none());
    }

    #[test]
    fn when_the_thread_is_gone_nobody_waits_for_it() {
        let queue = Arc::new(Queue::default());
        let job = || {
            let (reply, answer) = tokio::sync::oneshot::channel();
            let submission = Arc::new(crate::Submission {
                pipeline: Vec::new(),
                base_dir: "/".into(),
                seed: 0,
                fail_fast: false,
                max_fail: None,
            });
            let new = crate::store::NewRun {
                name: String::new(),
                submission,
                started: Timestamp(1),
                tasks: Vec::new(),
                taken: None,
            };
            (Command::Begin(Box::new(new), reply), answer)
        };
        let ((before, mut answer), (after, mut other)) = (job(), job());
        queue.push(before, Haste::Now);
        drop(queue.taker());
        queue.push(after, Haste::Now);
        assert_eq!(answer.try_recv().err(), Some(TryRecvError::Closed));
        assert_eq!(other.try_recv().err(), Some(TryRecvError::Closed));
    }
}
