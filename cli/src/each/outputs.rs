//! What the instances of `dagrun each` wrote, handed on when they end: to standard output and standard error, and
//! to files below `--results`.
//!
//! The run's logs are read from a cursor on, each byte once; what belongs to instances that have not ended waits here.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use dagrun_core::recipe::Recipe;
use dagrun_core::status::{LogChunk, Stream};

use crate::exit::{Exit, Failure};
use crate::source::{FIRST, RunSource};

/// What an attempt wrote.
#[derive(Debug, Default)]
struct Written {
    attempt: u32,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// What is handed on.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// Whether the outputs come in the order of the items.
    keep_order: bool,
    /// Whether they are written to standard output and standard error.
    pub(super) print: bool,
    /// The directory of `--results`.
    results: Option<Results>,
    cursor: Vec<u8>,
    waiting: HashMap<u32, Written>,
    /// By index: whether it has ended, and whether it was handed on.
    ended: Vec<bool>,
    done: Vec<bool>,
    /// The first that was not handed on.
    next: usize,
    /// Those that have ended and were not handed on.
    ready: Vec<u32>,
    /// How many bytes each wrote to standard output.
    pub(super) sizes: super::sink::Sizes,
}

/// Whoever read standard output has left.
#[derive(Debug)]
pub(super) struct ReaderLeft;

impl Outputs {
    pub(super) fn new(keep_order: bool, print: bool, results: Option<Results>) -> Outputs {
        Outputs { keep_order, print, results, ..Outputs::default() }
    }

    /// Notes instances that have ended.
    pub(super) fn note(&mut self, first: u32, count: u32) {
        for index in first..first.saturating_add(count) {
            let at = index as usize;
            if self.ended.len() <= at {
                self.ended.resize(at + 1, false);
                self.done.resize(at + 1, false);
            }
            if let Some(ended) = self.ended.get_mut(at)
                && !std::mem::replace(ended, true)
            {
                self.ready.push(index);
            }
        }
    }

    /// Notes all instances that have ended, where updates left some out.
    pub(super) async fn note_all(&mut self, run: &RunSource) -> Result<(), Failure> {
        let mut from = Some(FIRST);
        while let Some(start) = from {
            let page = run.instances(start, 10_000, false).await?;
            for row in page.rows.iter().filter(|row| row.state.is_terminal()) {
                self.note(row.instance.index, 1);
            }
            from = page.next;
        }
        Ok(())
    }

    /// Hands on what has ended; `aside` runs it where it disturbs no drawing.
    pub(super) async fn hand_on(
        &mut self,
        run: &RunSource,
        aside: super::Aside<'_>,
    ) -> Result<Result<(), ReaderLeft>, Failure> {
        if self.ready.is_empty() {
            return Ok(Ok(()));
        }
        loop {
            let page = run.logs(None, &self.cursor, false).await?;
            page.chunks.iter().for_each(|chunk| self.take(chunk));
            self.cursor = page.cursor;
            if !page.more {
                break;
            }
        }
        let mut result = Ok(Ok(()));
        aside(&mut || result = self.write_ready());
        result
    }

    fn take(&mut self, chunk: &LogChunk) {
        let index = chunk.instance.index;
        if self.done.get(index as usize).copied().unwrap_or(false) {
            return;
        }
        let written = self.waiting.entry(index).or_default();
        // Of several attempts the last counts.
        if chunk.attempt > written.attempt {
            *written = Written { attempt: chunk.attempt, ..Written::default() };
        }
        match chunk.stream {
            Stream::Stdout => written.stdout.extend_from_slice(&chunk.bytes),
            Stream::Stderr | Stream::Note => written.stderr.extend_from_slice(&chunk.bytes),
        }
    }

    fn write_ready(&mut self) -> Result<Result<(), ReaderLeft>, Failure> {
        let mut order = std::mem::take(&mut self.ready);
        if self.keep_order {
            order.sort_unstable();
            let whole = (self.next..).zip(&self.ended[self.next.min(self.ended.len())..]);
            let end =
                whole.take_while(|(_, ended)| **ended).last().map_or(self.next, |(at, _)| at + 1);
            let later = order.partition_point(|index| (*index as usize) < end);
            self.ready = order.split_off(later);
            self.next = end;
        }
        for index in order {
            let written = self.waiting.remove(&index).unwrap_or_default();
            if let Some(done) = self.done.get_mut(index as usize) {
                *done = true;
            }
            self.sizes.insert(index, written.stdout.len() as u64);
            if let Some(results) = &self.results {
                results.write(index, &written)?;
            }
            if self.print
                && let Err(left) = print(&written)?
            {
                return Ok(Err(left));
            }
        }
        Ok(Ok(()))
    }
}

/// Writes what an instance wrote: standard output first, as GNU parallel does.
fn print(written: &Written) -> Result<Result<(), ReaderLeft>, Failure> {
    let mut out = io::stdout().lock();
    let result = out.write_all(&written.stdout).and_then(|()| out.flush());
    if !written.stderr.is_empty() {
        // Without a reader it is lost.
        let _ = io::stderr().lock().write_all(&written.stderr);
    }
    match result {
        Ok(()) => Ok(Ok(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Err(ReaderLeft)),
        Err(error) => Err(Failure::new(Exit::Failed, format!("standard output: {error}"))),
    }
}

/// A directory with the outputs of each instance, laid out as GNU parallel does.
#[derive(Debug)]
pub(super) struct Results {
    /// The directory.
    pub(super) dir: PathBuf,
    /// The parameters that are inputs.
    pub(super) inputs: Vec<String>,
    /// What the items of an instance are.
    pub(super) recipe: Recipe,
}

impl Results {
    /// `DIR/1/ITEM/2/ITEM/{stdout,stderr,seq}`.
    fn write(&self, index: u32, written: &Written) -> Result<(), Failure> {
        let params = self.recipe.params(index);
        let mut dir = self.dir.clone();
        for (number, input) in (1..).zip(&self.inputs) {
            let value =
                params.iter().find(|(name, _)| name == input).map(|(_, value)| value.to_text());
            dir.push(format!("{number}"));
            dir.push(file_name(&value.unwrap_or_default(), index));
        }
        let failed = |error: io::Error| {
            Failure::new(Exit::Failed, format!("--results: {}: {error}", dir.display()))
        };
        fs::create_dir_all(&dir).map_err(failed)?;
        fs::write(dir.join("seq"), format!("{}\n", index + 1)).map_err(failed)?;
        fs::write(dir.join("stdout"), &written.stdout).map_err(failed)?;
        fs::write(dir.join("stderr"), &written.stderr).map_err(failed)
    }
}

/// An item as the name of a directory: `/` is `\_`, `\` is `\\`. What cannot be one is the instance's number.
fn file_name(item: &[u8], index: u32) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt;
    let mut name = Vec::with_capacity(item.len());
    for byte in item {
        match byte {
            b'/' => name.extend_from_slice(b"\\_"),
            b'\\' => name.extend_from_slice(b"\\\\"),
            byte => name.push(*byte),
        }
    }
    if matches!(name.as_slice(), b"" | b"." | b"..") || name.len() > 255 {
        name = format!("\\{}", index + 1).into_bytes();
    }
    std::ffi::OsString::from_vec(name)
}

#[cfg(test)]
mod tests {
    use dagrun_core::ids::{InstanceId, TaskId};

    use super::*;

    fn chunk(index: u32, attempt: u32, text: &str) -> LogChunk {
        let at = dagrun_core::ids::Timestamp::default();
        LogChunk {
            instance: InstanceId { task: TaskId(0), index },
            attempt,
            stream: Stream::Stdout,
            at,
            bytes: text.into(),
        }
    }

    #[test]
    fn outputs_of_earlier_attempts_are_left_out() {
        let mut outputs = Outputs::default();
        for (attempt, text) in [(1, "a"), (2, "b"), (2, "c")] {
            outputs.take(&chunk(0, attempt, text));
        }
        assert_eq!(outputs.waiting[&0].stdout, b"bc");
    }

    #[test]
    fn in_order_an_instance_waits_for_those_before_it() {
        let mut outputs = Outputs { keep_order: true, ..Outputs::default() };
        let handed_on = |outputs: &mut Outputs| {
            outputs.write_ready().unwrap().unwrap();
            outputs.done.iter().filter(|done| **done).count()
        };
        outputs.note(1, 2);
        assert_eq!(handed_on(&mut outputs), 0);
        outputs.note(0, 1);
        assert_eq!(handed_on(&mut outputs), 3);
        outputs.note(0, 3);
        outputs.note(3, 1);
        assert_eq!((handed_on(&mut outputs), outputs.next), (4, 4));
    }

    #[test]
    fn items_are_names_of_directories() {
        let name = |item: &str| file_name(item.as_bytes(), 6).into_string().unwrap();
        assert_eq!([name("a/b\\c"), name(".."), name("")], ["a\\_b\\\\c", "\\7", "\\7"]);
        assert_eq!(name(&"x".repeat(300)), "\\7");
    }
}
