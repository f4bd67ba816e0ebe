//! Core types to messages and back. Readers check everything: whatever a peer sends is hostile until
//! it has passed through here.

use dagrun_core::engine::{Assignment, Outcome, Report};
use dagrun_core::ids::{AttemptId, InstanceId, RunId, TaskId, Timestamp};
use dagrun_core::offer::Offer;
use dagrun_core::recipe::Input;
use dagrun_core::status::{
    Counts, Detail, Failure, FailureKind, InstanceResult, InstanceRow, LogChunk, RunState,
    RunStatus, RunSummary, State, Stream, TaskStatus, WorkerStatus,
};

use crate::dagrun_capnp as wire;

/// Why a message was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The message itself is broken.
    #[error("malformed message: {0}")]
    Malformed(#[from] capnp::Error),
    /// Text that is not UTF-8.
    #[error("malformed message: text is not UTF-8")]
    Text(#[from] std::str::Utf8Error),
    /// An enumerant that this version does not know.
    #[error("malformed message: {0}")]
    Unknown(#[from] capnp::NotInSchema),
    /// A number out of its range.
    #[error("malformed message: {what} is {number}")]
    Range {
        /// What the number is.
        what: &'static str,
        /// The number.
        number: u64,
    },
}

impl From<WireError> for capnp::Error {
    fn from(error: WireError) -> Self {
        capnp::Error::failed(error.to_string())
    }
}

type Result<T> = std::result::Result<T, WireError>;

fn length(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn some_time(micros: u64) -> Option<Timestamp> {
    (micros != 0).then_some(Timestamp(micros))
}

fn micros(time: Option<Timestamp>) -> u64 {
    time.map_or(0, |time| time.0)
}

fn read_state(number: u8) -> Result<State> {
    State::from_u8(number).ok_or(WireError::Range { what: "a state", number: number.into() })
}

/// Reads the state of a run.
///
/// # Errors
/// When there is no such state.
pub fn read_run_state(number: u8) -> Result<RunState> {
    RunState::from_u8(number)
        .ok_or(WireError::Range { what: "the state of a run", number: number.into() })
}

/// Writes an attempt's details.
pub fn write_detail(detail: &Detail, mut to: wire::detail::Builder<'_>) {
    to.set_reason(&detail.reason);
    to.set_stderr_tail(&detail.stderr_tail);
    if let Some(value) = &detail.value {
        to.set_value(value);
        to.set_has_value(true);
    }
    let mut outputs = to.init_outputs(length(detail.outputs.len()));
    for (i, output) in (0..).zip(&detail.outputs) {
        outputs.set(i, output);
    }
}

/// Reads an attempt's details.
///
/// # Errors
/// When the message is malformed.
pub fn read_detail(from: wire::detail::Reader<'_>) -> Result<Detail> {
    Ok(Detail {
        reason: from.get_reason()?.to_str()?.to_owned(),
        stderr_tail: from.get_stderr_tail()?.to_vec(),
        value: if from.get_has_value() { Some(from.get_value()?.to_vec()) } else { None },
        outputs: read_data_list(from.get_outputs()?)?,
    })
}

fn read_data_list(from: capnp::data_list::Reader<'_>) -> Result<Vec<Vec<u8>>> {
    from.iter().map(|data| Ok(data?.to_vec())).collect()
}

/// Writes a report.
pub fn write_report(report: &Report, mut to: wire::report::Builder<'_>) {
    let (outcome, code) = match report.outcome {
        Outcome::Started => (wire::Outcome::Started, 0),
        Outcome::Succeeded => (wire::Outcome::Succeeded, 0),
        Outcome::Returned => (wire::Outcome::Returned, 0),
        Outcome::Failed(FailureKind::Exit(code)) => (wire::Outcome::Exit, code),
        Outcome::Failed(FailureKind::Signal(signal)) => (wire::Outcome::Signal, signal),
        Outcome::Failed(FailureKind::Timeout) => (wire::Outcome::Timeout, 0),
        Outcome::Failed(FailureKind::Lost) => (wire::Outcome::Lost, 0),
        Outcome::Failed(FailureKind::Start) => (wire::Outcome::Start, 0),
        Outcome::Failed(FailureKind::MissingOutput) => (wire::Outcome::MissingOutput, 0),
        Outcome::Failed(FailureKind::Capture) => (wire::Outcome::Capture, 0),
        Outcome::Failed(FailureKind::Cancelled) => (wire::Outcome::Cancelled, 0),
        Outcome::Failed(FailureKind::Function) => (wire::Outcome::Function, 0),
        Outcome::Failed(FailureKind::Panic) => (wire::Outcome::Panic, 0),
    };
    to.set_first(report.first.0);
    to.set_count(report.count);
    to.set_outcome(outcome);
    to.set_code(code);
    to.set_started(report.started.0);
    to.set_finished(report.finished.0);
    if let Some(detail) = &report.detail {
        write_detail(detail, to.init_detail());
    }
}

/// Reads a report.
///
/// # Errors
/// When the message is malformed.
pub fn read_report(from: wire::report::Reader<'_>) -> Result<Report> {
    let code = from.get_code();
    let outcome = match from.get_outcome()? {
        wire::Outcome::Started => Outcome::Started,
        wire::Outcome::Succeeded => Outcome::Succeeded,
        wire::Outcome::Returned => Outcome::Returned,
        wire::Outcome::Exit => Outcome::Failed(FailureKind::Exit(code)),
        wire::Outcome::Signal => Outcome::Failed(FailureKind::Signal(code)),
        wire::Outcome::Timeout => Outcome::Failed(FailureKind::Timeout),
        wire::Outcome::Lost => Outcome::Failed(FailureKind::Lost),
        wire::Outcome::Start => Outcome::Failed(FailureKind::Start),
        wire::Outcome::MissingOutput => Outcome::Failed(FailureKind::MissingOutput),
        wire::Outcome::Capture => Outcome::Failed(FailureKind::Capture),
        wire::Outcome::Cancelled => Outcome::Failed(FailureKind::Cancelled),
        wire::Outcome::Function => Outcome::Failed(FailureKind::Function),
        wire::Outcome::Panic => Outcome::Failed(FailureKind::Panic),
    };
    let detail =
        if from.has_detail() { Some(Box::new(read_detail(from.get_detail()?)?)) } else { None };
    Ok(Report {
        first: AttemptId(from.get_first()),
        count: from.get_count(),
        outcome,
        started: Timestamp(from.get_started()),
        finished: Timestamp(from.get_finished()),
        detail,
        items: None,
    })
}

/// Writes an assignment; `inputs` is empty or holds one list for each instance.
pub fn write_assignment(
    assignment: &Assignment,
    inputs: &[Vec<Input>],
    mut to: wire::assignment::Builder<'_>,
) {
    to.set_run(assignment.run.0);
    to.set_task(assignment.task.0);
    to.set_first_index(assignment.first_index);
    to.set_count(assignment.count);
    to.set_first_attempt(assignment.first_attempt.0);
    to.set_number(assignment.number);
    let mut lists = to.init_inputs(length(inputs.len()));
    for (i, of_instance) in (0..).zip(inputs) {
        let mut list = lists.reborrow().init(i, length(of_instance.len()));
        for (j, input) in (0..).zip(of_instance) {
            write_input(input, list.reborrow().get(j));
        }
    }
}

fn write_input(input: &Input, mut to: wire::input::Builder<'_>) {
    if let Some(value) = &input.value {
        to.set_value(value);
        to.set_has_value(true);
    }
    let mut outputs = to.init_outputs(length(input.outputs.len()));
    for (i, output) in (0..).zip(&input.outputs) {
        outputs.set(i, output);
    }
}

/// Reads an assignment and its inputs: none, or one list for each instance.
///
/// # Errors
/// When the message is malformed.
pub fn read_assignment(
    from: wire::assignment::Reader<'_>,
) -> Result<(Assignment, Vec<Vec<Input>>)> {
    let assignment = Assignment {
        run: RunId(from.get_run()),
        task: TaskId(from.get_task()),
        first_index: from.get_first_index(),
        count: from.get_count(),
        first_attempt: AttemptId(from.get_first_attempt()),
        number: from.get_number(),
    };
    if assignment.first_index.checked_add(assignment.count).is_none() {
        return Err(WireError::Range { what: "a count", number: assignment.count.into() });
    }
    let lists = from.get_inputs()?;
    if !lists.is_empty() && lists.len() != assignment.count {
        return Err(WireError::Range { what: "the number of inputs", number: lists.len().into() });
    }
    let inputs = lists
        .iter()
        .map(|list| list?.iter().map(read_input).collect())
        .collect::<Result<Vec<Vec<Input>>>>()?;
    Ok((assignment, inputs))
}

fn read_input(from: wire::input::Reader<'_>) -> Result<Input> {
    Ok(Input {
        value: if from.get_has_value() { Some(from.get_value()?.to_vec()) } else { None },
        outputs: read_data_list(from.get_outputs()?)?,
        file: None,
    })
}

fn write_counts(counts: &Counts, mut to: capnp::primitive_list::Builder<'_, u32>) {
    for (i, count) in (0..).zip(counts.0) {
        to.set(i, count);
    }
}

fn read_counts(from: capnp::primitive_list::Reader<'_, u32>) -> Result<Counts> {
    let mut counts = Counts::default();
    if from.len() != length(counts.0.len()) {
        return Err(WireError::Range { what: "the number of states", number: from.len().into() });
    }
    for (slot, count) in counts.0.iter_mut().zip(from.iter()) {
        *slot = count;
    }
    Ok(counts)
}

/// Writes a run's summary.
pub fn write_run_summary(summary: &RunSummary, mut to: wire::run_summary::Builder<'_>) {
    to.set_id(summary.run.0);
    to.set_name(&summary.name);
    to.set_state(summary.state as u8);
    to.set_started(summary.started.0);
    to.set_finished(micros(summary.finished));
    to.set_instances(summary.instances);
    to.set_done(summary.done);
    to.set_failed(summary.failed);
}

/// Reads a run's summary.
///
/// # Errors
/// When the message is malformed.
pub fn read_run_summary(from: wire::run_summary::Reader<'_>) -> Result<RunSummary> {
    Ok(RunSummary {
        run: RunId(from.get_id()),
        name: from.get_name()?.to_str()?.to_owned(),
        state: read_run_state(from.get_state())?,
        started: Timestamp(from.get_started()),
        finished: some_time(from.get_finished()),
        instances: from.get_instances(),
        done: from.get_done(),
        failed: from.get_failed(),
    })
}

/// Writes a run's status.
pub fn write_run_status(status: &RunStatus, mut to: wire::run_status::Builder<'_>) {
    to.set_id(status.run.0);
    to.set_name(&status.name);
    to.set_state(status.state as u8);
    to.set_started(status.started.0);
    to.set_finished(micros(status.finished));
    let mut tasks = to.init_tasks(length(status.tasks.len()));
    for (i, task) in (0..).zip(&status.tasks) {
        let mut to = tasks.reborrow().get(i);
        to.set_name(&task.name);
        to.set_running(task.running);
        to.set_width_unknown(!task.width_known);
        to.set_partial(task.partial);
        to.set_note(&task.note);
        write_counts(&task.counts, to.init_counts(length(task.counts.0.len())));
    }
}

/// Reads a run's status.
///
/// # Errors
/// When the message is malformed.
pub fn read_run_status(from: wire::run_status::Reader<'_>) -> Result<RunStatus> {
    let tasks = from.get_tasks()?.iter().map(|task| {
        Ok(TaskStatus {
            name: task.get_name()?.to_str()?.to_owned(),
            counts: read_counts(task.get_counts()?)?,
            running: task.get_running(),
            width_known: !task.get_width_unknown(),
            partial: task.get_partial(),
            note: task.get_note()?.to_str()?.to_owned(),
        })
    });
    Ok(RunStatus {
        run: RunId(from.get_id()),
        name: from.get_name()?.to_str()?.to_owned(),
        state: read_run_state(from.get_state())?,
        started: Timestamp(from.get_started()),
        finished: some_time(from.get_finished()),
        tasks: tasks.collect::<Result<_>>()?,
    })
}

/// What changed in a run since an observer's last update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The run's state.
    pub state: RunState,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// The tasks that changed.
    pub tasks: Vec<TaskDelta>,
    /// Instances that failed, at most 16.
    pub failures: Vec<Failure>,
    /// Workers present.
    pub workers: u32,
    /// Instances that have ended, for those who asked for that.
    pub ended: Vec<Ended>,
    /// Whether more instances have ended than could be remembered.
    pub ended_lost: bool,
}

/// Consecutive instances that have ended in the same state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The task.
    pub task: TaskId,
    /// The first instance.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// A terminal state.
    pub state: State,
}

/// What a task that changed is like now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskDelta {
    /// The task.
    pub task: TaskId,
    /// Its instances by state.
    pub counts: Counts,
    /// How many of them are known to run.
    pub running: u32,
    /// Whether its number of instances is known; until then all counts are zero.
    pub width_known: bool,
}

/// Writes an observer's update.
pub fn write_update(update: &Update, mut to: wire::update::Builder<'_>) {
    to.set_state(update.state as u8);
    to.set_finished(micros(update.finished));
    to.set_workers(update.workers);
    let mut tasks = to.reborrow().init_tasks(length(update.tasks.len()));
    for (i, delta) in (0..).zip(&update.tasks) {
        let mut to = tasks.reborrow().get(i);
        to.set_task(delta.task.0);
        to.set_running(delta.running);
        to.set_width_unknown(!delta.width_known);
        write_counts(&delta.counts, to.init_counts(length(delta.counts.0.len())));
    }
    to.set_ended_lost(update.ended_lost);
    let mut ended = to.reborrow().init_ended(length(update.ended.len()));
    for (i, one) in (0..).zip(&update.ended) {
        let mut to = ended.reborrow().get(i);
        to.set_task(one.task.0);
        to.set_first(one.first);
        to.set_count(one.count);
        to.set_state(one.state as u8);
    }
    let mut failures = to.init_failures(length(update.failures.len()));
    for (i, failure) in (0..).zip(&update.failures) {
        let mut to = failures.reborrow().get(i);
        to.set_task(failure.instance.task.0);
        to.set_index(failure.instance.index);
        to.set_reason(&failure.reason);
        to.set_stderr_tail(&failure.stderr_tail);
    }
}

/// Reads an observer's update.
///
/// # Errors
/// When the message is malformed.
pub fn read_update(from: wire::update::Reader<'_>) -> Result<Update> {
    let tasks = from.get_tasks()?.iter().map(|task| {
        Ok(TaskDelta {
            task: TaskId(task.get_task()),
            counts: read_counts(task.get_counts()?)?,
            running: task.get_running(),
            width_known: !task.get_width_unknown(),
        })
    });
    let failures = from.get_failures()?.iter().map(|failure| {
        Ok(Failure {
            instance: InstanceId { task: TaskId(failure.get_task()), index: failure.get_index() },
            reason: failure.get_reason()?.to_str()?.to_owned(),
            stderr_tail: failure.get_stderr_tail()?.to_vec(),
        })
    });
    let ended = from.get_ended()?.iter().map(|one| {
        Ok(Ended {
            task: TaskId(one.get_task()),
            first: one.get_first(),
            count: one.get_count(),
            state: read_state(one.get_state())?,
        })
    });
    Ok(Update {
        ended: ended.collect::<Result<_>>()?,
        ended_lost: from.get_ended_lost(),
        state: read_run_state(from.get_state())?,
        finished: some_time(from.get_finished()),
        tasks: tasks.collect::<Result<_>>()?,
        failures: failures.collect::<Result<_>>()?,
        workers: from.get_workers(),
    })
}

/// Writes an instance's row.
pub fn write_instance_row(row: &InstanceRow, mut to: wire::instance_row::Builder<'_>) {
    to.set_task(row.instance.task.0);
    to.set_index(row.instance.index);
    to.set_state(row.state as u8);
    to.set_attempts(row.attempts);
    to.set_worker(row.worker.as_deref().unwrap_or(""));
    to.set_started(micros(row.started));
    to.set_finished(micros(row.finished));
    if let Some(code) = row.exit_code {
        to.set_exit_code(code);
        to.set_has_exit_code(true);
    }
    to.set_reason(&row.reason);
}

/// Writes an instance's row and value.
pub fn write_result(result: &InstanceResult, mut to: wire::instance_result::Builder<'_>) {
    if let Some(value) = &result.value {
        to.set_value(value);
        to.set_has_value(true);
    }
    to.set_detail(&result.detail);
    write_instance_row(&result.row, to.init_row());
}

/// Reads an instance's row and value.
///
/// # Errors
/// When the message is malformed.
pub fn read_result(from: wire::instance_result::Reader<'_>) -> Result<InstanceResult> {
    let value = if from.get_has_value() { Some(from.get_value()?.to_vec()) } else { None };
    let row = read_instance_row(from.get_row()?)?;
    Ok(InstanceResult { row, value, detail: from.get_detail()?.to_vec() })
}

/// Reads an instance's row.
///
/// # Errors
/// When the message is malformed.
pub fn read_instance_row(from: wire::instance_row::Reader<'_>) -> Result<InstanceRow> {
    let worker = from.get_worker()?.to_str()?;
    Ok(InstanceRow {
        instance: InstanceId { task: TaskId(from.get_task()), index: from.get_index() },
        state: read_state(from.get_state())?,
        attempts: from.get_attempts(),
        worker: (!worker.is_empty()).then(|| worker.to_owned()),
        started: some_time(from.get_started()),
        finished: some_time(from.get_finished()),
        exit_code: from.get_has_exit_code().then(|| from.get_exit_code()),
        reason: from.get_reason()?.to_str()?.to_owned(),
    })
}

/// Writes a piece of output.
pub fn write_log_chunk(chunk: &LogChunk, mut to: wire::log_chunk::Builder<'_>) {
    to.set_task(chunk.instance.task.0);
    to.set_index(chunk.instance.index);
    to.set_attempt(chunk.attempt);
    to.set_stream(chunk.stream as u8);
    to.set_at(chunk.at.0);
    to.set_bytes(&chunk.bytes);
}

/// Reads a piece of output.
///
/// # Errors
/// When the message is malformed.
pub fn read_log_chunk(from: wire::log_chunk::Reader<'_>) -> Result<LogChunk> {
    let stream = match from.get_stream() {
        0 => Stream::Stdout,
        1 => Stream::Stderr,
        2 => Stream::Note,
        number => return Err(WireError::Range { what: "a stream", number: number.into() }),
    };
    Ok(LogChunk {
        instance: InstanceId { task: TaskId(from.get_task()), index: from.get_index() },
        attempt: from.get_attempt(),
        stream,
        at: Timestamp(from.get_at()),
        bytes: from.get_bytes()?.to_vec(),
    })
}

/// Writes a worker's status.
pub fn write_worker_status(status: &WorkerStatus, mut to: wire::worker_status::Builder<'_>) {
    to.set_id(status.id);
    to.set_name(&status.name);
    to.set_host(&status.host);
    to.set_slots(status.offer.slots);
    to.set_running(status.running);
    to.set_last_heartbeat(status.last_heartbeat.0);
    to.set_memory(status.offer.memory);
    let mut resources = to.reborrow().init_resources(length(status.offer.resources.len()));
    for (i, resource) in (0..).zip(&status.offer.resources) {
        write_resource(resource, resources.reborrow().get(i));
    }
    let mut labels = to.init_labels(length(status.offer.labels.len()));
    for (i, label) in (0..).zip(&status.offer.labels) {
        labels.set(i, label);
    }
}

/// Reads a worker's status.
///
/// # Errors
/// When the message is malformed.
pub fn read_worker_status(from: wire::worker_status::Reader<'_>) -> Result<WorkerStatus> {
    Ok(WorkerStatus {
        id: from.get_id(),
        name: from.get_name()?.to_str()?.to_owned(),
        host: from.get_host()?.to_str()?.to_owned(),
        offer: Offer {
            slots: from.get_slots(),
            labels: read_text_list(from.get_labels()?)?,
            memory: from.get_memory(),
            resources: from.get_resources()?.iter().map(read_resource).collect::<Result<_>>()?,
        },
        running: from.get_running(),
        last_heartbeat: Timestamp(from.get_last_heartbeat()),
    })
}

/// Writes an amount of a custom resource.
pub fn write_resource(resource: &(String, u64), mut to: wire::resource::Builder<'_>) {
    to.set_name(&resource.0);
    to.set_amount(resource.1);
}

/// Reads an amount of a custom resource.
///
/// # Errors
/// When the message is malformed.
pub fn read_resource(from: wire::resource::Reader<'_>) -> Result<(String, u64)> {
    Ok((from.get_name()?.to_str()?.to_owned(), from.get_amount()))
}

/// Reads a list of texts.
///
/// # Errors
/// When the message is malformed.
pub fn read_text_list(from: capnp::text_list::Reader<'_>) -> Result<Vec<String>> {
    from.iter().map(|text| Ok(text?.to_str()?.to_owned())).collect()
}
