//! A pipeline in the one layout is the same pipeline, whatever its layout was before.

mod sources;

use std::fs;
use std::path::PathBuf;

use dagrun_core::parse::{ParseOptions, parse};
use dagrun_core::pipeline::Pipeline;
use dagrun_core::pretty::format;
use proptest::prelude::*;
use sources::TestFiles;
use toml_parser::Source;
use toml_parser::lexer::{Token, TokenKind};

fn read(text: &str) -> Pipeline {
    match parse(text, &ParseOptions { file_stem: "test", ..ParseOptions::default() }, &TestFiles) {
        Ok(parsed) => parsed.pipeline,
        Err(problems) => panic!("{text}\n{problems:?}"),
    }
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn good() -> Vec<String> {
    let files = fs::read_dir(folder("tests/good")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().unwrap() == "toml").collect();
    files.sort();
    files.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn tokens(text: &str) -> Vec<(TokenKind, &str)> {
    let word = |token: &Token| (token.kind(), &text[token.span().start()..token.span().end()]);
    Source::new(text).lex().into_vec().iter().map(word).collect()
}

/// What must stay: everything but blanks, line ends and a comma behind the last element.
fn essence(text: &str) -> Vec<String> {
    use TokenKind::{Comment, Newline, RightCurlyBracket, RightSquareBracket, Whitespace};
    let mut all: Vec<String> = Vec::new();
    for (kind, word) in tokens(text) {
        match kind {
            Whitespace | Newline => continue,
            RightSquareBracket | RightCurlyBracket if all.last().is_some_and(|it| it == ",") => {
                all.pop();
            }
            _ => {}
        }
        all.push(if kind == Comment { word.trim_end() } else { word }.replace("\r\n", "\n"));
    }
    all
}

/// The text with other blanks, line ends and comments, by these numbers.
fn shaken(text: &str, numbers: &[u8]) -> String {
    use TokenKind::{
        Comma, Equals, LeftCurlyBracket, LeftSquareBracket, Newline, RightCurlyBracket,
        RightSquareBracket,
    };
    let mut numbers = numbers.iter().cycle().copied();
    let mut number = move || usize::from(numbers.next().unwrap_or(0));
    let (mut shaken, mut brackets, mut is_value) = (String::new(), Vec::new(), false);
    for (kind, word) in tokens(text) {
        let blanks = ["", " ", "   ", "\t"][number() % 4];
        match kind {
            Equals => {
                is_value = true;
                shaken.push_str(&format!("{blanks}={blanks}"));
            }
            Newline if brackets.is_empty() => {
                is_value = false;
                let extra = ["", "", "\n", "\n\n\n", "# so\n", "  # so \n\n"];
                shaken.push_str(&format!("{blanks}{word}{}", extra[number() % 6]));
            }
            LeftSquareBracket | LeftCurlyBracket | Comma if is_value => {
                if kind != Comma {
                    brackets.push(kind);
                }
                shaken.push_str(&format!("{word}{blanks}"));
                if brackets.last() == Some(&LeftSquareBracket) {
                    let extra = ["", "", "", "\n", " # why\n", "\n\n# why\n"];
                    shaken.push_str(extra[number() % 6]);
                }
            }
            RightSquareBracket | RightCurlyBracket if is_value => {
                brackets.pop();
                shaken.push_str(word);
            }
            _ => shaken.push_str(word),
        }
    }
    shaken
}

#[track_caller]
fn is_kept(text: &str) {
    let formatted = format(text).unwrap();
    assert_eq!(read(&formatted), read(text), "{text}\n→\n{formatted}");
    assert_eq!(essence(&formatted), essence(text), "{text}\n→\n{formatted}");
    assert_eq!(format(&formatted).unwrap(), formatted, "it is another one the second time");
    assert!(formatted.is_empty() || formatted.ends_with('\n'));
}

#[test]
fn good_pipelines_stay_what_they_are() {
    for text in good() {
        is_kept(&text);
    }
}

#[test]
fn the_pipelines_of_the_examples_have_the_layout() {
    for entry in fs::read_dir(folder("../examples")).unwrap() {
        let path = entry.unwrap().path().join("pipeline.toml");
        if let Ok(text) = fs::read_to_string(&path) {
            assert_eq!(format(&text).unwrap(), text, "{}", path.display());
        }
    }
}

proptest! {
    #[test]
    fn shaken_pipelines_stay_what_they_are(
        which in any::<prop::sample::Index>(),
        numbers in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        let good = good();
        let text = &good[which.index(good.len())];
        let shaken = shaken(text, &numbers);
        prop_assert_eq!(read(&shaken), read(text), "{}", shaken);
        is_kept(&shaken);
    }
}
