//! How long instances take, as `dagrun plan --durations` has it: from a file, or from a recorded run.

use std::path::Path;

use dagrun::Loaded;
use dagrun_core::ids::{InstanceId, Micros, TaskId};
use dagrun_core::status::State;
use serde_json::Value;

use crate::exit::Failure;
use crate::source::{FIRST, RunSource};

/// What an instance takes of which nothing is known.
const UNKNOWN: Micros = Micros::from_secs(1);

/// Longer than this, in seconds, nothing runs: thirty years.
const LONGEST: f64 = 1e9;

/// Instances that are asked for at once.
const PAGE: u32 = 1000;

/// How long each instance of a pipeline takes.
#[derive(Debug)]
pub(crate) struct Durations {
    tasks: Vec<TaskDurations>,
    /// The names of the tasks of which nothing is known.
    pub(crate) unknown: Vec<String>,
}

/// How long the instances of one task take.
#[derive(Debug)]
enum TaskDurations {
    /// All the same.
    Alike(Micros),
    /// One by one; the last also stands for those behind it.
    Each(Vec<Micros>),
}

impl Durations {
    /// One second for each instance.
    pub(crate) fn seconds(loaded: &Loaded) -> Durations {
        let alike = |_| TaskDurations::Alike(UNKNOWN);
        Durations { tasks: loaded.pipeline.tasks.iter().map(alike).collect(), unknown: Vec::new() }
    }

    /// Of one instance.
    pub(crate) fn of(&self, instance: InstanceId) -> Micros {
        match self.tasks.get(instance.task.at()) {
            Some(TaskDurations::Alike(duration)) => *duration,
            Some(TaskDurations::Each(durations)) => {
                let one = durations.get(instance.index as usize).or(durations.last());
                one.copied().unwrap_or(UNKNOWN)
            }
            None => UNKNOWN,
        }
    }

    /// From a JSON file: `{"task": seconds}` or `{"task": [seconds of each instance]}`.
    pub(crate) fn read(path: &Path, loaded: &Loaded) -> Result<Durations, Failure> {
        let shown = path.display();
        let text = std::fs::read(path).map_err(|error| {
            Failure::usage(format!("cannot read the durations {shown}: {error}"))
                .help("--durations takes a file, or a run by its number or `last`")
        })?;
        let wrong = |what: String| Failure::usage(format!("{shown}: {what}"));
        let value: Value =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let Value::Object(object) = value else {
            return Err(wrong("not a JSON object".to_owned())
                .help(r#"write {"task": seconds} or {"task": [seconds of each instance]}"#));
        };
        let mut durations = Durations::seconds(loaded);
        let mut known = vec![false; durations.tasks.len()];
        for (name, value) in &object {
            let at = position(loaded, name).ok_or_else(|| {
                let failure = wrong(format!("the pipeline has no task `{name}`"));
                match closest(loaded, name) {
                    Some(guess) => failure.help(format!("did you mean `{guess}`?")),
                    None => failure,
                }
            })?;
            let width = width(loaded, at);
            durations.tasks[at] = task_durations(name, width, value).map_err(wrong)?;
            known[at] = true;
        }
        durations.unknown = unknown(loaded, &known);
        Ok(durations)
    }

    /// From the instances of a run that succeeded; the mean of their task for the others.
    pub(crate) async fn recorded(run: &RunSource, loaded: &Loaded) -> Result<Durations, Failure> {
        let status = run.status().await?;
        let places: Vec<Option<usize>> =
            status.tasks.iter().map(|task| position(loaded, &task.name)).collect();
        let mut recorded: Vec<Vec<Option<Micros>>> = vec![Vec::new(); loaded.pipeline.tasks.len()];
        let mut from = Some(FIRST);
        while let Some(start) = from {
            let page = run.instances(start, PAGE, false).await?;
            for row in page.rows.iter().filter(|row| row.state == State::Succeeded) {
                let place = places.get(row.instance.task.at()).copied().flatten();
                let (Some(at), Some(started), Some(finished)) = (place, row.started, row.finished)
                else {
                    continue;
                };
                let task = &mut recorded[at];
                let index = row.instance.index as usize;
                task.resize(task.len().max(index + 1), None);
                task[index] = Some(finished.since(started));
            }
            from = page.next;
        }
        let known: Vec<bool> = recorded.iter().map(|task| !task.is_empty()).collect();
        let tasks = recorded.iter().enumerate();
        let tasks = tasks.map(|(at, task)| complete(task, width(loaded, at)));
        Ok(Durations { tasks: tasks.collect(), unknown: unknown(loaded, &known) })
    }

    /// How many instances a task has whose width is known only at run time, as far as the durations
    /// say.
    pub(crate) fn width(&self, task: TaskId) -> Option<u32> {
        match self.tasks.get(task.at())? {
            TaskDurations::Each(list) => u32::try_from(list.len()).ok(),
            TaskDurations::Alike(_) => None,
        }
    }
}

/// What was recorded of a task, with the mean of it where nothing was.
fn complete(recorded: &[Option<Micros>], width: Option<u32>) -> TaskDurations {
    let known = recorded.iter().flatten().count() as u128;
    let sum: u128 = recorded.iter().flatten().map(|one| u128::from(one.0)).sum();
    let Some(mean) = sum.checked_div(known) else { return TaskDurations::Alike(UNKNOWN) };
    let mean = Micros(u64::try_from(mean).unwrap_or(u64::MAX));
    let of = |index: usize| recorded.get(index).copied().flatten().unwrap_or(mean);
    let width = width.map_or(recorded.len(), |width| width as usize);
    TaskDurations::Each((0..width).map(of).collect())
}

fn task_durations(name: &str, width: Option<u32>, value: &Value) -> Result<TaskDurations, String> {
    let Value::Array(list) = value else {
        return Ok(TaskDurations::Alike(seconds(name, value)?));
    };
    if let Some(width) = width
        && list.len() as u64 != u64::from(width)
    {
        return Err(format!(
            "`{name}` has {width} {}, and there are {} durations",
            if width == 1 { "instance" } else { "instances" },
            list.len()
        ));
    }
    let each = list.iter().enumerate();
    let each = each.map(|(index, value)| seconds(&format!("{name}[{index}]"), value));
    Ok(TaskDurations::Each(each.collect::<Result<_, _>>()?))
}

fn seconds(of: &str, value: &Value) -> Result<Micros, String> {
    let seconds = value.as_f64();
    let seconds = seconds
        .ok_or_else(|| format!("the duration of {of} is {value}, not a number of seconds"))?;
    if seconds < 0.0 {
        return Err(format!("the duration of {of} is negative: {value}"));
    }
    if seconds > LONGEST {
        return Err(format!("the duration of {of} is more than 30 years: {value} s"));
    }
    Ok(Micros((seconds * 1e6).round() as u64))
}

/// The number of a task's instances, unless that is known only at run time.
fn width(loaded: &Loaded, at: usize) -> Option<u32> {
    loaded.graph.width(TaskId(u32::try_from(at).ok()?))
}

fn position(loaded: &Loaded, name: &str) -> Option<usize> {
    loaded.pipeline.tasks.iter().position(|task| task.name == name)
}

fn unknown(loaded: &Loaded, known: &[bool]) -> Vec<String> {
    let tasks = loaded.pipeline.tasks.iter().zip(known);
    tasks.filter(|(_, known)| !**known).map(|(task, _)| task.name.clone()).collect()
}

/// The task whose name looks most like `name`, when one does.
fn closest<'a>(loaded: &'a Loaded, name: &str) -> Option<&'a str> {
    let names = loaded.pipeline.tasks.iter().map(|task| task.name.as_str());
    let likely = names.map(|task| (strsim::jaro_winkler(task, name), task));
    let best = likely.filter(|(likeness, _)| *likeness > 0.8);
    best.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, task)| task)
}
