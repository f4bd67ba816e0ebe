//! From a [`Pipeline`] back to the text of a `pipeline.toml`.
//!
//! The text is parsed again before it is returned: the result is the same pipeline, except that
//! signatures of functions are omitted, as the format has none, and that encoded constants are
//! written as the values that they encode. Axes that came from files are written out.

mod canonical;
mod definition;
mod sweep;
mod value;

use std::fmt::Write as _;

use crate::ids::{Micros, TaskId};
use crate::parse::{FileError, Files, ParseOptions, is_name, parse};
use crate::pipeline::{
    Arg, Args, Call, Capture, Clause, DEFAULT_GRACE, DEFAULT_MAX_LOST, MinSuccess, Outcomes,
    Pattern, Pipeline, Quantifier, Retry, RetryOn, Split, Targets, Task, TaskAction,
};
use crate::template::{Part, Placeholder, Template};
use crate::value::RawString;
pub(crate) use definition::definition;
use value::{doubled, key, string};

/// Why a pipeline cannot be written in the file format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}the file format cannot express {reason}", prefix(task.as_deref()))]
pub struct UnparseError {
    /// The task concerned; `None` is the pipeline as a whole.
    pub task: Option<String>,
    /// What cannot be expressed.
    pub reason: String,
}

fn prefix(task: Option<&str>) -> String {
    task.map(|task| format!("task `{task}`: ")).unwrap_or_default()
}

/// What cannot be expressed, of a task that the caller knows.
type Written<T> = Result<T, String>;

/// The pipeline in the file format.
///
/// # Errors
/// At the first task that cannot be expressed: arguments without names, folds, gathers of blocks of
/// instances, constants that are not JSON, values that TOML does not have.
pub fn to_toml(pipeline: &Pipeline) -> Result<String, UnparseError> {
    let whole = |reason: String| UnparseError { task: None, reason };
    let mut canonical = pipeline.clone();
    for task in &mut canonical.tasks {
        let name = task.name.clone();
        canonical::task(task).map_err(|reason| UnparseError { task: Some(name), reason })?;
    }
    let mut out = String::from("dagrun = 1\n");
    let name = string(&canonical.name).map_err(whole)?;
    line(&mut out, "name", &name);
    if !canonical.vars.is_empty() {
        out.push_str("\n[vars]\n");
    }
    for (name, value) in &canonical.vars {
        let value =
            value::value(value).map_err(|reason| whole(format!("variable `{name}`: {reason}")))?;
        line(&mut out, &key(name).map_err(whole)?, &value);
    }
    for task in &canonical.tasks {
        write_task(&mut out, &canonical, task)
            .map_err(|reason| UnparseError { task: Some(task.name.clone()), reason })?;
    }
    read_again(&out, &canonical)?;
    Ok(out)
}

/// Fails when the text describes a different pipeline.
fn read_again(text: &str, pipeline: &Pipeline) -> Result<(), UnparseError> {
    let read = match parse(text, &ParseOptions::default(), &AllFiles) {
        Ok(read) => read.pipeline,
        Err(problems) => {
            let first = problems.first().map(|problem| problem.message.clone());
            let reason = format!("it: {}", first.unwrap_or_default());
            return Err(UnparseError { task: None, reason });
        }
    };
    if read == *pipeline {
        return Ok(());
    }
    let pairs = pipeline.tasks.iter().zip(&read.tasks);
    let other = pairs.into_iter().find(|(task, read)| task != read);
    let task = other.map(|(task, _)| task.name.clone());
    let reason = "what is special about it: the text would mean something else".to_owned();
    Err(UnparseError { task, reason })
}

/// Files that all exist: their existence is not checked.
struct AllFiles;

impl Files for AllFiles {
    fn exists(&self, _: &str) -> Result<bool, FileError> {
        Ok(true)
    }

    fn glob(&self, _: &str) -> Result<Vec<RawString>, FileError> {
        Ok(Vec::new())
    }

    fn read(&self, _: &str) -> Result<Vec<u8>, FileError> {
        Ok(Vec::new())
    }
}

fn line(out: &mut String, key: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{key} = {value}");
}

/// A task's place in the text, with what it refers to.
struct Writer<'w> {
    out: &'w mut String,
    pipeline: &'w Pipeline,
    task: &'w Task,
}

fn write_task(out: &mut String, pipeline: &Pipeline, task: &Task) -> Written<()> {
    if !is_name(&task.name) {
        return Err("its name".to_owned());
    }
    let _ = writeln!(out, "\n[task.{}]", task.name);
    let mut writer = Writer { out, pipeline, task };
    writer.action()?;
    if let Some(space) = &task.sweep {
        let (axes, combine) = sweep::sweep(space)?;
        writer.line("sweep", &axes);
        writer.optional("combine", combine);
        if space.axes.iter().any(|axis| axis.points.count() == 0) {
            writer.line("allow-empty", "true");
        }
    }
    writer.pattern()?;
    writer.data()?;
    writer.order()?;
    writer.limits()?;
    writer.placement()
}

impl Writer<'_> {
    fn line(&mut self, key: &str, value: &str) {
        line(self.out, key, value);
    }

    fn optional(&mut self, key: &str, value: Option<String>) {
        if let Some(value) = value {
            self.line(key, &value);
        }
    }

    fn number(&mut self, key: &str, number: impl Into<i128>, default: impl Into<i128>) {
        let number = number.into();
        if number != default.into() {
            self.line(key, &number.to_string());
        }
    }

    fn action(&mut self) -> Written<()> {
        match &self.task.action {
            TaskAction::Run(argv) => {
                let words = argv.iter().map(|word| self.template(word));
                let words = list(words.collect::<Written<Vec<_>>>()?);
                self.line("run", &words);
            }
            TaskAction::Shell(script) => {
                let script = value::script(script)?;
                self.line("shell", &script);
            }
            TaskAction::Script(script) => {
                let script = value::script(script)?;
                self.line("script", &script);
            }
            TaskAction::Call(call) => self.call(call)?,
        }
        if !self.task.wrap.is_empty() {
            let words = self.task.wrap.iter().map(|word| self.template(word));
            let words = list(words.collect::<Written<Vec<_>>>()?);
            self.line("wrap", &words);
        }
        Ok(())
    }

    fn call(&mut self, call: &Call) -> Written<()> {
        if call.fold {
            return Err("that it folds a function over a list, as `reduce` does".to_owned());
        }
        self.line("call", &string(&call.function)?);
        match &call.args {
            Args::Named(args) if !args.is_empty() => {
                let args = self.arg_fields(args)?;
                self.line("args", &args);
            }
            Args::Listed(args) if !args.is_empty() => {
                return Err("arguments without names".to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    fn arg_fields(&self, args: &[(String, Arg)]) -> Written<String> {
        let field =
            |(name, arg): &(String, Arg)| Ok(format!("{} = {}", key(name)?, self.arg(arg)?));
        Ok(table(args.iter().map(field).collect::<Written<Vec<_>>>()?))
    }

    // As deep as the arguments, which reading bounds.
    fn arg(&self, arg: &Arg) -> Written<String> {
        match arg {
            Arg::Value(value) => value::argument(value),
            Arg::Text(template) => self.template(template),
            Arg::List(args) => {
                Ok(list(args.iter().map(|arg| self.arg(arg)).collect::<Written<Vec<_>>>()?))
            }
            Arg::Table(args) => self.arg_fields(args),
            Arg::Gathered(upstream) => Ok(format!("\"{{{}.value}}\"", self.name(*upstream)?)),
            Arg::Payload(_) => Err("a constant that is not JSON".to_owned()),
            Arg::Params => Err("an argument of all parameters".to_owned()),
        }
    }

    fn pattern(&mut self) -> Written<()> {
        match &self.task.pattern {
            Pattern::Own => {}
            Pattern::Map(upstream) => {
                let upstream = self.quoted(*upstream)?;
                self.line("map", &upstream);
            }
            Pattern::Scatter(scatter) => {
                let from = self.quoted(scatter.from)?;
                let split = match scatter.split {
                    Split::Each => None,
                    Split::Chunk(chunk) => Some(format!("chunk = {chunk}")),
                    Split::Parts(parts) => Some(format!("parts = {parts}")),
                };
                let most = scatter.max_items.map(|most| format!("max-items = {most}"));
                let more: Vec<String> = split.into_iter().chain(most).collect();
                if more.is_empty() {
                    self.line("scatter", &from);
                } else {
                    let fields = std::iter::once(format!("from = {from}")).chain(more);
                    self.line("scatter", &table(fields));
                }
            }
            Pattern::Gather(upstreams) => {
                let upstreams = self.names(upstreams)?;
                self.line("gather", &upstreams);
            }
            Pattern::GatherBy(upstream, by) => {
                let by = by.iter().map(|name| string(name)).collect::<Written<Vec<_>>>()?;
                let fields = vec![
                    format!("task = {}", self.quoted(*upstream)?),
                    format!("by = {}", list(by)),
                ];
                self.line("gather", &table(fields));
            }
            Pattern::GatherEvery(..) => {
                return Err(
                    "a gather of every so many instances, as `reduce` makes them".to_owned()
                );
            }
        }
        let least = self.task.conduct.min_success.map(|least| match least {
            MinSuccess::Count(count) => count.to_string(),
            MinSuccess::Part(part) => format!("\"{}%\"", f64::from(part) / 100.0),
        });
        self.optional("min-success", least);
        Ok(())
    }

    fn data(&mut self) -> Written<()> {
        let task = self.task;
        let capture = match (&task.action, task.capture) {
            (TaskAction::Call(_), _) | (_, Capture::None) => None,
            (_, Capture::Text) => Some("\"text\""),
            (_, Capture::Json) => Some("\"json\""),
            (_, Capture::Lines) => Some("\"lines\""),
            (_, Capture::JsonLines) => Some("\"json-lines\""),
            (_, Capture::Bytes) => Some("\"bytes\""),
        };
        self.optional("capture", capture.map(str::to_owned));
        self.optional("out", self.outputs()?);
        self.optional("stdin", task.stdin.as_ref().map(|path| self.template(path)).transpose()?);
        let inputs =
            task.unnamed_inputs().map(|path| self.template(path)).collect::<Written<Vec<_>>>()?;
        if !inputs.is_empty() {
            self.line("inputs", &list(inputs));
        }
        let named = task.named_inputs().map(|(name, path)| (name.to_owned(), path.clone()));
        self.optional("in", self.templates(&named.collect::<Vec<_>>())?);
        self.optional("env", self.templates(&task.env)?);
        let path = task.working_dir.as_ref();
        self.optional("working-dir", path.map(|path| self.template(path)).transpose()?);
        if task.conduct.keep {
            return Err("that its value is kept".to_owned());
        }
        if task.conduct.beside {
            return Err("that it takes no slot".to_owned());
        }
        Ok(())
    }

    fn order(&mut self) -> Written<()> {
        for (key, clauses) in [("after", &self.task.after), ("follow", &self.task.follow)] {
            let clauses = match clauses.as_slice() {
                [] => continue,
                [clause] if is_plain(clause) => self.names(&clause.upstreams)?,
                [clause] => self.clause(clause)?,
                clauses => {
                    let clauses = clauses.iter().map(|clause| self.clause(clause));
                    list(clauses.collect::<Written<Vec<_>>>()?)
                }
            };
            self.line(key, &clauses);
        }
        Ok(())
    }

    fn clause(&self, clause: &Clause) -> Written<String> {
        let upstreams = clause.upstreams.iter().map(|upstream| self.quoted(*upstream));
        let upstreams = list(upstreams.collect::<Written<Vec<_>>>()?);
        let quantifier = match clause.quantifier {
            Quantifier::All => "all",
            Quantifier::Any => "any",
        };
        let mut fields = vec![format!("{quantifier} = {upstreams}")];
        match clause.on {
            Outcomes::Success => {}
            Outcomes::Failure => fields.push("on = \"failure\"".to_owned()),
            Outcomes::Finish => fields.push("on = \"finish\"".to_owned()),
        }
        Ok(table(fields))
    }

    fn limits(&mut self) -> Written<()> {
        let conduct = &self.task.conduct;
        self.optional("retries", retries(&conduct.retry));
        self.number("max-lost", conduct.max_lost, DEFAULT_MAX_LOST);
        self.optional("timeout", conduct.timeout.map(duration));
        self.optional("grace", (conduct.grace != DEFAULT_GRACE).then(|| duration(conduct.grace)));
        self.optional("start-within", conduct.start_within.map(duration));
        for (key, set) in [("allow-failure", conduct.allow_failure), ("always", conduct.always)] {
            self.optional(key, set.then(|| "true".to_owned()));
        }
        self.optional("rerun", conduct.rerun.then(|| "\"always\"".to_owned()));
        Ok(())
    }

    fn placement(&mut self) -> Written<()> {
        let conduct = &self.task.conduct;
        self.number("priority", conduct.priority, 0);
        self.number("cpus", conduct.cpus, 1);
        self.number("memory", conduct.memory, 0);
        if !conduct.resources.is_empty() {
            let field = |(name, amount): &(String, u64)| Ok(format!("{} = {amount}", key(name)?));
            let fields = conduct.resources.iter().map(field).collect::<Written<Vec<_>>>()?;
            self.line("resources", &table(fields));
        }
        match &conduct.targets {
            Targets::Any => {}
            Targets::Each => self.line("targets", "\"each\""),
            Targets::Named(names) => {
                let names = names.iter().map(|name| string(name)).collect::<Written<Vec<_>>>()?;
                self.line("targets", &list(names));
            }
        }
        self.optional("max-running", conduct.max_running.map(|most| most.to_string()));
        Ok(())
    }

    fn name(&self, task: TaskId) -> Written<&str> {
        let found = self.pipeline.tasks.get(task.at());
        found.map(|task| task.name.as_str()).ok_or_else(|| "a task that is not there".to_owned())
    }

    fn quoted(&self, task: TaskId) -> Written<String> {
        string(self.name(task)?)
    }

    /// One name, or a list of them.
    fn names(&self, tasks: &[TaskId]) -> Written<String> {
        match tasks {
            [one] => self.quoted(*one),
            tasks => {
                let names = tasks.iter().map(|task| self.quoted(*task));
                Ok(list(names.collect::<Written<Vec<_>>>()?))
            }
        }
    }

    /// A table of texts; `None` when it is empty.
    fn templates(&self, texts: &[(String, Template)]) -> Written<Option<String>> {
        let field = |(name, text): &(String, Template)| {
            Ok(format!("{} = {}", key(name)?, self.template(text)?))
        };
        let fields = texts.iter().map(field).collect::<Written<Vec<_>>>()?;
        Ok((!fields.is_empty()).then(|| table(fields)))
    }

    fn outputs(&self) -> Written<Option<String>> {
        let field = |(at, (name, path)): (usize, &(String, Template))| {
            let path = self.template(path)?;
            let path = match self.task.is_temp(at) {
                true => table(vec![format!("path = {path}"), "temp = true".to_owned()]),
                false => path,
            };
            Ok(format!("{} = {path}", key(name)?))
        };
        let fields = self.task.outputs.iter().enumerate().map(field);
        let fields = fields.collect::<Written<Vec<_>>>()?;
        Ok((!fields.is_empty()).then(|| table(fields)))
    }

    fn template(&self, template: &Template) -> Written<String> {
        let mut text = String::new();
        for part in &template.parts {
            match part {
                Part::Literal(literal) => text.push_str(&doubled(literal)),
                Part::Placeholder(placeholder) => {
                    let _ = write!(text, "{{{}}}", self.placeholder(placeholder)?);
                }
            }
        }
        string(&text)
    }

    fn placeholder(&self, placeholder: &Placeholder) -> Written<String> {
        Ok(match placeholder {
            Placeholder::Param(name, fields) => path(name, fields)?,
            Placeholder::Var(name, fields) => path(&format!("vars.{name}"), fields)?,
            Placeholder::Index(0) => "index".to_owned(),
            Placeholder::Index(digits) => format!("index:0{digits}"),
            Placeholder::Key => "key".to_owned(),
            Placeholder::Item(fields) => path("item", fields)?,
            Placeholder::ItemFile => "item:file".to_owned(),
            Placeholder::Seed => "seed".to_owned(),
            Placeholder::Out(output) => format!("out.{}", output_of(self.task, *output)?),
            Placeholder::In(input) => {
                let named = self.task.named.get(*input as usize);
                let (name, _) = named.ok_or_else(|| "an input that is not there".to_owned())?;
                format!("in.{name}")
            }
            Placeholder::UpstreamOut(task, output) => {
                let upstream = self.pipeline.tasks.get(task.at());
                let upstream = upstream.ok_or_else(|| "a task that is not there".to_owned())?;
                format!("{}.{}", upstream.name, output_of(upstream, *output)?)
            }
            Placeholder::UpstreamValue(task, fields) => {
                path(&format!("{}.value", self.name(*task)?), fields)?
            }
            Placeholder::UpstreamValueFile(task) => format!("{}.value:file", self.name(*task)?),
            Placeholder::Manifest(task) => format!("{}.manifest", self.name(*task)?),
            Placeholder::RunId => "run.id".to_owned(),
            Placeholder::RunDir => "run.dir".to_owned(),
            Placeholder::Attempt => "attempt".to_owned(),
        })
    }
}

fn output_of(task: &Task, output: u32) -> Written<&str> {
    let found = task.outputs.get(output as usize);
    found.map(|(name, _)| name.as_str()).ok_or_else(|| "an output that is not there".to_owned())
}

/// A placeholder with fields.
fn path(head: &str, fields: &[String]) -> Written<String> {
    let mut path = head.to_owned();
    for field in fields {
        if field.is_empty() || field.contains(['.', ':', '{', '}']) {
            return Err(format!("the field `{}` in a placeholder", field.escape_debug()));
        }
        path.push('.');
        path.push_str(field);
    }
    Ok(path)
}

/// Whether a clause can be written without its words.
fn is_plain(clause: &Clause) -> bool {
    clause.quantifier == Quantifier::All
        && clause.on == Outcomes::Success
        && !clause.upstreams.is_empty()
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", joined(items))
}

fn table(fields: impl IntoIterator<Item = String>) -> String {
    match joined(fields) {
        fields if fields.is_empty() => "{}".to_owned(),
        fields => format!("{{ {fields} }}"),
    }
}

fn joined(items: impl IntoIterator<Item = String>) -> String {
    let mut text = String::new();
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        text.push_str(&item);
    }
    text
}

/// A length of time in its largest unit.
fn duration(span: Micros) -> String {
    match span.0 {
        micros if micros % 1_000_000 == 0 => format!("\"{}s\"", micros / 1_000_000),
        micros if micros % 1000 == 0 => format!("\"{}ms\"", micros / 1000),
        micros => format!("\"{micros}us\""),
    }
}

fn retries(retry: &Retry) -> Option<String> {
    if *retry == Retry::default() {
        return None;
    }
    if *retry == (Retry { count: retry.count, ..Retry::default() }) {
        return Some(retry.count.to_string());
    }
    let mut fields = vec![format!("count = {}", retry.count)];
    if retry.delay != Micros(0) {
        fields.push(format!("delay = {}", duration(retry.delay)));
    }
    if retry.exponential {
        fields.push("backoff = \"exponential\"".to_owned());
    }
    if retry.max_delay != Micros(0) {
        fields.push(format!("max-delay = {}", duration(retry.max_delay)));
    }
    if retry.jitter {
        fields.push("jitter = true".to_owned());
    }
    if !retry.on.is_empty() {
        let kinds = retry.on.iter().map(|kind| format!("\"{}\"", failure(*kind)));
        fields.push(format!("on = {}", list(kinds)));
    }
    if let Some(factor) = retry.grow_memory {
        fields.push(format!("grow = {{ memory = {factor} }}"));
    }
    Some(table(fields))
}

fn failure(kind: RetryOn) -> String {
    match kind {
        RetryOn::Exit(code) => format!("exit:{code}"),
        RetryOn::AnyExit => "exit".to_owned(),
        RetryOn::Signal(signal) => format!("signal:{signal}"),
        RetryOn::AnySignal => "signal".to_owned(),
        RetryOn::Timeout => "timeout".to_owned(),
        RetryOn::Lost => "lost".to_owned(),
        RetryOn::Output => "output".to_owned(),
        RetryOn::Capture => "capture".to_owned(),
        RetryOn::Start => "start".to_owned(),
        RetryOn::Error => "error".to_owned(),
        RetryOn::Panic => "panic".to_owned(),
        RetryOn::Memory => "memory".to_owned(),
    }
}
