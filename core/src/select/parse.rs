//! Reading selectors: text with places, no knowledge of any pipeline.

use std::ops::Range;

use super::test::{Choice, Constant, Op, Test};
use super::{IndexRange, Name, SelectError, Selector, Term};
use crate::spelling::{did_you_mean, listed};
use crate::status::State;

type Result<T> = std::result::Result<T, SelectError>;

impl Selector {
    /// Reads `TASK`, or `TASK[TERM,…]`.
    ///
    /// # Errors
    /// When it is neither, with the place.
    pub fn parse(text: &str) -> Result<Selector> {
        let (task, inner) = match text.split_once('[') {
            None => (text, None),
            Some((task, _)) => (task, Some(task.len() + 1)),
        };
        let mut selector =
            Selector { text: text.to_owned(), task: task.to_owned(), terms: Vec::new() };
        if task.is_empty() {
            return Err(selector.error(&(0..0), "the name of a task is missing"));
        }
        let Some(start) = inner else {
            if text.ends_with(']') {
                let last = text.len() - 1..text.len();
                return Err(selector.error(&last, "a `[` is missing"));
            }
            return Ok(selector);
        };
        if !text.ends_with(']') {
            return Err(selector.error(&(start - 1..start), "the `]` is missing"));
        }
        let mut reader = Reader { selector: &selector, at: start, end: text.len() - 1 };
        selector.terms = reader.terms()?;
        Ok(selector)
    }
}

struct Reader<'a> {
    selector: &'a Selector,
    at: usize,
    /// Where the closing bracket is.
    end: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.selector.text.get(self.at..self.end).unwrap_or("")
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn fail<T>(&self, span: Range<usize>, message: impl Into<String>) -> Result<T> {
        Err(self.selector.error(&span, message))
    }

    fn terms(&mut self) -> Result<Vec<Term>> {
        let mut terms = Vec::new();
        loop {
            self.skip_blanks();
            terms.push(self.term()?);
            self.skip_blanks();
            if self.at == self.end {
                return Ok(terms);
            }
            if !self.take(",") {
                return self.fail(self.at..self.end, "expected a comma");
            }
        }
    }

    fn term(&mut self) -> Result<Term> {
        let rest = self.rest();
        let begins = |set: fn(char) -> bool| rest.chars().next().is_some_and(set);
        if begins(|first| first.is_ascii_digit()) || rest.starts_with("..") {
            return Ok(Term::Index(self.indices()?));
        }
        if rest.is_empty() || rest.starts_with(',') {
            let message = "expected an index, or a condition as in `strike=90`";
            return self.fail(self.at..self.at, message);
        }
        let name = self.name()?;
        self.skip_blanks();
        let start = self.at;
        let Some(op) = self.op() else {
            let found = self.rest();
            let what = if found.is_empty() || found.starts_with(',') {
                format!(
                    "`{}` is not an index: a condition needs a value, as in `strike=90`",
                    name.name
                )
            } else {
                "expected `=`, `!=`, `<`, `<=`, `>`, `>=` or `~`".to_owned()
            };
            let span = if found.is_empty() { name.span } else { start..self.end };
            return self.fail(span, what);
        };
        self.skip_blanks();
        let test = self.test(op)?;
        Ok(Term::Value(name, test))
    }

    fn indices(&mut self) -> Result<Vec<IndexRange>> {
        let mut ranges = Vec::new();
        loop {
            self.skip_blanks();
            let rest = self.rest();
            let length = rest.find([',', '|']).unwrap_or(rest.len());
            let text = rest[..length].trim_end();
            let span = self.at..self.at + text.len();
            match index_range(text) {
                Some((from, end)) if end.is_none_or(|end| from < end) => {
                    ranges.push(IndexRange { from, end, span });
                }
                Some(_) => return self.fail(span, "the range is empty"),
                None => return self.fail(span, format!("`{text}` is not an index")),
            }
            self.at += length;
            if !self.take("|") {
                return Ok(ranges);
            }
        }
    }

    fn name(&mut self) -> Result<Name> {
        let rest = self.rest();
        let stop =
            |c: char| matches!(c, '=' | '!' | '<' | '>' | '~' | ',' | '|') || c.is_whitespace();
        let length = rest.find(stop).unwrap_or(rest.len());
        let span = self.at..self.at + length;
        let text = &rest[..length];
        // `.state` is ours even where a parameter is called `state`.
        let (ours, path) = text.strip_prefix('.').map_or((false, text), |text| (true, text));
        let mut parts = path.split('.').map(str::to_owned);
        let name = parts.next().unwrap_or_default();
        let fields: Vec<String> = parts.collect();
        if name.is_empty() || fields.iter().any(String::is_empty) {
            return self.fail(span, "expected a name");
        }
        self.at += length;
        let name = if ours { format!(".{name}") } else { name };
        Ok(Name { name, fields, span })
    }

    fn op(&mut self) -> Option<Op> {
        let ops = [
            ("==", Op::Equal),
            ("!=", Op::NotEqual),
            ("<=", Op::LessEqual),
            (">=", Op::GreaterEqual),
            ("=", Op::Equal),
            ("<", Op::Less),
            (">", Op::Greater),
            ("~", Op::Nearest),
        ];
        ops.into_iter().find(|(word, _)| self.take(word)).map(|(_, op)| op)
    }

    fn test(&mut self, op: Op) -> Result<Test> {
        let mut choices = vec![self.choice(op)?];
        loop {
            self.skip_blanks();
            let at = self.at;
            if !self.take("|") {
                break;
            }
            if !matches!(op, Op::Equal | Op::NotEqual) {
                return self.fail(at..at + 1, "alternatives are for `=` and `!=`");
            }
            self.skip_blanks();
            choices.push(self.choice(op)?);
        }
        Ok(Test { op, choices })
    }

    fn choice(&mut self, op: Op) -> Result<Choice> {
        let constant = self.constant()?;
        if matches!(op, Op::Equal | Op::NotEqual)
            && !constant.quoted
            && let Some(range) = value_range(&constant)
        {
            return Ok(range);
        }
        if op == Op::Nearest && constant.number().is_none() {
            let span = constant.span.clone();
            return self.fail(span, "`~` takes the nearest number, and this is none");
        }
        Ok(Choice::Value(constant))
    }

    fn constant(&mut self) -> Result<Constant> {
        let rest = self.rest();
        let start = self.at;
        if let Some(quote @ ('"' | '\'')) = rest.chars().next() {
            let mut text = String::new();
            let mut chars = rest.char_indices().skip(1).peekable();
            while let Some((at, c)) = chars.next() {
                if c != quote {
                    text.push(c);
                } else if chars.peek().is_some_and(|(_, next)| *next == quote) {
                    text.push(quote);
                    chars.next();
                } else {
                    self.at += at + 1;
                    return Ok(Constant::new(text, true, start..self.at));
                }
            }
            return self.fail(start..self.end, "the quote is not closed");
        }
        let length = rest.find([',', '|']).unwrap_or(rest.len());
        let text = rest[..length].trim_end();
        if text.is_empty() {
            return self.fail(start..start, "a value is missing");
        }
        self.at += text.len();
        Ok(Constant::new(text.to_owned(), false, start..self.at))
    }
}

/// `7`, `0..100`, `0..=9`, `5..`, `..5`: the first index, and the first behind the last.
fn index_range(text: &str) -> Option<(u64, Option<u64>)> {
    let number = |text: &str| text.trim().replace('_', "").parse::<u64>().ok();
    let Some((from, end)) = text.split_once("..") else {
        let index = number(text)?;
        return Some((index, Some(index.checked_add(1)?)));
    };
    let from = if from.trim().is_empty() { 0 } else { number(from)? };
    let end = match end.strip_prefix('=') {
        Some(end) => Some(number(end)?.checked_add(1)?),
        None if end.trim().is_empty() => None,
        None => Some(number(end)?),
    };
    Some((from, end))
}

/// `80..100`, `80..=100`, `80..`, `..100`: two numbers, one of which may be missing. Other text may
/// well have two dots in it.
fn value_range(constant: &Constant) -> Option<Choice> {
    let (from, to) = constant.text.split_once("..")?;
    let (inclusive, to) = to.strip_prefix('=').map_or((false, to), |to| (true, to));
    let end = |text: &str| {
        let text = text.trim();
        let end = Constant::new(text.to_owned(), false, constant.span.clone());
        match text.is_empty() {
            true => Some(None),
            false => end.number().is_some().then_some(Some(end)),
        }
    };
    let (from, to) = (end(from)?, end(to)?);
    (from.is_some() || to.is_some()).then_some(Choice::Range { from, to, inclusive })
}

/// The states that the choices of `state=…` name.
pub(super) fn states(selector: &Selector, test: &Test) -> Result<Vec<State>> {
    let words = State::ALL.map(State::word);
    let mut states = Vec::new();
    for choice in &test.choices {
        let Choice::Value(constant) = choice else {
            return Err(selector.error(choice.span(), "a range of states means nothing"));
        };
        let found = State::ALL.into_iter().find(|state| state.word() == constant.text);
        let state = found.ok_or_else(|| {
            let message = format!("`{}` is no state", constant.text);
            let help = did_you_mean(&constant.text, words);
            let help = help.or_else(|| Some(format!("the states are {}", listed(words))));
            selector.error(&constant.span, message).help(help)
        })?;
        states.push(state);
    }
    match test.op {
        Op::Equal => Ok(states),
        Op::NotEqual => {
            Ok(State::ALL.into_iter().filter(|state| !states.contains(state)).collect())
        }
        _ => {
            let span = test.choices.first().map_or(0..0, |choice| choice.span().clone());
            Err(selector.error(&span, "states are compared by `=` and `!=`"))
        }
    }
}
