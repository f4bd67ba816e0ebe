//! Hosts the scheduler's machine on the RPC thread: clocks, the store thread, and calls to workers.
//!
//! The machine is never borrowed across an await.

use std::cell::RefCell;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use capnp::capability::Promise;
use dagrun_core::ids::{Micros, WorkerId};
use dagrun_disk::clock::{now, uptime};
use dagrun_schema::dagrun_capnp::worker as wire_worker;
use dagrun_schema::wire::{self, Registration};
use rustc_hash::FxHashMap;
use rustix::fs::{Mode, OFlags};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;

use super::presence::Superseded;
use super::{
    Call, Happened, Inbox, Joining, Life, LineId, Moment, Order, SchedulerCore, Settings, Welcomed,
};
use crate::journal::workers::FormerWorker;
use crate::store::{Journal, Reply};

/// The machine and its inbox, shared by everything on the RPC thread.
pub(crate) struct Shared {
    pub(crate) driver: RefCell<SchedulerCore>,
    pub(crate) inbox: Inbox,
    /// The lines to workers.
    lines: RefCell<FxHashMap<WorkerId, (LineId, wire_worker::Client)>>,
    /// Notified when the backlog shrinks.
    drained: Notify,
    /// Notified when no worker is left.
    pub(crate) workers_left: Notify,
    /// Notified when each worker of earlier schedulers is back or lost.
    settled: Notify,
}

fn moment() -> Moment {
    Moment { now: now(), uptime: uptime() }
}

impl Shared {
    pub(crate) fn new(journal: Box<dyn Journal>, settings: Settings) -> Shared {
        Shared {
            driver: RefCell::new(SchedulerCore::new(settings, journal, moment())),
            inbox: Inbox::default(),
            lines: RefCell::default(),
            drained: Notify::new(),
            workers_left: Notify::new(),
            settled: Notify::new(),
        }
    }

    /// Registers a worker, at the other end of a line.
    ///
    /// # Errors
    /// When a later registration of the same worker has arrived before.
    pub(crate) fn welcome(
        &self,
        registration: Registration,
        client: wire_worker::Client,
    ) -> Result<Welcomed, Superseded> {
        let life = life_of(&registration);
        let joining = Joining { registration, life };
        let welcomed = self.driver.borrow_mut().welcome(joining, now(), &self.inbox)?;
        self.lines.borrow_mut().insert(welcomed.line.worker, (welcomed.line, client));
        Ok(welcomed)
    }

    /// Waits while too many records wait for the disk.
    pub(crate) async fn capacity(&self) {
        loop {
            let drained = self.drained.notified();
            if !self.driver.borrow().is_behind() {
                return;
            }
            drained.await;
        }
    }

    /// Waits until each worker of earlier schedulers is back, and its attempts are known, or lost.
    pub(crate) async fn all_former_are_back_or_lost(&self) {
        loop {
            let settled = self.settled.notified();
            if !self.driver.borrow().is_expecting() {
                return;
            }
            settled.await;
        }
    }

    fn take_reply(&self, reply: Reply) {
        let mut driver = self.driver.borrow_mut();
        driver.take_reply(reply, &self.inbox);
        if !driver.is_behind() {
            self.drained.notify_waiters();
        }
    }

    fn step(self: &Rc<Self>) {
        let mut driver = self.driver.borrow_mut();
        driver.step(moment(), &self.inbox);
        if driver.have_lines_changed() {
            let is_open = |worker: &WorkerId, line: LineId| driver.line_to(*worker) == Some(line);
            self.lines.borrow_mut().retain(|worker, (line, _)| is_open(worker, *line));
        }
        for call in driver.calls() {
            self.make(call);
        }
        if !driver.has_workers() {
            self.workers_left.notify_waiters();
        }
        if !driver.is_expecting() {
            self.settled.notify_waiters();
        }
    }

    /// Makes a call; its completion comes back through the inbox.
    fn make(self: &Rc<Self>, call: Call) {
        let Call { line, number, order } = call;
        let lines = self.lines.borrow();
        let Some((_, client)) = lines.get(&line.worker).filter(|(open, _)| *open == line) else {
            return self.inbox.push(Happened::Cut(line));
        };
        let answer = send(client, order);
        let shared = Rc::clone(self);
        tokio::task::spawn_local(async move {
            shared.inbox.push(match answer.await {
                Ok(()) => Happened::Sent(line, number),
                Err(_) => Happened::Cut(line),
            });
        });
    }
}

/// Runs the machine until the store has ended.
pub(crate) async fn serve(shared: Rc<Shared>, mut replies: UnboundedReceiver<Reply>) {
    loop {
        let next = shared.driver.borrow().next_step(moment());
        tokio::select! {
            () = shared.inbox.filled() => {}
            reply = replies.recv() => match reply {
                Some(reply) => shared.take_reply(reply),
                None => return,
            },
            () = after(next) => {}
        }
        while let Ok(reply) = replies.try_recv() {
            shared.take_reply(reply);
        }
        shared.step();
    }
}

async fn after(wait: Option<Micros>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait.to_duration()).await,
        None => std::future::pending().await,
    }
}

/// Whether a worker of this host has ended: as long as it lives it holds a file locked.
fn life_of(registration: &Registration) -> Option<Life> {
    let path = registration.lock.as_ref().filter(|_| registration.host == dagrun_disk::host())?;
    let life = life_by(path).ok()?;
    let lives = !life();
    lives.then_some(life)
}

/// The same of a worker of an earlier scheduler. The directory in which its file is has been removed by the
/// worker itself or, after its death, by its reaper.
pub(crate) fn life_of_former(worker: &FormerWorker) -> Option<Life> {
    let path = worker.lock.as_ref().filter(|_| worker.host == dagrun_disk::host())?;
    match life_by(path) {
        Ok(life) => Some(life),
        Err(rustix::io::Errno::NOENT) => Some(Box::new(|| true)),
        Err(_) => None,
    }
}

/// Whether nobody holds a file locked.
fn life_by(path: &Path) -> Result<Life, rustix::io::Errno> {
    // The path is a peer's word: it must not make this thread wait, nor be anything but a file.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    match file.metadata() {
        Ok(found) if found.is_file() => Ok(Box::new(move || file.try_lock_shared().is_ok())),
        _ => Err(rustix::io::Errno::INVAL),
    }
}

type Answer = Promise<(), capnp::Error>;

fn send(client: &wire_worker::Client, order: Order) -> Answer {
    match order {
        Order::Dispatch { recipes, handouts } => {
            let mut request = client.dispatch_request();
            let mut params = request.get();
            wire::write_list(&recipes, params.reborrow().init_recipes(wire::length(recipes.len())));
            let length = wire::length(handouts.len());
            wire::write_list(&handouts, params.init_assignments(length));
            answer(request.send().promise)
        }
        Order::Revoke { attempts, cancel } => {
            let mut request = client.revoke_request();
            let mut params = request.get();
            params.set_cancel(cancel);
            let mut list = params.init_attempts(wire::length(attempts.len()));
            for (i, attempt) in (0..).zip(attempts) {
                list.set(i, attempt.0);
            }
            answer(request.send().promise)
        }
        Order::Forget(run) => {
            let mut request = client.forget_request();
            request.get().set_run(run.0);
            answer(request.send().promise)
        }
        Order::Peers(peers) => {
            let mut request = client.peers_request();
            wire::write_list(&peers, request.get().init_peers(wire::length(peers.len())));
            answer(request.send().promise)
        }
        Order::Release(run, values) => {
            let mut request = client.release_request();
            let mut params = request.get();
            params.set_run(run.0);
            wire::write_list(&values, params.init_values(wire::length(values.len())));
            answer(request.send().promise)
        }
        Order::Shutdown => answer(client.shutdown_request().send().promise),
    }
}

fn answer<T: 'static>(promise: impl Future<Output = Result<T, capnp::Error>> + 'static) -> Answer {
    Promise::from_future(async move { promise.await.map(drop) })
}
