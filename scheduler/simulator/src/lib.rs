//! A simulator of a whole cluster: the scheduler's machine, workers, clients and the journal, on simulated
//! time and a network that delays, cuts and loses; any of them is killed, paused and started again at any
//! point. After each run the promises of `docs/reliability.md` are checked.
//!
//! Everything follows from a seed: the same seed gives the same run. The machines are those of the product
//! (`dagrun_scheduler::simulated`, `dagrun_worker::simulated`); their hosts, which add clocks, disks, sockets
//! and processes, are played here.

mod faults;
mod oracle;
mod program;
mod random;
mod shrink;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use dagrun_scheduler::simulated::Planted;
pub use shrink::{Smallest, shrink};

/// What to simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Everything random follows from it.
    pub seed: u64,
    /// No more faults than this.
    pub most_faults: usize,
    /// No more tasks than this.
    pub most_tasks: usize,
    /// No more workers than this.
    pub most_workers: usize,
    /// A fault in the product itself, which is to be found.
    pub planted: Option<Planted>,
    /// Whether to print what happens.
    pub trace: bool,
}

impl Options {
    /// All that a seed has.
    #[must_use]
    pub fn of(seed: u64) -> Options {
        let (most_faults, most_tasks, most_workers) = (usize::MAX, usize::MAX, usize::MAX);
        Options { seed, most_faults, most_tasks, most_workers, planted: None, trace: false }
    }
}

/// What happened in a run that kept all promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Events that were processed.
    pub events: u64,
    /// Faults that happened.
    pub faults: u64,
    /// Attempts that began.
    pub attempts: u64,
    /// Microseconds of simulated time.
    pub time: u64,
    /// Attempts that ran on while the scheduler was replaced.
    pub survived: u64,
}

/// Runs a seed.
///
/// # Errors
/// Which promise was broken.
pub fn run(options: Options) -> Result<Seen, String> {
    dagrun_scheduler::simulated::plant(options.planted);
    let run = AssertUnwindSafe(|| world::World::new(options).run());
    let result = catch_unwind(run);
    dagrun_scheduler::simulated::plant(None);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "a panic without words".to_owned())
    })
}

/// Keeps panics from being printed: they are results here.
pub fn quiet() {
    std::panic::set_hook(Box::new(|_| {}));
}
