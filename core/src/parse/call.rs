//! `call` and `args`: a function by name and what it is given.

use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::document::{Key, Node};
use super::names::Names;
use super::placeholders::{Field, References};
use super::reader::Reader;
use super::task::{Draft, DraftAction, Fields};
use super::text::Text;
use crate::ids::TaskId;
use crate::pipeline::{Arg, Args, Call, Capture};
use crate::template::{Part, RawPart, scan};
use crate::value::Value;

/// An argument as it is written, placeholders unresolved.
#[derive(Clone, Debug)]
pub(super) enum DraftArg<'t> {
    Value(Value),
    Text(Text<'t>),
    List(Vec<DraftArg<'t>>),
    Table(Vec<(&'t str, DraftArg<'t>)>),
}

/// Keys that say something about a process, of which a function has none of its own.
const OF_PROCESSES: [(&str, &str); 4] = [
    ("capture", "what the function returns is its value"),
    ("stdin", "give it what it reads as an argument"),
    ("env", "a function shares the environment of its worker; use `args`"),
    ("working-dir", "a function shares the directory of its worker; use paths in `args`"),
];

impl Reader<'_> {
    /// The table of arguments.
    pub(super) fn args<'t>(&mut self, node: &'t Node<'_>) -> Vec<(&'t str, DraftArg<'t>)> {
        let Some(fields) = self.table(node, "a table of arguments") else { return Vec::new() };
        self.arg_fields(fields)
    }

    fn arg_fields<'t, 'i>(
        &mut self,
        fields: Vec<(&'t Key<'i>, &'t Node<'i>)>,
    ) -> Vec<(&'t str, DraftArg<'t>)> {
        let field =
            |(key, node): (&'t Key<'i>, &'t Node<'i>)| Some((&**key.get_ref(), self.arg(node)?));
        fields.into_iter().filter_map(field).collect()
    }

    // As deep as the document, which the TOML parser bounds.
    fn arg<'t>(&mut self, node: &'t Node<'_>) -> Option<DraftArg<'t>> {
        Some(match node.get_ref() {
            DeValue::String(_) => DraftArg::Text(self.text(node)?),
            DeValue::Array(items) => {
                DraftArg::List(items.iter().filter_map(|item| self.arg(item)).collect())
            }
            DeValue::Table(_) => {
                let fields = self.table(node, "a table")?;
                DraftArg::Table(self.arg_fields(fields))
            }
            _ => DraftArg::Value(self.value(node)),
        })
    }
}

impl<'t> Draft<'t> {
    /// Tells of keys that do not go with what the task does, and puts the arguments to their call.
    pub(super) fn call_goes_together(&mut self, reader: &mut Reader<'_>, own: &Fields<'t, '_>) {
        let find = |name: &str| own.iter().find(|(key, _)| key.get_ref() == name);
        let args = self.args.take();
        let Some(DraftAction::Call(_, given)) = &mut self.action else {
            if let (Some((key, _)), false) = (find("args"), self.unknown.action) {
                let problem = Diagnostic::at(key.span(), "`args` without `call`")
                    .help("a command is given its arguments in `run`");
                reader.add(problem);
            }
            return;
        };
        *given = args.unwrap_or_default();
        for (name, help) in OF_PROCESSES {
            if let Some((key, _)) = find(name) {
                let message = format!("`{name}` does not go with `call`");
                reader.add(Diagnostic::at(key.span(), message).help(help));
            }
        }
        self.capture = Capture::Json;
        self.stdin = None;
        self.env.clear();
        self.working_dir = None;
    }
}

impl Names<'_, '_, '_> {
    /// Resolves a call.
    pub(super) fn call(
        &mut self,
        task: TaskId,
        function: &str,
        args: &[(&str, DraftArg<'_>)],
        references: &mut References,
    ) -> Call {
        let named = self.call_args(task, args, references);
        let function = function.to_owned();
        Call { function, signature: None, args: Args::Named(named), fold: false }
    }

    fn call_args(
        &mut self,
        task: TaskId,
        args: &[(&str, DraftArg<'_>)],
        references: &mut References,
    ) -> Vec<(String, Arg)> {
        let arg = |(name, arg): &(&str, DraftArg<'_>)| {
            ((*name).to_owned(), self.call_arg(task, arg, references))
        };
        args.iter().map(arg).collect()
    }

    fn call_arg(&mut self, task: TaskId, arg: &DraftArg<'_>, references: &mut References) -> Arg {
        match arg {
            DraftArg::Value(value) => Arg::Value(value.clone()),
            DraftArg::Text(text) => {
                if let Some(upstream) = self.gathered_value(task, text) {
                    return Arg::Gathered(upstream);
                }
                let template = self.template(task, text, Field::Other, references);
                match template.parts.as_slice() {
                    [] => Arg::Value(Value::String("".into())),
                    [Part::Literal(text)] => Arg::Value(Value::String(text.as_str().into())),
                    _ => Arg::Text(template),
                }
            }
            DraftArg::List(args) => {
                list_arg(args.iter().map(|arg| self.call_arg(task, arg, references)).collect())
            }
            DraftArg::Table(args) => table_arg(self.call_args(task, args, references)),
        }
    }

    /// The task that is gathered, when the text is its `{TASK.value}` and nothing else: all values.
    fn gathered_value(&self, task: TaskId, text: &Text<'_>) -> Option<TaskId> {
        let parts = scan(&text.text).ok()?;
        let [RawPart::Hole { text: hole, .. }] = parts.as_slice() else { return None };
        let upstream = *self.ids.get(hole.strip_suffix(".value")?)?;
        let gathers = self.patterns[task.at()].gathered().contains(&upstream);
        let captures = self.drafts[upstream.at()].capture != Capture::None;
        (gathers && captures).then_some(upstream)
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
