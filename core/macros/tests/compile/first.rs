//! The function comes first.

#[path = "tasks/mod.rs"]
mod tasks;

use dagrun::Dag;
use tasks::half;

fn main() {
    Dag::new("first").map([1.0, 2.0], half);
}
