//! The problems of a pipeline file, for people: all at once, each with its place and a snippet.

use std::fmt;
use std::sync::Arc;

use dagrun::Problems;
use dagrun_core::parse::Diagnostic;
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use crate::terminal::{self, Terminal};

/// Reports all problems on standard error.
pub(crate) fn report(problems: &Problems, terminal: Terminal) {
    let file = problems.path.display();
    let named = Arc::new(NamedSource::new(file.to_string(), problems.source.clone()));
    let handler = handler(terminal);
    let mut text = String::new();
    for problem in &problems.list {
        let located = Located { problem, source: Arc::clone(&named) };
        if handler.render_report(&mut text, &located).is_err() {
            text.push_str(&format!("error: {}\n", problem.message));
        }
        text.push('\n');
    }
    let count = problems.list.len();
    let plural = if count == 1 { "problem" } else { "problems" };
    text.push_str(&format!("error: {file} has {count} {plural}"));
    terminal::print(&text);
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

/// A problem together with the file.
struct Located<'a> {
    problem: &'a Diagnostic,
    source: Arc<NamedSource<String>>,
}

impl fmt::Debug for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Located<'_> {}

impl miette::Diagnostic for Located<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.problem.span.as_ref().map(|_| &*self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.problem.span.clone()?;
        let label = LabeledSpan::new_with_span(self.problem.label.clone(), span);
        Some(Box::new(std::iter::once(label)))
    }
}
