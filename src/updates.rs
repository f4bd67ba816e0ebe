//! What a watched run tells, as it comes: an observer of the protocol at one end, a channel at the
//! other.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use dagrun_core::status::RunState;
use dagrun_schema::dagrun_capnp as rpc;
use dagrun_schema::wire::{self, Update};
use tokio::sync::mpsc;

/// Updates that are taken as fast as they come; the following ones are merged over [`PACE`].
const BURST: u32 = 64;

/// A scheduler that runs thousands of attempts a second has better things to do than to tell about
/// each; the end of a run is at most this much late.
const PACE: Duration = Duration::from_millis(10);

/// Updates that the reader may lag behind; then the scheduler merges the following ones.
const LAG: usize = 4;

/// A subscription to a run. Dropping it ends it.
pub struct Updates {
    receiver: mpsc::Receiver<Update>,
    subscription: Option<rpc::subscription::Client>,
}

impl std::fmt::Debug for Updates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Updates").finish_non_exhaustive()
    }
}

impl Updates {
    /// The next update; `None` when the scheduler was lost. Cancel-safe.
    pub async fn next(&mut self) -> Option<Update> {
        self.receiver.recv().await
    }

    pub(crate) fn subscribed(mut self, subscription: rpc::subscription::Client) -> Updates {
        self.subscription = Some(subscription);
        self
    }
}

/// An observer to hand to a scheduler, and what it will be told.
pub(crate) fn channel() -> (rpc::observer::Client, Updates) {
    let (sender, receiver) = mpsc::channel(LAG);
    let observer = Observer { sender, taken: Cell::new(0) };
    (capnp_rpc::new_client(observer), Updates { receiver, subscription: None })
}

struct Observer {
    sender: mpsc::Sender<Update>,
    taken: Cell<u32>,
}

impl rpc::observer::Server for Observer {
    async fn update(
        self: Rc<Self>,
        params: rpc::observer::UpdateParams,
        _: rpc::observer::UpdateResults,
    ) -> Result<(), capnp::Error> {
        let update = wire::read_update(params.get()?.get_update()?)?;
        let running = update.state == RunState::Running;
        let taken = self.taken.get();
        self.taken.set(taken.saturating_add(1));
        let unwanted = |_| capnp::Error::failed("nobody watches any more".to_owned());
        self.sender.send(update).await.map_err(unwanted)?;
        if running && taken >= BURST {
            tokio::time::sleep(PACE).await;
        }
        Ok(())
    }
}
