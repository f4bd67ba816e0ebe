//! The dagrun scheduler: it hosts the state machine of `dagrun-core`, speaks the protocol of
//! `dagrun-schema` with clients and workers, and writes the journal and history of runs.
//!
//! ```text
//!  clients, workers ──RPC──► server ──events──► driver (Engine) ──records──► store thread ──► SQLite
//!        ▲                                         │  ▲                          │              │
//!        └────────────── dispatch, updates ────────┘  └──────── committed ───────┘   history ◄──┘
//! ```
//!
//! One thread speaks RPC and owns the state machine; a second one owns the database. Whatever is
//! sent to a client has been committed before.

pub mod connection;
pub mod history;
mod holding;
pub mod server;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulated;
pub mod submission;

mod driver;
mod journal;
#[cfg(feature = "simulation")]
mod planted;
mod store;

pub use dagrun_core::layout;
pub use history::{History, HistoryError, Scanned, Wanted};
pub use holding::{Holder, Holding};
pub use journal::StoreError;
pub use journal::lock::Owner;
pub use server::{Config, Guest, SchedulerHandle, StartError, spawn};
pub use store::forget::forget;
pub use store::give_up::give_up;
pub use submission::SubmissionError;

pub use dagrun_schema::wire::Submission;
