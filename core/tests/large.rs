//! Files that programs write: a hundred thousand tasks, or as many upstreams of one task, in time
//! and memory in proportion to the text.

mod sources;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use dagrun_core::graph::{Graph, only};
use dagrun_core::ids::TaskId;
use dagrun_core::parse::{ParseOptions, Parsed, parse};
use dagrun_core::pipeline::RunContext;
use dagrun_core::recipe::Recipe;
use sources::TestFiles;

const TASKS: usize = 100_000;

/// Far more than linear time needs without optimisation, far less than quadratic time does.
const LIMIT: Duration = Duration::from_secs(150);

/// Everything that is done with a pipeline before it runs.
#[allow(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn checked(source: &str) -> Parsed {
    let begin = Instant::now();
    let options = ParseOptions { file_stem: "large", ..ParseOptions::default() };
    let parsed = match parse(source, &options, &TestFiles) {
        Ok(parsed) => parsed,
        Err(problems) => panic!("{:#?}", &problems[..problems.len().min(3)]),
    };
    let last = TaskId(parsed.pipeline.tasks.len() as u32 - 1);
    let plan = parsed.graph.plan(&parsed.pipeline, false);
    assert_eq!(plan.tasks.len(), parsed.pipeline.tasks.len());
    let part = only(&parsed.pipeline, &[last]);
    assert_eq!(Graph::new(&part).unwrap().widths().len(), parsed.pipeline.tasks.len());
    let context = RunContext { run: 1, run_dir: "/r".into(), base_dir: "/b".into(), seed: 1 };
    Recipe::new(&parsed.pipeline, last, &context).unwrap().preview(0).unwrap();
    assert!(begin.elapsed() < LIMIT, "{:?}", begin.elapsed());
    parsed
}

/// As many tasks, and one after them with the text that `last` makes of their names.
fn fan_in(last: impl FnOnce(&[String]) -> String) -> String {
    let names: Vec<String> = (0..TASKS - 1).map(|task| format!("t{task}")).collect();
    let mut source = String::new();
    for name in &names {
        writeln!(source, "[task.{name}]\nrun = 'true'\ncapture = 'json'\nout.x = '{name}'")
            .unwrap();
    }
    writeln!(source, "[task.last]\n{}", last(&names)).unwrap();
    source
}

fn quoted(names: &[String], before: &str, after: &str) -> String {
    let words: Vec<_> = names.iter().map(|name| format!("'{before}{name}{after}'")).collect();
    words.join(",")
}

#[test]
fn a_long_chain() {
    let mut source = "[task.t0]\nrun = 'true'\n".to_owned();
    for task in 1..TASKS {
        let key = if task % 2 == 0 { "after" } else { "follow" };
        writeln!(source, "[task.t{task}]\nrun = 'true'\n{key} = 't{}'", task - 1).unwrap();
    }
    assert_eq!(checked(&source).graph.edges(), TASKS as u64 - 1);
}

#[test]
fn a_clause_of_many() {
    let all =
        checked(&fan_in(|names| format!("run = 'true'\nafter = [{}]", quoted(names, "", ""))));
    assert_eq!(all.graph.edges(), TASKS as u64 - 1);
}

#[test]
fn a_gather_of_many_with_their_manifests() {
    let all = checked(&fan_in(|names| {
        let words = quoted(names, "{", ".manifest}");
        format!("gather = [{}]\nrun = ['cat', {words}]", quoted(names, "", ""))
    }));
    assert_eq!(all.graph.edges(), TASKS as u64 - 1);
}

#[test]
fn values_and_files_of_many() {
    let all = checked(&fan_in(|names| {
        let (values, files) = (quoted(names, "{", ".value}"), quoted(names, "{", ".x}"));
        format!("run = ['cat', {values}, {files}]")
    }));
    assert_eq!(all.graph.edges(), TASKS as u64 - 1);
}
