//! A constant is not of the type of the input.

#[path = "tasks/mod.rs"]
mod tasks;

use dagrun::Dag;
use tasks::half;

fn main() {
    Dag::new("constant").task(half, ("one",));
}
