//! A closure cannot travel to a worker.

fn main() {
    dagrun::Dag::new("closure").map(|x: f64| x / 2.0, [1.0, 2.0]);
}
