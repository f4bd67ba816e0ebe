//! Attempts that occupy no slot: each is a process with a thread of its own, which starts at once
//! whatever the slots are busy with.

use std::io;
use std::sync::Arc;
use std::thread;

use dagrun_core::ids::AttemptId;

use super::{Shared, Work, work_off};
use crate::attempt::{Ended, Fault};
use crate::control::Control;

/// Starts all attempts of a work. One for which the machine has no thread or descriptor is reported
/// as refused.
pub(super) fn start(shared: &Arc<Shared>, work: &Arc<Work>) {
    for offset in 0..work.assignment.count {
        if let Err(error) = start_one(shared, work, offset) {
            let attempt = work.assignment.first_attempt.0.wrapping_add(u64::from(offset));
            let Fault(outcome, reason) =
                Fault::system(&error, format!("cannot start it beside the slots: {error}"));
            shared.report(AttemptId(attempt), Ended::without_start(outcome, reason));
        }
    }
}

fn start_one(shared: &Arc<Shared>, work: &Arc<Work>, offset: u32) -> io::Result<()> {
    let control = Arc::new(Control::new()?);
    // Known before it has a thread: a cancel may be on its way.
    let taken = shared.lock().beside(work.clone(), offset, control);
    let (of_thread, attempt) = (shared.clone(), taken.clone());
    let thread = thread::Builder::new().name(format!("beside-{}", taken.place));
    match thread.spawn(move || work_off(&of_thread, attempt)) {
        Ok(_) => Ok(()),
        Err(error) => {
            shared.lock().vacate(&taken);
            Err(error)
        }
    }
}
