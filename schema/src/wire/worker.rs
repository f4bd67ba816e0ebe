//! Messages about workers: how they register, and what others learn about them.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use dagrun_core::engine::{Assignment, Claim};
use dagrun_core::ids::{AttemptId, RunId, TaskId, Timestamp, WorkerId};
use dagrun_core::offer::Offer;
use dagrun_core::status::{Refused, WorkerStatus};

use super::{Message, Result, WireError, length, read_list, read_text, read_texts};
use super::{write_list, write_texts};
use crate::dagrun_capnp as schema;

/// What a worker states at registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its name; empty: the scheduler picks one.
    pub name: String,
    /// The host it runs on.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// What it offers.
    pub offer: Offer,
    /// The functions that its program has, by name and signature.
    pub functions: Vec<(String, u64)>,
    /// Where it serves its values to others; `None` if it does not.
    pub door: Option<Door>,
    /// What tells it from any other worker as long as it lives; empty when it ends with its line.
    pub uid: String,
    /// How often it has registered before.
    pub serial: u32,
    /// A file that it holds locked as long as it lives.
    pub lock: Option<PathBuf>,
    /// The attempts that it has: ranges of ids, sorted.
    pub held: Vec<Range<u64>>,
    /// What of these it can name, for a scheduler that did not hand them out.
    pub claims: Vec<Claim>,
    /// The runs of which it has anything.
    pub runs: Vec<RunId>,
    /// Whether it takes nothing new.
    pub leaving: bool,
}

/// Where a worker serves its values to others.
#[derive(Clone, PartialEq, Eq)]
pub struct Door {
    /// The address.
    pub address: SocketAddr,
    /// The secret that a request must carry.
    pub secret: [u8; 32],
}

impl fmt::Debug for Door {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Another worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// Where it serves its values; `None` if it was lost.
    pub door: Option<Door>,
}

/// The progress of an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttemptProgress {
    /// The attempt.
    pub attempt: AttemptId,
    /// From 0 to 1.
    pub fraction: f32,
}

impl Message for AttemptProgress {
    type Schema = schema::attempt_progress::Owned;

    fn write(&self, mut to: schema::attempt_progress::Builder<'_>) {
        to.set_attempt(self.attempt.0);
        to.set_fraction(self.fraction);
    }

    /// A fraction that is not a number counts as no progress.
    fn read(from: schema::attempt_progress::Reader<'_>) -> Result<AttemptProgress> {
        let fraction = from.get_fraction();
        let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        Ok(AttemptProgress { attempt: AttemptId(from.get_attempt()), fraction })
    }
}

impl Message for (String, u64) {
    type Schema = schema::resource::Owned;

    fn write(&self, mut to: schema::resource::Builder<'_>) {
        to.set_name(&self.0);
        to.set_amount(self.1);
    }

    fn read(from: schema::resource::Reader<'_>) -> Result<(String, u64)> {
        Ok((read_text(from.get_name()?)?, from.get_amount()))
    }
}

impl Message for Offer {
    type Schema = schema::offer::Owned;

    fn write(&self, mut to: schema::offer::Builder<'_>) {
        to.set_slots(self.slots);
        to.set_memory(self.memory);
        write_texts(&self.labels, to.reborrow().init_labels(length(self.labels.len())));
        write_list(&self.resources, to.init_resources(length(self.resources.len())));
    }

    fn read(from: schema::offer::Reader<'_>) -> Result<Offer> {
        Ok(Offer {
            slots: from.get_slots(),
            labels: read_texts(from.get_labels()?)?,
            memory: from.get_memory(),
            resources: read_list(from.get_resources()?)?,
        })
    }
}

impl Message for WorkerStatus {
    type Schema = schema::worker_status::Owned;

    fn write(&self, mut to: schema::worker_status::Builder<'_>) {
        to.set_id(self.id);
        to.set_name(&self.name);
        to.set_host(&self.host);
        to.set_running(self.running);
        to.set_last_heartbeat(self.last_heartbeat.0);
        to.set_note(&self.note);
        self.offer.write(to.init_offer());
    }

    fn read(from: schema::worker_status::Reader<'_>) -> Result<WorkerStatus> {
        Ok(WorkerStatus {
            id: from.get_id(),
            name: read_text(from.get_name()?)?,
            host: read_text(from.get_host()?)?,
            offer: Offer::read(from.get_offer()?)?,
            running: from.get_running(),
            last_heartbeat: Timestamp(from.get_last_heartbeat()),
            note: read_text(from.get_note()?)?,
        })
    }
}

impl Message for Refused {
    type Schema = schema::refused::Owned;

    fn write(&self, mut to: schema::refused::Builder<'_>) {
        to.set_logins(self.logins);
        to.set_strangers(self.strangers);
        to.set_messages(self.messages);
        to.set_sessions(self.sessions);
        to.set_requests(self.requests);
        to.set_reports(self.reports);
    }

    fn read(from: schema::refused::Reader<'_>) -> Result<Refused> {
        Ok(Refused {
            logins: from.get_logins(),
            strangers: from.get_strangers(),
            messages: from.get_messages(),
            sessions: from.get_sessions(),
            requests: from.get_requests(),
            reports: from.get_reports(),
        })
    }
}

impl Message for Registration {
    type Schema = schema::registration::Owned;

    fn write(&self, mut to: schema::registration::Builder<'_>) {
        to.set_name(&self.name);
        to.set_host(&self.host);
        to.set_pid(self.pid);
        self.offer.write(to.reborrow().init_offer());
        self.door.write(to.reborrow().init_values());
        to.set_uid(&self.uid);
        to.set_serial(self.serial);
        to.set_leaving(self.leaving);
        if let Some(lock) = &self.lock {
            to.set_lock(lock.as_os_str().as_bytes());
        }
        let mut held = to.reborrow().init_held(length(self.held.len()));
        for (at, range) in (0..).zip(&self.held) {
            let mut to = held.reborrow().get(at);
            to.set_first(range.start);
            to.set_count(u32::try_from(range.end.saturating_sub(range.start)).unwrap_or(u32::MAX));
        }
        write_list(&self.claims, to.reborrow().init_claims(length(self.claims.len())));
        let mut runs = to.reborrow().init_runs(length(self.runs.len()));
        for (at, run) in (0..).zip(&self.runs) {
            runs.set(at, run.0);
        }
        let mut functions = to.init_functions(length(self.functions.len()));
        for (at, (name, signature)) in (0..functions.len()).zip(&self.functions) {
            let mut to = functions.reborrow().get(at);
            to.set_name(name);
            to.set_signature(*signature);
        }
    }

    fn read(from: schema::registration::Reader<'_>) -> Result<Registration> {
        let function = |function: schema::function::Reader<'_>| {
            Ok((read_text(function.get_name()?)?, function.get_signature()))
        };
        Ok(Registration {
            name: read_text(from.get_name()?)?,
            host: read_text(from.get_host()?)?,
            pid: from.get_pid(),
            offer: Offer::read(from.get_offer()?)?,
            functions: super::elements(from.get_functions()?)?
                .map(function)
                .collect::<Result<_>>()?,
            door: Option::read(from.get_values()?)?,
            uid: super::read_uid(from.get_uid()?)?,
            serial: from.get_serial(),
            lock: match from.get_lock()? {
                [] => None,
                path => Some(OsString::from_vec(path.to_vec()).into()),
            },
            held: read_held(from.get_held()?)?,
            claims: read_list(from.get_claims()?)?,
            runs: from.get_runs()?.iter().map(RunId).collect(),
            leaving: from.get_leaving(),
        })
    }
}

impl Message for Claim {
    type Schema = schema::claimed_attempts::Owned;

    fn write(&self, mut to: schema::claimed_attempts::Builder<'_>) {
        let Claim { assignment, started, ended } = self;
        to.set_run(assignment.run.0);
        to.set_task(assignment.task.0);
        to.set_first_index(assignment.first_index);
        to.set_count(assignment.count);
        to.set_first_attempt(assignment.first_attempt.0);
        to.set_number(assignment.number);
        to.set_memory(assignment.memory);
        to.set_started(started.0);
        to.set_ended(*ended);
    }

    /// Neither the indices nor the ids may leave their ranges.
    fn read(from: schema::claimed_attempts::Reader<'_>) -> Result<Claim> {
        let (first_index, count) = (from.get_first_index(), from.get_count());
        let first_attempt = from.get_first_attempt();
        let fits = first_index.checked_add(count).is_some()
            && first_attempt.checked_add(count.into()).is_some();
        if !fits {
            return Err(WireError::Range { what: "an attempt", number: first_attempt });
        }
        let assignment = Assignment {
            run: RunId(from.get_run()),
            task: TaskId(from.get_task()),
            first_index,
            count,
            first_attempt: AttemptId(first_attempt),
            number: from.get_number(),
            memory: from.get_memory(),
        };
        let (started, ended) = (Timestamp(from.get_started()), from.get_ended());
        Ok(Claim { assignment, started, ended })
    }
}

/// Ranges of attempts, in order and apart.
fn read_held(
    from: capnp::struct_list::Reader<'_, schema::attempt_range::Owned>,
) -> Result<Vec<Range<u64>>> {
    let mut held: Vec<Range<u64>> = Vec::new();
    for range in from {
        let first = range.get_first();
        let end = first.checked_add(range.get_count().into());
        let after = held.last().is_none_or(|last| last.end <= first);
        let end = end.filter(|end| after && *end > first);
        let number = first;
        held.push(first..end.ok_or(WireError::Range { what: "an attempt", number })?);
    }
    Ok(held)
}

impl Message for Option<Door> {
    type Schema = schema::door::Owned;

    fn write(&self, mut to: schema::door::Builder<'_>) {
        match self {
            None => to.set_closed(()),
            Some(door) => {
                let mut open = to.init_open();
                open.set_address(door.address.to_string());
                open.set_secret(&door.secret);
            }
        }
    }

    fn read(from: schema::door::Reader<'_>) -> Result<Option<Door>> {
        let open = match from.which()? {
            schema::door::Closed(()) => return Ok(None),
            schema::door::Open(open) => open,
        };
        let address = open.get_address()?.to_str()?.parse();
        Ok(Some(Door {
            address: address.map_err(|_| WireError::Door("a worker's data address"))?,
            secret: open.get_secret()?.try_into().map_err(|_| WireError::Door("a secret"))?,
        }))
    }
}

impl Message for Peer {
    type Schema = schema::peer::Owned;

    fn write(&self, mut to: schema::peer::Builder<'_>) {
        to.set_id(self.id.0);
        to.set_name(&self.name);
        self.door.write(to.init_values());
    }

    fn read(from: schema::peer::Reader<'_>) -> Result<Peer> {
        let door = Option::read(from.get_values()?)?;
        Ok(Peer { id: WorkerId(from.get_id()), name: read_text(from.get_name()?)?, door })
    }
}
