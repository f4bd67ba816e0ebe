//! How many processes the system has killed because memory ran out: in the worker's control group, where
//! that is known, else on the machine.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A number that is younger than this is as good as a new one.
const FRESH: Duration = Duration::from_millis(100);

/// Counts what the system kills.
#[derive(Debug)]
pub(super) struct OomKills {
    /// Where the count is read.
    file: PathBuf,
    known: Mutex<Option<(Instant, u64)>>,
}

impl Default for OomKills {
    fn default() -> OomKills {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let of_group = events_file(&groups, Path::new("/sys/fs/cgroup"));
        let file = of_group.filter(|file| read(file).is_some());
        OomKills { file: file.unwrap_or_else(|| "/proc/vmstat".into()), known: Mutex::default() }
    }
}

impl OomKills {
    /// The number for what begins at `now`.
    pub(super) fn before(&self, now: Instant) -> u64 {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match *known {
            Some((at, number)) if now < at + FRESH => number,
            _ => {
                let number = self.now();
                *known = Some((now, number));
                number
            }
        }
    }

    /// The number now; zero where it is not known.
    pub(super) fn now(&self) -> u64 {
        read(&self.file).unwrap_or(0)
    }
}

/// The file with the count of this process's control group of the second version.
fn events_file(groups: &str, root: &Path) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(root.join(path).join("memory.events"))
}

fn read(file: &Path) -> Option<u64> {
    count(&std::fs::read_to_string(file).ok()?)
}

/// The line `oom_kill 3`.
fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_one_of_many_lines() {
        assert_eq!(count("oom 7\noom_kill 3\noom_group_kill 1\n"), Some(3));
        assert_eq!(count("oom 7\n"), None);
        let file = events_file("4:memory:/a\n0::/b/c\n", Path::new("/r"));
        assert_eq!(file, Some("/r/b/c/memory.events".into()));
    }

    #[test]
    fn a_rise_is_seen_by_what_began_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("memory.events");
        std::fs::write(&file, "oom_kill 3\n").unwrap();
        let kills = OomKills { file: file.clone(), known: Mutex::default() };
        let begun = Instant::now();
        let before = kills.before(begun);
        assert_eq!(before, kills.now());
        std::fs::write(&file, "oom_kill 4\n").unwrap();
        assert!(kills.now() > before);
        assert_eq!(kills.before(begun + FRESH), 4);
    }
}
