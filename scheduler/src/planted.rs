//! Faults that are planted to see that the simulator finds them.

use std::cell::Cell;

/// A fault in the product itself, to see that the simulator finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Workers place outputs whatever their lease, and nobody moves them away before.
    StaleAttempts,
    /// The marks of leases are ignored.
    NumbersTwice,
    /// Places in a journal that is gone on with begin at 0.
    SequenceRestarts,
}

thread_local! {
    static PLANTED: Cell<Option<Planted>> = const { Cell::new(None) };
}

/// Plants a fault on this thread, or none.
pub fn plant(planted: Option<Planted>) {
    PLANTED.set(planted);
}

pub(crate) fn is_planted(planted: Planted) -> bool {
    PLANTED.get() == Some(planted)
}
