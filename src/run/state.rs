//! What is known of a run: how far it has come, what it took, and what became of each instance.

use std::time::Duration;

use dagrun_core::ids::{InstanceId, TaskId};
use dagrun_core::status::State;

use super::Run;
use crate::Pending;
use crate::dag::TaskRef;
use crate::report::{Instance, LogChunk, RunStatus};
use crate::rpc::Scope;

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Instances in all, as far as this is known.
    pub instances: u64,
    /// Those that have ended, in whatever way.
    pub ended: u64,
    /// Those of them that succeeded.
    pub succeeded: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Those that run now.
    pub running: u64,
    /// How much of those is done, by the word of their functions (see
    /// [`Context::progress`](crate::Context::progress)): the sum, in thousandths of an instance.
    pub partial: u64,
    /// Whether `instances` will not grow: without tasks whose width is known only later.
    pub complete: bool,
}

impl Progress {
    /// How much of it is done, from 0 to 1, as far as its size is known.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        match self.instances {
            0 => 0.0,
            all => ((self.ended as f64 + self.partial as f64 / 1000.0) / all as f64).min(1.0),
        }
    }
}

/// What a run took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    /// From the submission to the end.
    pub wall: Duration,
    /// All last attempts one after the other.
    pub serial: Duration,
}

impl Times {
    /// How many times faster the run was than its attempts one after the other.
    #[must_use]
    pub fn speed_up(&self) -> f64 {
        self.serial.as_secs_f64() / self.wall.as_secs_f64().max(1e-9)
    }
}

impl Run {
    /// How far it has come.
    ///
    #[doc = crate::docs::squares!(
        "run.finished().wait()?;",
        "let progress = run.progress().wait()?;",
        "assert_eq!((progress.ended, progress.instances), (6, 6));",
    )]
    pub fn progress(&self) -> Pending<Progress> {
        self.status().map(|status| {
            let mut progress = Progress { complete: true, ..Progress::default() };
            for task in &status.tasks {
                progress.instances += u64::from(task.counts.total());
                progress.ended += u64::from(task.counts.terminal());
                progress.succeeded += u64::from(task.counts.of(State::Succeeded));
                progress.failed += u64::from(task.counts.of(State::Failed));
                progress.running += u64::from(task.running);
                progress.partial += u64::from(task.partial);
                progress.complete &= task.width_known;
            }
            Ok(progress)
        })
    }

    /// Its state, by task.
    pub fn status(&self) -> Pending<RunStatus> {
        self.ask(|watched| async move { Ok(watched.run.status().await?.into()) })
    }

    /// How a task's instances are: state, attempts, worker, when they started and ended, and why they
    /// failed.
    ///
    #[doc = crate::docs::squares!(
        "run.finished().wait()?;",
        "for row in run.instances(&squares).wait()? {",
        r#"    println!("{}: {} attempts, on {:?}", row.instance.index, row.attempts, row.worker);"#,
        "}",
    )]
    pub fn instances<H: Into<TaskRef>>(&self, of: H) -> Pending<Vec<Instance>> {
        self.ask_of(&of.into(), |watched, task| async move {
            let mut rows = Vec::new();
            let mut from = Some(InstanceId { task, index: 0 });
            while let Some(at) = from.filter(|at| at.task == task) {
                let page = watched.run.instances(at, 10_000, false).await?;
                let own = page.rows.into_iter().filter(|row| row.instance.task == task);
                rows.extend(own.map(Instance::from));
                from = page.next;
            }
            Ok(rows)
        })
    }

    /// What it took, once it has ended.
    ///
    #[doc = crate::docs::squares!(
        "let times = run.times().wait()?;",
        r#"println!("{:?}, {:.1} times faster than one by one", times.wall, times.speed_up());"#,
    )]
    pub fn times(&self) -> Pending<Times> {
        self.ask(|watched| async move {
            watched.over().await?;
            let status = watched.run.status().await?;
            let finished = status.finished.or(watched.finished()).unwrap_or(status.started);
            let mut serial = Duration::ZERO;
            let mut from = Some(InstanceId { task: TaskId(0), index: 0 });
            while let Some(at) = from {
                let page = watched.run.instances(at, 10_000, false).await?;
                for row in &page.rows {
                    if let (Some(started), Some(finished)) = (row.started, row.finished) {
                        serial += finished.since(started).to_duration();
                    }
                }
                from = page.next;
            }
            Ok(Times { wall: finished.since(status.started).to_duration(), serial })
        })
    }

    /// What a task's instances wrote: processes to standard output and standard error, functions by
    /// [`crate::Context::log`].
    pub fn logs<H: Into<TaskRef>>(&self, of: H) -> Pending<Vec<LogChunk>> {
        self.ask_of(&of.into(), |watched, task| async move {
            let name = watched.name(task)?.to_owned();
            let (mut chunks, mut cursor) = (Vec::new(), Vec::new());
            loop {
                let page = watched.run.logs(Scope::Task(&name), &cursor, false).await?;
                chunks.extend(page.chunks.into_iter().map(LogChunk::from));
                cursor = page.cursor;
                if !page.more {
                    return Ok(chunks);
                }
            }
        })
    }

    /// Why an instance is where it is, and how each of its attempts went: lines for people.
    pub fn explain<H: Into<TaskRef>>(&self, task: H, index: u32) -> Pending<Vec<String>> {
        self.ask_of(&task.into(), move |watched, task| async move {
            let name = watched.name(task)?.to_owned();
            Ok(watched.run.explain(&name, index).await?)
        })
    }
}
