//! What workers leave on disk and others read, without asking a worker: the logs of runs.
//!
//! It knows files and the clock, and nothing of messages, attempts or the database.

#![forbid(unsafe_code)]

pub mod clock;
pub mod log;
