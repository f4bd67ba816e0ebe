//! Placeholders: the text between braces, and its meaning for one task.

use std::ops::Range;

use super::{Names, References};
use crate::ids::TaskId;
use crate::pipeline::{Capture, Pattern};
use crate::problem::{Problem, Syntax};
use crate::spelling::{BUILTINS, closest, did_you_mean, is_name, listed};
use crate::template::{Part, Placeholder, RawPart, Template, parse_index_format, scan};

/// The help for authors who did not mean a placeholder.
const LITERAL: &str = "literal braces are doubled: {{ and }}";

/// The location of a text.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// The task that it belongs to.
    pub task: TaskId,
    /// Whether it is the path of an output.
    pub of_output: bool,
}

impl Site {
    /// A text of a task that is not the path of an output.
    #[must_use]
    pub fn of(task: TaskId) -> Site {
        Site { task, of_output: false }
    }
}

/// The findings in a text, other than its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Something that is wrong.
    Problem(Problem),
    /// A placeholder of another task.
    Upstream(TaskId),
}

/// A placeholder that is being resolved. Errors that are `None` follow from a reported problem.
struct Hole<'h> {
    task: TaskId,
    of_output: bool,
    /// As written, without braces.
    text: &'h str,
    /// The part before the first dot.
    head: &'h str,
    /// The parts after each dot.
    fields: Vec<&'h str>,
}

type Resolved = Result<Placeholder, Option<Problem>>;

fn wrong(message: String, help: impl Into<String>) -> Option<Problem> {
    Some(Problem::new(message).help(help))
}

impl Hole<'_> {
    /// The fields from the given one on.
    fn rest(&self, from: usize) -> Vec<String> {
        self.fields.iter().skip(from).map(|field| (*field).to_owned()).collect()
    }
}

impl Names<'_> {
    /// Resolves a text. `found` is called for each finding, with the number of the placeholder,
    /// from 0 (`usize::MAX` is the text as a whole), and its location in the text in bytes.
    pub fn template(
        &self,
        site: Site,
        text: &str,
        references: &mut References,
        found: &mut dyn FnMut(usize, Range<usize>, Found),
    ) -> Template {
        let raw = match scan(text) {
            Ok(raw) => raw,
            Err(error) => {
                let message = self.syntax.say(error.to_string(), format!("`{text}`: {error}"));
                let problem = Problem::new(message).help(LITERAL);
                found(usize::MAX, error.span(), Found::Problem(problem));
                return Template::default();
            }
        };
        let mut parts = Vec::with_capacity(raw.len());
        let mut ordinal = 0;
        for part in raw {
            let (hole, span) = match part {
                RawPart::Literal(text) => {
                    parts.push(Part::Literal(text));
                    continue;
                }
                RawPart::Hole { text, span } => (text, span),
            };
            match self.placeholder(site, &hole) {
                Ok(placeholder) => {
                    if let Some(upstream) = placeholder.upstream() {
                        found(ordinal, span, Found::Upstream(upstream));
                    }
                    self.reference(site.task, &placeholder)
                        .into_iter()
                        .for_each(|upstream| references.add(upstream));
                    parts.push(Part::Placeholder(placeholder));
                }
                Err(Some(problem)) => found(ordinal, span, Found::Problem(problem)),
                Err(None) => {}
            }
            ordinal += 1;
        }
        Template { parts }
    }

    /// Resolves one placeholder, given without its braces.
    fn placeholder(&self, site: Site, text: &str) -> Resolved {
        let (path, format) = match text.split_once(':') {
            Some((path, format)) => (path, Some(format)),
            None => (text, None),
        };
        let mut segments = path.split('.');
        let head = segments.next().unwrap_or_default();
        let Site { task, of_output } = site;
        let hole = Hole { task, of_output, text, head, fields: segments.collect() };
        if !is_name(head) || hole.fields.contains(&"") {
            return Err(wrong(format!("`{{{text}}}` is not a placeholder"), LITERAL));
        }
        match format {
            Some("file") => self.file(&hole),
            Some(format) => formatted(&hole, format),
            None if hole.fields.is_empty() => self.word(&hole),
            None => self.dotted(&hole),
        }
    }

    /// `{name}`.
    fn word(&self, hole: &Hole<'_>) -> Resolved {
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
            "in" => "write {in.NAME}".to_owned(),
            "run" => "write {run.id} or {run.dir}".to_owned(),
            _ if self.vars.contains_key(head) => format!("write {{vars.{head}}}"),
            _ => match self.id(head) {
                // It may be a parameter of that name.
                Some(_) if self.scope(hole.task).unknown => return Err(None),
                Some(task) => self.task_help(task),
                None => return self.unknown(hole),
            },
        };
        let what = if self.id(head).is_some() { "a task, not a value" } else { "not a value" };
        Err(wrong(format!("`{{{head}}}` is {what}"), help))
    }

    /// `{item}`, `{item.field}` of a scatter, or of a map over one.
    fn item(&self, hole: &Hole<'_>) -> Resolved {
        let scope = self.scope(hole.task);
        if matches!(self.pattern(scope.root), Pattern::Scatter(_)) {
            return Ok(Placeholder::Item(hole.rest(0)));
        }
        if scope.unknown {
            return Err(None);
        }
        let help = self.syntax.say(
            "add scatter = \"task\", or map a task that scatters",
            "map over what `dag.scatter` gives, or over an array that does",
        );
        Err(wrong(format!("`{{{}}}` outside of a scatter", hole.text), help))
    }

    /// `{item:file}` and `{TASK.value:file}`: paths of files.
    fn file(&self, hole: &Hole<'_>) -> Resolved {
        let whole = match (hole.head, hole.fields.as_slice()) {
            ("item", []) => self.item(hole).map(|_| Placeholder::ItemFile),
            (_, ["value"]) if self.param(hole.task, hole.head).is_none() => {
                match self.dotted(hole)? {
                    Placeholder::UpstreamValue(upstream, _) => {
                        Ok(Placeholder::UpstreamValueFile(upstream))
                    }
                    _ => Err(self.no_file(hole)),
                }
            }
            _ => Err(self.no_file(hole)),
        };
        let is_call = self
            .tasks
            .get(hole.task.at())
            .is_some_and(|task| matches!(task.action, crate::pipeline::TaskAction::Call(_)));
        if is_call && whole.is_ok() {
            let message = format!("`{{{}}}` is for commands", hole.text);
            return Err(wrong(message, "a function is given the value itself"));
        }
        if hole.of_output && whole.is_ok() {
            let message = format!("`{{{}}}` cannot be part of the path of an output", hole.text);
            return Err(Some(Problem::new(message)));
        }
        whole
    }

    fn no_file(&self, hole: &Hole<'_>) -> Option<Problem> {
        let message = format!("`{{{}}}` has no file", hole.text);
        wrong(message, "files are made of a whole {item:file} or {TASK.value:file}")
    }

    /// The help that lists the placeholders of a task.
    fn task_help(&self, task: TaskId) -> String {
        let name = self.name(task);
        let mut forms: Vec<_> =
            self.outputs(task).map(|output| format!("{{{name}.{output}}}")).collect();
        if self.tasks[task.at()].capture != Capture::None {
            forms.push(format!("{{{name}.value}}"));
        }
        if forms.is_empty() {
            return format!("`{name}` has neither outputs nor a captured value");
        }
        format!("write {}", listed(forms.iter().map(String::as_str)))
    }

    /// The problem of an unknown name, with a name that may have been meant.
    fn unknown(&self, hole: &Hole<'_>) -> Resolved {
        let scope = self.scope(hole.task);
        if scope.unknown || self.tasks_unknown && !hole.fields.is_empty() {
            return Err(None);
        }
        let head = hole.head;
        let problem = Problem::new(format!("unknown placeholder `{{{}}}`", hole.text));
        let problem = problem.label("nothing has this name");
        let pattern = self.pattern(hole.task);
        let mut gathered = pattern.gathered().iter();
        if let Some(owner) = gathered.find(|task| self.param(**task, head).is_some()) {
            let owner = self.name(*owner);
            let help = match pattern {
                Pattern::GatherBy(..) => {
                    format!("add `{head}` to `by`, or read it in {{{owner}.manifest}}")
                }
                _ => format!(
                    "a gather does not have the parameters of what it gathers; they stand in {{{owner}.manifest}}"
                ),
            };
            return Err(Some(problem.help(help)));
        }
        let params = self.params(hole.task);
        let near = params.iter().copied().chain(self.vars.keys().copied());
        let guess = closest(head, near.chain(BUILTINS.iter().copied()));
        let help = match guess.or_else(|| self.guess_task(head)) {
            Some(guess) if !params.contains(&guess) && self.vars.contains_key(guess) => {
                format!("did you mean `{{vars.{guess}}}`?")
            }
            Some(guess) => format!("did you mean `{{{guess}}}`?"),
            None if params.is_empty() => format!("the task has no parameters; {LITERAL}"),
            None => format!("the parameters are {}; {LITERAL}", listed(params)),
        };
        Err(Some(problem.help(help)))
    }

    /// `{name.field}`.
    fn dotted(&self, hole: &Hole<'_>) -> Resolved {
        let upstream = self.id(hole.head);
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
            return Err(wrong(message, "rename one of them"));
        }
        match (built_in, param, upstream) {
            (Some(Ok(placeholder)), _, _) => Ok(placeholder),
            (_, Some(owner), _) => self.param_field(hole, owner),
            (_, _, Some(upstream)) => self.of_task(hole, upstream),
            (Some(Err(problem)), None, None) => Err(problem),
            (None, None, None) => self.unknown(hole),
        }
    }

    /// `{vars.…}`, `{out.…}`, `{run.…}`, `{item.…}` and wrong uses of the others.
    fn built_in(&self, hole: &Hole<'_>) -> Option<Resolved> {
        let alone = hole.fields.len() == 1;
        Some(match (hole.head, hole.fields[0]) {
            ("vars", _) => self.var(hole),
            ("out", _) => self.own_output(hole),
            ("in", _) => self.own_input(hole),
            ("run", "id") if alone => Ok(Placeholder::RunId),
            ("run", "dir") if alone => Ok(Placeholder::RunDir),
            ("run", _) => Err(wrong(
                format!("unknown placeholder `{{{}}}`", hole.text),
                "the run has {run.id} and {run.dir}",
            )),
            ("item", _) => self.item(hole),
            ("index" | "key" | "seed" | "attempt", _) => Err(wrong(
                format!("`{{{}}}` has no fields", hole.head),
                format!("write {{{}}}", hole.head),
            )),
            _ => return None,
        })
    }

    fn var(&self, hole: &Hole<'_>) -> Resolved {
        let name = hole.fields[0];
        let Some(value) = self.vars.get(name) else {
            if self.vars_unknown {
                return Err(None);
            }
            let help = did_you_mean(name, self.vars.keys().copied())
                .unwrap_or_else(|| self.syntax.say("declare it in [vars]", "set it by `dag.var`"));
            return Err(wrong(format!("unknown variable `{name}`"), help));
        };
        match value.field_path(&hole.rest(1)) {
            Some(_) => Ok(Placeholder::Var(name.to_owned(), hole.rest(1))),
            None => Err(Some(Problem::new(format!(
                "variable `{name}` has no field `{}`",
                hole.fields[1..].join(".")
            )))),
        }
    }

    fn own_output(&self, hole: &Hole<'_>) -> Resolved {
        if self.gap(hole.task).outputs {
            return Err(None);
        }
        let found = self.outputs(hole.task).position(|output| output == hole.fields[0]);
        let Some(position) = found.filter(|_| hole.fields.len() == 1) else {
            return Err(Some(self.no_output(hole.task, &hole.fields.join("."))));
        };
        if hole.of_output {
            let message = format!("`{{{}}}` cannot be part of the path of an output", hole.text);
            return Err(Some(Problem::new(message)));
        }
        Ok(Placeholder::Out(position as u32))
    }

    fn own_input(&self, hole: &Hole<'_>) -> Resolved {
        let names = || self.inputs(hole.task);
        let found = names().position(|input| input == hole.fields[0]);
        let Some(position) = found.filter(|_| hole.fields.len() == 1) else {
            let given = hole.fields.join(".");
            let help = match names().next() {
                None => self.syntax.say(
                    "declare it: in.NAME = \"path or URL\"",
                    "declare it by `.input_as(NAME, path)`",
                ),
                Some(_) => did_you_mean(&given, names())
                    .unwrap_or_else(|| format!("its inputs are {}", listed(names()))),
            };
            let task = self.name(hole.task);
            let message = format!("task `{task}` has no input `{}`", given.escape_debug());
            return Err(wrong(message, help));
        };
        if hole.of_output {
            let message = format!("`{{{}}}` cannot be part of the path of an output", hole.text);
            return Err(Some(Problem::new(message)));
        }
        Ok(Placeholder::In(position as u32))
    }

    /// Whether a task has an output, value or manifest of this name.
    fn task_has(&self, task: TaskId, name: &str) -> bool {
        ["value", "manifest"].contains(&name) || self.outputs(task).any(|output| output == name)
    }

    /// `{param.field}`: every value of the parameter must have the field.
    fn param_field(&self, hole: &Hole<'_>, owner: TaskId) -> Resolved {
        let path = hole.rest(0);
        if self.has_field(owner, hole.head, &path) {
            return Ok(Placeholder::Param(hole.head.to_owned(), path));
        }
        let message = format!("parameter `{}` has no field `{}`", hole.head, hole.fields.join("."));
        Err(wrong(
            message,
            "paths have {file.name} and {file.stem}, tables have their keys; a number has nothing",
        ))
    }

    /// `{TASK.…}`.
    fn of_task(&self, hole: &Hole<'_>, upstream: TaskId) -> Resolved {
        if upstream == hole.task {
            let message = format!("task `{}` refers to itself", self.name(upstream));
            return Err(wrong(message, "its own output is {out.NAME}"));
        }
        match hole.fields[0] {
            "manifest" => self.manifest(hole, upstream),
            "value" => self.value(hole.task, upstream, hole.rest(1)),
            _ => self.output(hole.task, upstream, &hole.fields.join(".")),
        }
    }

    fn manifest(&self, hole: &Hole<'_>, upstream: TaskId) -> Resolved {
        let name = self.name(upstream);
        if self.gathers(hole.task, upstream) {
            if hole.fields.len() > 1 {
                let help = format!("write {{{name}.manifest}}");
                return Err(wrong("a manifest has no fields".to_owned(), help));
            }
            return Ok(Placeholder::Manifest(upstream));
        }
        if self.scope(hole.task).unknown {
            return Err(None);
        }
        let message = format!("`{name}` is not gathered here, so it has no manifest");
        let help = self.syntax.say(
            format!("add gather = \"{name}\" to the task"),
            "use `gather_command`, which gathers it",
        );
        Err(wrong(message, help))
    }

    /// What a task captured, or a field of it.
    ///
    /// # Errors
    /// When its captured value has no such fields, or no single instance is meant; `None` follows
    /// from a reported problem.
    pub fn value(
        &self,
        task: TaskId,
        upstream: TaskId,
        fields: Vec<String>,
    ) -> Result<Placeholder, Option<Problem>> {
        self.one_instance(task, upstream, "value", &fields)?;
        let name = self.name(upstream);
        let capture = self.tasks.get(upstream.at()).map_or(Capture::None, |task| task.capture);
        match capture {
            _ if self.gap(upstream).capture => Err(None),
            Capture::None => {
                let help =
                    self.add_capture(name, "\"text\" or \"json\"", "`capture` or `capture_text`");
                Err(wrong(format!("`{name}` captures no value"), help))
            }
            Capture::Text | Capture::Bytes if !fields.is_empty() => {
                let what = if capture == Capture::Text { "text" } else { "bytes" };
                let help = self.add_capture(name, "\"json\"", "`capture`");
                Err(wrong(format!("the value of `{name}` is {what} and has no fields"), help))
            }
            _ => Ok(Placeholder::UpstreamValue(upstream, fields)),
        }
    }

    /// An output of another task.
    ///
    /// # Errors
    /// When it has no such output, or no single instance is meant; `None` follows from a reported
    /// problem.
    pub fn output(
        &self,
        task: TaskId,
        upstream: TaskId,
        name: &str,
    ) -> Result<Placeholder, Option<Problem>> {
        self.one_instance(task, upstream, name, &[])?;
        match self.outputs(upstream).position(|output| output == name) {
            Some(position) => Ok(Placeholder::UpstreamOut(upstream, position as u32)),
            None if self.gap(upstream).outputs => Err(None),
            None => Err(Some(self.no_output(upstream, name))),
        }
    }

    /// Refuses an array whose instances the task does not follow.
    fn one_instance(
        &self,
        task: TaskId,
        upstream: TaskId,
        what: &str,
        fields: &[String],
    ) -> Result<(), Option<Problem>> {
        let scope = self.scope(upstream);
        if !scope.array && !scope.unknown || self.maps(task, upstream) {
            return Ok(());
        }
        if scope.unknown || self.scope(task).unknown {
            return Err(None);
        }
        let (name, toml) = (self.name(upstream), self.syntax == Syntax::Toml);
        let help = match self.pattern(task) {
            _ if self.gathers(task, upstream) => {
                format!("the files and values of all its instances stand in {{{name}.manifest}}")
            }
            pattern if toml && !pattern.gathered().is_empty() => {
                format!("add `{name}` to `gather` and read {{{name}.manifest}}")
            }
            _ => self.syntax.say(
                format!(
                    "map = \"{name}\" makes one instance for each of its instances, gather = \"{name}\" one after all"
                ),
                "map over it for one instance for each of its instances, or gather it for one after all",
            ),
        };
        let fields: String = fields.iter().flat_map(|field| [".", field]).collect();
        let text = format!("{name}.{}{fields}", what.escape_debug());
        Err(wrong(format!("`{name}` is an array: `{{{text}}}` names no single instance"), help))
    }

    fn no_output(&self, task: TaskId, output: &str) -> Problem {
        let name = self.name(task);
        let mut outputs = self.outputs(task).peekable();
        let help = match outputs.peek() {
            None => self.syntax.say(
                format!("task `{name}` declares no outputs: out.NAME = \"path\""),
                format!("`{name}` declares no outputs, as a command does by `.output(NAME, path)`"),
            ),
            Some(_) => did_you_mean(output, self.outputs(task))
                .unwrap_or_else(|| format!("its outputs are {}", listed(outputs))),
        };
        Problem::new(format!("task `{name}` has no output `{}`", output.escape_debug())).help(help)
    }
}

/// `{name:format}`: only the index has one.
fn formatted(hole: &Hole<'_>, format: &str) -> Resolved {
    if hole.head != "index" || !hole.fields.is_empty() {
        let message = format!("`{{{}}}`: only the index takes a format", hole.text);
        return Err(wrong(message, LITERAL));
    }
    parse_index_format(format).map(Placeholder::Index).ok_or_else(|| {
        let message = format!("unknown format `:{format}`");
        wrong(message, "write {index:03} for at least three digits")
    })
}
