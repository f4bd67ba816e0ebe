//! Strings that may hold placeholders, and the way back from such a placeholder to the source.

use std::borrow::Cow;
use std::ops::Range;

use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::document::{Node, plain_start};
use super::reader::Reader;
use crate::check;
use crate::problem::{Problem, Syntax};
use crate::shell;
use crate::template::{RawPart, scan};

/// A string in which placeholders will be resolved.
#[derive(Clone, Debug)]
pub(super) struct Text<'t> {
    /// The text, as TOML decoded it; for a word of a `run` string, without its quotes.
    pub(super) text: Cow<'t, str>,
    /// The location of the whole string in the source.
    pub(super) span: Range<usize>,
    place: Place,
}

/// How offsets into a text are mapped to locations in the source.
#[derive(Clone, Debug)]
enum Place {
    /// The source contains the text verbatim, from this offset.
    Plain(usize),
    /// The places of its placeholders, in order.
    Holes(Vec<Range<usize>>),
    /// Not known: the whole string is marked.
    Whole,
}

impl<'t> Text<'t> {
    pub(super) fn new(source: &str, node: &Node<'_>, text: &'t str) -> Text<'t> {
        let place = plain_start(source, node, text).map_or(Place::Whole, Place::Plain);
        Text { text: Cow::Borrowed(text), span: node.span(), place }
    }

    /// The place of the placeholder number `ordinal`, or of a stray brace, at `range` of the text.
    pub(super) fn locate(&self, ordinal: usize, range: Range<usize>) -> Range<usize> {
        match &self.place {
            Place::Plain(start) => start + range.start..start + range.end,
            Place::Holes(holes) => holes.get(ordinal).unwrap_or(&self.span).clone(),
            Place::Whole => self.span.clone(),
        }
    }
}

impl Text<'_> {
    /// The place of a placeholder, by its number.
    pub(super) fn hole(&self, ordinal: usize) -> Range<usize> {
        let holes = holes(self).unwrap_or_default();
        holes.get(ordinal).unwrap_or(&self.span).clone()
    }
}

/// The places of the placeholders of a text, in order; `None` when its braces do not match.
fn holes(text: &Text<'_>) -> Option<Vec<Range<usize>>> {
    let parts = scan(&text.text).ok()?;
    let spans = parts.into_iter().filter_map(|part| match part {
        RawPart::Hole { span, .. } => Some(span),
        RawPart::Literal(_) => None,
    });
    Some(spans.enumerate().map(|(ordinal, span)| text.locate(ordinal, span)).collect())
}

impl Reader<'_> {
    /// A string with placeholders.
    pub(super) fn text<'t>(&mut self, node: &'t Node<'_>) -> Option<Text<'t>> {
        let text = self.string(node)?;
        Some(Text::new(self.source, node, text))
    }

    /// A string with placeholders that is not empty.
    pub(super) fn filled_text<'t>(&mut self, node: &'t Node<'_>, what: &str) -> Option<Text<'t>> {
        let text = self.filled_string(node, what)?;
        Some(Text::new(self.source, node, text))
    }

    /// A string with placeholders, or a list of them, none of them empty; `expected` describes both.
    pub(super) fn texts<'t>(
        &mut self,
        node: &'t Node<'_>,
        expected: &str,
    ) -> Option<Vec<Text<'t>>> {
        match node.get_ref() {
            DeValue::String(_) => Some(vec![self.filled_text(node, "the path")?]),
            DeValue::Array(array) => {
                let texts: Vec<_> =
                    array.iter().map(|item| self.filled_text(item, "the path")).collect();
                texts.into_iter().collect()
            }
            _ => {
                let problem = self.mismatch(node, expected);
                self.add(problem);
                None
            }
        }
    }

    /// The argument vector of `run`: a list of words, or a string that is split into words by the
    /// rules of a POSIX shell, before its placeholders are replaced.
    pub(super) fn argv<'t>(&mut self, node: &'t Node<'_>) -> Option<Vec<Text<'t>>> {
        let words = match node.get_ref() {
            DeValue::String(_) => self.split_words(node)?,
            DeValue::Array(array) => {
                let words: Vec<_> = array.iter().map(|item| self.text(item)).collect();
                words.into_iter().collect::<Option<Vec<_>>>()?
            }
            _ => {
                let problem = self.mismatch(node, "a list of strings or a string");
                self.add(problem);
                return None;
            }
        };
        let program = words.first().map(|word| &*word.text);
        self.report(node.span(), check::program(program, Syntax::Toml)).then_some(words)
    }

    /// The words that are put before those of a task; an empty list is none.
    pub(super) fn wrap<'t>(&mut self, node: &'t Node<'_>) -> Vec<Text<'t>> {
        if matches!(node.get_ref(), DeValue::Array(words) if words.is_empty()) {
            return Vec::new();
        }
        let words = match node.get_ref() {
            DeValue::String(_) => self.split_words(node),
            DeValue::Array(array) => {
                let words: Vec<_> = array.iter().map(|item| self.text(item)).collect();
                words.into_iter().collect::<Option<Vec<_>>>()
            }
            _ => {
                let problem = self.mismatch(node, "a list of strings");
                self.add(problem);
                None
            }
        };
        let words = words.unwrap_or_default();
        self.report(node.span(), check::wrap(words.first().map(|word| &*word.text)));
        words
    }

    fn split_words<'t>(&mut self, node: &'t Node<'_>) -> Option<Vec<Text<'t>>> {
        let whole = self.text(node)?;
        let words = match shell_words::split(&whole.text) {
            Ok(words) => words,
            Err(error) => {
                let problem = Diagnostic::at(node.span(), format!("cannot split `run`: {error}"))
                    .help("write it as a list, one word each: run = [\"echo\", \"it's\"]");
                self.add(problem);
                return None;
            }
        };
        let mut words: Vec<_> = words
            .into_iter()
            .map(|word| Text {
                text: Cow::Owned(word),
                span: whole.span.clone(),
                place: Place::Whole,
            })
            .collect();
        place_words(&whole, &mut words);
        self.warn_of_shell(&whole);
        Some(words)
    }

    /// Warns of what a shell would act on in a command line that no shell reads.
    fn warn_of_shell(&mut self, line: &Text<'_>) {
        let help = "`run` starts the program without a shell: use `shell`, or quote it if it is meant \
                    as it is";
        let set =
            line.text.trim_start().split(['=', ' ', '\'', '"', '{']).next().unwrap_or_default();
        let start = line.text.len() - line.text.trim_start().len();
        if crate::spelling::is_name(set) && line.text[start + set.len()..].starts_with('=') {
            let problem =
                Problem::new(format!("`{set}=` sets no variable here: it is the program"));
            let span = line.locate(usize::MAX, start..start + set.len() + 1);
            self.warn(span, problem.help("put it into `env`, or use `shell`"));
        }
        for (special, range) in shell::specials(&line.text) {
            let problem = Problem::new(format!("`{special}` is passed on as it is")).help(help);
            self.warn(line.locate(usize::MAX, range), problem);
        }
    }
}

/// Gives the words of a split string the places of their placeholders: splitting keeps their order.
/// If it broke one apart, the whole string stays marked.
fn place_words(whole: &Text<'_>, words: &mut [Text<'_>]) {
    let Some(places) = holes(whole) else { return };
    let counts: Vec<_> = words.iter().map(|word| holes(word).map(|holes| holes.len())).collect();
    if counts.iter().copied().sum::<Option<usize>>() != Some(places.len()) {
        return;
    }
    let mut places = places.into_iter();
    for (word, count) in words.iter_mut().zip(counts.into_iter().flatten()) {
        word.place = Place::Holes(places.by_ref().take(count).collect());
    }
}
