//! One run, as its clients see it: live where it lives, from the history once it has ended.

use std::rc::Rc;

use capnp::Error;
use dagrun_core::engine::CancelScope;
use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::status::RunState;
use dagrun_schema::dagrun_capnp::run;
use dagrun_schema::wire;
use std::os::unix::ffi::OsStrExt as _;

use dagrun_worker::log::Cursor;

use super::{Server, exception, logs, observer};
use crate::driver::{FAILURES, Happened, Published, run_dir};
use crate::history::HistoryError;

/// Rows in one answer.
const ROWS: u32 = 10_000;

pub(super) struct RunServer {
    pub(super) run: RunId,
    pub(super) server: Rc<Server>,
}

impl RunServer {
    fn live(&self) -> Option<Rc<Published>> {
        self.server.shared.driver.borrow().published(self.run)
    }

    /// Which part of the run is meant by a task's name and an index.
    fn scope(&self, live: &Published, task: &str, index: i64) -> Result<CancelScope, Error> {
        if task.is_empty() {
            return Ok(CancelScope::Run);
        }
        let (id, width) = live.task(task).ok_or_else(|| {
            exception(&HistoryError::UnknownTask { run: self.run, task: task.to_owned() })
        })?;
        if index < 0 {
            return Ok(CancelScope::Task(id));
        }
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        if index >= width {
            let task = task.to_owned();
            return Err(exception(&HistoryError::UnknownInstance { task, index, width }));
        }
        Ok(CancelScope::Instance(InstanceId { task: id, index }))
    }
}

impl run::Server for RunServer {
    async fn status(
        self: Rc<Self>,
        _: run::StatusParams,
        mut results: run::StatusResults,
    ) -> Result<(), Error> {
        let status = match self.live() {
            Some(live) => {
                let mut status = live.status().map_err(Error::failed)?;
                self.server.shared.driver.borrow().annotate(&mut status);
                status
            }
            None => {
                let run = self.run;
                self.server.reader.read(move |history| history.status(run)).await?
            }
        };
        wire::write_run_status(&status, results.get().init_status());
        Ok(())
    }

    async fn watch(
        self: Rc<Self>,
        params: run::WatchParams,
        mut results: run::WatchResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let client = params.get_observer()?;
        let subscription = match self.live() {
            Some(live) => observer::follow(live.observe(params.get_detailed()), client),
            None => {
                let run = self.run;
                let read = self.server.reader.read(move |history| {
                    let failures = u32::try_from(FAILURES).unwrap_or(u32::MAX);
                    Ok((history.status(run)?, history.failures(run, failures)?))
                });
                let (status, failures) = read.await?;
                if !is_final(status.state) {
                    return Err(Error::failed(format!(
                        "run {run} has not ended, but this scheduler does not run it"
                    )));
                }
                let tasks = (0..).map(TaskId).zip(&status.tasks);
                let tasks = tasks.map(|(id, task)| wire::TaskDelta {
                    task: id,
                    counts: task.counts,
                    running: task.running,
                    width_known: task.width_known,
                });
                let update = wire::Update {
                    state: status.state,
                    finished: status.finished,
                    tasks: tasks.collect(),
                    failures,
                    workers: 0,
                    ended: Vec::new(),
                    // It is all in the history.
                    ended_lost: true,
                };
                observer::tell_once(update, client)
            }
        };
        results.get().set_subscription(subscription);
        Ok(())
    }

    async fn cancel(
        self: Rc<Self>,
        params: run::CancelParams,
        _: run::CancelResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let Some(live) = self.live() else {
            return Err(Error::failed(format!("run {} has ended", self.run)));
        };
        let scope = self.scope(&live, params.get_task()?.to_str()?, params.get_index())?;
        self.server.shared.inbox.push(Happened::Cancel(self.run, scope));
        Ok(())
    }

    async fn instances(
        self: Rc<Self>,
        params: run::InstancesParams,
        mut results: run::InstancesResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let from =
            InstanceId { task: TaskId(params.get_from_task()), index: params.get_from_index() };
        let (limit, failed_only) = (params.get_limit().clamp(1, ROWS), params.get_failed_only());
        let run = self.run;
        let read = move |history: &crate::History| history.instances(run, from, limit, failed_only);
        let mut page = self.server.reader.read(read).await?;
        self.server.shared.driver.borrow().overlay(run, &mut page.rows);
        let mut results = results.get();
        if let Some(next) = page.next {
            results.set_next_task(next.task.0);
            results.set_next_index(next.index);
            results.set_more(true);
        }
        let mut rows = results.init_rows(u32::try_from(page.rows.len()).unwrap_or(0));
        for (i, row) in (0..).zip(&page.rows) {
            wire::write_instance_row(row, rows.reborrow().get(i));
        }
        Ok(())
    }

    async fn value(
        self: Rc<Self>,
        params: run::ValueParams,
        mut results: run::ValueResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (run, task) = (self.run, params.get_task()?.to_str()?.to_owned());
        let index = params.get_index();
        let read =
            move |history: &crate::History| history.value_part(run, &task, index, 0, u32::MAX);
        let (value, total) = self.server.reader.read(read).await?;
        if total > value.len() as u64 {
            return Err(Error::failed(format!("the value has {total} bytes: read it in parts")));
        }
        results.get().set_value(&value);
        Ok(())
    }

    async fn value_part(
        self: Rc<Self>,
        params: run::ValuePartParams,
        mut results: run::ValuePartResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (run, task) = (self.run, params.get_task()?.to_str()?.to_owned());
        let (index, offset) = (params.get_index(), params.get_offset());
        let limit = params.get_limit();
        let read =
            move |history: &crate::History| history.value_part(run, &task, index, offset, limit);
        let (part, total) = self.server.reader.read(read).await?;
        let mut results = results.get();
        results.set_data(&part);
        results.set_total(total);
        Ok(())
    }

    async fn results(
        self: Rc<Self>,
        params: run::ResultsParams,
        mut results: run::ResultsResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (run, task) = (self.run, TaskId(params.get_task()));
        let (first, limit) = (params.get_first(), params.get_limit());
        let read = move |history: &crate::History| history.results(run, task, first, limit);
        let found = self.server.reader.read(read).await?;
        let mut list = results.get().init_results(u32::try_from(found.len()).unwrap_or(0));
        for (i, result) in (0..).zip(&found) {
            wire::write_result(result, list.reborrow().get(i));
        }
        Ok(())
    }

    async fn logs(
        self: Rc<Self>,
        params: run::LogsParams,
        mut results: run::LogsResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let request = logs::Request {
            run: self.run,
            task: params.get_task()?.to_str()?.to_owned(),
            index: params.get_index(),
            failed_only: params.get_failed_only(),
            cursor: Cursor::from_bytes(params.get_cursor()?)
                .ok_or_else(|| Error::failed("not a cursor of this run's logs".into()))?,
            log_dir: run_dir(&self.server.config.state_dir, self.run.0).join("logs"),
        };
        let wanted = self.server.reader.read(move |history| request.wanted(history)).await?;
        let page = tokio::task::spawn_blocking(move || wanted.read())
            .await
            .map_err(|_| Error::failed("the logs could not be read".into()))?
            .map_err(|error| Error::failed(format!("cannot read the logs: {error}")))?;
        let mut results = results.get();
        results.set_cursor(&page.cursor.to_bytes());
        results.set_more(page.more);
        let mut chunks = results.init_chunks(u32::try_from(page.chunks.len()).unwrap_or(0));
        for (i, chunk) in (0..).zip(&page.chunks) {
            wire::write_log_chunk(chunk, chunks.reborrow().get(i));
        }
        Ok(())
    }

    async fn explain(
        self: Rc<Self>,
        params: run::ExplainParams,
        mut results: run::ExplainResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (run, index) = (self.run, params.get_index());
        let task = params.get_task()?.to_str()?.to_owned();
        let situation = match self.live().and_then(|live| live.task(&task)) {
            Some((task, _)) => {
                let instance = InstanceId { task, index };
                self.server.shared.driver.borrow().situation(run, instance)
            }
            None => None,
        };
        let read = self
            .server
            .reader
            .read(move |history| history.explain_live(run, &task, index, situation.as_ref()));
        let lines = read.await?;
        let mut list = results.get().init_lines(u32::try_from(lines.len()).unwrap_or(0));
        for (i, line) in (0..).zip(&lines) {
            list.set(i, line);
        }
        Ok(())
    }

    async fn pipeline(
        self: Rc<Self>,
        _: run::PipelineParams,
        mut results: run::PipelineResults,
    ) -> Result<(), Error> {
        let run = self.run;
        let submission = self.server.reader.read(move |history| history.submission(run)).await?;
        let mut to = results.get().init_submission();
        to.set_pipeline(&submission.pipeline);
        to.set_base_dir(submission.base_dir.as_os_str().as_bytes());
        to.set_seed(submission.seed);
        to.set_fail_fast(submission.fail_fast);
        Ok(())
    }
}

/// Whether nothing follows an update of this state.
pub(super) fn is_final(state: RunState) -> bool {
    state != RunState::Running
}
