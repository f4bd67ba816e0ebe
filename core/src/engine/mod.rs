//! The deterministic state machine: events in, actions out, no I/O.
//!
//! ```text
//! handle(now, event, &mut actions)      next_deadline()
//! ```

pub mod event;
pub mod plan;

pub use event::{
    Action, Assignment, CancelScope, Cause, Event, Outcome, Record, Report, RevokeMode, WorkerOffer,
};
pub use plan::{MapEdge, RunPlan, TaskPlan};

use std::sync::Arc;

use crate::ids::{RunId, TaskId, Timestamp};
use crate::status::{Counts, RunState};

/// The state machine.
#[derive(Debug, Default)]
pub struct Engine {}

impl Engine {
    /// A machine without runs and workers.
    #[must_use]
    pub fn new() -> Engine {
        Engine::default()
    }

    /// Takes one event and appends what must be done.
    ///
    /// Events about unknown runs, workers or attempts are counted ([`Engine::stale`]) and ignored.
    pub fn handle(&mut self, _now: Timestamp, _event: Event, _out: &mut Vec<Action>) {}

    /// When [`Event::Tick`] is next due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// The tasks of `run` by state, and how many run; `None` when the run is unknown.
    #[must_use]
    pub fn counts(&self, _run: RunId, _task: TaskId) -> Option<(Counts, u32)> {
        None
    }

    /// The tasks whose counts changed since the last call, each once.
    pub fn take_dirty(&mut self) -> Vec<(RunId, TaskId)> {
        Vec::new()
    }

    /// The state of `run`.
    #[must_use]
    pub fn run_state(&self, _run: RunId) -> Option<RunState> {
        None
    }

    /// Forgets a run that has finished.
    pub fn forget(&mut self, _run: RunId) {}

    /// Reports that were ignored since the start: stale attempts, unknown workers.
    #[must_use]
    pub fn stale(&self) -> u64 {
        0
    }

    /// The plan of a run.
    #[must_use]
    pub fn plan(&self, _run: RunId) -> Option<&Arc<RunPlan>> {
        None
    }
}
