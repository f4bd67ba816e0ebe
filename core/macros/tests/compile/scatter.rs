//! Only a list can be scattered.

#[path = "tasks/mod.rs"]
mod tasks;

use dagrun::Dag;
use tasks::name;

fn main() {
    let dag = Dag::new("scatter");
    let named = dag.task(name, (1,));
    dag.scatter(&named, dagrun::Chunk(2));
}
