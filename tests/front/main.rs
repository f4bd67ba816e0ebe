//! What a program in Rust relies on: each function answers for itself, handles belong to their runs, and what
//! nobody waits for ends.

mod fit;
mod identity;
mod left_behind;
mod lines;
mod words;

use dagrun::Cluster;

fn cluster() -> Cluster {
    Cluster::builder().slots(2).start().unwrap()
}
