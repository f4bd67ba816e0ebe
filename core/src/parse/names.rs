//! What refers to what: tasks by name, parameters through maps, and the order that follows.

use std::cell::RefCell;
use std::ops::Range;

use rustc_hash::{FxHashMap, FxHashSet};

use super::clauses::DraftClause;
use super::diagnostic::Diagnostic;
use super::keys;
use super::pattern::{DraftPattern, DraftScatter};
use super::reader::{Name, Reader};
use super::scopes::Scope;
use super::task::{Draft, DraftAction};
use crate::graph::find_cycles;
use crate::ids::TaskId;
use crate::pipeline::{Capture, Clause, Pattern, Scatter, Task, TaskAction};
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
    /// Every task with each one that it gathers.
    pub(super) gathers: FxHashSet<(TaskId, TaskId)>,
    /// Owners of parameters that gathers by parameters have, by gather and position in `by`.
    pub(super) owners: RefCell<FxHashMap<(TaskId, usize), Option<TaskId>>>,
    /// Whether the pattern of each task could be resolved.
    pub(super) whole: Vec<bool>,
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
            gathers: FxHashSet::default(),
            owners: RefCell::default(),
            whole: Vec::with_capacity(drafts.len()),
            edges: Vec::new(),
        }
    }

    /// Resolves all tasks, each `None` when something of it could not be.
    pub(super) fn tasks(&mut self) -> Vec<Option<Task>> {
        for task in 0..self.drafts.len() {
            let pattern = self.pattern(task);
            self.whole.push(pattern.is_some());
            self.patterns.push(pattern.unwrap_or(Pattern::Own));
        }
        self.scopes();
        self.inherited_twice();
        self.groups();
        let ids = (0..).map(TaskId).zip(self.drafts);
        ids.map(|(id, draft)| self.task(id, draft)).collect()
    }

    /// Resolves `map`, `scatter` or `gather`; `None` when that is not possible.
    fn pattern(&mut self, at: usize) -> Option<Pattern> {
        let draft = &self.drafts[at];
        let id = TaskId(at as u32);
        match &draft.pattern {
            DraftPattern::Own => Some(Pattern::Own),
            DraftPattern::Map(name) => self.upstream(id, name, "map").map(Pattern::Map),
            DraftPattern::Scatter(scatter) => {
                let from = self.upstream(id, &scatter.from, "scatter")?;
                self.captures_array(from, &scatter.from);
                let DraftScatter { split, max_items, .. } = *scatter;
                Some(Pattern::Scatter(Scatter { from, split, max_items }))
            }
            DraftPattern::Gather(gather) => {
                let before = self.reader.problems.len();
                let upstreams = self.upstreams(id, &gather.tasks, "gather");
                self.gathers.extend(upstreams.iter().map(|upstream| (id, *upstream)));
                let by = gather.by.iter().map(|name| name.text.to_owned()).collect::<Vec<_>>();
                match upstreams.as_slice() {
                    [] => None,
                    [one] if !by.is_empty() => Some(Pattern::GatherBy(*one, by)),
                    _ if self.reader.problems.len() > before => None,
                    _ => Some(Pattern::Gather(upstreams)),
                }
            }
        }
    }

    /// Tells when a task whose value is scattered captures no array.
    fn captures_array(&mut self, from: TaskId, name: &Name<'_>) {
        let draft = &self.drafts[from.at()];
        if draft.unknown.capture || matches!(draft.capture, Capture::Json | Capture::Lines) {
            return;
        }
        let message = match draft.capture {
            Capture::Text => format!("`{}` captures text, not an array", name.text),
            _ => format!("`{}` captures no value", name.text),
        };
        let problem = Diagnostic::at(name.span.clone(), message)
            .label("by `scatter`")
            .help(format!("add capture = \"json\" or \"lines\" to task `{}`", name.text));
        self.reader.add(problem);
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

    fn clauses(
        &mut self,
        task: TaskId,
        clauses: &[DraftClause<'t>],
        kind: &'static str,
    ) -> Vec<Clause> {
        let resolved = clauses.iter().map(|clause| Clause {
            upstreams: self.upstreams(task, &clause.upstreams, kind),
            quantifier: clause.quantifier,
            on: clause.on,
        });
        resolved.collect()
    }

    /// Resolves one task.
    fn task(&mut self, id: TaskId, draft: &Draft<'t>) -> Option<Task> {
        let before = self.reader.problems.len();
        let after = self.clauses(id, &draft.after, "after");
        let follow = self.clauses(id, &draft.follow, "follow");
        let texts = self.texts(id, draft);
        if !self.whole[id.at()] || draft.unknown.params || self.reader.problems.len() > before {
            return None;
        }
        let action = match (&draft.action, texts.argv) {
            (Some(DraftAction::Run(_)), argv) => TaskAction::Run(argv),
            (Some(DraftAction::Shell(script)), _) => TaskAction::Shell((*script).to_owned()),
            (Some(DraftAction::Call(..)), _) => TaskAction::Call(Box::new(texts.call?)),
            (None, _) => return None,
        };
        let mut conduct = draft.conduct.clone();
        let gathers = self.patterns[id.at()].gathered().first();
        conduct.min_success = gathers.and(draft.min_success.as_ref().map(|(least, _)| *least));
        Some(Task {
            name: draft.name.to_owned(),
            action,
            pattern: self.patterns[id.at()].clone(),
            sweep: draft.sweep.as_ref().map(|sweep| sweep.space.clone()),
            after,
            follow,
            references: texts.references,
            capture: draft.capture,
            outputs: texts.outputs,
            stdin: texts.stdin,
            inputs: draft.inputs.iter().map(|input| input.text.to_owned()).collect(),
            env: texts.env,
            working_dir: texts.working_dir,
            conduct,
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
