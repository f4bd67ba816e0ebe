//! `dagrun status` and `dagrun runs`: what became of runs.

use dagrun_core::status::{InstanceRow, RunState, RunStatus, State};

use crate::args::{RunsArgs, StatusArgs};
use crate::exit::{Exit, Failure};
use crate::json::{self, InstanceJson, RunJson, SummaryJson};
use crate::source::{FIRST, RunSource, Source};
use crate::terminal::{self, Output, Paint, Terminal, table};
use crate::time;

/// Instances that are asked for at once.
const PAGE: u32 = 1000;

/// Shows one run.
pub(crate) async fn status(args: &StatusArgs) -> Result<Exit, Failure> {
    let run = Source::open(&args.place).await?.run(args.run).await?;
    let status = run.status().await?;
    if args.instances || args.failed {
        return instances(args, &run, &status).await;
    }
    let mut output = Output::lock();
    if args.json {
        output.json(&RunJson::new(&status));
        return Ok(Exit::Success);
    }
    headline(&mut output, &status);
    output.line("");
    for line in task_table(&status) {
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
    if status.state == RunState::Running
        && let Err(failure) = run.check_owner()
    {
        terminal::print(&failure.message);
    }
    Ok(Exit::Success)
}

fn headline(output: &mut Output, status: &RunStatus) {
    let terminal = Terminal::stdout();
    let paint = match status.state {
        RunState::Succeeded => Paint::Green,
        RunState::Failed => Paint::Red,
        RunState::Running | RunState::Cancelled => Paint::Yellow,
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
fn task_table(status: &RunStatus) -> Vec<String> {
    let used = |state: &State| status.tasks.iter().any(|task| task.counts.of(*state) > 0);
    let states: Vec<State> =
        State::ALL.into_iter().filter(|state| *state == State::Succeeded || used(state)).collect();
    let mut head = vec!["task".to_owned(), "instances".to_owned()];
    head.extend(states.iter().map(|state| state.word().to_owned()));
    let mut rows = vec![head];
    for task in &status.tasks {
        let width = if task.width_known { task.counts.total().to_string() } else { "?".to_owned() };
        let mut row = vec![task.name.clone(), width];
        row.extend(states.iter().map(|state| task.counts.of(*state).to_string()));
        rows.push(row);
    }
    let mut numeric = vec![true; 2 + states.len()];
    numeric[0] = false;
    table(&rows, &numeric)
}

/// Lists instances page by page: there may be millions.
async fn instances(
    args: &StatusArgs,
    run: &RunSource,
    status: &RunStatus,
) -> Result<Exit, Failure> {
    let mut recipes = run.recipes().await?;
    let mut output = Output::lock();
    let mut from = Some(FIRST);
    while let Some(start) = from {
        let page = run.instances(start, PAGE, args.failed).await?;
        for row in &page.rows {
            let task = json::task_name(status, row.instance.task);
            if args.json {
                let params = json::params(recipes.params(row.instance));
                output.json(&InstanceJson::new(row, task, params));
            } else {
                let params = recipes.params(row.instance);
                output.line(instance_line(row, task, &params));
            }
        }
        from = page.next;
    }
    Ok(Exit::Success)
}

/// `price[17]  failed  0.3 s  w1  exit code 3  strike=80.0 sigma=0.1`.
fn instance_line(
    row: &InstanceRow,
    task: &str,
    params: &[(String, dagrun_core::value::Value)],
) -> String {
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
        let shown = params.iter().map(|(name, value)| {
            format!("{name}={}", String::from_utf8_lossy(&value.to_text()).escape_debug())
        });
        parts.push(shown.collect::<Vec<_>>().join(" "));
    }
    parts.join("  ")
}

/// Lists the runs, newest first.
pub(crate) async fn runs(args: &RunsArgs) -> Result<Exit, Failure> {
    let runs = Source::open(&args.place).await?.runs(u32::MAX).await?;
    let mut output = Output::lock();
    if args.json {
        for run in &runs {
            output.json(&SummaryJson::new(run));
        }
        return Ok(Exit::Success);
    }
    let head = ["run", "name", "state", "started", "took", "instances", "done", "failed"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for run in &runs {
        rows.push(vec![
            run.run.to_string(),
            run.name.clone(),
            run.state.word().to_owned(),
            time::local(run.started),
            time::took(run.started, run.finished),
            run.instances.to_string(),
            run.done.to_string(),
            run.failed.to_string(),
        ]);
    }
    for line in table(&rows, &[true, false, false, false, true, true, true, true]) {
        output.line(line);
    }
    Ok(Exit::Success)
}
