//! Sweeps and the structures that they fill.

use std::collections::BTreeMap;

use dagrun::{Dag, Sweep, linspace};
use serde::{Deserialize, Serialize};

use super::cluster;

#[derive(Serialize, Deserialize)]
struct Point {
    x: f64,
    #[serde(default)]
    n: u32,
    #[serde(alias = "colour")]
    color: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Wrapped(Point);

#[dagrun::task]
fn at(point: Point) -> f64 {
    point.x * f64::from(point.n) + point.color.map_or(0.0, |_| 0.5)
}

#[dagrun::task]
fn at_wrapped(point: Wrapped) -> f64 {
    at(point.0)
}

#[dagrun::task]
fn size(any: BTreeMap<String, f64>) -> usize {
    any.len()
}

#[dagrun::task]
fn half(x: f64) -> f64 {
    x / 2.0
}

fn checked(sweep: Sweep) -> Result<(), String> {
    let dag = Dag::new("sweep");
    dag.map(at, sweep.clone());
    let plain = dag.check().map_err(|error| error.to_string());
    let wrapped = Dag::new("sweep");
    wrapped.map(at_wrapped, sweep);
    let wrapped = wrapped.check().map_err(|error| error.to_string().replace("at_wrapped", "at"));
    assert_eq!(plain, wrapped);
    plain
}

#[test]
fn axes_that_do_not_fit_are_found_before_anything_runs() {
    let x = || Sweep::new().axis("x", linspace(0.0, 1.0, 3));
    assert_eq!(checked(x()), Ok(()));
    assert_eq!(checked(x().axis("n", [1, 2]).axis("colour", ["red"])), Ok(()));
    let unknown =
        "task `at`: its sweep: `y` is no field of `Point`, which has `x`, `n`, `color`, `colour`";
    assert_eq!(checked(x().axis("y", [1])).unwrap_err(), unknown);
    let missing = checked(Sweep::new().axis("n", [1])).unwrap_err();
    assert!(
        missing.ends_with("does not make the function's input: missing field `x`"),
        "{missing}"
    );
    let kind = checked(Sweep::new().axis("x", ["a"])).unwrap_err();
    assert!(kind.contains("input: x: invalid type: string \"a\", expected f64"), "{kind}");

    let dag = Dag::new("sweep");
    dag.map(size, x().axis("anything", [1.0]));
    dag.map(half, Sweep::new().axis("x", [1.0, 2.0]));
    assert_eq!(dag.check(), Ok(()));
    dag.map(half, Sweep::new().axis("x", [1.0]).axis("y", [1.0]));
    assert!(dag.check().is_err());
}

#[test]
fn what_is_found_only_in_the_run_names_its_field() {
    let cluster = cluster();
    let dag = Dag::new("sweep");
    let sweep = Sweep::new().axis("x", [1.0]).axis("n", [1, -2]);
    let values = dag.map(at, sweep);
    let run = cluster.submit(&dag).wait().unwrap();
    assert_eq!(run.result_at(&values, 0).wait().unwrap(), 1.0);
    let failed = run.result_at(&values, 1).wait().unwrap_err().to_string();
    assert!(failed.contains("input `point` of at: n: invalid value"), "{failed}");
}

#[dagrun::task]
fn scaled(x: f64, by: u32, name: String) -> String {
    format!("{name}{}", x * f64::from(by))
}

#[test]
fn functions_of_several_inputs_are_mapped_over_tuples() {
    let cluster = cluster();
    let dag = Dag::new("tuples");
    let items = [(1.5, 2, "a".to_owned()), (2.5, 4, "b".to_owned())];
    let values = dag.map(scaled, items.clone());
    let run = cluster.submit(&dag).wait().unwrap();
    assert_eq!(run.results(&values).wait().unwrap(), ["a3", "b10"]);
    let values: Result<Vec<String>, _> = cluster.map(scaled, items).collect();
    assert_eq!(values.unwrap(), ["a3", "b10"]);
}
