//! The problems of a pipeline file, for people: all at once, each with its place and a snippet.

use std::fmt;

use dagrun::Problems;
use dagrun_core::parse::Diagnostic;
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, Severity,
    SourceCode, SourceSpan, SpanContents,
};

use crate::terminal::{self, Terminal};

/// Problems that are shown at most.
const SHOWN: usize = 100;
/// Warnings that are shown at most.
const WARNINGS: usize = 20;
/// Characters of a line before a marked range that are shown at most, …
const BEFORE: usize = 60;
/// … and those of a line in all.
const WINDOW: usize = 200;
/// Lines of a marked range that are shown at most.
const LINES: usize = 20;

/// Reports all problems on standard error.
pub(crate) fn report(problems: &Problems, terminal: Terminal) {
    let mut text = snippets(problems, SHOWN, Severity::Error, terminal);
    let file = problems.path.display();
    let count = problems.list.len();
    let plural = if count == 1 { "problem" } else { "problems" };
    text.push_str(&format!("error: {file} has {count} {plural}"));
    if count > SHOWN {
        text.push_str(&format!(", of which the first {SHOWN} are shown"));
    }
    terminal::print(&text);
}

/// Reports warnings on standard error.
pub(crate) fn warn(warnings: &Problems, terminal: Terminal) {
    let count = warnings.list.len();
    if count == 0 {
        return;
    }
    let mut text = snippets(warnings, WARNINGS, Severity::Warning, terminal);
    let file = warnings.path.display();
    let plural = if count == 1 { "warning" } else { "warnings" };
    text.push_str(&format!("{count} {plural} about {file}"));
    if count > WARNINGS {
        text.push_str(&format!(", of which the first {WARNINGS} are shown"));
    }
    terminal::print(&text);
}

/// The first of these problems, each with its place and a snippet.
fn snippets(problems: &Problems, shown: usize, severity: Severity, terminal: Terminal) -> String {
    let name = problems.path.display().to_string();
    let handler = handler(terminal);
    let mut text = String::new();
    for problem in problems.list.iter().take(shown) {
        let excerpt = problem
            .span
            .as_ref()
            .map(|span| Excerpt::new(&name, &problems.source, span.clone(), problem));
        let located = Located { problem, severity, excerpt };
        if handler.render_report(&mut text, &located).is_err() {
            text.push_str(&format!("{}\n", problem.message));
        }
        text.push('\n');
    }
    text
}

fn handler(terminal: Terminal) -> GraphicalReportHandler {
    let theme = match (terminal.interactive, terminal.color) {
        (_, true) => GraphicalTheme::unicode(),
        (true, false) => GraphicalTheme::unicode_nocolor(),
        (false, false) => GraphicalTheme::none(),
    };
    GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .with_links(false)
        .with_context_lines(1)
}

/// A problem together with its surroundings in the file.
#[derive(Debug)]
struct Located<'a> {
    problem: &'a Diagnostic,
    severity: Severity,
    excerpt: Option<Excerpt<'a>>,
}

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Located<'_> {}

impl miette::Diagnostic for Located<'_> {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.excerpt.as_ref().map(|excerpt| excerpt as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.excerpt.as_ref()?.span;
        let label = LabeledSpan::new_with_span(self.problem.label.clone(), span);
        Some(Box::new(std::iter::once(label)))
    }
}

/// The lines around a marked range, cut to a window: a line may have millions of characters, which
/// nobody can read, and which the renderer cannot align.
#[derive(Debug)]
struct Excerpt<'a> {
    file: &'a str,
    text: String,
    /// The marked range within `text`.
    span: SourceSpan,
    /// Lines of the file before `text`.
    lines_before: usize,
    /// Where the range begins in the file, from 0.
    line: usize,
    column: usize,
}

impl<'a> Excerpt<'a> {
    fn new(
        file: &'a str,
        source: &str,
        span: std::ops::Range<usize>,
        problem: &Diagnostic,
    ) -> Excerpt<'a> {
        let start = span.start.min(source.len());
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let first = line_start.checked_sub(1).map(|end| {
            let start = source[..end].rfind('\n').map_or(0, |at| at + 1);
            &source[start..end]
        });
        // The lines of the range, and one after it.
        let end = span.end.clamp(start, source.len());
        let marked = source[line_start..end].matches('\n').count() + 1;
        let short = |line: &str| line.char_indices().nth(WINDOW).is_none();
        let mut text = first.map_or_else(String::new, |line| head(line) + "\n");
        let number = usize::try_from(problem.line).unwrap_or(usize::MAX).saturating_sub(1);
        let lines_before = number - usize::from(first.is_some()).min(number);
        let rest = &source[line_start..];
        let (offset, length) = match rest.split('\n').take(LINES).take(marked).all(short) {
            true if marked <= LINES => {
                let lines: Vec<_> = rest.split('\n').take(marked).collect();
                let offset = text.len() + start - line_start;
                text.push_str(&lines.join("\n"));
                (offset, end - start)
            }
            _ => {
                let line = rest.split('\n').next().unwrap_or_default();
                let end = (end - line_start).min(line.len());
                let (shown, offset, length) = window(line, start - line_start, end);
                let offset = text.len() + offset;
                text.push_str(&shown);
                (offset, length)
            }
        };
        let mut following = rest.split('\n').skip(marked);
        if let Some(after) = following.next() {
            text.push('\n');
            text.push_str(&head(after));
        }
        if following.next().is_some() {
            text.push('\n');
        }
        let column = usize::try_from(problem.column).unwrap_or(usize::MAX).saturating_sub(1);
        let span = SourceSpan::from((offset, length));
        Excerpt { file, text, span, lines_before, line: number, column }
    }
}

impl SourceCode for Excerpt<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let read = self.text.read_span(span, before, after)?;
        // Asked for the range alone, the renderer wants to know its place in the file.
        let alone = before == 0 && after == 0;
        let (line, column) = match alone {
            true => (self.line, self.column),
            false => (self.lines_before + read.line(), read.column()),
        };
        Ok(Box::new(MietteSpanContents::new_named(
            self.file.to_owned(),
            read.data(),
            *read.span(),
            line,
            column,
            read.line_count(),
        )))
    }
}

/// A line without its marked range: its beginning.
fn head(line: &str) -> String {
    match line.char_indices().nth(WINDOW) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// The part of a line around a range; where the range is in it, and how much of it.
fn window(line: &str, start: usize, end: usize) -> (String, usize, usize) {
    if line.char_indices().nth(WINDOW).is_none() {
        return (line.to_owned(), start, end - start);
    }
    let from = line[..start].char_indices().rev().nth(BEFORE - 1).map_or(0, |(at, _)| at);
    let to = line[from..].char_indices().nth(WINDOW).map_or(line.len(), |(at, _)| from + at);
    let mut shown = String::new();
    if from > 0 {
        shown.push('…');
    }
    let offset = shown.len() + start - from;
    shown.push_str(&line[from..to]);
    if to < line.len() {
        shown.push('…');
    }
    (shown, offset, end.min(to) - start)
}
