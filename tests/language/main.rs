//! The graph language with real workers and real processes.

mod cancel;
mod dynamic;
mod order;
mod placement;
mod retries;
mod rig;
