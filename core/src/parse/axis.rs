//! One axis of a sweep, in each of its kinds.

use std::ops::Range;

use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::document::{Key, Node};
use super::keys::AXIS_KINDS;
use super::reader::Reader;
use super::tables::{self, CsvForm, Table, TableError};
use crate::check;
use crate::space::{Axis, Ends, Points};
use crate::spelling;
use crate::url;

/// The keys that may accompany the kind in the table of an axis.
fn modifiers(kind: &str) -> &'static [&'static str] {
    match kind {
        "linspace" | "geomspace" | "logspace" => &["n"],
        "range" => &["step"],
        "glob" => &["expect", "group"],
        "csv" => &["delimiter", "comment", "columns"],
        _ => &[],
    }
}

/// The table of an axis, split into its keys.
pub(super) struct Written<'t, 'i> {
    pub(super) axis: &'t str,
    kind: &'static str,
    pub(super) value: &'t Node<'i>,
    modifiers: Vec<(&'t str, &'t Node<'i>)>,
    whole: Range<usize>,
}

impl<'t, 'i> Written<'t, 'i> {
    pub(super) fn modifier(&self, name: &str) -> Option<&'t Node<'i>> {
        self.modifiers.iter().find(|(known, _)| *known == name).map(|(_, node)| *node)
    }
}

impl Reader<'_> {
    /// Reads an axis; reports what is wrong if it is invalid.
    pub(super) fn axis<'t, 'i>(&mut self, key: &'t Key<'i>, node: &'t Node<'i>) -> Option<Axis> {
        let name = &**key.get_ref();
        let points = match node.get_ref() {
            DeValue::Array(items) => {
                Points::Rows(items.iter().map(|item| vec![self.value(item)]).collect())
            }
            DeValue::Table(_) => {
                let written = self.axis_table(name, node)?;
                return self.axis_of(&written);
            }
            other => {
                let spelling = self.source.get(node.span()).unwrap_or_default();
                let is_range = matches!(other, DeValue::String(text) if text.contains(".."));
                let help = match is_range {
                    true => format!("for a range write {{ range = {spelling} }}"),
                    false => format!("for a single value write [{spelling}]"),
                };
                let problem = self.mismatch(node, "a list of values or an axis").help(help);
                self.add(problem);
                return None;
            }
        };
        Some(Axis { name: name.to_owned(), names: vec![name.to_owned()], points })
    }

    fn axis_table<'t, 'i>(&mut self, axis: &'t str, node: &'t Node<'i>) -> Option<Written<'t, 'i>> {
        let fields = self.table(node, "an axis")?;
        let kind_of = |name: &str| AXIS_KINDS.iter().copied().find(|kind| *kind == name);
        let mut kinds = fields.iter().filter_map(|(key, _)| Some((kind_of(key.get_ref())?, *key)));
        let Some((kind, _)) = kinds.next() else {
            self.no_axis_kind(axis, node);
            return None;
        };
        if let Some((other, key)) = kinds.next() {
            let message = format!("an axis is either `{kind}` or `{other}`, not both");
            self.add(Diagnostic::at(key.span(), message));
            return None;
        }
        let mut written = None;
        let mut found = Vec::new();
        let mut known = true;
        for (key, value) in fields {
            match &**key.get_ref() {
                name if name == kind => written = Some(value),
                name if modifiers(kind).contains(&name) => found.push((name, value)),
                _ => {
                    let mut allowed = vec![kind];
                    allowed.extend(modifiers(kind));
                    self.unknown_key(key, &format!("a `{kind}` axis"), &allowed);
                    known = false;
                }
            }
        }
        let (value, whole) = (written?, node.span());
        known.then_some(Written { axis, kind, value, modifiers: found, whole })
    }

    fn no_axis_kind(&mut self, axis: &str, node: &Node<'_>) {
        let fields = self.table(node, "an axis").unwrap_or_default();
        let guess = fields.iter().find_map(|(key, _)| {
            spelling::closest(key.get_ref(), AXIS_KINDS.iter().copied()).map(|kind| (*key, kind))
        });
        let problem = match guess {
            Some((key, kind)) => {
                Diagnostic::at(key.span(), format!("unknown kind of axis `{}`", key.get_ref()))
                    .help(format!("did you mean `{kind}`?"))
            }
            None if axis == "combine" => Diagnostic::at(node.span(), "`combine` is not an axis")
                .help("it is a key of the task, beside `sweep`"),
            None => Diagnostic::at(node.span(), format!("axis `{axis}` is of no known kind")).help(
                format!(
                    "an axis is a list or a table with one of {}",
                    spelling::listed(AXIS_KINDS.iter().copied())
                ),
            ),
        };
        self.add(problem);
    }

    fn axis_of(&mut self, written: &Written<'_, '_>) -> Option<Axis> {
        let named = |points| Axis {
            name: written.axis.to_owned(),
            names: vec![written.axis.to_owned()],
            points,
        };
        match written.kind {
            "linspace" => self.ends(written).map(Points::Linspace).map(named),
            "geomspace" => self.ends(written).map(Points::Geomspace).map(named),
            "logspace" => self.ends(written).map(Points::Logspace).map(named),
            "range" => self.range(written).map(named),
            "glob" => self.glob(written),
            "csv" => {
                let form = self.csv_form(written)?;
                self.file(written, &|bytes| tables::csv(bytes, &form))
            }
            "json" => self.file(written, &tables::json),
            _ => self.file(written, &tables::lines),
        }
    }

    /// `[a, b]` and `n` of a row of numbers.
    fn ends(&mut self, written: &Written<'_, '_>) -> Option<Ends> {
        let kind = written.kind;
        let ends = match written.value.get_ref() {
            DeValue::Array(items) if items.len() == 2 => {
                let ends: Vec<_> = items.iter().map(|item| self.number(item)).collect();
                ends.into_iter().collect::<Option<Vec<_>>>()
            }
            DeValue::Array(items) => {
                let message = format!("`{kind}` needs two ends, found {}", items.len());
                let problem = Diagnostic::at(written.value.span(), message);
                self.add(problem.help(format!("write {kind} = [first, last], n = 10")));
                None
            }
            _ => {
                let problem = self.mismatch(written.value, "a list of two numbers");
                self.add(problem);
                None
            }
        };
        let Some(n) = written.modifier("n") else {
            let problem = Diagnostic::at(written.whole.clone(), format!("`{kind}` needs `n`"))
                .help(format!("write how many points: {{ {kind} = [a, b], n = 10 }}"));
            self.add(problem);
            return None;
        };
        let n = self.count(n, "`n`")?;
        let &[from, to] = ends?.as_slice() else { return None };
        Some(Ends { from, to, n })
    }

    fn number(&mut self, node: &Node<'_>) -> Option<f64> {
        let number = match node.get_ref() {
            DeValue::Integer(number) => {
                i128::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n as f64)
            }
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => {
                let problem = self.mismatch(node, "a number");
                self.add(problem);
                return None;
            }
        };
        if number.is_none() {
            self.add(Diagnostic::at(node.span(), "the number is too large"));
        }
        number
    }

    fn range(&mut self, written: &Written<'_, '_>) -> Option<Points> {
        let DeValue::String(text) = written.value.get_ref() else {
            let problem = self
                .mismatch(written.value, "a string")
                .help("write range = \"0..10\", or \"0..=10\" with 10 included");
            self.add(problem);
            return None;
        };
        let step = match written.modifier("step") {
            None => None,
            Some(node) => {
                let DeValue::Integer(step) = node.get_ref() else {
                    let problem = self.mismatch(node, "an integer");
                    self.add(problem);
                    return None;
                };
                let Ok(step) = i64::from_str_radix(step.as_str(), step.radix()) else {
                    self.add(Diagnostic::at(node.span(), "`step` is too large"));
                    return None;
                };
                Some(step)
            }
        };
        match Points::range(text, step) {
            Ok(points) => Some(points),
            Err(error) => {
                let at = match (error, written.modifier("step")) {
                    (crate::space::RangeError::ZeroStep, Some(step)) => step.span(),
                    _ => written.value.span(),
                };
                self.add(Diagnostic::at(at, format!("`range`: {error}")));
                None
            }
        }
    }

    /// How a CSV file is written.
    fn csv_form(&mut self, written: &Written<'_, '_>) -> Option<CsvForm> {
        let mut form = CsvForm::default();
        if let Some(node) = written.modifier("delimiter") {
            form.delimiter = self.character(node, "`delimiter`")?;
        }
        if let Some(node) = written.modifier("comment") {
            form.comment = Some(self.character(node, "`comment`")?);
        }
        if form.comment == Some(form.delimiter) {
            let message = "`delimiter` and `comment` are the same character";
            self.add(Diagnostic::at(written.whole.clone(), message));
            return None;
        }
        if let Some(node) = written.modifier("columns") {
            let fields = self.table(node, "a table of parameters and the columns that they are")?;
            for (key, value) in fields {
                let sound = self.report(key.span(), check::parameter(key.get_ref()));
                let column = self.filled_string(value, "the name of the column")?;
                sound.then(|| form.columns.push((key.get_ref().to_string(), column.to_owned())))?;
            }
        }
        Some(form)
    }

    /// A single ASCII character that may separate values or begin a comment.
    fn character(&mut self, node: &Node<'_>, what: &str) -> Option<u8> {
        let text = self.string(node)?;
        match text.as_bytes() {
            [byte] if byte.is_ascii() && !b"\"\r\n".contains(byte) => Some(*byte),
            _ => {
                let problem = Diagnostic::at(node.span(), format!("{what} is not one character"));
                self.add(problem.help("write \";\", or \"\\t\" for a tab"));
                None
            }
        }
    }

    fn file(
        &mut self,
        written: &Written<'_, '_>,
        parse: &dyn Fn(&[u8]) -> Result<Table, TableError>,
    ) -> Option<Axis> {
        let path = self.filled_string(written.value, "the path")?;
        let bytes = match self.files.read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let message = format!("cannot read `{}`: {error}", url::redacted(path));
                let problem = Diagnostic::at(written.value.span(), message);
                let relative = "the path is relative to the directory of the pipeline file";
                self.add(match url::scheme(path.as_bytes()) {
                    Some(_) => problem,
                    None => problem.help(relative),
                });
                return None;
            }
        };
        let mut table = match parse(&bytes) {
            Ok(table) => table,
            Err(error) => {
                let message = format!("`{}`: {error}", url::redacted(path));
                let problem = Diagnostic::at(written.value.span(), message);
                self.add(problem.maybe_help(error.help()));
                return None;
            }
        };
        if table.names.is_empty() {
            table.names.push(written.axis.to_owned());
        }
        Some(Axis {
            name: written.axis.to_owned(),
            names: table.names,
            points: Points::Rows(table.rows),
        })
    }
}
