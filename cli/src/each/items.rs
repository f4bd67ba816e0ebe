//! The items of `dagrun each`: what stands behind `:::`, lines of files and of standard input, rows of CSV files.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use dagrun::Disk;
use dagrun_core::parse::{ParseOptions, parse};
use dagrun_core::space::{Axis, Points};
use dagrun_core::value::{RawString, Value};

use crate::exit::{Exit, Failure};

/// Inputs that are paired with each other; several of these are crossed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Group {
    /// The columns of a CSV file by name; other inputs have none.
    pub(super) columns: Vec<String>,
    /// How many inputs it has.
    pub(super) width: usize,
    /// A value of each input.
    pub(super) rows: Vec<Vec<Value>>,
}

/// How the options say where items come from.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    /// A CSV file.
    pub(super) csv: Option<&'a Path>,
    /// Whether the lines of standard input are items, also beside others.
    pub(super) lines: bool,
    /// Whether items of files and standard input end with a NUL character instead of a newline.
    pub(super) null: bool,
}

/// What introduces items: whether they are files with items, and whether they are paired with those before.
fn marker(word: &OsStr) -> Option<(bool, bool)> {
    match word.as_bytes() {
        b":::" => Some((false, false)),
        b"::::" => Some((true, false)),
        b":::+" => Some((false, true)),
        b"::::+" => Some((true, true)),
        _ => None,
    }
}

/// Splits the command line into the words of the command and the groups of items.
pub(super) fn read(
    words: &[OsString],
    from: &Sources<'_>,
    dir: &Path,
) -> Result<(Vec<OsString>, Vec<Group>), Failure> {
    let end = words.iter().position(|word| marker(word).is_some()).unwrap_or(words.len());
    let (command, mut rest) = words.split_at(end);
    let mut groups = Vec::new();
    if let Some(path) = from.csv {
        groups.push(csv(path, dir)?);
    }
    while let Some((first, after)) = rest.split_first() {
        let (files, paired) = marker(first).unwrap_or_default();
        let end = after.iter().position(|word| marker(word).is_some()).unwrap_or(after.len());
        let (items, others) = after.split_at(end);
        rest = others;
        let inputs = match files {
            true => {
                items.iter().map(|path| file(path, from.null)).collect::<Result<Vec<_>, _>>()?
            }
            false => vec![items.iter().map(|item| value(item.as_bytes())).collect()],
        };
        for input in inputs {
            match (paired, groups.last_mut()) {
                (true, Some(last)) => pair(last, input)?,
                (true, None) => {
                    let text = "`:::+` pairs with the items before it, and there are none";
                    return Err(Failure::usage(text));
                }
                (false, _) => groups.push(single(input)),
            }
        }
    }
    if from.lines || groups.is_empty() {
        groups.push(single(stdin(from.null)?));
    }
    Ok((command.to_vec(), groups))
}

fn single(input: Vec<Value>) -> Group {
    let rows = input.into_iter().map(|value| vec![value]).collect();
    Group { columns: Vec::new(), width: 1, rows }
}

fn pair(group: &mut Group, input: Vec<Value>) -> Result<(), Failure> {
    let (there, more) = (group.rows.len(), input.len());
    if there != more {
        let text = format!("`:::+` pairs items one by one, and there are {there} and {more}");
        return Err(Failure::usage(text));
    }
    for (row, value) in group.rows.iter_mut().zip(input) {
        row.push(value);
    }
    group.width += 1;
    Ok(())
}

/// An item that is spelled like a number is one, and keeps its spelling.
fn value(item: &[u8]) -> Value {
    match Value::from_json(item) {
        Ok(Value::Number(number)) => Value::Number(number),
        _ => Value::String(RawString(item.to_vec())),
    }
}

fn file(path: &OsStr, null: bool) -> Result<Vec<Value>, Failure> {
    if path == "-" {
        return stdin(null);
    }
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::usage(format!("cannot read `{}`: {error}", Path::new(path).display()))
    })?;
    lines(&bytes, null, &Path::new(path).display().to_string())
}

fn stdin(null: bool) -> Result<Vec<Value>, Failure> {
    let mut input = std::io::stdin().lock();
    if input.is_terminal() {
        let help = "give them after `:::`, in a file after `::::`, or on standard input";
        return Err(Failure::usage("there are no items").help(help));
    }
    let mut bytes = Vec::new();
    let failed = |error| Failure::new(Exit::Invalid, format!("standard input: {error}"));
    input.read_to_end(&mut bytes).map_err(failed)?;
    lines(&bytes, null, "standard input")
}

/// The lines of a text, without empty ones; with `null` what stands between NUL characters.
fn lines(bytes: &[u8], null: bool, name: &str) -> Result<Vec<Value>, Failure> {
    let separator = if null { 0 } else { b'\n' };
    if !null && let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let line = bytes.iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
        let text = format!("{name}, line {line}: a NUL character cannot be given to a program");
        return Err(Failure::usage(text).help("-0 splits items there"));
    }
    let line = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    let pieces = bytes.split(|byte| *byte == separator);
    let pieces = pieces.map(|piece| if null { piece.to_vec() } else { line(piece) });
    Ok(pieces.filter(|piece| !piece.is_empty()).map(|piece| value(&piece)).collect())
}

/// The rows of a CSV file, read as a pipeline reads them.
fn csv(path: &Path, dir: &Path) -> Result<Group, Failure> {
    let text = path.to_str().ok_or_else(|| Failure::usage("the path of --csv is not UTF-8"))?;
    // A basic string of TOML has the escapes of JSON.
    let quoted = serde_json::to_string(text).unwrap_or_default();
    let source = format!(
        "[task.each]\nrun = [\"true\"]\nallow-empty = true\nsweep.row = {{ csv = {quoted} }}\n"
    );
    let options = ParseOptions { file_stem: "each", ..ParseOptions::default() };
    let parsed = parse(&source, &options, &Disk::new(dir)).map_err(|problems| {
        let texts: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
        Failure::usage(format!("--csv {text}: {}", texts.join("; ")))
    })?;
    let sweep = parsed.pipeline.tasks.into_iter().find_map(|task| task.sweep);
    match sweep.and_then(|sweep| sweep.axes.into_iter().next()) {
        Some(Axis { names, points: Points::Rows(rows), .. }) => {
            Ok(Group { width: names.len(), columns: names, rows })
        }
        _ => Err(Failure::usage(format!("--csv {text} has no rows"))),
    }
}

/// Words as text; those of the command must be, unlike items.
pub(super) fn texts(words: Vec<OsString>) -> Result<Vec<String>, Failure> {
    let text = |word: OsString| {
        String::from_utf8(word.into_vec())
            .map_err(|error| Failure::usage(format!("a word of the command is not UTF-8: {error}")))
    };
    words.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(words: &[&str]) -> Result<(Vec<OsString>, Vec<Group>), String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let from = Sources { csv: None, lines: false, null: false };
        read(&words, &from, Path::new("/")).map_err(|failure| failure.message)
    }

    fn shown(group: &Group) -> Vec<String> {
        let text = |value: &Value| String::from_utf8(value.to_text()).unwrap();
        let row = |row: &Vec<Value>| row.iter().map(text).collect::<Vec<_>>().join("+");
        group.rows.iter().map(row).collect()
    }

    #[test]
    fn items_are_crossed_or_paired() {
        let (command, found) =
            groups(&["echo", "{}", ":::", "a", "b c", ":::+", "1", "02", ":::", "", "x"]).unwrap();
        assert_eq!(command, ["echo", "{}"]);
        assert_eq!(found.iter().map(|group| group.width).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(shown(&found[0]), ["a+1", "b c+02"]);
        assert_eq!(shown(&found[1]), ["", "x"]);
        assert_eq!(groups(&["x", ":::"]).unwrap().1, [Group { width: 1, ..Group::default() }]);
    }

    #[test]
    fn pairs_must_fit() {
        let uneven = groups(&["x", ":::", "a", "b", ":::+", "1"]).unwrap_err();
        assert_eq!(uneven, "`:::+` pairs items one by one, and there are 2 and 1");
        assert!(groups(&["x", ":::+", "1"]).unwrap_err().contains("there are none"));
    }

    #[test]
    fn lines_are_items_and_empty_ones_are_not() {
        let text = |bytes: &[u8], null| lines(bytes, null, "f").map(|found| shown(&single(found)));
        assert_eq!(text(b"a\r\n\n b'\"\nlast", false).unwrap(), ["a", " b'\"", "last"]);
        assert_eq!(text(b"a\nb\0c\0", true).unwrap(), ["a\nb", "c"]);
        assert!(text(b"", false).unwrap().is_empty());
        let nul = text(b"a\nb\0", false).unwrap_err().message;
        assert_eq!(nul, "f, line 2: a NUL character cannot be given to a program");
    }
}
