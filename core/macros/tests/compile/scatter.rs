//! Only a list can be scattered.

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
    let dag = Dag::new("scatter");
    let named = dag.task(name, (1,));
    dag.scatter(&named, dagrun::Chunk(2));
}
