//! What is reduced and what comes of it are of different types.

use dagrun::Dag;

#[dagrun::task]
fn name(number: u64) -> String {
    number.to_string()
}

#[dagrun::task]
fn half(x: f64) -> f64 {
    x / 2.0
}

#[dagrun::task]
fn joined(a: f64, b: f64) -> String {
    format!("{a}{b}")
}

fn main() {
    let dag = Dag::new("reduce");
    let halves = dag.map(half, [1.0, 2.0]);
    dag.reduce(&halves, joined);
}
