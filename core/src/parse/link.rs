//! From drafts to tasks: names are resolved by the rules of [`crate::resolve`], and problems get
//! their location in the file.

use std::borrow::Cow;
use std::ops::Range;

use rustc_hash::FxHashMap;

use super::diagnostic::Diagnostic;
use super::draft::{Draft, DraftAction, DraftArg, DraftClause, DraftPattern};
use super::reader::{Name, Reader};
use super::text::Text;
use crate::check::{self, Long};
use crate::graph::find_cycles;
use crate::ids::TaskId;
use crate::pipeline::{Arg, Args, Call, Capture, Clause, Pattern, Scatter, Task, TaskAction};
use crate::problem::Syntax;
use crate::resolve::{Found, Names, References, Site, Spot};
use crate::shell;
use crate::template::{Part, RawPart, Template, scan};
use crate::value::Value;
use crate::warn::{self, At};

/// One task waits for another.
struct Edge {
    upstream: TaskId,
    downstream: TaskId,
    /// By which key, or a placeholder.
    kind: &'static str,
    /// Where that is written.
    span: Range<usize>,
}

/// The tasks of a file while they are made from drafts.
pub(super) struct Linker<'r, 'a, 't> {
    reader: &'r mut Reader<'a>,
    drafts: &'r [Draft<'t>],
    pub(super) names: Names<'r>,
    /// The variables, with the locations of their names.
    vars: Vec<(&'r str, &'r Range<usize>)>,
    edges: Vec<Edge>,
    /// Whether nothing is missing in any task.
    complete: bool,
}

impl<'r, 'a, 't> Linker<'r, 'a, 't> {
    pub(super) fn new(
        reader: &'r mut Reader<'a>,
        drafts: &'r [Draft<'t>],
        vars: &'r [(String, Value)],
        var_spans: &'r [Range<usize>],
    ) -> Linker<'r, 'a, 't> {
        let ids = drafts.iter().zip(0..);
        let ids = ids.map(|(draft, id)| (Cow::Borrowed(draft.name), TaskId(id))).collect();
        let tasks = drafts.iter().map(Draft::task).collect();
        let mut names = Names::new(Syntax::Toml, tasks, ids, vars);
        names.gaps = drafts.iter().map(|draft| draft.unknown).collect();
        let vars = vars.iter().map(|(name, _)| name.as_str()).zip(var_spans).collect();
        Linker { reader, drafts, names, vars, edges: Vec::new(), complete: true }
    }

    /// Resolves all tasks; `None` when a part of one could not be resolved.
    pub(super) fn tasks(&mut self) -> Option<Vec<Task>> {
        for (id, draft) in (0..).map(TaskId).zip(self.drafts) {
            let pattern = self.pattern(id, draft);
            let task = &mut self.names.tasks[id.at()];
            match pattern {
                Some(pattern) => task.pattern = pattern,
                None => self.names.gaps[id.at()].params = true,
            }
            let least = draft.min_success.as_ref().map(|(least, _)| *least);
            task.conduct.min_success = least.filter(|_| !task.pattern.gathered().is_empty());
        }
        for (task, spot, problem) in self.names.link() {
            let span = place(&self.drafts[task.at()], spot);
            self.complete &= !matches!(spot, Spot::By(_));
            self.reader.add(Diagnostic::of(span, problem));
        }
        for (id, draft) in (0..).map(TaskId).zip(self.drafts) {
            let before = self.reader.problems.len();
            self.task(id, draft);
            let sound = !self.names.gaps[id.at()].params && draft.action.is_some();
            self.complete &= sound && self.reader.problems.len() == before;
        }
        let mut lengths = check::Lengths::default();
        for (id, draft) in (0..).map(TaskId).zip(self.drafts) {
            for (long, problem) in lengths.of_task(&self.names, id) {
                self.reader.add(Diagnostic::of(long_span(draft, long), problem));
            }
        }
        self.complete.then(|| {
            if self.reader.problems.is_empty() {
                self.warn();
            }
            std::mem::take(&mut self.names.tasks)
        })
    }

    /// Adds what the rules warn of, each at its location.
    fn warn(&mut self) {
        for (at, problem) in warn::warnings(&self.names) {
            let draft = at.task().and_then(|task| self.drafts.get(task.at()));
            let span = match (draft, &at) {
                (Some(draft), _) => warned(draft, &at).unwrap_or_else(|| draft.span.clone()),
                (None, At::Var(name)) => self.var_span(name),
                (None, _) => 0..0,
            };
            self.reader.warn(span, problem);
        }
    }

    /// Where a variable is declared.
    fn var_span(&self, name: &str) -> Range<usize> {
        let found = self.vars.iter().find(|(known, _)| *known == name);
        found.map_or(0..0, |(_, span)| (*span).clone())
    }

    /// Resolves `map`, `scatter` or `gather`; `None` when that is not possible.
    fn pattern(&mut self, id: TaskId, draft: &Draft<'t>) -> Option<Pattern> {
        match &draft.pattern {
            DraftPattern::Own => Some(Pattern::Own),
            DraftPattern::Map(name) => self.upstream(id, name, "map").map(Pattern::Map),
            DraftPattern::Scatter(scatter) => {
                let from = self.upstream(id, &scatter.from, "scatter")?;
                let (split, max_items) = (scatter.split, scatter.max_items);
                Some(Pattern::Scatter(Scatter { from, split, max_items }))
            }
            DraftPattern::Gather(gather) => {
                let before = self.reader.problems.len();
                let upstreams = self.upstreams(id, &gather.tasks, "gather");
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
        let span = name.span.clone();
        match self.names.upstream(task, name.text, kind) {
            Ok(upstream) => {
                self.edges.push(Edge { upstream, downstream: task, kind, span });
                Some(upstream)
            }
            Err(problem) => {
                self.reader.report(span, problem);
                None
            }
        }
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

    /// Resolves what a task waits for and its texts.
    fn task(&mut self, id: TaskId, draft: &Draft<'t>) {
        let after = self.clauses(id, &draft.after, "after");
        let follow = self.clauses(id, &draft.follow, "follow");
        let (site, refs) = (Site::of(id), &mut References::default());
        let action = match &draft.action {
            Some(DraftAction::Run(argv)) => {
                TaskAction::Run(argv.iter().map(|text| self.text(site, text, refs)).collect())
            }
            Some(action @ (DraftAction::Shell(script) | DraftAction::Script(script))) => {
                for (range, problem) in check::script(&self.names, id, &script.text) {
                    let span = range.map_or(draft.span.clone(), |range| script.locate(0, range));
                    self.reader.add(Diagnostic::of(span, problem));
                }
                let text = script.text.clone().into_owned();
                match action {
                    DraftAction::Script(_) => TaskAction::Script(text),
                    _ => TaskAction::Shell(text),
                }
            }
            Some(DraftAction::Call(function, args)) => {
                let args = Args::Named(self.args(id, args, refs));
                let function = (*function).to_owned();
                TaskAction::Call(Box::new(Call { function, signature: None, args, fold: false }))
            }
            None => TaskAction::Shell(String::new()),
        };
        for (at, (_, _, path)) in draft.outputs.iter().enumerate() {
            let Some(path) = path else { continue };
            let span = path.span.clone();
            let path = self.path(Site { task: id, of_output: true }, path, refs);
            if self.names.tasks[id.at()].is_temp(at) {
                self.reader.report(span, check::temporary(&path));
            }
            self.names.tasks[id.at()].outputs[at].1 = path;
        }
        let env = draft.env.iter();
        let env = env.map(|(name, text)| ((*name).to_owned(), self.text(site, text, refs)));
        let mut env: Vec<(String, Template)> = env.collect();
        if let Some(DraftAction::Shell(script) | DraftAction::Script(script)) = &draft.action {
            self.value_files(id, script, &mut env, refs);
        }
        let stdin = draft.stdin.as_ref().map(|text| self.path(site, text, refs));
        let working_dir = draft.working_dir.as_ref().map(|text| {
            let path = self.text(site, text, refs);
            self.reader.report(text.span.clone(), check::directory(&path, Syntax::Toml));
            path
        });
        let inputs = draft.inputs.iter().map(|text| {
            let path = self.path(site, text, refs);
            self.reader.report(text.span.clone(), check::input_path(&path));
            path
        });
        let inputs = inputs.collect();
        let wrap = draft.wrap.iter().map(|text| self.text(site, text, refs)).collect();
        let task = &mut self.names.tasks[id.at()];
        (task.wrap, task.inputs) = (wrap, inputs);
        (task.action, task.env, task.stdin, task.working_dir) = (action, env, stdin, working_dir);
        (task.after, task.follow) = (after, follow);
        task.references = std::mem::take(refs).into_tasks();
    }

    /// A script that mentions `TASK_value_file` gets that variable: `{TASK.value:file}`.
    fn value_files(
        &mut self,
        id: TaskId,
        script: &Text<'_>,
        env: &mut Vec<(String, Template)>,
        refs: &mut References,
    ) {
        let mut words: Vec<&str> = shell::words(&script.text).into_iter().collect();
        words.retain(|word| word.ends_with("_value_file"));
        words.sort_unstable();
        for word in words {
            let upstream = word.strip_suffix("_value_file").unwrap_or(word);
            let named = |draft: &Draft<'_>| shell::variable(draft.name) == upstream;
            let Some(draft) = self.drafts.iter().find(|draft| named(draft)) else { continue };
            if env.iter().any(|(known, _)| known == word) {
                continue;
            }
            let at = script.text.find(word).unwrap_or(0);
            let text = format!("{{{}.value:file}}", draft.name);
            let (reader, edges) = (&mut *self.reader, &mut self.edges);
            let span = script.locate(0, at..at + word.len());
            let template = self.names.template(Site::of(id), &text, refs, &mut |_, _, found| {
                let span = span.clone();
                match found {
                    Found::Problem(problem) => reader.add(Diagnostic::of(span, problem)),
                    Found::Upstream(upstream) => {
                        edges.push(Edge { upstream, downstream: id, kind: "placeholder", span });
                    }
                }
            });
            env.push((word.to_owned(), template));
        }
    }

    fn text(&mut self, site: Site, text: &Text<'_>, refs: &mut References) -> Template {
        let (reader, edges) = (&mut *self.reader, &mut self.edges);
        self.names.template(site, &text.text, refs, &mut |ordinal, range, found| {
            let span = text.locate(ordinal, range);
            match found {
                Found::Problem(problem) => reader.add(Diagnostic::of(span, problem)),
                Found::Upstream(upstream) => {
                    let (downstream, kind) = (site.task, "placeholder");
                    edges.push(Edge { upstream, downstream, kind, span });
                }
            }
        })
    }

    /// A path or a URL.
    fn path(&mut self, site: Site, text: &Text<'_>, refs: &mut References) -> Template {
        let path = self.text(site, text, refs);
        self.reader.report(text.span.clone(), check::location(&path));
        path
    }

    fn args(
        &mut self,
        task: TaskId,
        args: &[(&str, DraftArg<'_>)],
        refs: &mut References,
    ) -> Vec<(String, Arg)> {
        args.iter().map(|(name, arg)| ((*name).to_owned(), self.arg(task, arg, refs))).collect()
    }

    // As deep as the document, which the TOML parser bounds.
    fn arg(&mut self, task: TaskId, arg: &DraftArg<'_>, refs: &mut References) -> Arg {
        match arg {
            DraftArg::Value(value) => Arg::Value(value.clone()),
            DraftArg::Text(text) => {
                if let Some(upstream) = self.gathered_value(task, text) {
                    return Arg::Gathered(upstream);
                }
                let template = self.text(Site::of(task), text, refs);
                match template.parts.as_slice() {
                    [] => Arg::Value(Value::String("".into())),
                    [Part::Literal(text)] => Arg::Value(Value::String(text.as_str().into())),
                    _ => Arg::Text(template),
                }
            }
            DraftArg::List(args) => {
                list_arg(args.iter().map(|arg| self.arg(task, arg, refs)).collect())
            }
            DraftArg::Table(args) => table_arg(self.args(task, args, refs)),
        }
    }

    /// The task that is gathered, when the text is its `{TASK.value}` and nothing else: all values.
    fn gathered_value(&self, task: TaskId, text: &Text<'_>) -> Option<TaskId> {
        let parts = scan(&text.text).ok()?;
        let [RawPart::Hole { text: hole, .. }] = parts.as_slice() else { return None };
        let upstream = self.names.id(hole.strip_suffix(".value")?)?;
        let gathers = self.names.tasks[task.at()].pattern.gathered().contains(&upstream);
        let captures = self.names.tasks[upstream.at()].capture != Capture::None;
        (gathers && captures).then_some(upstream)
    }

    /// Reports tasks that wait for each other; returns whether there are none.
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
        for cycle in cycles {
            let name = |task: TaskId| self.drafts[task.at()].name;
            let edge = |from, to| by_pair.get(&(from, to)).copied();
            let (problem, closing) = check::cycle(&cycle, name, |from, to| {
                edge(from, to).map_or("after", |edge| edge.kind)
            });
            let span = edge(closing.0, closing.1).map_or(0..0, |edge| edge.span.clone());
            self.reader.add(Diagnostic::of(span, problem));
        }
        false
    }
}

/// The location of a task's problem.
fn place(draft: &Draft<'_>, spot: Spot) -> Range<usize> {
    let span = match (spot, &draft.pattern) {
        (Spot::By(at), DraftPattern::Gather(gather)) => gather.by.get(at).map(|by| &by.span),
        (Spot::Scatter, DraftPattern::Scatter(scatter)) => Some(&scatter.from.span),
        (Spot::Axis(at), _) => draft.sweep.as_ref().and_then(|sweep| sweep.axes.get(at)),
        _ => None,
    };
    span.unwrap_or(&draft.span).clone()
}

/// The location of what is too long in a task.
fn long_span(draft: &Draft<'_>, long: Long) -> Range<usize> {
    let span = match (long, &draft.action) {
        (Long::Word(at), Some(DraftAction::Run(words))) => words.get(at).map(|word| &word.span),
        (Long::Env(at), _) => draft.env.get(at).map(|(_, text)| &text.span),
        (Long::Script, Some(DraftAction::Shell(script) | DraftAction::Script(script))) => {
            Some(&script.span)
        }
        _ => None,
    };
    span.unwrap_or(&draft.span).clone()
}

/// The location of what is warned of in a task.
fn warned(draft: &Draft<'_>, at: &At) -> Option<Range<usize>> {
    let sweep = draft.sweep.as_ref();
    match (at, &draft.action) {
        (At::Axis(_, at), _) => sweep?.axes.get(*at).cloned(),
        (At::Exclude(_, row), _) => sweep?.exclude.get(*row).cloned(),
        (At::Include(_, row), _) => sweep?.include.get(*row).cloned(),
        (At::Output(_, at), _) => draft.outputs.get(*at).map(|(_, span, _)| span.clone()),
        (At::Word(_, word, hole), Some(DraftAction::Run(words))) => {
            words.get(*word).map(|word| word.hole(*hole))
        }
        (At::Script(_, range), Some(DraftAction::Shell(script))) => {
            Some(script.locate(0, range.clone()))
        }
        _ => None,
    }
}

/// A list; one of constants is a constant.
fn list_arg(args: Vec<Arg>) -> Arg {
    if !args.iter().all(|arg| matches!(arg, Arg::Value(_))) {
        return Arg::List(args);
    }
    let value = |arg| match arg {
        Arg::Value(value) => Some(value),
        _ => None,
    };
    Arg::Value(Value::List(args.into_iter().filter_map(value).collect()))
}

/// A table; one of constants is a constant.
fn table_arg(args: Vec<(String, Arg)>) -> Arg {
    if !args.iter().all(|(_, arg)| matches!(arg, Arg::Value(_))) {
        return Arg::Table(args);
    }
    let value = |(name, arg)| match arg {
        Arg::Value(value) => Some((name, value)),
        _ => None,
    };
    Arg::Value(Value::Table(args.into_iter().filter_map(value).collect()))
}
