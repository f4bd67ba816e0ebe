//! How runs, tasks and instances are named on the command line: `last`, `12`, `price`, `price[7]`.

use std::fmt;
use std::str::FromStr;

use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::pipeline::Pipeline;

use crate::exit::Failure;

/// A run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunName {
    /// The one submitted last.
    Last,
    /// The one of this id.
    Id(RunId),
}

impl FromStr for RunName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "last" {
            return Ok(RunName::Last);
        }
        match text.parse() {
            Ok(id) if id > 0 => Ok(RunName::Id(RunId(id))),
            _ => Err("a run is named by its number, or `last`".to_owned()),
        }
    }
}

/// A task, or one of its instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The task's name.
    pub(crate) task: String,
    /// The instance's index.
    pub(crate) index: Option<u32>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(inner) = text.strip_suffix(']') else {
            return Ok(Target { task: text.to_owned(), index: None });
        };
        let (task, index) = inner.rsplit_once('[').ok_or("a `[` is missing")?;
        let index = index.parse().map_err(|_| format!("`{index}` is not an index"))?;
        Ok(Target { task: task.to_owned(), index: Some(index) })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}[{index}]", self.task),
            None => f.write_str(&self.task),
        }
    }
}

impl Target {
    /// The task that is meant.
    ///
    /// # Errors
    /// When the pipeline has no task of this name.
    pub(crate) fn task_in(&self, pipeline: &Pipeline) -> Result<TaskId, Failure> {
        let position = pipeline.tasks.iter().position(|task| task.name == self.task);
        let position = position
            .and_then(|at| u32::try_from(at).ok())
            .ok_or_else(|| Failure::usage(format!("the run has no task `{}`", self.task)))?;
        Ok(TaskId(position))
    }

    /// The single instance that is meant, where `width` is the number of the task's instances.
    ///
    /// # Errors
    /// When the index is missing and needed, or out of range.
    pub(crate) fn instance(&self, task: TaskId, width: u32) -> Result<InstanceId, Failure> {
        match self.index {
            Some(index) if index < width => Ok(InstanceId { task, index }),
            Some(_) => Err(Failure::usage(format!(
                "there is no {self}: `{}` has {width} instances, counted from 0",
                self.task
            ))),
            None if width == 1 => Ok(InstanceId { task, index: 0 }),
            None => Err(Failure::usage(format!(
                "`{task}` has {width} instances: say which, as in `{task}[0]`",
                task = self.task
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RunName, Target};
    use dagrun_core::ids::RunId;

    #[test]
    fn reads_runs() {
        assert_eq!("last".parse(), Ok(RunName::Last));
        assert_eq!("12".parse(), Ok(RunName::Id(RunId(12))));
        assert!("0".parse::<RunName>().is_err());
        assert!("first".parse::<RunName>().is_err());
    }

    #[test]
    fn reads_targets() {
        let target = |task: &str, index| Ok(Target { task: task.to_owned(), index });
        assert_eq!("price".parse(), target("price", None));
        assert_eq!("price[17]".parse(), target("price", Some(17)));
        assert!("price[x]".parse::<Target>().is_err());
        assert!("price]".parse::<Target>().is_err());
    }
}
