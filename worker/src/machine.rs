//! The machine that a worker runs on.

use std::path::Path;

use dagrun_core::offer::Offer;

use crate::memory::{limit_files, of_meminfo};

/// All that the machine has: a slot for each core, and its memory as far as this process may use
/// it.
#[must_use]
pub fn whole_machine() -> Offer {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Offer {
        slots: u32::try_from(cores).unwrap_or(u32::MAX),
        memory: memory().unwrap_or(0),
        ..Offer::default()
    }
}

/// Whether this process was started by a batch system, which gives each job its own memory.
#[must_use]
pub fn is_below_a_batch_system() -> bool {
    is_job(&|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Slurm, PBS and its like, LSF; Grid Engine, which shares its `JOB_ID` with other things.
fn is_job(has: &dyn Fn(&str) -> bool) -> bool {
    let names = ["SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"];
    names.iter().any(|name| has(name)) || has("JOB_ID") && (has("SGE_ROOT") || has("SGE_TASK_ID"))
}

/// The memory in bytes that processes here may use: the machine's, or less where a control group
/// limits it. `None` when the system does not show it.
fn memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| of_meminfo(&text, "MemTotal:"));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups, Path::new("/sys/fs/cgroup"));
    let limits = limits.iter().filter_map(|file| limit(&std::fs::read_to_string(file).ok()?));
    machine.into_iter().chain(limits).min()
}

/// A control group's limit in bytes, unless it has none.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_that_of_the_machine_or_less() {
        let total = |text| of_meminfo(text, "MemTotal:");
        assert_eq!(total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert_eq!((limit("1048576\n"), limit("max\n")), (Some(1 << 20), None));
        let found = memory().unwrap();
        assert!(found > 1 << 20, "{found}");
    }

    #[test]
    fn jobs_of_batch_systems_are_known_by_their_variables() {
        let job = |names: &[&str]| is_job(&|name| names.contains(&name));
        assert!(job(&["SLURM_JOB_ID"]) && job(&["PBS_JOBID"]) && job(&["LSB_JOBID"]));
        assert!(job(&["JOB_ID", "SGE_ROOT"]) && !job(&["JOB_ID"]) && !job(&["SGE_ROOT"]));
        assert!(!job(&[]));
    }
}
