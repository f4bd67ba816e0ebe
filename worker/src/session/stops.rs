//! Requests to end, and the time that what runs has left after one.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::LOOK;
use crate::slots::Slots;

/// What makes a worker end.
pub(super) struct Stops {
    pub(super) received: mpsc::UnboundedReceiver<()>,
    /// Until when what runs may go on, once it was asked to end.
    pub(super) leaving: Option<Instant>,
    pub(super) drain: Duration,
}

pub(super) enum Leaving {
    Begins,
    Ends,
}

impl Stops {
    /// The first request, or the end of everything that runs, of the time for it, or a second request.
    pub(super) async fn next(&mut self, slots: &Slots) -> Leaving {
        let Some(until) = self.leaving else {
            // Also when the handle was dropped.
            let _ = self.received.recv().await;
            self.leaving = Some(Instant::now() + self.drain);
            return match slots.running() > 0 && !self.drain.is_zero() {
                true => Leaving::Begins,
                false => Leaving::Ends,
            };
        };
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = self.received.recv() => return Leaving::Ends,
                () = tokio::time::sleep_until(until) => return Leaving::Ends,
                _ = look.tick() => if slots.running() == 0 {
                    return Leaving::Ends;
                },
            }
        }
    }
}
