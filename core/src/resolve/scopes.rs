//! Which parameters a task has, its own and inherited ones, and whether it is an array.

use super::Names;
use crate::ids::TaskId;
use crate::payload::TAG;
use crate::pipeline::{Pattern, Targets};
use crate::problem::Problem;
use crate::space::{Points, Space};
use crate::spelling::{did_you_mean, listed};
use crate::value::Value;

/// What a task can refer to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// The nearest task with parameters of its own: itself, or one that it maps over.
    params: Option<TaskId>,
    /// The last of the tasks that it maps over, directly and through others; itself when none.
    pub(super) root: TaskId,
    /// Whether it may have more than one instance.
    pub(super) array: bool,
    /// Whether not all of its parameters are known, because of a problem that has been reported.
    pub(super) unknown: bool,
}

/// The part of a task to which a problem of its relation to other tasks belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// A parameter that makes groups, by position.
    By(usize),
    /// An axis of the sweep, by position.
    Axis(usize),
    /// What it scatters.
    Scatter,
}

impl Names<'_> {
    /// Resolves the scopes of all tasks along their patterns, after which placeholders can be
    /// resolved; returns the problems of the patterns.
    pub fn link(&mut self) -> Vec<(TaskId, Spot, Problem)> {
        self.scopes = self.find_scopes();
        let mut problems = Vec::new();
        for task in (0..self.tasks.len() as u32).map(TaskId) {
            match &self.tasks[task.at()].pattern {
                Pattern::Map(upstream) => self.inherited_twice(task, *upstream, &mut problems),
                Pattern::Scatter(scatter) => {
                    let problem = self.captures_array(scatter.from).err();
                    problems.extend(problem.map(|problem| (task, Spot::Scatter, problem)));
                }
                _ => {}
            }
        }
        self.groups(&mut problems);
        problems
    }

    /// Follows the maps, without recursion, as chains may be long.
    fn find_scopes(&self) -> Vec<Scope> {
        let mut scopes: Vec<Option<Scope>> = vec![None; self.tasks.len()];
        let mut on_path = vec![false; self.tasks.len()];
        let mut path = Vec::new();
        for start in 0..self.tasks.len() {
            let mut at = start;
            // Down to a task whose scope is known or that maps over nothing, or round a cycle,
            // which is reported elsewhere and leaves the parameters of its tasks unknown.
            let mut base = loop {
                if let Some(scope) = scopes[at] {
                    break Some(scope);
                }
                if on_path[at] {
                    let root = TaskId(at as u32);
                    break Some(Scope { params: None, root, array: true, unknown: true });
                }
                on_path[at] = true;
                path.push(at);
                match self.tasks[at].pattern {
                    Pattern::Map(upstream) if upstream.at() < self.tasks.len() => {
                        at = upstream.at();
                    }
                    _ => break None,
                }
            };
            for at in path.drain(..).rev() {
                base = Some(self.scope_over(TaskId(at as u32), base));
                scopes[at] = base;
            }
        }
        scopes.into_iter().flatten().collect()
    }

    fn scope_over(&self, id: TaskId, upstream: Option<Scope>) -> Scope {
        let task = &self.tasks[id.at()];
        let grouped = matches!(task.pattern, Pattern::GatherBy(..));
        let own = (grouped || task.sweep.is_some()).then_some(id);
        let dynamic = task.conduct.targets == Targets::Each
            || matches!(task.pattern, Pattern::Scatter(_) | Pattern::GatherEvery(..));
        Scope {
            params: own.or_else(|| upstream.and_then(|scope| scope.params)),
            root: upstream.map_or(id, |scope| scope.root),
            array: dynamic || own.is_some() || upstream.is_some_and(|scope| scope.array),
            unknown: self.gap(id).params || upstream.is_some_and(|scope| scope.unknown),
        }
    }

    /// The scope of a task; that of a task that does not exist is unknown, and causes no further
    /// problems.
    pub(super) fn scope(&self, task: TaskId) -> Scope {
        let none = Scope { params: None, root: task, array: false, unknown: true };
        self.scopes.get(task.at()).copied().unwrap_or(none)
    }

    /// The task that gives `task` a parameter: itself, one that it maps over, or one that a gather
    /// by this parameter gathers.
    pub(crate) fn param(&self, task: TaskId, name: &str) -> Option<TaskId> {
        let mut next = self.scope(task).params;
        // Results found through gathers are cached, as each may be needed by the next of a long
        // chain.
        let mut gathers = Vec::new();
        let mut found = None;
        // A cycle of maps is cut by the number of steps.
        for _ in 0..self.tasks.len() {
            let Some(owner) = next else { break };
            let task = &self.tasks[owner.at()];
            if task.sweep.as_ref().is_some_and(|space| column(space, name).is_some()) {
                found = Some(owner);
                break;
            }
            next = match &task.pattern {
                Pattern::Map(upstream) => self.scope(*upstream).params,
                Pattern::GatherBy(upstream, by) => {
                    let Some(at) = by.iter().position(|known| known == name) else { break };
                    if let Some(known) = self.owners.borrow().get(&(owner, at)) {
                        found = *known;
                        break;
                    }
                    gathers.push((owner, at));
                    self.scope(*upstream).params
                }
                _ => None,
            };
        }
        self.owners.borrow_mut().extend(gathers.into_iter().map(|gather| (gather, found)));
        found
    }

    /// The names of all parameters of a task, its own first.
    pub(crate) fn params(&self, task: TaskId) -> Vec<&str> {
        let mut names = Vec::new();
        let mut next = self.scope(task).params;
        for _ in 0..self.tasks.len() {
            let Some(owner) = next else { break };
            let task = &self.tasks[owner.at()];
            let axes = task.sweep.iter().flat_map(|space| &space.axes);
            names.extend(axes.flat_map(|axis| &axis.names).map(String::as_str));
            next = match &task.pattern {
                Pattern::Map(upstream) => self.scope(*upstream).params,
                Pattern::GatherBy(_, by) => {
                    names.extend(by.iter().map(String::as_str));
                    None
                }
                _ => None,
            };
        }
        names
    }

    /// The tasks by whose sweeps a task has parameters: itself, and those that it maps over.
    pub(crate) fn owners(&self, task: TaskId) -> impl Iterator<Item = TaskId> {
        let next = move |owner: &TaskId| match self.tasks.get(owner.at())?.pattern {
            Pattern::Map(upstream) => self.scope(upstream).params,
            _ => None,
        };
        // A cycle of maps is cut by the number of steps.
        std::iter::successors(self.scope(task).params, next).take(self.tasks.len())
    }

    /// Whether every value of a parameter has a field; `owner` is the task that gives it.
    pub(super) fn has_field(&self, owner: TaskId, name: &str, path: &[String]) -> bool {
        let Some(space) = &self.tasks[owner.at()].sweep else { return true };
        let Some((axis, column)) = column(space, name) else { return true };
        let Points::Rows(rows) = &space.axes[axis].points else { return false };
        let values = rows.iter().filter_map(|row| row.get(column));
        let included = space.include.iter().flatten().filter(|(known, _)| known == name);
        let mut values = values.chain(included.map(|(_, value)| value));
        values.all(|value| is_payload(value) || value.field_path(path).is_some())
    }

    /// Parameters that a task sweeps although it inherits them.
    fn inherited_twice(
        &self,
        task: TaskId,
        upstream: TaskId,
        problems: &mut Vec<(TaskId, Spot, Problem)>,
    ) {
        let axes = self.tasks[task.at()].sweep.iter().flat_map(|space| &space.axes);
        for (at, axis) in axes.enumerate() {
            for name in &axis.names {
                let Some(owner) = self.param(upstream, name) else { continue };
                let owner = self.name(owner);
                let message = format!("parameter `{name}` is already inherited from `{owner}`");
                let problem = Problem::new(message).help("give this one another name");
                problems.push((task, Spot::Axis(at), problem));
            }
        }
    }

    /// Groups that cannot be formed: by something that is not a parameter, or of an array whose
    /// width is not known before the run. The parameters of tasks that map over such a gather are
    /// then unknown.
    fn groups(&mut self, problems: &mut Vec<(TaskId, Spot, Problem)>) {
        for at in 0..self.tasks.len() {
            let Pattern::GatherBy(upstream, by) = &self.tasks[at].pattern else { continue };
            let task = TaskId(at as u32);
            let found = self.group_problems(*upstream, by);
            if found.is_empty() && !self.scope(*upstream).unknown {
                continue;
            }
            problems.extend(found.into_iter().map(|(spot, problem)| (task, spot, problem)));
            let scopes = self.scopes.iter_mut().filter(|scope| scope.root == task);
            scopes.for_each(|scope| scope.unknown = true);
        }
    }

    fn group_problems(&self, upstream: TaskId, by: &[String]) -> Vec<(Spot, Problem)> {
        let scope = self.scope(upstream);
        let (name, root) = (self.name(upstream), self.name(scope.root));
        if by.is_empty() {
            return vec![(
                Spot::By(0),
                Problem::new("it gathers by no parameter").help("use `gather`"),
            )];
        }
        if let Some(why) = self.late(scope.root) {
            let message = format!(
                "the width of `{name}` is known only at run time, so its groups are not known before"
            );
            let help = format!("`{root}` {why}; gather it as a whole, without `by`");
            return vec![(Spot::By(0), Problem::new(message).help(help))];
        }
        if scope.unknown {
            return Vec::new();
        }
        let unknown = by.iter().enumerate().filter(|(_, by)| self.param(upstream, by).is_none());
        let problem = |(at, by): (usize, &String)| {
            let params = self.params(upstream);
            let help = did_you_mean(by, params.iter().copied()).unwrap_or_else(|| match &*params {
                [] => format!("`{name}` has no parameters"),
                params => format!("its parameters are {}", listed(params.iter().copied())),
            });
            let message = format!("`{}` is no parameter of `{name}`", by.escape_debug());
            (Spot::By(at), Problem::new(message).help(help))
        };
        unknown.map(problem).collect()
    }

    /// Why the width of a task that maps over nothing is known only at run time.
    fn late(&self, root: TaskId) -> Option<String> {
        let each = self.tasks.get(root.at())?.conduct.targets == Targets::Each;
        match self.pattern(root) {
            Pattern::Scatter(_) => Some("scatters".to_owned()),
            _ if each => Some(self.syntax.say("has targets = \"each\"", "is for `each_worker`")),
            _ => None,
        }
    }
}

/// The axis of a parameter and its position in the axis.
fn column(space: &Space, name: &str) -> Option<(usize, usize)> {
    space.axes.iter().enumerate().find_map(|(at, axis)| {
        axis.names.iter().position(|known| known == name).map(|column| (at, column))
    })
}

/// Whether a value is one that JSON cannot express; its fields are not examined.
fn is_payload(value: &Value) -> bool {
    matches!(value, Value::String(text) if text.0.first() == Some(&TAG))
}
