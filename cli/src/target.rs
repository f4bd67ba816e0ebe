//! How runs, tasks and instances are named on the command line: `last`, `12`, `price`, `price[7]`.

use std::fmt;
use std::str::FromStr;

use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::pipeline::Pipeline;
use dagrun_core::status::TaskStatus;

use crate::exit::{Exit, Failure};

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

    /// The single instance that is meant, where `status` is that of the task.
    ///
    /// # Errors
    /// When the index is missing and needed, or out of range.
    pub(crate) fn instance(
        &self,
        task: TaskId,
        status: &TaskStatus,
    ) -> Result<InstanceId, Failure> {
        self.check(status)?;
        match (self.index, status.counts.total()) {
            (Some(index), _) => Ok(InstanceId { task, index }),
            (None, 1) => Ok(InstanceId { task, index: 0 }),
            (None, width) => Err(Failure::usage(format!(
                "`{task}` has {width} instances: say which, as in `{task}[0]`",
                task = self.task
            ))),
        }
    }

    /// Fails when there is no instance of this index.
    pub(crate) fn check(&self, status: &TaskStatus) -> Result<(), Failure> {
        let width = status.counts.total();
        match self.index {
            _ if !status.width_known => Err(Failure::new(
                Exit::Failed,
                format!("it is not known yet how many instances `{}` has", self.task),
            )),
            Some(index) if index >= width => Err(Failure::usage(format!(
                "there is no {self}: `{}` has {width} {}, counted from 0",
                self.task,
                if width == 1 { "instance" } else { "instances" },
            ))),
            _ => Ok(()),
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
