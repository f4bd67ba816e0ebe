//! `price > 3 and state = succeeded`: which rows are wanted.

use std::cmp::Ordering;

use super::{Kind, Row, Sheet};
use crate::spelling::{did_you_mean, listed};
use crate::value::{compare_numbers, is_number};

/// A condition on rows.
#[derive(Clone, Debug)]
pub struct Filter(Node);

#[derive(Clone, Debug)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Compare(usize, Op, Right),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Clone, Debug)]
enum Right {
    Column(usize),
    /// A text, and whether it was quoted.
    Text(String, bool),
    Null,
}

/// Why a condition means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}\n  {text}\n  {}^", " ".repeat(.text.get(..*.at).map_or(0, |text| text.chars().count())))]
pub struct FilterError {
    /// The whole condition.
    pub text: String,
    /// The byte at which it goes wrong.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Op(Op),
    Open,
    Close,
}

impl Filter {
    /// Reads a condition on the rows of a sheet.
    ///
    /// # Errors
    /// When it is none, or names a column that the sheet has not.
    pub fn parse(text: &str, sheet: &Sheet) -> Result<Filter, FilterError> {
        let tokens = tokens(text)?;
        let mut reader = Reader { text, tokens, at: 0, sheet };
        let node = reader.any()?;
        match reader.tokens.get(reader.at) {
            None => Ok(Filter(node)),
            Some((at, _)) => Err(reader.error(*at, "expected `and`, `or` or the end")),
        }
    }

    /// Whether a row is wanted.
    #[must_use]
    pub fn admits(&self, row: &Row) -> bool {
        self.0.admits(row)
    }
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, FilterError> {
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let mut next_is = |wanted: char| chars.next_if(|(_, c)| *c == wanted).is_some();
        let token = match c {
            c if c.is_whitespace() => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            '=' => {
                next_is('=');
                Token::Op(Op::Equal)
            }
            '!' if next_is('=') => Token::Op(Op::NotEqual),
            '<' if next_is('>') => Token::Op(Op::NotEqual),
            '<' => Token::Op(if next_is('=') { Op::LessEqual } else { Op::Less }),
            '>' => Token::Op(if next_is('=') { Op::GreaterEqual } else { Op::Greater }),
            '\'' | '"' => {
                let mut word = String::new();
                loop {
                    match chars.next() {
                        Some((_, end)) if end == c => match chars.next_if(|(_, next)| *next == c) {
                            Some(_) => word.push(c),
                            None => break,
                        },
                        Some((_, other)) => word.push(other),
                        None => {
                            let (text, message) =
                                (text.to_owned(), "the quote is not closed".into());
                            return Err(FilterError { text, at, message, help: None });
                        }
                    }
                }
                Token::Quoted(word)
            }
            first => {
                let mut word = String::from(first);
                let part = |c: char| !c.is_whitespace() && !"()=!<>'\"".contains(c);
                while let Some((_, more)) = chars.next_if(|(_, c)| part(*c)) {
                    word.push(more);
                }
                Token::Word(word)
            }
        };
        tokens.push((at, token));
    }
    Ok(tokens)
}

struct Reader<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token)>,
    at: usize,
    sheet: &'a Sheet,
}

impl Reader<'_> {
    fn error(&self, at: usize, message: impl Into<String>) -> FilterError {
        FilterError { text: self.text.to_owned(), at, message: message.into(), help: None }
    }

    fn here(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |(at, _)| *at)
    }

    fn take(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some((_, Token::Word(found)))
            if found.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn any(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.all()?];
        while self.take("or") {
            nodes.push(self.all()?);
        }
        Ok(Node::Any(nodes))
    }

    fn all(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.one()?];
        while self.take("and") {
            nodes.push(self.one()?);
        }
        Ok(Node::All(nodes))
    }

    fn one(&mut self) -> Result<Node, FilterError> {
        let mut negated = false;
        while self.take("not") {
            negated = !negated;
        }
        let here = self.here();
        let token = self.tokens.get(self.at).map(|(_, token)| token.clone());
        self.at += 1;
        let node = match token {
            Some(Token::Open) => {
                let node = self.any()?;
                match self.tokens.get(self.at) {
                    Some((_, Token::Close)) => self.at += 1,
                    _ => return Err(self.error(self.here(), "expected `)`")),
                }
                node
            }
            Some(Token::Word(name) | Token::Quoted(name)) => self.compare(here, &name)?,
            _ => return Err(self.error(here, "expected the name of a column")),
        };
        Ok(if negated { Node::Not(Box::new(node)) } else { node })
    }

    fn compare(&mut self, here: usize, name: &str) -> Result<Node, FilterError> {
        let column = self.sheet.find(name).ok_or_else(|| {
            let mut error = self.error(here, format!("there is no column `{name}`"));
            error.help = did_you_mean(name, self.sheet.names())
                .or_else(|| Some(format!("there are {}", listed(self.sheet.names()))));
            error
        })?;
        let Some((_, Token::Op(op))) = self.tokens.get(self.at).cloned() else {
            return Err(self.error(self.here(), "expected `=`, `!=`, `<`, `<=`, `>` or `>=`"));
        };
        self.at += 1;
        let here = self.here();
        let right = match self.tokens.get(self.at).map(|(_, token)| token) {
            Some(Token::Quoted(text)) => Right::Text(text.clone(), true),
            Some(Token::Word(word)) => match self.sheet.find(word) {
                _ if word == "null" => Right::Null,
                Some(column) if !is_number(word) => Right::Column(column),
                _ => Right::Text(word.clone(), false),
            },
            _ => return Err(self.error(here, "expected a value")),
        };
        self.at += 1;
        Ok(Node::Compare(column, op, right))
    }
}

impl Node {
    fn admits(&self, row: &Row) -> bool {
        match self {
            Node::All(nodes) => nodes.iter().all(|node| node.admits(row)),
            Node::Any(nodes) => nodes.iter().any(|node| node.admits(row)),
            Node::Not(node) => !node.admits(row),
            Node::Compare(column, op, Right::Null) => {
                (row.get(*column).0 == Kind::Missing) == (*op == Op::Equal)
            }
            Node::Compare(column, op, Right::Column(other)) => {
                holds(*op, compare(row.get(*column), row.get(*other)))
            }
            Node::Compare(column, op, Right::Text(text, quoted)) => {
                let kind = match is_number(text) && !quoted {
                    true => Kind::Float,
                    false => Kind::Text,
                };
                holds(*op, compare(row.get(*column), (kind, text.as_bytes())))
            }
        }
    }
}

/// What is missing is neither the same as anything nor different from it.
fn holds(op: Op, order: Option<Option<Ordering>>) -> bool {
    let Some(order) = order else { return false };
    match (op, order) {
        (Op::NotEqual, order) => order != Some(Ordering::Equal),
        (_, None) => false,
        (Op::Equal, Some(order)) => order.is_eq(),
        (Op::Less, Some(order)) => order.is_lt(),
        (Op::LessEqual, Some(order)) => order.is_le(),
        (Op::Greater, Some(order)) => order.is_gt(),
        (Op::GreaterEqual, Some(order)) => order.is_ge(),
    }
}

/// Compares cells: numbers, and text beside numbers that spells one, by what they mean; all else by
/// its bytes. The outer `None` is for what is missing.
fn compare(one: (Kind, &[u8]), two: (Kind, &[u8])) -> Option<Option<Ordering>> {
    if one.0 == Kind::Missing || two.0 == Kind::Missing {
        return None;
    }
    if one.0.is_number() || two.0.is_number() {
        let text = |cell: (Kind, &'_ [u8])| std::str::from_utf8(cell.1).ok().map(str::to_owned);
        let order = text(one).zip(text(two)).and_then(|(a, b)| compare_numbers(&a, &b));
        return Some(order);
    }
    Some(Some(one.1.cmp(two.1)))
}
