//! Processes that outlive their parents: an attempt's that left its process group, and whatever a container
//! leaves to its first process.
//!
//! Where a program of dagrun's own asked for it, the system makes this process the parent of what its
//! descendants leave behind. So what is left of an attempt is found among its children, at the price of
//! reading one short file. In other programs nothing is adopted, and the system's list of processes is
//! searched instead, when an attempt took so long that it does not matter.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use crate::groups::{carries, kill_marked, wait_for};

/// Whether this process adopts what its descendants leave behind.
static ADOPTS: AtomicBool = AtomicBool::new(false);

/// The children that this process has started itself and will wait for. Those that the threads of slots
/// start need not be here: they are children of these threads.
static OWN: Mutex<Option<HashSet<i32>>> = Mutex::new(None);

/// How often what was adopted is looked at, until nothing is left to do: each time those that ended may
/// have left children.
const PASSES: usize = 50;

/// A search of all processes may take this part of the time that an attempt took.
const COST: u32 = 20;

/// Makes this process adopt what its descendants leave behind, where the system can do that; to be called
/// before any worker is started. For programs that are dagrun's own: others may have children of which
/// nothing is known here.
pub fn adopt() {
    // Children from before this program was started in this process are none of its business, nor is
    // what they may leave.
    let has_others = children().is_none_or(|children| !children.trim().is_empty());
    if has_others && std::process::id() != 1 {
        return;
    }
    let adopts = rustix::process::set_child_subreaper(Some(rustix::process::getpid())).is_ok();
    ADOPTS.store(adopts && children().is_some(), Ordering::Release);
}

/// As the first process of a container, reaps what others leave to it, for as long as it lives. Does
/// nothing in other processes.
pub fn serve_as_init() {
    const OFTEN: Duration = Duration::from_millis(500);
    if std::process::id() != 1 || children().is_none() {
        return;
    }
    let reap = || {
        loop {
            std::thread::sleep(OFTEN);
            reap_ended();
        }
    };
    // Without a thread for it, attempts still reap when they end.
    drop(std::thread::Builder::new().name("dagrun-init".into()).spawn(reap));
}

/// Notes a child that its starter will wait for.
pub(crate) fn own(pid: u32) {
    let Ok(pid) = i32::try_from(pid) else { return };
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    own.get_or_insert_default().insert(pid);
}

/// A child has been waited for.
pub(crate) fn disown(pid: u32) {
    let Ok(pid) = i32::try_from(pid) else { return };
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    own.get_or_insert_default().remove(&pid);
}

/// What tells the processes of an attempt from others.
pub(crate) struct Traces<'a> {
    /// Its process group, whose leader has been reaped.
    pub(crate) group: Pid,
    /// Variables that are all in their environment, each with its value.
    pub(crate) marks: [(&'a str, &'a OsStr); 2],
    /// How long it took.
    pub(crate) took: Duration,
    /// Whether no other attempt runs, so that what carries no mark is of this or an earlier one. Asked
    /// anew each time: one may have begun since.
    pub(crate) alone: &'a dyn Fn() -> bool,
}

impl Traces<'_> {
    fn needles(&self) -> [Vec<u8>; 2] {
        self.marks.map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat())
    }
}

/// Ends what an attempt has left behind.
pub(crate) fn end_of(traces: &Traces<'_>) {
    if ADOPTS.load(Ordering::Acquire) {
        end_adopted(traces);
    } else {
        search(traces);
    }
}

/// Searches all processes, unless that takes long compared with the attempt.
fn search(traces: &Traces<'_>) {
    /// What the last search took, in microseconds.
    static COSTS: AtomicU64 = AtomicU64::new(10_000);
    let cost = Duration::from_micros(COSTS.load(Ordering::Relaxed));
    if traces.took < cost * COST {
        return;
    }
    let begun = Instant::now();
    let needles = traces.needles();
    let needles = needles.each_ref().map(Vec::as_slice);
    let passes = (0..PASSES).take_while(|_| kill_marked(&needles) > 0).count();
    let took = begun.elapsed() / u32::try_from(passes + 1).unwrap_or(1);
    COSTS.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn end_adopted(traces: &Traces<'_>) {
    let needles = traces.needles();
    let needles = needles.each_ref().map(Vec::as_slice);
    end_those(&|pid, child| {
        child.group == traces.group.as_raw_pid()
            || u32::try_from(pid).is_ok_and(|pid| carries(pid, &needles))
            || (std::process::id() != 1 && (traces.alone)())
    });
}

/// Ends all that was adopted: nothing runs any more that it could belong to.
pub(crate) fn end_all() {
    if ADOPTS.load(Ordering::Acquire) && std::process::id() != 1 {
        end_those(&|_, _| true);
    }
}

/// Reaps those that have ended.
pub(crate) fn reap_ended() {
    if ADOPTS.load(Ordering::Acquire) || std::process::id() == 1 {
        let _ = look(&|_, _| false);
    }
}

/// Ends what is meant of that which was adopted, and what that leaves in turn.
fn end_those(is_meant: &dyn Fn(i32, &Child) -> bool) {
    for _ in 0..PASSES {
        let killed = look(is_meant);
        // What does not end now cannot be ended from here: it is not waited for once more.
        if killed.iter().filter(|pidfd| wait_for(pidfd)).count() == 0 {
            return;
        }
    }
}

/// Looks once at what was adopted: reaps what has ended, and kills what is meant. Returns what it killed.
fn look(is_meant: &dyn Fn(i32, &Child) -> bool) -> Vec<OwnedFd> {
    // Nobody else reaps them, so that none of their numbers can be another process's before the end of
    // this.
    static LOOKING: Mutex<()> = Mutex::new(());
    let _alone = LOOKING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut killed = Vec::new();
    for pid in adopted() {
        let (Some(child), Some(raw)) = (Child::of(pid), Pid::from_raw(pid)) else { continue };
        if child.ended {
            let _ = rustix::process::waitpid(Some(raw), WaitOptions::NOHANG);
        } else if is_meant(pid, &child)
            && let Ok(pidfd) = rustix::process::pidfd_open(raw, PidfdFlags::empty())
            && rustix::process::pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
        {
            killed.push(pidfd);
        }
    }
    killed
}

/// The children that this process did not start itself.
fn adopted() -> Vec<i32> {
    let children = children().unwrap_or_default();
    let children = children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
    let children: Vec<i32> = children.collect();
    if children.is_empty() {
        return children;
    }
    // After the list was read: who starts a child is in it before it is noted.
    let own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_own = |pid: &i32| own.as_ref().is_some_and(|own| own.contains(pid));
    children.into_iter().filter(|pid| !is_own(pid)).collect()
}

/// The children of the first thread, which is the one that adopts; `None` where the system does not
/// list them.
fn children() -> Option<String> {
    let pid = std::process::id();
    std::fs::read_to_string(format!("/proc/self/task/{pid}/children")).ok()
}

/// What a child is like.
struct Child {
    ended: bool,
    group: i32,
}

impl Child {
    fn of(pid: i32) -> Option<Child> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut words = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        let ended = matches!(words.next()?, "Z" | "X");
        Some(Child { ended, group: words.nth(1)?.parse().ok()? })
    }
}
