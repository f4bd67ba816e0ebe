//! A run as its client follows it: how many instances of each task have ended, and which.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use dagrun_core::ids::{InstanceId, RunId, TaskId, Timestamp};
use dagrun_core::status::{Counts, InstanceResult, RunState};
use dagrun_schema::wire::{TaskDelta, Update};
use tokio::sync::{Mutex, Notify};
use tokio::task::AbortHandle;

use crate::Error;
use crate::deaths::Deaths;
use crate::rpc::{self, ClientError, Scope, Updates};

/// Instances asked for at once.
const PAGE: u32 = 1_024;

/// So many instances that have ended are worth being taken in while others run.
const MUCH: u32 = 4 * PAGE;

/// A run that is followed. It is not followed any more when it is dropped.
pub(crate) struct Watched {
    pub(crate) run: rpc::Run,
    /// How the worker processes of this program ended.
    pub(crate) deaths: Option<Arc<Deaths>>,
    names: Vec<String>,
    seen: Rc<Seen>,
    /// Whether the updates report which instances have ended; they do from when somebody wants to know.
    /// Locked by whoever asks which have ended already.
    detailed: Mutex<bool>,
    follower: RefCell<AbortHandle>,
}

/// What the updates have reported.
#[derive(Default)]
struct Seen {
    state: Cell<Option<RunState>>,
    finished: Cell<Option<Timestamp>>,
    tasks: RefCell<HashMap<TaskId, TaskDelta>>,
    /// The instances that have ended, of the tasks where somebody wants to know.
    ended: RefCell<HashMap<TaskId, EndedSet>>,
    /// How often updates have left out instances that have ended.
    gaps: Cell<u64>,
    lost: Cell<bool>,
    changed: Notify,
}

/// The instances of a task that have ended.
#[derive(Default)]
struct EndedSet {
    bits: Vec<u64>,
    /// In the order in which this was learnt.
    order: Vec<u32>,
    /// Of how many gaps in the updates it knows what they left out; at first it knows nothing.
    filled: Option<u64>,
}

impl EndedSet {
    fn insert(&mut self, index: u32) {
        let (word, bit) = (index as usize / 64, 1u64 << (index % 64));
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        if self.bits[word] & bit == 0 {
            self.bits[word] |= bit;
            self.order.push(index);
        }
    }

    fn contains(&self, index: u32) -> bool {
        let word = self.bits.get(index as usize / 64).copied().unwrap_or(0);
        word & (1 << (index % 64)) != 0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.follower.borrow().abort();
    }
}

impl Watched {
    pub(crate) async fn new(
        run: rpc::Run,
        deaths: Option<Arc<Deaths>>,
    ) -> Result<Rc<Watched>, Error> {
        let updates = run.watch().await?;
        let names = run.status().await?.tasks.into_iter().map(|task| task.name).collect();
        let seen = Rc::new(Seen::default());
        let follower = RefCell::new(follow(updates, Rc::clone(&seen)));
        Ok(Rc::new(Watched { run, deaths, names, seen, detailed: Mutex::new(false), follower }))
    }

    /// The name of a task.
    pub(crate) fn name(&self, task: TaskId) -> Result<&str, Error> {
        let unknown = || Error::Unknown { run: self.run.id(), what: format!("task {task}") };
        self.names.get(task.at()).map(String::as_str).ok_or_else(unknown)
    }

    /// The task of this name.
    pub(crate) fn find(&self, name: &str) -> Option<TaskId> {
        (0..).map(TaskId).zip(&self.names).find(|(_, known)| *known == name).map(|(id, _)| id)
    }

    /// The result of one instance, once it has ended.
    pub(crate) async fn result(&self, task: TaskId, index: u32) -> Result<InstanceResult, Error> {
        let there = match self.is_single(task).await? {
            true => index < self.task_ended(task).await?.total(),
            false => self.has_ended(task, index).await?,
        };
        let mut found = match there {
            true => self.run.results(task, index, 1).await?,
            false => Vec::new(),
        };
        let what = || format!("instance {}[{index}]", self.names[task.at()]);
        found.pop().ok_or_else(|| Error::Unknown { run: self.run.id(), what: what() })
    }

    /// Waits until an instance has ended; false when there is no such instance.
    async fn has_ended(&self, task: TaskId, index: u32) -> Result<bool, Error> {
        self.learnt(task, |seen| {
            let width = seen.all_ended(task).map(|counts| counts.total());
            let ended = seen.ended.borrow().get(&task).is_some_and(|set| set.contains(index));
            match (ended, width) {
                (true, _) => Some(true),
                (false, Some(width)) => Some(index < width),
                (false, None) => None,
            }
        })
        .await
    }

    /// Whether a task has one instance and no more, as far as this is known.
    async fn is_single(&self, task: TaskId) -> Result<bool, Error> {
        self.name(task)?;
        self.until(|seen| {
            let delta = *seen.tasks.borrow().get(&task)?;
            Some(delta.width_known && delta.counts.total() == 1)
        })
        .await
    }

    /// Whether a task is known to have one instance and no more.
    pub(crate) fn is_one(&self, task: TaskId) -> bool {
        let tasks = self.seen.tasks.borrow();
        tasks.get(&task).is_some_and(|task| task.width_known && task.counts.total() == 1)
    }

    /// Waits until `known` says what was waited for.
    async fn until<T>(&self, mut known: impl FnMut(&Seen) -> Option<T>) -> Result<T, Error> {
        loop {
            let changed = self.seen.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(known) = known(&self.seen) {
                return Ok(known);
            }
            if self.seen.lost.get() {
                return Err(ClientError::Lost.into());
            }
            changed.await;
        }
    }

    /// Cancels a part of the run, unless it has ended meanwhile.
    pub(crate) async fn cancel(&self, scope: Scope<&str>) -> Result<(), Error> {
        let Err(refused) = self.run.cancel(scope).await else { return Ok(()) };
        match self.run.status().await?.state {
            RunState::Running => Err(refused.into()),
            _ => Ok(()),
        }
    }

    /// Waits for the end of the run.
    pub(crate) async fn over(&self) -> Result<RunState, Error> {
        self.until(|seen| seen.state.get().filter(|state| *state != RunState::Running)).await
    }

    /// When the run has ended, if it has.
    pub(crate) fn finished(&self) -> Option<Timestamp> {
        self.seen.finished.get()
    }

    /// What is known of the tasks.
    pub(crate) fn tasks(&self) -> Vec<TaskDelta> {
        let tasks = self.seen.tasks.borrow();
        (0..).map(TaskId).zip(&self.names).filter_map(|(id, _)| tasks.get(&id).copied()).collect()
    }

    /// Waits until all instances of a task have ended, and says how.
    pub(crate) async fn task_ended(&self, task: TaskId) -> Result<Counts, Error> {
        self.name(task)?;
        self.until(|seen| seen.all_ended(task)).await
    }

    /// Waits until some instance of a task has failed for good, or all have ended.
    pub(crate) async fn task_failed(&self, task: TaskId) -> Result<(), Error> {
        self.name(task)?;
        let known = |seen: &Seen| seen.some_failed(task) || seen.all_ended(task).is_some();
        self.until(|seen| known(seen).then_some(())).await
    }

    /// Results of a task from `first` on, when all its instances have ended. What has ended without a gap
    /// comes earlier when there is much of it, or when one has failed. None when the task has no more instances.
    pub(crate) async fn all(&self, task: TaskId, first: u32) -> Result<Vec<InstanceResult>, Error> {
        self.name(task)?;
        let width = self.until(|seen| {
            let delta = *seen.tasks.borrow().get(&task)?;
            let much = delta.counts.terminal() >= first.saturating_add(MUCH);
            let all = seen.all_ended(task).map(|counts| Some(counts.total()));
            all.or((much || seen.some_failed(task)).then_some(None))
        });
        match width.await? {
            Some(width) if first < width => {
                Ok(self.run.results(task, first, PAGE.min(width - first)).await?)
            }
            Some(_) => Ok(Vec::new()),
            None => self.in_order(task, first).await,
        }
    }

    /// The results of a task from `first` on, as far as they have ended without a gap: waits for the first of
    /// them. None when the task has no more instances.
    pub(crate) async fn in_order(
        &self,
        task: TaskId,
        first: u32,
    ) -> Result<Vec<InstanceResult>, Error> {
        let limit = self.learnt(task, |seen| {
            let width = seen.all_ended(task).map(|counts| counts.total());
            let ended = seen.ended.borrow();
            let ended = ended.get(&task)?;
            let run = (first..).take(PAGE as usize).take_while(|index| ended.contains(*index));
            let limit = u32::try_from(run.count()).unwrap_or(PAGE);
            match (limit, width) {
                (0, Some(width)) if first < width => Some(PAGE.min(width - first)),
                (0, Some(_)) => Some(0),
                (0, None) => None,
                (limit, _) => Some(limit),
            }
        });
        match limit.await? {
            0 => Ok(Vec::new()),
            limit => Ok(self.run.results(task, first, limit).await?),
        }
    }

    /// The results of a task from the `from`-th that has ended on, in the order in which they ended:
    /// waits for the first of them. None when there are no more.
    pub(crate) async fn as_completed(
        &self,
        task: TaskId,
        from: usize,
    ) -> Result<Vec<InstanceResult>, Error> {
        let indices = self.learnt(task, |seen| {
            let ended = seen.ended.borrow();
            let order = &ended.get(&task)?.order;
            let next = order.iter().skip(from).take(PAGE as usize).copied().collect::<Vec<u32>>();
            let all = seen.all_ended(task).map(|counts| counts.total() as usize);
            // The last instances may be known by number before they are known by name.
            (!next.is_empty() || all.is_some_and(|all| from >= all)).then_some(next)
        });
        let indices = indices.await?;
        let mut results = Vec::with_capacity(indices.len());
        let mut rest = indices.as_slice();
        while let Some(&first) = rest.first() {
            let run = rest.iter().zip(first..).take_while(|(index, at)| **index == *at).count();
            let limit = u32::try_from(run).unwrap_or(1);
            let found = self.run.results(task, first, limit).await?;
            if found.is_empty() {
                break;
            }
            rest = rest.get(found.len()..).unwrap_or_default();
            results.extend(found);
        }
        Ok(results)
    }

    /// Waits until `known` says what was waited for, of a task of which it is known which instances
    /// have ended.
    async fn learnt<T>(
        &self,
        task: TaskId,
        mut known: impl FnMut(&Seen) -> Option<T>,
    ) -> Result<T, Error> {
        loop {
            self.learn(task).await?;
            let learnt = self.until(|seen| match seen.knows_ended(task) {
                true => known(seen).map(Some),
                false => Some(None),
            });
            if let Some(learnt) = learnt.await? {
                return Ok(learnt);
            }
        }
    }

    /// Sees to it that it is known which instances of a task have ended.
    async fn learn(&self, task: TaskId) -> Result<(), Error> {
        self.name(task)?;
        if self.seen.knows_ended(task) {
            return Ok(());
        }
        // One asks for all who wait.
        let mut detailed = self.detailed.lock().await;
        if self.seen.knows_ended(task) {
            return Ok(());
        }
        if !*detailed {
            let updates = self.run.watch_instances().await?;
            self.follower.replace(follow(updates, Rc::clone(&self.seen))).abort();
            *detailed = true;
        }
        // What ends from here on is reported; what ended before is in the history.
        let gaps = self.seen.gaps.get();
        self.seen.ended.borrow_mut().entry(task).or_default();
        let mut from = Some(InstanceId { task, index: 0 });
        while let Some(at) = from.filter(|at| at.task == task) {
            let page = self.run.instances(at, 10_000, false).await?;
            let mut ended = self.seen.ended.borrow_mut();
            let set = ended.entry(task).or_default();
            let done = page.rows.iter().filter(|row| row.instance.task == task);
            done.filter(|row| row.state.is_terminal())
                .for_each(|row| set.insert(row.instance.index));
            from = page.next;
        }
        self.seen.ended.borrow_mut().entry(task).or_default().filled = Some(gaps);
        self.seen.changed.notify_waiters();
        Ok(())
    }
}

/// Takes updates in as they come.
fn follow(mut updates: Updates, seen: Rc<Seen>) -> AbortHandle {
    let follower = tokio::task::spawn_local(async move {
        while let Some(update) = updates.next().await {
            let over = update.state != RunState::Running;
            seen.take(update);
            if over {
                return;
            }
        }
        seen.lost.set(true);
        seen.changed.notify_waiters();
    });
    follower.abort_handle()
}

impl Seen {
    fn take(&self, update: Update) {
        for delta in update.tasks {
            self.tasks.borrow_mut().insert(delta.task, delta);
        }
        let mut ended = self.ended.borrow_mut();
        if update.ended_lost {
            self.gaps.set(self.gaps.get() + 1);
        }
        for range in update.ended {
            if let Some(set) = ended.get_mut(&range.task) {
                (range.first..range.first.saturating_add(range.count)).for_each(|i| set.insert(i));
            }
        }
        drop(ended);
        self.finished.set(update.finished);
        self.state.set(Some(update.state));
        self.changed.notify_waiters();
    }

    /// Whether it is known of every instance of a task whether it has ended, as far as it was reported.
    fn knows_ended(&self, task: TaskId) -> bool {
        self.ended.borrow().get(&task).is_some_and(|set| set.filled == Some(self.gaps.get()))
    }

    fn some_failed(&self, task: TaskId) -> bool {
        use dagrun_core::status::State::{Cancelled, Failed, Skipped};
        let tasks = self.tasks.borrow();
        let failed = |state| tasks.get(&task).is_some_and(|delta| delta.counts.of(state) > 0);
        [Failed, Skipped, Cancelled].into_iter().any(failed)
    }

    fn all_ended(&self, task: TaskId) -> Option<Counts> {
        let delta = *self.tasks.borrow().get(&task)?;
        let done = delta.width_known && delta.counts.terminal() == delta.counts.total();
        done.then_some(delta.counts)
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let run: RunId = self.run.id();
        f.debug_struct("Watched").field("run", &run).finish_non_exhaustive()
    }
}
