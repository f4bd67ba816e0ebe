//! What the fuzz targets do with an input: each module is a target, and its `feed` runs the code of the
//! project on bytes and asserts what must hold whatever they are.
//!
//! The targets in `../fuzz_targets` find inputs, and `tests/replay.rs` plays those that are kept in
//! `../corpus` with each `cargo test`. See `CONTRIBUTING.md` for both.

pub mod journal;
pub mod login;
pub mod parse;
pub mod wire;

/// A target: its name, which is that of its folder in the corpus, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 4] = [
    ("parse", parse::feed),
    ("wire", wire::feed),
    ("login", login::feed),
    ("journal", journal::feed),
];
