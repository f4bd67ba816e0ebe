//! The dagrun worker: takes instances from a scheduler, runs each attempt as a process of its own
//! on a pool of slots, keeps what it writes, and reports how it ended.
//!
//! ```text
//! session ─► service ─► slots ─► runner ─► process
//!    ▲                    │         └─► dagrun-disk
//!    └──── reports ◄──────┘
//! ```

#![forbid(unsafe_code)]

pub mod attempt;
mod capture;
mod checkpoint;
pub mod control;
mod copies;
mod core;
pub mod data;
mod descriptors;
pub mod function;
pub mod groups;
mod handle;
mod lease;
mod machine;
mod memory;
pub mod orphans;
mod output;
mod outputs;
mod process;
mod program;
pub mod reaper;
mod reports;
pub mod runner;
mod runs;
mod scratch;
mod service;
mod session;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulated;
pub mod slots;
mod space;
mod temporary;
pub mod values;

pub use handle::{Life, Stopper, WorkerHandle, spawn, spawn_on};
pub use machine::{is_below_a_batch_system, whole_machine};
pub use reaper::ReaperConfig;
pub use session::{
    Config, Connection, DEFAULT_LOG_LIMIT, EndReason, Find, Rejoin, StartError, ValuesConfig,
};
