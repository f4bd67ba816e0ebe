//! What can be set for a task besides what it does: order, retries, limits, placement.

use std::time::Duration;

use dagrun_core::ids::{Micros, TaskId};
use dagrun_core::pipeline::{Clause, Conduct, MinSuccess, Outcomes, Quantifier, Retry, Targets};

use super::record::{Recorder, Shape, ShapeKind, Wait};
use super::{ArrayHandle, Command, Handle, Kind, TaskRef};

/// A condition on other tasks: that all of them, or any of them, succeed, or end in another way.
///
/// ```
/// use dagrun::{Dag, Dependency};
/// # #[dagrun::task]
/// # fn work(n: u32) {
/// #     let _ = n;
/// # }
/// # #[dagrun::task]
/// # fn report() {}
///
/// let dag = Dag::new("nightly");
/// let one = dag.task(work, (1,));
/// let many = dag.map(work, 2..10);
/// dag.task(report, ()).after(Dependency::any((&one, &many)).on_failure());
/// ```
#[derive(Clone, Debug)]
pub struct Dependency {
    upstreams: Vec<TaskRef>,
    quantifier: Quantifier,
    on: Outcomes,
}

impl Dependency {
    /// All instances of these tasks: a handle, a tuple or a list of handles.
    #[must_use]
    pub fn all(upstreams: impl Upstreams) -> Dependency {
        let upstreams = upstreams.upstreams();
        Dependency { upstreams, quantifier: Quantifier::All, on: Outcomes::Success }
    }

    /// At least one instance of these tasks.
    #[must_use]
    pub fn any(upstreams: impl Upstreams) -> Dependency {
        Dependency { quantifier: Quantifier::Any, ..Dependency::all(upstreams) }
    }

    /// How they must end; without it, they must succeed.
    #[must_use]
    pub fn on(mut self, outcomes: Outcomes) -> Dependency {
        self.on = outcomes;
        self
    }

    /// They must fail, be skipped or be cancelled.
    #[must_use]
    pub fn on_failure(self) -> Dependency {
        self.on(Outcomes::Failure)
    }

    /// They must end, in whatever way.
    #[must_use]
    pub fn on_finish(self) -> Dependency {
        self.on(Outcomes::Finish)
    }

    fn clause(&self, recorder: &mut Recorder<'_>) -> Clause {
        let mut upstreams = recorder.tasks(&self.upstreams);
        let mut seen = rustc_hash::FxHashSet::default();
        upstreams.retain(|upstream| seen.insert(*upstream));
        Clause { upstreams, quantifier: self.quantifier, on: self.on }
    }
}

/// Tasks to wait for: a handle, a command, a tuple of these, or a list of those of one type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no tasks",
    label = "not a handle, a tuple of handles or a list of handles"
)]
pub trait Upstreams {
    #[doc(hidden)]
    fn upstreams(self) -> Vec<TaskRef>;
}

impl<T: Into<TaskRef>> Upstreams for T {
    fn upstreams(self) -> Vec<TaskRef> {
        vec![self.into()]
    }
}

impl<T: Into<TaskRef>, const N: usize> Upstreams for [T; N] {
    fn upstreams(self) -> Vec<TaskRef> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Into<TaskRef>> Upstreams for Vec<T> {
    fn upstreams(self) -> Vec<TaskRef> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<'t, T> Upstreams for &'t [T]
where
    &'t T: Into<TaskRef>,
{
    fn upstreams(self) -> Vec<TaskRef> {
        self.iter().map(Into::into).collect()
    }
}

impl<'t, T> Upstreams for &'t Vec<T>
where
    &'t T: Into<TaskRef>,
{
    fn upstreams(self) -> Vec<TaskRef> {
        self.iter().map(Into::into).collect()
    }
}

macro_rules! upstreams {
    ($($task:ident),+) => {
        impl<$($task: Into<TaskRef>),+> Upstreams for ($($task,)+) {
            #[allow(non_snake_case)]
            fn upstreams(self) -> Vec<TaskRef> {
                let ($($task,)+) = self;
                vec![$($task.into()),+]
            }
        }
    };
}

upstreams!(A);
upstreams!(A, B);
upstreams!(A, B, C);
upstreams!(A, B, C, D);
upstreams!(A, B, C, D, E);
upstreams!(A, B, C, D, E, F);
upstreams!(A, B, C, D, E, F, G);
upstreams!(A, B, C, D, E, F, G, H);

/// What a task can wait for: a [`Dependency`], or [`Upstreams`], all of which must succeed.
pub trait IntoDependency {
    #[doc(hidden)]
    fn dependency(self) -> Dependency;
}

impl IntoDependency for Dependency {
    fn dependency(self) -> Dependency {
        self
    }
}

impl<U: Upstreams> IntoDependency for U {
    fn dependency(self) -> Dependency {
        Dependency::all(self)
    }
}

impl TaskRef {
    fn change(&self, change: impl FnOnce(&mut Conduct)) {
        self.dag.record().change(self.task, change);
    }

    fn rename(&self, name: String) {
        let mut record = self.dag.record();
        record.names.push(name.into_boxed_str());
        let at = super::record::position(record.names.len() - 1);
        if let Some(entry) = record.entries.get_mut(self.task.at()) {
            entry.name = at;
        }
    }

    fn wait(&self, dependency: &Dependency, wait: fn(Clause) -> Wait) {
        let mut record = self.dag.record();
        let known = record.problems.len();
        let clause = dependency.clause(&mut Recorder { shared: &self.dag, record: &mut record });
        // They are reported of the task that is recorded next.
        record.problems[known..].iter_mut().for_each(|problem| problem.0 = Some(self.task));
        // Where nothing is left of what was named, that has been reported.
        if !clause.upstreams.is_empty() || dependency.upstreams.is_empty() {
            record.clauses.push((self.task, wait(clause)));
        }
    }

    fn each_worker(&self) {
        let mut record = self.dag.record();
        record.change(self.task, |options| options.targets = Targets::Each);
        if record.shape(self.task).is_some() {
            // It has instances of its own, which is refused with the other options.
            return;
        }
        let at = super::record::position(record.shapes.len());
        record.shapes.push(Shape { kind: ShapeKind::EachWorker, width: None });
        if let Some(entry) = record.entries.get_mut(self.task.at()) {
            entry.shape = at;
        }
    }
}

macro_rules! options {
    ([$($generics:tt)*] $handle:ty) => {
        /// What can be set for a task. Each of these gives the handle back.
        impl<$($generics)*> $handle {
            /// Its name. Names are made of letters, digits, `_` and `-`, and are unique in the graph;
            /// without one, a task is named after what it does.
            pub fn name(self, name: impl Into<String>) -> Self {
                self.as_ref().rename(name.into());
                self
            }

            /// It starts after these tasks have succeeded; with a [`Dependency`], after what that says.
            /// Several of these must all hold.
            pub fn after(self, dependency: impl IntoDependency) -> Self {
                self.as_ref().wait(&dependency.dependency(), Wait::After);
                self
            }

            /// As `after`, and it runs where they ran.
            pub fn follow(self, dependency: impl IntoDependency) -> Self {
                self.as_ref().wait(&dependency.dependency(), Wait::Follow);
                self
            }

            /// So many extra attempts after a failure.
            pub fn retries(self, count: u32) -> Self {
                self.as_ref().change(|options| options.retry.count = count);
                self
            }

            /// Extra attempts after a failure: how many, after what, and when.
            pub fn retry(self, retry: Retry) -> Self {
                self.as_ref().change(|options| options.retry = retry);
                self
            }

            /// The longest run time of an attempt. A function is then asked to stop, see
            /// [`Context::is_cancelled`](crate::Context::is_cancelled).
            pub fn timeout(self, limit: Duration) -> Self {
                self.as_ref().change(|options| options.timeout = Some(Micros::of(limit)));
                self
            }

            /// How long an attempt may take to end once it has been asked to; 10 s by default.
            pub fn grace(self, grace: Duration) -> Self {
                self.as_ref().change(|options| options.grace = Micros::of(grace));
                self
            }

            /// How long an instance may wait, once it is ready, before its first attempt starts.
            pub fn start_within(self, limit: Duration) -> Self {
                self.as_ref().change(|options| options.start_within = Some(Micros::of(limit)));
                self
            }

            /// The slots that an attempt occupies on its worker; 1 by default. A function runs
            /// within a rayon pool of as many threads.
            pub fn cpus(self, cpus: u32) -> Self {
                self.as_ref().change(|options| options.cpus = cpus);
                self
            }

            /// The memory that an attempt occupies on its worker, in bytes.
            pub fn memory(self, bytes: u64) -> Self {
                self.as_ref().change(|options| options.memory = bytes);
                self
            }

            /// What an attempt occupies of a resource that workers offer by this name.
            pub fn resource(self, name: &str, amount: u64) -> Self {
                self.as_ref().change(|options| {
                    options.resources.retain(|(known, _)| known != name);
                    if amount > 0 {
                        options.resources.push((name.to_owned(), amount));
                    }
                });
                self
            }

            /// Higher first; 0 by default.
            pub fn priority(self, priority: i32) -> Self {
                self.as_ref().change(|options| options.priority = priority);
                self
            }

            /// The workers that may run it, by name or label.
            pub fn targets<'n>(self, workers: impl IntoIterator<Item = &'n str>) -> Self {
                let workers = workers.into_iter().map(str::to_owned).collect();
                self.as_ref().change(|options| options.targets = Targets::Named(workers));
                self
            }

            /// How many of its instances may run at once.
            pub fn max_running(self, instances: u32) -> Self {
                self.as_ref().change(|options| options.max_running = Some(instances));
                self
            }

            /// How often an attempt whose worker was lost is made again; 5 by default.
            pub fn max_lost(self, count: u32) -> Self {
                self.as_ref().change(|options| options.max_lost = count);
                self
            }

            /// How many of the gathered instances must succeed: a count, or a part such as 0.9. All of
            /// them by default. Only for tasks that gather.
            pub fn min_success(self, least: impl Into<MinSuccess>) -> Self {
                let least = least.into();
                self.as_ref().change(|options| options.min_success = Some(least));
                self
            }

            /// The run succeeds even when it fails; tasks that depend on it still see a failure.
            pub fn allow_failure(self) -> Self {
                self.as_ref().change(|options| options.allow_failure = true);
                self
            }

            /// It runs even when the run is being cancelled.
            pub fn always(self) -> Self {
                self.as_ref().change(|options| options.always = true);
                self
            }

            /// It runs in every retry in which something runs that needs it or that it comes after,
            /// although it succeeded before: a lock that is taken, its release, a service that is set up.
            pub fn rerun_always(self) -> Self {
                self.as_ref().change(|options| options.rerun = true);
                self
            }

            /// A long value of it stays readable after the run, even when other tasks use it.
            pub fn keep(self) -> Self {
                self.as_ref().change(|options| options.keep = true);
                self
            }
        }
    };
}

options!([T] Handle<T>);
options!([T] ArrayHandle<T>);
options!([K: Kind] Command<K>);

impl<T> Handle<T> {
    /// One instance for each worker that is present when the task becomes ready, each on its own.
    pub fn each_worker(self) -> ArrayHandle<T> {
        self.task.each_worker();
        ArrayHandle::new(self.task)
    }
}

/// The clauses of a task, in the order in which they were given.
pub(super) fn clauses_of(
    clauses: &[(TaskId, Wait)],
    order: &[u32],
    task: TaskId,
) -> (Vec<Clause>, Vec<Clause>) {
    let start = order.partition_point(|at| clauses[*at as usize].0 < task);
    let own = order[start..].iter().map(|at| &clauses[*at as usize]);
    let (mut after, mut follow) = (Vec::new(), Vec::new());
    for (_, wait) in own.take_while(|(of, _)| *of == task) {
        match wait {
            Wait::After(clause) => after.push(clause.clone()),
            Wait::Follow(clause) => follow.push(clause.clone()),
        }
    }
    (after, follow)
}
