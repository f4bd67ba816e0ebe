//! The gathered values are not of the type of the list.

use dagrun::Dag;

#[dagrun::task]
fn name(number: u64) -> String {
    number.to_string()
}

#[dagrun::task]
fn half(x: f64) -> f64 {
    x / 2.0
}

#[dagrun::task]
fn sum(values: Vec<f64>) -> f64 {
    values.iter().sum()
}

fn main() {
    let dag = Dag::new("gather");
    let names = dag.map(name, 0..10);
    dag.gather(&names, sum);
}
