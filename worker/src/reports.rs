//! Sends reports to the scheduler: at once while the connection is idle, and in batches while it is
//! busy.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dagrun_core::engine::Report;
use dagrun_core::ids::Timestamp;
use dagrun_schema::dagrun_capnp::session;
use dagrun_schema::wire;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::runs::Runs;
use crate::slots::Slots;
use dagrun_disk::clock;

/// Reports in a call at most.
const BATCH: usize = 256;
/// Bytes of details in a call at most, unless one report alone has more.
const BATCH_BYTES: usize = 4 << 20;
/// Calls under way at most.
const CALLS: u32 = 4;
/// While the slots have plenty to do, few reports wait this long for more: this delays nobody, and
/// each message takes time from the attempts.
const GATHER: Duration = Duration::from_millis(2);
/// This many reports do not wait for more.
const ENOUGH: usize = 32;
/// How often to look for running attempts that the scheduler does not yet know to run.
const LOOK: Duration = Duration::from_millis(50);
/// How long an attempt must have run before its start is reported, in microseconds. People see no
/// difference, and a report of each start would double the cost of attempts that take some
/// milliseconds.
const LONG: u64 = 50_000;

/// A message for the scheduler.
#[derive(Debug)]
pub(crate) enum Message {
    /// The outcome of attempts.
    Report(Report),
    /// Answer when everything before has been reported and acknowledged.
    Barrier(oneshot::Sender<()>),
}

/// Sends reports over one session.
#[derive(Debug)]
pub(crate) struct Pump {
    messages: mpsc::UnboundedReceiver<Message>,
    slots: Slots,
    runs: Arc<Runs>,
    dispatched: Rc<Notify>,
    waiting: VecDeque<Message>,
    calls: Rc<Semaphore>,
    broken: Rc<Cell<bool>>,
}

impl Pump {
    pub(crate) fn new(
        messages: mpsc::UnboundedReceiver<Message>,
        slots: Slots,
        runs: Arc<Runs>,
        dispatched: Rc<Notify>,
    ) -> Pump {
        let calls = Rc::new(Semaphore::new(CALLS as usize));
        let broken = Rc::new(Cell::new(false));
        Pump { messages, slots, runs, dispatched, waiting: VecDeque::new(), calls, broken }
    }

    /// Works until all senders of messages have been dropped. A broken connection is noticed
    /// elsewhere; its reports are lost with it.
    pub(crate) async fn run(mut self, session: session::Client) {
        let mut next_look: Option<Instant> = None;
        let mut received = Vec::with_capacity(BATCH);
        loop {
            let mut look = false;
            tokio::select! {
                biased;
                count = self.messages.recv_many(&mut received, BATCH) => {
                    if count == 0 {
                        return;
                    }
                }
                () = self.dispatched.notified() => {
                    next_look.get_or_insert_with(|| Instant::now() + LOOK);
                    continue;
                }
                () = until(next_look) => look = true,
            }
            // Other attempts may have begun when these ended.
            next_look.get_or_insert_with(|| Instant::now() + LOOK);
            if (1..ENOUGH).contains(&received.len()) && self.slots.has_backlog() {
                tokio::time::sleep(GATHER).await;
            }
            self.waiting.extend(received.drain(..));
            while let Some(barrier) = self.send_waiting(&session).await {
                let _all = self.calls.acquire_many(CALLS).await;
                let _ = barrier.send(());
            }
            if look {
                let more = self.announce(&session).await;
                next_look = more.then(|| Instant::now() + LOOK);
            }
        }
    }

    /// Sends what waits, up to the first barrier.
    async fn send_waiting(&mut self, session: &session::Client) -> Option<oneshot::Sender<()>> {
        loop {
            match self.waiting.front()? {
                Message::Barrier(_) => {
                    if let Some(Message::Barrier(barrier)) = self.waiting.pop_front() {
                        return Some(barrier);
                    }
                }
                Message::Report(_) => {
                    let permit = self.calls.clone().acquire_owned_local().await;
                    // Messages that came while all calls were under way join this call.
                    while self.waiting.len() < BATCH
                        && let Ok(message) = self.messages.try_recv()
                    {
                        self.waiting.push_back(message);
                    }
                    let batch = self.next_batch();
                    self.send(session, &batch, permit);
                }
            }
        }
    }

    fn next_batch(&mut self) -> Vec<Report> {
        let mut batch = Vec::with_capacity(self.waiting.len().min(BATCH));
        let mut bytes = 0;
        while let Some(Message::Report(report)) = self.waiting.front() {
            bytes += weight(report);
            if batch.len() == BATCH || (bytes > BATCH_BYTES && !batch.is_empty()) {
                break;
            }
            if let Some(Message::Report(report)) = self.waiting.pop_front() {
                batch.push(report);
            }
        }
        batch
    }

    /// Reports attempts that have been running for a while; returns true when more may follow.
    ///
    /// An attempt that is listed as running here has not reported its end yet, so its end comes
    /// later on the same connection.
    async fn announce(&mut self, session: &session::Client) -> bool {
        let before = Timestamp(clock::now().0.saturating_sub(LONG));
        let (running, more) = self.slots.newly_running(before);
        for batch in running.chunks(BATCH) {
            let permit = self.calls.clone().acquire_owned_local().await;
            self.send(session, batch, permit);
        }
        more
    }

    fn send(&self, session: &session::Client, batch: &[Report], permit: Permit) {
        if self.broken.get() {
            return;
        }
        // Whoever sees that an attempt has ended may read its log.
        self.runs.flush_logs();
        let mut request = session.report_request();
        wire::write_list(batch, request.get().init_reports(wire::length(batch.len())));
        let answer = request.send().promise;
        let broken = self.broken.clone();
        tokio::task::spawn_local(async move {
            if answer.await.is_err() {
                broken.set(true);
            }
            drop(permit);
        });
    }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Bytes that a report adds to a message, about.
fn weight(report: &Report) -> usize {
    report.detail.as_ref().map_or(0, |detail| {
        detail.reason.len()
            + detail.stderr_tail.len()
            + detail.value.as_ref().map_or(0, Vec::len)
            + detail.outputs.iter().map(Vec::len).sum::<usize>()
            + size_of_val(&*detail.stamps)
    })
}

/// A permit for one of the calls under way, returned when dropped.
struct Permit(Rc<Semaphore>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// A semaphore's permit that lives on this thread, without an [`Arc`].
trait AcquireLocal {
    async fn acquire_owned_local(self) -> Permit;
}

impl AcquireLocal for Rc<Semaphore> {
    async fn acquire_owned_local(self) -> Permit {
        if let Ok(permit) = self.acquire().await {
            permit.forget();
        }
        Permit(self)
    }
}
