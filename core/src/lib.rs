//! The core of dagrun, free of clocks, sockets, threads and files: the pipeline format, parameter
//! spaces, the graph, and the deterministic state machine that schedules it.

#![forbid(unsafe_code)]

pub mod alike;
mod causes;
pub mod check;
pub mod draw;
pub mod engine;
pub mod graph;
mod grids;
pub mod hash;
pub mod ids;
pub mod layout;
pub mod offer;
pub mod output;
pub mod parse;
pub mod payload;
pub mod pipeline;
pub mod pretty;
pub mod problem;
pub mod recipe;
pub mod resolve;
pub mod select;
mod shell;
pub mod simulate;
pub mod space;
mod spelling;
pub mod status;
pub mod table;
pub mod template;
pub mod unparse;
pub mod url;
pub mod value;
pub mod warn;

pub use causes::one_line;
