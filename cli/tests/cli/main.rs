//! The `dagrun` command from outside: what people and programs see of it.

mod attach;
mod clusters;
mod commands;
mod dynamic;
mod each;
mod exec;
mod explain;
mod faults;
mod files;
mod harness;
mod hostile;
mod interrupt;
mod long;
mod outputs;
mod placement;
mod plan;
mod reports;
mod retry;
mod select;
mod sources;
mod submit;
mod table;
mod urls;
mod values;
mod warnings;
mod wide;
