//! What the placeholders of a task mean, and which tasks it depends on through them.

use std::ops::Range;

use rustc_hash::FxHashSet;

use super::diagnostic::Diagnostic;
use super::keys;
use super::names::Names;
use super::task::{Draft, DraftAction};
use super::text::Text;
use crate::ids::TaskId;
use crate::pipeline::{Call, Capture, Pattern};
use crate::space::Points;
use crate::template::{Part, Placeholder, RawPart, ScanError, Template, parse_index_format, scan};

/// The texts of a task with their placeholders resolved.
#[derive(Default)]
pub(super) struct Texts {
    pub(super) argv: Vec<Template>,
    pub(super) call: Option<Call>,
    pub(super) outputs: Vec<(String, Template)>,
    pub(super) stdin: Option<Template>,
    pub(super) env: Vec<(String, Template)>,
    pub(super) working_dir: Option<Template>,
    pub(super) references: Vec<TaskId>,
}

/// Tasks that placeholders refer to, each once, in the order of the text.
#[derive(Default)]
pub(super) struct References {
    order: Vec<TaskId>,
    seen: FxHashSet<TaskId>,
}

/// What to say to those who did not mean a placeholder.
const LITERAL: &str = "literal braces are doubled: {{ and }}";

/// Where a text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Out,
    Other,
}

/// A placeholder being resolved.
struct Hole<'h> {
    task: TaskId,
    field: Field,
    /// As written, without braces.
    text: &'h str,
    /// What stands before the first dot.
    head: &'h str,
    /// What stands after each dot.
    fields: Vec<&'h str>,
    span: Range<usize>,
}

impl Hole<'_> {
    fn problem(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(self.span.clone(), message)
    }

    /// The fields from the given one on.
    fn rest(&self, from: usize) -> Vec<String> {
        self.fields.iter().skip(from).map(|field| (*field).to_owned()).collect()
    }
}

impl Names<'_, '_, '_> {
    /// Resolves all texts of a task.
    pub(super) fn texts(&mut self, task: TaskId, draft: &Draft<'_>) -> Texts {
        let mut texts = Texts::default();
        let refs = &mut References::default();
        if let Some(DraftAction::Run(argv)) = &draft.action {
            let words = argv.iter().map(|text| self.template(task, text, Field::Other, refs));
            texts.argv = words.collect();
        }
        if let Some(DraftAction::Call(function, args)) = &draft.action {
            texts.call = Some(self.call(task, function, args, refs));
        }
        for (name, _, path) in &draft.outputs {
            let Some(path) = path else { continue };
            let template = self.template(task, path, Field::Out, refs);
            texts.outputs.push(((*name).to_owned(), template));
        }
        for (name, text) in &draft.env {
            let template = self.template(task, text, Field::Other, refs);
            texts.env.push(((*name).to_owned(), template));
        }
        let stdin = draft.stdin.as_ref();
        texts.stdin = stdin.map(|text| self.template(task, text, Field::Other, refs));
        let working_dir = draft.working_dir.as_ref();
        texts.working_dir = working_dir.map(|text| self.template(task, text, Field::Other, refs));
        texts.references = std::mem::take(&mut refs.order);
        texts
    }

    pub(super) fn template(
        &mut self,
        task: TaskId,
        text: &Text<'_>,
        field: Field,
        references: &mut References,
    ) -> Template {
        let raw = match scan(&text.text) {
            Ok(raw) => raw,
            Err(error) => {
                // Words of a split string know the places of placeholders only.
                let span = text.locate(usize::MAX, error.span());
                self.reader.add(scan_problem(&error, span));
                return Template::default();
            }
        };
        let mut parts = Vec::with_capacity(raw.len());
        let mut ordinal = 0;
        for part in raw {
            match part {
                RawPart::Literal(text) => parts.push(Part::Literal(text)),
                RawPart::Hole { text: hole, span } => {
                    let span = text.locate(ordinal, span);
                    ordinal += 1;
                    let placeholder = self.hole(task, field, &hole, span, references);
                    parts.extend(placeholder.map(Part::Placeholder));
                }
            }
        }
        Template { parts }
    }

    /// Resolves one placeholder; tells what is wrong when it means nothing.
    fn hole(
        &mut self,
        task: TaskId,
        field: Field,
        text: &str,
        span: Range<usize>,
        references: &mut References,
    ) -> Option<Placeholder> {
        let (path, format) = match text.split_once(':') {
            Some((path, format)) => (path, Some(format)),
            None => (text, None),
        };
        let mut segments = path.split('.');
        let head = segments.next().unwrap_or_default();
        let hole = Hole { task, field, text, head, fields: segments.collect(), span };
        let resolved = if !keys::is_name(head) || hole.fields.contains(&"") {
            Err(Some(hole.problem(format!("`{{{text}}}` is not a placeholder")).help(LITERAL)))
        } else if let Some(format) = format {
            formatted(&hole, format).map_err(Some)
        } else if hole.fields.is_empty() {
            self.word(&hole)
        } else {
            self.dotted(&hole, references)
        };
        resolved.map_err(|problem| problem.into_iter().for_each(|p| self.reader.add(p))).ok()
    }

    /// `{name}`. An error without a problem follows from one that has been told.
    fn word(&self, hole: &Hole<'_>) -> Result<Placeholder, Option<Diagnostic>> {
        let head = hole.head;
        if self.param(hole.task, head).is_some() {
            return Ok(Placeholder::Param(head.to_owned(), Vec::new()));
        }
        let help = match head {
            "index" => return Ok(Placeholder::Index(0)),
            "key" => return Ok(Placeholder::Key),
            "seed" => return Ok(Placeholder::Seed),
            "attempt" => return Ok(Placeholder::Attempt),
            "item" => return self.item(hole),
            "vars" => "write {vars.NAME}".to_owned(),
            "out" => "write {out.NAME}".to_owned(),
            "run" => "write {run.id} or {run.dir}".to_owned(),
            _ if self.vars.contains_key(head) => format!("write {{vars.{head}}}"),
            _ => match self.ids.get(head) {
                Some(task) => self.task_help(*task),
                None => return self.unknown(hole),
            },
        };
        let what = if self.ids.contains_key(head) { "a task, not a value" } else { "not a value" };
        Err(Some(hole.problem(format!("`{{{head}}}` is {what}")).help(help)))
    }

    /// `{item}`, `{item.field}` of a scatter, or of a map over one.
    fn item(&self, hole: &Hole<'_>) -> Result<Placeholder, Option<Diagnostic>> {
        let scope = &self.scopes[hole.task.at()];
        if matches!(self.patterns[scope.root.at()], Pattern::Scatter(_)) {
            return Ok(Placeholder::Item(hole.rest(0)));
        }
        if scope.unknown {
            return Err(None);
        }
        let problem = hole.problem(format!("`{{{}}}` outside of a scatter", hole.text));
        Err(Some(problem.help("add scatter = \"task\", or map a task that scatters")))
    }

    /// What can be said of a task in a placeholder.
    fn task_help(&self, task: TaskId) -> String {
        let draft = &self.drafts[task.at()];
        let mut forms: Vec<_> =
            draft.outputs.iter().map(|(name, _, _)| format!("{{{}.{name}}}", draft.name)).collect();
        if draft.capture != Capture::None {
            forms.push(format!("{{{}.value}}", draft.name));
        }
        if forms.is_empty() {
            return format!("`{}` has neither outputs nor a captured value", draft.name);
        }
        format!("write {}", keys::listed(forms.iter().map(String::as_str)))
    }

    /// Tells that a name means nothing, and what it may have meant.
    fn unknown(&self, hole: &Hole<'_>) -> Result<Placeholder, Option<Diagnostic>> {
        let scope = &self.scopes[hole.task.at()];
        if scope.unknown || self.tasks_unknown && !hole.fields.is_empty() {
            return Err(None);
        }
        let head = hole.head;
        let problem = hole.problem(format!("unknown placeholder `{{{}}}`", hole.text));
        let problem = problem.label("nothing has this name");
        let pattern = &self.patterns[hole.task.at()];
        let mut gathered = pattern.gathered().iter();
        if let Some(owner) = gathered.find(|task| self.param(**task, head).is_some()) {
            let owner = self.drafts[owner.at()].name;
            if matches!(pattern, Pattern::GatherBy(..)) {
                let help = format!("add `{head}` to `by`, or read it in {{{owner}.manifest}}");
                return Err(Some(problem.help(help)));
            }
            return Err(Some(problem.help(format!(
                "a gather does not have the parameters of what it gathers; they stand in {{{owner}.manifest}}"
            ))));
        }
        let params = self.param_names(hole.task);
        let near = params.iter().copied().chain(self.vars.keys().copied());
        let near = near.chain(keys::BUILTINS.iter().copied());
        let guess = keys::closest(head, near).or_else(|| self.guess_task(head));
        let help = match guess {
            Some(guess) if !params.contains(&guess) && self.vars.contains_key(guess) => {
                format!("did you mean `{{vars.{guess}}}`?")
            }
            Some(guess) => format!("did you mean `{{{guess}}}`?"),
            None if params.is_empty() => format!("the task has no parameters; {LITERAL}"),
            None => format!("the parameters are {}; {LITERAL}", keys::listed(params)),
        };
        Err(Some(problem.help(help)))
    }

    /// `{name.field}`.
    fn dotted(
        &mut self,
        hole: &Hole<'_>,
        references: &mut References,
    ) -> Result<Placeholder, Option<Diagnostic>> {
        let upstream = self.ids.get(hole.head).copied();
        let param = self.param(hole.task, hole.head);
        let built_in = self.built_in(hole);
        let ambiguous = match (&built_in, param, upstream) {
            (_, Some(_), Some(_)) => Some("a parameter and a task"),
            (Some(Ok(_)), _, Some(task)) if self.task_has(task, hole.fields[0]) => {
                Some("a built-in name and a task")
            }
            _ => None,
        };
        if let Some(what) = ambiguous {
            let message = format!("`{{{}}}` is ambiguous: `{}` is {what}", hole.text, hole.head);
            return Err(Some(hole.problem(message).help("rename one of them")));
        }
        match (built_in, param, upstream) {
            (Some(Ok(placeholder)), _, _) => Ok(placeholder),
            (_, Some(owner), _) => self.param_field(hole, owner),
            (_, _, Some(upstream)) => {
                let placeholder = self.of_task(hole, upstream)?;
                self.depends(hole.task, upstream, "placeholder", hole.span.clone());
                let named = match &self.patterns[hole.task.at()] {
                    Pattern::Own => false,
                    Pattern::Map(task) => *task == upstream,
                    Pattern::Scatter(_) => false,
                    Pattern::Gather(_) | Pattern::GatherBy(..) | Pattern::GatherEvery(..) => {
                        matches!(placeholder, Placeholder::Manifest(_))
                    }
                };
                if !named && references.seen.insert(upstream) {
                    references.order.push(upstream);
                }
                Ok(placeholder)
            }
            (Some(Err(problem)), None, None) => Err(problem),
            (None, None, None) => self.unknown(hole),
        }
    }

    /// `{vars.…}`, `{out.…}`, `{run.…}`, `{item.…}` and wrong uses of the others.
    fn built_in(&self, hole: &Hole<'_>) -> Option<Result<Placeholder, Option<Diagnostic>>> {
        let field = hole.fields[0];
        let alone = hole.fields.len() == 1;
        Some(match (hole.head, field) {
            ("vars", _) => self.var(hole),
            ("out", _) => self.own_output(hole),
            ("run", "id") if alone => Ok(Placeholder::RunId),
            ("run", "dir") if alone => Ok(Placeholder::RunDir),
            ("run", _) => Err(Some(
                hole.problem(format!("unknown placeholder `{{{}}}`", hole.text))
                    .help("the run has {run.id} and {run.dir}"),
            )),
            ("item", _) => self.item(hole),
            ("index" | "key" | "seed" | "attempt", _) => Err(Some(
                hole.problem(format!("`{{{}}}` has no fields", hole.head))
                    .help(format!("write {{{}}}", hole.head)),
            )),
            _ => return None,
        })
    }

    fn var(&self, hole: &Hole<'_>) -> Result<Placeholder, Option<Diagnostic>> {
        let name = hole.fields[0];
        let Some(value) = self.vars.get(name) else {
            if self.vars_unknown {
                return Err(None);
            }
            let help = keys::did_you_mean(name, self.vars.keys().copied())
                .unwrap_or_else(|| "declare it in [vars]".to_owned());
            return Err(Some(hole.problem(format!("unknown variable `{name}`")).help(help)));
        };
        match value.field_path(&hole.rest(1)) {
            Some(_) => Ok(Placeholder::Var(name.to_owned(), hole.rest(1))),
            None => Err(Some(hole.problem(format!(
                "variable `{name}` has no field `{}`",
                hole.fields[1..].join(".")
            )))),
        }
    }

    fn own_output(&self, hole: &Hole<'_>) -> Result<Placeholder, Option<Diagnostic>> {
        let draft = &self.drafts[hole.task.at()];
        let name = hole.fields[0];
        if draft.unknown.outputs {
            return Err(None);
        }
        let found = draft.outputs.iter().position(|(output, _, _)| *output == name);
        let Some(position) = found.filter(|_| hole.fields.len() == 1) else {
            return Err(Some(unknown_output(hole, draft, &hole.fields.join("."))));
        };
        if hole.field == Field::Out {
            let message = format!("`{{{}}}` cannot be part of the path of an output", hole.text);
            return Err(Some(hole.problem(message)));
        }
        Ok(Placeholder::Out(position as u32))
    }

    /// Whether a task has an output, value or manifest of this name.
    fn task_has(&self, task: TaskId, name: &str) -> bool {
        ["value", "manifest"].contains(&name)
            || self.drafts[task.at()].outputs.iter().any(|(output, _, _)| *output == name)
    }

    /// `{param.field}`: every value of the parameter must have the field.
    fn param_field(
        &self,
        hole: &Hole<'_>,
        owner: TaskId,
    ) -> Result<Placeholder, Option<Diagnostic>> {
        let path = hole.rest(0);
        let placeholder = Placeholder::Param(hole.head.to_owned(), path.clone());
        let Some(sweep) = &self.drafts[owner.at()].sweep else { return Ok(placeholder) };
        let Some((axis, column)) = sweep.find(hole.head) else { return Ok(placeholder) };
        let lacking = match &sweep.space.axes[axis].points {
            Points::Rows(rows) => {
                let values = rows.iter().filter_map(|row| row.get(column));
                let included = sweep.space.include.iter().flatten();
                let included = included.filter(|(name, _)| name == hole.head);
                let mut values = values.chain(included.map(|(_, value)| value));
                values.any(|value| value.field_path(&path).is_none())
            }
            _ => true,
        };
        if !lacking {
            return Ok(placeholder);
        }
        let field = hole.fields.join(".");
        let message = format!("parameter `{}` has no field `{field}`", hole.head);
        Err(Some(hole.problem(message).help(
            "paths have {file.name} and {file.stem}, tables have their keys; a number has nothing",
        )))
    }

    /// `{TASK.…}`.
    fn of_task(
        &self,
        hole: &Hole<'_>,
        upstream: TaskId,
    ) -> Result<Placeholder, Option<Diagnostic>> {
        let draft = &self.drafts[upstream.at()];
        let name = draft.name;
        if upstream == hole.task {
            let help = "its own output is {out.NAME}";
            return Err(Some(hole.problem(format!("task `{name}` refers to itself")).help(help)));
        }
        if hole.fields[0] == "manifest" {
            return self.manifest(hole, upstream);
        }
        self.one_instance(hole, upstream)?;
        if hole.fields[0] == "value" {
            return self.value_of(hole, upstream);
        }
        let output = draft.outputs.iter().position(|(output, _, _)| *output == hole.fields[0]);
        match output {
            Some(position) if hole.fields.len() == 1 => {
                Ok(Placeholder::UpstreamOut(upstream, position as u32))
            }
            _ if draft.unknown.outputs => Err(None),
            _ => Err(Some(unknown_output(hole, draft, &hole.fields.join(".")))),
        }
    }

    fn manifest(
        &self,
        hole: &Hole<'_>,
        upstream: TaskId,
    ) -> Result<Placeholder, Option<Diagnostic>> {
        let name = self.drafts[upstream.at()].name;
        match self.gathers.contains(&(hole.task, upstream)) {
            true => {
                if hole.fields.len() > 1 {
                    let problem = hole.problem("a manifest has no fields");
                    return Err(Some(problem.help(format!("write {{{name}.manifest}}"))));
                }
                Ok(Placeholder::Manifest(upstream))
            }
            false if self.scopes[hole.task.at()].unknown => Err(None),
            false => Err(Some(
                hole.problem(format!("`{name}` is not gathered here, so it has no manifest"))
                    .help(format!("add gather = \"{name}\" to the task")),
            )),
        }
    }

    /// Tells when the upstream is an array whose instances the task does not follow.
    fn one_instance(&self, hole: &Hole<'_>, upstream: TaskId) -> Result<(), Option<Diagnostic>> {
        let pattern = &self.patterns[hole.task.at()];
        let scope = &self.scopes[upstream.at()];
        if *pattern == Pattern::Map(upstream) || !scope.array && !scope.unknown {
            return Ok(());
        }
        if scope.unknown || self.scopes[hole.task.at()].unknown {
            return Err(None);
        }
        let name = self.drafts[upstream.at()].name;
        let help = match pattern {
            _ if self.gathers.contains(&(hole.task, upstream)) => {
                format!("the files and values of all its instances stand in {{{name}.manifest}}")
            }
            Pattern::Gather(_) | Pattern::GatherBy(..) | Pattern::GatherEvery(..) => {
                format!("add `{name}` to `gather` and read {{{name}.manifest}}")
            }
            _ => format!(
                "map = \"{name}\" makes one instance for each of its instances, gather = \"{name}\" one after all"
            ),
        };
        let message = format!("`{name}` is an array: `{{{}}}` names no single instance", hole.text);
        Err(Some(hole.problem(message).help(help)))
    }

    fn value_of(
        &self,
        hole: &Hole<'_>,
        upstream: TaskId,
    ) -> Result<Placeholder, Option<Diagnostic>> {
        let draft = &self.drafts[upstream.at()];
        let name = draft.name;
        match draft.capture {
            _ if draft.unknown.capture => Err(None),
            Capture::None => Err(Some(
                hole.problem(format!("`{name}` captures no value"))
                    .help(format!("add capture = \"text\" or \"json\" to task `{name}`")),
            )),
            Capture::Text if hole.fields.len() > 1 => Err(Some(
                hole.problem(format!("the value of `{name}` is text and has no fields"))
                    .help(format!("add capture = \"json\" to task `{name}`")),
            )),
            _ => Ok(Placeholder::UpstreamValue(upstream, hole.rest(1))),
        }
    }
}

/// `{name:format}`: only the index has one.
fn formatted(hole: &Hole<'_>, format: &str) -> Result<Placeholder, Diagnostic> {
    if hole.head != "index" || !hole.fields.is_empty() {
        let problem = hole.problem(format!("`{{{}}}`: only the index takes a format", hole.text));
        return Err(problem.help(LITERAL));
    }
    parse_index_format(format).map(Placeholder::Index).ok_or_else(|| {
        hole.problem(format!("unknown format `:{format}`"))
            .help("write {index:03} for at least three digits")
    })
}

fn unknown_output(hole: &Hole<'_>, draft: &Draft<'_>, output: &str) -> Diagnostic {
    let outputs = || draft.outputs.iter().map(|(name, _, _)| *name);
    let help = keys::did_you_mean(output, outputs()).unwrap_or_else(|| match outputs().next() {
        None => format!("task `{}` declares no outputs: out.NAME = \"path\"", draft.name),
        Some(_) => format!("its outputs are {}", keys::listed(outputs())),
    });
    hole.problem(format!("task `{}` has no output `{output}`", draft.name)).help(help)
}

fn scan_problem(error: &ScanError, span: Range<usize>) -> Diagnostic {
    Diagnostic::at(span, error.to_string()).help(LITERAL)
}
