//! Login: exchanges a token for a capability, and offers nothing else. A wrong token is answered late; a
//! right one never is.

use std::rc::Rc;

use capnp::Error;
use dagrun_schema::dagrun_capnp::{PROTOCOL_VERSION, bootstrap, client, worker_gate};
use subtle::ConstantTimeEq as _;

use super::client::ClientServer;
use super::gate::Gate;
use super::{Newcomer, Server};

struct Door {
    server: Rc<Server>,
    stranger: Rc<Newcomer>,
}

/// The capability that a connection begins with.
pub(super) fn bootstrap(server: &Rc<Server>, stranger: &Rc<Newcomer>) -> bootstrap::Client {
    let door = Door { server: Rc::clone(server), stranger: Rc::clone(stranger) };
    capnp_rpc::new_client(door)
}

impl bootstrap::Server for Door {
    async fn login(
        self: Rc<Self>,
        params: bootstrap::LoginParams,
        mut results: bootstrap::LoginResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let protocol = params.get_protocol();
        if protocol != PROTOCOL_VERSION {
            return Err(Error::failed(format!(
                "this scheduler speaks version {PROTOCOL_VERSION} of the protocol, not {protocol}"
            )));
        }
        let token = params.get_token()?;
        // Both are compared in any case, so that the time taken reveals nothing.
        let is_client = bool::from(token.ct_eq(&self.server.config.client_token));
        let is_worker = bool::from(token.ct_eq(&self.server.config.worker_token));
        let mut granted = results.get().init_granted();
        if is_client {
            let (server, load) = (Rc::clone(&self.server), Rc::clone(&self.stranger.load));
            let client: client::Client = capnp_rpc::new_client(ClientServer { server, load });
            granted.set_client(client);
        } else if is_worker {
            let load = Rc::clone(&self.stranger.load);
            let gate: worker_gate::Client = capnp_rpc::new_client(Gate::new(&self.server, load));
            granted.set_gate(gate);
        } else {
            self.stranger.fail().await;
            return Err(Error::failed("wrong token: this is not a login of this cluster".into()));
        }
        self.stranger.log_in();
        Ok(())
    }
}
