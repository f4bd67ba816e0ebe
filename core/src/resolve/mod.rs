//! The meaning of names in a pipeline: tasks, parameters, variables, outputs and values. The rules
//! of placeholders are written here and nowhere else; the parser and the builder both use
//! [`Names`].
//!
//! Nothing here knows the location of a name. Problems are returned without one.

mod holes;
mod scopes;

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::ids::TaskId;
use crate::pipeline::{Capture, Pattern, Task};
use crate::problem::{Problem, Syntax};
use crate::spelling::{closest, listed};
use crate::template::Placeholder;
use crate::value::Value;

pub use holes::{Found, Site};
use scopes::Scope;
pub use scopes::Spot;

/// How many misspelt names of tasks are compared with all others.
const MAX_GUESSES: u32 = 100;

/// What is unknown about a task because of a problem that has been reported: problems that may
/// merely follow from it are not reported.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gap {
    /// Its parameters, and whether it is an array.
    pub params: bool,
    /// Its outputs.
    pub outputs: bool,
    /// What it captures.
    pub capture: bool,
}

/// The tasks and variables of a pipeline by name.
///
/// The name, `pattern`, `sweep`, `targets`, `capture` and the names of the outputs of each task
/// must be set before [`Names::link`] is called; everything else may be set later.
#[derive(Debug)]
pub struct Names<'n> {
    /// The tasks, in the author's order.
    pub tasks: Vec<Task>,
    /// What is unknown about each task; empty when nothing is.
    pub gaps: Vec<Gap>,
    /// Whether there may be tasks whose very names are unknown.
    pub tasks_unknown: bool,
    /// Whether there may be variables whose very names are unknown.
    pub vars_unknown: bool,
    syntax: Syntax,
    ids: FxHashMap<Cow<'n, str>, TaskId>,
    vars: FxHashMap<&'n str, &'n Value>,
    scopes: Vec<Scope>,
    /// Every task with each one that it gathers; computed only if a list is long.
    gathers: OnceCell<FxHashSet<(TaskId, TaskId)>>,
    /// Owners of parameters that gathers by parameters have, by gather and position in `by`.
    owners: RefCell<FxHashMap<(TaskId, usize), Option<TaskId>>>,
    guesses: Cell<u32>,
}

impl<'n> Names<'n> {
    /// The names of a pipeline that has these tasks and variables.
    pub fn new(
        syntax: Syntax,
        tasks: Vec<Task>,
        ids: FxHashMap<Cow<'n, str>, TaskId>,
        vars: &'n [(String, Value)],
    ) -> Names<'n> {
        Names {
            tasks,
            gaps: Vec::new(),
            tasks_unknown: false,
            vars_unknown: false,
            syntax,
            ids,
            vars: vars.iter().map(|(name, value)| (name.as_str(), value)).collect(),
            scopes: Vec::new(),
            gathers: OnceCell::new(),
            owners: RefCell::default(),
            guesses: Cell::new(0),
        }
    }

    /// The task of this name.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<TaskId> {
        self.ids.get(name).copied()
    }

    /// The name of a task.
    #[must_use]
    pub fn name(&self, task: TaskId) -> &str {
        self.tasks.get(task.at()).map_or("", |task| &task.name)
    }

    /// The variables, in no particular order.
    pub(crate) fn vars(&self) -> impl Iterator<Item = (&'n str, &'n Value)> {
        self.vars.iter().map(|(name, value)| (*name, *value))
    }

    /// How the author writes the pipeline.
    pub(crate) fn syntax(&self) -> Syntax {
        self.syntax
    }

    /// The task that another one names as its upstream, under this key.
    ///
    /// # Errors
    /// When there is no such task, or it is the task itself; `None` follows from a reported
    /// problem.
    pub fn upstream(&self, task: TaskId, name: &str, key: &str) -> Result<TaskId, Option<Problem>> {
        let Some(upstream) = self.id(name) else {
            if self.tasks_unknown {
                return Err(None);
            }
            let help = match self.guess_task(name) {
                Some(task) => format!("did you mean `{task}`?"),
                None => {
                    let tasks = self.tasks.iter().map(|task| task.name.as_str());
                    format!("the tasks are {}", listed(tasks.take(20)))
                }
            };
            let problem = Problem::new(format!("unknown task `{name}`"));
            return Err(Some(problem.label("no such task").help(help)));
        };
        self.not_itself(task, upstream, key)?;
        Ok(upstream)
    }

    /// Refuses a task as its own upstream.
    ///
    /// # Errors
    /// When it is.
    pub fn not_itself(&self, task: TaskId, upstream: TaskId, key: &str) -> Result<(), Problem> {
        if task != upstream {
            return Ok(());
        }
        let problem = Problem::new(format!("task `{}` refers to itself", self.name(task)));
        let help = self.syntax.say(
            "a task cannot wait for itself; when this comes from [defaults], give the task its own value",
            "a task cannot wait for itself",
        );
        Err(problem.label(format!("by `{key}`")).help(help))
    }

    /// Refuses an upstream without an array as the source of a scatter.
    ///
    /// # Errors
    /// When it captures no array.
    pub fn captures_array(&self, upstream: TaskId) -> Result<(), Problem> {
        let capture = self.tasks.get(upstream.at()).map_or(Capture::None, |task| task.capture);
        let name = self.name(upstream);
        let message = match capture {
            _ if self.gap(upstream).capture => return Ok(()),
            Capture::Json | Capture::Lines | Capture::JsonLines => return Ok(()),
            Capture::Text => format!("`{name}` captures text, not an array"),
            Capture::Bytes => format!("`{name}` captures bytes, not an array"),
            Capture::None => format!("`{name}` captures no value"),
        };
        let help = self.add_capture(name, "\"json\" or \"lines\"", "`capture` or `capture_lines`");
        Err(Problem::new(message).label("by `scatter`").help(help))
    }

    fn add_capture(&self, name: &str, toml: &str, rust: &str) -> String {
        self.syntax.say(
            format!("add capture = {toml} to task `{name}`"),
            format!("use {rust} of command `{name}`"),
        )
    }

    /// The task whose name is most similar to this one.
    fn guess_task(&self, name: &str) -> Option<&str> {
        self.guesses.set(self.guesses.get() + 1);
        if self.guesses.get() > MAX_GUESSES {
            return None;
        }
        closest(name, self.tasks.iter().map(|task| task.name.as_str()))
    }

    fn gap(&self, task: TaskId) -> Gap {
        self.gaps.get(task.at()).copied().unwrap_or_default()
    }

    fn pattern(&self, task: TaskId) -> &Pattern {
        const OWN: &Pattern = &Pattern::Own;
        self.tasks.get(task.at()).map_or(OWN, |task| &task.pattern)
    }

    pub(crate) fn outputs(&self, task: TaskId) -> impl Iterator<Item = &str> {
        let outputs = self.tasks.get(task.at()).map_or(&[][..], |task| &task.outputs);
        outputs.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn inputs(&self, task: TaskId) -> impl Iterator<Item = &str> {
        let named = self.tasks.get(task.at()).map_or(&[][..], |task| &task.named);
        named.iter().map(|(name, _)| name.as_str())
    }

    fn maps(&self, task: TaskId, upstream: TaskId) -> bool {
        *self.pattern(task) == Pattern::Map(upstream)
    }

    fn gathers(&self, task: TaskId, upstream: TaskId) -> bool {
        /// Few enough for a linear search.
        const FEW: usize = 8;
        let gathered = self.pattern(task).gathered();
        if gathered.len() <= FEW {
            return gathered.contains(&upstream);
        }
        let all = self.gathers.get_or_init(|| {
            let tasks = (0..).map(TaskId).zip(&self.tasks);
            let pairs = tasks
                .flat_map(|(id, task)| task.pattern.gathered().iter().map(move |up| (id, *up)));
            pairs.collect()
        });
        all.contains(&(task, upstream))
    }

    /// The single task that a placeholder makes its task wait for; `None` when it names a task for
    /// which the pattern waits anyway.
    #[must_use]
    pub fn reference(&self, task: TaskId, placeholder: &Placeholder) -> Option<TaskId> {
        match placeholder {
            Placeholder::UpstreamOut(upstream, _)
            | Placeholder::UpstreamValue(upstream, _)
            | Placeholder::UpstreamValueFile(upstream) => {
                (!self.maps(task, *upstream)).then_some(*upstream)
            }
            _ => None,
        }
    }
}

/// Tasks that a task refers to, each once, in the order of its texts.
#[derive(Debug, Default)]
pub struct References {
    order: Vec<TaskId>,
    seen: FxHashSet<TaskId>,
}

impl References {
    /// Notes a task.
    pub fn add(&mut self, task: TaskId) {
        // Usually few enough for a linear search.
        const FEW: usize = 8;
        if self.order.len() < FEW {
            if !self.order.contains(&task) {
                self.order.push(task);
            }
            return;
        }
        if self.seen.is_empty() {
            self.seen.extend(&self.order);
        }
        if self.seen.insert(task) {
            self.order.push(task);
        }
    }

    /// All that have been noted.
    #[must_use]
    pub fn into_tasks(self) -> Vec<TaskId> {
        self.order
    }
}
