//! Pipelines built in Rust: the same as those that are written in the file format, typed, and told what is
//! wrong with them.

use std::time::Duration;

use bytes::Bytes;
use dagrun::core::parse::{NoFiles, ParseOptions, parse};
use dagrun::core::pipeline::Outcomes::{Failure, Finish};
use dagrun::core::pipeline::{Args, Pattern, Pipeline, Retry, RetryOn, TaskAction};
use dagrun::{
    ArrayHandle, Chunk, Dag, Dependency, Each, Gathered, Handle, Parts, Sweep, linspace, range,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Point {
    strike: f64,
    kind: String,
}

#[dagrun::task]
fn start() -> f64 {
    1.0
}

#[dagrun::task]
fn square(x: f64) -> f64 {
    x * x
}

#[dagrun::task]
fn add(a: f64, b: f64) -> f64 {
    a + b
}

#[dagrun::task]
fn price(point: Point, paths: u64) -> f64 {
    point.strike * paths as f64
}

#[dagrun::task]
fn strike_of(point: Point) -> f64 {
    point.strike
}

#[dagrun::task]
fn mean(values: Vec<f64>) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[dagrun::task]
fn some_mean(values: Vec<Option<f64>>) -> f64 {
    values.iter().flatten().sum()
}

#[dagrun::task]
fn streamed(values: Gathered<f64>) -> f64 {
    values.values().map_while(Result::ok).sum()
}

#[dagrun::task]
fn both(values: Vec<f64>, texts: Gathered<String>) -> usize {
    values.len() + texts.count()
}

#[dagrun::task]
fn of_kind(values: Vec<f64>, kind: String) -> String {
    format!("{kind}: {}", values.len())
}

#[dagrun::task]
fn list(n: u32) -> Vec<f64> {
    (0..n).map(f64::from).collect()
}

#[dagrun::task]
fn text(x: f64) -> String {
    x.to_string()
}

#[dagrun::task]
fn length(of: Bytes) -> usize {
    of.len()
}

/// The pipeline of a text in the file format. Signatures cannot be written there.
fn written(name: &str, toml: &str) -> Pipeline {
    let options = ParseOptions { file_stem: name, set: &[] };
    match parse(toml, &options, &NoFiles) {
        Ok(parsed) => parsed.pipeline,
        Err(problems) => panic!("{problems:?}"),
    }
}

fn without_signatures(dag: &Dag) -> Pipeline {
    let mut pipeline = dag.pipeline().unwrap();
    for task in &mut pipeline.tasks {
        if let TaskAction::Call(call) = &mut task.action {
            assert!(call.signature.take().is_some());
        }
    }
    pipeline
}

#[track_caller]
fn same(dag: &Dag, toml: &str) {
    let (built, written) = (without_signatures(dag), written("test", toml));
    for (built, written) in built.tasks.iter().zip(&written.tasks) {
        assert_eq!(built, written);
    }
    assert_eq!(built, written);
}

fn problems(dag: &Dag) -> Vec<String> {
    let error = dag.pipeline().unwrap_err();
    error.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn tasks_are_given_values_and_what_others_make() {
    let dag = Dag::new("test");
    let one: Handle<f64> = dag.task(start, ());
    let two = dag.task(add, (&one, 2.5));
    dag.task(add, (two.clone(), &one)).name("last");
    same(
        &dag,
        r#"
        [task.start]
        call = "start"
        [task.add]
        call = "add"
        args = { a = "{start.value}", b = 2.5 }
        [task.last]
        call = "add"
        args = { a = "{add.value}", b = "{start.value}" }
        "#,
    );
}

#[test]
fn maps_gathers_and_scatters_are_those_of_the_file_format() {
    let dag = Dag::new("test");
    let sweep = Sweep::new().axis("strike", linspace(80.0, 120.0, 3)).axis("kind", ["call", "put"]);
    let prices: ArrayHandle<f64> = dag.map_with(price, sweep, (1000,));
    let squares = dag.map(square, &prices);
    let average = dag.gather(&squares, mean);
    let numbers = dag.task(list, (9,));
    let each = dag.map(square, dag.scatter(&numbers, Each));
    let parts = dag.map(mean, dag.scatter(&numbers, Parts(4)).max_items(99)).name("parts");
    let total = dag.gather(&each, streamed).min_success(0.9);
    dag.gather_by(&prices, ["kind"], of_kind);
    dag.map(text, &parts).name("texts");
    assert_eq!((prices.width(), squares.width(), each.width()), (Some(6), Some(6), None));
    let _ = (average, total);
    same(
        &dag,
        r#"
        [task.price]
        call = "price"
        sweep = { strike = { linspace = [80, 120], n = 3 }, kind = ["call", "put"] }
        args = { point = { strike = "{strike}", kind = "{kind}" }, paths = 1000 }
        [task.square]
        call = "square"
        map = "price"
        args = { x = "{price.value}" }
        [task.mean]
        call = "mean"
        gather = "square"
        args = { values = "{square.value}" }
        [task.list]
        call = "list"
        args = { n = 9 }
        [task.square-2]
        call = "square"
        scatter = "list"
        args = { x = "{item}" }
        [task.parts]
        call = "mean"
        scatter = { from = "list", parts = 4, max-items = 99 }
        args = { values = "{item}" }
        [task.streamed]
        call = "streamed"
        gather = "square-2"
        min-success = "90%"
        args = { values = "{square-2.value}" }
        [task.of_kind]
        call = "of_kind"
        gather = { task = "price", by = ["kind"] }
        args = { values = "{price.value}", kind = "{kind}" }
        [task.texts]
        call = "text"
        map = "parts"
        args = { x = "{parts.value}" }
        "#,
    );
}
