//! Tasks that the other files combine wrongly.

#![allow(dead_code)]

#[dagrun::task]
pub fn name(number: u64) -> String {
    number.to_string()
}

#[dagrun::task]
pub fn half(x: f64) -> f64 {
    x / 2.0
}
