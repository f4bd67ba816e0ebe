//! Messages about attempts: recipes and assignments to a worker, reports from it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use dagrun_core::engine::{Assignment, Outcome, Refusal, Report};
use dagrun_core::ids::{AttemptId, InstanceId, RunId, TaskId, Timestamp};
use dagrun_core::output::Stamp;
use dagrun_core::recipe::Input;
use dagrun_core::status::{Detail, FailureKind};

use super::{Message, Result, WireError, length, read_data, read_text, write_data};
use crate::dagrun_capnp as schema;

/// How a worker makes the attempts of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRecipe {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// JSON of [`dagrun_core::recipe::Recipe`].
    pub json: Vec<u8>,
    /// Where the worker keeps the run's logs.
    pub log_dir: PathBuf,
}

impl Message for TaskRecipe {
    type Schema = schema::recipe::Owned;

    fn write(&self, mut to: schema::recipe::Builder<'_>) {
        to.set_run(self.run.0);
        to.set_task(self.task.0);
        to.set_recipe(&self.json);
        to.set_log_dir(self.log_dir.as_os_str().as_bytes());
    }

    fn read(from: schema::recipe::Reader<'_>) -> Result<TaskRecipe> {
        Ok(TaskRecipe {
            run: RunId(from.get_run()),
            task: TaskId(from.get_task()),
            json: from.get_recipe()?.to_vec(),
            log_dir: OsString::from_vec(from.get_log_dir()?.to_vec()).into(),
        })
    }
}

/// An assignment, and what its worker needs for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handout {
    /// The instances.
    pub assignment: Assignment,
    /// None, or a list for each instance.
    pub inputs: Vec<Vec<Input>>,
    /// Whether the start is to be reported before it begins.
    pub announce: bool,
    /// Earlier attempts of the one instance that may still run elsewhere.
    pub fenced: Vec<Fenced>,
}

/// An attempt that may still run, but whose outputs must not get to their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fenced {
    /// The uid of its worker, see [`super::Registration`].
    pub worker: String,
    /// Its number within its instance.
    pub number: u32,
}

impl Handout {
    /// An assignment without anything else.
    #[must_use]
    pub fn plain(assignment: Assignment) -> Handout {
        Handout { assignment, inputs: Vec::new(), announce: false, fenced: Vec::new() }
    }
}

impl Message for Handout {
    type Schema = schema::assignment::Owned;

    fn write(&self, mut to: schema::assignment::Builder<'_>) {
        let Handout { assignment, inputs, announce, fenced } = self;
        to.set_run(assignment.run.0);
        to.set_task(assignment.task.0);
        to.set_first_index(assignment.first_index);
        to.set_count(assignment.count);
        to.set_first_attempt(assignment.first_attempt.0);
        to.set_number(assignment.number);
        to.set_memory(assignment.memory);
        to.set_announce(*announce);
        if !fenced.is_empty() {
            super::write_list(fenced, to.reborrow().init_fenced(length(fenced.len())));
        }
        let mut lists = to.init_inputs(length(inputs.len()));
        for (at, inputs) in (0..lists.len()).zip(inputs) {
            super::write_list(inputs, lists.reborrow().init(at, length(inputs.len())));
        }
    }

    fn read(from: schema::assignment::Reader<'_>) -> Result<Handout> {
        let assignment = Assignment {
            run: RunId(from.get_run()),
            task: TaskId(from.get_task()),
            first_index: from.get_first_index(),
            count: from.get_count(),
            first_attempt: AttemptId(from.get_first_attempt()),
            number: from.get_number(),
            memory: from.get_memory(),
        };
        if assignment.first_index.checked_add(assignment.count).is_none() {
            return Err(WireError::Range { what: "a count", number: assignment.count.into() });
        }
        let lists = from.get_inputs()?;
        if !lists.is_empty() && lists.len() != assignment.count {
            let number = lists.len().into();
            return Err(WireError::Range { what: "the number of inputs", number });
        }
        let inputs = lists.iter().map(|list| super::read_list(list?)).collect::<Result<_>>()?;
        let fenced = super::read_list(from.get_fenced()?)?;
        Ok(Handout { assignment, inputs, announce: from.get_announce(), fenced })
    }
}

impl Message for Fenced {
    type Schema = schema::fenced_attempt::Owned;

    fn write(&self, mut to: schema::fenced_attempt::Builder<'_>) {
        to.set_worker(&self.worker);
        to.set_number(self.number);
    }

    fn read(from: schema::fenced_attempt::Reader<'_>) -> Result<Fenced> {
        Ok(Fenced { worker: super::read_uid(from.get_worker()?)?, number: from.get_number() })
    }
}

impl Message for Input {
    type Schema = schema::input::Owned;

    fn write(&self, mut to: schema::input::Builder<'_>) {
        match &self.value {
            Some(value) => to.reborrow().get_value().set_some(value),
            None => to.reborrow().get_value().set_none(()),
        }
        write_data(&self.outputs, to.init_outputs(length(self.outputs.len())));
    }

    fn read(from: schema::input::Reader<'_>) -> Result<Input> {
        use schema::input::value::{None, Some};
        let value = match from.get_value().which()? {
            None(()) => Option::None,
            Some(value) => Option::Some(value?.to_vec()),
        };
        Ok(Input { value, outputs: read_data(from.get_outputs()?)?, file: Option::None })
    }
}

impl Message for Report {
    type Schema = schema::report::Owned;

    /// Without `items`, which the scheduler counts itself.
    fn write(&self, mut to: schema::report::Builder<'_>) {
        to.set_first(self.first.0);
        to.set_count(self.count);
        to.set_started(self.started.0);
        to.set_finished(self.finished.0);
        if let Some(detail) = &self.detail {
            detail.write(to.reborrow().init_detail());
        }
        let mut outcome = to.get_outcome();
        match self.outcome {
            Outcome::Started => outcome.set_started(()),
            Outcome::Succeeded => outcome.set_succeeded(()),
            Outcome::Returned => outcome.set_returned(()),
            Outcome::Refused(Refusal::Scarce) => outcome.set_scarce(()),
            Outcome::Refused(Refusal::Missing) => outcome.set_missing(()),
            Outcome::Refused(Refusal::Value(of)) => outcome.set_value(instance_number(of)),
            Outcome::Failed(FailureKind::Exit(code)) => outcome.set_exit(code),
            Outcome::Failed(FailureKind::Signal(signal)) => outcome.set_signal(signal),
            Outcome::Failed(FailureKind::Timeout) => outcome.set_timeout(()),
            Outcome::Failed(FailureKind::Lost | FailureKind::Unknown) => outcome.set_lost(()),
            Outcome::Failed(FailureKind::Start) => outcome.set_start(()),
            Outcome::Failed(FailureKind::MissingOutput) => outcome.set_missing_output(()),
            Outcome::Failed(FailureKind::Capture) => outcome.set_capture(()),
            Outcome::Failed(FailureKind::Cancelled) => outcome.set_cancelled(()),
            Outcome::Failed(FailureKind::Function) => outcome.set_function(()),
            Outcome::Failed(FailureKind::Panic) => outcome.set_panic(()),
            Outcome::Failed(FailureKind::Memory) => outcome.set_memory(()),
            Outcome::Preempted | Outcome::Failed(FailureKind::Preempted) => {
                outcome.set_preempted(());
            }
        }
    }

    fn read(from: schema::report::Reader<'_>) -> Result<Report> {
        use schema::report::outcome::Which;
        let outcome = match from.get_outcome().which()? {
            Which::Started(()) => Outcome::Started,
            Which::Succeeded(()) => Outcome::Succeeded,
            Which::Returned(()) => Outcome::Returned,
            Which::Scarce(()) => Outcome::Refused(Refusal::Scarce),
            Which::Missing(()) => Outcome::Refused(Refusal::Missing),
            Which::Value(number) => Outcome::Refused(Refusal::Value(instance_of(number))),
            Which::Exit(code) => Outcome::Failed(FailureKind::Exit(code)),
            Which::Signal(signal) => Outcome::Failed(FailureKind::Signal(signal)),
            Which::Timeout(()) => Outcome::Failed(FailureKind::Timeout),
            Which::Lost(()) => Outcome::Failed(FailureKind::Lost),
            Which::Start(()) => Outcome::Failed(FailureKind::Start),
            Which::MissingOutput(()) => Outcome::Failed(FailureKind::MissingOutput),
            Which::Capture(()) => Outcome::Failed(FailureKind::Capture),
            Which::Cancelled(()) => Outcome::Failed(FailureKind::Cancelled),
            Which::Function(()) => Outcome::Failed(FailureKind::Function),
            Which::Panic(()) => Outcome::Failed(FailureKind::Panic),
            Which::Memory(()) => Outcome::Failed(FailureKind::Memory),
            Which::Preempted(()) => Outcome::Preempted,
        };
        let detail = match from.has_detail() {
            true => Some(Box::new(Detail::read(from.get_detail()?)?)),
            false => None,
        };
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
}

impl Message for Detail {
    type Schema = schema::detail::Owned;

    fn write(&self, mut to: schema::detail::Builder<'_>) {
        to.set_reason(&self.reason);
        to.set_stderr_tail(&self.stderr_tail);
        match &self.value {
            Some(value) => to.reborrow().get_value().set_some(value),
            None => to.reborrow().get_value().set_none(()),
        }
        write_data(&self.outputs, to.reborrow().init_outputs(length(self.outputs.len())));
        if !self.stamps.is_empty() {
            let mut stamps = to.init_stamps(length(self.stamps.len()));
            for (at, stamp) in (0..).zip(&self.stamps) {
                write_stamp(*stamp, stamps.reborrow().get(at));
            }
        }
    }

    fn read(from: schema::detail::Reader<'_>) -> Result<Detail> {
        use schema::detail::value::{None, Some};
        let value = match from.get_value().which()? {
            None(()) => Option::None,
            Some(value) => Option::Some(value?.to_vec()),
        };
        Ok(Detail {
            reason: read_text(from.get_reason()?)?,
            stderr_tail: from.get_stderr_tail()?.to_vec(),
            value,
            outputs: read_data(from.get_outputs()?)?,
            stamps: super::elements(from.get_stamps()?)?.map(read_stamp).collect::<Result<_>>()?,
        })
    }
}

fn write_stamp(stamp: Option<Stamp>, mut to: schema::stamp::Builder<'_>) {
    match stamp {
        None => to.set_unknown(()),
        Some(Stamp::Directory) => to.set_directory(()),
        Some(Stamp::File { bytes, modified }) => {
            let mut file = to.init_file();
            file.set_bytes(bytes);
            file.set_modified(modified);
        }
        Some(Stamp::Tree { entries, bytes, modified }) => {
            let mut tree = to.init_tree();
            tree.set_entries(entries);
            tree.set_total(bytes);
            tree.set_newest(modified);
        }
    }
}

fn read_stamp(from: schema::stamp::Reader<'_>) -> Result<Option<Stamp>> {
    use schema::stamp::{Directory, File, Tree, Unknown};
    Ok(match from.which()? {
        Unknown(()) => None,
        Directory(()) => Some(Stamp::Directory),
        File(file) => Some(Stamp::File { bytes: file.get_bytes(), modified: file.get_modified() }),
        Tree(tree) => Some(Stamp::Tree {
            entries: tree.get_entries(),
            bytes: tree.get_total(),
            modified: tree.get_newest(),
        }),
    })
}

/// An instance as one number.
fn instance_number(instance: InstanceId) -> u64 {
    u64::from(instance.task.0) << 32 | u64::from(instance.index)
}

fn instance_of(number: u64) -> InstanceId {
    let [task, index] = [number >> 32, number & u64::from(u32::MAX)];
    let half = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
    InstanceId { task: TaskId(half(task)), index: half(index) }
}
