//! What `dagrun each` does with a run while it goes on: hands outputs on, and stops it when `--halt` says so.

use std::collections::HashMap;

use dagrun::rpc::Scope;
use dagrun::wire::Update;
use dagrun_core::status::{InstanceRow, State};

use super::halt::Halt;
use super::joblog::JobLog;
use super::outputs::Outputs;
use super::pipeline::TASK;
use crate::exit::Failure;
use crate::source::{FIRST, RunSource};

/// Runs something where it disturbs no drawing.
pub(crate) type Aside<'a> = &'a mut dyn FnMut(&mut dyn FnMut());

/// What to do with the run of a `dagrun each`.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(super) outputs: Outputs,
    pub(super) halt: Halt,
    pub(super) joblog: Option<JobLog>,
    /// Whether it was stopped by `--halt`, or as nobody reads its output any more.
    pub(super) halted: bool,
    pub(super) reader_left: bool,
}

impl Sink {
    /// Takes an update of the run. True: the run is to be cancelled.
    pub(crate) async fn take(
        &mut self,
        run: &RunSource,
        update: &Update,
        aside: Aside<'_>,
    ) -> Result<bool, Failure> {
        for ended in &update.ended {
            self.outputs.note(ended.first, ended.count);
        }
        if update.ended_lost {
            self.outputs.note_all(run).await?;
        }
        let mut cancel = self.hand_on(run, aside).await?;
        let counts = update.tasks.iter().map(|task| &task.counts).next();
        if !self.halted
            && let Some(now) = counts.and_then(|counts| self.halt.is_due(counts))
        {
            self.halted = true;
            cancel |= now;
            if !now {
                start_no_more(run).await?;
            }
        }
        Ok(cancel)
    }

    /// True: nobody reads the output any more.
    async fn hand_on(&mut self, run: &RunSource, aside: Aside<'_>) -> Result<bool, Failure> {
        if self.outputs.hand_on(run, aside).await?.is_ok() {
            return Ok(false);
        }
        self.outputs.print = false;
        self.reader_left = true;
        Ok(true)
    }

    /// Takes the end of the run.
    pub(crate) async fn finish(
        &mut self,
        run: &RunSource,
        aside: Aside<'_>,
    ) -> Result<(), Failure> {
        self.outputs.note_all(run).await?;
        self.hand_on(run, aside).await?;
        if let Some(joblog) = &mut self.joblog {
            joblog.write(rows(run).await?, &self.outputs.sizes)?;
        }
        Ok(())
    }

    /// Whether a run that was cancelled did what was wanted.
    pub(super) fn is_success(&self) -> bool {
        self.reader_left || (self.halted && self.halt.is_success())
    }
}

/// Cancels what waits, the last first; what runs goes on.
async fn start_no_more(run: &RunSource) -> Result<(), Failure> {
    let RunSource::Live { run: live, .. } = run else { return Ok(()) };
    // What a worker holds may have been started: that is reported a little later.
    let waits =
        |row: &InstanceRow| matches!(row.state, State::Blocked | State::Ready | State::Backoff);
    for row in rows(run).await?.iter().rev().filter(|row| waits(row)) {
        live.cancel(Scope::Instance(TASK, row.instance.index)).await?;
    }
    Ok(())
}

async fn rows(run: &RunSource) -> Result<Vec<InstanceRow>, Failure> {
    let (mut rows, mut from) = (Vec::new(), Some(FIRST));
    while let Some(start) = from {
        let page = run.instances(start, 10_000, false).await?;
        rows.extend(page.rows);
        from = page.next;
    }
    Ok(rows)
}

/// The bytes that instances wrote to standard output.
pub(super) type Sizes = HashMap<u32, u64>;
