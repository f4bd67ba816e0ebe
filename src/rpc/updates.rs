//! What a watched run reports, as it comes: an observer of the protocol at one end, a channel at the
//! other.

use std::rc::Rc;

use dagrun_schema::dagrun_capnp as rpc;
use dagrun_schema::wire::{Message as _, Update};
use tokio::sync::mpsc;

use super::Connection;

/// Updates that the reader may lag behind; then the scheduler merges the following ones.
const LAG: usize = 4;

/// A subscription to a run. Dropping it ends it.
pub struct Updates {
    receiver: mpsc::Receiver<Update>,
    /// What keeps updates coming.
    held: Option<(rpc::subscription::Client, Rc<Connection>)>,
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

    pub(super) fn subscribed(
        mut self,
        subscription: rpc::subscription::Client,
        connection: Rc<Connection>,
    ) -> Updates {
        self.held = Some((subscription, connection));
        self
    }
}

/// An observer to hand to a scheduler, and the updates that it will be sent.
pub(super) fn channel() -> (rpc::observer::Client, Updates) {
    let (sender, receiver) = mpsc::channel(LAG);
    (capnp_rpc::new_client(Observer { sender }), Updates { receiver, held: None })
}

struct Observer {
    sender: mpsc::Sender<Update>,
}

impl rpc::observer::Server for Observer {
    async fn update(
        self: Rc<Self>,
        params: rpc::observer::UpdateParams,
        _: rpc::observer::UpdateResults,
    ) -> Result<(), capnp::Error> {
        let update = Update::read(params.get()?.get_update()?)?;
        let unwanted = |_| capnp::Error::failed("nobody watches any more".to_owned());
        self.sender.send(update).await.map_err(unwanted)
    }
}
