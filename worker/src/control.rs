//! How others reach into a running attempt: one [`Control`] per slot, reused by its attempts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use dagrun_core::ids::Timestamp;
use rustix::event::EventfdFlags;

/// Why a running attempt has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stop {
    /// Somebody cancelled it.
    Cancel = 1,
    /// Its worker is going away.
    Leave = 2,
}

/// Stops a running attempt from another thread, and tells since when it runs.
#[derive(Debug)]
pub struct Control {
    wake: OwnedFd,
    stop: AtomicU8,
    started: AtomicU64,
}

impl Control {
    /// A control that no attempt uses yet.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn new() -> std::io::Result<Control> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Control { wake, stop: AtomicU8::new(0), started: AtomicU64::new(0) })
    }

    /// Makes the attempt end; it is woken at once. The first reason stays.
    pub fn stop(&self, why: Stop) {
        let _ = self.stop.compare_exchange(0, why as u8, Ordering::AcqRel, Ordering::Acquire);
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Whether and why the attempt has to end.
    #[must_use]
    pub fn stopped(&self) -> Option<Stop> {
        match self.stop.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Stop::Cancel),
            _ => Some(Stop::Leave),
        }
    }

    /// When the attempt's process was started; `None` before that.
    #[must_use]
    pub fn started(&self) -> Option<Timestamp> {
        let at = self.started.load(Ordering::Acquire);
        (at != 0).then_some(Timestamp(at))
    }

    pub(crate) fn set_started(&self, at: Timestamp) {
        self.started.store(at.0, Ordering::Release);
    }

    /// Makes it fresh for the next attempt. The caller sees to it that nobody stops the former one
    /// any more.
    pub(crate) fn reset(&self) {
        self.started.store(0, Ordering::Release);
        if self.stop.swap(0, Ordering::AcqRel) != 0 {
            let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
        }
    }

    /// Readable once the attempt has to end.
    pub(crate) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
