//! More inputs are passed than the function has.

#[path = "tasks/mod.rs"]
mod tasks;

use dagrun::Dag;
use tasks::half;

fn main() {
    Dag::new("inputs").task(half, (1.0, 2.0));
}
