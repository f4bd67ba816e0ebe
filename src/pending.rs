//! Answers that are on their way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{BoxFuture, FutureExt};

use crate::Error;

/// An answer that is on its way.
///
/// It is a future, so that it can be awaited in any runtime; [`Pending::wait`] blocks for it instead. What was
/// asked for goes on whether or not anybody waits, with one exception: a call
/// ([`Client::call`](crate::Client::call)) is cancelled when its `Pending` is dropped before its value is
/// there, unless it was [detached](Pending::detach).
///
#[doc = crate::docs::double!(
    "use std::time::Duration;",
    "let answer = client.call(double, (21,));",
    "assert_eq!(answer.timeout(Duration::from_secs(60)).wait()?, 42);",
    "",
    "# futures::executor::block_on(async {",
    "// In an async function:",
    "assert_eq!(client.call(double, (4,)).await?, 8);",
    "# Ok::<(), dagrun::Error>(())",
    "# })?;",
)]
#[must_use = "does nothing for you unless waited for"]
pub struct Pending<T> {
    answer: BoxFuture<'static, Result<T, Error>>,
    /// Of a call: the way to say what becomes of it. Dropping it cancels the call.
    wish: Wish,
}

type Wish = Option<Mutex<Option<oneshot::Sender<Fate>>>>;

/// What becomes of a call besides that its value is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Cancelled,
    Detached,
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Pending<T> {
    pub(crate) fn new(answer: impl Future<Output = Result<T, Error>> + Send + 'static) -> Self {
        Pending { answer: answer.boxed(), wish: None }
    }

    pub(crate) fn failed(error: impl Into<Error>) -> Self {
        Pending::new(std::future::ready(Err(error.into())))
    }

    /// The answer of a call, which listens at the other end of `wish`.
    pub(crate) fn with(self, wish: oneshot::Sender<Fate>) -> Self {
        Pending { wish: Some(Mutex::new(Some(wish))), ..self }
    }

    pub(crate) fn map<U: Send + 'static>(
        self,
        then: impl FnOnce(T) -> Result<U, Error> + Send + 'static,
    ) -> Pending<U> {
        let Pending { answer, wish } = self;
        Pending { wish, ..Pending::new(async move { then(answer.await?) }) }
    }

    /// Blocks until the answer is there.
    ///
    /// # Errors
    /// As those of the call that gave it.
    pub fn wait(mut self) -> Result<T, Error> {
        block_on(&mut self.answer)
    }

    /// The same answer, or [`Error::Timeout`] when it takes longer than this, counted from now. A call that is
    /// not waited for any longer is cancelled.
    pub fn timeout(self, limit: Duration) -> Pending<T> {
        let Pending { answer, wish } = self;
        // A timer of its own: no runtime need be there where this is awaited.
        let late = futures_timer::Delay::new(limit);
        let answer = async move {
            match futures::future::select(answer, late).await {
                futures::future::Either::Left((answer, _)) => answer,
                futures::future::Either::Right(_) => Err(Error::Timeout(limit)),
            }
        };
        Pending { wish, ..Pending::new(answer) }
    }

    /// Does not wait, and lets a call go on.
    ///
    #[doc = crate::docs::double!(
        "client.call(double, (21,)).detach();",
        "# let last = || client.runs(1).wait();",
        "# while last()?.iter().all(|run| run.finished.is_none()) {}",
        "# assert_eq!(last()?[0].state, dagrun::RunState::Succeeded);",
    )]
    pub fn detach(self) {
        self.decide(Fate::Detached);
    }

    /// Cancels a call, whose answer is then [`Error::Failed`] unless its value was there already. Other
    /// answers are only not waited for: what they are about has a `cancel` of its own.
    ///
    #[doc = crate::docs::double!(
        "let answer = client.call(double, (21,));",
        "answer.cancel();",
        "match answer.wait() {",
        "    Ok(value) => assert_eq!(value, 42), // It was as fast.",
        "    Err(dagrun::Error::Failed(failed)) => assert_eq!(failed.state, dagrun::State::Cancelled),",
        "    Err(error) => return Err(error),",
        "}",
    )]
    pub fn cancel(&self) {
        self.decide(Fate::Cancelled);
    }

    fn decide(&self, fate: Fate) {
        let Some(wish) = &self.wish else { return };
        if let Some(wish) = wish.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Who does not listen any more has the value.
            let _ = wish.send(fate);
        }
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
/// executors as well. The session that answers has a thread of its own.
pub(crate) fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
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
