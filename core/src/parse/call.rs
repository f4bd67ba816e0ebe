//! `call` and `args`: a function by name and its arguments.

use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::document::{Key, Node};
use super::draft::{Draft, DraftAction, DraftArg, Fields};
use super::reader::Reader;
use crate::pipeline::Capture;

/// Keys that concern a process, which a function does not have.
const OF_PROCESSES: [(&str, &str); 5] = [
    ("wrap", "a function runs within its worker; wrap the worker"),
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
    /// Reports keys that do not fit the task's action, and adds the arguments to their call.
    pub(super) fn call_goes_together(&mut self, reader: &mut Reader<'_>, own: &Fields<'t, '_>) {
        let find = |name: &str| own.iter().find(|(key, _)| key.get_ref() == name);
        let args = self.args.take();
        let Some(DraftAction::Call(_, given)) = &mut self.action else {
            if let (Some((key, _)), false) = (find("args"), self.unknown_action) {
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
        self.wrap.clear();
        self.working_dir = None;
    }
}
