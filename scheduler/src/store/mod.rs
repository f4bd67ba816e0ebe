//! The writing side of the state directory: journal and history in one SQLite database.
//!
//! One thread writes, in group commits: it takes the records that gathered during the last commit,
//! so a busy scheduler writes large transactions and an idle one writes at once. On a full disk it keeps
//! what it has and tries again. [`crate::history`] does the reading.

pub(crate) mod forget;
pub(crate) mod give_up;
mod group;
mod manifest;
mod past;
mod queue;
mod remove;
mod resume;
#[cfg(feature = "simulation")]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use dagrun_core::engine::Record;
use dagrun_core::ids::{InstanceId, Micros, RunId, TaskId, Timestamp, WorkerId};
use dagrun_core::layout;
use dagrun_core::pipeline::Scatter;
use dagrun_core::recipe::{Input, InputSpec, Items, Recipe};
use dagrun_core::status::{Counts, RunState};
use tokio::sync::{mpsc::UnboundedSender, oneshot};

pub(crate) use self::queue::Haste;
pub(crate) use self::remove::Removal;
pub(crate) use self::resume::Resumption;
use crate::journal::lock::Owner;
use crate::journal::schema::open_writer;
use crate::journal::{Note, StoreError, TakenSpan};
use dagrun_schema::wire::Submission;

/// A run to record before anything of it starts.
#[derive(Debug)]
pub(crate) struct NewRun {
    pub(crate) name: String,
    pub(crate) submission: Arc<Submission>,
    pub(crate) started: Timestamp,
    /// Name and width of each task; `None` where the width is known only later.
    pub(crate) tasks: Vec<(String, Option<u32>)>,
    /// What it takes over, and from where.
    pub(crate) taken: Option<(RunId, Arc<[TakenSpan]>)>,
}

/// A run that has been recorded.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) run: RunId,
    /// How long attempts of each task took on average in the newest earlier run of a pipeline of
    /// the same name; zero where there was none.
    pub(crate) durations: Vec<Micros>,
    /// The number of this start of the scheduler, which no other one has in this state directory.
    pub(crate) epoch: u64,
}

/// Below this index attempts of any task may be handed out as soon as its run is recorded.
pub(crate) const FIRST_MARK: u32 = 4_096;

/// Whether this process may go on with a run.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It may: nobody else can now.
    Granted,
    /// A process runs it, which may say who it is.
    Held(Option<Owner>),
}

/// A line of the journal.
#[derive(Debug)]
pub(crate) enum Line {
    /// Something happened to instances.
    Record(Record),
    /// A task's number of instances has become known.
    Width { run: RunId, task: TaskId, width: u32 },
    /// Attempts of a task may be handed out for instances below an index, as soon as this is on disk.
    Mark { run: RunId, task: TaskId, below: u32 },
    /// Something happened to the run as a whole.
    Note { run: RunId, note: Note },
    /// The value that an instance made is lost: it is open again.
    Reopen { run: RunId, instance: InstanceId },
    /// Temporary outputs are not needed any more: they are removed when the lines before are on disk.
    Remove(Removal),
}

/// The end of a run.
#[derive(Debug)]
pub(crate) struct RunEnd {
    pub(crate) run: RunId,
    pub(crate) state: RunState,
    pub(crate) finished: Timestamp,
    pub(crate) counts: Vec<Counts>,
    /// The mean duration of the attempts of each task that succeeded; `None` without any.
    pub(crate) durations: Vec<Option<Micros>>,
}

/// What must be on disk, or read from it, before an assignment can be sent.
#[derive(Debug)]
pub(crate) struct PrepareJob {
    /// The caller's number for it.
    pub(crate) ticket: u64,
    pub(crate) run: RunId,
    /// Items that the caller has, for the manifests.
    pub(crate) items: Vec<(TaskId, Arc<Items>)>,
    /// Items to read.
    pub(crate) missing_items: Vec<ItemsJob>,
    /// Manifests to write, each once in a run.
    pub(crate) manifests: Vec<ManifestJob>,
    /// Upstream instances whose values the caller no longer has.
    pub(crate) values: Vec<InstanceId>,
}

/// A captured array to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ItemsJob {
    /// The task that scatters it.
    pub(crate) task: TaskId,
    pub(crate) scatter: Scatter,
    /// The number of instances that captured parts of it.
    pub(crate) width: u32,
}

/// A manifest to write.
#[derive(Debug)]
pub(crate) struct ManifestJob {
    pub(crate) upstream: TaskId,
    pub(crate) listed: Listed,
    pub(crate) recipe: Arc<Recipe>,
    pub(crate) path: PathBuf,
    /// Whether it holds values for a function, rather than lines.
    pub(crate) values: bool,
    /// The items of the listed instances, if they have any.
    pub(crate) item: Option<InputSpec>,
}

/// The instances that a manifest lists.
#[derive(Debug)]
pub(crate) enum Listed {
    /// This many, from the first.
    All(u32),
    /// These, in order.
    Some(Vec<u32>),
}

/// The answer to a [`PrepareJob`].
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) ticket: u64,
    /// What was asked for, or why a manifest or value is missing.
    pub(crate) result: Result<Fetched, StoreError>,
}

/// What was read for an assignment.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    /// The values, in the order in which they were asked for.
    pub(crate) values: Vec<Input>,
    /// The items of tasks that scatter.
    pub(crate) items: Vec<(TaskId, Arc<Items>)>,
}

/// What the writing thread is asked to do, in order.
#[derive(Debug)]
pub(crate) enum Command {
    /// Record a run and give it an id.
    Begin(Box<NewRun>, oneshot::Sender<Result<Begun, Arc<StoreError>>>),
    /// Append to the journal, then close runs; acknowledged by number.
    Append(u64, Vec<Line>, Vec<RunEnd>),
    /// A worker joined.
    Joined(Box<Joined>),
    /// A worker of an earlier scheduler has this row.
    Known { worker: WorkerId, row: i64 },
    /// A worker left, or is lost: its end is not certain then.
    Left { worker: WorkerId, at: Timestamp, lost: bool },
    /// End an interrupted run as cancelled; answered when that is on disk.
    GiveUp(RunId, oneshot::Sender<Result<bool, Arc<StoreError>>>),
    /// Have this process alone go on with a run.
    Claim(RunId, oneshot::Sender<Result<Claim, Arc<StoreError>>>),
    /// It does not.
    Release(RunId),
    /// Record that a run goes on, which was claimed; answered when that is on disk, with nothing when it
    /// has ended otherwise.
    Resume(Box<Resumption>, oneshot::Sender<Result<Option<Begun>, Arc<StoreError>>>),
    /// Delete the rows of a run; answered when that is on disk.
    Forget(RunId, oneshot::Sender<Result<forget::Forgotten, Arc<StoreError>>>),
    /// Write manifests and read values, as of all earlier commands.
    Prepare(Box<PrepareJob>),
    /// Keep the database from growing, as on a full disk.
    #[cfg(test)]
    LimitPages,
}

#[cfg(test)]
impl Command {
    /// A worker that lives as long as its line has joined.
    pub(crate) fn joined(worker: WorkerId, name: String, host: String, at: Timestamp) -> Command {
        let (uid, lock) = (String::new(), None);
        Command::Joined(Box::new(Joined { worker, name, host, uid, lock, at }))
    }
}

/// A worker that has joined.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) worker: WorkerId,
    pub(crate) name: String,
    pub(crate) host: String,
    /// Empty for one that lives as long as its line.
    pub(crate) uid: String,
    pub(crate) lock: Option<PathBuf>,
    pub(crate) at: Timestamp,
}

/// What the writing thread answers.
#[derive(Debug)]
pub(crate) enum Reply {
    /// All batches up to this number are on disk.
    Committed(u64),
    /// A preparation has finished or failed.
    Prepared(Box<Prepared>),
    /// The disk is full, in words for people: what was sent is written when there is space.
    Paused(String),
    /// There is space, and all of that is on disk.
    Resumed,
    /// Writing has failed; nothing will be written any more.
    Failed(Arc<StoreError>),
}

/// The writing thread. Dropping it waits until everything sent has been written.
#[derive(Debug)]
pub(crate) struct Store {
    queue: Arc<queue::Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the database in `state_dir`, creates both where needed, and starts the thread. With an
    /// owner its runs are locked while they run.
    pub(crate) fn start(
        state_dir: &Path,
        owner: Option<Owner>,
        replies: UnboundedSender<Reply>,
    ) -> Result<Store, StoreError> {
        Store::start_as(state_dir, owner, replies, |writer| writer)
    }

    /// The same with a writer that is changed before it begins.
    fn start_as(
        state_dir: &Path,
        owner: Option<Owner>,
        replies: UnboundedSender<Reply>,
        change: impl FnOnce(writer::Writer) -> writer::Writer + Send + 'static,
    ) -> Result<Store, StoreError> {
        let database = open_writer(state_dir)?;
        let path = layout::database(state_dir);
        let queue = Arc::<queue::Queue>::default();
        let commands = queue.taker();
        let thread = std::thread::Builder::new()
            .name("dagrun-store".into())
            .spawn(move || {
                change(writer::Writer::new(database, path, owner, replies)).run(&commands);
            })
            .map_err(StoreError::Thread)?;
        Ok(Store { queue, thread: Some(thread) })
    }

    /// Sends a command.
    pub(crate) fn send(&self, command: Command, haste: Haste) {
        self.queue.push(command, haste);
    }
}

/// Where the journal goes.
pub(crate) trait Journal {
    /// Takes a command, to be carried out after all earlier ones.
    fn send(&self, command: Command, haste: Haste);
}

impl Journal for Store {
    fn send(&self, command: Command, haste: Haste) {
        Store::send(self, command, haste);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // A panic there has already been reported on standard error.
            let _ = thread.join();
        }
    }
}
