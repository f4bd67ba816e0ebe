//! One run of a scheduler: watch it, ask about it, cancel it.

use std::cell::RefCell;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::rc::Rc;

use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::status::{InstanceResult, RunStatus, TaskTimes};
use dagrun_schema::dagrun_capnp as rpc;
use dagrun_schema::wire::{self, InstancePage, LogPage, Message as _, Scope, Submission};

use super::{Connection, Result, Updates, updates};

/// Bytes of a value that are asked for at once.
const VALUE_PART: u32 = 8 << 20;

pub(super) async fn status_of(run: &rpc::run::Client) -> Result<RunStatus> {
    let reply = run.status_request().send().promise.await?;
    Ok(RunStatus::read(reply.get()?.get_status()?)?)
}

/// A run of a scheduler.
#[derive(Clone)]
pub struct Run {
    id: RunId,
    line: Rc<RefCell<Line>>,
}

/// How its scheduler is asked.
#[derive(Clone)]
struct Line {
    run: rpc::run::Client,
    connection: Rc<Connection>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Run {
    pub(super) fn new(id: RunId, run: rpc::run::Client, connection: Rc<Connection>) -> Run {
        Run { id, line: Rc::new(RefCell::new(Line { run, connection })) }
    }

    fn client(&self) -> rpc::run::Client {
        self.line.borrow().run.clone()
    }

    /// From now on this and its clones ask over the connection of another one, which must be the same run
    /// of the same scheduler, or of one that goes on with it.
    pub fn go_on_over(&self, other: &Run) {
        let line = other.line.borrow().clone();
        self.line.replace(line);
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.id
    }

    /// Its state, by task.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn status(&self) -> Result<RunStatus> {
        status_of(&self.client()).await
    }

    /// Subscribes to what happens. The first update has everything, the others what changed; the
    /// last one has a state other than running.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn watch(&self) -> Result<Updates> {
        self.subscribe(false).await
    }

    /// The same, with the instances that have ended in each update. The first one says that there may be
    /// more, for which [`Run::results`] is to be asked.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn watch_instances(&self) -> Result<Updates> {
        self.subscribe(true).await
    }

    async fn subscribe(&self, detailed: bool) -> Result<Updates> {
        let (observer, updates) = updates::channel();
        let mut request = self.client().watch_request();
        request.get().set_observer(observer);
        request.get().set_detailed(detailed);
        let reply = request.send().promise.await?;
        Ok(updates.subscribed(
            reply.get()?.get_subscription()?,
            Rc::clone(&self.line.borrow().connection),
        ))
    }

    /// Cancels it, or a part of it; returns when the scheduler has understood, not when all ended.
    ///
    /// # Errors
    /// When the scheduler is lost or knows no such task or instance.
    pub async fn cancel(&self, scope: Scope<&str>) -> Result<()> {
        let mut request = self.client().cancel_request();
        scope.write(request.get().init_scope());
        request.send().promise.await?;
        Ok(())
    }

    /// Ends what runs of it, because its scheduler is about to end; the run becomes interrupted. Returns
    /// when the scheduler has understood, not when all ended.
    ///
    /// # Errors
    /// When the scheduler is lost or the run has ended.
    pub async fn interrupt(&self) -> Result<()> {
        self.client().interrupt_request().send().promise.await?;
        Ok(())
    }

    /// At most `limit` instances from `from` on, only the failed ones if so wished.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn instances(
        &self,
        from: InstanceId,
        limit: u32,
        failed_only: bool,
    ) -> Result<InstancePage> {
        let mut request = self.client().instances_request();
        let mut params = request.get();
        from.write(params.reborrow().init_first());
        params.set_limit(limit);
        params.set_failed_only(failed_only);
        let reply = request.send().promise.await?;
        Ok(InstancePage::read(reply.get()?.get_page()?)?)
    }

    /// The value of an instance, see [`dagrun_core::payload`]; a long one in several calls.
    ///
    /// # Errors
    /// When the scheduler is lost or the instance has no value.
    pub async fn value(&self, task: &str, index: u32) -> Result<Vec<u8>> {
        let mut value = Vec::new();
        loop {
            let mut request = self.client().value_request();
            let mut params = request.get();
            params.set_task(task);
            params.set_index(index);
            params.set_offset(value.len() as u64);
            params.set_limit(VALUE_PART);
            let reply = request.send().promise.await?;
            let reply = reply.get()?;
            let part = reply.get_data()?;
            value.extend_from_slice(part);
            if part.is_empty() || value.len() as u64 >= reply.get_total() {
                return Ok(value);
            }
        }
    }

    /// Up to `limit` instances of a task from `first` on with their values; fewer when there are no
    /// more or the values are long.
    ///
    /// # Errors
    /// When the scheduler is lost or there is no such task.
    pub async fn results(
        &self,
        task: TaskId,
        first: u32,
        limit: u32,
    ) -> Result<Vec<InstanceResult>> {
        let mut request = self.client().results_request();
        let mut params = request.get();
        params.set_task(task.0);
        params.set_first(first);
        params.set_limit(limit);
        let reply = request.send().promise.await?;
        Ok(wire::read_list(reply.get()?.get_results()?)?)
    }

    /// The next captured output after `cursor`, which is empty to begin with.
    ///
    /// # Errors
    /// When the scheduler is lost or knows no such task or instance.
    pub async fn logs(
        &self,
        scope: Scope<&str>,
        cursor: &[u8],
        failed_only: bool,
    ) -> Result<LogPage> {
        let mut request = self.client().logs_request();
        let mut params = request.get();
        scope.write(params.reborrow().init_scope());
        params.set_cursor(cursor);
        params.set_failed_only(failed_only);
        let reply = request.send().promise.await?;
        Ok(LogPage::read(reply.get()?.get_page()?)?)
    }

    /// Why an instance is in its state, and how each of its attempts went: lines for people.
    ///
    /// # Errors
    /// When the scheduler is lost or knows no such instance.
    pub async fn explain(&self, task: &str, index: u32) -> Result<Vec<String>> {
        let mut request = self.client().explain_request();
        request.get().set_task(task);
        request.get().set_index(index);
        let reply = request.send().promise.await?;
        Ok(wire::read_texts(reply.get()?.get_lines()?)?)
    }

    /// The argument vector of an instance's last attempt.
    ///
    /// # Errors
    /// When the scheduler is lost, knows no such instance, or no longer has what the command is
    /// made of.
    pub async fn command(&self, instance: InstanceId) -> Result<Vec<OsString>> {
        let mut request = self.client().command_request();
        instance.write(request.get().init_instance());
        let reply = request.send().promise.await?;
        let argv = wire::read_data(reply.get()?.get_argv()?)?;
        Ok(argv.into_iter().map(OsString::from_vec).collect())
    }

    /// How long the instances of each task took, in the order of the tasks.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn times(&self) -> Result<Vec<TaskTimes>> {
        let reply = self.client().times_request().send().promise.await?;
        Ok(wire::read_list(reply.get()?.get_tasks()?)?)
    }

    /// What was submitted.
    ///
    /// # Errors
    /// When the scheduler is lost.
    pub async fn submission(&self) -> Result<Submission> {
        let reply = self.client().pipeline_request().send().promise.await?;
        Ok(Submission::read(reply.get()?.get_submission()?)?)
    }
}
