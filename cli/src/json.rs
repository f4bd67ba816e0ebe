//! The JSON that programs read: shapes of runs, instances, workers and events.

use dagrun_core::ids::{TaskId, Timestamp};
use std::collections::BTreeMap;

use dagrun_core::status::{
    InstanceRow, Refused, RunStatus, RunSummary, State, Tag, TaskStatus, TaskTimes, WorkerStatus,
};
use dagrun_core::value::Value;
use dagrun_scheduler::connection::Connection;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::time::rfc3339;

/// Parameters as a JSON object; numbers keep their spelling.
pub(crate) fn params(params: Vec<(String, Value)>) -> Box<RawValue> {
    let mut text = Vec::new();
    Value::Table(params).write_json(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn time(time: Option<Timestamp>) -> Option<String> {
    time.map(rfc3339)
}

/// `status RUN --json`.
#[derive(Serialize)]
pub(crate) struct RunJson<'a> {
    run: String,
    name: &'a str,
    state: &'a str,
    started: String,
    finished: Option<String>,
    #[serde(skip_serializing_if = "Tags::is_empty")]
    tags: Tags<'a>,
    /// Only when there is something to say.
    #[serde(skip_serializing_if = "str::is_empty")]
    waiting: &'a str,
    tasks: Vec<TaskJson<'a>>,
    times: Vec<TimesJson<'a>>,
}

/// The tags of a run: values by name, null without one.
type Tags<'a> = BTreeMap<&'a str, Option<&'a str>>;

fn tags(tags: &[Tag]) -> Tags<'_> {
    tags.iter().map(|tag| (tag.name.as_str(), tag.value.as_deref())).collect()
}

/// How long the instances of a task took, in seconds.
#[derive(Serialize)]
struct TimesJson<'a> {
    task: &'a str,
    started: Option<String>,
    finished: Option<String>,
    mean: Option<f64>,
    longest: Option<f64>,
    retried: u32,
}

#[derive(Serialize)]
struct TaskJson<'a> {
    task: &'a str,
    instances: u32,
    blocked: u32,
    ready: u32,
    leased: u32,
    backoff: u32,
    succeeded: u32,
    failed: u32,
    skipped: u32,
    cancelled: u32,
}

impl<'a> RunJson<'a> {
    /// The status of a run.
    pub(crate) fn new(status: &'a RunStatus, times: &[TaskTimes], tags: &'a [Tag]) -> RunJson<'a> {
        let times = status.tasks.iter().zip(times).map(|(task, times)| TimesJson::new(task, times));
        RunJson {
            run: status.run.to_string(),
            name: &status.name,
            state: status.state.word(),
            started: rfc3339(status.started),
            finished: time(status.finished),
            tags: self::tags(tags),
            waiting: &status.waiting,
            tasks: status.tasks.iter().map(TaskJson::new).collect(),
            times: times.collect(),
        }
    }
}

impl<'a> TimesJson<'a> {
    fn new(task: &'a TaskStatus, times: &TaskTimes) -> TimesJson<'a> {
        let is_known = times.instances > 0;
        TimesJson {
            task: &task.name,
            started: is_known.then(|| rfc3339(times.started)),
            finished: is_known.then(|| rfc3339(times.finished)),
            mean: is_known.then_some(times.mean.0 as f64 / 1e6),
            longest: is_known.then_some(times.longest.0 as f64 / 1e6),
            retried: times.retried,
        }
    }
}

impl<'a> TaskJson<'a> {
    fn new(task: &'a TaskStatus) -> TaskJson<'a> {
        let count = |state| task.counts.of(state);
        TaskJson {
            task: &task.name,
            instances: task.counts.total(),
            blocked: count(State::Blocked),
            ready: count(State::Ready),
            leased: count(State::Leased),
            backoff: count(State::Backoff),
            succeeded: count(State::Succeeded),
            failed: count(State::Failed),
            skipped: count(State::Skipped),
            cancelled: count(State::Cancelled),
        }
    }
}

/// A line of `status RUN --instances --json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct InstanceJson<'a> {
    task: &'a str,
    index: u32,
    state: &'a str,
    attempts: u32,
    worker: Option<&'a str>,
    started: Option<String>,
    finished: Option<String>,
    exit_code: Option<i32>,
    reason: Option<&'a str>,
    params: Box<RawValue>,
}

impl<'a> InstanceJson<'a> {
    /// An instance of the task called `task`.
    pub(crate) fn new(row: &'a InstanceRow, task: &'a str, params: Box<RawValue>) -> Self {
        InstanceJson {
            task,
            index: row.instance.index,
            state: row.state.word(),
            attempts: row.attempts,
            worker: row.worker.as_deref(),
            started: time(row.started),
            finished: time(row.finished),
            exit_code: row.exit_code,
            reason: Some(row.reason.as_str()).filter(|reason| !reason.is_empty()),
            params,
        }
    }
}

/// A line of `runs --json`.
#[derive(Serialize)]
pub(crate) struct SummaryJson<'a> {
    run: String,
    name: &'a str,
    state: &'a str,
    started: String,
    finished: Option<String>,
    instances: u64,
    done: u64,
    failed: u64,
    #[serde(skip_serializing_if = "Tags::is_empty")]
    tags: Tags<'a>,
}

impl<'a> SummaryJson<'a> {
    /// The summary of a run.
    pub(crate) fn new(run: &'a RunSummary) -> SummaryJson<'a> {
        SummaryJson {
            run: run.run.to_string(),
            name: &run.name,
            state: run.state.word(),
            started: rfc3339(run.started),
            finished: time(run.finished),
            instances: run.instances,
            done: run.done,
            failed: run.failed,
            tags: tags(&run.tags),
        }
    }
}

/// `cluster status --json`.
#[derive(Serialize)]
pub(crate) struct ClusterJson<'a> {
    cluster: &'a str,
    scheduler: String,
    process: u32,
    refused: RefusedJson,
    workers: Vec<WorkerJson<'a>>,
}

/// What it has refused since its start.
#[derive(Serialize)]
struct RefusedJson {
    logins: u64,
    strangers: u64,
    messages: u64,
    sessions: u64,
    requests: u64,
    reports: u64,
}

impl<'a> ClusterJson<'a> {
    /// A cluster whose scheduler was reached so.
    pub(crate) fn new(
        at: &'a Connection,
        workers: &'a [WorkerStatus],
        refused: Refused,
    ) -> ClusterJson<'a> {
        let Refused { logins, strangers, messages, sessions, requests, reports } = refused;
        ClusterJson {
            cluster: &at.cluster,
            scheduler: at.address.to_string(),
            process: at.pid,
            refused: RefusedJson { logins, strangers, messages, sessions, requests, reports },
            workers: workers.iter().map(WorkerJson::new).collect(),
        }
    }
}

/// A line of `workers --json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct WorkerJson<'a> {
    id: u32,
    name: &'a str,
    host: &'a str,
    slots: u32,
    running: u32,
    labels: &'a [String],
    memory: u64,
    resources: serde_json::Map<String, serde_json::Value>,
    last_heartbeat: String,
    /// Only when there is something to say.
    #[serde(skip_serializing_if = "str::is_empty")]
    note: &'a str,
}

impl<'a> WorkerJson<'a> {
    /// The status of a worker.
    pub(crate) fn new(worker: &'a WorkerStatus) -> WorkerJson<'a> {
        let resources = worker.offer.resources.iter();
        WorkerJson {
            id: worker.id,
            name: &worker.name,
            host: &worker.host,
            slots: worker.offer.slots,
            running: worker.running,
            labels: &worker.offer.labels,
            memory: worker.offer.memory,
            resources: resources.map(|(name, amount)| (name.clone(), (*amount).into())).collect(),
            last_heartbeat: rfc3339(worker.last_heartbeat),
            note: &worker.note,
        }
    }
}

/// A line of `exec --json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ExecJson<'a> {
    /// Where it ran.
    pub(crate) worker: &'a str,
    /// How it ended.
    pub(crate) state: &'a str,
    /// What it returned, if it ended by itself.
    pub(crate) exit_code: Option<i32>,
    /// What it wrote; bytes that are no UTF-8 are replaced.
    pub(crate) stdout: std::borrow::Cow<'a, str>,
    /// The same of standard error.
    pub(crate) stderr: std::borrow::Cow<'a, str>,
    /// Why it did not succeed.
    pub(crate) reason: Option<&'a str>,
}

/// A line of `submit --json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event<'a> {
    /// The first.
    RunStarted {
        /// The run.
        run: String,
        /// The pipeline's name.
        name: &'a str,
        /// How many tasks it has.
        tasks: usize,
        /// How many instances.
        instances: u64,
    },
    /// Every instance of a task is terminal.
    TaskFinished {
        /// The run.
        run: String,
        /// The task.
        task: &'a str,
        /// How many instances it has.
        instances: u32,
        /// How many of them succeeded.
        succeeded: u32,
        /// How many of them failed.
        failed: u32,
        /// How many of them were skipped.
        skipped: u32,
        /// How many of them were cancelled.
        cancelled: u32,
    },
    /// An instance failed for good.
    InstanceFailed {
        /// The run.
        run: String,
        /// The task.
        task: &'a str,
        /// The index.
        index: u32,
        /// Why.
        reason: &'a str,
        /// Its parameters.
        params: Box<RawValue>,
    },
    /// An instance was skipped for a reason that fails the run.
    InstanceSkipped {
        /// The run.
        run: String,
        /// The task.
        task: &'a str,
        /// The index.
        index: u32,
        /// Why.
        reason: &'a str,
        /// Its parameters.
        params: Box<RawValue>,
    },
    /// Nothing of it is started for now.
    RunWaiting {
        /// The run.
        run: String,
        /// Why.
        reason: &'a str,
    },
    /// What it waited for is there.
    RunContinued {
        /// The run.
        run: String,
    },
    /// The last.
    RunFinished {
        /// The run.
        run: String,
        /// How it ended.
        state: &'a str,
    },
}

impl<'a> Event<'a> {
    /// A task has ended.
    pub(crate) fn task_finished(
        run: String,
        task: &'a str,
        counts: dagrun_core::status::Counts,
    ) -> Self {
        Event::TaskFinished {
            run,
            task,
            instances: counts.total(),
            succeeded: counts.of(State::Succeeded),
            failed: counts.of(State::Failed),
            skipped: counts.of(State::Skipped),
            cancelled: counts.of(State::Cancelled),
        }
    }
}

/// The name of a task by its position, for lines about instances.
pub(crate) fn task_name(status: &RunStatus, task: TaskId) -> &str {
    status.tasks.get(task.at()).map_or("?", |task| task.name.as_str())
}
