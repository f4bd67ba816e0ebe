//! What the methods of a graph give back: handles of tasks, by what they make.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use dagrun_core::ids::TaskId;
use serde::de::DeserializeOwned;

use super::Dag;
use super::record::Shared;

/// A task, whatever it makes. It is what handles of all types become by `into()`, so that they can stand
/// in one list.
#[derive(Clone)]
pub struct TaskRef {
    pub(super) dag: Arc<Shared>,
    pub(super) task: TaskId,
}

impl TaskRef {
    /// Its position in the pipeline.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.task
    }
}

/// Which graph a run is of, and how many of its tasks.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) tasks: usize,
}

impl Origin {
    /// The task's number in the run.
    ///
    /// # Errors
    /// Why the run does not have the task.
    pub(crate) fn own(&self, task: &TaskRef) -> Result<TaskId, String> {
        let (mine, other) = (&self.name, &task.dag.name);
        if task.dag.id != self.id {
            let same = if mine == other { ", another graph of that name" } else { "" };
            return Err(format!("it is of the graph `{other}`{same}, and the run of `{mine}`"));
        }
        match task.task.at() < self.tasks {
            true => Ok(task.task),
            false => Err(format!("its task was recorded in `{mine}` after the run was submitted")),
        }
    }
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskRef").field("dag", &self.dag.name).field("task", &self.task.0).finish()
    }
}

impl From<&TaskRef> for TaskRef {
    fn from(task: &TaskRef) -> TaskRef {
        task.clone()
    }
}

/// A task with one instance, which makes a `T`.
pub struct Handle<T> {
    pub(super) task: TaskRef,
    of: PhantomData<fn() -> T>,
}

/// A task with any number of instances, each of which makes a `T`.
pub struct ArrayHandle<T> {
    pub(super) task: TaskRef,
    of: PhantomData<fn() -> T>,
}

macro_rules! handle {
    ($handle:ident) => {
        impl<T> $handle<T> {
            pub(super) fn new(task: TaskRef) -> $handle<T> {
                $handle { task, of: PhantomData }
            }

            /// The task's position in the pipeline.
            #[must_use]
            pub fn id(&self) -> TaskId {
                self.task.task
            }

            /// The graph that it belongs to.
            #[must_use]
            pub fn dag(&self) -> Dag {
                Dag { shared: self.task.dag.clone() }
            }
        }

        impl<T> Clone for $handle<T> {
            fn clone(&self) -> $handle<T> {
                $handle::new(self.task.clone())
            }
        }

        impl<T> fmt::Debug for $handle<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($handle)).field(&self.task).finish()
            }
        }

        impl<T> From<&$handle<T>> for TaskRef {
            fn from(handle: &$handle<T>) -> TaskRef {
                handle.task.clone()
            }
        }

        impl<T> From<$handle<T>> for TaskRef {
            fn from(handle: $handle<T>) -> TaskRef {
                handle.task
            }
        }

        impl<T> AsRef<TaskRef> for $handle<T> {
            fn as_ref(&self) -> &TaskRef {
                &self.task
            }
        }
    };
}

handle!(Handle);
handle!(ArrayHandle);

/// The handle of a task with one value: `&Handle<T>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has not one value",
    label = "not the `&Handle` of a single task",
    note = "the values of an array are asked for with `run.results(&array)`, one of them with `run.result_at(&array, index)`"
)]
pub trait SingleOf {
    /// What it makes.
    type Value: DeserializeOwned + Send + 'static;
    #[doc(hidden)]
    fn task(&self) -> &TaskRef;
}

impl<T: DeserializeOwned + Send + 'static> SingleOf for &Handle<T> {
    type Value = T;

    fn task(&self) -> &TaskRef {
        &self.task
    }
}

/// The handle of an array: `&ArrayHandle<T>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has not many values",
    label = "not the `&ArrayHandle` of an array",
    note = "the value of a single task is asked for with `run.result(&task)`"
)]
pub trait ArrayOf {
    /// What each of its instances makes.
    type Value: DeserializeOwned + Send + 'static;
    #[doc(hidden)]
    fn task(&self) -> &TaskRef;
}

impl<T: DeserializeOwned + Send + 'static> ArrayOf for &ArrayHandle<T> {
    type Value = T;

    fn task(&self) -> &TaskRef {
        &self.task
    }
}

impl<T> ArrayHandle<T> {
    /// How many instances it has; `None` where that is not known before it runs.
    #[must_use]
    pub fn width(&self) -> Option<u32> {
        self.task.dag.record().width(self.task.task)
    }
}
