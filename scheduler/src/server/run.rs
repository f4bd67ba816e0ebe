//! One run, as its clients see it: live while it runs, from the history once it has ended.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::rc::Rc;

use capnp::Error;
use dagrun_core::engine::CancelScope;
use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::status::RunState;
use dagrun_schema::dagrun_capnp::run;
use dagrun_schema::wire::{self, Message, Scope};
use tokio::sync::oneshot;

use super::client::ClientServer;
use super::load::Load;
use super::{Server, exception, observer};
use crate::driver::{FAILURES, Happened, Published};
use crate::history::{History, HistoryError, resolve};

/// Rows in one answer.
const ROWS: u32 = 10_000;
/// How often to look whether a run goes on.
const LOOK: std::time::Duration = std::time::Duration::from_millis(50);

pub(super) struct RunServer {
    pub(super) run: RunId,
    pub(super) server: Rc<Server>,
    pub(super) load: Rc<Load>,
}

impl RunServer {
    /// Reads the history of the run.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&History, RunId) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, Error> {
        let run = self.run;
        self.server.reader.read(move |history| query(history, run)).await
    }

    /// The run as soon as this scheduler has gone on with it, if it is about to: whoever follows a run
    /// goes on when the scheduler does.
    async fn about_to_go_on(&self) -> Result<Option<Rc<Published>>, Error> {
        if !self.server.is_about_to_go_on(self.run) {
            return Ok(None);
        }
        let status = self.read(|history: &History, run| history.status(run)).await?;
        while !observer::is_final(status.state) && self.server.is_about_to_go_on(self.run) {
            tokio::time::sleep(LOOK).await;
        }
        Ok(self.live())
    }

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
        let _turn = self.load.turn().await;
        let status = match self.live() {
            Some(live) => {
                let mut status = live.status().map_err(Error::failed)?;
                self.server.shared.driver.borrow().annotate(&mut status);
                status
            }
            None => self.read(History::status).await?,
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
        let too_many = || Error::failed("this connection watches too many runs".into());
        let watching = self.load.watch().ok_or_else(too_many)?;
        let client = params.get_observer()?;
        let live = match self.live() {
            Some(live) => Some(live),
            None => self.about_to_go_on().await?,
        };
        let subscription = match live {
            Some(live) => observer::follow(live.observe(params.get_detailed()), client, watching),
            None => {
                let read = |history: &History, run| {
                    let failures = u32::try_from(FAILURES).unwrap_or(u32::MAX);
                    Ok((history.status(run)?, history.failures(run, failures)?))
                };
                let (status, failures) = self.read(read).await?;
                if !observer::is_final(status.state) {
                    return Err(Error::failed(format!(
                        "run {} has not ended, but this scheduler does not run it",
                        self.run
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
                    waiting: String::new(),
                };
                observer::send_once(update, client, watching)
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
        let live = match self.live() {
            Some(live) => Some(live),
            None => self.about_to_go_on().await?,
        };
        let Some(live) = live else {
            let status = self.read(History::status).await?;
            if status.state == RunState::Interrupted
                && ClientServer::give_up(&self.server, self.run).await?
            {
                return Ok(());
            }
            return Err(Error::failed(format!("run {} has ended", self.run)));
        };
        let find = |task: &str| {
            let unknown = || HistoryError::UnknownTask { run: self.run, task: task.to_owned() };
            live.task(task).ok_or_else(unknown)
        };
        let scope = Scope::read(params.get_scope()?)?;
        let scope = resolve(&scope, find).map_err(|error| exception(&error))?;
        let (answer, on_disk) = oneshot::channel();
        let answer = scope.is_whole().then_some(answer);
        self.server.shared.inbox.push(Happened::Cancel(self.run, scope, answer));
        // A kill from now on leaves it cancelled. When it can no longer be written, the run says so.
        let _ = on_disk.await;
        Ok(())
    }

    async fn interrupt(
        self: Rc<Self>,
        _: run::InterruptParams,
        _: run::InterruptResults,
    ) -> Result<(), Error> {
        if self.live().is_none() {
            return Err(Error::failed(format!("run {} has ended", self.run)));
        }
        self.server.shared.inbox.push(Happened::Cancel(self.run, CancelScope::Interruption, None));
        Ok(())
    }

    async fn instances(
        self: Rc<Self>,
        params: run::InstancesParams,
        mut results: run::InstancesResults,
    ) -> Result<(), Error> {
        let _turn = self.load.turn().await;
        let params = params.get()?;
        let from = InstanceId::read(params.get_first()?)?;
        let (limit, failed_only) = (params.get_limit().clamp(1, ROWS), params.get_failed_only());
        let read = move |history: &History, run| history.instances(run, from, limit, failed_only);
        let mut page = self.read(read).await?;
        self.server.shared.driver.borrow().overlay(self.run, &mut page.rows);
        page.write(results.get().init_page());
        Ok(())
    }

    async fn value(
        self: Rc<Self>,
        params: run::ValueParams,
        mut results: run::ValueResults,
    ) -> Result<(), Error> {
        let _turn = self.load.turn().await;
        let params = params.get()?;
        let (task, index) = (params.get_task()?.to_str()?.to_owned(), params.get_index());
        let (offset, limit) = (params.get_offset(), params.get_limit());
        let read =
            move |history: &History, run| history.value_part(run, &task, index, offset, limit);
        let (part, total) = self.read(read).await?;
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
        let _turn = self.load.turn().await;
        let params = params.get()?;
        let (task, first) = (TaskId(params.get_task()), params.get_first());
        let limit = params.get_limit();
        let found = self.read(move |history, run| history.results(run, task, first, limit)).await?;
        wire::write_list(&found, results.get().init_results(wire::length(found.len())));
        Ok(())
    }

    async fn logs(
        self: Rc<Self>,
        params: run::LogsParams,
        mut results: run::LogsResults,
    ) -> Result<(), Error> {
        let turn = self.load.turn().await;
        let params = params.get()?;
        let (scope, cursor) = (Scope::read(params.get_scope()?)?, params.get_cursor()?.to_vec());
        let failed_only = params.get_failed_only();
        let look =
            move |history: &History, run| history.log_query(run, &scope, &cursor, failed_only);
        let query = self.read(look).await?;
        // Not under the reader's lock, where others wait for short answers.
        let page = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            query.read()
        })
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
        let _turn = self.load.turn().await;
        let params = params.get()?;
        let (task, index) = (params.get_task()?.to_str()?.to_owned(), params.get_index());
        let live = self.live().and_then(|live| live.task(&task));
        let situation = live.and_then(|(task, _)| {
            let driver = self.server.shared.driver.borrow();
            driver.situation(self.run, InstanceId { task, index })
        });
        let read = move |history: &History, run| {
            history.explain_live(run, &task, index, situation.as_ref())
        };
        let lines = self.read(read).await?;
        wire::write_texts(&lines, results.get().init_lines(wire::length(lines.len())));
        Ok(())
    }

    async fn command(
        self: Rc<Self>,
        params: run::CommandParams,
        mut results: run::CommandResults,
    ) -> Result<(), Error> {
        let instance = InstanceId::read(params.get()?.get_instance()?)?;
        let argv = self.read(move |history, run| history.command(run, instance)).await?;
        let words: Vec<Vec<u8>> = argv.into_iter().map(OsString::into_vec).collect();
        wire::write_data(&words, results.get().init_argv(wire::length(words.len())));
        Ok(())
    }

    async fn times(
        self: Rc<Self>,
        _: run::TimesParams,
        mut results: run::TimesResults,
    ) -> Result<(), Error> {
        let _turn = self.load.turn().await;
        let times = self.read(History::times).await?;
        wire::write_list(&times, results.get().init_tasks(wire::length(times.len())));
        Ok(())
    }

    async fn pipeline(
        self: Rc<Self>,
        _: run::PipelineParams,
        mut results: run::PipelineResults,
    ) -> Result<(), Error> {
        let _turn = self.load.turn().await;
        let submission = self.read(History::submission).await?;
        submission.write(results.get().init_submission());
        Ok(())
    }
}
