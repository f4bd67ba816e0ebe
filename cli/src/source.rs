//! Where runs are found: in the history of a state directory, or at the scheduler of a cluster.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use dagrun::rpc::{Client, InstancePage, LogPage, Run, Scope, Submission};
use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::one_line;
use dagrun_core::pipeline::Pipeline;
use dagrun_core::status::{InstanceResult, RunStatus, RunSummary, State, TaskTimes};
use dagrun_scheduler::connection::{ClusterDir, Role};
use dagrun_scheduler::{History, HistoryError};

use crate::args::Place;
use crate::cluster;
use crate::exit::{Exit, Failure};
use crate::recipes::Recipes;
use crate::target::{RunName, Target};
use crate::terminal;

/// Where the instances of a run begin.
pub(crate) const FIRST: InstanceId = InstanceId { task: TaskId(0), index: 0 };

/// How long a process that runs a run has to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// All runs of a place.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The history of a state directory.
    Disk {
        /// The directory.
        state_dir: PathBuf,
        /// Its history.
        history: Rc<History>,
        /// The cluster whose it is, if it is not running.
        of: Option<String>,
    },
    /// A scheduler.
    Cluster {
        /// The name of the cluster.
        name: String,
        /// The connection.
        client: Client,
    },
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) enum RunSource {
    /// In the history of a state directory.
    Disk(Rc<DiskRun>),
    /// At a scheduler.
    Live {
        /// The run.
        run: Run,
        /// Where its scheduler is.
        at: At,
    },
}

/// Where a scheduler is.
#[derive(Clone, Debug)]
pub(crate) enum At {
    /// In this process or another, with this state directory.
    Here(PathBuf),
    /// In the cluster of this name.
    Cluster(String),
}

/// A run in the history of a state directory.
#[derive(Debug)]
pub(crate) struct DiskRun {
    state_dir: PathBuf,
    history: Rc<History>,
    of: Option<String>,
    run: RunId,
}

impl Source {
    /// The place that the options name. Where that is a cluster that is not running, its history.
    pub(crate) async fn open(place: &Place) -> Result<Source, Failure> {
        match Source::open_live(place).await {
            Err(failure) if failure.exit == Exit::Unreachable => {
                let left = place.cluster().and_then(left_by);
                left.ok_or(failure)
            }
            opened => opened,
        }
    }

    /// The same where a cluster has to run.
    pub(crate) async fn open_live(place: &Place) -> Result<Source, Failure> {
        if let Some(name) = place.cluster() {
            let client = cluster::connect(name).await?;
            return Ok(Source::Cluster { name: name.to_owned(), client });
        }
        let state_dir = match place.state_dir() {
            Some(dir) => dir.clone(),
            None => nearest_state_dir()?,
        };
        let history = open_history(&state_dir)?;
        Ok(Source::Disk { state_dir, history: Rc::new(history), of: None })
    }

    /// The newest runs.
    pub(crate) async fn runs(&self, limit: u32) -> Result<Vec<RunSummary>, Failure> {
        match self {
            Source::Disk { history, .. } => Ok(history.runs(limit)?),
            Source::Cluster { client, .. } => Ok(client.runs(limit).await?),
        }
    }

    /// One of the runs.
    pub(crate) async fn run(&self, name: RunName) -> Result<RunSource, Failure> {
        let id = match name {
            RunName::Last => None,
            RunName::Id(id) => Some(id),
        };
        match self {
            Source::Cluster { name, client } => {
                let run = client.run(id).await?;
                Ok(RunSource::Live { run, at: At::Cluster(name.clone()) })
            }
            Source::Disk { state_dir, history, of } => {
                let none =
                    || Failure::usage(format!("there are no runs in {}", state_dir.display()));
                let run = match id {
                    Some(id) => id,
                    None => history.last_run()?.ok_or_else(none)?,
                };
                history.owner(run)?;
                let (state_dir, history) = (state_dir.clone(), Rc::clone(history));
                Ok(RunSource::Disk(Rc::new(DiskRun { state_dir, history, of: of.clone(), run })))
            }
        }
    }
}

/// The history of a cluster that is not running, if it has one.
fn left_by(name: &str) -> Option<Source> {
    let folder = ClusterDir::of(name).ok()?;
    let state_dir = folder.state_dir();
    let history = History::open(&state_dir).ok()?;
    let how = match folder.read(Role::Client) {
        Ok(_) => "does not answer",
        Err(_) => "is not running",
    };
    terminal::print(&format!("note: cluster {name} {how}: this is its history"));
    Some(Source::Disk { state_dir, history: Rc::new(history), of: Some(name.to_owned()) })
}

fn nearest_state_dir() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir()
        .map_err(|error| Failure::new(Exit::Failed, format!("current directory: {error}")))?;
    let found = here.ancestors().map(|dir| dir.join(".dagrun")).find(|dir| dir.is_dir());
    found.ok_or_else(|| {
        Failure::usage("there is no `.dagrun` here or in any directory above")
            .help("go to the pipeline's directory, or name the place with --state-dir or --cluster")
    })
}

/// The pipeline of a run that was submitted so.
pub(crate) fn read_pipeline(submission: &Submission) -> Result<Pipeline, Failure> {
    submission.read_pipeline().map_err(|error| {
        Failure::new(Exit::Failed, format!("the run's pipeline cannot be read: {error}"))
    })
}

fn open_history(state_dir: &Path) -> Result<History, Failure> {
    Ok(History::open(state_dir)?)
}

impl DiskRun {
    /// Its id.
    pub(crate) fn id(&self) -> RunId {
        self.run
    }

    /// The history that it is in.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// The run at the process that runs it; `None` when none does, or it cannot be asked.
    async fn live(&self) -> Option<Run> {
        let owner = self.history.owner_of(self.run)?;
        let (socket, token) = (owner.socket?, hex::decode(&owner.token).ok()?);
        let asked = async {
            let stream = tokio::net::UnixStream::connect(socket).await.ok()?;
            let client = Client::attach(stream, &token).await.ok()?;
            client.run(Some(self.run)).await.ok()
        };
        tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
    }

    /// Cancels it, or a part of it, through the process that runs it.
    async fn cancel(&self, target: Option<&Target>) -> Result<(), Failure> {
        let Some(run) = self.live().await else {
            let pid = self.history.owner(self.run)?;
            let text = format!("run {} is run by process {pid}, which cannot be asked", self.run);
            let help =
                format!("SIGTERM ends that process, and then `dagrun cancel {}` the run", self.run);
            return Err(Failure::new(Exit::Unreachable, text).help(help));
        };
        Ok(run.cancel(wire_scope(target)).await?)
    }
}

impl RunSource {
    /// Its id.
    pub(crate) fn id(&self) -> RunId {
        match self {
            RunSource::Disk(disk) => disk.run,
            RunSource::Live { run, .. } => run.id(),
        }
    }

    /// Its state, by task.
    pub(crate) async fn status(&self) -> Result<RunStatus, Failure> {
        match self {
            RunSource::Disk(disk) => Ok(disk.history.status(disk.run)?),
            RunSource::Live { run, .. } => Ok(run.status().await?),
        }
    }

    /// Some of its instances.
    pub(crate) async fn instances(
        &self,
        from: InstanceId,
        limit: u32,
        failed_only: bool,
    ) -> Result<InstancePage, Failure> {
        match self {
            RunSource::Disk(disk) => {
                Ok(disk.history.instances(disk.run, from, limit, failed_only)?)
            }
            RunSource::Live { run, .. } => Ok(run.instances(from, limit, failed_only).await?),
        }
    }

    /// The captured value of an instance; `None` when it has none.
    pub(crate) async fn value(&self, task: &str, index: u32) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            RunSource::Disk(disk) => match disk.history.value(disk.run, task, index) {
                Ok(value) => Ok(Some(value)),
                Err(HistoryError::NoValue { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            },
            RunSource::Live { run, .. } => match run.value(task, index).await {
                Ok(value) => Ok(Some(value)),
                Err(dagrun::rpc::ClientError::Refused { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// How long the instances of each task took, as far as is on disk.
    pub(crate) async fn times(&self) -> Result<Vec<TaskTimes>, Failure> {
        match self {
            RunSource::Disk(disk) => Ok(disk.history.times(disk.run)?),
            RunSource::Live { run, .. } => Ok(run.times().await?),
        }
    }

    /// The argument vector of an instance's last attempt.
    pub(crate) async fn command(&self, instance: InstanceId) -> Result<Vec<OsString>, Failure> {
        match self {
            RunSource::Disk(disk) => Ok(disk.history.command(disk.run, instance)?),
            RunSource::Live { run, .. } => Ok(run.command(instance).await?),
        }
    }

    /// Some instances of a task with their values.
    pub(crate) async fn results(
        &self,
        task: TaskId,
        first: u32,
        limit: u32,
    ) -> Result<Vec<InstanceResult>, Failure> {
        match self {
            RunSource::Disk(disk) => Ok(disk.history.results(disk.run, task, first, limit)?),
            RunSource::Live { run, .. } => Ok(run.results(task, first, limit).await?),
        }
    }

    /// The absolute paths of the outputs of an instance; none unless it has succeeded.
    pub(crate) async fn output_paths(
        &self,
        recipes: &mut Recipes,
        InstanceId { task, index }: InstanceId,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let results = self.results(task, index, 1).await?;
        let found = results.first().filter(|found| found.row.state == State::Succeeded);
        let paths = found.zip(recipes.of(task));
        Ok(paths
            .map_or_else(Vec::new, |(found, recipe)| recipe.output_bytes(index, &found.outputs)))
    }

    /// Its state at this moment: what the process that runs it knows, not only what is on disk.
    pub(crate) async fn status_now(&self) -> Result<RunStatus, Failure> {
        match self.at_its_owner().await {
            RunSource::Live { run, .. } => match run.status().await {
                Ok(status) => Ok(status),
                // That process may have ended meanwhile.
                Err(_) => self.status().await,
            },
            RunSource::Disk(_) => self.status().await,
        }
    }

    /// Why an instance is in its state: lines for people.
    pub(crate) async fn explain(&self, task: &str, index: u32) -> Result<Vec<String>, Failure> {
        if let RunSource::Disk(disk) = self
            && let Some(run) = disk.live().await
            && let Ok(lines) = run.explain(task, index).await
        {
            return Ok(lines);
        }
        match self {
            RunSource::Disk(disk) => Ok(disk.history.explain(disk.run, task, index)?),
            RunSource::Live { run, .. } => Ok(run.explain(task, index).await?),
        }
    }

    /// The next captured output.
    pub(crate) async fn logs(
        &self,
        scope: Option<&Target>,
        cursor: &[u8],
        failed_only: bool,
    ) -> Result<LogPage, Failure> {
        match self {
            RunSource::Disk(disk) => {
                Ok(disk.history.logs(disk.run, &wire_scope(scope), cursor, failed_only)?)
            }
            RunSource::Live { run, .. } => {
                Ok(run.logs(wire_scope(scope), cursor, failed_only).await?)
            }
        }
    }

    /// What was submitted.
    pub(crate) async fn submission(&self) -> Result<Submission, Failure> {
        match self {
            RunSource::Disk(disk) => Ok(disk.history.submission(disk.run)?),
            RunSource::Live { run, .. } => Ok(run.submission().await?),
        }
    }

    /// Its recipes.
    pub(crate) async fn recipes(&self) -> Result<Recipes, Failure> {
        let submission = self.submission().await?;
        let pipeline = read_pipeline(&submission)?;
        Ok(Recipes::new(self.id(), &submission, pipeline))
    }

    /// Cancels it, or a part of it.
    pub(crate) async fn cancel(&self, target: Option<&Target>) -> Result<(), Failure> {
        match self {
            RunSource::Disk(disk) => disk.cancel(target).await,
            RunSource::Live { run, .. } => Ok(run.cancel(wire_scope(target)).await?),
        }
    }

    /// The same as it is now, where it is read from a copy.
    pub(crate) fn fresh(self) -> Result<RunSource, Failure> {
        match &self {
            RunSource::Disk(disk) if disk.history.is_copy() => {
                let history = Rc::new(open_history(&disk.state_dir)?);
                let (state_dir, of, run) = (disk.state_dir.clone(), disk.of.clone(), disk.run);
                Ok(RunSource::Disk(Rc::new(DiskRun { state_dir, history, of, run })))
            }
            _ => Ok(self),
        }
    }

    /// The same at the process that runs it, where that can be asked; what it is otherwise.
    pub(crate) async fn at_its_owner(&self) -> RunSource {
        if let RunSource::Disk(disk) = self
            && let Some(run) = disk.live().await
        {
            return RunSource::Live { run, at: At::Here(disk.state_dir.clone()) };
        }
        self.clone()
    }

    /// Ends what runs of it, as this process, which runs it, is about to end.
    pub(crate) async fn interrupt(&self) -> Result<(), Failure> {
        match self {
            RunSource::Disk(disk) => disk.cancel(None).await,
            RunSource::Live { run, .. } => Ok(run.interrupt().await?),
        }
    }

    /// Ends it as cancelled, if it was interrupted.
    pub(crate) async fn give_up(&self) -> Result<(), Failure> {
        match self {
            RunSource::Disk(disk) => Ok(dagrun_scheduler::give_up(&disk.state_dir, disk.run)?),
            RunSource::Live { run, .. } => Ok(run.cancel(Scope::Run).await?),
        }
    }

    /// The command that goes on with it.
    pub(crate) fn go_on(&self) -> String {
        format!("dagrun resume {}{}", self.id(), self.option())
    }

    /// The options that lead a command to this run, with a space before them.
    pub(crate) fn option(&self) -> String {
        match self {
            RunSource::Live { at: At::Cluster(name), .. } => {
                format!(" --cluster {}", crate::quote::word(name))
            }
            RunSource::Live { at: At::Here(state_dir), .. } => state_dir_option(state_dir),
            RunSource::Disk(disk) => match &disk.of {
                Some(name) => format!(" --cluster {}", crate::quote::word(name)),
                None => state_dir_option(&disk.state_dir),
            },
        }
    }
}

/// The option that names a state directory, where it would not be found without.
pub(crate) fn state_dir_option(state_dir: &Path) -> String {
    let named = std::env::var_os("DAGRUN_STATE_DIR").filter(|dir| !dir.is_empty());
    let found = named.map(PathBuf::from).or_else(|| nearest_state_dir().ok());
    let same =
        |found: PathBuf| std::path::absolute(found).ok() == std::path::absolute(state_dir).ok();
    match found.is_some_and(same) {
        true => String::new(),
        false => format!(" --state-dir {}", crate::quote::word(state_dir)),
    }
}

fn wire_scope(target: Option<&Target>) -> Scope<&str> {
    match target {
        None => Scope::Run,
        Some(Target { task, index: None }) => Scope::Task(task),
        Some(Target { task, index: Some(index) }) => Scope::Instance(task, *index),
    }
}

impl From<dagrun::rpc::ClientError> for Failure {
    fn from(error: dagrun::rpc::ClientError) -> Self {
        use dagrun::rpc::ClientError::NotNow;
        let exit = match error {
            NotNow { .. } => Exit::Failed,
            _ if error.is_unreachable() => Exit::Unreachable,
            _ => Exit::Invalid,
        };
        let failure = Failure::new(exit, one_line(&error));
        match error {
            NotNow { .. } => failure.help("free some space there, and do the same again"),
            _ => failure,
        }
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        use HistoryError::{Missing, UnknownInstance, UnknownRun, UnknownTask};
        let exit = match error {
            Missing(_) | UnknownRun(_) | UnknownTask { .. } | UnknownInstance { .. } => {
                Exit::Invalid
            }
            _ => Exit::Failed,
        };
        Failure::new(exit, one_line(&error))
    }
}
