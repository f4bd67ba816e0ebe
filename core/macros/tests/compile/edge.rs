//! The value of one task is not of the type of the other's input.

#[path = "tasks/mod.rs"]
mod tasks;

use dagrun::Dag;
use tasks::{half, name};

fn main() {
    let dag = Dag::new("edge");
    let named = dag.task(name, (1,));
    dag.task(half, (&named,));
}
