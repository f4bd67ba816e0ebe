//! Problems of a pipeline file: where they are, what they are, and what would help.
//!
//! They are not rendered here: the command line does that, with a snippet of the source.

use std::fmt;
use std::ops::Range;

use rustc_hash::FxHashSet;

use crate::problem::Problem;

/// Characters of a message or a help at most.
const LONGEST: usize = 1000;

/// One problem of a pipeline file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, a lowercase fragment.
    pub message: String,
    /// Where it is, in bytes of the source; `None` when it is not in the file (`--set`).
    pub span: Option<Range<usize>>,
    /// A short label for the marked range.
    pub label: Option<String>,
    /// How to correct it.
    pub help: Option<String>,
    /// The line of the span's start, from 1.
    pub line: u32,
    /// The column of the span's start in characters, from 1.
    pub column: u32,
}

impl Diagnostic {
    pub(crate) fn new(message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            message: message.into(),
            span: None,
            label: None,
            help: None,
            line: 1,
            column: 1,
        }
    }

    pub(crate) fn at(span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic { span: Some(span), ..Diagnostic::new(message) }
    }

    /// A problem at its place in the file.
    pub(super) fn of(span: Range<usize>, problem: Problem) -> Diagnostic {
        let Problem { message, label, help } = problem;
        Diagnostic { label, help, ..Diagnostic::at(span, message) }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = Some(label.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Diagnostic {
        self.help = self.help.or(help);
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// Collects problems; the same message at the same place counts once.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Diagnostic>,
    seen: FxHashSet<(usize, String)>,
}

impl Problems {
    pub(super) fn add(&mut self, problem: Diagnostic) {
        let start = problem.span.as_ref().map_or(usize::MAX, |span| span.start);
        if self.seen.insert((start, problem.message.clone())) {
            self.found.push(problem);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// The problems in the order of the source, those without a place first, lines and columns
    /// filled in.
    pub(super) fn into_located(self, source: &str) -> Vec<Diagnostic> {
        let mut found = self.found;
        for problem in &mut found {
            if let Some(span) = &mut problem.span {
                span.start = floor(source, span.start);
                span.end = floor(source, span.end).max(span.start);
            }
        }
        found.sort_by_key(|problem| problem.span.as_ref().map_or(0, |span| span.start + 1));
        // Each stretch of the source is counted once, however many problems a line has.
        let (mut position, mut line, mut column) = (0, 1, 1);
        for problem in &mut found {
            for text in [&mut problem.message].into_iter().chain(&mut problem.help) {
                shorten(text);
            }
            let Some(span) = &problem.span else { continue };
            let between = &source[position..span.start];
            line += u32::try_from(between.matches('\n').count()).unwrap_or(u32::MAX);
            column = match between.rfind('\n') {
                Some(at) => between[at + 1..].chars().count() + 1,
                None => column + between.chars().count(),
            };
            position = span.start;
            problem.line = line;
            problem.column = u32::try_from(column).unwrap_or(u32::MAX);
        }
        found
    }
}

/// Cuts a text that quotes too much of the source.
fn shorten(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(at);
        text.push('…');
    }
}

/// The nearest character boundary of `source` at or before `at`.
fn floor(source: &str, at: usize) -> usize {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_sorted_located_and_told_once() {
        let source = "größe = 1\nb = 2\n";
        let mut problems = Problems::default();
        problems.add(Diagnostic::at(12..13, "second"));
        problems.add(Diagnostic::at(10..11, "first of its line"));
        problems.add(Diagnostic::at(8..9, "in a line with wide letters"));
        problems.add(Diagnostic::at(12..13, "second"));
        problems.add(Diagnostic::at(900..901, "beyond the end"));
        let found: Vec<_> = problems.into_located(source).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "1:7: in a line with wide letters",
                "1:9: first of its line",
                "2:1: second",
                "3:1: beyond the end"
            ]
        );
    }
}
