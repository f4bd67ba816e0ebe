//! The value of one task is not of the type of the other's input.

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
    let dag = Dag::new("edge");
    let named = dag.task(name, (1,));
    dag.task(half, (&named,));
}
