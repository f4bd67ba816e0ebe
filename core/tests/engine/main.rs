//! The state machine against a naive model, and the dependency cases by their names.

mod cases;
mod model;
mod rig;
mod truth_table;
