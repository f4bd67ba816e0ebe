//! The reduced values and the result are of different types.

#[path = "tasks/mod.rs"]
mod tasks;

use dagrun::Dag;
use tasks::half;

#[dagrun::task]
fn joined(a: f64, b: f64) -> String {
    format!("{a}{b}")
}

fn main() {
    let dag = Dag::new("reduce");
    let halves = dag.map(half, [1.0, 2.0]);
    dag.reduce(&halves, joined);
}
