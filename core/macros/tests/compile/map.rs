//! The elements of an array are not of the type of the input.

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
    let dag = Dag::new("map");
    let names = dag.map(name, 0..10);
    dag.map(half, &names);
}
