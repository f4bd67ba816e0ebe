//! A file as lines: headers, entries, comments. An entry whose value takes several lines is one of them.

use toml_parser::Source;
use toml_parser::lexer::{Token, TokenKind};

use super::container::{self, Tokens};

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Blank,
    Comment(String),
    /// `[task.price]`: what stands in the brackets, and all of it.
    Header {
        path: String,
        text: String,
        comment: Option<String>,
    },
    /// `key = value`.
    Entry {
        key: String,
        value: String,
        comment: Option<String>,
    },
}

impl Line {
    /// How many characters its key has.
    pub(super) fn key_width(&self) -> usize {
        match self {
            Line::Entry { key, .. } => key.chars().count(),
            _ => 0,
        }
    }

    /// The line without its comment, with a key of this width.
    pub(super) fn body(&self, width: usize) -> String {
        match self {
            Line::Blank => String::new(),
            Line::Comment(text) | Line::Header { text, .. } => text.clone(),
            Line::Entry { key, value, .. } => {
                let gap = " ".repeat(width.saturating_sub(key.chars().count()));
                format!("{key}{gap} = {value}")
            }
        }
    }

    /// The comment behind it.
    pub(super) fn comment(&self) -> Option<&str> {
        match self {
            Line::Header { comment, .. } | Line::Entry { comment, .. } => comment.as_deref(),
            Line::Blank | Line::Comment(_) => None,
        }
    }
}

/// The lines of a text whose syntax is right.
pub(super) fn read(text: &str) -> Vec<Line> {
    let tokens: Vec<Token> = Source::new(text).lex().into_vec();
    let mut tokens = Tokens::new(text, &tokens);
    let mut lines = Vec::new();
    loop {
        tokens.skip_blanks();
        let line = match tokens.kind() {
            TokenKind::Eof => return lines,
            TokenKind::Newline => Line::Blank,
            TokenKind::Comment => Line::Comment(comment(&mut tokens).unwrap_or_default()),
            TokenKind::LeftSquareBracket => header(&mut tokens),
            _ => entry(&mut tokens),
        };
        lines.push(line);
        tokens.skip_blanks();
        // A text that ends without a newline has an end all the same.
        if tokens.kind() != TokenKind::Eof {
            tokens.take();
        }
    }
}

fn header(tokens: &mut Tokens<'_>) -> Line {
    let mut text = String::new();
    while !matches!(tokens.kind(), TokenKind::Newline | TokenKind::Comment | TokenKind::Eof) {
        match tokens.kind() {
            TokenKind::Whitespace => drop(tokens.take()),
            _ => text.push_str(tokens.take()),
        }
    }
    let path = text.trim_matches(['[', ']']).to_owned();
    Line::Header { path, text, comment: comment(tokens) }
}

fn entry(tokens: &mut Tokens<'_>) -> Line {
    let key = container::key(tokens);
    let value = container::value(tokens, 0);
    tokens.skip_blanks();
    Line::Entry { key, value, comment: comment(tokens) }
}

/// The comment that comes next, without blanks at its end.
fn comment(tokens: &mut Tokens<'_>) -> Option<String> {
    (tokens.kind() == TokenKind::Comment).then(|| tokens.take().trim_end().to_owned())
}
