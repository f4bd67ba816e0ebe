//! The context is passed by value.

use dagrun::Context;

#[dagrun::task]
fn index(context: Context) -> u32 {
    context.index()
}

fn main() {}
