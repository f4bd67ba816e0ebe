//! Identifies the processes of a worker: by a mark in their environment, and by a table of process
//! groups that outlives the worker.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use dagrun_core::ids::RunId;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, Signal};

/// How often the search for marked processes is repeated while it still finds some.
const PASSES: usize = 20;

/// Distinguishes the processes of one worker, and of each of its runs, from all others.
///
/// It is in the environment of every attempt, and so in that of its descendants, including those
/// that left its process group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    /// The environment variable that carries it.
    pub const VARIABLE: &'static str = "DAGRUN_WORKER_MARK";

    /// A mark that no other worker has.
    #[must_use]
    pub fn random() -> Mark {
        let mut bytes = [0; 16];
        let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
        if read.is_err() {
            let unique = (std::process::id(), dagrun_disk::clock::now().0);
            return Mark(format!("{:x}-{:x}", unique.0, unique.1));
        }
        Mark(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The mark that [`Mark::as_str`] gave.
    #[must_use]
    pub fn from_text(text: &str) -> Mark {
        Mark(text.to_owned())
    }

    /// The mark as text: letters and digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of the variable in the processes of `run`.
    #[must_use]
    pub fn of_run(&self, run: RunId) -> OsString {
        format!("{}.{run}", self.0).into()
    }

    /// Kills every process that carries the mark (of one run, or of all), and waits until they have
    /// ended. Returns how many there were.
    pub fn kill_all(&self, run: Option<RunId>) -> usize {
        let mut needle = format!("{}={}.", Mark::VARIABLE, self.0).into_bytes();
        if let Some(run) = run {
            needle.extend_from_slice(format!("{run}\0").as_bytes());
        }
        let mut killed = 0;
        for _ in 0..PASSES {
            let found = kill_marked(&[&needle]);
            killed += found;
            if found == 0 {
                break;
            }
        }
        killed
    }
}

/// One search: kills what has a variable in its environment that begins with each of the needles. Returns
/// how many have ended by that.
pub(crate) fn kill_marked(needles: &[&[u8]]) -> usize {
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    let own = std::process::id();
    let mut dying = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid == own || !carries(pid, needles) {
            continue;
        }
        let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
        let Ok(pidfd) = rustix::process::pidfd_open(raw, PidfdFlags::empty()) else { continue };
        // Checked again, since the process id may have been reused in between.
        if carries(pid, needles) && rustix::process::pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
        {
            dying.push(pidfd);
        }
    }
    dying.iter().filter(|pidfd| wait_for(pidfd)).count()
}

/// Waits until a process that was killed has ended, for a second at most; returns whether it has.
pub(crate) fn wait_for(pidfd: &OwnedFd) -> bool {
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    let ended = rustix::event::poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&second));
    ended.is_ok_and(|ended| ended > 0)
}

/// Whether a process has a variable in its environment that begins with each of the needles.
pub(crate) fn carries(pid: u32, needles: &[&[u8]]) -> bool {
    let mut environ = Vec::new();
    // Processes of other users cannot be read and are not ours; zombies have no environment.
    let read = File::open(format!("/proc/{pid}/environ"))
        .and_then(|mut file| file.read_to_end(&mut environ));
    if read.is_err() {
        return false;
    }
    environ.push(0);
    let variables = environ.split_inclusive(|byte| *byte == 0);
    needles.iter().all(|needle| variables.clone().any(|variable| variable.starts_with(needle)))
}

/// The process groups that run now, one place per slot, in memory shared with the reaper.
///
/// Writing a number there costs one system call and wakes nobody.
#[derive(Debug)]
pub struct GroupTable {
    memory: OwnedFd,
}

impl GroupTable {
    /// An empty table.
    ///
    /// # Errors
    /// When the system provides no memory file.
    pub fn new() -> io::Result<GroupTable> {
        Ok(GroupTable { memory: rustix::fs::memfd_create("dagrun-groups", MemfdFlags::CLOEXEC)? })
    }

    /// The table behind this handle.
    pub(crate) fn of(memory: OwnedFd) -> GroupTable {
        GroupTable { memory }
    }

    /// A second handle on the same table.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn try_clone(&self) -> io::Result<OwnedFd> {
        self.memory.try_clone()
    }

    pub(crate) fn set(&self, slot: usize, group: Pid) {
        self.put(slot, group.as_raw_pid());
    }

    /// Call this before the group's leader is reaped, so that the table never holds a stale number.
    pub(crate) fn clear(&self, slot: usize) {
        self.put(slot, 0);
    }

    fn put(&self, slot: usize, group: i32) {
        let _ = rustix::io::pwrite(&self.memory, &group.to_le_bytes(), slot as u64 * 4);
    }

    /// The groups in the table behind this handle.
    pub(crate) fn read(memory: BorrowedFd<'_>) -> Vec<Pid> {
        let mut groups = Vec::new();
        let mut bytes = [0u8; 4096];
        let mut offset = 0;
        while let Ok(length @ 1..) = rustix::io::pread(memory.as_fd(), &mut bytes, offset) {
            offset += length as u64;
            let (numbers, _) = bytes[..length].as_chunks::<4>();
            groups.extend(numbers.iter().filter_map(|n| {
                let number = i32::from_le_bytes(*n);
                (number > 1).then(|| Pid::from_raw(number)).flatten()
            }));
        }
        groups
    }
}
