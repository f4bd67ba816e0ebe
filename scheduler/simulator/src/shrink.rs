//! Makes a failing seed smaller: fewer faults, tasks and workers, as long as it fails.

use crate::{Options, run};

/// The smallest failing run that was found.
#[derive(Clone, Debug)]
pub struct Smallest {
    /// How to run it again.
    pub options: Options,
    /// Which promise it breaks.
    pub broken: String,
}

/// Searches for a smaller run than a failing one; `None` when it does not fail.
#[must_use]
pub fn shrink(options: Options) -> Option<Smallest> {
    let mut smallest = Smallest { options, broken: run(options).err()? };
    let fields: [fn(&mut Options) -> &mut usize; 3] = [
        |options| &mut options.most_tasks,
        |options| &mut options.most_workers,
        |options| &mut options.most_faults,
    ];
    for field in fields {
        for limit in 0..16 {
            let mut options = smallest.options;
            if *field(&mut options) <= limit {
                break;
            }
            *field(&mut options) = limit;
            if let Err(broken) = run(options) {
                smallest = Smallest { options, broken };
                break;
            }
        }
    }
    Some(smallest)
}
