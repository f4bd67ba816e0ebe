//! The pipeline format from outside: a corpus of invalid files with the messages for each, files
//! that use every key, and random texts.

mod sources;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use dagrun_core::ids::TaskId;
use dagrun_core::parse::{Diagnostic, ParseOptions, Parsed, parse};
use dagrun_core::pipeline::{Retry, RunContext, Task};
use dagrun_core::recipe::Recipe;
use proptest::prelude::*;
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
    let options = ParseOptions { file_stem: "test", ..ParseOptions::default() };
    parse(source, &options, &TestFiles)
}

/// `line:column: message`, then the marked text, the label and the help.
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

fn fields(task: &Task) -> serde_json::Map<String, serde_json::Value> {
    match serde_json::to_value(task).unwrap() {
        serde_json::Value::Object(fields) => fields,
        other => panic!("a task is an object, not {other}"),
    }
}

/// Prints a pipeline, one line for each key that differs from that of the smallest task.
fn told(parsed: &Parsed) -> String {
    let pipeline = &parsed.pipeline;
    let smallest = check("task.a.run = 'a'").unwrap();
    let smallest = fields(&smallest.pipeline.tasks[0]);
    let mut text = format!("name: {}\n", pipeline.name);
    for (name, value) in &pipeline.vars {
        writeln!(text, "vars.{name}: {}", serde_json::to_string(value).unwrap()).unwrap();
    }
    for (task, id) in pipeline.tasks.iter().zip((0..).map(TaskId)) {
        let width = parsed.graph.width(id).map_or("?".to_owned(), |width| width.to_string());
        writeln!(text, "\n{} ({width})", task.name).unwrap();
        for (key, value) in fields(task) {
            match key.as_str() {
                "name" => {}
                _ if smallest.get(&key) == Some(&value) => {}
                "retry"
                    if task.conduct.retry
                        == (Retry { count: task.conduct.retry.count, ..Retry::default() }) =>
                {
                    writeln!(text, "    retry: {}", task.conduct.retry.count).unwrap();
                }
                _ => writeln!(text, "    {key}: {value}").unwrap(),
            }
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
        let text = told(&parsed);
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("good");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

fn check_set(source: &str, set: &[(&str, &str)]) -> Result<Parsed, Vec<Diagnostic>> {
    let set: Vec<_> =
        set.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    parse(
        source,
        &ParseOptions { file_stem: "test", set: &set, ..ParseOptions::default() },
        &TestFiles,
    )
}

#[test]
fn set_overrides_variables_by_values_of_their_type() {
    let source = "[vars]\nn = 1\nh = 1.5\ntext = 'x'\non = false\nlist = [3]\ntable = { x = 1 }\n\
                  [task.a]\nrun = 'echo {vars.n}'\n";
    for (name, text, meant) in [
        ("n", "150_000_000", r#"{"number":"150000000"}"#),
        ("n", "0x1F", r#"{"number":"0x1F"}"#),
        ("h", "1e-9", r#"{"number":"1e-9"}"#),
        ("h", "2", r#"{"number":"2"}"#),
        ("on", "true", r#"{"bool":true}"#),
        ("text", "\"5\"", r#"{"string":{"s":"\"5\""}}"#),
        ("text", "5", r#"{"string":{"s":"5"}}"#),
        ("text", "; rm -rf ~", r#"{"string":{"s":"; rm -rf ~"}}"#),
        ("text", "", r#"{"string":{"s":""}}"#),
        ("list", "[1, 2]", r#"{"list":[{"number":"1"},{"number":"2"}]}"#),
        ("table", "{ y = 2 }", r#"{"table":[["y",{"number":"2"}]]}"#),
    ] {
        let parsed = check_set(source, &[(name, text)]).unwrap();
        let (_, value) = parsed.pipeline.vars.iter().find(|(var, _)| var == name).unwrap();
        assert_eq!(serde_json::to_string(value).unwrap(), meant, "{name}={text}");
    }
    for (name, text) in [("n", "x"), ("n", "1.5"), ("h", ""), ("on", "1"), ("list", "1")] {
        let problems = check_set(source, &[(name, text)]).unwrap_err();
        assert!(problems[0].message.starts_with(&format!("--set {name}: the value is")));
    }
}

#[test]
fn set_of_an_unknown_variable_is_told() {
    let source = "[vars]\npaths = 1\n[task.a]\nrun = 'true'\n";
    let set = [("path", "2"), ("x\n", "[[["), ("paths", "3")];
    let problems = check_set(source, &set).unwrap_err();
    insta::assert_snapshot!(rendered(source, &problems));
    let problems = check_set("task.a.run = 'true'", &[("x", "2")]).unwrap_err();
    insta::assert_snapshot!(rendered("", &problems));
}

#[test]
fn the_files_stem_is_the_name_when_there_is_none() {
    assert_eq!(check("task.a.run = 'true'").unwrap().pipeline.name, "test");
    assert_eq!(check("name = 'x'\ntask.a.run = 'true'").unwrap().pipeline.name, "x");
}

#[test]
fn hostile_values_stay_data() {
    let (_, source) =
        corpus("good").into_iter().find(|(name, _)| name == "hostile").expect("a hostile file");
    let parsed = check(&source).unwrap();
    let context = RunContext { run: 1, run_dir: "/run".into(), base_dir: "/base".into(), seed: 1 };
    let recipe = Recipe::new(&parsed.pipeline, TaskId(0), &context).unwrap();
    let mut text = String::new();
    for index in 0..parsed.graph.widths()[0].each() {
        let invocation = recipe.invocation(index, 1, &[]).unwrap();
        assert_eq!(invocation.argv.len(), 7, "a value has become several words");
        writeln!(text, "{:?}\n    {:?}", &invocation.argv[4..], invocation.env).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn deep_nesting_is_told_and_overflows_nothing() {
    let dotted = format!("{}x = 1", "a.".repeat(79));
    let mut inline = "1".to_owned();
    for _ in 0..79 {
        inline = format!("{{ {}x = {inline} }}", "a.".repeat(79));
    }
    for source in [
        format!("[vars]\nx = {}", "[".repeat(100_000)),
        format!("[vars]\nx = {}1", "{ a = ".repeat(100_000)),
        format!("[vars]\n{}x = 1", "a.".repeat(100_000)),
        format!("[{}x]", "a.".repeat(100_000)),
        format!("[vars]\n{dotted}\n[task.a]\nrun = 'true'"),
        format!("[vars]\ny = {inline}\n[task.a]\nrun = 'true'"),
    ] {
        let problems = check(&source).unwrap_err();
        assert!(problems.len() <= 20, "{}", problems.len());
    }
    let set = check_set("[vars]\nx = 1\n[task.a]\nrun = 'true'", &[("x", &inline)]);
    assert!(set.unwrap_err()[0].message.contains("too deeply"));
}

#[test]
fn long_chains_need_no_stack() {
    let n = 20_000;
    let mut chain = "[task.t0]\nrun = 'true'\nout.x = 'x'\n".to_owned();
    for task in 1..n {
        let before = task - 1;
        let how = match task % 3 {
            0 => format!("after = 't{before}'"),
            1 => format!("map = 't{before}'"),
            _ => format!("gather = ['t{before}']"),
        };
        writeln!(chain, "[task.t{task}]\nrun = 'true'\n{how}").unwrap();
    }
    assert_eq!(check(&chain).unwrap().graph.widths().len(), n);
    let ring = chain.replacen("run = 'true'", &format!("run = 'true'\nafter = 't{}'", n - 1), 1);
    let problems = check(&ring).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.len() < 500, "{}", problems[0].message);
}

#[test]
fn a_million_points_cost_no_memory_each() {
    let source = "[task.a]\nrun = 'echo {x} {y}'\nout.f = 'f/{index}'\n[task.a.sweep]\n\
                  x = { range = '0..1000' }\ny = { linspace = [0, 1], n = 1000 }\n";
    let parsed = check(source).unwrap();
    assert_eq!(parsed.graph.widths(), [1_000_000]);
    assert!(serde_json::to_string(&parsed.pipeline).unwrap().len() < 2000);
}

/// The pieces that mutations insert into a text.
const PIECES: [&str; 24] = [
    "{",
    "}",
    "{{",
    "[",
    "]",
    "\"",
    "'''",
    "\n",
    "=",
    ".",
    ",",
    "\\",
    "\\u0000",
    "é",
    "\r\n",
    "sweep",
    "= { glob = 'data/*' }",
    "after = 'a'\n",
    "[task.a]\n",
    "{a.value}",
    "{x.name}",
    "-1",
    "99999999999999999999",
    "map = 'b'\n",
];

fn mutate(text: &mut String, at: usize, length: usize, piece: usize) {
    let floor = |at: usize| (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = floor(at % (text.len() + 1));
    let end = floor((start + length).min(text.len())).max(start);
    let piece = PIECES.get(piece).copied().map_or_else(|| text.clone(), str::to_owned);
    text.replace_range(start..end, &piece);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(
        file in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<usize>(), 0_usize..30, 0..PIECES.len() + 1), 0..6),
    ) {
        static SOURCES: std::sync::LazyLock<Vec<(String, String)>> =
            std::sync::LazyLock::new(|| [corpus("bad"), corpus("good")].concat());
        let (_, mut source) = file.get(&SOURCES).clone();
        for (at, length, piece) in edits {
            mutate(&mut source, at, length, piece);
        }
        if let Err(problems) = check(&source) {
            prop_assert!(!problems.is_empty());
            for span in problems.into_iter().filter_map(|problem| problem.span) {
                prop_assert!(source.get(span.clone()).is_some(), "{span:?}");
            }
        }
    }
}
