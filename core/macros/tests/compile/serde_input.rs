//! Serde cannot read an input.

struct Point {
    x: f64,
}

#[dagrun::task]
fn x_of(point: Point) -> f64 {
    point.x
}

fn main() {}
