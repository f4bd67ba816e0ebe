//! Functions as tasks, in slots.

#[path = "../common/mod.rs"]
mod common;
mod context;
mod ending;
mod failures;
mod inputs;
mod values;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use common::until;
use dagrun_core::engine::{Assignment, Outcome, Refusal, Report};
use dagrun_core::ids::{AttemptId, InstanceId, Micros, RunId, TaskId};
use dagrun_core::payload;
use dagrun_core::recipe::{self, Argument, Calling, Input, Job, Keep};
use dagrun_core::status::{FailureKind, State, Stream};
use dagrun_disk::log::{Cursor, LogReader, RunLog};
use dagrun_macros::task;
use dagrun_worker::control::Stop;
use dagrun_worker::function::{self, Context, Failure, Gathered, TaskFn};
use dagrun_worker::groups::Mark;
use dagrun_worker::runner::Runner;
use dagrun_worker::slots::{Slots, TaskSource, Work};
use serde::{Deserialize, Serialize};

type Args = Vec<(Option<String>, Argument)>;

/// Calls one function, with arguments that may depend on the index.
struct Plain {
    calling: Calling,
    args: Box<dyn Fn(u32) -> Args + Send + Sync>,
}

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.calling.fmt(f)
    }
}

impl TaskSource for Plain {
    fn cpus(&self) -> u32 {
        self.calling.cpus
    }

    fn job(&self, index: u32, attempt: u32, _: &[Input]) -> Result<Job, String> {
        let args = (self.args)(index);
        Ok(Job::Call(Calling { index, attempt, args, ..self.calling.clone() }))
    }
}

fn calling(function: &str) -> Calling {
    Calling {
        function: function.to_owned(),
        signature: None,
        args: Vec::new(),
        fold: false,
        task: "test".to_owned(),
        index: 0,
        attempt: 1,
        run: RunId(1),
        seed: 77,
        run_dir: PathBuf::new(),
        cpus: 1,
        timeout: None,
        grace: Micros::from_secs(10),
        outputs: Vec::new(),
        report_outputs: false,
        keep: Keep::Report,
    }
}

fn value<T: Serialize + 'static>(value: &T) -> Argument {
    Argument::Value(payload::encode(value).unwrap())
}

fn listed(args: Vec<Argument>) -> Args {
    args.into_iter().map(|argument| (None, argument)).collect()
}

fn named(args: Vec<(&str, Argument)>) -> Args {
    args.into_iter().map(|(name, argument)| (Some(name.to_owned()), argument)).collect()
}

/// Slots and what they report.
struct Rig {
    slots: Slots,
    reports: mpsc::Receiver<Report>,
    next: AtomicU32,
}

impl Rig {
    fn new(count: usize) -> Rig {
        let (sender, reports) = mpsc::channel();
        let sender = Mutex::new(sender);
        let sink = Box::new(move |report| sender.lock().unwrap().send(report).unwrap());
        let runner = Runner::new(Mark::random(), None, 1 << 20);
        Rig { slots: Slots::new(count, runner, sink).unwrap(), reports, next: AtomicU32::new(0) }
    }

    /// Starts calls; gives the id of the first.
    fn push(
        &self,
        calling: Calling,
        count: u32,
        log: Option<Arc<RunLog>>,
        args: impl Fn(u32) -> Args + Send + Sync + 'static,
    ) -> AttemptId {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        let assignment = Assignment {
            run: RunId(1),
            task: TaskId(0),
            first_index: first,
            count,
            first_attempt: AttemptId(first.into()),
            number: 1,
            memory: 0,
        };
        let plan = Arc::new(Plain { calling, args: Box::new(args) });
        self.slots.push([Work {
            assignment,
            plan,
            inputs: Arc::default(),
            log,
            announce: false,
            fenced: Vec::new(),
        }]);
        AttemptId(first.into())
    }

    fn next(&self) -> Report {
        self.reports.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    fn call(&self, function: &str, args: Args) -> Report {
        self.run_with(calling(function), args)
    }

    fn run_with(&self, calling: Calling, args: Args) -> Report {
        self.push(calling, 1, None, move |_| args.clone());
        self.next()
    }
}

/// The value of a success.
fn returned<T: serde::de::DeserializeOwned + 'static>(report: &Report) -> T {
    assert_eq!(report.outcome, Outcome::Succeeded, "{:?}", report.detail);
    let payload = report.detail.as_ref().unwrap().value.clone().unwrap();
    payload::decode(&payload.into()).unwrap()
}

/// The kind and reason of a failure.
fn failed(report: &Report) -> (FailureKind, &str) {
    let Outcome::Failed(kind) = report.outcome else { panic!("{report:?}") };
    (kind, &report.detail.as_ref().unwrap().reason)
}

fn tail(report: &Report) -> String {
    String::from_utf8(report.detail.as_ref().unwrap().stderr_tail.clone()).unwrap()
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct OptionParams {
    strike: f64,
    volatility: f64,
}
