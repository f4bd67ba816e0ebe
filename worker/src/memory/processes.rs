//! The processes of an attempt, by the list of all processes of the system, and the memory of each.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Pid;

/// The list of processes is read again when it is older than this, and older than some times what
/// reading it took.
const FRESH: Duration = Duration::from_millis(50);
const COST: u32 = 20;

/// The list of all processes, which attempts share.
#[derive(Debug, Default)]
pub(super) struct Processes {
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    read: Option<Instant>,
    cost: Duration,
    processes: Vec<Entry>,
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    pid: i32,
    parent: i32,
    group: i32,
}

impl Processes {
    /// The processes in a group and their descendants, as they are at `now`, or were shortly before.
    pub(super) fn members(&self, group: Pid, now: Instant) -> Vec<i32> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let lasts = FRESH.max(list.cost * COST);
        if list.read.is_none_or(|read| read + lasts <= now) {
            let begun = Instant::now();
            list.processes = all();
            list.read = Some(begun);
            list.cost = begun.elapsed();
        }
        descendants(&list.processes, group.as_raw_pid())
    }
}

fn all() -> Vec<Entry> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter_map(|pid: i32| {
            entry(pid, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
        })
        .collect()
}

/// The line of `/proc/PID/stat`: `12 (a name) S PARENT GROUP …`. The name may hold anything.
fn entry(pid: i32, stat: &str) -> Option<Entry> {
    let mut words = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(1);
    Some(Entry { pid, parent: words.next()?.parse().ok()?, group: words.next()?.parse().ok()? })
}

fn descendants(processes: &[Entry], group: i32) -> Vec<i32> {
    let mut found: HashSet<i32> =
        processes.iter().filter(|one| one.group == group).map(|one| one.pid).collect();
    loop {
        let before = found.len();
        let children = processes.iter().filter(|one| found.contains(&one.parent));
        let children: Vec<i32> = children.map(|one| one.pid).collect();
        found.extend(children);
        if found.len() == before {
            return found.into_iter().collect();
        }
    }
}

/// Bytes of memory that a process uses, those that it shares with others included. Zero when it has
/// ended.
pub(super) fn used_alone(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    sum(&text, &["RssAnon:", "RssShmem:", "VmSwap:"])
}

/// Bytes of memory that a process uses, with its part of what it shares with others.
pub(super) fn used(pid: i32) -> u64 {
    match std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Ok(text) if text.contains("Pss_Anon:") => {
            sum(&text, &["Pss_Anon:", "Pss_Shmem:", "SwapPss:"])
        }
        // Older systems do not tell files apart there.
        Ok(text) => sum(&text, &["Pss:", "SwapPss:"]).min(used_alone(pid)),
        Err(_) => used_alone(pid),
    }
}

/// The sum of some lines in kibibytes, in bytes.
fn sum(text: &str, names: &[&str]) -> u64 {
    let kibibytes = text.lines().filter_map(|line| {
        let rest = names.iter().find_map(|name| line.strip_prefix(name))?;
        rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    kibibytes.fold(0, u64::saturating_add).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_processes_may_hold_anything() {
        let stat = "12 (a) S 1 (b)) R 3 4 5 6";
        assert_eq!(entry(12, stat), Some(Entry { pid: 12, parent: 3, group: 4 }));
        for broken in ["", "12 (a", "12 (a) S 1", "12 (a) S x 1"] {
            assert_eq!(entry(12, broken), None, "{broken}");
        }
    }

    #[test]
    fn what_left_the_group_belongs_to_it_as_long_as_its_parent_lives() {
        let of = |(pid, parent, group)| Entry { pid, parent, group };
        let list = [(30, 20, 30), (10, 1, 10), (11, 10, 10), (20, 11, 20), (40, 1, 40)].map(of);
        let mut found = descendants(&list, 10);
        found.sort_unstable();
        assert_eq!(found, [10, 11, 20, 30]);
    }

    #[test]
    fn the_lines_that_count_are_added_up() {
        let status = "VmRSS:\t900 kB\nRssAnon:\t 100 kB\nRssFile:\t 700 kB\nRssShmem:\t20 kB\nVmSwap:\t 3 kB\n";
        assert_eq!(sum(status, &["RssAnon:", "RssShmem:", "VmSwap:"]), 123 << 10);
        assert_eq!(sum("RssAnon: much kB\n", &["RssAnon:"]), 0);
        assert_eq!(used_alone(0), 0);
    }

    #[test]
    fn this_process_has_memory_of_its_own() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let (alone, shared) = (used_alone(pid), used(pid));
        assert!(alone > 0 && shared > 0);
        let group = rustix::process::getpgrp();
        assert!(Processes::default().members(group, Instant::now()).contains(&pid));
    }
}
