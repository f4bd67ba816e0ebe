//! Which run and which instances of it the command line means: `last price[strike=90]`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use dagrun_core::ids::{InstanceId, TaskId};
use dagrun_core::pipeline::{Pattern, Pipeline};
use dagrun_core::recipe::Items;
use dagrun_core::select::{Columns, SelectError, Selection, Selector};
use dagrun_core::status::{InstanceRow, RunStatus, State, TaskStatus};

use crate::complete;
use crate::exit::{Exit, Failure};
use crate::source::RunSource;
use crate::target::{RunName, Target};

/// Instances that are asked for at once.
const PAGE: u32 = 1000;

/// Gaps of this many instances are read over rather than asked around.
const GAP: u32 = 64;

/// Whether a word names a run, and no task.
pub(crate) fn is_run(word: &str) -> bool {
    word == "last" || word.bytes().all(|byte| byte.is_ascii_digit())
}

/// A run, and a task or some of its instances; both may be left out.
#[derive(Clone, Debug, Args)]
pub(crate) struct What {
    /// The run: its id, or `last` [default: the last]
    #[arg(value_name = "RUN", add = ArgValueCandidates::new(complete::runs_and_tasks))]
    run: Option<String>,
    /// A task or some of its instances, as in `price`, `price[7]`, `price[strike=90]`
    #[arg(value_name = "TASK[SELECTOR]", add = ArgValueCandidates::new(complete::tasks))]
    task: Option<String>,
}

impl What {
    /// The words that were given.
    pub(crate) fn words(&self) -> Vec<&str> {
        [&self.run, &self.task].into_iter().flatten().map(String::as_str).collect()
    }

    /// The run, if it is named, and the selector. A first word that is no run is the selector.
    pub(crate) fn read(&self) -> Result<(Option<RunName>, Option<Selector>), Failure> {
        What::read_words(&self.words())
    }

    /// The same of words.
    pub(crate) fn read_words(
        words: &[&str],
    ) -> Result<(Option<RunName>, Option<Selector>), Failure> {
        let (run, task) = match *words {
            [] => (None, None),
            [run] if is_run(run) => (Some(run), None),
            [task] => (None, Some(task)),
            [run, task] if is_run(run) => (Some(run), Some(task)),
            [first, _] => {
                return Err(Failure::usage(format!("`{first}` is no run"))
                    .help("a run is named by its number, or `last`, and the task comes after it"));
            }
            [.., last] => return Err(Failure::usage(format!("`{last}` is one word too many"))),
        };
        let run = run.map(|run| run.parse::<RunName>().map_err(Failure::usage)).transpose()?;
        Ok((run, task.map(Selector::parse).transpose()?))
    }

    /// The same where a task must be named.
    pub(crate) fn read_task(&self) -> Result<(RunName, Selector), Failure> {
        What::read_task_words(&self.words())
    }

    /// The same of words.
    pub(crate) fn read_task_words(words: &[&str]) -> Result<(RunName, Selector), Failure> {
        let (run, selector) = What::read_words(words)?;
        let selector = selector.ok_or_else(|| {
            Failure::usage("which task?").help("name it after the run, as in `last price`")
        })?;
        Ok((run.unwrap_or(RunName::Last), selector))
    }
}

impl From<SelectError> for Failure {
    fn from(error: SelectError) -> Failure {
        let failure = Failure::usage(error.to_string());
        match error.help {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}

/// Instances of one task that were chosen.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// The task.
    pub(crate) task: TaskId,
    /// Its name.
    pub(crate) name: String,
    /// Its parameters.
    pub(crate) columns: Columns,
    /// Which of its instances.
    pub(crate) selection: Selection,
}

/// The task of a run that a selector names.
pub(crate) fn task<'s>(
    status: &'s RunStatus,
    selector: &Selector,
) -> Result<(TaskId, &'s TaskStatus), Failure> {
    let name = selector.task();
    let found = (0..).map(TaskId).zip(&status.tasks).find(|(_, task)| task.name == name);
    found.ok_or_else(|| {
        let failure = Failure::usage(format!("the run has no task `{name}`"));
        let names = status.tasks.iter().map(|task| task.name.as_str());
        match dagrun_core::parse::did_you_mean(name, names) {
            Some(help) => failure.help(help),
            None => failure,
        }
    })
}

impl Chosen {
    /// Those of a run. Reads the captured arrays of a scatter when they are asked about.
    pub(crate) async fn of(
        run: &RunSource,
        status: &RunStatus,
        pipeline: &Pipeline,
        selector: &Selector,
    ) -> Result<Chosen, Failure> {
        let (id, found) = task(status, selector)?;
        if !found.width_known && !selector.is_whole() {
            return Err(Failure::new(
                Exit::Failed,
                format!("it is not known yet how many instances `{}` has", found.name),
            ));
        }
        let columns = Columns::new(pipeline, id)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        let items = match columns.items().filter(|_| selector.needs_items(&columns)) {
            Some(scatter) => Some(items(run, status, pipeline, scatter).await?),
            None => None,
        };
        // As long as it is not known how many there are, there are none.
        let width = if found.width_known { found.counts.total() } else { 0 };
        let selection = columns.select(selector, width, items.as_ref())?;
        Ok(Chosen { task: id, name: found.name.clone(), columns, selection })
    }

    /// What a scheduler is asked about: the task, or the single instance.
    pub(crate) fn target(&self) -> Target {
        let index = self.selection.single().filter(|_| !self.selection.is_whole());
        Target { task: self.name.clone(), index }
    }

    /// Rows of chosen instances from an index on, in order, and where to go on.
    pub(crate) async fn rows(
        &self,
        run: &RunSource,
        from: u32,
        failed_only: bool,
    ) -> Result<(Vec<InstanceRow>, Option<u32>), Failure> {
        let only = self.selection.states() == Some(&[State::Failed]);
        let failed_only = failed_only || only;
        let Some(first) = self.selection.seek(from) else { return Ok((Vec::new(), None)) };
        let start = InstanceId { task: self.task, index: first.start };
        let mut end = first.start.saturating_add(PAGE).min(first.end);
        while let Some(next) = self.selection.seek(end)
            && next.start - end <= GAP
            && end - first.start < PAGE
        {
            end = first.start.saturating_add(PAGE).min(next.end);
            if end <= next.start {
                break;
            }
        }
        let limit = if failed_only { PAGE } else { end - first.start };
        let page = run.instances(start, limit, failed_only).await?;
        let next = match page.next {
            Some(next) if next.task == self.task => Some(next.index),
            _ => None,
        };
        let chosen = |row: &InstanceRow| {
            row.instance.task == self.task
                && self.selection.contains(row.instance.index)
                && self.selection.admits(row.state)
        };
        Ok((page.rows.into_iter().filter(chosen).collect(), next))
    }

    /// All chosen instances, where their states matter or they are few.
    pub(crate) async fn all_rows(&self, run: &RunSource) -> Result<Vec<InstanceRow>, Failure> {
        let (mut rows, mut from) = (Vec::new(), Some(0));
        while let Some(index) = from {
            let (more, next) = self.rows(run, index, false).await?;
            rows.extend(more);
            from = next;
        }
        Ok(rows)
    }

    /// The only instance.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub(crate) async fn only(&self, run: &RunSource) -> Result<InstanceId, Failure> {
        let name = &self.name;
        let (task, several) = (self.task, self.selection.count());
        if self.selection.states().is_some() && several <= PAGE.into() {
            let rows = self.all_rows(run).await?;
            return match rows.as_slice() {
                [row] => Ok(row.instance),
                [] => Err(Failure::usage(format!("no instance of `{name}` is selected"))),
                rows => Err(self.several(rows.len() as u64)),
            };
        }
        match self.selection.single() {
            Some(index) => Ok(InstanceId { task, index }),
            None if several == 0 => {
                Err(Failure::usage(format!("no instance of `{name}` is selected")))
            }
            None => Err(self.several(several)),
        }
    }

    fn several(&self, count: u64) -> Failure {
        let name = &self.name;
        let what = match self.selection.is_whole() {
            true => format!("`{name}` has {count} instances"),
            false => format!("{count} instances of `{name}` are selected"),
        };
        Failure::usage(format!("{what}: say which, as in `{name}[0]`"))
    }
}

/// What the instances of a scatter get.
pub(crate) async fn items(
    run: &RunSource,
    status: &RunStatus,
    pipeline: &Pipeline,
    scatter: TaskId,
) -> Result<Items, Failure> {
    let lacking = || Failure::new(Exit::Failed, "the run's pipeline lacks a task");
    let task = pipeline.tasks.get(scatter.at()).ok_or_else(lacking)?;
    let Pattern::Scatter(how) = task.pattern else { return Err(lacking()) };
    let from = pipeline.tasks.get(how.from.at()).ok_or_else(lacking)?;
    let width = status.tasks.get(how.from.at()).map_or(0, |task| task.counts.total());
    let mut items = Items::new(how.split);
    for index in 0..width {
        if let Some(value) = run.value(&from.name, index).await? {
            items.push(&value);
        }
    }
    Ok(items)
}
