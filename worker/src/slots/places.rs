//! The places of attempts: for each a thread and a control, as far as the machine has them. Not how many
//! slots there are: an attempt may occupy several.

use std::io;
use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::control::Control;
use crate::descriptors;
use crate::function::STACK;

/// A control for each place: at most `most`, and no more than can have processes at the same time.
///
/// # Errors
/// When there is no file descriptor for the first.
pub(super) fn controls(most: usize) -> io::Result<Vec<Arc<Control>>> {
    let mut controls: Vec<Arc<Control>> = vec![Arc::new(Control::new()?)];
    while controls.len() < most {
        let Ok(control) = Control::new() else { break };
        if !descriptors::suffice(&control.wake(), controls.len() + 1) {
            break;
        }
        controls.push(Arc::new(control));
    }
    Ok(controls)
}

/// A pool with a single thread for each place: at most `most`.
///
/// # Errors
/// When the first cannot be started.
pub(super) fn pools(most: usize) -> Result<Vec<ThreadPool>, ThreadPoolBuildError> {
    let mut pools = vec![pool(0)?];
    while pools.len() < most {
        let Ok(pool) = pool(pools.len()) else {
            // Each attempt needs a process besides, and others need threads too.
            pools.truncate((pools.len() / 2).max(1));
            break;
        };
        pools.push(pool);
    }
    Ok(pools)
}

fn pool(at: usize) -> Result<ThreadPool, ThreadPoolBuildError> {
    let pool = ThreadPoolBuilder::new().num_threads(1).stack_size(STACK);
    pool.thread_name(move |_| format!("slot-{at}")).build()
}
