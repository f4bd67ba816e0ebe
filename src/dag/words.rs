//! What the placeholders in the words of commands mean.

use dagrun_core::ids::TaskId;
use dagrun_core::parse::is_name;
use dagrun_core::pipeline::{Capture, Task, TaskAction};
use dagrun_core::template::{Part, Placeholder, RawPart, Template, parse_index_format, scan};

use super::build::Builder;
use super::command::{Program, Word};
use super::source::INPUTS;
use super::store::{ShapeKind, What};

/// What to say to those who did not mean a placeholder.
const LITERAL: &str = "literal braces are doubled: {{ and }}";

/// Tasks that a task refers to, each once, in the order of its words.
#[derive(Debug, Default)]
pub(super) struct References {
    pub(super) order: Vec<TaskId>,
    seen: rustc_hash::FxHashSet<TaskId>,
}

impl References {
    pub(super) fn add(&mut self, task: TaskId) {
        // Few enough to be looked through, mostly.
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
}

/// A placeholder that is being resolved.
struct Hole<'h> {
    task: TaskId,
    /// As written, without braces.
    text: &'h str,
    /// What stands before the first dot.
    head: &'h str,
    /// What stands after each dot.
    fields: Vec<&'h str>,
    /// Whether it is within the path of an output.
    of_output: bool,
}

impl Hole<'_> {
    fn rest(&self, from: usize) -> Vec<String> {
        self.fields.iter().skip(from).map(|field| (*field).to_owned()).collect()
    }
}

impl Builder<'_> {
    /// Puts a program into its task.
    pub(super) fn program(&mut self, id: TaskId, program: &Program, task: &mut Task) {
        if let [] | [Word::Text(_), ..] = program.words.as_slice()
            && program
                .words
                .first()
                .is_none_or(|word| matches!(word, Word::Text(t) if t.is_empty()))
        {
            self.problem(id, "it names no program: the first word is the program to start");
        }
        let mut refs = References::default();
        let words = program.words.iter().map(|word| self.word(id, word, &mut refs)).collect();
        task.action = TaskAction::Run(words);
        for (name, path) in &program.outputs {
            if !is_name(name) || ["value", "manifest"].contains(&name.as_str()) {
                self.problem(id, format!("an output cannot be called `{}`", name.escape_debug()));
            }
            if path.trim().is_empty() {
                self.problem(id, format!("the path of output `{name}` is empty"));
            }
            let path = self.template(id, path, true, &mut refs);
            task.outputs.push((name.clone(), path));
        }
        for (name, word) in &program.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                let message = format!("`{}` cannot name a variable", name.escape_debug());
                self.problem(id, message);
            }
            let word = self.word(id, word, &mut refs);
            task.env.push((name.clone(), word));
        }
        task.stdin = program.stdin.as_ref().map(|path| self.word(id, path, &mut refs));
        let path = program.working_dir.as_ref();
        task.working_dir = path.map(|path| self.template(id, path, false, &mut refs));
        task.inputs.clone_from(&program.inputs);
        task.capture = program.capture;
        task.references = refs.order;
    }

    fn word(&mut self, task: TaskId, word: &Word, refs: &mut References) -> Template {
        let placeholder = match word {
            Word::Text(text) => return self.template(task, text, false, refs),
            Word::Unusable => return Template::default(),
            Word::Value(upstream) => self.value(task, *upstream, Vec::new()),
            Word::Out(upstream, name) => self.output(task, *upstream, name),
        };
        match placeholder {
            Ok(placeholder) => {
                self.refers(task, &placeholder, refs);
                Template { parts: vec![Part::Placeholder(placeholder)] }
            }
            Err(message) => {
                self.problem(task, message);
                Template::default()
            }
        }
    }

    /// A text with placeholders.
    fn template(
        &mut self,
        task: TaskId,
        text: &str,
        of_output: bool,
        refs: &mut References,
    ) -> Template {
        if text.contains('\0') {
            let message = format!("`{}` contains a NUL character", text.escape_debug());
            self.problem(task, message);
        }
        let raw = match scan(text) {
            Ok(raw) => raw,
            Err(error) => {
                self.problem(task, format!("`{text}`: {error}; {LITERAL}"));
                return Template::default();
            }
        };
        let mut parts = Vec::with_capacity(raw.len());
        for part in raw {
            match part {
                RawPart::Literal(text) => parts.push(Part::Literal(text)),
                RawPart::Hole { text: hole, .. } => match self.hole(task, &hole, of_output) {
                    Ok(placeholder) => {
                        self.refers(task, &placeholder, refs);
                        parts.push(Part::Placeholder(placeholder));
                    }
                    Err(message) => self.problem(task, message),
                },
            }
        }
        Template { parts }
    }

    /// Notes the task that a placeholder refers to.
    fn refers(&self, task: TaskId, placeholder: &Placeholder, refs: &mut References) {
        match placeholder {
            Placeholder::UpstreamOut(upstream, _) | Placeholder::UpstreamValue(upstream, _)
                if !self.maps(task, *upstream) =>
            {
                refs.add(*upstream);
            }
            _ => {}
        }
    }

    fn hole(&self, task: TaskId, text: &str, of_output: bool) -> Result<Placeholder, String> {
        let (path, format) = match text.split_once(':') {
            Some((path, format)) => (path, Some(format)),
            None => (text, None),
        };
        let mut segments = path.split('.');
        let head = segments.next().unwrap_or_default();
        let hole = Hole { task, text, head, fields: segments.collect(), of_output };
        if !is_name(head) || hole.fields.contains(&"") {
            return Err(format!("`{{{text}}}` is not a placeholder; {LITERAL}"));
        }
        match format {
            Some(format) if head == "index" && hole.fields.is_empty() => {
                parse_index_format(format).map(Placeholder::Index).ok_or_else(|| {
                    format!("`{{{text}}}`: write {{index:03}} for at least three digits")
                })
            }
            Some(_) => Err(format!("`{{{text}}}`: only the index takes a format; {LITERAL}")),
            None if hole.fields.is_empty() => self.plain(&hole),
            None => self.dotted(&hole),
        }
    }

    /// `{name}`.
    fn plain(&self, hole: &Hole<'_>) -> Result<Placeholder, String> {
        let head = hole.head;
        if self.has_param(hole.task, head) {
            return Ok(Placeholder::Param(head.to_owned(), Vec::new()));
        }
        match head {
            "index" => Ok(Placeholder::Index(0)),
            "key" => Ok(Placeholder::Key),
            "seed" => Ok(Placeholder::Seed),
            "attempt" => Ok(Placeholder::Attempt),
            "item" => self.item(hole),
            "vars" | "out" => Err(format!("`{{{head}}}` is not a value: write {{{head}.NAME}}")),
            "run" => Err("`{run}` is not a value: write {run.id} or {run.dir}".to_owned()),
            _ if self.id(head).is_some() => Err(format!(
                "`{{{head}}}` is a task, not a value: write {{{head}.value}} or an output of it"
            )),
            _ => Err(self.unknown(hole)),
        }
    }

    /// `{name.field}`.
    fn dotted(&self, hole: &Hole<'_>) -> Result<Placeholder, String> {
        let (head, field, alone) = (hole.head, hole.fields[0], hole.fields.len() == 1);
        match (head, field) {
            ("run", "id") if alone => return Ok(Placeholder::RunId),
            ("run", "dir") if alone => return Ok(Placeholder::RunDir),
            ("run", _) => {
                return Err(format!("`{{{}}}`: the run has {{run.id}} and {{run.dir}}", hole.text));
            }
            ("vars", name) => return self.var(hole, name),
            ("out", name) => return self.own_output(hole, name),
            ("item", _) => return self.item(hole),
            ("index" | "key" | "seed" | "attempt", _) => {
                return Err(format!("`{{{}}}` has no fields: write {{{head}}}", hole.text));
            }
            _ => {}
        }
        match (self.has_param(hole.task, head), self.id(head)) {
            (true, Some(_)) => Err(format!(
                "`{{{}}}` is ambiguous: `{head}` is a parameter and a task; rename one of them",
                hole.text
            )),
            (true, None) => Ok(Placeholder::Param(head.to_owned(), hole.rest(0))),
            (false, Some(upstream)) => self.of_task(hole, upstream),
            (false, None) => Err(self.unknown(hole)),
        }
    }

    fn var(&self, hole: &Hole<'_>, name: &str) -> Result<Placeholder, String> {
        let known = self.store.vars.iter().find(|(known, _)| known == name);
        let (_, value) = known
            .ok_or_else(|| format!("`{{{}}}`: no such variable; set it by `dag.var`", hole.text))?;
        match value.field_path(&hole.rest(1)) {
            Some(_) => Ok(Placeholder::Var(name.to_owned(), hole.rest(1))),
            None => Err(format!("`{{{}}}`: variable `{name}` has no such field", hole.text)),
        }
    }

    fn own_output(&self, hole: &Hole<'_>, name: &str) -> Result<Placeholder, String> {
        if hole.of_output {
            return Err(format!("`{{{}}}` cannot be part of the path of an output", hole.text));
        }
        self.position(hole.task, name)
            .filter(|_| hole.fields.len() == 1)
            .map(Placeholder::Out)
            .ok_or_else(|| format!("`{{{}}}`: it has no such output", hole.text))
    }

    fn item(&self, hole: &Hole<'_>) -> Result<Placeholder, String> {
        match self.store.shape(self.root(hole.task)).map(|shape| &shape.kind) {
            Some(ShapeKind::Scatter(_)) => Ok(Placeholder::Item(hole.rest(0))),
            _ => Err(format!("`{{{}}}` outside of a scatter", hole.text)),
        }
    }

    /// `{TASK.…}`.
    fn of_task(&self, hole: &Hole<'_>, upstream: TaskId) -> Result<Placeholder, String> {
        match hole.fields[0] {
            _ if upstream == hole.task => {
                Err(format!("`{{{}}}` refers to the task itself", hole.text))
            }
            "manifest" if hole.fields.len() > 1 => {
                Err(format!("`{{{}}}`: a manifest has no fields", hole.text))
            }
            "manifest" if self.gathers(hole.task, upstream) => Ok(Placeholder::Manifest(upstream)),
            "manifest" => Err(format!(
                "`{{{}}}`: `{}` is not gathered here, so it has no manifest",
                hole.text, hole.head
            )),
            "value" => self.value(hole.task, upstream, hole.rest(1)),
            name if hole.fields.len() == 1 => self.output(hole.task, upstream, name),
            _ => Err(format!("`{{{}}}`: no such output", hole.text)),
        }
    }

    /// The value of another task, or a field of it.
    pub(super) fn value(
        &self,
        task: TaskId,
        upstream: TaskId,
        fields: Vec<String>,
    ) -> Result<Placeholder, String> {
        self.one_instance(task, upstream)?;
        let name = self.name(upstream);
        match self.capture(upstream) {
            Capture::None => Err(format!("`{name}` captures no value: use one of its `capture`s")),
            Capture::Text if !fields.is_empty() => {
                Err(format!("the value of `{name}` is text and has no fields"))
            }
            _ => Ok(Placeholder::UpstreamValue(upstream, fields)),
        }
    }

    fn output(&self, task: TaskId, upstream: TaskId, name: &str) -> Result<Placeholder, String> {
        self.one_instance(task, upstream)?;
        let position = self.position(upstream, name);
        position.map(|at| Placeholder::UpstreamOut(upstream, at)).ok_or_else(|| {
            format!("`{}` has no output `{}`", self.name(upstream), name.escape_debug())
        })
    }

    fn one_instance(&self, task: TaskId, upstream: TaskId) -> Result<(), String> {
        if self.maps(task, upstream) || !self.is_array(upstream) {
            return Ok(());
        }
        let name = self.name(upstream);
        Err(format!(
            "`{name}` is an array, and no single instance of it is meant: map or gather it"
        ))
    }

    /// The position of an output of a task.
    fn position(&self, task: TaskId, name: &str) -> Option<u32> {
        let What::Program(at) = self.store.entries.get(task.at())?.what else { return None };
        let mut outputs = self.store.programs.get(at as usize)?.outputs.iter();
        outputs.position(|(known, _)| known == name).map(|at| at as u32)
    }

    fn capture(&self, task: TaskId) -> Capture {
        match self.store.entries.get(task.at()).map(|entry| entry.what) {
            Some(What::Program(at)) => self
                .store
                .programs
                .get(at as usize)
                .map_or(Capture::None, |program| program.capture),
            _ => Capture::Json,
        }
    }

    fn unknown(&self, hole: &Hole<'_>) -> String {
        let params: Vec<String> =
            self.params(hole.task).iter().map(|name| format!("`{{{name}}}`")).collect();
        let known = match params.as_slice() {
            [] => "the task has no parameters".to_owned(),
            params => format!("the parameters are {}", params.join(", ")),
        };
        format!("unknown placeholder `{{{}}}`: {known}; {LITERAL}", hole.text)
    }

    pub(super) fn has_param(&self, task: TaskId, name: &str) -> bool {
        self.params(task).contains(&name)
    }

    /// The names of the parameters of a task, inherited ones included.
    fn params(&self, task: TaskId) -> Vec<&str> {
        let mut names = Vec::new();
        let mut at = task;
        loop {
            match self.store.shape(at).map(|shape| &shape.kind) {
                Some(ShapeKind::Sweep(space, _)) => {
                    names
                        .extend(space.axes.iter().flat_map(|axis| &axis.names).map(String::as_str));
                }
                Some(ShapeKind::Values(_, _, each)) => names.extend(&INPUTS[..usize::from(*each)]),
                Some(ShapeKind::GatherBy(_, by)) => names.extend(by.iter().map(String::as_str)),
                Some(ShapeKind::Map(upstream)) => {
                    at = *upstream;
                    continue;
                }
                _ => {}
            }
            return names;
        }
    }

    /// The last of the tasks that a task maps, directly and through others.
    fn root(&self, task: TaskId) -> TaskId {
        let mut at = task;
        while let Some(ShapeKind::Map(upstream)) = self.store.shape(at).map(|shape| &shape.kind) {
            at = *upstream;
        }
        at
    }
}
