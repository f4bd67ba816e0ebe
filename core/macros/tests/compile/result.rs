//! The result of a task is not of the type that is asked for.

use dagrun::Dag;

#[dagrun::task]
fn name(number: u64) -> String {
    number.to_string()
}

#[dagrun::task]
fn half(x: f64) -> f64 {
    x / 2.0
}

fn main() {
    let dag = Dag::new("result");
    let named = dag.task(name, (1,));
    let cluster = dagrun::Cluster::embedded().unwrap();
    let _: f64 = cluster.submit(&dag).unwrap().result(&named).wait().unwrap();
}
