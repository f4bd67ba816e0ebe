//! Recorded workflows in the [WfFormat] of WfCommons, as pipelines whose tasks sleep as long as the
//! recorded ones ran.
//!
//! [WfFormat]: https://github.com/wfcommons/WfFormat

mod format;
mod names;
mod write;

use std::collections::HashMap;

use format::{Document, RawTask};

pub use write::{durations_json, pipeline_toml};

/// A recorded workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct Workflow {
    /// Its name.
    pub name: String,
    /// Its tasks, in the order of the file.
    pub tasks: Vec<Task>,
}

/// A recorded task.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its name in a pipeline: valid there, and unique.
    pub name: String,
    /// The positions of the tasks that had to end before, sorted.
    pub parents: Vec<usize>,
    /// How long it ran, in seconds; zero when that was not recorded.
    pub runtime: f64,
}

/// Why a file is no workflow.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is no JSON, or not of the format.
    #[error("not a WfFormat document")]
    Json(#[from] serde_json::Error),
    /// It says nothing of tasks.
    #[error("no tasks: neither `workflow.tasks` nor `workflow.specification.tasks` has any")]
    NoTasks,
    /// A task without a name.
    #[error("task {0} has neither an id nor a name")]
    Nameless(usize),
    /// Two tasks with the same id.
    #[error("two tasks have the id `{0}`")]
    Twice(String),
    /// A parent or child that is not in the file.
    #[error("`{task}` names `{other}`, which is no task")]
    Unknown {
        /// The task.
        task: String,
        /// What it names.
        other: String,
    },
    /// A parent or child by a name that several tasks have.
    #[error("`{task}` names `{other}`, and several tasks are called so")]
    Ambiguous {
        /// The task.
        task: String,
        /// What it names.
        other: String,
    },
    /// Tasks that wait for each other.
    #[error("`{0}` waits for itself, or for tasks that do")]
    Cycle(String),
    /// A runtime that is negative.
    #[error("`{task}` has a runtime of {seconds} s")]
    Runtime {
        /// The task.
        task: String,
        /// What it says.
        seconds: f64,
    },
}

impl Workflow {
    /// Reads a document of version 1.3 to 1.5, or an older one that says "jobs" for "tasks".
    ///
    /// Parents are what a task names as such, and the tasks that name it as a child; if no task names
    /// either, those that write a file that it reads.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(json: &[u8]) -> Result<Workflow, ReadError> {
        let document: Document = serde_json::from_slice(json)?;
        let name = document.name.clone().unwrap_or_else(|| "workflow".to_owned());
        let (tasks, executions) = document.into_tasks().ok_or(ReadError::NoTasks)?;
        if tasks.is_empty() {
            return Err(ReadError::NoTasks);
        }
        let index = Index::new(&tasks)?;
        let parents = parents(&tasks, &index)?;
        let runtimes = runtimes(&tasks, &executions, &index)?;
        let names = names::unique(&tasks);
        let tasks = names.into_iter().zip(parents).zip(runtimes);
        let task = |((name, parents), runtime)| Task { name, parents, runtime };
        Workflow { name, tasks: tasks.map(task).collect() }.without_cycles()
    }

    fn without_cycles(self) -> Result<Workflow, ReadError> {
        let order = self.order();
        if order.len() == self.tasks.len() {
            return Ok(self);
        }
        let mut ordered = vec![false; self.tasks.len()];
        order.into_iter().for_each(|at| ordered[at] = true);
        let stuck = self.tasks.into_iter().zip(ordered).find(|(_, ordered)| !ordered);
        Err(ReadError::Cycle(stuck.map(|(task, _)| task.name).unwrap_or_default()))
    }

    /// The tasks in an order in which each comes after its parents; those that wait for a cycle, which
    /// what was read does not have, are missing.
    #[must_use]
    pub fn order(&self) -> Vec<usize> {
        let mut children = vec![Vec::new(); self.tasks.len()];
        let mut waiting: Vec<usize> = self.tasks.iter().map(|task| task.parents.len()).collect();
        for (at, task) in self.tasks.iter().enumerate() {
            for &parent in &task.parents {
                children[parent].push(at);
            }
        }
        let mut order: Vec<usize> = (0..waiting.len()).filter(|at| waiting[*at] == 0).collect();
        let mut next = 0;
        while let Some(&at) = order.get(next) {
            for &child in &children[at] {
                waiting[child] -= 1;
                if waiting[child] == 0 {
                    order.push(child);
                }
            }
            next += 1;
        }
        order
    }

    /// The longest path of runtimes from the start of each task to the end, in seconds.
    #[must_use]
    pub fn remaining(&self) -> Vec<f64> {
        let mut remaining: Vec<f64> = self.tasks.iter().map(|task| task.runtime).collect();
        for at in self.order().into_iter().rev() {
            for &parent in &self.tasks[at].parents {
                let through = self.tasks[parent].runtime + remaining[at];
                remaining[parent] = remaining[parent].max(through);
            }
        }
        remaining
    }

    /// The longest path of runtimes, in seconds.
    #[must_use]
    pub fn critical_path(&self) -> f64 {
        self.remaining().into_iter().fold(0.0, f64::max)
    }

    /// The sum of all runtimes, in seconds.
    #[must_use]
    pub fn work(&self) -> f64 {
        self.tasks.iter().map(|task| task.runtime).sum()
    }
}

/// Tasks by what others call them.
struct Index<'a> {
    ids: HashMap<&'a str, usize>,
    /// `None` for a name that several tasks have.
    names: HashMap<&'a str, Option<usize>>,
}

impl<'a> Index<'a> {
    fn new(tasks: &'a [RawTask]) -> Result<Index<'a>, ReadError> {
        let mut index = Index { ids: HashMap::new(), names: HashMap::new() };
        for (at, task) in tasks.iter().enumerate() {
            if task.label().is_none() {
                return Err(ReadError::Nameless(at));
            }
            if let Some(id) = task.id()
                && index.ids.insert(id, at).is_some()
            {
                return Err(ReadError::Twice(id.to_owned()));
            }
            if let Some(name) = task.name() {
                index.names.entry(name).and_modify(|at| *at = None).or_insert(Some(at));
            }
        }
        Ok(index)
    }

    fn find(&self, task: &RawTask, other: &str) -> Result<usize, ReadError> {
        let both = || (task.label().unwrap_or_default().to_owned(), other.to_owned());
        if let Some(at) = self.ids.get(other) {
            return Ok(*at);
        }
        match self.names.get(other) {
            Some(Some(at)) => Ok(*at),
            Some(None) => {
                let (task, other) = both();
                Err(ReadError::Ambiguous { task, other })
            }
            None => {
                let (task, other) = both();
                Err(ReadError::Unknown { task, other })
            }
        }
    }
}

fn parents(tasks: &[RawTask], index: &Index) -> Result<Vec<Vec<usize>>, ReadError> {
    let mut parents = vec![Vec::new(); tasks.len()];
    for (at, task) in tasks.iter().enumerate() {
        for parent in task.parents() {
            parents[at].push(index.find(task, parent)?);
        }
        for child in task.children() {
            parents[index.find(task, child)?].push(at);
        }
    }
    if parents.iter().all(Vec::is_empty) {
        parents = parents_by_files(tasks);
    }
    for list in &mut parents {
        list.sort_unstable();
        list.dedup();
    }
    Ok(parents)
}

/// For each task those that write what it reads.
fn parents_by_files(tasks: &[RawTask]) -> Vec<Vec<usize>> {
    let mut writers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, task) in tasks.iter().enumerate() {
        for file in task.outputs() {
            writers.entry(file).or_default().push(at);
        }
    }
    let of = |(at, task): (usize, &RawTask)| {
        let read = task.inputs().into_iter().filter_map(|file| writers.get(file)).flatten();
        read.copied().filter(|writer| *writer != at).collect()
    };
    tasks.iter().enumerate().map(of).collect()
}

fn runtimes(
    tasks: &[RawTask],
    executions: &[RawTask],
    index: &Index,
) -> Result<Vec<f64>, ReadError> {
    let mut runtimes: Vec<Option<f64>> = tasks.iter().map(RawTask::runtime).collect();
    for execution in executions {
        let Some(label) = execution.label() else { continue };
        let at = index.find(execution, label)?;
        runtimes[at] = execution.runtime().or(runtimes[at]);
    }
    let labelled = tasks.iter().zip(runtimes);
    let checked = labelled.map(|(task, runtime)| match runtime {
        Some(seconds) if !(seconds >= 0.0 && seconds.is_finite()) => {
            Err(ReadError::Runtime { task: task.label().unwrap_or_default().to_owned(), seconds })
        }
        runtime => Ok(runtime.unwrap_or(0.0)),
    });
    checked.collect()
}
