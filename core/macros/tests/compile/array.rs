//! A whole array is given where one value is taken.

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
    let dag = Dag::new("array");
    let halves = dag.map(half, [1.0, 2.0]);
    dag.task(half, (&halves,));
}
