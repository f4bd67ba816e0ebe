//! What the holder of a worker's token may do: register, and then send reports and signs of life.

use std::rc::Rc;

use capnp::Error;
use dagrun_core::engine::Report;
use dagrun_schema::dagrun_capnp::{session, worker_gate};
use dagrun_schema::wire::{self, AttemptProgress, Message, Registration};

use super::load::{Load, SESSIONS, Session};
use super::{Server, exception};
use crate::driver::{Happened, LineId, Shared, Welcomed};

/// Most bytes of a name, a host or a label.
const TEXT: usize = 256;
/// Most labels of a worker.
const LABELS: usize = 256;
/// Most custom resources of a worker.
const RESOURCES: usize = 256;
/// Most functions of a worker.
const FUNCTIONS: usize = 65_536;
/// Most bytes of memory that a worker may offer.
const MEMORY: u64 = 1 << 50;
/// Most bytes of memory that the attempts of a returning worker may ask for together: the sum over all
/// lines fits into a number.
const CLAIMED: u64 = 1 << 56;
/// Most slots of a worker.
const SLOTS: u32 = 65_536;
/// Most attempts that a worker may have when it returns.
const HELD: u64 = 16 << 20;
/// Most runs of which a worker may have anything.
const RUNS: usize = 1 << 20;
/// Most bytes that are kept of a reason, and of a tail of standard error.
const TAIL: usize = 4 * 1024;

pub(super) struct Gate {
    shared: Rc<Shared>,
    server: Rc<Server>,
    load: Rc<Load>,
}

impl Gate {
    pub(super) fn new(server: &Rc<Server>, load: Rc<Load>) -> Gate {
        let (server, shared) = (Rc::clone(server), Rc::clone(&server.shared));
        Gate { shared, server, load }
    }

    /// A place for one more session, if this line may have one.
    fn place(&self) -> Result<Session, Error> {
        self.load.session().ok_or_else(|| {
            self.server.too_many_sessions();
            Error::overloaded(format!("a line has at most {SESSIONS} sessions"))
        })
    }
}

impl worker_gate::Server for Gate {
    async fn register(
        self: Rc<Self>,
        params: worker_gate::RegisterParams,
        mut results: worker_gate::RegisterResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let place = self.place()?;
        let registration = checked_registration(Registration::read(params.get_registration()?)?)?;
        let client = params.get_worker()?;
        let is_guest = registration.uid.is_empty();
        let (Welcomed { line, name, returned }, lease) = {
            let welcomed = self.shared.welcome(registration, client);
            let welcomed = welcomed.map_err(|error| exception(&error))?;
            (welcomed, self.shared.driver.borrow().lease())
        };
        let session = SessionServer { line, shared: Rc::clone(&self.shared), _place: place };
        let mut results = results.get();
        results.set_session(capnp_rpc::new_client(session));
        results.set_id(line.worker.0);
        results.set_name(&name);
        results.set_returned(returned);
        results.set_lease(if is_guest { 0 } else { lease.0 });
        Ok(())
    }
}

/// Checks a registration before it reaches the state machine, and sorts its functions.
fn checked_registration(mut registration: Registration) -> Result<Registration, Error> {
    let refused = |why: String| Err(Error::failed(format!("a worker {why}")));
    let is_good = |text: &str| text.len() <= TEXT && !text.chars().any(char::is_control);
    let Registration { name, host, offer, functions, .. } = &mut registration;
    for (text, what) in [(name, "name"), (host, "host")] {
        if !is_good(text) {
            return refused(format!("has an invalid {what}"));
        }
    }
    if offer.slots == 0 || offer.slots > SLOTS {
        return refused(format!("has 1 to {SLOTS} slots, not {}", offer.slots));
    }
    if offer.labels.len() > LABELS || offer.labels.iter().any(|label| label.len() > TEXT) {
        return refused("has too many labels, or too long ones".to_owned());
    }
    offer.memory = offer.memory.min(MEMORY);
    if offer.resources.len() > RESOURCES {
        return refused("has too many resources".to_owned());
    }
    for (name, amount) in std::mem::take(&mut offer.resources) {
        if name.is_empty() || !is_good(&name) {
            return refused("has a resource with an invalid name".to_owned());
        }
        // A resource that is named twice counts as the sum.
        let amount = offer.amount(&name).saturating_add(amount);
        offer.set_resource(name, amount);
    }
    if functions.len() > FUNCTIONS || !functions.iter().all(|(name, _)| is_good(name)) {
        return refused("has too many functions, or invalid names of some".to_owned());
    }
    // Each function once; several may share a name.
    functions.sort_unstable();
    functions.dedup();
    let held = registration.held.iter().map(|range| range.end - range.start);
    let claims = registration.claims.iter().map(|claim| u64::from(claim.assignment.count));
    let memory = registration.claims.iter().try_fold(0u64, |sum, claim| {
        sum.checked_add(claim.assignment.memory.checked_mul(claim.assignment.count.into())?)
    });
    if memory.is_none_or(|memory| memory > CLAIMED) {
        return refused("has attempts that ask for too much memory".to_owned());
    }
    if held.sum::<u64>().max(claims.sum()) > HELD || registration.runs.len() > RUNS {
        return refused("has too many attempts or runs".to_owned());
    }
    Ok(registration)
}

/// A worker's line: when the last reference is dropped, it counts as cut.
struct SessionServer {
    line: LineId,
    shared: Rc<Shared>,
    _place: Session,
}

impl Drop for SessionServer {
    fn drop(&mut self) {
        self.shared.inbox.push(Happened::Cut(self.line));
    }
}

impl SessionServer {
    fn still_on(&self) -> Result<(), Error> {
        if self.shared.driver.borrow().is_on(self.line) {
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
        let params = params.get()?;
        let (reports, number) = (params.get_reports()?, params.get_number());
        let reports = wire::elements(reports)?.map(|report| checked(Report::read(report)?));
        let reports = reports.collect::<Result<Vec<_>, Error>>()?;
        self.shared.inbox.push(Happened::Reports(self.line.worker, reports, number));
        self.shared.capacity().await;
        Ok(())
    }

    async fn heartbeat(
        self: Rc<Self>,
        params: session::HeartbeatParams,
        mut results: session::HeartbeatResults,
    ) -> Result<(), Error> {
        self.still_on()?;
        let params = params.get()?;
        let progress: Vec<AttemptProgress> = wire::read_list(params.get_progress()?)?;
        if !progress.is_empty() {
            self.shared.inbox.push(Happened::Progress(self.line.worker, progress));
        }
        self.shared.inbox.push(Happened::Heard(self.line.worker));
        let short = params.get_short()?.to_str()?;
        let left = (!short.is_empty()).then(|| short.chars().take(TEXT).collect());
        self.shared.inbox.push(Happened::Short(self.line.worker, left));
        let acknowledged = self.shared.driver.borrow().acknowledged(self.line.worker);
        results.get().set_acknowledged(acknowledged);
        Ok(())
    }

    async fn leaving(
        self: Rc<Self>,
        _: session::LeavingParams,
        _: session::LeavingResults,
    ) -> Result<(), Error> {
        self.still_on()?;
        self.shared.inbox.push(Happened::Leaving(self.line.worker));
        Ok(())
    }
}

/// Checks a report before it reaches the state machine.
fn checked(mut report: Report) -> Result<Report, Error> {
    let last = report.first.0.checked_add(report.count.into());
    if report.count == 0 || last.is_none() || (report.detail.is_some() && report.count != 1) {
        return Err(Error::failed(
            "a report must name consecutive attempts, one if it has details".into(),
        ));
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
