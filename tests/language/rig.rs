//! A scheduler, workers and a directory, and runs in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use dagrun::load;
use dagrun::rpc::{Client, Run};
use dagrun_core::ids::{InstanceId, TaskId};
use dagrun_core::offer::Offer;
use dagrun_core::status::{InstanceRow, RunState, RunStatus, State};
use dagrun_scheduler::SchedulerHandle;
use dagrun_worker::WorkerHandle;

pub(crate) const CLIENT: &[u8] = b"client";
pub(crate) const WORKER: &[u8] = b"worker";

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A scheduler, its workers and a directory for the pipeline.
pub(crate) struct Rig {
    dir: tempfile::TempDir,
    scheduler: Option<SchedulerHandle>,
    pub(crate) workers: Vec<WorkerHandle>,
    lines: Vec<std::os::unix::net::UnixStream>,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let config = dagrun_scheduler::Config::new(state, CLIENT.to_vec(), WORKER.to_vec());
        let scheduler = Some(dagrun_scheduler::spawn(config).unwrap());
        Rig { dir, scheduler, workers: Vec::new(), lines: Vec::new() }
    }

    pub(crate) fn with_worker() -> Rig {
        Rig::new().worker("w1", 4, &[], &[])
    }

    pub(crate) fn worker(
        mut self,
        name: &str,
        slots: u32,
        labels: &[&str],
        resources: &[(&str, u64)],
    ) -> Rig {
        self.join(name, slots, labels, resources);
        self
    }

    /// `w1`, `w2` and so on.
    pub(crate) fn workers(count: u32, slots: u32) -> Rig {
        (1..=count)
            .fold(Rig::new(), |rig, number| rig.worker(&format!("w{number}"), slots, &[], &[]))
    }

    /// One more worker, while something runs.
    pub(crate) fn join(
        &mut self,
        name: &str,
        slots: u32,
        labels: &[&str],
        resources: &[(&str, u64)],
    ) {
        let stream = self.stream();
        self.lines.push(stream.try_clone().unwrap());
        let connection = dagrun_worker::Connection::Stream(stream);
        let config = dagrun_worker::Config {
            name: name.into(),
            offer: Offer {
                slots,
                labels: labels.iter().map(|label| (*label).to_owned()).collect(),
                memory: 1 << 30,
                resources: resources.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
            },
            token: WORKER.to_vec(),
            reaper: None,
            log_limit: dagrun_worker::DEFAULT_LOG_LIMIT,
            values: dagrun_worker::ValuesConfig::default(),
            rejoin: None,
            drain: std::time::Duration::ZERO,
            enforce_memory: false,
        };
        self.workers.push(dagrun_worker::spawn(config, connection).unwrap());
    }

    pub(crate) fn stream(&self) -> std::os::unix::net::UnixStream {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        self.scheduler.as_ref().unwrap().attach(theirs);
        ours
    }

    pub(crate) async fn submit(&self, text: &str) -> Run {
        let stream = self.stream();
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(stream).unwrap();
        let client = Client::attach(stream, CLIENT).await.unwrap();
        let path = self.path("pipeline.toml");
        std::fs::write(&path, text).unwrap();
        let loaded = load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        client.submit(&loaded.submission().unwrap()).await.unwrap()
    }

    /// Cuts the line to a worker, which it does not survive.
    pub(crate) fn lose(&self, worker: usize) {
        self.lines[worker].shutdown(std::net::Shutdown::Both).unwrap();
    }

    /// Waits until the scheduler knows that something runs.
    pub(crate) async fn wait_until_it_runs(&self, run: &Run) {
        while run.status().await.unwrap().tasks.iter().all(|task| task.running == 0) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The lines of a file that tasks wrote.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for a file that a task makes.
    pub(crate) async fn wait_for(&self, name: &str) {
        while !self.path(name).exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Runs a pipeline to its end.
    pub(crate) fn run(&self, text: &str) -> Ended {
        block_on(async {
            let run = self.submit(text).await;
            ended(&run).await
        })
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let scheduler = self.scheduler.take().unwrap();
        scheduler.shutdown();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        scheduler.join();
    }
}

pub(crate) fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let timed = async { tokio::time::timeout(LONG, test).await.expect("the test hangs") };
    tokio::task::LocalSet::new().block_on(&runtime, timed)
}

/// A run that has ended.
pub(crate) struct Ended {
    pub(crate) status: RunStatus,
    pub(crate) rows: Vec<InstanceRow>,
    values: Vec<Option<serde_json::Value>>,
}

/// Waits until so many instances of a run succeeded.
pub(crate) async fn succeeded(run: &Run, count: u32) {
    let mut updates = run.watch().await.unwrap();
    let mut states: BTreeMap<TaskId, u32> = BTreeMap::new();
    while states.values().sum::<u32>() < count {
        let update = updates.next().await.expect("the run goes on");
        let tasks = update.tasks.iter();
        states.extend(tasks.map(|task| (task.task, task.counts.of(State::Succeeded))));
    }
}

pub(crate) async fn ended(run: &Run) -> Ended {
    let mut updates = run.watch().await.unwrap();
    while let Some(update) = updates.next().await {
        if update.state != RunState::Running {
            break;
        }
    }
    let status = run.status().await.unwrap();
    let first = InstanceId { task: TaskId(0), index: 0 };
    let rows = run.instances(first, 1_000, false).await.unwrap().rows;
    let mut values = Vec::new();
    for row in &rows {
        let name = &status.tasks[row.instance.task.at()].name;
        let value = run.value(name, row.instance.index).await.ok();
        values.push(value.map(|value| serde_json::from_slice(&value).unwrap()));
    }
    Ended { status, rows, values }
}

impl Ended {
    /// The states of a task's instances.
    pub(crate) fn states(&self, task: &str) -> Vec<State> {
        self.of(task).iter().map(|row| row.state).collect()
    }

    /// The workers where a task's instances ran.
    pub(crate) fn places(&self, task: &str) -> Vec<&str> {
        self.of(task).iter().map(|row| row.worker.as_deref().unwrap_or("-")).collect()
    }

    /// How many instances of a task ran at once.
    pub(crate) fn most_at_once(&self, task: &str) -> usize {
        let rows = self.of(task);
        rows.iter().map(|row| during(&rows, row).count()).max().unwrap_or(0)
    }

    pub(crate) fn of(&self, task: &str) -> Vec<&InstanceRow> {
        let at = self.status.tasks.iter().position(|known| known.name == task).unwrap();
        self.rows.iter().filter(|row| row.instance.task.at() == at).collect()
    }

    pub(crate) fn only(&self, task: &str) -> &InstanceRow {
        match self.of(task)[..] {
            [row] => row,
            ref rows => panic!("{task} has {} instances", rows.len()),
        }
    }

    pub(crate) fn values(&self, task: &str) -> Vec<serde_json::Value> {
        let at = self.status.tasks.iter().position(|known| known.name == task).unwrap();
        let values = self.rows.iter().zip(&self.values);
        let values = values.filter(|(row, _)| row.instance.task.at() == at);
        values.map(|(_, value)| value.clone().unwrap()).collect()
    }

    pub(crate) fn reason(&self, task: &str) -> (State, &str) {
        let row = self.only(task);
        (row.state, row.reason.as_str())
    }
}

/// The instances that ran when this one started.
pub(crate) fn during<'a>(
    rows: &'a [&InstanceRow],
    row: &InstanceRow,
) -> impl Iterator<Item = &'a InstanceRow> {
    let start = row.started.unwrap();
    let rows = rows.iter().copied();
    rows.filter(move |row| row.started.unwrap() <= start && start < row.finished.unwrap())
}
