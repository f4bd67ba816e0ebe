//! `dagrun clean`: runs that have ended are taken out of the history, with their logs and values.

use std::path::Path;

use dagrun_core::ids::{RunId, Timestamp};
use dagrun_core::layout;
use dagrun_core::offer::amount_of_memory;
use dagrun_core::status::{RunState, RunSummary};
use dagrun_disk::clock::now;
use serde::Serialize;

use crate::args::CleanArgs;
use crate::exit::{Exit, Failure};
use crate::source::Source;
use crate::terminal::{self, Output, table};
use crate::time;

/// A run that can be removed, or has been.
#[derive(Serialize)]
struct Removable {
    run: String,
    name: String,
    state: &'static str,
    finished: Option<String>,
    /// What its directory takes; `null` where it is not on this machine.
    bytes: Option<u64>,
    removed: bool,
}

/// Lists what could be removed, or removes what is named.
pub(crate) async fn clean(args: &CleanArgs) -> Result<Exit, Failure> {
    let source = Source::open(&args.place).await?;
    let runs = source.runs(u32::MAX).await?;
    let chosen = choose(args, &runs)?;
    let bytes = |run: &RunSummary| match &source {
        Source::Disk { state_dir, .. } => Some(size(&layout::run_dir(state_dir, run.run))),
        Source::Cluster { .. } => None,
    };
    let lists_only = args.runs.is_empty() && args.older_than.is_none();
    if lists_only {
        list(args, &chosen, &bytes, false);
        if !args.json && !chosen.is_empty() {
            let help = "nothing is removed: name runs, or say --older-than 30d";
            terminal::print(help);
        }
        return Ok(Exit::Success);
    }
    if chosen.is_empty() {
        terminal::print("nothing to remove");
        return Ok(Exit::Success);
    }
    if !args.yes {
        if !args.json {
            list(args, &chosen, &bytes, false);
        }
        if !terminal::confirmed(&format!("remove {}?", of(chosen.len())), "--yes")? {
            return Ok(Exit::Success);
        }
    }
    let removed: Vec<(&RunSummary, Option<u64>)> =
        chosen.iter().map(|run| (*run, bytes(run))).collect();
    let ids: Vec<RunId> = chosen.iter().map(|run| run.run).collect();
    match &source {
        Source::Disk { state_dir, .. } => dagrun_scheduler::forget(state_dir, &ids)?,
        Source::Cluster { client, .. } => {
            for run in ids {
                client.forget(run).await?;
            }
        }
    }
    if args.json {
        let known = |run: &RunSummary| {
            removed.iter().find(|(other, _)| other.run == run.run).and_then(|(_, bytes)| *bytes)
        };
        list(args, &chosen, &known, true);
    } else {
        terminal::print(&format!("removed {}", of(chosen.len())));
    }
    Ok(Exit::Success)
}

fn of(count: usize) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}

/// The runs that are meant. Those that run or can be gone on with never are.
fn choose<'a>(args: &CleanArgs, runs: &'a [RunSummary]) -> Result<Vec<&'a RunSummary>, Failure> {
    for id in &args.runs {
        let Some(run) = runs.iter().find(|run| run.run == *id) else {
            return Err(Failure::usage(format!("there is no run {id}")));
        };
        if !has_ended(run) {
            let text = format!("run {id} is not removed: it is {}", run.state.word());
            return Err(Failure::usage(text)
                .help(format!("`dagrun cancel {id}` ends it first; nothing has been removed")));
        }
    }
    let before = args.older_than.map(|age| Timestamp(now().0.saturating_sub(age.0)));
    let meant = |run: &&RunSummary| {
        let named = args.runs.is_empty() || args.runs.contains(&run.run);
        let old = before.is_none_or(|before| run.finished.is_some_and(|at| at.0 < before.0));
        has_ended(run) && named && old
    };
    Ok(runs.iter().filter(meant).collect())
}

fn has_ended(run: &RunSummary) -> bool {
    !matches!(run.state, RunState::Running | RunState::Interrupted)
}

fn list(
    args: &CleanArgs,
    runs: &[&RunSummary],
    bytes: &dyn Fn(&RunSummary) -> Option<u64>,
    removed: bool,
) {
    let mut output = Output::lock();
    if args.json {
        for run in runs {
            output.json(&Removable {
                run: run.run.to_string(),
                name: run.name.clone(),
                state: run.state.word(),
                finished: run.finished.map(time::rfc3339),
                bytes: bytes(run),
                removed,
            });
        }
        return;
    }
    let head = ["run", "name", "state", "finished", "size"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(runs.iter().map(|run| {
        vec![
            run.run.to_string(),
            run.name.clone(),
            run.state.word().to_owned(),
            run.finished.map_or_else(String::new, time::local),
            bytes(run).map_or_else(|| "-".to_owned(), amount_of_memory),
        ]
    }));
    for line in table(&rows, &[true, false, false, false, true]) {
        output.line(line);
    }
}

/// The bytes of all files below a directory; links are not followed.
fn size(dir: &Path) -> u64 {
    let (mut sum, mut open) = (0, vec![dir.to_owned()]);
    while let Some(dir) = open.pop() {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => open.push(entry.path()),
                Ok(found) => sum += found.len(),
                Err(_) => {}
            }
        }
    }
    sum
}
