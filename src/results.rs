//! The values of a run as they come: one by one, in index order or as they end.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use dagrun_core::ids::TaskId;
use dagrun_core::payload;
use dagrun_core::status::{InstanceResult, State};
use futures::Stream;
use serde::de::DeserializeOwned;

use crate::dag::TaskRef;
use crate::error::Failed;
use crate::pending::block_on;
use crate::run::Run;
use crate::watch::Watched;
use crate::{Error, Pending};

/// The value of one instance, when it has ended.
pub(crate) async fn fetch<T: DeserializeOwned + 'static>(
    watched: &Watched,
    task: TaskId,
    index: u32,
) -> Result<T, Error> {
    let result = watched.result(task, index).await?;
    decode(watched, task, result).await
}

/// The value that a result holds or refers to.
pub(crate) async fn decode<T: DeserializeOwned + 'static>(
    watched: &Watched,
    task: TaskId,
    result: InstanceResult,
) -> Result<T, Error> {
    let InstanceResult { row, value, detail, .. } = result;
    let name = watched.name(task)?;
    if row.state != State::Succeeded {
        let death = match &watched.deaths {
            Some(deaths) => deaths.why(&row).await,
            None => None,
        };
        let failed = Failed::new(name, watched.is_one(task), row, &detail, death.as_ref());
        return Err(Box::new(failed).into());
    }
    let index = row.instance.index;
    let payload = match value {
        Some(payload) if payload::stored(&payload).is_some() => {
            Bytes::from(watched.run.value(name, index).await?)
        }
        // A command that captures nothing is a `()`.
        payload => Bytes::from(payload.unwrap_or_else(|| b"null".to_vec())),
    };
    payload::decode(&payload).map_err(|source| {
        let found = shown(&payload);
        let instance = match watched.is_one(task) {
            true => name.to_owned(),
            false => format!("{name}[{index}]"),
        };
        Error::Value { instance, found, source }
    })
}

/// A value for people: its beginning as JSON, or how long it is.
fn shown(payload: &[u8]) -> String {
    /// Characters that are shown.
    const MOST: usize = 60;
    let text = payload::to_json(payload).ok();
    let text = text.and_then(|json| String::from_utf8(json.into_owned()).ok());
    match text {
        Some(text) if text.chars().count() > MOST => {
            format!("`{}…`", text.chars().take(MOST).collect::<String>())
        }
        Some(text) => format!("`{text}`"),
        None => format!("{} bytes", payload.len()),
    }
}

/// Values that came together, each with its index.
type Page<T> = Vec<(u32, Result<T, Error>)>;

/// The values of an array, in index order. See [`Run::iter`].
///
/// It blocks as an iterator; as a [`Stream`] it does not.
///
#[doc = crate::docs::squares!(
    "use futures::StreamExt;",
    "let values = futures::executor::block_on(StreamExt::collect::<Vec<_>>(run.iter(&squares)));",
    "let values: Vec<u64> = values.into_iter().collect::<Result<_, _>>()?;",
    "assert_eq!(values, [0, 1, 4, 9, 16]);",
)]
pub struct Results<T> {
    run: Run,
    task: TaskRef,
    completed: bool,
    taken: usize,
    buffer: VecDeque<(u32, Result<T, Error>)>,
    next: Option<Pending<Page<T>>>,
    over: bool,
    of: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Results<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Results").field("run", &self.run.id()).field("taken", &self.taken).finish()
    }
}

impl<T: DeserializeOwned + Send + 'static> Results<T> {
    pub(crate) fn new(run: Run, task: TaskRef, completed: bool) -> Results<T> {
        let (buffer, next) = (VecDeque::new(), None);
        Results { run, task, completed, taken: 0, buffer, next, over: false, of: PhantomData }
    }

    /// Asks for more.
    fn more(&self) -> Pending<Page<T>> {
        let (taken, completed) = (self.taken, self.completed);
        self.run.ask_of(&self.task, move |watched, task| async move {
            let first = u32::try_from(taken).unwrap_or(u32::MAX);
            let results = match completed {
                true => watched.as_completed(task, taken).await?,
                false => watched.in_order(task, first).await?,
            };
            let mut values = Vec::with_capacity(results.len());
            for result in results {
                let index = result.row.instance.index;
                values.push((index, decode(&watched, task, result).await));
            }
            Ok(values)
        })
    }

    fn take_in(&mut self, more: Result<Page<T>, Error>) {
        match more {
            Ok(more) => {
                self.over |= more.is_empty();
                self.taken += more.len();
                self.buffer.extend(more);
            }
            Err(error) => {
                self.over = true;
                self.buffer.push_back((u32::MAX, Err(error)));
            }
        }
    }

    pub(crate) fn polled(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<(u32, Result<T, Error>)>> {
        loop {
            if let Some(next) = self.buffer.pop_front() {
                return Poll::Ready(Some(next));
            }
            if self.over {
                return Poll::Ready(None);
            }
            let mut pending = self.next.take().unwrap_or_else(|| self.more());
            match Pin::new(&mut pending).poll(context) {
                Poll::Ready(more) => self.take_in(more),
                Poll::Pending => {
                    self.next = Some(pending);
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<T: DeserializeOwned + Send + 'static> Iterator for Results<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on(poll_fn(|context| self.polled(context))).map(|(_, value)| value)
    }
}

impl<T: DeserializeOwned + Send + 'static> Stream for Results<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.polled(context).map(|next| next.map(|(_, value)| value))
    }
}

impl<T> Unpin for Results<T> {}

/// The values of an array in the order in which they come. See [`Run::iter_completed`].
///
/// It blocks as an iterator; as a [`Stream`] it does not.
///
#[doc = crate::docs::squares!(
    "let (index, value) = run.iter_completed(&squares).next().unwrap();",
    "assert_eq!(value?, u64::from(index).pow(2));",
)]
#[derive(Debug)]
pub struct Completed<T>(pub(crate) Results<T>);

impl<T: DeserializeOwned + Send + 'static> Iterator for Completed<T> {
    type Item = (u32, Result<T, Error>);

    fn next(&mut self) -> Option<Self::Item> {
        block_on(poll_fn(|context| self.0.polled(context)))
    }
}

impl<T: DeserializeOwned + Send + 'static> Stream for Completed<T> {
    type Item = (u32, Result<T, Error>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.polled(context)
    }
}
