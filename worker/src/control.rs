//! Controls a running attempt from other threads: one [`Control`] per slot, reused by its attempts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use dagrun_core::ids::Timestamp;
use rustix::event::EventfdFlags;

/// Why a running attempt has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stop {
    /// Somebody cancelled it.
    Cancel = 1,
    /// Its worker is shutting down.
    Leave = 2,
    /// It has exceeded its timeout. Used for functions only; the timeout of a process is checked
    /// where the process is watched.
    Timeout = 3,
}

/// Stops a running attempt from another thread, and shows when it started.
#[derive(Debug)]
pub struct Control {
    wake: OwnedFd,
    token: Arc<Token>,
    started: AtomicU64,
}

impl Control {
    /// A control that no attempt uses yet.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn new() -> std::io::Result<Control> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Control { wake, token: Arc::default(), started: AtomicU64::new(0) })
    }

    /// Makes the attempt end; it is woken at once. The first reason is kept.
    pub fn stop(&self, why: Stop) {
        self.token.stop(why);
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Whether and why the attempt has to end.
    #[must_use]
    pub fn stopped(&self) -> Option<Stop> {
        self.token.stopped()
    }

    /// When the attempt's process was started; `None` before that.
    #[must_use]
    pub fn started(&self) -> Option<Timestamp> {
        let at = self.started.load(Ordering::Acquire);
        (at != 0).then_some(Timestamp(at))
    }

    /// The part of it that a function sees.
    pub(crate) fn token(&self) -> &Arc<Token> {
        &self.token
    }

    pub(crate) fn set_started(&self, at: Timestamp) {
        self.started.store(at.0, Ordering::Release);
    }

    /// Resets it for the next attempt. The caller ensures that nobody stops the former attempt any
    /// more.
    pub(crate) fn reset(&self) {
        self.started.store(0, Ordering::Release);
        self.token.progress.store(0, Ordering::Release);
        if self.token.stop.swap(0, Ordering::AcqRel) != 0 {
            let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
        }
    }

    /// Readable once the attempt has to end.
    pub(crate) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// The part of a [`Control`] that the running function uses: it reads the stop reason and sets its
/// progress.
#[derive(Debug, Default)]
pub(crate) struct Token {
    stop: AtomicU8,
    /// The bits of a fraction, with [`SET`] and, until it is taken, [`FRESH`]; zero: none was set.
    progress: AtomicU64,
}

const SET: u64 = 1 << 32;
const FRESH: u64 = 1 << 33;

impl Token {
    fn stop(&self, why: Stop) {
        let _ = self.stop.compare_exchange(0, why as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn stopped(&self) -> Option<Stop> {
        match self.stop.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Stop::Cancel),
            2 => Some(Stop::Leave),
            _ => Some(Stop::Timeout),
        }
    }

    /// Sets the function's progress, clamped to the range from 0 to 1.
    pub(crate) fn set_progress(&self, fraction: f64) {
        let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) as f32 };
        self.progress.store(u64::from(fraction.to_bits()) | SET | FRESH, Ordering::Release);
    }

    /// The progress, if the function has set it since the last call.
    pub(crate) fn take_progress(&self) -> Option<f32> {
        let progress = self.progress.fetch_and(!FRESH, Ordering::AcqRel);
        // The low half is the fraction.
        (progress & FRESH != 0).then(|| f32::from_bits((progress & u64::from(u32::MAX)) as u32))
    }
}
