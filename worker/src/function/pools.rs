//! Rayon pools for functions that occupy several slots.
//!
//! Each slot is a pool of one thread, so a function's use of rayon stays on that thread. In a pool
//! shared by all slots, a function that waits for its own parts would run another attempt
//! meanwhile, and both would end late. A function that occupies *k* slots runs in a pool of *k*
//! threads that is its own while it runs. Creating one takes a tenth of a millisecond, so they are
//! kept by width; there are never more of them than attempts that ran at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use super::panics::{self, Recorder};

/// The stack of a slot's thread: that of a main thread, since functions run on it.
pub(crate) const STACK: usize = 8 << 20;

/// A pool that one attempt uses at a time.
#[derive(Debug)]
pub(super) struct Wide {
    pub(super) pool: ThreadPool,
    /// The panics of all its threads.
    pub(super) recorder: Arc<Recorder>,
}

/// The pools that no attempt uses.
#[derive(Debug, Default)]
pub(super) struct Pools(Mutex<HashMap<usize, Vec<Wide>>>);

impl Pools {
    /// A pool of `width` threads that nobody else uses, to be given back.
    pub(super) fn take(&self, width: usize) -> Result<Wide, ThreadPoolBuildError> {
        if let Some(wide) = self.lock().get_mut(&width).and_then(Vec::pop) {
            return Ok(wide);
        }
        let recorder = Arc::<Recorder>::default();
        let of_threads = recorder.clone();
        let pool = ThreadPoolBuilder::new()
            .num_threads(width)
            .stack_size(STACK)
            .thread_name(move |at| format!("slot-{at}-of-{width}"))
            .start_handler(move |_| panics::record_always(&of_threads))
            .build()?;
        Ok(Wide { pool, recorder })
    }

    /// Keeps it for the next attempt of this width.
    pub(super) fn give_back(&self, width: usize, wide: Wide) {
        self.lock().entry(width).or_default().push(wide);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Vec<Wide>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
