//! `dagrun exec`: one command, once on every worker of a cluster, or on those that are named.

use std::collections::HashMap;

use dagrun::rpc::{Client, ClientError, Run, Scope, Submission};
use dagrun_core::ids::InstanceId;
use dagrun_core::pipeline::{Conduct, Pipeline, Targets, Task, TaskAction};
use dagrun_core::status::{InstanceRow, LogChunk, RunState, State, Stream, WorkerStatus};
use dagrun_core::template::Template;

use crate::args::ExecArgs;
use crate::attach::exit_of;
use crate::cluster;
use crate::exit::{Exit, Failure};
use crate::json::ExecJson;
use crate::signals::{Signal, Signals};
use crate::source::FIRST;
use crate::terminal::{self, Output};

/// Instances that are asked for at once.
const PAGE: u32 = 1000;

/// Runs a command on the workers of a cluster and prints what it said there, worker by worker.
pub(crate) async fn exec(args: &ExecArgs) -> Result<Exit, Failure> {
    let Some(name) = args.cluster() else {
        return Err(Failure::usage(
            "exec runs a command on the workers of a cluster, and none is named: without one there \
             are no workers but this machine",
        )
        .help("name one with --cluster; `dagrun cluster start` starts one"));
    };
    // Before anything starts: a signal must find someone who ends it.
    let mut signals = Signals::take()?;
    let client = cluster::connect(name).await?;
    let workers = client.workers().await?;
    if workers.is_empty() {
        let text = format!("cluster {name} has no workers");
        return Err(Failure::new(Exit::Unreachable, text));
    }
    let names = chosen(&args.workers, &workers)?;
    let (run, end) = run(args, &client, &names, &mut signals).await?;
    let mut instances = Said::of_all(&run, &names).await?;
    if names.is_empty() {
        // They joined in any order.
        instances.sort_by(|one, other| in_order(&one.worker).cmp(&in_order(&other.worker)));
    }
    if args.json {
        let mut output = Output::lock();
        instances.iter().for_each(|said| output.json(&said.as_json()));
    } else {
        instances.iter().for_each(Said::print);
    }
    Ok(match end {
        Ended { by: Some(signal), .. } => signal.exit(),
        Ended { state, by: None } => exit_of(state),
    })
}

/// The workers that were named, each once; none are all.
fn chosen(named: &[String], workers: &[WorkerStatus]) -> Result<Vec<String>, Failure> {
    let mut names: Vec<String> = Vec::new();
    for name in named {
        if !workers.iter().any(|worker| worker.name == *name) {
            let mut present: Vec<&str> =
                workers.iter().map(|worker| worker.name.as_str()).collect();
            present.sort_unstable_by_key(|name| in_order(name));
            return Err(Failure::usage(format!("there is no worker `{name}`"))
                .help(format!("the workers are {}", present.join(", "))));
        }
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    Ok(names)
}

/// What sorts names as people do: `w10` after `w2`.
fn in_order(name: &str) -> (&str, u64, &str) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem, name[stem.len()..].parse().unwrap_or(0), name)
}

/// One task for each of the names; without names one task with an instance for each worker.
fn pipeline(args: &ExecArgs, names: &[String]) -> Result<Pipeline, Failure> {
    let words = args.command.iter().map(|word| word.to_str().map(Template::literal));
    let words: Option<Vec<Template>> = words.collect();
    let words = words.ok_or_else(|| Failure::usage("the command is not UTF-8 text"))?;
    let task = |name: String, targets| Task {
        conduct: Conduct {
            targets,
            // It looks at a worker that is busy, or asks it to be less so.
            beside: true,
            // Once is once, also where the worker is lost.
            max_lost: 0,
            // Somebody waits for it.
            priority: i32::MAX,
            ..Conduct::default()
        },
        ..Task::new(name, TaskAction::Run(words.clone()))
    };
    let each = || vec![task("exec".to_owned(), Targets::Each)];
    let named = (1..)
        .zip(names)
        .map(|(number, name)| task(format!("exec-{number}"), Targets::Named(vec![name.clone()])));
    let tasks = if names.is_empty() { each() } else { named.collect() };
    Ok(Pipeline { name: "exec".to_owned(), vars: Vec::new(), tasks })
}

/// How the run ended.
struct Ended {
    state: RunState,
    /// The signal that cancelled it.
    by: Option<Signal>,
}

/// Runs the command to its end; the first signal cancels it, the second one lets go of it.
async fn run(
    args: &ExecArgs,
    client: &Client,
    names: &[String],
    signals: &mut Signals,
) -> Result<(Run, Ended), Failure> {
    let base_dir = std::env::current_dir()
        .map_err(|error| Failure::new(Exit::Failed, format!("current directory: {error}")))?;
    let pipeline = pipeline(args, names)?;
    let submission =
        Submission::new(&pipeline, base_dir).and_then(|submission| submission.aside(&pipeline));
    let submission = submission.map_err(ClientError::Pipeline)?;
    let run = client.submit(&submission).await?;
    let mut updates = run.watch().await?;
    let mut by: Option<Signal> = None;
    loop {
        tokio::select! {
            biased;
            signal = signals.next() => {
                if by.replace(signal).is_some() {
                    let text = format!("run {} is being cancelled without this process", run.id());
                    return Err(Failure::new(signal.exit(), text));
                }
                run.cancel(Scope::Run).await?;
            }
            update = updates.next() => match update {
                Some(update) if update.state == RunState::Running => {}
                Some(update) => return Ok((run, Ended { state: update.state, by })),
                None => {
                    let text = "the connection to the scheduler was lost";
                    return Err(Failure::new(Exit::Unreachable, text));
                }
            },
        }
    }
}

/// What came of the command on one worker.
#[derive(Debug)]
struct Said {
    worker: String,
    row: InstanceRow,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Said {
    /// All of a run, in the order of the workers.
    async fn of_all(run: &Run, names: &[String]) -> Result<Vec<Said>, Failure> {
        let mut all = Vec::new();
        let mut places: HashMap<InstanceId, usize> = HashMap::new();
        let mut from = Some(FIRST);
        while let Some(start) = from {
            let page = run.instances(start, PAGE, false).await?;
            for row in page.rows {
                places.insert(row.instance, all.len());
                all.push(Said::new(row, names));
            }
            from = page.next;
        }
        let mut cursor = Vec::new();
        loop {
            let page = run.logs(Scope::Run, &cursor, false).await?;
            for chunk in page.chunks {
                let place = places.get(&chunk.instance);
                if let Some(said) = place.and_then(|at| all.get_mut(*at)) {
                    said.take(&chunk);
                }
            }
            if !page.more {
                return Ok(all);
            }
            cursor = page.cursor;
        }
    }

    fn new(row: InstanceRow, names: &[String]) -> Said {
        let asked = names.get(row.instance.task.at());
        let worker = row.worker.clone().or_else(|| asked.cloned());
        let worker = worker.unwrap_or_else(|| "a worker that was lost".to_owned());
        Said { worker, row, stdout: Vec::new(), stderr: Vec::new() }
    }

    fn take(&mut self, chunk: &LogChunk) {
        match chunk.stream {
            Stream::Stdout => self.stdout.extend_from_slice(&chunk.bytes),
            Stream::Stderr => self.stderr.extend_from_slice(&chunk.bytes),
            Stream::Note => {
                let note = String::from_utf8_lossy(&chunk.bytes);
                let note = format!("[dagrun: {}]\n", note.trim_end());
                self.stderr.extend_from_slice(note.as_bytes());
            }
        }
    }

    /// A line of `exec --json`.
    fn as_json(&self) -> ExecJson<'_> {
        ExecJson {
            worker: &self.worker,
            state: self.row.state.word(),
            exit_code: self.row.exit_code,
            stdout: String::from_utf8_lossy(&self.stdout),
            stderr: String::from_utf8_lossy(&self.stderr),
            reason: Some(self.row.reason.as_str()).filter(|reason| !reason.is_empty()),
        }
    }

    /// Prints each stream where it belongs, below the name of the worker.
    fn print(&self) {
        let mut output = Output::lock();
        output.line(format_args!("{}:", self.worker));
        output.bytes(&whole_lines(&self.stdout));
        drop(output);
        if !self.stderr.is_empty() {
            terminal::print(&format!("{}:", self.worker));
            terminal::print_bytes(&whole_lines(&self.stderr));
        }
        if self.row.state != State::Succeeded {
            let state = self.row.state.word();
            let reason = Some(self.row.reason.as_str()).filter(|reason| !reason.is_empty());
            terminal::print(&format!("{} {state}: {}", self.worker, reason.unwrap_or(state)));
        }
    }
}

/// The bytes with a line break at their end, unless there are none.
fn whole_lines(bytes: &[u8]) -> Vec<u8> {
    let mut lines = bytes.to_vec();
    if lines.last().is_some_and(|byte| *byte != b'\n') {
        lines.push(b'\n');
    }
    lines
}
