//! The result of a task is not of the requested type.

#[path = "tasks/mod.rs"]
mod tasks;

use dagrun::Dag;
use tasks::name;

fn main() {
    let dag = Dag::new("result");
    let named = dag.task(name, (1,));
    let cluster = dagrun::Cluster::embedded().unwrap();
    let _: f64 = cluster.submit(&dag).wait().unwrap().result(&named).wait().unwrap();
}
