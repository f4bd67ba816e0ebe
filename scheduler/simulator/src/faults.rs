//! The faults of a seed: what happens to whom, and when. Each seed leaves some kinds of faults out, so that
//! what only shows without them shows too.

use crate::random::Random;

/// A second, in microseconds.
pub(crate) const SECOND: u64 = 1_000_000;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The scheduler is killed at any point between two writes, and started again after so long.
    KillScheduler(u64),
    /// The scheduler's process is stopped for so long.
    PauseScheduler(u64),
    /// A worker is killed; another one starts after so long.
    KillWorker(u64),
    /// The machine of a worker is gone, without a word; another one starts after so long.
    LoseMachine(u64),
    /// A worker's process is stopped for so long.
    PauseWorker(u64),
    /// A worker's line is cut.
    Cut,
    /// Nothing gets to a worker, or from it, for so long.
    Partition(u64),
    /// The scheduler's clock jumps by so many microseconds.
    Jump(i64),
    /// A worker is told to stop, and has so long for what runs; another one starts later.
    Leave(u64),
    /// Each commit takes up to so long, for a minute.
    SlowDisk(u64),
}

impl Fault {
    /// Whether no worker is lost by it, so that all that runs goes on.
    pub(crate) fn loses_nobody(self) -> bool {
        matches!(self, Fault::KillScheduler(_) | Fault::Cut | Fault::Jump(_) | Fault::SlowDisk(_))
    }
}

const KINDS: u64 = 10;

/// A fault, when it happens, and a number that says to whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    pub(crate) at: u64,
    pub(crate) fault: Fault,
    pub(crate) whom: u64,
}

/// The faults of a seed, in order, and when the last may happen.
pub(crate) fn planned(seed: u64, most: usize) -> (Vec<Planned>, u64) {
    let mut random = Random::new(seed, 3);
    let kinds: Vec<u64> = (0..KINDS).filter(|_| random.one_in(2)).collect();
    let until = random.pick(&[SECOND / 20, SECOND / 2, 3 * SECOND, 20 * SECOND, 120 * SECOND]);
    let count = random.below(16);
    let mut faults = Vec::new();
    for _ in 0..count {
        let at = random.below(until);
        // Short and long, but seldom in between.
        let short = random.within(1_000, SECOND);
        let long = random.within(SECOND, 90 * SECOND);
        let time = if random.one_in(2) { short } else { long };
        let whom = random.next();
        if kinds.is_empty() {
            continue;
        }
        let fault = match random.pick(&kinds) {
            0 => Fault::KillScheduler(time / 4),
            1 => Fault::PauseScheduler(time),
            2 => Fault::KillWorker(time),
            3 => Fault::LoseMachine(time),
            4 => Fault::PauseWorker(time),
            5 => Fault::Cut,
            6 => Fault::Partition(time),
            7 => {
                let by = i64::try_from(random.within(0, 20_000 * SECOND)).unwrap_or(0);
                Fault::Jump(by - 10_000_000_000)
            }
            8 => Fault::Leave(random.pick(&[0, SECOND, 20 * SECOND])),
            _ => Fault::SlowDisk(random.pick(&[SECOND / 10, SECOND, 5 * SECOND])),
        };
        faults.push(Planned { at, fault, whom });
    }
    faults.sort_by_key(|planned| planned.at);
    faults.truncate(most);
    (faults, until)
}
