//! One run, as its clients see it: live while it runs, from the history once it has ended.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::rc::Rc;

use capnp::Error;
use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::status::RunState;
use dagrun_schema::dagrun_capnp::run;
use dagrun_schema::wire::{self, Message, Scope};

use super::{Server, exception, observer};
use crate::driver::{FAILURES, Happened, Published};
use crate::history::{History, HistoryError, resolve};

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
        status.write(results.get().init_status());
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
                observer::send_once(update, client)
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
        let find = |task: &str| {
            let unknown = || HistoryError::UnknownTask { run: self.run, task: task.to_owned() };
            live.task(task).ok_or_else(unknown)
        };
        let scope = Scope::read(params.get_scope()?)?;
        let scope = resolve(&scope, find).map_err(|error| exception(&error))?;
        self.server.shared.inbox.push(Happened::Cancel(self.run, scope));
        Ok(())
    }

    async fn instances(
        self: Rc<Self>,
        params: run::InstancesParams,
        mut results: run::InstancesResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let from = InstanceId::read(params.get_first()?)?;
        let (limit, failed_only) = (params.get_limit().clamp(1, ROWS), params.get_failed_only());
        let run = self.run;
        let read = move |history: &History| history.instances(run, from, limit, failed_only);
        let mut page = self.server.reader.read(read).await?;
        self.server.shared.driver.borrow().overlay(run, &mut page.rows);
        page.write(results.get().init_page());
        Ok(())
    }

    async fn value(
        self: Rc<Self>,
        params: run::ValueParams,
        mut results: run::ValueResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (run, task) = (self.run, params.get_task()?.to_str()?.to_owned());
        let (index, offset) = (params.get_index(), params.get_offset());
        let limit = params.get_limit();
        let read = move |history: &History| history.value_part(run, &task, index, offset, limit);
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
        let read = move |history: &History| history.results(run, task, first, limit);
        let found = self.server.reader.read(read).await?;
        wire::write_list(&found, results.get().init_results(wire::length(found.len())));
        Ok(())
    }

    async fn logs(
        self: Rc<Self>,
        params: run::LogsParams,
        mut results: run::LogsResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (run, scope) = (self.run, Scope::read(params.get_scope()?)?);
        let (cursor, failed_only) = (params.get_cursor()?.to_vec(), params.get_failed_only());
        let look = move |history: &History| history.log_query(run, &scope, &cursor, failed_only);
        let query = self.server.reader.read(look).await?;
        // Not under the reader's lock, where others wait for short answers.
        let page = tokio::task::spawn_blocking(move || query.read())
            .await
            .map_err(|_| Error::failed("the logs could not be read".into()))?
            .map_err(|error| exception(&error))?;
        page.write(results.get().init_page());
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
        wire::write_texts(&lines, results.get().init_lines(wire::length(lines.len())));
        Ok(())
    }

    async fn command(
        self: Rc<Self>,
        params: run::CommandParams,
        mut results: run::CommandResults,
    ) -> Result<(), Error> {
        let (run, instance) = (self.run, InstanceId::read(params.get()?.get_instance()?)?);
        let read = move |history: &History| history.command(run, instance);
        let argv = self.server.reader.read(read).await?;
        let words: Vec<Vec<u8>> = argv.into_iter().map(OsString::into_vec).collect();
        wire::write_data(&words, results.get().init_argv(wire::length(words.len())));
        Ok(())
    }

    async fn pipeline(
        self: Rc<Self>,
        _: run::PipelineParams,
        mut results: run::PipelineResults,
    ) -> Result<(), Error> {
        let run = self.run;
        let submission = self.server.reader.read(move |history| history.submission(run)).await?;
        submission.write(results.get().init_submission());
        Ok(())
    }
}

/// Whether nothing follows an update of this state.
pub(super) fn is_final(state: RunState) -> bool {
    state != RunState::Running
}
