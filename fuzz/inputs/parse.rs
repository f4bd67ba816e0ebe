//! Any text is either a pipeline or has located problems; nothing panics, hangs or overflows the stack. What
//! is a pipeline is written as another text, and that is the same pipeline.

use dagrun_core::parse::{Diagnostic, ParseOptions, Parsed, parse};
use dagrun_core::unparse::to_toml;

#[path = "../../core/tests/sources/mod.rs"]
mod sources;

/// Parses a text, with and without a variable that is set to its first line.
pub fn feed(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let set = [("x".to_owned(), source.lines().next().unwrap_or_default().to_owned())];
    for set in [&set[..0], &set[..]] {
        match read(source, set) {
            Ok(parsed) => check_pipeline(&parsed),
            Err(problems) => check_problems(source, &problems),
        }
    }
}

fn read(source: &str, set: &[(String, String)]) -> Result<Parsed, Vec<Diagnostic>> {
    let options = ParseOptions { file_stem: "fuzz", set, ..ParseOptions::default() };
    parse(source, &options, &sources::TestFiles)
}

fn check_pipeline(parsed: &Parsed) {
    let Parsed { pipeline, graph, .. } = parsed;
    assert_eq!(graph.widths().len(), pipeline.tasks.len());
    assert_eq!(graph.plan(pipeline, false).tasks.len(), pipeline.tasks.len());
    // Not everything can be written.
    let Ok(text) = to_toml(pipeline) else { return };
    match read(&text, &[]) {
        Ok(again) => assert_eq!(again.pipeline, *pipeline, "{text}"),
        Err(problems) => panic!("{text}\n{problems:?}"),
    }
}

fn check_problems(source: &str, problems: &[Diagnostic]) {
    assert!(!problems.is_empty());
    for problem in problems {
        assert!(problem.line >= 1 && problem.column >= 1, "{problem:?}");
        if let Some(span) = problem.span.clone() {
            assert!(source.get(span).is_some(), "{problem:?}");
        }
    }
}
