//! The digits of π: computed, cut into parts, counted and drawn. The program beside this library
//! has a subcommand for each; `examples/digits_of_pi.rs` calls it from tasks that are functions.

pub mod count;
pub mod decimals;
pub mod error;
pub mod plot;
pub mod slice;
pub mod table;
