//! Messages about runs: submissions, their status, their instances and their output.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use dagrun_core::hash::fnv1a;
use dagrun_core::ids::{InstanceId, Micros, RunId, Timestamp};
use dagrun_core::pipeline::{MaxFail, Pipeline};
use dagrun_core::status::{
    InstanceResult, InstanceRow, LogChunk, RunStatus, RunSummary, Stream, Tag, TaskStatus,
    TaskTimes,
};
use serde::{Deserialize, Serialize};

use super::update::{read_counts, write_counts};
use super::{
    Message, Result, length, micros, read_data, read_list, read_run_state, read_state, read_text,
};
use super::{some_time, write_data, write_list};
use crate::dagrun_capnp as schema;
use crate::dagrun_capnp::submission::max_fail;

/// A pipeline to run, as it is sent and stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The checked pipeline: JSON of [`Pipeline`].
    pub pipeline: Vec<u8>,
    /// The pipeline file's directory, absolute.
    pub base_dir: PathBuf,
    /// The run's seed.
    pub seed: u64,
    /// Whether the first failure cancels the rest.
    pub fail_fast: bool,
    /// How many failures it bears before the rest is cancelled; all when not given.
    pub max_fail: Option<MaxFail>,
}

/// The file that a pipeline was read from, on the machine where it was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineFile {
    /// Its absolute path.
    pub path: PathBuf,
    /// What was in it, as the hash [`fnv1a`].
    pub hash: u64,
    /// The file of variables that was given with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<PathBuf>,
    /// The variables that were given with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<(String, String)>,
    /// The environment that its tasks were given with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, String)>,
}

impl PipelineFile {
    /// Whether there is something else in the file now. A file that cannot be read has not changed.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        std::fs::read(&self.path).is_ok_and(|now| fnv1a(&now) != self.hash)
    }
}

/// A pipeline as it is stored, and what else is known of it.
#[derive(Serialize)]
struct Stored<'a> {
    #[serde(flatten)]
    pipeline: &'a Pipeline,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a PipelineFile>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    aside: bool,
}

/// How a stored pipeline begins that has tags.
const TAGS: &[u8] = b"{\"tags\":";

impl Submission {
    /// A submission of a pipeline, with seed 0.
    ///
    /// # Errors
    /// When the pipeline cannot be written as JSON.
    pub fn new(
        pipeline: &Pipeline,
        base_dir: impl Into<PathBuf>,
    ) -> std::result::Result<Submission, serde_json::Error> {
        let pipeline = serde_json::to_vec(pipeline)?;
        Ok(Submission {
            pipeline,
            base_dir: base_dir.into(),
            seed: 0,
            fail_fast: false,
            max_fail: None,
        })
    }

    /// The same pipeline, of a file.
    ///
    /// # Errors
    /// When the pipeline cannot be written as JSON.
    pub fn of_file(
        self,
        pipeline: &Pipeline,
        file: &PipelineFile,
    ) -> std::result::Result<Submission, serde_json::Error> {
        let (file, aside) = (Some(file), false);
        let pipeline = serde_json::to_vec(&Stored { pipeline, file, aside })?;
        Ok(Submission { pipeline, ..self })
    }

    /// The same pipeline, beside the runs that people mean when they say the last one.
    ///
    /// # Errors
    /// When the pipeline cannot be written as JSON.
    pub fn aside(self, pipeline: &Pipeline) -> std::result::Result<Submission, serde_json::Error> {
        let pipeline = serde_json::to_vec(&Stored { pipeline, file: None, aside: true })?;
        Ok(Submission { pipeline, ..self })
    }

    /// The same, marked with tags.
    ///
    /// # Errors
    /// When a tag cannot be written as JSON.
    pub fn tagged(self, tags: &[Tag]) -> std::result::Result<Submission, serde_json::Error> {
        let Some(rest) = self.pipeline.strip_prefix(b"{").filter(|_| !tags.is_empty()) else {
            return Ok(self);
        };
        // Before all else, so that they are read without reading a large pipeline.
        let tags = serde_json::to_vec(tags)?;
        let pipeline = [TAGS, &tags, b",", rest].concat();
        Ok(Submission { pipeline, ..self })
    }

    /// The tags in a pipeline as it is stored, of which the first [`Submission::TAGS`] bytes are enough.
    #[must_use]
    pub fn tags_in(pipeline: &[u8]) -> Vec<Tag> {
        let Some(rest) = pipeline.strip_prefix(TAGS) else { return Vec::new() };
        let mut tags = serde_json::Deserializer::from_slice(rest).into_iter();
        tags.next().and_then(std::result::Result::ok).unwrap_or_default()
    }

    /// Whether a pipeline that begins so has any.
    #[must_use]
    pub fn may_have_tags(start: &[u8]) -> bool {
        start.starts_with(TAGS)
    }

    /// How far into a stored pipeline tags reach at most.
    pub const TAGS: usize = 256 << 10;

    /// Whether it is one of those.
    #[must_use]
    pub fn is_aside(pipeline: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Only {
            #[serde(default)]
            aside: bool,
        }
        serde_json::from_slice::<Only>(pipeline).is_ok_and(|only| only.aside)
    }

    /// The file that the pipeline was read from, if it was and that is known.
    #[must_use]
    pub fn file(&self) -> Option<PipelineFile> {
        #[derive(Deserialize)]
        struct Only {
            file: Option<PipelineFile>,
        }
        serde_json::from_slice::<Only>(&self.pipeline).ok()?.file
    }

    /// The pipeline, read from its JSON.
    ///
    /// # Errors
    /// When it is not a pipeline's JSON.
    pub fn read_pipeline(&self) -> std::result::Result<Pipeline, serde_json::Error> {
        serde_json::from_slice(&self.pipeline)
    }
}

/// The part of a run to query or to cancel. Tasks are given by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<T = String> {
    /// All of it.
    Run,
    /// A task.
    Task(T),
    /// An instance: its task and its index.
    Instance(T, u32),
}

/// A part of a run's instances, in task and index order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstancePage {
    /// The instances.
    pub rows: Vec<InstanceRow>,
    /// Where the next page begins, unless this is the last.
    pub next: Option<InstanceId>,
}

/// A part of a run's output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// The pieces.
    pub chunks: Vec<LogChunk>,
    /// Where to continue; opaque.
    pub cursor: Vec<u8>,
    /// Whether there is more at present.
    pub more: bool,
}

impl Message for Submission {
    type Schema = schema::submission::Owned;

    fn write(&self, mut to: schema::submission::Builder<'_>) {
        to.set_pipeline(&self.pipeline);
        to.set_base_dir(self.base_dir.as_os_str().as_bytes());
        to.set_seed(self.seed);
        to.set_fail_fast(self.fail_fast);
        let mut most = to.init_max_fail();
        match self.max_fail {
            None => most.set_any(()),
            Some(MaxFail::Count(count)) => most.set_count(count),
            Some(MaxFail::Part(part)) => most.set_part(part),
        }
    }

    fn read(from: schema::submission::Reader<'_>) -> Result<Submission> {
        Ok(Submission {
            pipeline: from.get_pipeline()?.to_vec(),
            base_dir: OsString::from_vec(from.get_base_dir()?.to_vec()).into(),
            seed: from.get_seed(),
            fail_fast: from.get_fail_fast(),
            max_fail: match from.get_max_fail().which()? {
                max_fail::Any(()) => None,
                max_fail::Count(count) => Some(MaxFail::Count(count)),
                max_fail::Part(part) => Some(MaxFail::Part(part)),
            },
        })
    }
}

impl<T: AsRef<str>> Scope<T> {
    /// Writes it.
    pub fn write(&self, mut to: schema::scope::Builder<'_>) {
        match self {
            Scope::Run => to.set_run(()),
            Scope::Task(task) => to.set_task(task.as_ref()),
            Scope::Instance(task, index) => {
                let mut to = to.init_instance();
                to.set_name(task.as_ref());
                to.set_index(*index);
            }
        }
    }
}

impl Scope {
    /// Reads it.
    ///
    /// # Errors
    /// When the message is malformed.
    pub fn read(from: schema::scope::Reader<'_>) -> Result<Scope> {
        Ok(match from.which()? {
            schema::scope::Run(()) => Scope::Run,
            schema::scope::Task(task) => Scope::Task(read_text(task?)?),
            schema::scope::Instance(instance) => {
                Scope::Instance(read_text(instance.get_name()?)?, instance.get_index())
            }
        })
    }
}

impl Message for RunSummary {
    type Schema = schema::run_summary::Owned;

    fn write(&self, mut to: schema::run_summary::Builder<'_>) {
        to.set_id(self.run.0);
        to.set_name(&self.name);
        to.set_state(self.state as u8);
        to.set_started(self.started.0);
        to.set_finished(micros(self.finished));
        to.set_instances(self.instances);
        to.set_done(self.done);
        to.set_failed(self.failed);
        let mut tags = to.init_tags(length(self.tags.len()));
        for (at, tag) in (0..).zip(&self.tags) {
            tags.set(at, tag.to_string());
        }
    }

    fn read(from: schema::run_summary::Reader<'_>) -> Result<RunSummary> {
        Ok(RunSummary {
            run: RunId(from.get_id()),
            name: read_text(from.get_name()?)?,
            state: read_run_state(from.get_state())?,
            started: Timestamp(from.get_started()),
            finished: some_time(from.get_finished()),
            instances: from.get_instances(),
            done: from.get_done(),
            failed: from.get_failed(),
            // What is no tag comes from another version, and is left out.
            tags: from
                .get_tags()?
                .iter()
                .map(|tag| Ok(read_text(tag?)?.parse().ok()))
                .filter_map(Result::transpose)
                .collect::<Result<_>>()?,
        })
    }
}

impl Message for RunStatus {
    type Schema = schema::run_status::Owned;

    fn write(&self, mut to: schema::run_status::Builder<'_>) {
        to.set_id(self.run.0);
        to.set_name(&self.name);
        to.set_state(self.state as u8);
        to.set_started(self.started.0);
        to.set_finished(micros(self.finished));
        to.set_waiting(&self.waiting);
        write_list(&self.tasks, to.init_tasks(length(self.tasks.len())));
    }

    fn read(from: schema::run_status::Reader<'_>) -> Result<RunStatus> {
        Ok(RunStatus {
            run: RunId(from.get_id()),
            name: read_text(from.get_name()?)?,
            state: read_run_state(from.get_state())?,
            started: Timestamp(from.get_started()),
            finished: some_time(from.get_finished()),
            tasks: read_list(from.get_tasks()?)?,
            waiting: read_text(from.get_waiting()?)?,
        })
    }
}

impl Message for TaskStatus {
    type Schema = schema::task_status::Owned;

    fn write(&self, mut to: schema::task_status::Builder<'_>) {
        to.set_name(&self.name);
        to.set_running(self.running);
        to.set_width_unknown(!self.width_known);
        to.set_partial(self.partial);
        to.set_note(&self.note);
        write_counts(&self.counts, to.init_counts(length(self.counts.0.len())));
    }

    fn read(from: schema::task_status::Reader<'_>) -> Result<TaskStatus> {
        Ok(TaskStatus {
            name: read_text(from.get_name()?)?,
            counts: read_counts(from.get_counts()?)?,
            running: from.get_running(),
            width_known: !from.get_width_unknown(),
            partial: from.get_partial(),
            note: read_text(from.get_note()?)?,
        })
    }
}

impl Message for InstancePage {
    type Schema = schema::instance_page::Owned;

    fn write(&self, mut to: schema::instance_page::Builder<'_>) {
        write_list(&self.rows, to.reborrow().init_rows(length(self.rows.len())));
        match &self.next {
            None => to.set_end(()),
            Some(next) => next.write(to.init_next()),
        }
    }

    fn read(from: schema::instance_page::Reader<'_>) -> Result<InstancePage> {
        let next = match from.which()? {
            schema::instance_page::End(()) => None,
            schema::instance_page::Next(next) => Some(InstanceId::read(next?)?),
        };
        Ok(InstancePage { rows: read_list(from.get_rows()?)?, next })
    }
}

impl Message for InstanceRow {
    type Schema = schema::instance_row::Owned;

    fn write(&self, mut to: schema::instance_row::Builder<'_>) {
        self.instance.write(to.reborrow().init_instance());
        to.set_state(self.state as u8);
        to.set_attempts(self.attempts);
        to.set_started(micros(self.started));
        to.set_finished(micros(self.finished));
        to.set_reason(&self.reason);
        match &self.worker {
            None => to.reborrow().get_worker().set_nobody(()),
            Some(name) => to.reborrow().get_worker().set_name(name),
        }
        match self.exit_code {
            None => to.get_exit().set_unknown(()),
            Some(code) => to.get_exit().set_code(code),
        }
    }

    fn read(from: schema::instance_row::Reader<'_>) -> Result<InstanceRow> {
        use schema::instance_row::{exit, worker};
        let worker = match from.get_worker().which()? {
            worker::Nobody(()) => None,
            worker::Name(name) => Some(read_text(name?)?),
        };
        let exit_code = match from.get_exit().which()? {
            exit::Unknown(()) => None,
            exit::Code(code) => Some(code),
        };
        Ok(InstanceRow {
            instance: InstanceId::read(from.get_instance()?)?,
            state: read_state(from.get_state())?,
            attempts: from.get_attempts(),
            worker,
            started: some_time(from.get_started()),
            finished: some_time(from.get_finished()),
            exit_code,
            reason: read_text(from.get_reason()?)?,
        })
    }
}

impl Message for InstanceResult {
    type Schema = schema::instance_result::Owned;

    fn write(&self, mut to: schema::instance_result::Builder<'_>) {
        self.row.write(to.reborrow().init_row());
        to.set_detail(&self.detail);
        match &self.value {
            Some(value) => to.reborrow().get_value().set_some(value),
            None => to.reborrow().get_value().set_none(()),
        }
        if !self.outputs.is_empty() {
            write_data(&self.outputs, to.init_outputs(length(self.outputs.len())));
        }
    }

    fn read(from: schema::instance_result::Reader<'_>) -> Result<InstanceResult> {
        use schema::instance_result::value::{None, Some};
        let value = match from.get_value().which()? {
            None(()) => Option::None,
            Some(value) => Option::Some(value?.to_vec()),
        };
        Ok(InstanceResult {
            row: InstanceRow::read(from.get_row()?)?,
            value,
            detail: from.get_detail()?.to_vec(),
            outputs: read_data(from.get_outputs()?)?,
        })
    }
}

impl Message for TaskTimes {
    type Schema = schema::task_times::Owned;

    fn write(&self, mut to: schema::task_times::Builder<'_>) {
        to.set_instances(self.instances);
        to.set_started(self.started.0);
        to.set_finished(self.finished.0);
        to.set_mean(self.mean.0);
        to.set_longest(self.longest.0);
        to.set_retried(self.retried);
    }

    fn read(from: schema::task_times::Reader<'_>) -> Result<TaskTimes> {
        Ok(TaskTimes {
            instances: from.get_instances(),
            started: Timestamp(from.get_started()),
            finished: Timestamp(from.get_finished()),
            mean: Micros(from.get_mean()),
            longest: Micros(from.get_longest()),
            retried: from.get_retried(),
        })
    }
}

impl Message for LogPage {
    type Schema = schema::log_page::Owned;

    fn write(&self, mut to: schema::log_page::Builder<'_>) {
        to.set_cursor(&self.cursor);
        to.set_more(self.more);
        write_list(&self.chunks, to.init_chunks(length(self.chunks.len())));
    }

    fn read(from: schema::log_page::Reader<'_>) -> Result<LogPage> {
        let (cursor, more) = (from.get_cursor()?.to_vec(), from.get_more());
        Ok(LogPage { chunks: read_list(from.get_chunks()?)?, cursor, more })
    }
}

impl Message for LogChunk {
    type Schema = schema::log_chunk::Owned;

    fn write(&self, mut to: schema::log_chunk::Builder<'_>) {
        self.instance.write(to.reborrow().init_instance());
        to.set_attempt(self.attempt);
        to.set_stream(match self.stream {
            Stream::Stdout => schema::Stream::Stdout,
            Stream::Stderr => schema::Stream::Stderr,
            Stream::Note => schema::Stream::Note,
        });
        to.set_at(self.at.0);
        to.set_bytes(&self.bytes);
    }

    fn read(from: schema::log_chunk::Reader<'_>) -> Result<LogChunk> {
        Ok(LogChunk {
            instance: InstanceId::read(from.get_instance()?)?,
            attempt: from.get_attempt(),
            stream: match from.get_stream()? {
                schema::Stream::Stdout => Stream::Stdout,
                schema::Stream::Stderr => Stream::Stderr,
                schema::Stream::Note => Stream::Note,
            },
            at: Timestamp(from.get_at()),
            bytes: from.get_bytes()?.to_vec(),
        })
    }
}
