//! The value of an array is asked for as if it was a single one, and the other way round.

#[path = "tasks/mod.rs"]
mod tasks;

use dagrun::Dag;
use tasks::half;

fn main() {
    let dag = Dag::new("results");
    let halves = dag.map(half, [1.0, 2.0]);
    let one = dag.task(half, (1.0,));
    let run = dagrun::Cluster::embedded().unwrap().submit(&dag).wait().unwrap();
    run.result(&halves).wait().unwrap();
    run.results(&one).wait().unwrap();
}
