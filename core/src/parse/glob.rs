//! Axes of paths that match a pattern, and the parameters that names in the pattern make.

use super::axis::Written;
use super::captures::{PathPattern, PatternError};
use super::diagnostic::Diagnostic;
use super::reader::{Name, Reader};
use super::tables::cell;
use crate::check;
use crate::space::{Axis, Points};
use crate::spelling;
use crate::url;
use crate::value::{RawString, Value};

/// A path, then what each name of the pattern stands for in it.
type Row = Vec<Value>;

impl Reader<'_> {
    /// The axis of a pattern: the paths, and a parameter for each name in the pattern.
    pub(super) fn glob(&mut self, written: &Written<'_, '_>) -> Option<Axis> {
        let text = self.filled_string(written.value, "the pattern")?;
        let pattern = self.path_pattern(written, text)?;
        let expect = match written.modifier("expect") {
            Some(node) => Some((self.positive(node, "`expect`")?, node.span())),
            None => None,
        };
        let group = match written.modifier("group") {
            Some(node) => self.names(node, "a name in the pattern or a list of them")?,
            None => Vec::new(),
        };
        self.are_in_pattern(&group, &pattern)?;
        let found = self.matching(written, text, &pattern)?;
        if let Some((expected, span)) = expect
            && found.len() != expected as usize
        {
            let message = format!("`{text}` matches {} files, expected {expected}", found.len());
            self.add(Diagnostic::at(span, message));
            return None;
        }
        let rows = found.into_iter().filter_map(|path| row(&pattern, path)).collect();
        let mut names = vec![written.axis.to_owned()];
        names.extend(pattern.names.iter().cloned());
        let grouped: Vec<bool> = names
            .iter()
            .enumerate()
            .map(|(at, name)| at == 0 || group.iter().any(|group| group.text == name))
            .collect();
        let rows = if group.is_empty() { rows } else { together(rows, &grouped) };
        Some(Axis { name: written.axis.to_owned(), names, points: Points::Rows(rows) })
    }

    fn path_pattern(&mut self, written: &Written<'_, '_>, text: &str) -> Option<PathPattern> {
        let span = written.value.span();
        let pattern = match PathPattern::new(text) {
            Ok(pattern) => pattern,
            Err(error) => {
                let help = match &error {
                    PatternError::Backslash => "a backslash is written as two: \\\\",
                    _ => {
                        "a name in braces becomes a parameter; braces that are meant as they are \
                         follow a backslash: '\\{'"
                    }
                };
                let message = format!("malformed pattern: {error}");
                self.add(Diagnostic::at(span, message).help(help));
                return None;
            }
        };
        for name in &pattern.names {
            if *name == written.axis {
                let message = format!("`{{{name}}}` has the name of the axis, which is the path");
                let help = format!("call the axis something else: file = {{ glob = \"{text}\" }}");
                self.add(Diagnostic::at(span, message).help(help));
                return None;
            }
            self.report(span.clone(), check::parameter(name)).then_some(())?;
        }
        Some(pattern)
    }

    /// Reports names by which nothing can be grouped.
    fn are_in_pattern(&mut self, group: &[Name<'_>], pattern: &PathPattern) -> Option<()> {
        let known = || pattern.names.iter().map(String::as_str);
        for name in group {
            if known().any(|known| known == name.text) {
                continue;
            }
            let message = format!("`{}` is no name in the pattern", name.text.escape_debug());
            let help = spelling::did_you_mean(name.text, known()).unwrap_or_else(|| {
                match known().next() {
                    Some(_) => format!("its names are {}", spelling::listed(known())),
                    None => "write names into it: {sample}_R{read}.fastq.gz".to_owned(),
                }
            });
            self.add(Diagnostic::at(name.span.clone(), message).help(help));
            return None;
        }
        Some(())
    }

    /// The paths that match.
    fn matching(
        &mut self,
        written: &Written<'_, '_>,
        text: &str,
        pattern: &PathPattern,
    ) -> Option<Vec<RawString>> {
        let span = written.value.span();
        let found = match self.files.glob(&pattern.plain) {
            Ok(found) => found,
            Err(error) => {
                let message = format!("cannot list `{}`: {error}", url::redacted(text));
                self.add(Diagnostic::at(span, message));
                return None;
            }
        };
        let mut found = found;
        if !pattern.names.is_empty() {
            found.retain(|path| pattern.captures(&path.0).is_some());
        }
        if found.is_empty() && !self.allow_empty {
            let problem =
                Diagnostic::at(span, format!("no file matches `{text}`")).label("no match");
            let relative = "the pattern is relative to the directory of the pipeline file";
            self.add(match url::scheme(text.as_bytes()) {
                Some(_) => problem,
                None => problem.help(relative),
            });
            return None;
        }
        Some(found)
    }
}

fn row(pattern: &PathPattern, path: RawString) -> Option<Row> {
    let captured = match pattern.names.is_empty() {
        true => Vec::new(),
        false => pattern.captures(&path.0)?,
    };
    let captured = captured.iter().map(|text| cell(text));
    Some(std::iter::once(Value::String(path)).chain(captured).collect())
}

/// One row for the rows that agree in all columns that are not grouped; those that are grouped become
/// lists. In the order of their first rows.
fn together(rows: Vec<Row>, grouped: &[bool]) -> Vec<Row> {
    let mut first_of = rustc_hash::FxHashMap::default();
    let mut merged: Vec<Row> = Vec::new();
    for row in rows {
        let mut key = Vec::new();
        let fixed = row.iter().zip(grouped).filter(|(_, grouped)| !**grouped);
        fixed.for_each(|(value, _)| value.write_canonical(&mut key));
        let at = *first_of.entry(key).or_insert(merged.len());
        if at == merged.len() {
            let empty = row.iter().zip(grouped).map(|(value, grouped)| match grouped {
                true => Value::List(Vec::new()),
                false => value.clone(),
            });
            merged.push(empty.collect());
        }
        for ((value, grouped), kept) in row.into_iter().zip(grouped).zip(&mut merged[at]) {
            if let (Value::List(list), true) = (kept, grouped) {
                list.push(value);
            }
        }
    }
    merged
}
