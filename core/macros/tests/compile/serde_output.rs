//! Serde can neither write nor read what a task returns.

struct Point {
    x: f64,
}

#[dagrun::task]
fn point(x: f64) -> Point {
    Point { x }
}

fn main() {
    let _: Point = point(1.0);
}
