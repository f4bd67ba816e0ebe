//! The state machine against a naive model, and the dependency cases by their names.

mod adopted;
mod cases;
mod dynamic;
mod journal;
mod memory;
mod model;
mod order;
mod past;
mod placement;
mod programs;
mod refusals;
mod resumed;
mod rig;
mod states;
mod temporary;
mod truth_table;
mod values;
