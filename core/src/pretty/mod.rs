//! Pipeline files in one layout: equal signs in columns, one space where one belongs, no blanks at the ends
//! of lines.
//!
//! It moves what stands between tokens and nothing else: the tokens, their order and the comments stay, so
//! the meaning does. It knows TOML, and nothing of pipelines.

mod container;
mod lines;

use crate::parse::{Diagnostic, syntax_problems};
use lines::Line;

/// The text in that layout. Formatting the result again changes nothing.
///
/// # Errors
/// All problems of its syntax.
pub fn format(source: &str) -> Result<String, Vec<Diagnostic>> {
    let problems = syntax_problems(source);
    if !problems.is_empty() {
        return Err(problems);
    }
    // In the language CRLF is LF, in texts too.
    let source = source.replace("\r\n", "\n");
    let (mark, text) = match source.strip_prefix('\u{feff}') {
        Some(text) => ("\u{feff}", text),
        None => ("", source.as_str()),
    };
    let lines = spaced(lines::read(text));
    Ok(format!("{mark}{}", written(&lines)))
}

/// The lines with the blank ones that belong between them.
fn spaced(lines: Vec<Line>) -> Vec<Line> {
    let mut all: Vec<Line> = Vec::with_capacity(lines.len());
    let mut table: Option<String> = None;
    for line in lines {
        match &line {
            Line::Blank if matches!(all.last(), None | Some(Line::Blank)) => continue,
            Line::Entry { .. } if is_after_header(&all) => {
                all.pop();
            }
            Line::Header { path, .. } => {
                // A table within the one before it may stay close to it.
                let is_within = table.as_ref().is_some_and(|table| {
                    path.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))
                });
                if !is_within {
                    separate(&mut all);
                }
                table = Some(path.clone());
            }
            _ => {}
        }
        all.push(line);
    }
    while matches!(all.last(), Some(Line::Blank)) {
        all.pop();
    }
    all
}

/// Whether a blank line is the last one, and a header the one before.
fn is_after_header(lines: &[Line]) -> bool {
    matches!(lines, [.., Line::Header { .. }, Line::Blank])
}

/// Puts a blank line before the comments that stand above what follows.
fn separate(lines: &mut Vec<Line>) {
    let comments = lines.iter().rev().take_while(|line| matches!(line, Line::Comment(_))).count();
    let at = lines.len() - comments;
    let is_needed = at.checked_sub(1).and_then(|before| lines.get(before));
    if is_needed.is_some_and(|before| !matches!(before, Line::Blank)) {
        lines.insert(at, Line::Blank);
    }
}

fn written(lines: &[Line]) -> String {
    let mut text = String::new();
    // Entries without a blank line or a header between them have their values in one column.
    for block in lines.split_inclusive(|line| matches!(line, Line::Blank | Line::Header { .. })) {
        let width = block.iter().map(Line::key_width).max().unwrap_or(0);
        let bodies: Vec<String> = block.iter().map(|line| line.body(width)).collect();
        for (at, (line, body)) in block.iter().zip(&bodies).enumerate() {
            text.push_str(body);
            if let Some(comment) = line.comment() {
                let column = comment_column(block, &bodies, at);
                let last = body.rsplit('\n').next().unwrap_or(body);
                let gap = column.saturating_sub(last.chars().count()).max(2);
                text.push_str(&" ".repeat(gap));
                text.push_str(comment);
            }
            text.push('\n');
        }
    }
    text
}

/// Where the comment of a line begins: adjacent lines of one entry each have theirs in one column.
fn comment_column(block: &[Line], bodies: &[String], at: usize) -> usize {
    let width = |at: &usize| -> Option<usize> {
        let has_comment = block.get(*at)?.comment().is_some();
        let body = bodies.get(*at).filter(|body| has_comment && !body.contains('\n'))?;
        Some(body.chars().count())
    };
    if width(&at).is_none() {
        return 0;
    }
    let before = (0..at).rev().map_while(|at| width(&at)).max();
    let after = (at..block.len()).map_while(|at| width(&at)).max();
    before.max(after).unwrap_or(0) + 2
}

#[cfg(test)]
mod tests;
