//! Values: scalars as they are, arrays and tables in braces with one space where one belongs. What took
//! several lines goes on to, with the lines that it had.

use toml_parser::lexer::{Token, TokenKind};

/// Blanks for each level that a line is inside of brackets.
const INDENT: usize = 2;

/// Tokens of a text, from one on.
pub(super) struct Tokens<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str, tokens: &'a [Token]) -> Tokens<'a> {
        Tokens { text, tokens, at: 0 }
    }

    /// What the next token is.
    pub(super) fn kind(&self) -> TokenKind {
        self.tokens.get(self.at).map_or(TokenKind::Eof, Token::kind)
    }

    /// The next token, which is then over.
    pub(super) fn take(&mut self) -> &'a str {
        let span = self.tokens.get(self.at).map(Token::span);
        self.at += 1;
        span.and_then(|span| self.text.get(span.start()..span.end())).unwrap_or_default()
    }

    pub(super) fn skip_blanks(&mut self) {
        while self.kind() == TokenKind::Whitespace {
            self.at += 1;
        }
    }
}

/// A key with its dots, and the equal sign behind it.
pub(super) fn key(tokens: &mut Tokens<'_>) -> String {
    let mut key = String::new();
    loop {
        match tokens.kind() {
            TokenKind::Equals => {
                tokens.take();
                return key;
            }
            TokenKind::Eof | TokenKind::Newline => return key,
            TokenKind::Whitespace => drop(tokens.take()),
            _ => key.push_str(tokens.take()),
        }
    }
}

/// A value within so many brackets.
pub(super) fn value(tokens: &mut Tokens<'_>, depth: usize) -> String {
    tokens.skip_blanks();
    match tokens.kind() {
        TokenKind::LeftSquareBracket => container(tokens, depth, false),
        TokenKind::LeftCurlyBracket => container(tokens, depth, true),
        _ => scalar(tokens),
    }
}

/// A text, number or time: several tokens where it has a dot, with a blank in it where a date has one.
fn scalar(tokens: &mut Tokens<'_>) -> String {
    let mut text = String::new();
    while !matches!(
        tokens.kind(),
        TokenKind::Comma
            | TokenKind::RightSquareBracket
            | TokenKind::RightCurlyBracket
            | TokenKind::Comment
            | TokenKind::Newline
            | TokenKind::Eof
    ) {
        text.push_str(tokens.take());
    }
    text.truncate(text.trim_end_matches([' ', '\t']).len());
    text
}

/// What stands between brackets.
enum Piece {
    Item(String),
    Comma,
    Comment(String),
    Newline,
}

fn container(tokens: &mut Tokens<'_>, depth: usize, is_table: bool) -> String {
    let open = tokens.take();
    let mut pieces = Vec::new();
    let close = loop {
        tokens.skip_blanks();
        match tokens.kind() {
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => break tokens.take(),
            // Not where the syntax is right.
            TokenKind::Eof => break "",
            TokenKind::Newline => {
                tokens.take();
                pieces.push(Piece::Newline);
            }
            TokenKind::Comma => {
                tokens.take();
                pieces.push(Piece::Comma);
            }
            TokenKind::Comment => pieces.push(Piece::Comment(tokens.take().trim_end().to_owned())),
            _ if is_table => {
                let key = key(tokens);
                pieces.push(Piece::Item(format!("{key} = {}", value(tokens, depth + 1))));
            }
            _ => pieces.push(Piece::Item(value(tokens, depth + 1))),
        }
    };
    match pieces.iter().any(|piece| matches!(piece, Piece::Newline)) {
        true => format!("{open}\n{}{}{close}", block(&pieces, depth), " ".repeat(depth * INDENT)),
        false => one_line(&pieces, open, close, is_table),
    }
}

fn one_line(pieces: &[Piece], open: &str, close: &str, is_table: bool) -> String {
    let items = pieces.iter().filter_map(|piece| match piece {
        Piece::Item(item) => Some(item.as_str()),
        _ => None,
    });
    let items = items.collect::<Vec<_>>().join(", ");
    match is_table && !items.is_empty() {
        true => format!("{open} {items} {close}"),
        false => format!("{open}{items}{close}"),
    }
}

/// The lines of a container that has several, each with its newline.
fn block(pieces: &[Piece], depth: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let mut may_be_blank = false;
    for piece in pieces.iter().chain([&Piece::Newline]) {
        match piece {
            Piece::Newline if line.is_empty() => {
                // One blank line at most, and none at the ends.
                if may_be_blank {
                    lines.push(String::new());
                }
                may_be_blank = false;
            }
            Piece::Newline => {
                lines.push(format!("{}{line}", " ".repeat((depth + 1) * INDENT)));
                line.clear();
                may_be_blank = true;
            }
            Piece::Comma => line.push(','),
            Piece::Item(item) => {
                line.push_str(if line.is_empty() { "" } else { " " });
                line.push_str(item);
            }
            Piece::Comment(comment) => {
                line.push_str(if line.is_empty() { "" } else { "  " });
                line.push_str(comment);
            }
        }
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}
