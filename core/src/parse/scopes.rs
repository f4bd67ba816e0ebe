//! Which parameters a task has, its own and inherited ones, and whether it is an array.

use super::diagnostic::Diagnostic;
use super::keys;
use super::names::Names;
use super::pattern::DraftPattern;
use crate::ids::TaskId;
use crate::pipeline::{Pattern, Targets};

/// What a task can refer to.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// The nearest task with parameters of its own: itself, or one that it maps over.
    params: Option<TaskId>,
    /// The last of the tasks that it maps over, directly and through others; itself when none.
    pub(super) root: TaskId,
    /// Whether it may have more than one instance.
    pub(super) array: bool,
    /// Whether not all of its parameters are known, because of a problem that has been told.
    pub(super) unknown: bool,
}

impl<'t> Names<'_, '_, 't> {
    /// Follows the maps, so that parameters can be found; without recursion, as chains may be long.
    pub(super) fn scopes(&mut self) {
        let mut scopes: Vec<Option<Scope>> = vec![None; self.drafts.len()];
        let mut on_path = vec![false; self.drafts.len()];
        for start in 0..self.drafts.len() {
            let mut path = Vec::new();
            let mut at = start;
            // Down to a task whose scope is known or that maps over nothing, or round a cycle,
            // which is told elsewhere and leaves the parameters of its tasks unknown.
            let mut base = loop {
                if let Some(scope) = &scopes[at] {
                    break Some(scope.clone());
                }
                if on_path[at] {
                    let root = TaskId(at as u32);
                    break Some(Scope { params: None, root, array: true, unknown: true });
                }
                on_path[at] = true;
                path.push(at);
                match self.patterns[at] {
                    Pattern::Map(upstream) => at = upstream.at(),
                    _ => break None,
                }
            };
            for at in path.into_iter().rev() {
                let scope = self.scope(at, base.as_ref());
                base = Some(scope.clone());
                scopes[at] = Some(scope);
            }
        }
        self.scopes = scopes.into_iter().flatten().collect();
    }

    fn scope(&self, at: usize, upstream: Option<&Scope>) -> Scope {
        let draft = &self.drafts[at];
        let id = TaskId(at as u32);
        let grouped = matches!(self.patterns[at], Pattern::GatherBy(..));
        let own = (grouped || draft.sweep.is_some()).then_some(id);
        let dynamic = draft.conduct.targets == Targets::Each
            || matches!(self.patterns[at], Pattern::Scatter(_));
        Scope {
            params: own.or_else(|| upstream.and_then(|scope| scope.params)),
            root: upstream.map_or(id, |scope| scope.root),
            array: dynamic || own.is_some() || upstream.is_some_and(|scope| scope.array),
            unknown: draft.unknown.params
                || !self.whole[at]
                || upstream.is_some_and(|scope| scope.unknown),
        }
    }

    /// The task that gives `task` a parameter: itself, one that it maps over, or one that a gather
    /// by this parameter gathers.
    pub(super) fn param(&self, task: TaskId, name: &str) -> Option<TaskId> {
        let mut next = self.scopes[task.at()].params;
        // What is found through gathers is kept, as each may be asked from the next of a long chain.
        let mut gathers = Vec::new();
        let mut found = None;
        // A cycle of maps is cut by the number of steps.
        for _ in 0..self.drafts.len() {
            let Some(owner) = next else { break };
            let sweep = self.drafts[owner.at()].sweep.as_ref();
            if sweep.is_some_and(|sweep| sweep.find(name).is_some()) {
                found = Some(owner);
                break;
            }
            next = match &self.patterns[owner.at()] {
                Pattern::Map(upstream) => self.scopes[upstream.at()].params,
                Pattern::GatherBy(upstream, by) => {
                    let Some(at) = by.iter().position(|known| known == name) else { break };
                    if let Some(known) = self.owners.borrow().get(&(owner, at)) {
                        found = *known;
                        break;
                    }
                    gathers.push((owner, at));
                    self.scopes[upstream.at()].params
                }
                _ => None,
            };
        }
        self.owners.borrow_mut().extend(gathers.into_iter().map(|gather| (gather, found)));
        found
    }

    /// The names of all parameters of a task.
    pub(super) fn param_names(&self, task: TaskId) -> Vec<&str> {
        let mut names = Vec::new();
        for owner in self.param_tasks(task) {
            if let Some(sweep) = &self.drafts[owner.at()].sweep {
                names.extend(sweep.params().map(|param| param.3));
            }
            if let Pattern::GatherBy(_, by) = &self.patterns[owner.at()] {
                names.extend(by.iter().map(String::as_str));
            }
        }
        names
    }

    /// The tasks that give `task` parameters, itself first; a gather by parameters is the last.
    fn param_tasks(&self, task: TaskId) -> impl Iterator<Item = TaskId> {
        let mut next = self.scopes[task.at()].params;
        (0..self.drafts.len()).map_while(move |_| {
            let owner = next?;
            next = match self.patterns[owner.at()] {
                Pattern::Map(upstream) => self.scopes[upstream.at()].params,
                _ => None,
            };
            Some(owner)
        })
    }

    /// Tells of parameters that a task sweeps although it inherits them.
    pub(super) fn inherited_twice(&mut self) {
        let mut twice = Vec::new();
        for (draft, pattern) in self.drafts.iter().zip(&self.patterns) {
            let (Some(sweep), Pattern::Map(upstream)) = (&draft.sweep, pattern) else { continue };
            for (span, _, _, name) in sweep.params() {
                if let Some(owner) = self.param(*upstream, name) {
                    let owner = self.drafts[owner.at()].name;
                    let message = format!("parameter `{name}` is already inherited from `{owner}`");
                    twice.push(
                        Diagnostic::at(span.clone(), message).help("give this one another name"),
                    );
                }
            }
        }
        for problem in twice {
            self.reader.add(problem);
        }
    }

    /// Tells of groups that cannot be made: by what is no parameter, or of an array whose width is
    /// not known before the run.
    pub(super) fn groups(&mut self) {
        for at in 0..self.drafts.len() {
            let Pattern::GatherBy(upstream, _) = self.patterns[at] else { continue };
            let problems = self.group_problems(at, upstream);
            if problems.is_empty() && !self.scopes[upstream.at()].unknown {
                continue;
            }
            self.whole[at] = false;
            let root = TaskId(at as u32);
            let scopes = self.scopes.iter_mut().filter(|scope| scope.root == root);
            scopes.for_each(|scope| scope.unknown = true);
            problems.into_iter().for_each(|problem| self.reader.add(problem));
        }
    }

    fn group_problems(&self, at: usize, upstream: TaskId) -> Vec<Diagnostic> {
        let DraftPattern::Gather(gather) = &self.drafts[at].pattern else { return Vec::new() };
        let scope = &self.scopes[upstream.at()];
        let name = self.drafts[upstream.at()].name;
        let root = &self.drafts[scope.root.at()];
        let why = match &self.patterns[scope.root.at()] {
            Pattern::Scatter(_) => Some("scatters"),
            _ if root.conduct.targets == Targets::Each => Some("has targets = \"each\""),
            _ => None,
        };
        if let (Some(why), Some(by)) = (why, gather.by.first()) {
            let message = format!(
                "the width of `{name}` is known only at run time, so its groups are not known before"
            );
            let help = format!("`{}` {why}; gather it as a whole, without `by`", root.name);
            return vec![Diagnostic::at(by.span.clone(), message).help(help)];
        }
        let unknown = gather.by.iter().filter(|by| self.param(upstream, by.text).is_none());
        let unknown = unknown.filter(|_| !scope.unknown);
        let tell = |by: &super::reader::Name<'t>| {
            let params = self.param_names(upstream);
            let help =
                keys::did_you_mean(by.text, params.iter().copied()).unwrap_or_else(|| match params
                    .is_empty()
                {
                    true => format!("`{name}` has no parameters"),
                    false => format!("its parameters are {}", keys::listed(params)),
                });
            let message = format!("`{}` is no parameter of `{name}`", by.text.escape_debug());
            Diagnostic::at(by.span.clone(), message).help(help)
        };
        unknown.map(tell).collect()
    }
}
