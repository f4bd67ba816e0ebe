//! The pipeline format from outside: a corpus of files with something wrong and what is said of
//! each, files that use every key, and texts that nobody would write.

mod sources;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use dagrun_core::parse::{Diagnostic, ParseOptions, Parsed, parse};
use sources::TestFiles;

fn corpus(folder: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (stem(path), fs::read_to_string(path).unwrap())).collect()
}

fn check(source: &str) -> Result<Parsed, Vec<Diagnostic>> {
    let options = ParseOptions { file_stem: "test", set: &[] };
    parse(source, &options, &TestFiles)
}

/// `line:column: message`, then what is marked, the label and the help.
fn rendered(source: &str, problems: &[Diagnostic]) -> String {
    let mut text = String::new();
    for problem in problems {
        writeln!(text, "{problem}").unwrap();
        if let Some(span) = &problem.span {
            writeln!(text, "    at: {}", source[span.clone()].escape_debug()).unwrap();
        }
        if let Some(label) = &problem.label {
            writeln!(text, "    label: {label}").unwrap();
        }
        if let Some(help) = &problem.help {
            writeln!(text, "    help: {help}").unwrap();
        }
    }
    text
}

#[test]
fn every_bad_pipeline_gets_its_own_located_messages() {
    let corpus = corpus("bad");
    assert!(corpus.len() >= 45, "{} files", corpus.len());
    for (name, source) in corpus {
        let Err(problems) = check(&source) else { panic!("{name} is accepted") };
        assert!(!problems.is_empty(), "{name}");
        assert!(problems.iter().all(|problem| problem.span.is_some()), "{name}: {problems:?}");
        let starts: Vec<_> =
            problems.iter().map(|problem| problem.span.clone().unwrap().start).collect();
        assert!(starts.is_sorted(), "{name}: {starts:?}");
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("bad");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, rendered(&source, &problems)));
    }
}

#[test]
fn every_good_pipeline_is_read_as_it_is_meant() {
    let corpus = corpus("good");
    assert!(corpus.len() >= 5, "{} files", corpus.len());
    for (name, source) in corpus {
        let parsed = match check(&source) {
            Ok(parsed) => parsed,
            Err(problems) => panic!("{name}:\n{}", rendered(&source, &problems)),
        };
        let widths = parsed.graph.widths();
        let text = format!("widths: {widths:?}\n{:#?}", parsed.pipeline);
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("good");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}
