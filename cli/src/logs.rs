//! `dagrun logs`: what attempts wrote to standard output and standard error.

use std::collections::HashMap;
use std::time::Duration;

use dagrun_core::ids::InstanceId;
use dagrun_core::status::{LogChunk, RunState, RunStatus, Stream};

use crate::args::LogsArgs;
use crate::exit::{Exit, Failure};
use crate::json::task_name;
use crate::source::Source;
use crate::target::Target;
use crate::terminal::Output;

/// How often a log is looked at that may still grow.
const POLL: Duration = Duration::from_millis(200);

/// Prints the captured output of a run, a task or an instance.
pub(crate) async fn logs(args: &LogsArgs) -> Result<Exit, Failure> {
    let run = Source::open(&args.place).await?.run(args.run).await?;
    let mut status = run.status().await?;
    let mut printer =
        Printer { raw: is_single(args.target.as_ref(), &status)?, open: HashMap::new() };
    let mut cursor = Vec::new();
    loop {
        let ended = status.state != RunState::Running;
        loop {
            let page = run.logs(args.target.as_ref(), &cursor, args.failed).await?;
            let mut output = Output::lock();
            for chunk in page.chunks {
                printer.print(&mut output, &status, &chunk);
            }
            cursor = page.cursor;
            if !page.more {
                break;
            }
        }
        if ended || !args.follow {
            break;
        }
        run.check_owner()?;
        tokio::time::sleep(POLL).await;
        status = run.status().await?;
    }
    printer.finish(&mut Output::lock(), &status);
    Ok(Exit::Success)
}

/// Whether a single instance is meant, whose output is printed as it is.
fn is_single(target: Option<&Target>, status: &RunStatus) -> Result<bool, Failure> {
    let Some(target) = target else { return Ok(false) };
    let task = status.tasks.iter().find(|task| task.name == target.task);
    let task =
        task.ok_or_else(|| Failure::usage(format!("the run has no task `{}`", target.task)))?;
    if task.width_known {
        target.check(task)?;
    }
    Ok(target.index.is_some() || (task.width_known && task.counts.total() == 1))
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
