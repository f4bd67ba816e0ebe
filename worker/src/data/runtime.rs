//! The thread on which all transfers of this process run, and how others wait for them.
//!
//! Slots are plain threads that block; a transfer needs a runtime. So there is one thread with a
//! runtime for all of them, started by the first transfer. A waiting caller sleeps in `poll` on the
//! end of the transfer and on what may stop it, so it can be called from anywhere, including other
//! runtimes.

use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use tokio::runtime::{Builder, Handle};

use super::{DataError, DataErrorKind, Patience};

/// The runtime; `None` when its thread could not be started.
fn runtime() -> Option<&'static Handle> {
    static RUNTIME: OnceLock<Option<Handle>> = OnceLock::new();
    RUNTIME.get_or_init(start).as_ref()
}

fn start() -> Option<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build().ok()?;
    let handle = runtime.handle().clone();
    let run = move || runtime.block_on(std::future::pending::<()>());
    std::thread::Builder::new().name("dagrun-data".into()).spawn(run).ok()?;
    Some(handle)
}

fn no_runtime(url: &str) -> DataError {
    DataError::new(url, DataErrorKind::File, "cannot start a thread for transfers")
}

/// Does the work on the transfers' thread. The work runs to its end even when nobody waits any
/// more.
pub(super) fn spawn<T: Send + 'static>(
    url: String,
    work: impl Future<Output = Result<T, DataError>> + Send + 'static,
) -> impl Future<Output = Result<T, DataError>> + Send + 'static {
    let task = runtime().map(|runtime| runtime.spawn(work));
    async move {
        let Some(task) = task else { return Err(no_runtime(&url)) };
        task.await.unwrap_or_else(|_| Err(broken(&url)))
    }
}

/// Waits for the work, which is cancelled when the patience runs out.
pub(super) fn wait<T: Send + 'static>(
    url: &str,
    patience: Patience<'_>,
    work: impl Future<Output = Result<T, DataError>> + Send + 'static,
) -> Result<T, DataError> {
    let runtime = runtime().ok_or_else(|| no_runtime(url))?;
    let (sender, result) = mpsc::channel();
    let done = Done::new(url)?;
    let guard = done.clone();
    let task = runtime.spawn(async move {
        // Notifies the caller also when the work panics.
        let _guard = guard;
        let _ = sender.send(work.await);
    });
    let waited = patience.until(&done.0, url);
    if waited.is_err() {
        task.abort();
    }
    waited.and_then(|()| result.try_recv().unwrap_or_else(|_| Err(broken(url))))
}

fn broken(url: &str) -> DataError {
    DataError::new(url, DataErrorKind::Refused, "the transfer broke down")
}

/// Becomes readable when a copy of it is dropped.
#[derive(Clone)]
struct Done(Arc<OwnedFd>);

impl Done {
    fn new(url: &str) -> Result<Done, DataError> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let done = rustix::event::eventfd(0, flags).map_err(|error| {
            DataError::new(url, DataErrorKind::File, format!("cannot wait for it: {error}"))
        })?;
        Ok(Done(Arc::new(done)))
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

impl Patience<'_> {
    fn until(&self, done: &OwnedFd, url: &str) -> Result<(), DataError> {
        loop {
            let left = self.deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let timeout = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            let wake = self.wake.unwrap_or(done.as_fd());
            let mut fds =
                [PollFd::new(done, PollFlags::IN), PollFd::from_borrowed_fd(wake, PollFlags::IN)];
            match rustix::event::poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => {
                    let reason = format!("cannot wait for it: {error}");
                    return Err(DataError::new(url, DataErrorKind::File, reason));
                }
            }
            if !fds[0].revents().is_empty() {
                return Ok(());
            }
            if !fds[1].revents().is_empty() {
                return Err(DataError::new(url, DataErrorKind::Stopped, "given up"));
            }
            if self.deadline.is_some_and(|at| at <= Instant::now()) {
                return Err(DataError::new(url, DataErrorKind::TimedOut, "timed out"));
            }
        }
    }
}
