//! What the slots are given to run.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use dagrun_core::engine::Assignment;
use dagrun_core::recipe::{Input, Job, Keep, Wants};
use dagrun_disk::log::RunLog;
use dagrun_schema::wire::Fenced;

use crate::core::queue::Task;

/// What the slots need to know about a task.
pub trait TaskSource: fmt::Debug + Send + Sync {
    /// Slots that one attempt occupies; 0: it is a process that starts at once, beside them.
    fn cpus(&self) -> u32;

    /// The job of an attempt.
    ///
    /// # Errors
    /// Why there is none, in words for people.
    fn job(&self, index: u32, attempt: u32, inputs: &[Input]) -> Result<Job, String>;

    /// How the values of its inputs are used.
    fn wants(&self) -> &[Wants] {
        &[]
    }

    /// The name of the task that an input comes from.
    fn input_task(&self, _input: usize) -> &str {
        "an upstream"
    }

    /// The task's name, where its long values are kept, and the run's directory; `None`: long
    /// values travel with reports.
    fn keeping(&self) -> Option<(&str, Keep, &Path)> {
        None
    }
}

/// Consecutive instances to run.
#[derive(Clone, Debug)]
pub struct Work {
    /// The instances, and their attempts.
    pub assignment: Assignment,
    /// How to run them.
    pub plan: Arc<dyn TaskSource>,
    /// The inputs of each instance of the assignment, or empty.
    pub inputs: Arc<Vec<Vec<Input>>>,
    /// The log for the output.
    pub log: Option<Arc<RunLog>>,
    /// Whether its start is to be acknowledged before it begins.
    pub announce: bool,
    /// Earlier attempts of it that may still run elsewhere.
    pub fenced: Vec<Fenced>,
}

impl Task for Work {
    fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    fn cpus(&self) -> u32 {
        self.plan.cpus()
    }
}
