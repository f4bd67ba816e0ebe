//! Clusters on this machine: `dagrun cluster`, `dagrun workers`, and connecting to one.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dagrun::rpc::Client;
use dagrun_core::offer::amount_of_memory;
use dagrun_core::one_line;
use dagrun_core::status::{Refused, RunState, WorkerStatus};
use dagrun_disk::clock;
use dagrun_disk::private;
use dagrun_scheduler::connection::{ClusterDir, Connection, ConnectionError, Role};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::args::{
    ClusterCommand, ClusterStartArgs, ClusterStatusArgs, ClusterStopArgs, WorkersArgs,
};
use crate::check::plural;
use crate::exit::{Exit, Failure};
use crate::json::{ClusterJson, WorkerJson};
use crate::terminal::{self, Output, table};
use crate::time;

/// How often it is looked whether a process is ready.
const POLL: Duration = Duration::from_millis(10);

/// How long processes may take to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects to the scheduler of a cluster.
pub(crate) async fn connect(name: &str) -> Result<Client, Failure> {
    let connection = read(name)?;
    connect_to(&connection).await
}

/// Whether a cluster has a connection file, if only one that a killed scheduler has left.
pub(crate) fn is_published(name: &str) -> bool {
    read(name).is_ok()
}

fn read(name: &str) -> Result<Connection, Failure> {
    Ok(ClusterDir::of(name)?.read(Role::Client)?)
}

async fn connect_to(connection: &Connection) -> Result<Client, Failure> {
    let name = &connection.cluster;
    let token = connection.token.bytes();
    Client::connect_tcp(connection.address, token).await.map_err(|error| {
        let text = format!("cluster {name}: {}", one_line(&error));
        Failure::new(Exit::Unreachable, text)
    })
}

impl From<ConnectionError> for Failure {
    /// A name that cannot be is the user's fault; all else means that there is nobody to talk to.
    fn from(error: ConnectionError) -> Self {
        let exit = match error {
            ConnectionError::Name(_) => Exit::Invalid,
            _ => Exit::Unreachable,
        };
        Failure::new(exit, one_line(&error))
    }
}

/// `dagrun cluster …`.
pub(crate) async fn cluster(command: &ClusterCommand) -> Result<Exit, Failure> {
    match command {
        ClusterCommand::Start(args) => start(args).await,
        ClusterCommand::Stop(args) => stop(args).await,
        ClusterCommand::Status(args) => status(args).await,
    }
}

/// Starts a scheduler and workers in the background.
async fn start(args: &ClusterStartArgs) -> Result<Exit, Failure> {
    let name = args.cluster.name();
    let folder = ClusterDir::of(name)?;
    folder.claim().map_err(|error| Failure::new(Exit::Failed, one_line(&error)))?;
    let mut started = Started::default();
    let result = start_all(args, name, &folder, &mut started).await;
    match result {
        Ok(workers) => {
            let slots: u32 = workers.iter().map(|worker| worker.offer.slots).sum();
            terminal::print(&format!(
                "cluster {name}: {} {}, {slots} {}; logs in {}",
                workers.len(),
                plural(workers.len() as u64, "worker"),
                plural(slots.into(), "slot"),
                folder.path().display()
            ));
            Ok(Exit::Success)
        }
        Err(failure) => {
            started.end();
            Err(failure)
        }
    }
}

async fn start_all(
    args: &ClusterStartArgs,
    name: &str,
    folder: &ClusterDir,
    started: &mut Started,
) -> Result<Vec<WorkerStatus>, Failure> {
    let scheme = args.scheme.word();
    let lease = args.lease.to_string();
    let words = ["scheduler", "--cluster", name, "--scheme", scheme, "--lease", &lease];
    let scheduler = started.start(folder.path(), "scheduler", &words)?;
    let deadline = Instant::now() + PATIENCE;
    let client = loop {
        // What a dead scheduler left there stays: whoever waits for the next one looks at it.
        match folder.read(Role::Client) {
            Ok(connection) if connection.pid == scheduler => break connect_to(&connection).await?,
            _ => {}
        }
        started.check(deadline)?;
        tokio::time::sleep(POLL).await;
    };
    let offer = args.offer.share(args.workers).words();
    let (drain, wait) = (args.drain.to_string(), args.wait.to_string());
    for number in 1..=args.workers {
        let worker = format!("w{number}");
        let mut words = vec!["worker", "--cluster", name, "--name", &worker];
        words.extend(["--drain", &drain, "--wait", &wait]);
        words.extend(offer.iter().map(String::as_str));
        started.start(folder.path(), &worker, &words)?;
    }
    loop {
        let workers = client.workers().await?;
        if workers.len() >= args.workers as usize {
            return Ok(workers);
        }
        started.check(deadline)?;
        tokio::time::sleep(POLL).await;
    }
}

/// The processes of a cluster that is being started.
#[derive(Debug, Default)]
struct Started {
    processes: Vec<Process>,
}

#[derive(Debug)]
struct Process {
    what: String,
    child: Child,
    log: PathBuf,
}

impl Started {
    /// Starts `dagrun` with these words in a session of its own, with its output in a log. Returns the
    /// number of its process.
    fn start(&mut self, folder: &Path, what: &str, words: &[&str]) -> Result<u32, Failure> {
        let log = folder.join(format!("{what}.log"));
        let failed = |error| Failure::new(Exit::Failed, format!("cannot start {what}: {error}"));
        // What an earlier one wrote may still be wanted.
        let file = private::open(&log, File::options().create(true).append(true));
        let file = file.map_err(failed)?;
        let program = std::env::current_exe().map_err(failed)?;
        let child = Command::new(program)
            .args(words)
            .arg("--new-session")
            // Else they would keep the directory busy for as long as they run.
            .current_dir("/")
            .env_remove("DAGRUN_STATE_DIR")
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(failed)?)
            .stderr(file)
            .spawn()
            .map_err(failed)?;
        let pid = child.id();
        self.processes.push(Process { what: what.to_owned(), child, log });
        Ok(pid)
    }

    /// Whether all still run, in time.
    fn check(&mut self, deadline: Instant) -> Result<(), Failure> {
        for process in &mut self.processes {
            if let Ok(Some(status)) = process.child.try_wait() {
                let text = format!("{} ended: {status}", process.what);
                return Err(Failure::new(Exit::Unreachable, text).help(process.log_tail()));
            }
        }
        if Instant::now() < deadline {
            return Ok(());
        }
        let seconds = PATIENCE.as_secs();
        let text = format!("the cluster is not ready after {seconds} s");
        let tails: Vec<String> = self.processes.iter().map(Process::log_tail).collect();
        Err(Failure::new(Exit::Unreachable, text).help(tails.join("\n")))
    }

    /// Asks all to end, workers first.
    fn end(mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = kill_process(Pid::from_child(&process.child), Signal::TERM);
            let _ = process.child.wait();
        }
    }
}

impl Process {
    /// Where its log is, and the end of it.
    fn log_tail(&self) -> String {
        let mut tail = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            let _ = file.seek(SeekFrom::Start(length.saturating_sub(2048)));
            let _ = file.read_to_end(&mut tail);
        }
        let tail = String::from_utf8_lossy(&tail);
        format!("its log is {}\n{}", self.log.display(), tail.trim_end())
    }
}

/// Ends the scheduler and its workers, and waits until the scheduler has ended.
async fn stop(args: &ClusterStopArgs) -> Result<Exit, Failure> {
    let name = args.cluster.name();
    let folder = ClusterDir::of(name)?;
    let connection = folder.read(Role::Client)?;
    let client = connect_to(&connection).await?;
    if !args.force && !may_stop(&client).await? {
        return Ok(Exit::Success);
    }
    client.shutdown().await?;
    drop(client);
    let deadline = Instant::now() + PATIENCE;
    // The scheduler's last deed is to take its file away.
    while folder.read(Role::Client).is_ok_and(|found| found.pid == connection.pid)
        && is_process(connection.pid)
    {
        if Instant::now() > deadline {
            let text = format!("process {} does not end", connection.pid);
            return Err(Failure::new(Exit::Failed, text));
        }
        tokio::time::sleep(POLL).await;
    }
    terminal::print(&format!("cluster {name}: stopped"));
    Ok(Exit::Success)
}

/// Whether a cluster may be stopped: nothing runs on it, or somebody has agreed.
async fn may_stop(client: &Client) -> Result<bool, Failure> {
    let runs = client.runs(u32::MAX).await?;
    let running = runs.iter().filter(|run| run.state == RunState::Running);
    let running: Vec<String> =
        running.map(|run| format!("run {} ({})", run.run, run.name)).collect();
    if running.is_empty() {
        return Ok(true);
    }
    let (verb, them) = if running.len() == 1 { ("is", "it") } else { ("are", "them") };
    let question = format!("{} {verb} running: interrupt {them}?", running.join(", "));
    terminal::confirmed(&question, "--force")
}

fn is_process(pid: u32) -> bool {
    let pid = pid.try_into().ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Shows the scheduler and its workers.
async fn status(args: &ClusterStatusArgs) -> Result<Exit, Failure> {
    let connection = read(args.cluster.name())?;
    let client = connect_to(&connection).await?;
    let (workers, refused) = (client.workers().await?, client.refused().await?);
    let mut output = Output::lock();
    if args.json {
        output.json(&ClusterJson::new(&connection, &workers, refused));
        return Ok(Exit::Success);
    }
    output.line(format_args!(
        "cluster {}  scheduler {}  process {}",
        connection.cluster, connection.address, connection.pid
    ));
    if let Some(line) = refused_in_words(refused) {
        output.line(line);
    }
    output.line("");
    print(&mut output, &workers);
    Ok(Exit::Success)
}

/// `refused since its start: 3 logins, 12 connections before a login`; nothing when it was nothing.
fn refused_in_words(refused: Refused) -> Option<String> {
    let Refused { logins, strangers, messages, sessions, requests, reports } = refused;
    let kinds = [
        (logins, "login", "logins"),
        (strangers, "connection before a login", "connections before a login"),
        (messages, "message", "messages"),
        (sessions, "session", "sessions"),
        (requests, "wait for a client to read", "waits for clients to read"),
        (reports, "report", "reports"),
    ];
    let in_words = |(count, one, many): &(u64, &str, &str)| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {many}")),
    };
    let kinds: Vec<String> = kinds.iter().filter_map(in_words).collect();
    (!kinds.is_empty()).then(|| format!("refused since its start: {}", kinds.join(", ")))
}

/// Lists the workers of a cluster.
pub(crate) async fn workers(args: &WorkersArgs) -> Result<Exit, Failure> {
    let workers = connect(args.cluster.name()).await?.workers().await?;
    let mut output = Output::lock();
    if args.json {
        for worker in &workers {
            output.json(&WorkerJson::new(worker));
        }
    } else {
        print(&mut output, &workers);
    }
    Ok(Exit::Success)
}

fn print(output: &mut Output, workers: &[WorkerStatus]) {
    let head =
        ["id", "name", "host", "slots", "running", "memory", "heartbeat", "labels", "resources"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let now = clock::now();
    for worker in workers {
        let silence = now.since(worker.last_heartbeat);
        let resources =
            worker.offer.resources.iter().map(|(name, amount)| format!("{name}={amount}"));
        rows.push(vec![
            worker.id.to_string(),
            worker.name.clone(),
            worker.host.clone(),
            worker.offer.slots.to_string(),
            worker.running.to_string(),
            amount_of_memory(worker.offer.memory),
            format!("{} ago", time::span(silence)),
            worker.offer.labels.join(","),
            resources.collect::<Vec<_>>().join(","),
        ]);
    }
    for line in table(&rows, &[true, false, false, true, true, true, true, false, false]) {
        output.line(line);
    }
    for worker in workers.iter().filter(|worker| !worker.note.is_empty()) {
        output.line(format!("{}: {}", worker.name, worker.note));
    }
}
