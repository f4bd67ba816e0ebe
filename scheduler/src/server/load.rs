//! What a connection costs: requests that have no answer yet, and answers that have not been read. While
//! it costs much, nothing more is read from its socket, so a peer that asks and never reads holds up itself
//! alone.
//!
//! capnp-rpc reads whatever comes and queues whatever is sent. [`Measured`] stands between it and the
//! network: it sees each message as it passes. What the socket has taken is counted by [`Drained`].

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use capnp::capability::Promise;
use capnp::message::{Builder, HeapAllocator};
use capnp::{Error, any_pointer};
use capnp_rpc::rpc_capnp::message;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{Connection, FlowController, IncomingMessage, OutgoingMessage, VatNetwork};
use futures::io::AsyncWrite;
use rustc_hash::FxHashMap;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use super::guard::Peer;

/// Bytes of answers that may wait to be read before nothing more is read.
const UNREAD: u64 = 4 << 20;
/// Requests without an answer, and their bytes, before nothing more is read.
const UNANSWERED: usize = 256;
const UNANSWERED_BYTES: u64 = 32 << 20;
/// Runs that a connection may watch at once.
const WATCHED: u32 = 256;
/// Sessions of workers that a connection may have.
pub(super) const SESSIONS: u32 = 64;

/// What a connection costs at present.
#[derive(Default)]
pub(super) struct Load {
    /// The bytes of each request without an answer, by its number.
    requests: RefCell<FxHashMap<u32, u64>>,
    request_bytes: Cell<u64>,
    /// Bytes that were queued, and those that the socket has taken.
    queued: Cell<u64>,
    taken: Cell<u64>,
    watched: Cell<u32>,
    sessions: Cell<u32>,
    /// How often nothing more was read for a while.
    pub(super) held_up: Cell<u64>,
    /// Notified when it costs less.
    eased: Notify,
    /// Held while a long answer is made: others may be long too.
    turn: Arc<Mutex<()>>,
}

impl Load {
    fn unread(&self) -> u64 {
        self.queued.get().saturating_sub(self.taken.get())
    }

    fn is_heavy(&self) -> bool {
        self.unread() > UNREAD
            || self.requests.borrow().len() >= UNANSWERED
            || self.request_bytes.get() > UNANSWERED_BYTES
    }

    /// Waits until more may be read.
    async fn until_light(&self) {
        if self.is_heavy() {
            self.held_up.set(self.held_up.get() + 1);
        }
        while self.is_heavy() {
            self.eased.notified().await;
        }
    }

    /// Waits for the turn to make a long answer, until those before it have been read.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        while self.unread() > UNREAD {
            self.eased.notified().await;
        }
        turn
    }

    /// A place among the runs that are watched, if there is one.
    pub(super) fn watch(self: &Rc<Self>) -> Option<Watching> {
        if self.watched.get() >= WATCHED {
            return None;
        }
        self.watched.set(self.watched.get() + 1);
        Some(Watching(Rc::clone(self)))
    }

    /// A place for one more session of a worker, if there is one.
    pub(super) fn session(self: &Rc<Self>) -> Option<Session> {
        if self.sessions.get() >= SESSIONS {
            return None;
        }
        self.sessions.set(self.sessions.get() + 1);
        Some(Session(Rc::clone(self)))
    }

    fn asked(&self, question: u32, bytes: u64) {
        if let Some(before) = self.requests.borrow_mut().insert(question, bytes) {
            self.request_bytes.set(self.request_bytes.get().saturating_sub(before));
        }
        self.request_bytes.set(self.request_bytes.get() + bytes);
    }

    fn answered(&self, question: u32) {
        let was_heavy = self.is_heavy();
        if let Some(bytes) = self.requests.borrow_mut().remove(&question) {
            self.request_bytes.set(self.request_bytes.get().saturating_sub(bytes));
        }
        if was_heavy && !self.is_heavy() {
            self.eased.notify_waiters();
        }
    }

    fn take(&self, bytes: usize) {
        let was_heavy = self.unread() > UNREAD;
        self.taken.set(self.taken.get() + bytes as u64);
        if was_heavy && self.unread() <= UNREAD {
            self.eased.notify_waiters();
        }
    }
}

/// A run that a connection watches.
pub(super) struct Watching(Rc<Load>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.watched.set(self.0.watched.get() - 1);
    }
}

/// A session of a worker over a connection.
pub(super) struct Session(Rc<Load>);

impl Drop for Session {
    fn drop(&mut self) {
        self.0.sessions.set(self.0.sessions.get() - 1);
    }
}

/// The network of one connection, each message of which is counted.
pub(super) struct Measured {
    pub(super) inner: Box<dyn VatNetwork<Side>>,
    pub(super) load: Rc<Load>,
    pub(super) peer: Rc<Peer>,
}

impl Measured {
    fn measure(&self, inner: Box<dyn Connection<Side>>) -> Box<dyn Connection<Side>> {
        measure(inner, &self.load, &self.peer)
    }
}

fn measure(
    inner: Box<dyn Connection<Side>>,
    load: &Rc<Load>,
    peer: &Rc<Peer>,
) -> Box<dyn Connection<Side>> {
    let (load, peer) = (Rc::clone(load), Rc::clone(peer));
    Box::new(Line { inner: Rc::new(RefCell::new(inner)), load, peer })
}

impl VatNetwork<Side> for Measured {
    fn connect(&mut self, host: Side) -> Option<Box<dyn Connection<Side>>> {
        let inner = self.inner.connect(host)?;
        Some(self.measure(inner))
    }

    fn accept(&mut self) -> Promise<Box<dyn Connection<Side>>, Error> {
        let (accepted, load, peer) =
            (self.inner.accept(), Rc::clone(&self.load), Rc::clone(&self.peer));
        Promise::from_future(async move { Ok(measure(accepted.await?, &load, &peer)) })
    }

    fn drive_until_shutdown(&mut self) -> Promise<(), Error> {
        self.inner.drive_until_shutdown()
    }
}

struct Line {
    inner: Rc<RefCell<Box<dyn Connection<Side>>>>,
    load: Rc<Load>,
    peer: Rc<Peer>,
}

impl Connection<Side> for Line {
    fn get_peer_vat_id(&self) -> Side {
        self.inner.borrow().get_peer_vat_id()
    }

    fn new_outgoing_message(&mut self, words: u32) -> Box<dyn OutgoingMessage> {
        let inner = self.inner.borrow_mut().new_outgoing_message(words);
        Box::new(Outgoing { inner, load: Rc::clone(&self.load) })
    }

    fn receive_incoming_message(&mut self) -> Promise<Option<Box<dyn IncomingMessage>>, Error> {
        let (inner, load, peer) =
            (Rc::clone(&self.inner), Rc::clone(&self.load), Rc::clone(&self.peer));
        Promise::from_future(async move {
            load.until_light().await;
            let before = peer.received();
            let received = inner.borrow_mut().receive_incoming_message();
            let received = received.await?;
            match received.as_deref().and_then(subject) {
                Some(Subject::Asked(question)) => load.asked(question, peer.received() - before),
                // Nobody wants its answer any more.
                Some(Subject::Finished(question)) => load.answered(question),
                None => {}
            }
            Ok(received)
        })
    }

    fn new_stream(&mut self) -> (Box<dyn FlowController>, Promise<(), Error>) {
        self.inner.borrow_mut().new_stream()
    }

    fn shutdown(&mut self, result: capnp::Result<()>) -> Promise<(), Error> {
        self.inner.borrow_mut().shutdown(result)
    }
}

/// What a message says of a question of this number.
enum Subject {
    Asked(u32),
    Finished(u32),
}

/// Which question a message is about. What cannot be read is about none.
fn subject(message: &dyn IncomingMessage) -> Option<Subject> {
    let body: message::Reader<'_> = message.get_body().ok()?.get_as().ok()?;
    match body.which().ok()? {
        message::Call(call) => Some(Subject::Asked(call.ok()?.get_question_id())),
        message::Bootstrap(first) => Some(Subject::Asked(first.ok()?.get_question_id())),
        message::Finish(finish) => Some(Subject::Finished(finish.ok()?.get_question_id())),
        _ => None,
    }
}

struct Outgoing {
    inner: Box<dyn OutgoingMessage>,
    load: Rc<Load>,
}

impl Outgoing {
    /// The number of the question that the message answers, if it does.
    fn answers(&self) -> Option<u32> {
        let body: message::Reader<'_> = self.inner.get_body_as_reader().ok()?.get_as().ok()?;
        match body.which().ok()? {
            message::Return(answer) => Some(answer.ok()?.get_answer_id()),
            _ => None,
        }
    }
}

impl OutgoingMessage for Outgoing {
    fn get_body(&mut self) -> capnp::Result<any_pointer::Builder<'_>> {
        self.inner.get_body()
    }

    fn get_body_as_reader(&self) -> capnp::Result<any_pointer::Reader<'_>> {
        self.inner.get_body_as_reader()
    }

    fn send(self: Box<Self>) -> (Promise<(), Error>, Rc<Builder<HeapAllocator>>) {
        let answers = self.answers();
        let (sent, message) = self.inner.send();
        // As it is written: a table of segments, filled up to a word, and the segments.
        let segments = message.get_segments_for_output();
        let table = (4 + 4 * segments.len() as u64).next_multiple_of(8);
        let bytes: u64 = segments.iter().map(|segment| segment.len() as u64).sum();
        self.load.queued.set(self.load.queued.get() + table + bytes);
        if let Some(question) = answers {
            self.load.answered(question);
        }
        (sent, message)
    }

    fn take(self: Box<Self>) -> Builder<HeapAllocator> {
        self.inner.take()
    }

    fn size_in_words(&self) -> usize {
        self.inner.size_in_words()
    }
}

/// What the socket takes.
pub(super) struct Drained<W> {
    pub(super) inner: W,
    pub(super) load: Rc<Load>,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Drained<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, bytes))?;
        self.load.take(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}
