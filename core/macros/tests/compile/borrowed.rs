//! An input of a task comes from elsewhere: it cannot be borrowed.

#[dagrun::task]
fn letters(text: &str) -> usize {
    text.len()
}

fn main() {}
