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
    /// What all random numbers follow from
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The folder for plots
    #[arg(long, value_name = "DIR", default_value = "target/plots")]
    pub out: PathBuf,
}

impl Common {
    /// How many tasks run at the same time.
    pub fn slots(&self) -> usize {
        self.slots
            .map_or_else(|| thread::available_parallelism().map_or(1, NonZero::get), NonZero::get)
    }

    /// The first number, or the second where little is to be computed.
    pub fn sized<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}
