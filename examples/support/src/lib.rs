//! What the classic computations in `examples/*.rs` share: the look of their plots, and plain
//! threads that run the same kernels, so that a run of dagrun can be compared with them.

pub mod compare;
pub mod options;
pub mod plot;
pub mod statistics;
pub mod threads;
