//! One attempt that is a call, in the calling thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use dagrun_core::engine::{Outcome, Refusal};
use dagrun_core::ids::{Micros, Timestamp};
use dagrun_core::recipe::{Calling, INLINE, Input, Keep};
use dagrun_core::status::{Detail, FailureKind, Stream};

use super::context::Log;
use super::pools::{Pools, Wide};
use super::registry::{self, Function};
use super::shelf::Shelf;
use super::{Context, Failure, Fetch, Inline, Inputs, Keeper, panics};
use crate::attempt::{Ended, Fault};
use crate::checkpoint;
use crate::control::{Control, Stop};
use crate::data::Patience;
use crate::outputs::{self, Outputs, Records, Unpublished};
use crate::values::{Keeping, ValueId, Watched};
use dagrun_disk::clock;
use dagrun_disk::log::{Owner, RunLog, Span};

/// What all calls of a worker share.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) keeper: Arc<dyn Keeper>,
    /// The worker's name, once it has one.
    pub(crate) worker: OnceLock<Arc<str>>,
    /// Where the directories of attempts under way are written down.
    pub(crate) records: Records,
    shelf: Arc<Shelf>,
    pools: Pools,
}

/// The surroundings of a call.
pub(crate) struct Surroundings<'a> {
    /// The owner of its output.
    pub(crate) owner: Owner,
    /// The log for its lines.
    pub(crate) log: Option<&'a Arc<RunLog>>,
    /// Bytes of these lines that are kept.
    pub(crate) log_limit: usize,
    /// Lets other threads stop it.
    pub(crate) control: &'a Control,
    /// Slots that it occupies.
    pub(crate) width: usize,
    /// Called once its time runs.
    pub(crate) begin: &'a dyn Fn(&Calling),
}

impl Caller {
    pub(crate) fn new(records: Records) -> Caller {
        Caller {
            fetch: Arc::new(Inline),
            keeper: Arc::new(Inline),
            worker: OnceLock::new(),
            records,
            shelf: Arc::default(),
            pools: Pools::default(),
        }
    }

    /// Makes the call.
    pub(crate) fn call(
        &self,
        mut calling: Calling,
        given: &[Input],
        place: &Surroundings<'_>,
    ) -> Ended {
        if let Some(why) = place.control.stopped() {
            let (kind, reason) = stopped(why, calling.timeout);
            return Ended::without_start(Outcome::Failed(kind), reason);
        }
        let started = clock::now();
        let prepared = registry::find(&calling.function, calling.signature)
            .map_err(Fault::start)
            .and_then(|function| self.prepare(function, &mut calling, given))
            .and_then(|prepared| Ok((prepared, self.wide(place.width)?)));
        let ((function, outputs, mut inputs, watched), wide) = match prepared {
            Ok(prepared) => prepared,
            Err(Fault(outcome, reason)) => return Ended::without_start(outcome, reason),
        };
        // The timeout begins no earlier than `started`, so that no call is ended early.
        (place.begin)(&calling);
        place.control.set_started(started);
        let log = place.log.map(|log| Log::new(log.clone(), place.owner, place.log_limit));
        let cpus = u32::try_from(place.width).unwrap_or(u32::MAX);
        let worker = self.worker.get().cloned().unwrap_or_default();
        let token = place.control.token().clone();
        let context = Context::new(&calling, cpus, worker, self.shelf.clone(), token, log);
        let returned = self.run(function, calling.fold, wide, &mut inputs, &context);
        let checkpoint = context.checkpoint();
        // The function's files are removed before its end is reported.
        drop(context);
        let finished = clock::now();
        if let (Err(failure), Some(of)) = (&returned, watched.absent())
            && place.control.stopped().is_none()
        {
            // It is not at fault: it runs once more when the value is there.
            let detail = Some(Box::new(Detail {
                reason: failure.message().to_owned(),
                ..Detail::default()
            }));
            return Ended {
                outcome: Outcome::Refused(Refusal::Value(of)),
                detail,
                started,
                finished,
            };
        }
        let judged = match place.control.stopped() {
            Some(why) => {
                let (kind, reason) = stopped(why, calling.timeout);
                Err(Failure::of_kind(kind, reason))
            }
            None => returned.and_then(|payload| self.settle(&calling, place, &outputs, payload)),
        };
        drop(outputs);
        if let Some(dir) = checkpoint.filter(|_| judged.is_ok()) {
            checkpoint::remove(&dir);
        }
        conclude(judged, started, finished)
    }

    fn prepare(
        &self,
        function: &'static Function,
        calling: &mut Calling,
        given: &[Input],
    ) -> Result<(&'static Function, Outputs, Inputs, Arc<Watched>), Fault> {
        let outputs = Outputs::prepare(&calling.outputs, &calling.run_dir, &self.records)?;
        let args = std::mem::take(&mut calling.args);
        let watched = Arc::new(Watched::new(Arc::clone(&self.fetch)));
        let fetch = Arc::clone(&watched) as Arc<dyn Fetch>;
        let inputs = Inputs::new(function, args, given, calling.fold, calling.run, fetch)
            .map_err(Fault::start)?;
        Ok((function, outputs, inputs, watched))
    }

    /// Completes a returned value: keeps it in its place, and moves the outputs to theirs.
    fn settle(
        &self,
        calling: &Calling,
        place: &Surroundings<'_>,
        outputs: &Outputs,
        payload: Vec<u8>,
    ) -> Result<Detail, Failure> {
        let control = place.control;
        let id = ValueId { run: calling.run, instance: place.owner.instance };
        let Calling { task, keep, run_dir, .. } = calling;
        let patience = Patience { wake: Some(control.wake()), deadline: None };
        let unpublished = |error| match error {
            Unpublished::NoSpace(reason) | Unpublished::Failed(reason) => {
                Failure::of_kind(FailureKind::MissingOutput, reason)
            }
            Unpublished::Stopped | Unpublished::TimedOut => {
                let why = control.stopped().unwrap_or(Stop::Cancel);
                let (kind, reason) = stopped(why, calling.timeout);
                Failure::of_kind(kind, reason)
            }
        };
        if *keep == Keep::File && payload.len() > INLINE {
            // Others read it as a file: only while the attempt is certainly still this worker's.
            outputs.may_publish(patience).map_err(unpublished)?;
        }
        let may = || match keep {
            Keep::File => outputs.may_publish(patience).is_ok(),
            _ => control.stopped().is_none(),
        };
        let of = Keeping { id, task, keep: *keep, run_dir, may: &may };
        let kept = self.keeper.keep(&of, payload);
        let value = kept.map_err(|reason| Failure::of_kind(FailureKind::Capture, reason))?;
        let side_files = outputs.publish(patience).map_err(unpublished)?;
        if let Some(log) = place.log
            && !side_files.is_empty()
        {
            let note = outputs::note(&side_files);
            let length = u32::try_from(note.len()).unwrap_or(u32::MAX);
            let span = Span { stream: Stream::Note, at: clock::now(), length };
            log.append(place.owner, &[span], note.as_bytes());
        }
        let stamps = outputs.stamps();
        let outputs = outputs.reported(calling.report_outputs);
        Ok(Detail { value: Some(value), outputs, stamps, ..Detail::default() })
    }

    /// The threads of a function that occupies several slots.
    fn wide(&self, width: usize) -> Result<Option<(usize, Wide)>, Fault> {
        if width <= 1 {
            return Ok(None);
        }
        let taken = self.pools.take(width).map_err(|error| {
            // What fails here is starting a thread.
            let reason = format!("cannot start {width} threads: {error}");
            Fault(Outcome::Refused(Refusal::Scarce), reason)
        });
        taken.map(|wide| Some((width, wide)))
    }

    fn run(
        &self,
        function: &Function,
        fold: bool,
        wide: Option<(usize, Wide)>,
        inputs: &mut Inputs,
        context: &Context,
    ) -> Result<Vec<u8>, Failure> {
        let called = match (fold, function.fold) {
            (false, _) => function.call,
            (true, Some(fold)) => fold,
            (true, None) => {
                let message =
                    format!("{} cannot fold a list: it has not two inputs", function.name);
                return Err(Failure::of_kind(FailureKind::Start, message));
            }
        };
        let caught = || catch_unwind(AssertUnwindSafe(|| called(inputs, context)));
        let Some((width, wide)) = wide else {
            return panics::recorded(caught)
                .unwrap_or_else(|panic| Err(panics::recorder().failure(panic.as_ref())));
        };
        let returned = wide
            .pool
            .install(caught)
            .unwrap_or_else(|panic| Err(wide.recorder.failure(panic.as_ref())));
        self.pools.give_back(width, wide);
        returned
    }
}

/// The outcome of a call that was stopped.
pub(super) fn stopped(why: Stop, timeout: Option<Micros>) -> (FailureKind, String) {
    match why {
        Stop::Cancel => (FailureKind::Cancelled, "cancelled".to_owned()),
        Stop::Leave => (FailureKind::Preempted, "its worker left".to_owned()),
        Stop::Timeout => {
            let span = timeout.unwrap_or_default();
            (FailureKind::Timeout, format!("timed out after {span}"))
        }
    }
}

fn conclude(judged: Result<Detail, Failure>, started: Timestamp, finished: Timestamp) -> Ended {
    let (outcome, detail) = match judged {
        Ok(detail) => (Outcome::Succeeded, detail),
        Err(failure) => (Outcome::Failed(failure.kind()), failure.into_detail()),
    };
    Ended { outcome, detail: Some(Box::new(detail)), started, finished }
}
