//! There are more inputs than the function has.

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
    Dag::new("inputs").task(half, (1.0, 2.0));
}
