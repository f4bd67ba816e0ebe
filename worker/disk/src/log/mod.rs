//! The logs of a run: no file per instance, but one pair of files per worker and run.
//!
//! `<worker>.log` holds the bytes, `<worker>.idx` a record of fixed size for each piece of them, in
//! the order in which they were kept. Bytes are written before their record, so that a reader that
//! comes at any time, even after a crash, finds what a record promises.

mod format;
mod read;
mod write;

pub use read::{Cursor, LogReader};
pub use write::{Owner, RunLog, Span};
