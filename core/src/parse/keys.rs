//! The keys of the format.

/// The keys at the top of a file.
pub(super) const TOP: &[&str] = &["dagrun", "name", "vars", "defaults", "task"];

/// The keys of a task.
pub(super) const TASK: &[&str] = &[
    "run",
    "shell",
    "call",
    "args",
    "sweep",
    "combine",
    "map",
    "scatter",
    "max-items",
    "gather",
    "min-success",
    "after",
    "follow",
    "capture",
    "out",
    "stdin",
    "inputs",
    "env",
    "working-dir",
    "retries",
    "max-lost",
    "timeout",
    "grace",
    "start-within",
    "allow-failure",
    "always",
    "priority",
    "cpus",
    "memory",
    "resources",
    "targets",
    "max-running",
];

/// Keys of a task that make no sense as a default for all.
pub(super) const NOT_DEFAULTS: &[&str] =
    &["run", "shell", "call", "sweep", "map", "scatter", "gather", "out"];

/// The kinds of axes that are written as a table.
pub(super) const AXIS_KINDS: &[&str] =
    &["linspace", "geomspace", "logspace", "range", "glob", "csv", "json", "lines"];
