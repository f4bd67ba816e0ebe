//! One argument without the comma of a tuple, and a map of a function of two over single values.

#[path = "tasks/mod.rs"]
mod tasks;

use dagrun::Dag;
use tasks::half;

#[dagrun::task]
fn scaled(x: f64, by: f64) -> f64 {
    x * by
}

fn main() {
    let dag = Dag::new("tuple");
    dag.task(half, (1.0));
    dag.map(scaled, [1.0, 2.0]);
}
