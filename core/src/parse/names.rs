//! What refers to what: tasks by name, parameters through maps, and the order that follows.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::diagnostic::Diagnostic;
use super::keys;
use super::reader::{Name, Reader};
use super::task::{Draft, DraftAction, DraftPattern};
use crate::graph::find_cycles;
use crate::ids::TaskId;
use crate::pipeline::{Clause, Pattern, Task, TaskAction};
use crate::value::Value;

/// How many problems there may be before misspelt task names are no longer compared with all others.
const MAX_GUESSES: usize = 100;

/// One task waits for another.
pub(super) struct Edge {
    upstream: TaskId,
    downstream: TaskId,
    /// By which key, or a placeholder.
    kind: &'static str,
    /// Where that is written.
    span: Range<usize>,
}

/// What a task can refer to.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// The nearest task with parameters of its own: itself, or one that it maps over.
    params: Option<TaskId>,
    /// Whether it may have more than one instance.
    pub(super) array: bool,
    /// Whether not all of its parameters are known, because of a problem that has been told.
    pub(super) unknown: bool,
}

/// The tasks and variables of a file, by name, and what has been resolved so far.
pub(super) struct Names<'r, 'a, 't> {
    pub(super) reader: &'r mut Reader<'a>,
    pub(super) drafts: &'r [Draft<'t>],
    pub(super) vars: FxHashMap<&'r str, &'r Value>,
    pub(super) vars_unknown: bool,
    pub(super) tasks_unknown: bool,
    pub(super) ids: FxHashMap<&'t str, TaskId>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) scopes: Vec<Scope>,
    edges: Vec<Edge>,
}

impl<'r, 'a, 't> Names<'r, 'a, 't> {
    pub(super) fn new(
        reader: &'r mut Reader<'a>,
        drafts: &'r [Draft<'t>],
        vars: &'r [(String, Value)],
    ) -> Names<'r, 'a, 't> {
        let ids = drafts.iter().zip(0..).map(|(draft, id)| (draft.name, TaskId(id))).collect();
        Names {
            reader,
            drafts,
            vars: vars.iter().map(|(name, value)| (name.as_str(), value)).collect(),
            vars_unknown: false,
            tasks_unknown: false,
            ids,
            patterns: Vec::with_capacity(drafts.len()),
            scopes: Vec::new(),
            edges: Vec::new(),
        }
    }

    /// Resolves all tasks, each `None` when something of it could not be.
    pub(super) fn tasks(&mut self) -> Vec<Option<Task>> {
        let mut whole: Vec<bool> = (0..self.drafts.len()).map(|task| self.pattern(task)).collect();
        self.scopes();
        self.inherited_twice();
        let ids = (0..).map(TaskId).zip(self.drafts);
        ids.zip(&mut whole).map(|((id, draft), whole)| self.task(id, draft, *whole)).collect()
    }

    /// Resolves `map` or `gather`; whether that was possible.
    fn pattern(&mut self, at: usize) -> bool {
        let draft = &self.drafts[at];
        let id = TaskId(at as u32);
        let (pattern, whole) = match &draft.pattern {
            DraftPattern::Own => (Pattern::Own, true),
            DraftPattern::Map(name) => match self.upstream(id, name, "map") {
                Some(upstream) => (Pattern::Map(upstream), true),
                None => (Pattern::Own, false),
            },
            DraftPattern::Gather(names) => {
                let upstreams = self.upstreams(id, names, "gather");
                let whole = upstreams.len() == names.len();
                (Pattern::Gather(upstreams), whole)
            }
        };
        self.patterns.push(pattern);
        whole
    }

    /// Resolves a list of tasks; one that is named twice counts once.
    fn upstreams(&mut self, task: TaskId, names: &[Name<'t>], kind: &'static str) -> Vec<TaskId> {
        let mut upstreams: Vec<_> =
            names.iter().filter_map(|name| self.upstream(task, name, kind)).collect();
        let mut seen = rustc_hash::FxHashSet::default();
        upstreams.retain(|upstream| seen.insert(*upstream));
        upstreams
    }

    /// Resolves the name of another task and notes that `task` waits for it.
    fn upstream(&mut self, task: TaskId, name: &Name<'t>, kind: &'static str) -> Option<TaskId> {
        let Some(&upstream) = self.ids.get(name.text) else {
            self.unknown_task(name);
            return None;
        };
        if upstream == task {
            let message = format!("task `{}` refers to itself", name.text);
            let problem = Diagnostic::at(name.span.clone(), message)
                .label(format!("by `{kind}`"))
                .help("a task cannot wait for itself; when this comes from [defaults], give the task its own value");
            self.reader.add(problem);
            return None;
        }
        self.depends(task, upstream, kind, name.span.clone());
        Some(upstream)
    }

    fn unknown_task(&mut self, name: &Name<'_>) {
        if self.tasks_unknown {
            return;
        }
        let guess = self.guess_task(name.text);
        let help = guess.map(|task| format!("did you mean `{task}`?")).unwrap_or_else(|| {
            let tasks = self.drafts.iter().map(|draft| draft.name);
            format!("the tasks are {}", keys::listed(tasks.take(20)))
        });
        let message = format!("unknown task `{}`", name.text);
        self.reader
            .add(Diagnostic::at(name.span.clone(), message).label("no such task").help(help));
    }

    /// The task whose name looks most like this one.
    pub(super) fn guess_task(&self, name: &str) -> Option<&'t str> {
        if self.reader.problems.len() > MAX_GUESSES {
            return None;
        }
        keys::closest(name, self.drafts.iter().map(|draft| draft.name))
    }

    /// Notes that `task` waits for `upstream`.
    pub(super) fn depends(
        &mut self,
        task: TaskId,
        upstream: TaskId,
        kind: &'static str,
        span: Range<usize>,
    ) {
        self.edges.push(Edge { upstream, downstream: task, kind, span });
    }

    /// Follows the maps, so that parameters can be found; without recursion, as chains may be long.
    fn scopes(&mut self) {
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
                    break Some(Scope { params: None, array: true, unknown: true });
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
        let own = draft.sweep.as_ref().map(|_| TaskId(at as u32));
        let unresolved = match &draft.pattern {
            DraftPattern::Own => false,
            DraftPattern::Map(_) => matches!(self.patterns[at], Pattern::Own),
            DraftPattern::Gather(names) => {
                matches!(&self.patterns[at], Pattern::Gather(found) if found.len() < names.len())
            }
        };
        Scope {
            params: own.or_else(|| upstream.and_then(|scope| scope.params)),
            array: own.is_some() || upstream.is_some_and(|scope| scope.array),
            unknown: draft.unknown.params
                || unresolved
                || upstream.is_some_and(|scope| scope.unknown),
        }
    }

    /// The task that gives `task` a parameter: itself or one that it maps over.
    pub(super) fn param(&self, task: TaskId, name: &str) -> Option<TaskId> {
        self.param_tasks(task).find(|owner| {
            let sweep = self.drafts[owner.at()].sweep.as_ref();
            sweep.is_some_and(|sweep| sweep.find(name).is_some())
        })
    }

    /// The tasks that give `task` parameters, itself first.
    pub(super) fn param_tasks(&self, task: TaskId) -> impl Iterator<Item = TaskId> {
        let mut next = self.scopes[task.at()].params;
        // A cycle of maps is cut by the number of steps.
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
    fn inherited_twice(&mut self) {
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

    /// Resolves one task; `whole` is whether its pattern was.
    fn task(&mut self, id: TaskId, draft: &Draft<'t>, whole: bool) -> Option<Task> {
        let before = self.reader.problems.len();
        let after = draft.after.iter().map(|clause| Clause {
            upstreams: self.upstreams(id, &clause.upstreams, "after"),
            quantifier: clause.quantifier,
            on: clause.on,
        });
        let after = after.collect();
        let texts = self.texts(id, draft);
        if !whole || draft.unknown.params || self.reader.problems.len() > before {
            return None;
        }
        let action = match (&draft.action, texts.argv) {
            (Some(DraftAction::Run(_)), argv) => TaskAction::Run(argv),
            (Some(DraftAction::Shell(script)), _) => TaskAction::Shell((*script).to_owned()),
            (None, _) => return None,
        };
        Some(Task {
            name: draft.name.to_owned(),
            action,
            pattern: self.patterns[id.at()].clone(),
            sweep: draft.sweep.as_ref().map(|sweep| sweep.space.clone()),
            after,
            references: texts.references,
            capture: draft.capture,
            outputs: texts.outputs,
            stdin: texts.stdin,
            inputs: draft.inputs.iter().map(|input| input.text.to_owned()).collect(),
            env: texts.env,
            working_dir: texts.working_dir,
            retry: draft.retry.clone(),
            timeout: draft.timeout,
            grace: draft.grace,
            allow_failure: draft.allow_failure,
            cpus: draft.cpus,
            max_running: draft.max_running,
            ..Task::new(draft.name, TaskAction::Run(Vec::new()))
        })
    }

    /// Tells of tasks that wait for each other; whether there are none.
    pub(super) fn no_cycles(self) -> bool {
        let pairs: Vec<_> =
            self.edges.iter().map(|edge| (edge.upstream, edge.downstream)).collect();
        let cycles = find_cycles(self.drafts.len(), &pairs);
        if cycles.is_empty() {
            return true;
        }
        let mut by_pair = FxHashMap::default();
        for edge in &self.edges {
            by_pair.entry((edge.upstream, edge.downstream)).or_insert(edge);
        }
        for mut cycle in cycles {
            let first = cycle.iter().enumerate().min_by_key(|(_, task)| **task);
            let first = first.map_or(0, |(at, _)| at);
            cycle.rotate_left(first);
            self.reader.add(cycle_problem(&cycle, &by_pair, self.drafts));
        }
        false
    }
}

/// A cycle, edge by edge: each task with what makes it wait for the one before.
fn cycle_problem(
    cycle: &[TaskId],
    edges: &FxHashMap<(TaskId, TaskId), &Edge>,
    drafts: &[Draft<'_>],
) -> Diagnostic {
    const SHOWN: usize = 12;
    let name = |task: TaskId| drafts[task.at()].name;
    let mut message = format!("cycle: {}", cycle.first().map_or("", |task| name(*task)));
    let mut closing = None;
    for (step, (from, to)) in cycle.iter().zip(cycle.iter().cycle().skip(1)).enumerate() {
        closing = edges.get(&(*from, *to));
        let last = step + 1 == cycle.len();
        if step < SHOWN || last {
            let kind = closing.map_or("after", |edge| edge.kind);
            message.push_str(&format!(" -> {} ({kind})", name(*to)));
        } else if step == SHOWN {
            message.push_str(&format!(" -> … {} more", cycle.len() - SHOWN - 1));
        }
    }
    let problem = match closing {
        Some(edge) => Diagnostic::at(edge.span.clone(), message),
        None => Diagnostic::new(message),
    };
    problem
        .label("closes the cycle")
        .help("each task waits for the one before it; drop one of them")
}
