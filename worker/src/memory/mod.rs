//! How much memory attempts use, compared with what they asked for; and whether memory ran out while one
//! was running.
//!
//! What is shared is counted once among the processes of an attempt, and files that are mapped do not
//! count, as the system takes their pages back by itself. Looking costs nothing before an attempt has run
//! for a while.

mod left;
mod oom;
mod processes;

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dagrun_core::ids::{RunId, TaskId};
use dagrun_core::offer::amount_of_memory;
use rustix::process::Pid;

pub(crate) use self::left::{Left, limit_files, of_meminfo};
use self::oom::OomKills;
use self::processes::{Processes, used, used_alone};

/// When an attempt is looked at first.
const FIRST: Duration = Duration::from_millis(100);
/// How often it is looked at, at most and at least.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);
/// Bytes that a process can make its own in a second, roughly.
const FASTEST: u64 = 4 << 30;
/// No more than this part of the time is spent on looking.
const COST: u32 = 20;

/// What all attempts of a worker share.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// Whether what uses too much is ended. If not, it is noted once for each task.
    enforce: bool,
    processes: Processes,
    kills: OomKills,
    noted: Mutex<HashSet<(RunId, TaskId)>>,
}

impl Gauge {
    pub(crate) fn new(enforce: bool) -> Gauge {
        Gauge { enforce, ..Gauge::default() }
    }

    /// Forgets what was noted of a run.
    pub(crate) fn forget(&self, run: RunId) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.retain(|(of, _)| *of != run);
    }

    /// A meter for an attempt that begins now and asks for so many bytes; zero: for none.
    pub(crate) fn meter(&self, run: RunId, task: TaskId, asked: u64) -> Meter<'_> {
        let begun = Instant::now();
        let due = (asked > 0).then_some(begun + FIRST);
        let kills = self.kills.before(begun);
        Meter { gauge: self, of: (run, task), asked, begun, due, kills }
    }
}

/// What is found about an attempt that uses more than it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// It is to be ended, for this reason.
    End(String),
    /// It is to be noted.
    Note(String),
}

/// The memory of one attempt.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    gauge: &'a Gauge,
    of: (RunId, TaskId),
    asked: u64,
    begun: Instant,
    due: Option<Instant>,
    /// How many processes had been killed for memory before.
    kills: u64,
}

impl Meter<'_> {
    /// When it is to be looked at.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Looks whether the processes of a group, and what descends from them, use more than was asked for.
    pub(crate) fn look(&mut self, group: Pid) -> Option<Excess> {
        let now = Instant::now();
        let members = self.gauge.processes.members(group, now);
        let mut bytes: u64 = members.iter().map(|pid| used_alone(*pid)).sum();
        if bytes > self.asked {
            // That counts what they share as often as they share it.
            let members = self.gauge.processes.members(group, Instant::now() + LONGEST);
            bytes = members.iter().map(|pid| used(*pid)).sum();
        }
        let cost = now.elapsed();
        self.due = Some(Instant::now() + self.pause(bytes, cost));
        if bytes <= self.asked {
            return None;
        }
        let (used, asked) = (amount_of_memory(bytes), amount_of_memory(self.asked));
        let reason = format!("used {used}, asked for {asked}");
        self.due = None;
        if self.gauge.enforce {
            return Some(Excess::End(reason));
        }
        let mut noted = self.gauge.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.insert(self.of).then_some(Excess::Note(reason))
    }

    /// How long it cannot use more than was asked for, while so much is used.
    fn pause(&self, used: u64, cost: Duration) -> Duration {
        let left = self.asked.saturating_sub(used);
        let soonest = Duration::from_micros(left.saturating_mul(1_000_000) / FASTEST);
        // What has run for long is looked at less often.
        let seldom = (self.begun.elapsed() / COST).max(SHORTEST);
        soonest.max(seldom).max(cost * COST).min(LONGEST.max(cost * COST))
    }

    /// Why an attempt that SIGKILL ended was out of memory, if it was: the system has killed for memory
    /// since it began.
    pub(crate) fn killed(&self) -> Option<String> {
        (self.gauge.kills.now() > self.kills).then(|| {
            let asked = match self.asked {
                0 => String::new(),
                asked => format!("; it asked for {}", amount_of_memory(asked)),
            };
            format!("killed by the system, which was out of memory{asked}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(gauge: &Gauge, asked: u64) -> Meter<'_> {
        gauge.meter(RunId(1), TaskId(0), asked)
    }

    fn own_group() -> Pid {
        rustix::process::getpgrp()
    }

    #[test]
    fn what_asks_for_nothing_is_never_looked_at() {
        let gauge = Gauge::new(true);
        assert_eq!(meter(&gauge, 0).due(), None);
        assert!(meter(&gauge, 1).due().is_some());
    }

    #[test]
    fn this_process_uses_more_than_a_byte_and_less_than_a_terabyte() {
        let gauge = Gauge::new(true);
        let excess = meter(&gauge, 1).look(own_group());
        let Some(Excess::End(reason)) = excess else { panic!("{excess:?}") };
        assert!(reason.starts_with("used ") && reason.ends_with(", asked for 1 bytes"), "{reason}");
        let mut enough = meter(&gauge, 1 << 40);
        assert_eq!(enough.look(own_group()), None);
        assert!(enough.due().is_some(), "it is looked at again");
    }

    #[test]
    fn what_is_not_enforced_is_noted_once_for_each_task() {
        let gauge = Gauge::new(false);
        let first = meter(&gauge, 1).look(own_group());
        assert!(matches!(first, Some(Excess::Note(_))), "{first:?}");
        assert_eq!(meter(&gauge, 1).look(own_group()), None);
        let of_other = gauge.meter(RunId(1), TaskId(1), 1).look(own_group());
        assert!(matches!(of_other, Some(Excess::Note(_))), "{of_other:?}");
    }

    #[test]
    fn the_nearer_the_limit_the_sooner_it_is_looked_at_again() {
        let gauge = Gauge::new(true);
        let meter = meter(&gauge, 8 << 30);
        let soon = meter.pause((8 << 30) - 1, Duration::ZERO);
        let late = meter.pause(1 << 30, Duration::ZERO);
        assert_eq!((soon, late), (SHORTEST, LONGEST));
        assert_eq!(meter.pause(0, Duration::from_secs(1)), Duration::from_secs(20));
    }
}
