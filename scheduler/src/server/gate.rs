//! What the holder of a worker's token may do: register, and then report and show signs of life.

use std::collections::BTreeSet;
use std::rc::Rc;

use capnp::Error;
use dagrun_core::engine::{Report, WorkerInfo};
use dagrun_core::ids::{AttemptId, WorkerId};
use dagrun_core::offer::Offer;
use dagrun_schema::dagrun_capnp::{attempt_progress, function, resource, session, worker_gate};
use dagrun_schema::wire;

use crate::driver::{Door, Happened, Joining, Shared};

/// Bytes of a name, a host or a label.
const TEXT: usize = 256;
/// Labels of a worker.
const LABELS: usize = 256;
/// Custom resources of a worker.
const RESOURCES: u32 = 256;
/// Functions of a worker.
const FUNCTIONS: u32 = 65_536;
/// Bytes of memory that a worker may claim to have.
const MEMORY: u64 = 1 << 50;
/// Slots of a worker.
const SLOTS: u32 = 65_536;
/// Bytes of a reason and of a tail of standard error that are kept.
const TAIL: usize = 4 * 1024;

pub(super) struct Gate {
    pub(super) shared: Rc<Shared>,
}

impl worker_gate::Server for Gate {
    async fn register(
        self: Rc<Self>,
        params: worker_gate::RegisterParams,
        mut results: worker_gate::RegisterResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let info = params.get_info()?;
        let wanted = text(info.get_name()?, "name")?;
        let host = text(info.get_host()?, "host")?;
        let labels = wire::read_text_list(info.get_labels()?)?;
        if labels.len() > LABELS || labels.iter().any(|label| label.len() > TEXT) {
            return Err(Error::failed("a worker's labels are too many or too long".into()));
        }
        let slots = info.get_slots();
        if slots == 0 || slots > SLOTS {
            return Err(Error::failed(format!("a worker has 1 to {SLOTS} slots, not {slots}")));
        }
        let memory = info.get_memory().min(MEMORY);
        let resources = resources(info.get_resources()?)?;
        let functions = functions(info.get_functions()?)?;
        let door = door(info.get_data_address()?, info.get_data_secret()?)?;
        let client = params.get_worker()?;
        let (worker, name) = {
            let mut driver = self.shared.driver.borrow_mut();
            let (worker, name) = driver.admit(&wanted);
            let offer = Offer { slots, labels, memory, resources };
            let info = WorkerInfo { name: name.clone(), offer, functions };
            driver.welcome(Joining { worker, info, host, door, client }, &self.shared.inbox);
            (worker, name)
        };
        let session = SessionServer { worker, shared: Rc::clone(&self.shared) };
        let mut results = results.get();
        results.set_session(capnp_rpc::new_client(session));
        results.set_id(worker.0);
        results.set_name(&name);
        Ok(())
    }
}

/// A worker's custom resources; of one named twice, the sum.
fn resources(
    from: capnp::struct_list::Reader<'_, resource::Owned>,
) -> Result<Vec<(String, u64)>, Error> {
    if from.len() > RESOURCES {
        return Err(Error::failed("a worker's resources are too many".into()));
    }
    let mut resources: Vec<(String, u64)> = Vec::new();
    for resource in from.iter() {
        let (name, amount) = wire::read_resource(resource)?;
        if name.is_empty() || name.len() > TEXT || name.chars().any(char::is_control) {
            return Err(Error::failed("a worker's resource has no good name".into()));
        }
        match resources.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = known.saturating_add(amount),
            None => resources.push((name, amount)),
        }
    }
    Ok(resources)
}

/// Where a worker gives its values to others.
fn door(address: capnp::text::Reader<'_>, secret: &[u8]) -> Result<Option<Door>, Error> {
    let address = text(address, "data address")?;
    if address.is_empty() {
        return Ok(None);
    }
    let known: Result<std::net::SocketAddr, _> = address.parse();
    match (known, secret.len()) {
        (Ok(_), 32) => Ok(Some(Door { address, secret: secret.to_vec() })),
        _ => Err(Error::failed("a worker's data address or secret is malformed".into())),
    }
}

/// A worker's functions in their order, each once. There may be several of one name.
fn functions(
    from: capnp::struct_list::Reader<'_, function::Owned>,
) -> Result<Vec<(String, u64)>, Error> {
    if from.len() > FUNCTIONS {
        return Err(Error::failed("a worker's functions are too many".into()));
    }
    let mut functions = BTreeSet::new();
    for function in from.iter() {
        functions.insert((text(function.get_name()?, "function")?, function.get_signature()));
    }
    Ok(functions.into_iter().collect())
}

fn text(reader: capnp::text::Reader<'_>, what: &str) -> Result<String, Error> {
    let text = reader.to_str()?;
    if text.len() > TEXT || text.chars().any(char::is_control) {
        return Err(Error::failed(format!("a worker's {what} is too long or not printable")));
    }
    Ok(text.to_owned())
}

/// A worker's presence: when the last reference goes, so has the worker.
struct SessionServer {
    worker: WorkerId,
    shared: Rc<Shared>,
}

impl Drop for SessionServer {
    fn drop(&mut self) {
        self.shared.inbox.push(Happened::Gone(self.worker));
    }
}

impl SessionServer {
    fn still_on(&self) -> Result<(), Error> {
        if self.shared.driver.borrow().is_present(self.worker) {
            Ok(())
        } else {
            Err(Error::failed("this session has ended: it was silent for too long".into()))
        }
    }
}

impl session::Server for SessionServer {
    async fn report(
        self: Rc<Self>,
        params: session::ReportParams,
        _: session::ReportResults,
    ) -> Result<(), Error> {
        self.still_on()?;
        let reports = params.get()?.get_reports()?;
        let reports = reports.iter().map(|report| checked(wire::read_report(report)?));
        let reports = reports.collect::<Result<Vec<_>, Error>>()?;
        self.shared.inbox.push(Happened::Reports(self.worker, reports));
        self.shared.room().await;
        Ok(())
    }

    async fn heartbeat(
        self: Rc<Self>,
        params: session::HeartbeatParams,
        _: session::HeartbeatResults,
    ) -> Result<(), Error> {
        self.still_on()?;
        let progress = params.get()?.get_progress()?;
        if !progress.is_empty() {
            let of = |one: attempt_progress::Reader<'_>| {
                (AttemptId(one.get_attempt()), one.get_fraction())
            };
            let progress = progress.iter().take(SLOTS as usize).map(of).collect();
            self.shared.inbox.push(Happened::Progress(self.worker, progress));
        }
        self.shared.inbox.push(Happened::Heard(self.worker));
        Ok(())
    }
}

/// A report that the machine may see.
fn checked(mut report: Report) -> Result<Report, Error> {
    let last = report.first.0.checked_add(report.count.into());
    if report.count == 0 || last.is_none() || (report.detail.is_some() && report.count != 1) {
        return Err(Error::failed("a report on no, too many or unlike attempts".into()));
    }
    if let Some(detail) = &mut report.detail {
        let excess = detail.stderr_tail.len().saturating_sub(TAIL);
        detail.stderr_tail.drain(..excess);
        if detail.reason.len() > TAIL {
            let whole = (0..=TAIL).rev().find(|at| detail.reason.is_char_boundary(*at));
            detail.reason.truncate(whole.unwrap_or(0));
        }
    }
    Ok(report)
}
