//! Which instances of a task are meant: `price[7]`, `price[strike=90,sigma<0.3]`, `price[state=failed]`.
//!
//! [`Selector::parse`] reads the text, [`Columns::select`] finds the instances. Both are arithmetic
//! over the axes of the task and of those that it maps: no instance is looked at, however many
//! there are. Only states are left to whoever reads the instances, see [`Selection::admits`].
//!
//! Terms are separated by commas, and all of them must hold:
//!
//! | term | instances |
//! | --- | --- |
//! | `7`, `0..100`, `0..=9`, `5..`, `1\|3\|5..8` | by index, from 0 |
//! | `strike=90`, `solver=cg\|lu`, `strike=80..=100`, `solver!=cg` | by the value of a parameter |
//! | `sigma<0.3`, `<=`, `>`, `>=` | numbers by what they mean, text by its bytes |
//! | `strike~90.1` | with the nearest value that there is |
//! | `item.id=7`, `config.layers=3` | by a field of an item or of a parameter |
//! | `state=failed`, `state=failed\|skipped` | by state |
//!
//! Values may be quoted, `'…'` or `"…"`; a quote within is doubled. A parameter called `index` or
//! `state` wins; then `.index` and `.state` are ours.

mod columns;
mod parse;
mod resolve;
mod selection;
mod test;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

pub use columns::{Columns, ColumnsError, Param, Point};
pub use selection::Selection;
use test::Test;

/// A task and, in brackets, which of its instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    text: String,
    task: String,
    terms: Vec<Term>,
}

/// What must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    /// The index is in one of the ranges; without an end they go on to the last instance.
    Index(Vec<IndexRange>),
    /// A value, the index or the state passes a test.
    Value(Name, Test),
}

/// Indices that an author wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
struct IndexRange {
    from: u64,
    /// The first index that is not meant any more.
    end: Option<u64>,
    span: Range<usize>,
}

/// A parameter, or one of its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    name: String,
    fields: Vec<String>,
    span: Range<usize>,
}

/// Why a selector means nothing, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectError {
    /// The whole text.
    pub text: String,
    /// The bytes of it that are wrong.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl std::error::Error for SelectError {}

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            |range: Range<usize>| self.text.get(range).map_or(0, |text| text.chars().count());
        let (before, marked) = (width(0..self.span.start), width(self.span.clone()).max(1));
        f.write_str(&self.message)?;
        // A text that is longer than a line is not shown: the mark would stand anywhere.
        if before + marked < 200 && !self.text.chars().any(char::is_control) {
            write!(f, "\n  {}\n  {}{}", self.text, " ".repeat(before), "^".repeat(marked))?;
        }
        Ok(())
    }
}

impl Selector {
    /// The task's name.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.task
    }

    /// Whether all instances are meant, as no term was given.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.terms.is_empty()
    }

    /// The index, when it is the only term.
    #[must_use]
    pub fn index(&self) -> Option<u32> {
        match self.terms.as_slice() {
            [Term::Index(ranges)] => match ranges.as_slice() {
                [IndexRange { from, end: Some(end), .. }] if *end == from + 1 => {
                    u32::try_from(*from).ok()
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn error(&self, span: &Range<usize>, message: impl Into<String>) -> SelectError {
        let (text, span) = (self.text.clone(), span.clone());
        SelectError { text, span, message: message.into(), help: None }
    }
}

impl SelectError {
    fn help(mut self, help: Option<String>) -> SelectError {
        self.help = help;
        self
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::str::FromStr for Selector {
    type Err = SelectError;

    fn from_str(text: &str) -> Result<Selector, SelectError> {
        Selector::parse(text)
    }
}
