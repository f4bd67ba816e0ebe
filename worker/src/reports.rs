//! Sends reports to the scheduler: at once while the connection is idle, and in batches while it is
//! busy. They are kept until the scheduler has them on disk, and sent again over another line when one
//! is cut.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dagrun_core::engine::{Claim, Report};
use dagrun_core::ids::Timestamp;
use dagrun_schema::dagrun_capnp::session;
use dagrun_schema::wire;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;

use crate::core::given::Given;
use crate::core::ledger::{self, BATCH, Ledger, Next};
use crate::runs::Runs;
use crate::slots::Slots;
use dagrun_disk::clock;

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

/// Called when reports have been acknowledged, dropped when they cannot be.
pub(crate) type Acknowledge = Box<dyn FnOnce() + Send>;

/// A message for the scheduler.
pub(crate) type Message = ledger::Message<Acknowledge>;

/// What has been acknowledged, and what is to be: both ends of the kept reports.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    /// The last of the calls that are on the scheduler's disk.
    pub(crate) acknowledged: Cell<u64>,
    /// Bytes that are kept until they are acknowledged, about.
    pub(crate) kept: Cell<usize>,
}

/// Sends reports over one session after the other.
pub(crate) struct Pump {
    messages: mpsc::UnboundedReceiver<Message>,
    slots: Slots,
    runs: Arc<Runs>,
    dispatched: Rc<Notify>,
    ledger: Ledger<Acknowledge>,
    given: Rc<RefCell<Given>>,
    calls: Rc<Semaphore>,
    broken: Rc<Cell<bool>>,
    receipts: Rc<Receipts>,
}

impl Pump {
    pub(crate) fn new(
        messages: mpsc::UnboundedReceiver<Message>,
        slots: Slots,
        runs: Arc<Runs>,
        dispatched: Rc<Notify>,
        receipts: Option<Rc<Receipts>>,
        given: Rc<RefCell<Given>>,
    ) -> Pump {
        Pump {
            messages,
            slots,
            runs,
            dispatched,
            ledger: Ledger::new(receipts.is_some()),
            given,
            calls: Rc::new(Semaphore::new(CALLS as usize)),
            broken: Rc::new(Cell::new(false)),
            receipts: receipts.unwrap_or_default(),
        }
    }

    /// The attempts whose end is still to be acknowledged.
    pub(crate) fn pending(&mut self) -> Vec<Range<u64>> {
        while let Ok(message) = self.messages.try_recv() {
            self.ledger.push(message);
        }
        self.trim();
        self.ledger.pending()
    }

    /// What the worker has, so that a scheduler which did not hand it out can adopt it.
    pub(crate) fn claims(&mut self) -> Vec<Claim> {
        let held = self.slots.held_since();
        while let Ok(message) = self.messages.try_recv() {
            self.ledger.push(message);
        }
        self.given.borrow().all(held, self.ledger.ended())
    }

    /// Drops what has not been acknowledged: it is of no interest to the scheduler that is there now.
    pub(crate) fn discard(&mut self) {
        self.given.borrow_mut().clear();
        while self.messages.try_recv().is_ok() {}
        self.ledger.discard();
        self.receipts.kept.set(0);
    }

    /// Works until all senders of messages have been dropped, or the line is `cut`: then it can be run
    /// again over another one.
    pub(crate) async fn run(mut self, session: session::Client, cut: Rc<Notify>) -> Pump {
        // What was under way over another line is of no interest any more.
        self.calls = Rc::new(Semaphore::new(CALLS as usize));
        self.broken = Rc::default();
        tokio::select! {
            () = self.send_all(&session) => {}
            () = cut.notified() => {}
        }
        self
    }

    async fn send_all(&mut self, session: &session::Client) {
        self.send_again(session).await;
        let mut next_look = Some(Instant::now());
        loop {
            let mut look = false;
            let mut received = Vec::new();
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
            let few = (1..ENOUGH).contains(&received.len());
            received.into_iter().for_each(|message| self.ledger.push(message));
            // Other attempts may have begun when these ended.
            next_look.get_or_insert_with(|| Instant::now() + LOOK);
            if few && self.slots.has_backlog() {
                tokio::time::sleep(GATHER).await;
            }
            self.send_and_answer(session).await;
            if look {
                let more = self.announce(session).await;
                next_look = more.then(|| Instant::now() + LOOK);
            }
        }
    }

    /// Sends what waits, and answers the barriers in it once all before them has been received. One that
    /// cannot be answered is dropped.
    async fn send_and_answer(&mut self, session: &session::Client) {
        while let Some(barrier) = self.send_waiting(session).await {
            let _all = self.calls.acquire_many(CALLS).await;
            if !self.broken.get() {
                barrier();
            }
        }
    }

    /// Sends what waits, up to the first barrier.
    async fn send_waiting(&mut self, session: &session::Client) -> Option<Acknowledge> {
        loop {
            match self.ledger.next()? {
                Next::Barrier => return self.ledger.take_barrier(),
                Next::Report => {
                    let permit = self.calls.clone().acquire_owned_local().await;
                    // Messages that came while all calls were under way join this call.
                    while self.ledger.waiting() < BATCH
                        && let Ok(message) = self.messages.try_recv()
                    {
                        self.ledger.push(message);
                    }
                    self.send_new(session, permit);
                }
            }
        }
    }

    /// Reports attempts that have been running for a while; returns true when more may follow.
    ///
    /// An attempt that is listed as running here has not reported its end yet, so its end comes
    /// later on the same connection.
    async fn announce(&mut self, session: &session::Client) -> bool {
        let before = Timestamp(clock::now().0.saturating_sub(LONG));
        let (running, more) = self.slots.newly_running(before);
        running.into_iter().map(Message::Report).for_each(|report| self.ledger.push(report));
        self.send_and_answer(session).await;
        more
    }

    /// Sends what has not been acknowledged over another line.
    async fn send_again(&mut self, session: &session::Client) {
        self.trim();
        for at in 0.. {
            let permit = self.calls.clone().acquire_owned_local().await;
            let Some((number, batch)) = self.ledger.kept(at) else { return };
            self.send(session, batch, number, permit);
        }
    }

    fn send_new(&mut self, session: &session::Client, permit: Permit) {
        let (number, batch) = self.ledger.take_batch();
        self.send(session, &batch, number, permit);
        self.trim();
        self.ledger.keep(number, batch);
        self.receipts.kept.set(self.ledger.kept_bytes());
        let mut given = self.given.borrow_mut();
        if given.is_large() {
            let mut attempts = self.slots.held();
            // An end that is under way between the two is in neither.
            if self.messages.is_empty() {
                attempts.extend(self.ledger.pending());
                given.retain(&attempts);
            }
        }
    }

    /// Drops what has been acknowledged.
    fn trim(&mut self) {
        self.ledger.trim(self.receipts.acknowledged.get());
        self.receipts.kept.set(self.ledger.kept_bytes());
    }

    fn send(&self, session: &session::Client, batch: &[Report], number: u64, permit: Permit) {
        if self.broken.get() {
            return;
        }
        // Whoever sees that an attempt has ended may read its log.
        self.runs.flush_logs();
        let mut request = session.report_request();
        request.get().set_number(number);
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
