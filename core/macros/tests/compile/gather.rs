//! The gathered values are not of the type of the list.

#[path = "tasks/mod.rs"]
mod tasks;

use dagrun::Dag;
use tasks::name;

#[dagrun::task]
fn sum(values: Vec<f64>) -> f64 {
    values.iter().sum()
}

fn main() {
    let dag = Dag::new("gather");
    let names = dag.map(name, 0..10);
    dag.gather(&names, sum);
}
