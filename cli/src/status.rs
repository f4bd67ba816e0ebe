//! `dagrun status` and `dagrun runs`: what became of runs.

use std::collections::HashMap;

use dagrun::rpc::Submission;
use dagrun_core::ids::{InstanceId, Micros, TaskId};
use dagrun_core::payload;
use dagrun_core::recipe::Items;
use dagrun_core::select::{Columns, Point, Selector};
use dagrun_core::status::{InstanceRow, RunState, RunStatus, State, Tag, TaskTimes};
use dagrun_core::value::Value;

use crate::args::{RunsArgs, StatusArgs};
use crate::chosen::{self, Chosen};
use crate::exit::{Exit, Failure};
use crate::json::{self, InstanceJson, RunJson, SummaryJson};
use crate::recipes::Recipes;
use crate::source::{FIRST, RunSource, Source};
use crate::target::RunName;
use crate::terminal::{self, Output, Paint, Terminal, table};
use crate::time;

/// Instances that are asked for at once.
const PAGE: u32 = 1000;

/// Shows one run.
pub(crate) async fn status(args: &StatusArgs) -> Result<Exit, Failure> {
    let (name, selector) = args.what.read()?;
    let run = Source::open(&args.place).await?.run(name.unwrap_or(RunName::Last)).await?;
    let mut status = run.status_now().await?;
    let times;
    if let Some(selector) = &selector {
        let (task, _) = chosen::task(&status, selector)?;
        if args.instances || args.failed || !selector.is_whole() {
            return some_instances(args, &run, &status, selector).await;
        }
        times = run.times().await?.into_iter().skip(task.at()).take(1).collect();
        status.tasks = status.tasks.into_iter().skip(task.at()).take(1).collect();
    } else if args.instances || args.failed {
        return instances(args, &run, &status).await;
    } else {
        times = run.times().await?;
    }
    let tags = Submission::tags_in(&run.submission().await?.pipeline);
    let mut output = Output::lock();
    if args.json {
        output.json(&RunJson::new(&status, &times, &tags));
        return Ok(Exit::Success);
    }
    headline(&mut output, &status);
    if !tags.is_empty() {
        output.line(format_args!("tags {}", tag_words(&tags)));
    }
    if !status.waiting.is_empty() {
        output.line(&status.waiting);
    }
    output.line("");
    for line in task_table(&status, &times) {
        output.line(line);
    }
    let notes = status.tasks.iter().filter(|task| !task.note.is_empty());
    for (number, task) in notes.enumerate() {
        if number == 0 {
            output.line("");
        }
        output.line(format_args!("{}: {}", task.name, task.note));
    }
    drop(output);
    if status.state == RunState::Interrupted {
        terminal::print(&interrupted(&run));
    }
    Ok(Exit::Success)
}

/// What to say of a run that was interrupted.
pub(crate) fn interrupted(run: &RunSource) -> String {
    format!("run {} was interrupted; go on with: {}", run.id(), run.go_on())
}

fn headline(output: &mut Output, status: &RunStatus) {
    let terminal = Terminal::stdout();
    let paint = match status.state {
        RunState::Succeeded => Paint::Green,
        RunState::Failed => Paint::Red,
        RunState::Running | RunState::Cancelled | RunState::Interrupted => Paint::Yellow,
    };
    output.line(format_args!(
        "run {}  {}  {}  started {}  took {}",
        status.run,
        terminal.paint(Paint::Bold, &status.name),
        terminal.paint(paint, status.state.word()),
        time::local(status.started),
        time::took(status.started, status.finished),
    ));
}

/// One row per task; columns that are zero everywhere are left out.
fn task_table(status: &RunStatus, times: &[TaskTimes]) -> Vec<String> {
    let used = |state: &State| status.tasks.iter().any(|task| task.counts.of(*state) > 0);
    let states: Vec<State> =
        State::ALL.into_iter().filter(|state| *state == State::Succeeded || used(state)).collect();
    let has_times = times.iter().any(|times| times.instances > 0);
    let has_retries = times.iter().any(|times| times.retried > 0);
    let mut head = vec!["task".to_owned(), "instances".to_owned()];
    head.extend(states.iter().map(|state| state.word().to_owned()));
    head.extend(has_retries.then(|| "retried".to_owned()));
    if has_times {
        head.extend(["took", "mean", "longest"].map(str::to_owned));
    }
    let mut numeric = vec![true; head.len()];
    numeric[0] = false;
    let mut rows = vec![head];
    for (at, task) in status.tasks.iter().enumerate() {
        let width = if task.width_known { task.counts.total().to_string() } else { "?".to_owned() };
        let mut row = vec![task.name.clone(), width];
        row.extend(states.iter().map(|state| task.counts.of(*state).to_string()));
        let times = times.get(at).copied().unwrap_or_default();
        row.extend(has_retries.then(|| times.retried.to_string()));
        if has_times {
            row.extend(spans(&times));
        }
        rows.push(row);
    }
    table(&rows, &numeric)
}

/// From the first start to the last end of a task's instances; how long one took in the mean, and the
/// longest. Nothing where none has ended.
fn spans(times: &TaskTimes) -> [String; 3] {
    let shown = |span: Micros| match times.instances {
        0 => String::new(),
        _ => span.rounded(),
    };
    [times.finished.since(times.started), times.mean, times.longest].map(shown)
}

/// Lists instances page by page: there may be millions.
async fn instances(
    args: &StatusArgs,
    run: &RunSource,
    status: &RunStatus,
) -> Result<Exit, Failure> {
    let mut listing = Listing::new(args, run, status).await?;
    let mut from = Some(FIRST);
    while let Some(start) = from {
        let page = run.instances(start, PAGE, args.failed).await?;
        listing.page(&page.rows).await;
        from = page.next;
    }
    Ok(Exit::Success)
}

/// Lists those of one task that were chosen.
async fn some_instances(
    args: &StatusArgs,
    run: &RunSource,
    status: &RunStatus,
    selector: &Selector,
) -> Result<Exit, Failure> {
    let mut listing = Listing::new(args, run, status).await?;
    let chosen = Chosen::of(run, status, listing.recipes.pipeline(), selector).await?;
    let mut from = Some(0);
    while let Some(index) = from {
        let (rows, next) = chosen.rows(run, index, args.failed).await?;
        listing.page(&rows).await;
        from = next;
    }
    Ok(Exit::Success)
}

/// What the instances of tasks get from a scatter: their parameters, and the items.
type Given = Option<(Columns, Items)>;

/// Prints instances: JSON, a line each, or at a terminal a table.
struct Listing<'a> {
    run: &'a RunSource,
    status: &'a RunStatus,
    json: bool,
    terminal: Terminal,
    recipes: Recipes,
    given: HashMap<TaskId, Given>,
    output: Output,
    /// Whether the head of the table stands there.
    begun: bool,
}

impl<'a> Listing<'a> {
    async fn new(
        args: &StatusArgs,
        run: &'a RunSource,
        status: &'a RunStatus,
    ) -> Result<Listing<'a>, Failure> {
        let recipes = run.recipes().await?;
        let output = if args.json { Output::lock() } else { Output::paged() };
        let (json, terminal) = (args.json, Terminal::stdout());
        let given = HashMap::new();
        Ok(Listing { run, status, json, terminal, recipes, given, output, begun: false })
    }

    async fn page(&mut self, rows: &[InstanceRow]) {
        let mut lines = Vec::new();
        for row in rows {
            let task = json::task_name(self.status, row.instance.task);
            let params = self.params(row.instance).await;
            if self.json {
                self.output.json(&InstanceJson::new(row, task, json::params(params)));
            } else if self.terminal.interactive {
                lines.push(cells(row, task, &params, self.terminal));
            } else {
                self.output.line(instance_line(row, task, &params));
            }
        }
        if !lines.is_empty() {
            let head = ["instance", "state", "took", "attempts", "worker", "parameters", "reason"];
            lines.insert(0, head.map(str::to_owned).to_vec());
            let numeric = [false, false, true, true, false, false, false];
            let skipped = usize::from(std::mem::replace(&mut self.begun, true));
            let lines = table(&lines, &numeric);
            lines.into_iter().skip(skipped).for_each(|line| self.output.line(line));
        }
    }

    /// The parameters of an instance, and its item.
    async fn params(&mut self, instance: InstanceId) -> Vec<(String, Value)> {
        let mut params = self.recipes.params(instance);
        if !self.given.contains_key(&instance.task) {
            let given = self.given(instance.task).await;
            self.given.insert(instance.task, given);
        }
        if let Some(Some((columns, items))) = self.given.get(&instance.task) {
            let mut point = Point::default();
            columns.seek(instance.index, &mut point);
            let part = items.part(point.part());
            let json = part.as_deref().and_then(|part| payload::to_json(part).ok());
            let item = json.and_then(|json| Value::from_json(&json).ok());
            params.extend(item.map(|item| ("item".to_owned(), item)));
        }
        params
    }

    async fn given(&self, task: TaskId) -> Given {
        let pipeline = self.recipes.pipeline();
        let columns = Columns::new(pipeline, task).ok()?;
        let scatter = columns.items()?;
        let items = chosen::items(self.run, self.status, pipeline, scatter).await.ok()?;
        Some((columns, items))
    }
}

/// `strike=80.0 sigma=0.1`.
fn shown(params: &[(String, Value)]) -> String {
    let shown = params.iter().map(|(name, value)| {
        format!("{name}={}", terminal::plain(&String::from_utf8_lossy(&value.to_text())))
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// The cells of an instance in a table.
fn cells(
    row: &InstanceRow,
    task: &str,
    params: &[(String, Value)],
    terminal: Terminal,
) -> Vec<String> {
    let word = row.state.word();
    let state = match row.state {
        State::Succeeded => terminal.paint(Paint::Green, word),
        State::Failed => terminal.paint(Paint::Red, word),
        State::Skipped | State::Cancelled | State::Backoff => terminal.paint(Paint::Yellow, word),
        _ => word.to_owned(),
    };
    let took = match (row.started, row.finished) {
        (Some(started), Some(_)) => time::took(started, row.finished),
        _ => String::new(),
    };
    vec![
        format!("{task}[{}]", row.instance.index),
        state,
        took,
        if row.attempts > 0 { row.attempts.to_string() } else { String::new() },
        row.worker.clone().unwrap_or_default(),
        shown(params),
        row.reason.clone(),
    ]
}

/// `price[17]  failed  0.3 s  w1  exit code 3  strike=80.0 sigma=0.1`.
fn instance_line(row: &InstanceRow, task: &str, params: &[(String, Value)]) -> String {
    let mut parts = vec![format!("{task}[{}]", row.instance.index), row.state.word().to_owned()];
    if let (Some(started), Some(_)) = (row.started, row.finished) {
        parts.push(time::took(started, row.finished));
    }
    if row.attempts > 1 {
        parts.push(format!("{} attempts", row.attempts));
    }
    parts.extend(row.worker.clone());
    if !row.reason.is_empty() {
        parts.push(row.reason.clone());
    }
    if !params.is_empty() {
        parts.push(shown(params));
    }
    parts.join("  ")
}

/// Lists the runs, newest first.
pub(crate) async fn runs(args: &RunsArgs) -> Result<Exit, Failure> {
    let all = args.state.is_empty() && args.name.is_none() && args.tags.is_empty();
    let limit = args.limit.unwrap_or(u32::MAX);
    // With a condition the newest that meet it are wanted.
    let asked = if all { limit } else { u32::MAX };
    let mut runs = Source::open(&args.place).await?.runs(asked).await?;
    runs.retain(|run| args.state.is_empty() || args.state.contains(&run.state));
    runs.retain(|run| args.name.as_ref().is_none_or(|name| *name == run.name));
    runs.retain(|run| args.tags.iter().all(|tag| tag.is_among(&run.tags)));
    runs.truncate(limit as usize);
    let mut output = Output::lock();
    if args.json {
        for run in &runs {
            output.json(&SummaryJson::new(run));
        }
        return Ok(Exit::Success);
    }
    let head = ["run", "name", "state", "started", "took", "instances", "done", "failed"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let tagged = runs.iter().any(|run| !run.tags.is_empty());
    rows[0].extend(tagged.then(|| "tags".to_owned()));
    for run in &runs {
        let mut row = vec![
            run.run.to_string(),
            run.name.clone(),
            run.state.word().to_owned(),
            time::local(run.started),
            time::took(run.started, run.finished),
            run.instances.to_string(),
            run.done.to_string(),
            run.failed.to_string(),
        ];
        row.extend(tagged.then(|| tag_words(&run.tags)));
        rows.push(row);
    }
    for line in table(&rows, &[true, false, false, false, true, true, true, true, false]) {
        output.line(line);
    }
    Ok(Exit::Success)
}

/// `nightly, model=large`.
fn tag_words(tags: &[Tag]) -> String {
    tags.iter().map(Tag::to_string).collect::<Vec<_>>().join(", ")
}
