//! Functions called for each item of an iterator, a few items ahead of the values that are taken.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use dagrun_worker::function::TaskFn;
use futures::Stream;

use crate::client::Client;
use crate::dag::{ArrayHandle, Dag, MapSource};
use crate::pending::block_on;
use crate::results::Results;
use crate::run::Run;
use crate::{Error, Options, Pending};

/// Calls ahead for each slot, while calls take long.
const AHEAD: usize = 4;
/// Calls ahead at most, however short they are.
const MOST: usize = 16_384;
/// A batch whose values were all taken within this time was too small to keep the slots busy.
const SHORT: Duration = Duration::from_millis(50);
/// One that took this long is far too small: a map of short calls is not to spend its time growing.
const VERY_SHORT: Duration = Duration::from_millis(12);

/// The values of a map, in the order of its items: an iterator, which blocks for each, and a [`Stream`],
/// which does not. Dropping it cancels the calls whose values were not taken. See [`Client::map`].
pub struct Mapped<F: TaskFn, I> {
    client: Client,
    workers: Option<Arc<[String]>>,
    function: F,
    items: I,
    window: Window,
    outstanding: usize,
    batches: VecDeque<Batch<F::Output>>,
    /// There are no more items, or what follows an error is not wanted.
    over: bool,
}

/// How many items may have been taken whose values have not.
enum Window {
    /// As many as the caller said.
    Given(usize),
    /// A few for each slot, more while calls are short.
    Grown(usize),
    /// The number of slots has been asked for.
    Asked(Pending<usize>),
}

/// Items that are one run.
struct Batch<T> {
    state: BatchState<T>,
    begun: Instant,
    /// Items whose values have not been taken.
    left: usize,
}

enum BatchState<T> {
    Starting(Pending<(Mine, Results<T>)>),
    Refused(Option<Error>),
    Running(Mine, Results<T>),
}

/// A run that nobody else knows: dropped before it is done with, it is cancelled.
struct Mine(Option<Run>);

impl Drop for Mine {
    fn drop(&mut self) {
        if let Some(run) = &self.0 {
            drop(run.cancel());
        }
    }
}

impl<F: TaskFn, I> std::fmt::Debug for Mapped<F, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outstanding = self.outstanding;
        f.debug_struct("Mapped").field("outstanding", &outstanding).finish_non_exhaustive()
    }
}

impl<F, I> Mapped<F, I>
where
    F: TaskFn,
    I: Iterator,
    Vec<I::Item>: MapSource<F::Args>,
{
    pub(crate) fn new(
        client: Client,
        workers: Option<Arc<[String]>>,
        function: F,
        items: I,
    ) -> Mapped<F, I> {
        let among = workers.clone();
        let slots = client.workers().map(move |present| {
            let counts =
                present.iter().filter(|it| among.as_ref().is_none_or(|a| a.contains(&it.name)));
            Ok(counts.map(|worker| worker.offer.slots as usize).sum())
        });
        let (window, batches) = (Window::Asked(slots), VecDeque::new());
        Mapped { client, workers, function, items, window, outstanding: 0, batches, over: false }
    }

    /// At most so many items have been taken whose values have not. Without it these are a few for each
    /// slot, and more while calls are so short that waiting for the next would leave slots idle.
    #[must_use]
    pub fn max_outstanding(mut self, calls: usize) -> Self {
        self.window = Window::Given(calls.max(1));
        self
    }

    /// Takes as many items as fit into the window. Their runs are submitted one after another, so that they are
    /// taken up in the order of the items.
    fn fill(&mut self, window: usize, context: &mut Context<'_>) {
        loop {
            if let Some(Batch { state, .. }) = self.batches.back_mut()
                && let BatchState::Starting(starting) = state
            {
                *state = match Pin::new(starting).poll(context) {
                    Poll::Pending => return,
                    Poll::Ready(Ok((mine, results))) => BatchState::Running(mine, results),
                    Poll::Ready(Err(error)) => {
                        self.over = true;
                        BatchState::Refused(Some(error))
                    }
                };
            }
            // A few large runs rather than many small ones; the others keep the slots busy.
            let batch = window.div_ceil(4);
            if self.over || self.outstanding + batch > window {
                return;
            }
            let items: Vec<I::Item> = self.items.by_ref().take(batch).collect();
            self.over = items.len() < batch;
            if !items.is_empty() {
                self.submit(items);
            }
        }
    }

    fn submit(&mut self, items: Vec<I::Item>) {
        let left = items.len();
        let dag = Dag::new(F::NAME);
        let mut array: ArrayHandle<F::Output> = dag.map(self.function, items);
        if let Some(workers) = &self.workers {
            array = array.targets(workers.iter().map(String::as_str));
        }
        let started = move |run: Run| {
            let results = run.iter(&array);
            (Mine(Some(run)), results)
        };
        let starting = self.client.submitting(&dag, &Options::default(), started);
        self.outstanding += left;
        self.batches.push_back(Batch {
            state: BatchState::Starting(starting),
            begun: Instant::now(),
            left,
        });
    }

    fn polled(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<F::Output, Error>>> {
        loop {
            let window = match &mut self.window {
                Window::Given(calls) | Window::Grown(calls) => *calls,
                Window::Asked(slots) => match ready!(Pin::new(slots).poll(context)) {
                    Ok(slots) => {
                        self.window = Window::Grown(AHEAD * slots.max(1));
                        continue;
                    }
                    Err(error) => {
                        self.window = Window::Given(1);
                        self.over = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
            };
            self.fill(window, context);
            let Some(batch) = self.batches.front_mut() else { return Poll::Ready(None) };
            match &mut batch.state {
                BatchState::Starting(_) => return Poll::Pending,
                BatchState::Refused(error) => {
                    let error = error.take();
                    self.next_batch();
                    return Poll::Ready(error.map(Err));
                }
                BatchState::Running(mine, results) => match ready!(results.polled(context)) {
                    Some((_, value)) => {
                        batch.left = batch.left.saturating_sub(1);
                        self.outstanding = self.outstanding.saturating_sub(1);
                        return Poll::Ready(Some(value));
                    }
                    None => {
                        mine.0 = None;
                        self.next_batch();
                    }
                },
            }
        }
    }

    fn next_batch(&mut self) {
        let Some(batch) = self.batches.pop_front() else { return };
        self.outstanding = self.outstanding.saturating_sub(batch.left);
        if let Window::Grown(calls) = &mut self.window {
            let factor = match batch.begun.elapsed() {
                taken if taken < VERY_SHORT => 4,
                taken if taken < SHORT => 2,
                _ => 1,
            };
            *calls = (*calls * factor).min(MOST);
        }
    }
}

impl<F, I> Iterator for Mapped<F, I>
where
    F: TaskFn,
    I: Iterator,
    Vec<I::Item>: MapSource<F::Args>,
{
    type Item = Result<F::Output, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on(std::future::poll_fn(|context| self.polled(context)))
    }
}

impl<F, I> Stream for Mapped<F, I>
where
    F: TaskFn,
    I: Iterator,
    Vec<I::Item>: MapSource<F::Args>,
{
    type Item = Result<F::Output, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.polled(context)
    }
}

impl<F: TaskFn, I> Unpin for Mapped<F, I> {}
