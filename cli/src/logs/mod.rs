//! `dagrun logs`: what attempts wrote to standard output and standard error.

mod folder;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use dagrun_core::ids::InstanceId;
use dagrun_core::select::Selector;
use dagrun_core::status::{LogChunk, RunState, RunStatus, Stream, TaskStatus};

use crate::args::LogsArgs;
use crate::chosen::{self, Chosen};
use crate::exit::{Exit, Failure};
use crate::json::task_name;
use crate::report;
use crate::source::{RunSource, Source};
use crate::target::{RunName, Target};
use crate::terminal::{self, Output};
use folder::Folder;

/// How often a log is looked at that may still grow.
const POLL: Duration = Duration::from_millis(200);

/// Prints the captured output of a run, a task or an instance.
pub(crate) async fn logs(args: &LogsArgs) -> Result<Exit, Failure> {
    let (name, selector) = args.what.read()?;
    let run = Source::open(&args.place).await?.run(name.unwrap_or(RunName::Last)).await?;
    let mut status = run.status().await?;
    let filter = Filter::of(&run, &status, selector.as_ref()).await?;
    let mut folder = args.output.as_deref().map(Folder::create).transpose()?;
    let mut printer = Printer { raw: filter.is_single(&status), open: HashMap::new() };
    let mut cursor = Vec::new();
    let mut looks = Looks::default();
    loop {
        let ended = status.state != RunState::Running;
        loop {
            let page = run.logs(filter.target.as_ref(), &cursor, args.failed).await?;
            let mut output = Output::lock();
            for chunk in page.chunks.iter().filter(|chunk| is_wanted(args, &filter, chunk)) {
                match &mut folder {
                    Some(folder) => folder.write(task_name(&status, chunk.instance.task), chunk)?,
                    None => printer.print(&mut output, &status, chunk),
                }
            }
            cursor = page.cursor;
            if !page.more {
                break;
            }
        }
        if ended || !args.follow {
            break;
        }
        tokio::time::sleep(POLL).await;
        status = run.status().await?;
        looks.look(&run).await;
    }
    printer.finish(&mut Output::lock(), &status);
    if let Some(folder) = folder {
        terminal::print(&folder.summary());
    }
    Ok(Exit::Success)
}

/// Says to whoever follows a log why nothing comes, and that things go on.
#[derive(Default)]
struct Looks {
    number: u32,
    waiting: String,
}

impl Looks {
    /// How often the process that runs it is asked.
    const EACH: u32 = 5;

    async fn look(&mut self, run: &RunSource) {
        self.number += 1;
        if !self.number.is_multiple_of(Looks::EACH) {
            return;
        }
        // Whoever cannot be asked has nothing to say.
        let Ok(status) = run.status_now().await else { return };
        if let Some(line) = report::waiting_line(run.id(), &self.waiting, &status.waiting) {
            terminal::print(&line);
        }
        self.waiting = status.waiting;
    }
}

fn is_wanted(args: &LogsArgs, filter: &Filter, chunk: &LogChunk) -> bool {
    let of_stream = match chunk.stream {
        Stream::Stdout => !args.stderr,
        // Notes are about the attempt, like most of standard error.
        Stream::Stderr | Stream::Note => !args.stdout,
    };
    of_stream && filter.admits(chunk.instance)
}

/// Whose output is wanted.
struct Filter {
    /// What is asked for: at least all that is wanted.
    target: Option<Target>,
    /// What of it is wanted, unless that is all.
    chosen: Option<Chosen>,
    /// The instances in the wanted states, when the states matter.
    in_state: Option<HashSet<u32>>,
}

impl Filter {
    async fn of(
        run: &RunSource,
        status: &RunStatus,
        selector: Option<&Selector>,
    ) -> Result<Filter, Failure> {
        let mut filter = Filter { target: None, chosen: None, in_state: None };
        let Some(selector) = selector else { return Ok(filter) };
        let (_, task) = chosen::task(status, selector)?;
        filter.target = Some(Target { task: task.name.clone(), index: selector.index() });
        if selector.is_whole() || (!task.width_known && selector.index().is_some()) {
            return Ok(filter);
        }
        let recipes = run.recipes().await?;
        let chosen = Chosen::of(run, status, recipes.pipeline(), selector).await?;
        if chosen.selection.states().is_some() {
            let rows = chosen.all_rows(run).await?;
            filter.in_state = Some(rows.iter().map(|row| row.instance.index).collect());
        }
        filter.target = Some(chosen.target());
        filter.chosen = Some(chosen);
        Ok(filter)
    }

    fn admits(&self, instance: InstanceId) -> bool {
        let chosen = self.chosen.as_ref();
        chosen.is_none_or(|chosen| chosen.selection.contains(instance.index))
            && self.in_state.as_ref().is_none_or(|wanted| wanted.contains(&instance.index))
    }

    /// Whether a single instance is meant, whose output is printed as it is.
    fn is_single(&self, status: &RunStatus) -> bool {
        let Some(target) = &self.target else { return false };
        let task = status.tasks.iter().find(|task| task.name == target.task);
        let alone = |task: &TaskStatus| task.width_known && task.counts.total() == 1;
        target.index.is_some() || task.is_some_and(alone)
    }
}

/// Writes the output of several instances in whole lines, each with its origin before it.
#[derive(Debug)]
struct Printer {
    raw: bool,
    /// Lines that have begun and not ended.
    open: HashMap<(InstanceId, u32, Stream), Vec<u8>>,
}

impl Printer {
    fn print(&mut self, output: &mut Output, status: &RunStatus, chunk: &LogChunk) {
        if chunk.stream == Stream::Note {
            let note = String::from_utf8_lossy(&chunk.bytes);
            let origin = self.origin(status, chunk.instance, chunk.attempt);
            output.line(format_args!("{origin}[dagrun: {}]", note.trim_end()));
            return;
        }
        if self.raw {
            output.bytes(&chunk.bytes);
            return;
        }
        let key = (chunk.instance, chunk.attempt, chunk.stream);
        let mut line = self.open.remove(&key).unwrap_or_default();
        let mut rest = chunk.bytes.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end + 1);
            line.extend_from_slice(head);
            output.bytes(self.origin(status, chunk.instance, chunk.attempt).as_bytes());
            output.bytes(&line);
            line.clear();
            rest = tail;
        }
        line.extend_from_slice(rest);
        if !line.is_empty() {
            self.open.insert(key, line);
        }
    }

    fn finish(&mut self, output: &mut Output, status: &RunStatus) {
        let mut open: Vec<_> = std::mem::take(&mut self.open).into_iter().collect();
        open.sort_unstable_by_key(|((instance, attempt, stream), _)| {
            (*instance, *attempt, *stream as u8)
        });
        for ((instance, attempt, _), line) in open {
            output.bytes(self.origin(status, instance, attempt).as_bytes());
            output.bytes(&line);
            output.bytes(b"\n");
        }
    }

    fn origin(&self, status: &RunStatus, instance: InstanceId, attempt: u32) -> String {
        let task = task_name(status, instance.task);
        match (self.raw, attempt) {
            (true, _) => String::new(),
            (false, 0 | 1) => format!("{task}[{}]: ", instance.index),
            (false, _) => format!("{task}[{}] attempt {attempt}: ", instance.index),
        }
    }
}
