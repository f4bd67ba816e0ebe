//! The options that all classic computations have.

use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

/// Where the plots go, how much runs at a time, and what the random numbers start from.
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// Computes little, in a second or so
    #[arg(long)]
    pub quick: bool,
    /// How many tasks run at the same time [default: the number of cores]
    #[arg(long, value_name = "N")]
    slots: Option<NonZero<usize>>,
    /// How many processes of this program they run in; with 0 they run in this one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub processes: u32,
    /// What all random numbers follow from
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The folder for plots
    #[arg(long, value_name = "DIR", default_value = "target/plots")]
    pub out: PathBuf,
}

impl Common {
    /// How many tasks run at the same time: at least one in each process.
    pub fn slots(&self) -> usize {
        self.slots_each() as usize * self.processes.max(1) as usize
    }

    /// How many of them run in each process.
    pub fn slots_each(&self) -> u32 {
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let slots = u32::try_from(self.slots.map_or_else(cores, NonZero::get));
        slots.unwrap_or(u32::MAX).div_ceil(self.processes.max(1))
    }

    /// The first number, or the second where little is to be computed.
    pub fn sized<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}
