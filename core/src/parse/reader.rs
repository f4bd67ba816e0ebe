//! Reading single values of the expected type, and reporting those of other types.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Problems};
use super::document::{self, Key, Node, entries, kind};
use super::duration;
use super::files::Files;
use super::keys;
use crate::check;
use crate::ids::Micros;
use crate::problem::Problem;
use crate::spelling;
use crate::value::Value;

/// A name that refers to something, with its place.
#[derive(Clone, Debug)]
pub(super) struct Name<'t> {
    pub(super) text: &'t str,
    pub(super) span: Range<usize>,
}

/// The source, the problems found so far, and the files it may name.
pub(super) struct Reader<'a> {
    pub(super) source: &'a str,
    pub(super) files: &'a dyn Files,
    pub(super) problems: Problems,
    /// What is allowed and hardly meant.
    pub(super) warnings: Problems,
    /// Whether the task that is being read may have no instances.
    pub(super) allow_empty: bool,
}

impl Reader<'_> {
    pub(super) fn add(&mut self, problem: Diagnostic) {
        self.problems.add(problem);
    }

    /// Adds a warning.
    pub(super) fn warn(&mut self, span: Range<usize>, problem: Problem) {
        self.warnings.add(Diagnostic::of(span, problem));
    }

    /// Adds a problem at its location, if there is one; returns whether there is none.
    pub(super) fn report(&mut self, span: Range<usize>, problem: Option<Problem>) -> bool {
        let sound = problem.is_none();
        problem.into_iter().for_each(|problem| self.add(Diagnostic::of(span.clone(), problem)));
        sound
    }

    /// Reports that a value is not of the type `expected` (with its article).
    pub(super) fn mismatch(&mut self, node: &Node<'_>, expected: &str) -> Diagnostic {
        let found = kind(node.get_ref());
        Diagnostic::at(node.span(), format!("expected {expected}, found {found}"))
            .label(format!("{found}, not {expected}"))
    }

    /// Any string.
    pub(super) fn string<'t>(&mut self, node: &'t Node<'_>) -> Option<&'t str> {
        let DeValue::String(text) = node.get_ref() else {
            let quote = match node.get_ref() {
                DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => self
                    .source
                    .get(node.span())
                    .map(|spelling| format!("write it in quotes: \"{spelling}\"")),
                _ => None,
            };
            let problem = self.mismatch(node, "a string").maybe_help(quote);
            self.add(problem);
            return None;
        };
        self.report(node.span(), check::text(text)).then_some(text)
    }

    /// A string that is not empty.
    pub(super) fn filled_string<'t>(&mut self, node: &'t Node<'_>, what: &str) -> Option<&'t str> {
        let text = self.string(node)?;
        self.report(node.span(), check::filled(text, what)).then_some(text)
    }

    pub(super) fn boolean(&mut self, node: &Node<'_>) -> Option<bool> {
        if let DeValue::Boolean(value) = node.get_ref() {
            return Some(*value);
        }
        let problem = self.mismatch(node, "a boolean").help("write `true` or `false`");
        self.add(problem);
        None
    }

    /// A whole number of 32 bits that is not zero.
    pub(super) fn positive(&mut self, node: &Node<'_>, what: &str) -> Option<u32> {
        let count = self.count(node, what)?;
        self.report(node.span(), check::at_least_one(count, what)).then_some(count)
    }

    /// A whole number of 32 bits.
    pub(super) fn count(&mut self, node: &Node<'_>, what: &str) -> Option<u32> {
        let DeValue::Integer(integer) = node.get_ref() else {
            let problem = self.mismatch(node, "an integer");
            self.add(problem);
            return None;
        };
        match i128::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(..0) => {
                self.add(Diagnostic::at(node.span(), format!("{what} cannot be negative")));
                None
            }
            Ok(value) if value <= i128::from(u32::MAX) => u32::try_from(value).ok(),
            _ => {
                let message = format!("{what} is too large: at most {}", u32::MAX);
                self.add(Diagnostic::at(node.span(), message));
                None
            }
        }
    }

    /// A length of time.
    pub(super) fn duration(&mut self, node: &Node<'_>, what: &str) -> Option<Micros> {
        let span = self.time(node, what)?;
        self.report(node.span(), check::time(span, what));
        Some(span)
    }

    /// A length of time of any length: text with units, or a number of seconds.
    fn time(&mut self, node: &Node<'_>, what: &str) -> Option<Micros> {
        let span = match node.get_ref() {
            DeValue::String(text) => duration::parse(text),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .and_then(|seconds| duration::from_seconds(seconds as f64)),
            DeValue::Float(number) => number.as_str().parse().ok().and_then(duration::from_seconds),
            _ => {
                let problem = self
                    .mismatch(node, "a duration")
                    .help("write text such as \"90s\" or \"1m30s\", or a number of seconds");
                self.add(problem);
                return None;
            }
        };
        if span.is_none() {
            let spelling = self.source.get(node.span()).unwrap_or_default();
            let problem = Diagnostic::at(
                node.span(),
                format!("{what} is not a duration: {spelling}"),
            )
            .help("write text such as \"500ms\", \"90s\", \"1m30s\" or \"2h\", or a number of seconds");
            self.add(problem);
        }
        span
    }

    /// A length of time that is not zero.
    pub(super) fn limit(&mut self, node: &Node<'_>, what: &str) -> Option<Micros> {
        let limit = self.time(node, what)?;
        self.report(node.span(), check::limit(limit, what));
        Some(limit)
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        node: &Node<'_>,
        what: &str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.string(node)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let words = choices.iter().map(|(word, _)| *word);
        let help = spelling::did_you_mean(text, words.clone())
            .unwrap_or_else(|| format!("{what} is one of {}", spelling::listed(words)));
        self.add(Diagnostic::at(node.span(), format!("unknown {what} `{text}`")).help(help));
        None
    }

    /// A name that refers to something.
    pub(super) fn name<'t>(&mut self, node: &'t Node<'_>) -> Option<Name<'t>> {
        self.string(node).map(|text| Name { text, span: node.span() })
    }

    /// A name, or a list of names; `expected` describes both, with their kind.
    pub(super) fn names<'t>(
        &mut self,
        node: &'t Node<'_>,
        expected: &str,
    ) -> Option<Vec<Name<'t>>> {
        let DeValue::Array(array) = node.get_ref() else {
            if let DeValue::String(_) = node.get_ref() {
                return Some(vec![self.name(node)?]);
            }
            let problem = self.mismatch(node, expected);
            self.add(problem);
            return None;
        };
        let names: Vec<_> = array.iter().map(|item| self.name(item)).collect();
        names.into_iter().collect()
    }

    /// A table, as its entries in the author's order.
    pub(super) fn table<'t, 'i>(
        &mut self,
        node: &'t Node<'i>,
        expected: &str,
    ) -> Option<Vec<(&'t Key<'i>, &'t Node<'i>)>> {
        match node.get_ref() {
            DeValue::Table(table) => Some(entries(table)),
            _ => {
                let problem = self.mismatch(node, expected);
                self.add(problem);
                None
            }
        }
    }

    /// Any value that can be passed to a process.
    pub(super) fn value(&mut self, node: &Node<'_>) -> Value {
        if holds_nul(node.get_ref()) {
            self.report(node.span(), check::text("\0"));
        }
        document::to_value(self.source, node)
    }

    /// Whether a key may name something; reports if not.
    pub(super) fn checked_name(&mut self, key: &Key<'_>, what: &str) -> bool {
        self.report(key.span(), check::name(key.get_ref(), what))
    }

    /// Reports an unknown key.
    pub(super) fn unknown_key(&mut self, key: &Key<'_>, place: &str, known: &[&str]) {
        let name = key.get_ref();
        let help = keys::word_of_others(name, known)
            .map(|word| format!("dagrun's word for this is `{word}`"))
            .or_else(|| spelling::did_you_mean(name, known.iter().copied()))
            .unwrap_or_else(|| format!("known here: {}", spelling::listed(known.iter().copied())));
        let problem = Diagnostic::at(key.span(), format!("unknown key `{name}` in {place}"));
        self.add(problem.label("not known").help(help));
    }
}

fn holds_nul(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::String(text) => text.contains('\0'),
        DeValue::Array(array) => array.iter().any(|item| holds_nul(item.get_ref())),
        DeValue::Table(table) => table_holds_nul(table),
        _ => false,
    }
}

fn table_holds_nul(table: &DeTable<'_>) -> bool {
    table.iter().any(|(key, item)| key.get_ref().contains('\0') || holds_nul(item.get_ref()))
}
