//! dagrun.
