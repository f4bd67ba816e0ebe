//! The machine that a worker runs on.

use std::path::{Path, PathBuf};

use dagrun_core::offer::Offer;

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

/// The memory in bytes that processes here may use: the machine's, or less where a control group
/// limits it. `None` when the system does not show it.
fn memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups, Path::new("/sys/fs/cgroup"));
    let limits = limits.iter().filter_map(|file| limit(&std::fs::read_to_string(file).ok()?));
    machine.into_iter().chain(limits).min()
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// A control group's limit in bytes, unless it has none.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The files that limit this process, by `/proc/self/cgroup`: those of its control groups and of
/// all above them, of both versions.
fn limit_files(groups: &str, root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (root, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = Path::new(path.trim_start_matches('/'));
        files.extend(group.ancestors().map(|group| root.join(group).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_that_of_the_machine_or_less() {
        assert_eq!(total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert_eq!((limit("1048576\n"), limit("max\n")), (Some(1 << 20), None));
        let found = memory().unwrap();
        assert!(found > 1 << 20, "{found}");
    }

    #[test]
    fn limits_of_all_groups_above_count() {
        let files = limit_files("0::/a/b\n", Path::new("/r"));
        let expected = ["/r/a/b/memory.max", "/r/a/memory.max", "/r/memory.max"];
        assert_eq!(files, expected.map(PathBuf::from));
        let files = limit_files("5:cpu:/x\n4:cpuset,memory:/x\n", Path::new("/r"));
        let expected = ["/r/memory/x/memory.limit_in_bytes", "/r/memory/memory.limit_in_bytes"];
        assert_eq!(files, expected.map(PathBuf::from));
    }
}
