//! Answers that are on their way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};

use crate::Error;

/// An answer that is on its way.
///
/// It is a future, so that it can be awaited in any runtime; [`Pending::wait`] blocks for it instead.
/// What it asks for goes on whether or not anybody waits; dropping it only means not to wait.
///
/// ```
/// # #[dagrun::task]
/// # fn double(x: u64) -> u64 {
/// #     2 * x
/// # }
/// # let cluster = dagrun::Cluster::builder().slots(1).start()?;
/// # let client = cluster.client();
/// use std::time::Duration;
/// let answer = client.submit(double, (21,))?;
/// assert_eq!(answer.timeout(Duration::from_secs(60)).wait()?, 42);
///
/// # futures::executor::block_on(async {
/// // In an async function:
/// assert_eq!(client.submit(double, (4,))?.await?, 8);
/// # Ok::<(), dagrun::Error>(())
/// # })?;
/// # Ok::<(), dagrun::Error>(())
/// ```
#[must_use = "does nothing for you unless waited for"]
pub struct Pending<T> {
    answer: BoxFuture<'static, Result<T, Error>>,
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Pending<T> {
    pub(crate) fn new(answer: impl Future<Output = Result<T, Error>> + Send + 'static) -> Self {
        Pending { answer: answer.boxed() }
    }

    pub(crate) fn map<U: Send + 'static>(
        self,
        then: impl FnOnce(T) -> Result<U, Error> + Send + 'static,
    ) -> Pending<U> {
        Pending::new(async move { then(self.answer.await?) })
    }

    /// Blocks until the answer is there.
    ///
    /// # Errors
    /// As those of the call that gave it.
    pub fn wait(self) -> Result<T, Error> {
        block_on(self.answer)
    }

    /// The same answer, or [`Error::Timeout`] when it takes longer than this, counted from now.
    pub fn timeout(self, limit: Duration) -> Pending<T> {
        // A timer of its own: no runtime need be there where this is awaited.
        let late = futures_timer::Delay::new(limit);
        Pending::new(async move {
            match futures::future::select(self.answer, late).await {
                futures::future::Either::Left((answer, _)) => answer,
                futures::future::Either::Right(_) => Err(Error::Timeout(limit)),
            }
        })
    }
}

/// A thread that waits for an answer.
struct Waiting {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Blocks this thread until the future is ready. Unlike the executor of `futures` it does so within other
/// executors as well: starting a run blocks for a moment, also in an async function. The session that
/// answers has a thread of its own.
fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let woken = AtomicBool::new(false);
    let waiting = Arc::new(Waiting { thread: std::thread::current(), woken });
    let waker = Waker::from(waiting.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(answer) = future.poll_unpin(&mut context) {
            return answer;
        }
        // Others may unpark this thread, or take the token of our waker.
        while !waiting.woken.swap(false, Ordering::Acquire) {
            std::thread::park();
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.answer.as_mut().poll(context)
    }
}
