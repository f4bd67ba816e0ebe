//! dagrun.

pub mod files;
