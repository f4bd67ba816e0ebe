//! `call` in a pipeline file, end to end: read, checked, run by functions of this program.

use std::path::PathBuf;

use dagrun::RunState;
use dagrun::{Cluster, Context, Options, Run};
use serde::{Deserialize, Serialize};

/// Its fields are the arguments of `price`.
#[derive(Serialize, Deserialize)]
struct Terms {
    strike: f64,
    sigma: f64,
    paths: u64,
    label: String,
}

#[derive(Serialize, Deserialize)]
struct Price {
    value: f64,
    label: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Surface {
    best: f64,
    count: usize,
    labels: Vec<String>,
}

#[dagrun::task]
fn price(terms: Terms) -> Price {
    Price { value: terms.strike * terms.sigma + terms.paths as f64, label: terms.label }
}

#[dagrun::task]
fn surface(prices: Vec<Price>, scale: f64) -> Surface {
    let best = prices.iter().map(|p| p.value).fold(f64::MIN, f64::max);
    let count = prices.len();
    Surface { best: best * scale, count, labels: prices.into_iter().map(|p| p.label).collect() }
}

#[dagrun::task]
fn halved(x: f64, context: &Context) -> String {
    format!("{}[{}]: {}", context.task(), context.index(), x / 2.0)
}

const PIPELINE: &str = r#"
name = "surface"

[vars]
paths = 1000

[task.price]
call  = "price"
args  = { strike = "{strike}", sigma = "{sigma}", paths = "{vars.paths}", label = "at {strike}" }
sweep = { strike = [80.0, 100.0, 120.0], sigma = [0.25, 0.5] }

[task.surface]
gather = "price"
call   = "surface"
args   = { prices = "{price.value}", scale = 2 }

[task.halved]
map  = "price"
call = "halved"
args = { x = "{price.value.value}" }

[task.show]
run     = ["echo", "the best is {surface.value.best}"]
capture = "text"
"#;

/// A file in a directory of its own, and a cluster in this process.
struct Program {
    dir: tempfile::TempDir,
    cluster: Cluster,
}

impl Program {
    fn start() -> Program {
        let cluster = Cluster::builder().slots(2).start().unwrap();
        Program { dir: tempfile::tempdir().unwrap(), cluster }
    }

    fn submit(&self, text: &str) -> Result<Run, dagrun::Error> {
        let file: PathBuf = self.dir.path().join("pipeline.toml");
        std::fs::write(&file, text).unwrap();
        let loaded = dagrun::load(&file, &[]).unwrap();
        let options = Options { base_dir: Some(loaded.base_dir), ..Options::default() };
        self.cluster.client().submit_pipeline(&loaded.pipeline, &options).wait()
    }
}

#[test]
fn a_pipeline_file_calls_functions_and_hands_their_values_on() {
    let program = Program::start();
    let run = program.submit(PIPELINE).unwrap();
    assert_eq!(run.finished().wait().unwrap(), RunState::Succeeded);

    // The last axis varies fastest; 100.0 × 0.5 + 1000 is the fourth point.
    let fourth: Price = run.value("price", 3).wait().unwrap();
    assert_eq!((fourth.value, &*fourth.label), (1050.0, "at 100.0"));

    let all: Surface = run.value("surface", 0).wait().unwrap();
    assert_eq!((all.best, all.count), (2120.0, 6));
    assert_eq!(all.labels[5], "at 120.0");

    let half: String = run.value("halved", 3).wait().unwrap();
    assert_eq!(half, "halved[3]: 525");

    let shown: String = run.value("show", 0).wait().unwrap();
    assert_eq!(shown, "the best is 2120.0");
}

#[test]
fn arguments_that_do_not_fit_fail_the_call_with_their_names() {
    let program = Program::start();
    let text = "[task.all]\ncall = 'surface'\nargs = { prices = [], factor = 2 }\n";
    let run = program.submit(text).unwrap();
    assert_eq!(run.finished().wait().unwrap(), RunState::Failed);
    let failed = run.value::<Surface>("all", 0).wait().unwrap_err().to_string();
    assert!(failed.contains("`scale`") && failed.contains("`factor`"), "{failed}");
}

#[test]
fn a_function_that_the_program_does_not_have_is_refused_at_submission() {
    let program = Program::start();
    let refused = program.submit("[task.a]\ncall = 'prise'\n").unwrap_err().to_string();
    assert!(refused.contains("task `a`") && refused.contains("`prise`"), "{refused}");
}
