//! The `dagrun` command from outside: what people and programs see of it.

mod again;
mod attach;
mod bare;
mod clean;
mod clusters;
mod commands;
mod complete;
mod dynamic;
mod each;
mod exec;
mod explain;
mod faults;
mod files;
mod fmt;
mod harness;
mod hostile;
mod interrupt;
mod logs;
mod long;
mod machine;
mod outputs;
mod placement;
mod plan;
mod reports;
mod retry;
mod scripts;
mod select;
mod sources;
mod submit;
mod table;
mod times;

mod urls;
mod values;
mod warnings;
mod wide;
