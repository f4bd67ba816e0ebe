//! A whole array is passed where one value is expected.

#[path = "tasks/mod.rs"]
mod tasks;

use dagrun::Dag;
use tasks::half;

fn main() {
    let dag = Dag::new("array");
    let halves = dag.map(half, [1.0, 2.0]);
    dag.task(half, (&halves,));
}
