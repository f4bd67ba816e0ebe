//! Where the files of a run lie below a state directory. Paths only: nothing here looks at a disk.
//!
//! ```text
//! STATE/
//! ├── dagrun.db       the journal
//! ├── scheduler.lock  held by the scheduler of a cluster
//! ├── unfinished/     directories of attempts under way, by worker
//! └── runs/4/         `{run.dir}`
//!     ├── lock        held by the process that runs it
//!     ├── logs/       what attempts wrote
//!     ├── manifests/  what gathering tasks read
//!     ├── values/     long values that are files
//!     ├── checkpoints/  what attempts leave to the next ones of their instance
//!     ├── outgoing/   outputs on their way to a URL
//!     └── scratch/    scripts, and what they are given, while they run
//! ```

use std::path::{Path, PathBuf};

use crate::ids::RunId;

/// The database of a state directory.
#[must_use]
pub fn database(state_dir: &Path) -> PathBuf {
    state_dir.join("dagrun.db")
}

/// The lock of a cluster's scheduler on its state directory.
#[must_use]
pub fn scheduler_lock(state_dir: &Path) -> PathBuf {
    state_dir.join("scheduler.lock")
}

/// The records of attempts under way.
#[must_use]
pub fn unfinished(state_dir: &Path) -> PathBuf {
    state_dir.join("unfinished")
}

/// A run's own directory.
#[must_use]
pub fn run_dir(state_dir: &Path, run: RunId) -> PathBuf {
    state_dir.join("runs").join(run.to_string())
}

/// The lock of a run, held by the process that runs it.
#[must_use]
pub fn run_lock(state_dir: &Path, run: RunId) -> PathBuf {
    run_dir(state_dir, run).join("lock")
}

/// The state directory of a run's own directory; `None` when it cannot be one.
#[must_use]
pub fn state_dir(run_dir: &Path) -> Option<&Path> {
    run_dir.parent()?.parent()
}

/// The logs of a run.
#[must_use]
pub fn logs(run_dir: &Path) -> PathBuf {
    run_dir.join("logs")
}

/// The manifests of a run.
#[must_use]
pub fn manifests(run_dir: &Path) -> PathBuf {
    run_dir.join("manifests")
}

/// The files that hold long values of a run.
#[must_use]
pub fn values(run_dir: &Path) -> PathBuf {
    run_dir.join("values")
}

/// Files that attempts of a run are given, by attempt.
#[must_use]
pub fn scratch(run_dir: &Path) -> PathBuf {
    run_dir.join("scratch")
}

/// What attempts of an instance leave to those after them.
#[must_use]
pub fn checkpoint(run_dir: &Path, task: &str, index: u32) -> PathBuf {
    run_dir.join("checkpoints").join(format!("{task}-{index}"))
}

/// Outputs of a run that will be uploaded.
#[must_use]
pub fn outgoing(run_dir: &Path) -> PathBuf {
    run_dir.join("outgoing")
}
