//! How far a run is: the last known counts of each task, what is active, how fast it goes.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use dagrun::wire::{TaskDelta, Update};
use dagrun_core::ids::{Micros, RunId, TaskId, Timestamp};
use dagrun_core::status::{Counts, Failure, RunState, RunStatus, State};
use dagrun_disk::clock;

/// A run, as far as it is known here.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Its id.
    pub(crate) run: RunId,
    /// The pipeline's name.
    pub(crate) name: String,
    /// Its state.
    pub(crate) state: RunState,
    /// Workers present.
    pub(crate) workers: u32,
    /// Why nothing of it is started for now; empty otherwise.
    pub(crate) waiting: String,
    /// Its tasks, in the pipeline's order.
    pub(crate) tasks: Vec<TaskProgress>,
    /// All instances together.
    pub(crate) total: Tally,
    /// The tasks that have begun and not ended, by position.
    pub(crate) active: BTreeSet<usize>,
    /// Instances that took more than one attempt, when the run has ended.
    pub(crate) retried: u64,
    started: Timestamp,
    finished: Option<Timestamp>,
    updated: Instant,
    speed: Speed,
}

/// A task, as far as it is known here.
#[derive(Debug)]
pub(crate) struct TaskProgress {
    /// Its name.
    pub(crate) name: String,
    /// Its instances by state.
    pub(crate) counts: Counts,
    /// How many of them run.
    pub(crate) running: u32,
    /// Whether it is known how many instances it has.
    pub(crate) width_known: bool,
    begun: Option<Instant>,
    ended: Option<Instant>,
    speed: Speed,
}

/// What a bar shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Instances, as far as they are known.
    pub(crate) total: u64,
    /// Tasks of which it is not known how many instances they have.
    pub(crate) unknown: u64,
    /// Those in a terminal state.
    pub(crate) done: u64,
    /// Those that run.
    pub(crate) running: u64,
    /// Those that wait to be tried again.
    pub(crate) retrying: u64,
    /// Those that could start.
    pub(crate) ready: u64,
    /// Those that a worker has.
    pub(crate) leased: u64,
    /// Those that failed.
    pub(crate) failed: u64,
}

/// What an update brought.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// The tasks that ended, by position.
    pub(crate) ended: Vec<usize>,
    /// Instances that failed; not all of them when there are many at once.
    pub(crate) failures: Vec<Failure>,
    /// Instances whose skip failed the run, as nothing that failed explains it: known at its end.
    pub(crate) skips: Vec<Failure>,
    /// What [`Progress::waiting`] was before, if it is another now.
    pub(crate) waited: Option<String>,
}

impl Progress {
    /// A run of which `status` is known.
    pub(crate) fn new(status: &RunStatus, now: Instant) -> Progress {
        // What has happened already comes with the first update, which has everything.
        let nothing_yet = |counts: &Counts| {
            let mut blocked = Counts::default();
            blocked.0[State::Blocked as usize] = counts.total();
            blocked
        };
        let tasks = status.tasks.iter().map(|task| TaskProgress {
            name: task.name.clone(),
            counts: nothing_yet(&task.counts),
            running: 0,
            width_known: task.width_known,
            begun: None,
            ended: None,
            speed: Speed::default(),
        });
        let tasks: Vec<TaskProgress> = tasks.collect();
        let mut total = Tally::default();
        tasks.iter().for_each(|task| total.replace(Tally::default(), task.tally()));
        Progress {
            run: status.run,
            name: status.name.clone(),
            state: RunState::Running,
            workers: 0,
            waiting: String::new(),
            tasks,
            total,
            active: BTreeSet::new(),
            retried: 0,
            started: status.started,
            finished: None,
            updated: now,
            speed: Speed::default(),
        }
    }

    /// Takes an update.
    pub(crate) fn apply(&mut self, update: Update, now: Instant) -> News {
        let failures = update.failures;
        let mut news = News { failures, ..News::default() };
        if self.waiting != update.waiting {
            news.waited = Some(std::mem::replace(&mut self.waiting, update.waiting));
        }
        self.state = update.state;
        self.finished = update.finished;
        self.workers = update.workers;
        for delta in update.tasks {
            if self.set_task(&delta, now) {
                news.ended.push(delta.task.at());
            }
        }
        self.speed.sample(self.total.done, now);
        self.updated = now;
        news
    }

    /// Whether the task has just ended.
    fn set_task(&mut self, delta: &TaskDelta, now: Instant) -> bool {
        let at = delta.task.at();
        let Some(task) = self.tasks.get_mut(at) else { return false };
        let old = task.tally();
        (task.counts, task.running) = (delta.counts, delta.running);
        task.width_known = delta.width_known;
        let new = task.tally();
        self.total.replace(old, new);
        let ended = new.is_done();
        let ran = [State::Leased, State::Backoff, State::Succeeded, State::Failed];
        let begun = ran.iter().any(|state| delta.counts.of(*state) > 0);
        if begun && task.begun.is_none() {
            task.begun = Some(if ended { self.updated } else { now });
        }
        task.speed.sample(new.done, now);
        if ended {
            self.active.remove(&at);
            return task.ended.replace(now).is_none();
        }
        if begun {
            self.active.insert(at);
        }
        false
    }

    /// A task's name, for messages.
    pub(crate) fn task_name(&self, task: TaskId) -> &str {
        self.tasks.get(task.at()).map_or("?", |task| task.name.as_str())
    }

    /// How long the run took, or has taken so far.
    pub(crate) fn elapsed(&self) -> Micros {
        self.finished.unwrap_or_else(clock::now).since(self.started)
    }

    /// Completions a second, and the time that is left, where they can be foretold.
    pub(crate) fn forecast(&self, now: Instant) -> (Option<f64>, Option<Duration>) {
        self.speed.forecast(self.total, now)
    }
}

impl TaskProgress {
    /// What its bar shows.
    pub(crate) fn tally(&self) -> Tally {
        Tally {
            total: self.counts.total().into(),
            unknown: (!self.width_known).into(),
            done: self.counts.terminal().into(),
            running: self.running.into(),
            retrying: self.counts.of(State::Backoff).into(),
            ready: self.counts.of(State::Ready).into(),
            leased: self.counts.of(State::Leased).into(),
            failed: self.counts.of(State::Failed).into(),
        }
    }

    /// How long it took, or has taken so far; `None` when nothing of it was seen to run.
    pub(crate) fn elapsed(&self) -> Option<Micros> {
        let begun = self.begun?;
        let ended = self.ended.unwrap_or_else(Instant::now);
        Some(Micros::of(ended.saturating_duration_since(begun)))
    }

    /// Completions a second, and the time that is left, where they can be foretold.
    pub(crate) fn forecast(&self, now: Instant) -> (Option<f64>, Option<Duration>) {
        self.speed.forecast(self.tally(), now)
    }
}

impl Tally {
    /// Whether nothing runs although something could.
    pub(crate) fn waits_for_workers(self) -> bool {
        self.ready > 0 && self.leased == 0 && self.running == 0
    }

    /// Whether nothing is left, nor can come.
    pub(crate) fn is_done(self) -> bool {
        self.unknown == 0 && self.done == self.total
    }

    /// How many instances there are: `12`, `12+` when more may come, `?` when nothing is known.
    pub(crate) fn total_in_words(self) -> String {
        match (self.unknown, self.total) {
            (0, total) => total.to_string(),
            (_, 0) => "?".to_owned(),
            (_, total) => format!("{total}+"),
        }
    }

    fn replace(&mut self, old: Tally, new: Tally) {
        self.total = self.total + new.total - old.total;
        self.unknown = self.unknown + new.unknown - old.unknown;
        self.done = self.done + new.done - old.done;
        self.running = self.running + new.running - old.running;
        self.retrying = self.retrying + new.retrying - old.retrying;
        self.ready = self.ready + new.ready - old.ready;
        self.leased = self.leased + new.leased - old.leased;
        self.failed = self.failed + new.failed - old.failed;
    }
}

/// Fewer completions than this say nothing about others.
const FEW: u64 = 3;

/// The completions of the last seconds.
#[derive(Debug, Default)]
struct Speed {
    samples: VecDeque<(Instant, u64)>,
}

impl Speed {
    const WINDOW: Duration = Duration::from_secs(15);
    const STEP: Duration = Duration::from_millis(500);

    fn sample(&mut self, done: u64, now: Instant) {
        let recent =
            self.samples.back().is_some_and(|(at, _)| now.duration_since(*at) < Self::STEP);
        if recent {
            return;
        }
        self.samples.push_back((now, done));
        while self.samples.len() > 2
            && self.samples.front().is_some_and(|(at, _)| now.duration_since(*at) > Self::WINDOW)
        {
            self.samples.pop_front();
        }
    }

    fn forecast(&self, tally: Tally, now: Instant) -> (Option<f64>, Option<Duration>) {
        let Some((since, then)) = self.samples.front() else { return (None, None) };
        let elapsed = now.duration_since(*since).as_secs_f64();
        let done = tally.done.saturating_sub(*then);
        // The first few say nothing about the rest.
        if done < FEW || elapsed < 0.2 {
            return (None, None);
        }
        #[allow(clippy::cast_precision_loss)]
        let rate = done as f64 / elapsed;
        #[allow(clippy::cast_precision_loss)]
        let left = (tally.total - tally.done) as f64 / rate;
        let means_something = elapsed >= 2.0 && tally.unknown == 0;
        let left = Duration::try_from_secs_f64(left).ok().filter(|_| means_something);
        (Some(rate), left)
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;
    use dagrun::wire::{TaskDelta, Update};
    use dagrun_core::ids::{RunId, TaskId, Timestamp};
    use dagrun_core::status::{Counts, RunState, RunStatus, TaskStatus};
    use std::time::{Duration, Instant};

    fn counts(ready: u32, leased: u32, succeeded: u32) -> Counts {
        Counts([0, ready, leased, 0, succeeded, 0, 0, 0])
    }

    fn two_tasks() -> RunStatus {
        let task = |name: &str, width| TaskStatus {
            name: name.to_owned(),
            counts: counts(width, 0, 0),
            running: 0,
            width_known: true,
            partial: 0,
            note: String::new(),
        };
        RunStatus {
            run: RunId(1),
            name: "test".to_owned(),
            state: RunState::Running,
            started: Timestamp(1),
            finished: None,
            tasks: vec![task("a", 100), task("b", 1)],
            waiting: String::new(),
        }
    }

    fn update(tasks: Vec<(u32, Counts)>) -> Update {
        let delta = |(task, counts)| TaskDelta {
            task: TaskId(task),
            counts,
            running: 0,
            width_known: true,
        };
        Update {
            ended: Vec::new(),
            ended_lost: false,
            waiting: String::new(),
            state: RunState::Running,
            finished: None,
            tasks: tasks.into_iter().map(delta).collect(),
            failures: Vec::new(),
            workers: 1,
        }
    }

    #[test]
    fn a_task_ends_once() {
        let now = Instant::now();
        let mut progress = Progress::new(&two_tasks(), now);
        assert_eq!(progress.apply(update(vec![(0, counts(50, 50, 0))]), now).ended, [0; 0]);
        assert!(progress.active.contains(&0));
        assert_eq!(progress.apply(update(vec![(0, counts(0, 0, 100))]), now).ended, [0]);
        assert_eq!(progress.apply(update(vec![(0, counts(0, 0, 100))]), now).ended, [0; 0]);
        assert!(progress.active.is_empty());
        assert_eq!((progress.total.done, progress.total.total), (100, 101));
    }

    #[test]
    fn the_rest_is_foretold_from_the_last_seconds() {
        let start = Instant::now();
        let mut progress = Progress::new(&two_tasks(), start);
        let later = start + Duration::from_secs(2);
        progress.apply(update(vec![(0, counts(100, 0, 0))]), start);
        progress.apply(update(vec![(0, counts(60, 0, 40))]), later);
        let (rate, left) = progress.tasks[0].forecast(later);
        assert_eq!(rate, Some(20.0));
        assert_eq!(left, Some(Duration::from_secs(3)));
    }
    #[test]
    fn a_task_of_unknown_width_is_neither_done_nor_counted() {
        let now = Instant::now();
        let mut status = two_tasks();
        status.tasks[1].counts = counts(0, 0, 0);
        status.tasks[1].width_known = false;
        let mut progress = Progress::new(&status, now);
        assert_eq!(progress.total.total_in_words(), "100+");
        assert_eq!(progress.tasks[1].tally().total_in_words(), "?");
        let later = now + Duration::from_secs(2);
        let unknown = |known: bool, counts| {
            let mut update = update(vec![(1, counts)]);
            update.tasks[0].width_known = known;
            update
        };
        assert_eq!(progress.apply(unknown(false, counts(0, 0, 0)), now).ended, [0; 0]);
        progress.apply(update(vec![(0, counts(0, 0, 100))]), later);
        // How long it takes cannot be foretold while there may be more.
        assert_eq!(progress.forecast(later).1, None);
        progress.apply(unknown(true, counts(0, 0, 0)), later);
        assert_eq!(progress.total.total_in_words(), "100");
        assert!(progress.total.is_done());
    }

    #[test]
    fn an_empty_array_ends_when_it_is_known_to_be_empty() {
        let now = Instant::now();
        let mut status = two_tasks();
        status.tasks[1].width_known = false;
        let mut progress = Progress::new(&status, now);
        let ended = progress.apply(update(vec![(1, counts(0, 0, 0))]), now).ended;
        assert_eq!(ended, [1]);
    }
}
