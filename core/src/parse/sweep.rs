//! `sweep` and `combine`: the axes of a task's own parameters and how they are combined.

use std::ops::Range;

use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::document::{Node, entries};
use super::reader::Reader;
use crate::check;
use crate::space::{Axis, Space, SpaceError};
use crate::spelling;
use crate::value::Value;

/// A row of parameter values.
type Row = Vec<(String, Value)>;

/// The parameter space of a task, with the locations of its parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Sweep {
    pub(super) space: Space,
    /// The place of each axis.
    pub(super) axes: Vec<Range<usize>>,
    /// The place of each member of each zip group.
    zip: Vec<Vec<Range<usize>>>,
    /// The place of each exclude row.
    pub(super) exclude: Vec<Range<usize>>,
    /// The place of each include row.
    pub(super) include: Vec<Range<usize>>,
    /// Whether it has a problem, so that not all of its parameters are known.
    pub(super) faulty: bool,
}

impl Sweep {
    /// The parameters: the place of the axis, its position, the position in the axis, the name.
    pub(super) fn params(&self) -> impl Iterator<Item = (&Range<usize>, usize, usize, &str)> {
        self.axes.iter().zip(&self.space.axes).enumerate().flat_map(|(at, (span, axis))| {
            axis.names.iter().enumerate().map(move |(column, name)| (span, at, column, &**name))
        })
    }

    fn place(&self, error: &SpaceError, whole: &Range<usize>) -> Range<usize> {
        let member = |group: usize, member: usize| {
            self.zip.get(group).and_then(|group| group.get(member)).cloned()
        };
        let place = match error {
            SpaceError::Axis { axis, .. } => self.axes.get(*axis).cloned(),
            SpaceError::DuplicateName { second, .. } => self.axes.get(*second).cloned(),
            SpaceError::ZipUnknown { group, member: at, .. }
            | SpaceError::ZipTwice { group, member: at, .. } => member(*group, *at),
            SpaceError::ZipLengths { group, .. } => self
                .zip
                .get(*group)
                .and_then(|members| Some(members.first()?.start..members.last()?.end)),
            SpaceError::ExcludeUnknown { row, .. } | SpaceError::ExcludeEmpty { row } => {
                self.exclude.get(*row).cloned()
            }
            SpaceError::IncludeUnknown { row, .. }
            | SpaceError::IncludeMissing { row, .. }
            | SpaceError::IncludeTwice { row, .. } => self.include.get(*row).cloned(),
            SpaceError::TooWide | SpaceError::TooWideToExclude => None,
        };
        place.unwrap_or_else(|| whole.clone())
    }

    fn help(&self, error: &SpaceError) -> Option<String> {
        let axes = || self.space.axes.iter().map(|axis| axis.name.as_str());
        let params = || self.params().map(|param| param.3);
        match error {
            SpaceError::ZipUnknown { name, .. } => spelling::did_you_mean(name, axes())
                .or_else(|| Some(format!("the axes are {}", spelling::listed(axes())))),
            SpaceError::ExcludeUnknown { name, .. } | SpaceError::IncludeUnknown { name, .. } => {
                spelling::did_you_mean(name, params())
                    .or_else(|| Some(format!("the parameters are {}", spelling::listed(params()))))
            }
            SpaceError::ZipLengths { group, lengths } => {
                let names = self.space.zip.get(*group)?;
                let pairs = names.iter().zip(lengths);
                let lengths: Vec<_> = pairs.map(|(name, n)| format!("`{name}` has {n}")).collect();
                Some(lengths.join(", "))
            }
            SpaceError::IncludeMissing { .. } => {
                Some(format!("an include row is complete: {}", spelling::listed(params())))
            }
            SpaceError::DuplicateName { first, .. } => {
                let axis = self.space.axes.get(*first)?;
                Some(format!("axis `{}` has it already", axis.name))
            }
            _ => None,
        }
    }
}

/// Whether a value has only keys of `combine`, which no axis has.
fn is_combine(node: &Node<'_>) -> bool {
    let DeValue::Table(table) = node.get_ref() else { return false };
    table.keys().all(|key| matches!(&**key.get_ref(), "zip" | "exclude" | "include"))
}

impl Reader<'_> {
    /// Reads the sweep of a task and checks it as far as it can be without the other tasks.
    pub(super) fn sweep(&mut self, node: &Node<'_>, combine: Option<&Node<'_>>) -> Sweep {
        let mut sweep = Sweep::default();
        let before = self.problems.len();
        let mut axes = self.table(node, "a table of axes").unwrap_or_default();
        // `combine` may be written beside the axes as well as beside the sweep, unless an axis has
        // that name.
        let inside = axes.iter().position(|(key, value)| {
            key.get_ref() == "combine" && combine.is_none() && is_combine(value)
        });
        let combine = combine.or(inside.map(|at| axes.remove(at).1));
        if axes.is_empty() && self.problems.len() == before {
            let problem = Diagnostic::at(node.span(), "`sweep` has no axes")
                .help("write the parameters and their values: sweep = { h = [0.1, 0.2] }");
            self.add(problem);
        }
        for (key, value) in axes {
            let Some(axis) = self.axis(key, value) else { continue };
            if !self.allow_empty && axis.points.count() == 0 {
                let problem =
                    Diagnostic::at(value.span(), format!("axis `{}` is empty", axis.name));
                let help =
                    "the task would have no instances; allow-empty = true at the task allows it";
                self.add(problem.help(help));
                continue;
            }
            if self.axis_is_sound(&axis, key.span()) {
                sweep.axes.push(key.span());
                sweep.space.axes.push(axis);
            }
        }
        if let Some(combine) = combine {
            self.combine(combine, &mut sweep);
        }
        // A missing axis would make the rest look wrong.
        if self.problems.len() == before
            && let Err(error) = sweep.space.compile()
        {
            let problem = Diagnostic::at(sweep.place(&error, &node.span()), error.to_string());
            let problem = problem.maybe_help(sweep.help(&error));
            self.add(problem);
        }
        sweep.faulty = self.problems.len() > before;
        sweep
    }

    /// Reports what is wrong with one axis by itself.
    fn axis_is_sound(&mut self, axis: &Axis, span: Range<usize>) -> bool {
        for name in &axis.names {
            if !self.report(span.clone(), check::parameter(name)) {
                return false;
            }
        }
        let alone = Space { axes: vec![axis.clone()], ..Space::default() };
        if let Err(error) = alone.compile() {
            let message = match &error {
                SpaceError::Axis { problem, .. } => problem.to_string(),
                other => other.to_string(),
            };
            self.add(Diagnostic::at(span, format!("axis `{}`: {message}", axis.name)));
            return false;
        }
        true
    }

    fn combine(&mut self, node: &Node<'_>, sweep: &mut Sweep) {
        for (key, value) in self.table(node, "a table").unwrap_or_default() {
            match &**key.get_ref() {
                "zip" => self.zip(value, sweep),
                "exclude" => {
                    for (span, row) in self.rows(value) {
                        sweep.exclude.push(span);
                        sweep.space.exclude.push(row);
                    }
                }
                "include" => {
                    for (span, row) in self.rows(value) {
                        sweep.include.push(span);
                        sweep.space.include.push(row);
                    }
                }
                _ => self.unknown_key(key, "`combine`", &["zip", "exclude", "include"]),
            }
        }
    }

    /// Groups of axes; a single group may stand without the outer brackets.
    fn zip(&mut self, node: &Node<'_>, sweep: &mut Sweep) {
        let DeValue::Array(items) = node.get_ref() else {
            let problem = self
                .mismatch(node, "a list of groups of axes")
                .help("write zip = [[\"a\", \"b\"]]");
            self.add(problem);
            return;
        };
        let flat = items.iter().any(|item| matches!(item.get_ref(), DeValue::String(_)));
        let groups: Vec<_> = if flat { vec![node] } else { items.iter().collect() };
        for group in groups {
            let Some(names) = self.names(group, "a group of axes") else { continue };
            if !self.report(group.span(), check::paired(names.len())) {
                continue;
            }
            sweep.space.zip.push(names.iter().map(|name| name.text.to_owned()).collect());
            sweep.zip.push(names.into_iter().map(|name| name.span).collect());
        }
    }

    /// Rows of parameter values; a single one may stand without brackets.
    fn rows(&mut self, node: &Node<'_>) -> Vec<(Range<usize>, Row)> {
        let items: Vec<_> = match node.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![node],
        };
        let mut rows = Vec::new();
        for item in items {
            let DeValue::Table(table) = item.get_ref() else {
                let problem = self
                    .mismatch(item, "a row of parameter values")
                    .help("write rows such as { tol = 1e-9, solver = \"cg\" }");
                self.add(problem);
                continue;
            };
            let fields = entries(table).into_iter();
            let row = fields.map(|(key, value)| (key.get_ref().to_string(), self.value(value)));
            rows.push((item.span(), row.collect()));
        }
        rows
    }
}
