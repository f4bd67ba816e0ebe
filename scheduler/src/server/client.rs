//! What the holder of a client's token may do.

use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use capnp::Error;
use dagrun_core::engine::{Indices, RunPlan};
use dagrun_core::ids::{RunId, TaskId, WorkerId};
use dagrun_core::pipeline::Pipeline;
use dagrun_schema::dagrun_capnp::{client, run, which_run};
use dagrun_schema::wire::{self, Message, Submission};
use tokio::sync::oneshot;

use super::load::Load;
use super::run::RunServer;
use super::{Server, broken, exception};
use crate::driver::{Before, Happened, SchedulerCore, Submitted};
use crate::history::{History, HistoryError, Restored, Retry, Taken};
use crate::journal::StoreError;
use crate::journal::lock::Owner;
use crate::store::{Begun, Claim, Command, Haste, NewRun, Resumption, forget};
use crate::submission::{self, Checked};
use dagrun_disk::clock::now;

/// Runs listed in one answer.
const RUNS: u32 = 10_000;

pub(super) struct ClientServer {
    pub(super) server: Rc<Server>,
    pub(super) load: Rc<Load>,
}

impl ClientServer {
    fn run_client(&self, run: RunId) -> run::Client {
        let (server, load) = (Rc::clone(&self.server), Rc::clone(&self.load));
        capnp_rpc::new_client(RunServer { run, server, load })
    }

    /// Submits a pipeline.
    async fn begin(&self, submission: Submission) -> Result<RunId, Error> {
        // Checking a large pipeline takes a while, during which reports of workers must be handled.
        let check = move || submission::check(&submission).map(|checked| (submission, checked));
        let checked = tokio::task::spawn_blocking(check)
            .await
            .map_err(|_| Error::failed("the pipeline could not be checked".into()))?;
        let (submission, checked) = checked.map_err(|error| exception(&error))?;
        self.start(submission, checked, None).await
    }

    /// Submits an earlier run's submission again; `None` when nothing of it is left to be done.
    /// Also returns how many instances had succeeded before.
    async fn again(&self, asked: Asked) -> Result<Option<(RunId, u64)>, Error> {
        let state_dir = self.server.config.state_dir.clone();
        // Not through the reader, where others wait for short answers.
        let look = move || retried(&History::open(&state_dir)?, asked);
        let looked = tokio::task::spawn_blocking(look)
            .await
            .map_err(|_| Error::failed("the history could not be read".into()))?;
        let (submission, checked, taken) = looked.map_err(|error| exception(&error))?;
        if taken.as_ref().is_some_and(|taken| taken.whole) {
            return Ok(None);
        }
        let instances = taken.as_ref().map_or(0, |taken| taken.past.instances());
        let run = self.start(submission, checked, taken).await?;
        Ok(Some((run, instances)))
    }

    /// Records the run, then starts it.
    async fn start(
        &self,
        submission: Submission,
        checked: Checked,
        taken: Option<Taken>,
    ) -> Result<RunId, Error> {
        let submission = Arc::new(submission);
        let Checked { pipeline, plan, widths } = checked;
        self.check_functions(&pipeline, &plan)?;
        let names = pipeline.tasks.iter().map(|task| task.name.clone());
        let started = now();
        let new = NewRun {
            name: pipeline.name.clone(),
            submission: Arc::clone(&submission),
            started,
            tasks: names.zip(widths.iter().copied()).collect(),
            taken: taken.as_ref().map(|taken| (taken.from, Arc::clone(&taken.spans))),
        };
        let begun = self.write_down(new).await?;
        let run = begun.run;
        let shared = &self.server.shared;
        let mut driver = shared.driver.borrow_mut();
        let plan = begin(&mut driver, plan, begun);
        let past =
            taken.map(|taken| taken.into_past(|name, host| driver.worker_called(name, host, "")));
        let past = Arc::new(past.unwrap_or_default());
        let before = Before::default();
        let submitted =
            Submitted { run, submission, pipeline, plan, widths, past, started, before };
        driver.submit(submitted, &shared.inbox);
        Ok(run)
    }

    /// Fails when a task calls a function that no worker of this process could have.
    fn check_functions(&self, pipeline: &Pipeline, plan: &RunPlan) -> Result<(), Error> {
        let lacking = self.server.shared.driver.borrow().lacks_function(plan);
        let Some((task, why)) = lacking else { return Ok(()) };
        let task = pipeline.tasks.get(task.at()).map_or("", |task| task.name.as_str());
        Err(Error::failed(format!("task `{task}` cannot be run: {why}")))
    }

    /// Goes on with a run that was interrupted.
    async fn go_on(&self, run: RunId) -> Result<(), Error> {
        let is_here = |owner: &Owner| owner.pid == std::process::id();
        let running = |owner| Err(exception(&HistoryError::Running { run, owner }));
        if self.server.shared.driver.borrow().published(run).is_some() {
            return running(Some(Owner::here()));
        }
        let claimed = match self.claim(run).await {
            // Somebody else asked for the same here, and is about to do it.
            Ok(Claim::Held(Some(owner))) if is_here(&owner) => return running(Some(owner)),
            Ok(Claim::Held(owner)) => running(owner),
            Ok(Claim::Granted) => Ok(()),
            Err(error) => Err(error),
        };
        let gone_on = match claimed {
            Ok(()) => {
                let gone_on = self.go_on_alone(run).await;
                if gone_on.is_err() {
                    let driver = self.server.shared.driver.borrow();
                    driver.store().send(Command::Release(run), Haste::Now);
                }
                gone_on
            }
            Err(error) => Err(error),
        };
        // What lacks space now is tried again: until then its workers go on with what they have.
        if gone_on.as_ref().is_err_and(|error| error.kind != capnp::ErrorKind::Overloaded) {
            self.server.shared.inbox.push(Happened::Abandoned(run));
        }
        gone_on
    }

    async fn claim(&self, run: RunId) -> Result<Claim, Error> {
        let asked = self.server.reader.read(move |history| history.check_interrupted(run));
        asked.await?;
        self.stored(|reply| Command::Claim(run, reply)).await
    }

    /// The same once nobody else can.
    async fn go_on_alone(&self, run: RunId) -> Result<(), Error> {
        let state_dir = self.server.config.state_dir.clone();
        let shared = &self.server.shared;
        shared.all_former_are_back_or_lost().await;
        let keepers = shared.driver.borrow().keepers();
        // Not through the reader, where others wait for short answers.
        let look = move || restored(&History::open(&state_dir)?, run, &keepers);
        let looked = tokio::task::spawn_blocking(look)
            .await
            .map_err(|_| Error::failed("the history could not be read".into()))?;
        let (submission, checked, restored) = looked.map_err(|error| exception(&error))?;
        let Checked { pipeline, plan, widths } = checked;
        self.check_functions(&pipeline, &plan)?;
        let resumption = Resumption {
            run,
            name: pipeline.name.clone(),
            tasks: pipeline.tasks.iter().map(|task| task.name.clone()).collect(),
            reopened: restored.reopened(),
            unknown: restored.unknown.clone(),
            crashed: restored.crashed,
            at: now(),
        };
        let begun = self.stored(|reply| Command::Resume(Box::new(resumption), reply)).await?;
        let ended = || Error::failed(format!("run {run} has ended"));
        let begun = begun.ok_or_else(ended)?;
        let shared = &self.server.shared;
        let mut driver = shared.driver.borrow_mut();
        let plan = begin(&mut driver, plan, begun);
        let (failures, marks) = (restored.failures.clone(), restored.marks.clone());
        let (before, started) = (Before { failures, marks }, restored.started);
        let past = restored.into_past(|name, host, uid| driver.worker_called(name, host, uid));
        let (submission, past) = (Arc::new(submission), Arc::new(past));
        let submitted =
            Submitted { run, submission, pipeline, plan, widths, past, started, before };
        driver.submit(submitted, &shared.inbox);
        Ok(())
    }

    async fn write_down(&self, new: NewRun) -> Result<Begun, Error> {
        self.stored(|reply| Command::Begin(Box::new(new), reply)).await
    }

    /// Takes a run out of the history, which must have ended, with what only it needs.
    async fn erase(&self, run: RunId) -> Result<(), Error> {
        let forgotten = self.stored(|reply| Command::Forget(run, reply)).await?;
        forgotten.check(run).map_err(|error| exception(&error))?;
        let state_dir = self.server.config.state_dir.clone();
        tokio::task::spawn_blocking(move || forget::directories(&state_dir))
            .await
            .map_err(|_| Error::failed("the run's directory could not be removed".into()))?
            .map_err(|error| exception(&error))
    }

    /// Ends an interrupted run as cancelled.
    pub(super) async fn give_up(server: &Rc<Server>, run: RunId) -> Result<bool, Error> {
        let client = ClientServer { server: Rc::clone(server), load: Rc::default() };
        let given_up = client.stored(|reply| Command::GiveUp(run, reply)).await?;
        if given_up {
            server.shared.inbox.push(Happened::Abandoned(run));
        }
        Ok(given_up)
    }

    /// Has the store do something, and waits until it is on disk.
    async fn stored<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Arc<StoreError>>>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        {
            let driver = self.server.shared.driver.borrow();
            if let Some(problem) = driver.problem() {
                return Err(broken(&problem));
            }
            driver.store().send(command(reply), Haste::Now);
        }
        match answer.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(broken(&error)),
            Err(_) => Err(exception(&StoreError::Stopped("the scheduler ends".into()))),
        }
    }
}

/// A request to run once more what has run.
struct Asked {
    of: RunId,
    failed_only: bool,
    selected: Vec<(TaskId, Range<u32>)>,
    with: Option<Submission>,
}

impl Asked {
    fn read(params: client::retry_params::Reader<'_>) -> Result<Asked, Error> {
        let selected = wire::elements(params.get_selected()?)?;
        let selected = selected.map(|range| {
            let (first, count) = (range.get_first(), range.get_count());
            (TaskId(range.get_task()), first..first.saturating_add(count))
        });
        let with = match params.has_with() {
            true => Some(Submission::read(params.get_with()?)?),
            false => None,
        };
        let (of, failed_only) = (RunId(params.get_id()), params.get_failed_only());
        Ok(Asked { of, failed_only, selected: selected.collect(), with })
    }

    /// What is selected of a pipeline with so many tasks, sorted.
    fn indices(&self, tasks: usize) -> Vec<Indices> {
        let mut indices = vec![Indices::new(); tasks];
        for (task, range) in &self.selected {
            if let Some(indices) = indices.get_mut(task.at()) {
                indices.push(range.clone());
            }
        }
        indices.iter_mut().for_each(|of| of.sort_unstable_by_key(|range| range.start));
        indices
    }
}

/// What is to be submitted, and what it takes over from an earlier run.
fn retried(
    history: &History,
    mut asked: Asked,
) -> Result<(Submission, Checked, Option<Taken>), HistoryError> {
    let of = asked.of;
    let refused = |source| HistoryError::Submission { run: of, source };
    let before = history.submission(of)?;
    let (submission, then) = match asked.with.take() {
        None => (before, None),
        Some(now) => {
            let pipeline = before.read_pipeline().map_err(|error| refused(error.into()))?;
            let Submission { seed, fail_fast, max_fail, .. } = before;
            (Submission { seed, fail_fast, max_fail, ..now }, Some((before, pipeline)))
        }
    };
    let checked = submission::check(&submission).map_err(refused)?;
    if !asked.failed_only && asked.selected.is_empty() {
        return history.check_ended(of).map(|_| (submission, checked, None));
    }
    let selected = asked.indices(checked.plan.tasks.len());
    let failed = asked.failed_only;
    let then = then.as_ref();
    let retry = Retry { submission: &submission, checked: &checked, then, failed, selected };
    let taken = history.take_over(of, &retry)?;
    Ok((submission, checked, Some(taken)))
}

/// What a run was submitted with, and what had happened in it.
fn restored(
    history: &History,
    run: RunId,
    keepers: &BTreeSet<WorkerId>,
) -> Result<(Submission, Checked, Restored), HistoryError> {
    let submission = history.submission(run)?;
    let refused = |source| HistoryError::Submission { run, source };
    let checked = submission::check(&submission).map_err(refused)?;
    // What the lock did not keep from happening.
    history.check_interrupted(run)?;
    let restored = history.restore(run, &submission, &checked, keepers)?;
    Ok((submission, checked, restored))
}

/// The plan of a run that has been recorded, which the driver is about to be given.
fn begin(driver: &mut SchedulerCore, mut plan: RunPlan, begun: Begun) -> Arc<RunPlan> {
    driver.begin_epoch(begun.epoch);
    for (task, duration) in plan.tasks.iter_mut().zip(begun.durations) {
        task.weight = duration;
    }
    Arc::new(plan)
}

impl client::Server for ClientServer {
    async fn submit(
        self: Rc<Self>,
        params: client::SubmitParams,
        mut results: client::SubmitResults,
    ) -> Result<(), Error> {
        let submission = Submission::read(params.get()?.get_submission()?)?;
        drop(params);
        let run = self.begin(submission).await?;
        let mut results = results.get();
        results.set_id(run.0);
        results.set_run(self.run_client(run));
        Ok(())
    }

    async fn retry(
        self: Rc<Self>,
        params: client::RetryParams,
        mut results: client::RetryResults,
    ) -> Result<(), Error> {
        let asked = Asked::read(params.get()?)?;
        drop(params);
        let begun = self.again(asked).await?;
        let mut retried = results.get().init_retried();
        let Some((run, taken_over)) = begun else {
            retried.set_nothing(());
            return Ok(());
        };
        let mut begun = retried.init_begun();
        begun.set_id(run.0);
        begun.set_taken_over(taken_over);
        begun.set_run(self.run_client(run));
        Ok(())
    }

    async fn resume(
        self: Rc<Self>,
        params: client::ResumeParams,
        mut results: client::ResumeResults,
    ) -> Result<(), Error> {
        let run = RunId(params.get()?.get_id());
        self.go_on(run).await?;
        results.get().set_run(self.run_client(run));
        Ok(())
    }

    async fn forget(
        self: Rc<Self>,
        params: client::ForgetParams,
        _: client::ForgetResults,
    ) -> Result<(), Error> {
        let run = RunId(params.get()?.get_id());
        self.erase(run).await
    }

    async fn run(
        self: Rc<Self>,
        params: client::RunParams,
        mut results: client::RunResults,
    ) -> Result<(), Error> {
        let id = match params.get()?.get_which()?.which()? {
            which_run::Last(()) => None,
            which_run::Id(id) => Some(RunId(id)),
        };
        let read = self.server.reader.read(move |history| {
            let run = match id {
                None => history.last_run()?.unwrap_or_default(),
                Some(id) => id,
            };
            history.owner(run).map(|_| run)
        });
        results.get().set_run(self.run_client(read.await?));
        Ok(())
    }

    async fn runs(
        self: Rc<Self>,
        params: client::RunsParams,
        mut results: client::RunsResults,
    ) -> Result<(), Error> {
        let limit = params.get()?.get_limit().min(RUNS);
        let _turn = self.load.turn().await;
        let runs = self.server.reader.read(move |history| history.runs(limit)).await?;
        wire::write_list(&runs, results.get().init_runs(wire::length(runs.len())));
        Ok(())
    }

    async fn workers(
        self: Rc<Self>,
        _: client::WorkersParams,
        mut results: client::WorkersResults,
    ) -> Result<(), Error> {
        let _turn = self.load.turn().await;
        let workers = self.server.shared.driver.borrow().worker_statuses();
        wire::write_list(&workers, results.get().init_workers(wire::length(workers.len())));
        Ok(())
    }

    async fn refused(
        self: Rc<Self>,
        _: client::RefusedParams,
        mut results: client::RefusedResults,
    ) -> Result<(), Error> {
        self.server.refused().write(results.get().init_refused());
        Ok(())
    }

    async fn shutdown(
        self: Rc<Self>,
        _: client::ShutdownParams,
        _: client::ShutdownResults,
    ) -> Result<(), Error> {
        self.server.shut_workers_down().await;
        self.server.stop.notify_one();
        Ok(())
    }
}
