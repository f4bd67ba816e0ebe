//! What clients may see of a live run, all of it on disk already, and its observers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};

use dagrun_core::ids::{RunId, TaskId, Timestamp};
use dagrun_core::status::{Counts, Failure, RunState, RunStatus, State, TaskStatus};
use dagrun_schema::wire::{Ended, TaskDelta, Update};
use tokio::sync::Notify;

/// Failures that are kept for observers that attach later, and sent in one update.
pub(crate) const FAILURES: usize = 16;

/// Ranges of ended instances that are kept for a slow observer.
const ENDED: usize = 16_384;

/// The public side of a run.
pub(crate) struct Published {
    run: RunId,
    name: String,
    started: Timestamp,
    task_names: Vec<String>,
    tasks: RefCell<Vec<TaskDelta>>,
    state: Cell<RunState>,
    finished: Cell<Option<Timestamp>>,
    /// The first failures of the run.
    failures: RefCell<Vec<Failure>>,
    /// Why the run cannot continue, although it has not ended.
    problem: RefCell<Option<String>>,
    /// Why nothing of it is started for now; empty otherwise.
    waiting: RefCell<String>,
    workers: Rc<Cell<u32>>,
    observers: RefCell<Vec<Weak<ObserverState>>>,
}

/// What one observer has not been sent yet.
pub(crate) struct ObserverState {
    published: Rc<Published>,
    dirty: RefCell<BTreeSet<TaskId>>,
    failures: RefCell<Vec<Failure>>,
    /// Instances that have ended; `None` when it has not asked for them.
    instances: Option<RefCell<Instances>>,
    changed: Notify,
    /// Notified of events that programs wait for.
    hurry: Notify,
}

/// Ended instances that an observer has not been sent yet.
#[derive(Default)]
struct Instances {
    ended: Vec<Ended>,
    /// Whether there were more than are kept.
    lost: bool,
}

impl Instances {
    fn push(&mut self, ended: Ended) {
        if self.ended.len() >= ENDED {
            self.ended.clear();
            self.lost = true;
        }
        if self.lost {
            return;
        }
        if let Some(last) = self.ended.last_mut()
            && (last.task, last.state) == (ended.task, ended.state)
            && last.first + last.count == ended.first
        {
            last.count += ended.count;
        } else {
            self.ended.push(ended);
        }
    }
}

impl Published {
    /// `tasks` holds for each task its name, its instances by state, and whether their number is
    /// known.
    pub(super) fn new(
        run: RunId,
        name: String,
        started: Timestamp,
        tasks: Vec<(String, Counts, bool)>,
        workers: Rc<Cell<u32>>,
    ) -> Published {
        let delta = |task: u32, counts, width_known| TaskDelta {
            task: TaskId(task),
            counts,
            running: 0,
            width_known,
        };
        let tasks = (0..).zip(tasks);
        let (task_names, counts) =
            tasks.map(|(task, (name, counts, known))| (name, delta(task, counts, known))).unzip();
        Published {
            run,
            name,
            started,
            task_names,
            tasks: RefCell::new(counts),
            state: Cell::new(RunState::Running),
            finished: Cell::new(None),
            failures: RefCell::default(),
            problem: RefCell::default(),
            waiting: RefCell::default(),
            workers,
            observers: RefCell::default(),
        }
    }

    /// The run by task, or why it cannot continue.
    pub(crate) fn status(&self) -> Result<RunStatus, String> {
        if let Some(problem) = &*self.problem.borrow() {
            return Err(problem.clone());
        }
        let deltas = self.tasks.borrow();
        let tasks = self.task_names.iter().zip(&*deltas);
        let tasks = tasks.map(|(name, delta)| TaskStatus {
            name: name.clone(),
            counts: delta.counts,
            running: delta.running,
            width_known: delta.width_known,
            partial: 0,
            note: String::new(),
        });
        Ok(RunStatus {
            run: self.run,
            name: self.name.clone(),
            state: self.state.get(),
            started: self.started,
            finished: self.finished.get(),
            tasks: tasks.collect(),
            waiting: self.waiting.borrow().clone(),
        })
    }

    /// Why the run cannot continue, if it cannot.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.borrow().clone()
    }

    /// The position and width of a task; the width is zero as long as it is not known.
    pub(crate) fn task(&self, name: &str) -> Option<(TaskId, u32)> {
        let at = self.task_names.iter().position(|task| task == name)?;
        let delta = *self.tasks.borrow().get(at)?;
        Some((delta.task, delta.counts.total()))
    }

    /// A new observer, which has been sent nothing yet. With `detailed` it is sent the instances
    /// that end from now on; those that already have are in the history.
    pub(crate) fn observe(self: &Rc<Self>, detailed: bool) -> Rc<ObserverState> {
        let tasks = u32::try_from(self.task_names.len()).unwrap_or(u32::MAX);
        let observer = Rc::new(ObserverState {
            published: Rc::clone(self),
            dirty: RefCell::new((0..tasks).map(TaskId).collect()),
            failures: RefCell::new(self.failures.borrow().clone()),
            instances: detailed
                .then(|| RefCell::new(Instances { lost: true, ..Instances::default() })),
            changed: Notify::new(),
            hurry: Notify::new(),
        });
        observer.changed.notify_one();
        if self.is_over() {
            observer.hurry.notify_one();
        }
        let mut observers = self.observers.borrow_mut();
        observers.retain(|observer| observer.strong_count() > 0);
        observers.push(Rc::downgrade(&observer));
        observer
    }

    fn is_over(&self) -> bool {
        self.state.get() != RunState::Running || self.problem.borrow().is_some()
    }

    pub(super) fn set_counts(&self, delta: TaskDelta) {
        let before =
            self.tasks.borrow_mut().get_mut(delta.task.at()).map(|to| std::mem::replace(to, delta));
        let is_news = before.is_some_and(|before| {
            has_ended(&delta) && !has_ended(&before) || has_failed(&delta) && !has_failed(&before)
        });
        self.notify(|observer| {
            observer.dirty.borrow_mut().insert(delta.task);
            if is_news {
                observer.hurry.notify_one();
            }
        });
    }

    pub(super) fn fail(&self, failure: Failure) {
        self.notify(|observer| push_bounded(&observer.failures, failure.clone()));
        push_bounded(&self.failures, failure);
    }

    /// Whether any observer asked for the instances that have ended.
    pub(super) fn is_detailed(&self) -> bool {
        let observers = self.observers.borrow();
        observers.iter().filter_map(Weak::upgrade).any(|observer| observer.instances.is_some())
    }

    pub(super) fn instances_ended(&self, ended: Ended) {
        for observer in self.observers.borrow().iter().filter_map(Weak::upgrade) {
            if let Some(instances) = &observer.instances {
                instances.borrow_mut().push(ended);
            }
        }
    }

    /// The number of workers has changed.
    pub(super) fn workers_changed(&self) {
        self.notify(|_| ());
    }

    pub(super) fn end(&self, state: RunState, finished: Timestamp) {
        self.state.set(state);
        self.finished.set(Some(finished));
        self.notify(|observer| observer.hurry.notify_one());
    }

    /// Nothing of it is started for now, for this reason; or things go on, without one.
    pub(super) fn wait(&self, why: &str) {
        why.clone_into(&mut self.waiting.borrow_mut());
        self.notify(|observer| observer.hurry.notify_one());
    }

    pub(super) fn stop(&self, problem: &str) {
        *self.problem.borrow_mut() = Some(problem.to_owned());
        self.notify(|observer| observer.hurry.notify_one());
    }

    fn notify(&self, what: impl Fn(&ObserverState)) {
        for observer in self.observers.borrow().iter().filter_map(Weak::upgrade) {
            what(&observer);
            observer.changed.notify_one();
        }
    }
}

/// Whether all instances of a task have ended.
pub(super) fn has_ended(task: &TaskDelta) -> bool {
    task.width_known && task.counts.terminal() == task.counts.total()
}

fn has_failed(task: &TaskDelta) -> bool {
    task.counts.terminal() > task.counts.of(State::Succeeded)
}

fn push_bounded(failures: &RefCell<Vec<Failure>>, failure: Failure) {
    let mut failures = failures.borrow_mut();
    if failures.len() < FAILURES {
        failures.push(failure);
    }
}

impl ObserverState {
    /// Waits until there is something to send.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until a task or the run is over, or the first instance of a task has failed.
    pub(crate) async fn hurry(&self) {
        self.hurry.notified().await;
    }

    /// Whether the run is over.
    pub(crate) fn is_over(&self) -> bool {
        self.published.is_over()
    }

    /// Why the run cannot continue, if it cannot.
    pub(crate) fn problem(&self) -> Option<String> {
        self.published.problem()
    }

    /// Whether it asked for the instances that have ended.
    pub(crate) fn is_detailed(&self) -> bool {
        self.instances.is_some()
    }

    /// Takes everything not sent yet, merged; it counts as sent from now on.
    pub(crate) fn take(&self) -> Update {
        let published = &self.published;
        let dirty = std::mem::take(&mut *self.dirty.borrow_mut());
        let tasks = published.tasks.borrow();
        let instances = self.instances.as_ref().map(RefCell::take).unwrap_or_default();
        let changed = dirty.into_iter().filter_map(|task| tasks.get(task.at()).copied());
        Update {
            state: published.state.get(),
            finished: published.finished.get(),
            tasks: changed.collect(),
            failures: std::mem::take(&mut *self.failures.borrow_mut()),
            workers: published.workers.get(),
            ended: instances.ended,
            ended_lost: instances.lost,
            waiting: published.waiting.borrow().clone(),
        }
    }
}
