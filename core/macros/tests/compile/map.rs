//! The elements of an array are not of the type of the input.

#[path = "tasks/mod.rs"]
mod tasks;

use dagrun::Dag;
use tasks::{half, name};

fn main() {
    let dag = Dag::new("map");
    let names = dag.map(name, 0..10);
    dag.map(half, &names);
}
