//! How much memory is left for processes here: on the machine, and in the control groups that limit it.

use std::path::{Path, PathBuf};

use dagrun_core::offer::amount_of_memory;

/// Too little is less than this part of all, or than so many bytes if that is more; but never more than
/// the larger part, of a small machine.
const PART: u64 = 20;
const BYTES: u64 = 256 << 20;
const LARGER_PART: u64 = 4;

/// Memory that can be used, and how much of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Amount {
    all: u64,
    left: u64,
}

impl Amount {
    /// What must be left.
    fn least(self) -> u64 {
        (self.all / PART).max(BYTES).min(self.all / LARGER_PART)
    }
}

/// Watches what is left.
#[derive(Debug)]
pub(crate) struct Left {
    meminfo: PathBuf,
    groups: PathBuf,
    root: PathBuf,
    /// Whether it was too little at the last look.
    short: bool,
}

impl Default for Left {
    fn default() -> Left {
        Left {
            meminfo: "/proc/meminfo".into(),
            groups: "/proc/self/cgroup".into(),
            root: "/sys/fs/cgroup".into(),
            short: false,
        }
    }
}

impl Left {
    /// Looks. Returns what is left when that is too little: `210 MiB of 8 GiB of memory are left`. Once it
    /// was, a quarter more must be left before it is enough.
    pub(crate) fn look(&mut self) -> Option<String> {
        let was = self.short;
        let too_little = |amount: &Amount| {
            let least = amount.least();
            amount.left < if was { least + least / 4 } else { least }
        };
        let found = self.amounts().into_iter().find(too_little);
        self.short = found.is_some();
        found.map(|Amount { all, left }| {
            format!("{} of {} of memory are left", amount_of_memory(left), amount_of_memory(all))
        })
    }

    fn amounts(&self) -> Vec<Amount> {
        let machine = std::fs::read_to_string(&self.meminfo).ok().and_then(|text| {
            let all = of_meminfo(&text, "MemTotal:")?;
            Some(Amount { all, left: of_meminfo(&text, "MemAvailable:")? })
        });
        let groups = std::fs::read_to_string(&self.groups).unwrap_or_default();
        let limited = limit_files(&groups, &self.root);
        let limited = limited.iter().filter_map(|limit| of_group(limit, machine?.all));
        machine.into_iter().chain(limited).collect()
    }
}

/// What is left in a control group that has less than the machine.
fn of_group(limit: &Path, machine: u64) -> Option<Amount> {
    let number = |file: &Path| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let all = number(limit).filter(|all| *all < machine)?;
    let (usage, inactive) = match limit.file_name()?.to_str()? {
        "memory.max" => ("memory.current", "inactive_file "),
        _ => ("memory.usage_in_bytes", "total_inactive_file "),
    };
    let used = number(&limit.with_file_name(usage))?;
    // What is read from files goes when it must.
    let stat = std::fs::read_to_string(limit.with_file_name("memory.stat")).unwrap_or_default();
    let inactive = stat.lines().find_map(|line| line.strip_prefix(inactive)?.trim().parse().ok());
    let used = used.saturating_sub(inactive.unwrap_or(0));
    Some(Amount { all, left: all.saturating_sub(used) })
}

/// A line of `/proc/meminfo`, in bytes.
pub(crate) fn of_meminfo(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The files that limit this process, by `/proc/self/cgroup`: those of its control groups and of
/// all above them, of both versions.
pub(crate) fn limit_files(groups: &str, root: &Path) -> Vec<PathBuf> {
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
    use std::fs;

    use super::*;

    #[test]
    fn limits_of_all_groups_above_count() {
        let files = limit_files("0::/a/b\n", Path::new("/r"));
        let expected = ["/r/a/b/memory.max", "/r/a/memory.max", "/r/memory.max"];
        assert_eq!(files, expected.map(PathBuf::from));
        let files = limit_files("5:cpu:/x\n4:cpuset,memory:/x\n", Path::new("/r"));
        let expected = ["/r/memory/x/memory.limit_in_bytes", "/r/memory/memory.limit_in_bytes"];
        assert_eq!(files, expected.map(PathBuf::from));
    }

    /// A machine of 8 GiB whose group of the second version has 2 GiB.
    struct Machine {
        dir: tempfile::TempDir,
        left: Left,
    }

    impl Machine {
        fn new() -> Machine {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().join(name);
            fs::create_dir(at("job")).unwrap();
            fs::write(at("groups"), "0::/job\n").unwrap();
            fs::write(at("job/memory.max"), format!("{}\n", 2u64 << 30)).unwrap();
            let root = dir.path().to_owned();
            let left = Left { meminfo: at("meminfo"), groups: at("groups"), root, short: false };
            let machine = Machine { dir, left };
            machine.set(4 << 20, 1 << 30, 0);
            machine
        }

        fn set(&self, available_kib: u64, used: u64, inactive: u64) {
            let at = |name: &str| self.dir.path().join(name);
            let meminfo = format!("MemTotal: {} kB\nMemAvailable: {available_kib} kB\n", 8 << 20);
            fs::write(at("meminfo"), meminfo).unwrap();
            fs::write(at("job/memory.current"), used.to_string()).unwrap();
            fs::write(at("job/memory.stat"), format!("anon 5\ninactive_file {inactive}\n"))
                .unwrap();
        }
    }

    #[test]
    fn it_is_too_little_until_there_is_clearly_more() {
        let mut machine = Machine::new();
        assert_eq!(machine.left.look(), None);
        machine.set(300 << 10, 1 << 30, 0);
        assert_eq!(machine.left.look().unwrap(), "300 MiB of 8 GiB of memory are left");
        machine.set(450 << 10, 1 << 30, 0);
        assert!(machine.left.look().is_some(), "enough only for who was not short before");
        machine.set(600 << 10, 1 << 30, 0);
        assert_eq!(machine.left.look(), None);
        machine.set(450 << 10, 1 << 30, 0);
        assert_eq!(machine.left.look(), None);
    }

    #[test]
    fn the_limit_of_a_group_counts_without_what_was_read_from_files() {
        let mut machine = Machine::new();
        machine.set(4 << 20, (2 << 30) - (100 << 20), 0);
        assert_eq!(machine.left.look().unwrap(), "100 MiB of 2 GiB of memory are left");
        machine.set(4 << 20, (2 << 30) - (100 << 20), 1 << 30);
        assert_eq!(machine.left.look(), None);
    }

    #[test]
    fn a_small_machine_needs_less() {
        assert_eq!(Amount { all: 512 << 20, left: 0 }.least(), 128 << 20);
        assert_eq!(Amount { all: 2 << 30, left: 0 }.least(), 256 << 20);
        assert_eq!(Amount { all: 100 << 30, left: 0 }.least(), 5 << 30);
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(!Left::default().amounts().is_empty());
    }
}
