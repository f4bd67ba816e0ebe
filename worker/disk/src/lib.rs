//! What workers leave on disk and others read, without asking a worker: the logs of runs, the
//! directories of attempts under way, the kinds of outputs.
//!
//! It knows files and the clock, and nothing of messages, attempts or the database.

#![forbid(unsafe_code)]

pub mod clock;
mod host;
pub mod log;
pub mod private;
mod target;
pub mod unfinished;

pub use host::host;
pub use target::{kind_of, stamp_of, whole_stamp_of};
