//! Following a run to its end: updates in, reports out, signals in between.

use std::time::{Duration, Instant};

use dagrun::Updates;
use dagrun::rpc::Run;
use dagrun::wire::{TaskDelta, Update};
use dagrun_core::ids::TaskId;
use dagrun_core::status::{Failure as FailedInstance, InstanceRow, RunState, RunStatus, State};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::cluster;
use crate::each::Sink;
use crate::ending;
use crate::exit::{Exit, Failure};
use crate::progress::{News, Progress};
use crate::report::Reporter;
use crate::signals::{Signal, Signals};
use crate::source::{At, FIRST, RunSource};
use crate::terminal;

/// How often a run of another process is looked at.
const POLL: Duration = Duration::from_millis(200);

/// How long the next scheduler of a cluster is looked for, and for how long without a word.
const PATIENCE: Duration = Duration::from_secs(120);
const QUIET: Duration = Duration::from_secs(2);

const LOST: &str = "the connection to the scheduler was lost";

/// Where updates come from.
#[derive(Debug)]
pub(crate) enum Feed {
    /// Updates of a scheduler.
    Live {
        /// They.
        updates: Updates,
        /// Where to look when they end before the run: the process that ran it is no longer there.
        then: Option<RunSource>,
        /// Where its next scheduler is, if there can be one.
        next: Option<NextScheduler>,
    },
    /// The next scheduler of a cluster is looked for.
    Returning {
        /// Where.
        next: NextScheduler,
        /// Its updates. A task of its own goes on when the caller does something else in between.
        updates: JoinHandle<Result<Updates, Failure>>,
    },
    /// The history is looked at.
    Polled {
        /// The run.
        run: RunSource,
        /// When it is looked at.
        looks: tokio::time::Interval,
    },
}

/// Where the next scheduler of a run is, when one ends before the run.
#[derive(Clone, Debug)]
pub(crate) struct NextScheduler {
    cluster: String,
    run: Run,
    detailed: bool,
}

impl NextScheduler {
    /// Looks for it until it is there, or the cluster has ended in an orderly way.
    async fn updates(self) -> Result<Updates, Failure> {
        let lost = || Failure::new(Exit::Unreachable, LOST);
        let since = Instant::now();
        let mut said = false;
        while since.elapsed() < PATIENCE {
            // Its file stays when its scheduler is killed.
            if !cluster::is_published(&self.cluster) {
                return Err(lost());
            }
            if let Some(updates) = self.subscribe().await {
                return Ok(updates);
            }
            if !said && since.elapsed() > QUIET {
                said = true;
                let name = &self.cluster;
                terminal::print(&format!(
                    "the scheduler of cluster {name} is away: waiting for it"
                ));
            }
            tokio::time::sleep(POLL).await;
        }
        let help =
            format!("`dagrun cluster start --cluster {}` goes on with its runs", self.cluster);
        Err(lost().help(help))
    }

    async fn subscribe(&self) -> Option<Updates> {
        let client = cluster::connect(&self.cluster).await.ok()?;
        let run = client.run(Some(self.run.id())).await.ok()?;
        let updates = match self.detailed {
            true => run.watch_instances().await,
            false => run.watch().await,
        };
        let updates = updates.ok()?;
        self.run.go_on_over(&run);
        Some(updates)
    }
}

impl Feed {
    /// The updates of a run; `detailed` ones say which instances have ended.
    pub(crate) async fn of(run: &RunSource, detailed: bool) -> Result<Feed, Failure> {
        let then = matches!(run, RunSource::Disk(_)).then(|| run.clone());
        let RunSource::Live { run, at } = run.at_its_owner().await else {
            return Ok(Feed::polled(run.clone()));
        };
        let next = match at {
            At::Cluster(cluster) => Some(NextScheduler { cluster, run: run.clone(), detailed }),
            At::Here(_) => None,
        };
        let updates = if detailed { run.watch_instances().await } else { run.watch().await };
        match (updates, then) {
            (Ok(updates), then) => Ok(Feed::Live { updates, then, next }),
            (Err(_), Some(run)) => Ok(Feed::polled(run)),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// The history, looked at regularly, beginning at once.
    fn polled(run: RunSource) -> Feed {
        let mut looks = tokio::time::interval(POLL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Feed::Polled { run, looks }
    }

    /// The next update.
    async fn next(&mut self) -> Result<Update, Failure> {
        loop {
            match self {
                Feed::Live { updates, then, next } => {
                    if let Some(update) = updates.next().await {
                        return Ok(update);
                    }
                    *self = match (then.take(), next.take()) {
                        (Some(run), _) => Feed::polled(run),
                        (None, Some(next)) => {
                            let updates = tokio::task::spawn_local(next.clone().updates());
                            Feed::Returning { next, updates }
                        }
                        (None, None) => return Err(Failure::new(Exit::Unreachable, LOST)),
                    };
                }
                Feed::Returning { next, updates } => {
                    let found = updates.await;
                    let lost = || Failure::new(Exit::Unreachable, LOST);
                    let updates = found.map_err(|_| lost())??;
                    *self = Feed::Live { updates, then: None, next: Some(next.clone()) };
                }
                Feed::Polled { run, looks } => return look(run, looks).await,
            }
        }
    }
}

/// The next look at the history.
async fn look(run: &mut RunSource, looks: &mut tokio::time::Interval) -> Result<Update, Failure> {
    // Unlike a sleep it goes on when the caller does something else in between.
    looks.tick().await;
    *run = run.clone().fresh()?;
    let status = run.status().await?;
    Ok(whole(&status))
}
/// A status as an update of everything.
fn whole(status: &RunStatus) -> Update {
    let tasks = (0..).zip(&status.tasks).map(|(at, task)| TaskDelta {
        task: TaskId(at),
        counts: task.counts,
        running: task.running,
        width_known: task.width_known,
    });
    Update {
        ended: Vec::new(),
        ended_lost: false,
        waiting: status.waiting.clone(),
        state: status.state,
        finished: status.finished,
        tasks: tasks.collect(),
        failures: Vec::new(),
        workers: 1,
    }
}

/// How following ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The run ended.
    Finished(RunState),
    /// A signal came, and whoever decides about signals let go.
    LetGo(Signal),
}

/// What to do when a signal comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnSignal {
    /// The run ends with this process: interrupt it, then kill it.
    Interrupt,
    /// The run goes on without this process.
    LetGo,
}

/// A run that is followed.
pub(crate) struct Followed<'a> {
    /// The run.
    pub(crate) run: &'a RunSource,
    /// What is known of it.
    pub(crate) progress: Progress,
    /// The failures that have been reported, the first ones only.
    pub(crate) failures: Vec<FailedInstance>,
    /// The signal that interrupted it.
    pub(crate) interrupted_by: Option<Signal>,
    /// What is done with outputs while it goes on.
    pub(crate) sink: Option<&'a mut Sink>,
    reporter: Box<dyn Reporter>,
}

impl<'a> Followed<'a> {
    /// Begins to report about a run.
    pub(crate) fn new(
        run: &'a RunSource,
        status: &RunStatus,
        reporter: Box<dyn Reporter>,
    ) -> Followed<'a> {
        let progress = Progress::new(status, Instant::now());
        let (failures, interrupted_by, sink) = (Vec::new(), None, None);
        let mut followed = Followed { run, progress, failures, interrupted_by, sink, reporter };
        followed.reporter.started(&followed.progress);
        followed
    }

    /// Reports until the run has ended, or a signal has ended this.
    pub(crate) async fn until_the_end(
        &mut self,
        mut feed: Feed,
        signals: &mut Signals,
        on_signal: OnSignal,
    ) -> Result<End, Failure> {
        let mut ticks = tokio::time::interval(self.reporter.period());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        loop {
            tokio::select! {
                biased;
                signal = signals.next() => {
                    if on_signal == OnSignal::LetGo {
                        return Ok(End::LetGo(signal));
                    }
                    self.interrupt(signal).await?;
                }
                update = feed.next() => {
                    self.take(update?).await?;
                    if self.progress.state != RunState::Running {
                        break;
                    }
                }
                _ = ticks.tick() => self.reporter.tick(&self.progress),
            }
        }
        if self.reporter.wants_all_failures() {
            self.report_all_failures().await?;
        }
        if self.reporter.is_for_people() {
            let times = self.run.times().await?;
            self.progress.retried = times.iter().map(|task| u64::from(task.retried)).sum();
        }
        if let Some(sink) = &mut self.sink {
            let reporter = &mut self.reporter;
            sink.finish(self.run, &mut |write| reporter.aside(write)).await?;
        }
        Ok(End::Finished(self.progress.state))
    }

    /// Says the last words: how the run ended and, if it succeeded, what came out.
    pub(crate) async fn finish(&mut self) -> Result<(), Failure> {
        self.reporter.finished(&self.progress);
        if self.reporter.is_for_people() && self.progress.state == RunState::Succeeded {
            ending::print(self.run).await?;
        }
        Ok(())
    }

    /// Ends the report about a run that goes on.
    pub(crate) fn let_go(&mut self) {
        self.reporter.let_go();
    }

    async fn take(&mut self, update: Update) -> Result<(), Failure> {
        if let Some(sink) = &mut self.sink {
            let reporter = &mut self.reporter;
            if sink.take(self.run, &update, &mut |write| reporter.aside(write)).await? {
                self.run.cancel(None).await?;
            }
        }
        let news = self.progress.apply(update, Instant::now());
        self.reporter.update(&self.progress, &news);
        let left = KEPT_FAILURES.saturating_sub(self.failures.len());
        self.failures.extend(news.failures.into_iter().take(left));
        Ok(())
    }

    /// The first signal interrupts; the second kills: with this process ends the pipe that its reaper
    /// watches, and the reaper ends every process group that is left.
    async fn interrupt(&mut self, signal: Signal) -> Result<(), Failure> {
        if self.interrupted_by.replace(signal).is_some() {
            self.reporter.let_go();
            terminal::print("killed");
            std::process::exit(i32::from(signal.exit().code()));
        }
        self.reporter.note("interrupting; once more to kill at once");
        self.run.interrupt().await
    }

    async fn report_all_failures(&mut self) -> Result<(), Failure> {
        let mut from = FIRST;
        loop {
            let page = self.run.instances(from, 1000, true).await?;
            let (failed, skipped): (Vec<_>, Vec<_>) =
                page.rows.into_iter().partition(|row| row.state == State::Failed);
            let failure = |row: InstanceRow| FailedInstance {
                instance: row.instance,
                reason: row.reason,
                stderr_tail: Vec::new(),
            };
            let failures = failed.into_iter().map(failure).collect();
            let skips = skipped.into_iter().map(failure).collect();
            let news = News { failures, skips, ..News::default() };
            self.reporter.update(&self.progress, &news);
            match page.next {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
    }
}

/// Failures to remember for the last words.
const KEPT_FAILURES: usize = 64;
