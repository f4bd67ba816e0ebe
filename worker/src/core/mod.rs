//! The parts of a worker without input and output: what waits and runs, what is still to be reported, and
//! until when it may publish. Each is hosted by what it belongs to: [`crate::slots`], [`crate::reports`],
//! [`crate::lease`].

pub(crate) mod given;
pub(crate) mod ledger;
pub(crate) mod queue;
pub(crate) mod tenure;
