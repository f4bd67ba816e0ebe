//! The pipeline and its durations, as text.

use std::fmt::Write;

use crate::{Task, Workflow};

/// A pipeline whose tasks sleep for their runtimes times `scale`, each after its parents.
///
/// The priorities follow from the runtimes, which a scheduler does not know before it has run the
/// pipeline once: a task that more time must follow goes first.
#[must_use]
pub fn pipeline_toml(workflow: &Workflow, scale: f64) -> String {
    let mut text = format!(
        "# Made of a recording in WfFormat by dagrun-example-wfcommons --scale {scale}.\n\
         name = {}\n",
        quoted(&workflow.name)
    );
    for (task, priority) in workflow.tasks.iter().zip(priorities(workflow)) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n[task.{}]", task.name);
        if !task.parents.is_empty() {
            let names = task.parents.iter().filter_map(|parent| workflow.tasks.get(*parent));
            let names: Vec<String> = names.map(|parent| quoted(&parent.name)).collect();
            let _ = writeln!(text, "after = [{}]", names.join(", "));
        }
        let _ = writeln!(text, "priority = {priority}");
        let _ = writeln!(text, "run = [\"sleep\", \"{}\"]", seconds(task, scale));
    }
    text
}

/// The seconds that each task of [`pipeline_toml`] sleeps, for `dagrun plan --durations`.
#[must_use]
pub fn durations_json(workflow: &Workflow, scale: f64) -> String {
    let rows = workflow.tasks.iter();
    let rows: Vec<String> =
        rows.map(|task| format!("  \"{}\": {}", task.name, seconds(task, scale))).collect();
    format!("{{\n{}\n}}\n", rows.join(",\n"))
}

/// The place of each task among all when they are sorted by what remains from its start on.
fn priorities(workflow: &Workflow) -> Vec<usize> {
    let remaining = workflow.remaining();
    let mut sorted = remaining.clone();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup();
    remaining.iter().map(|one| sorted.partition_point(|other| other < one)).collect()
}

fn seconds(task: &Task, scale: f64) -> String {
    format!("{:.6}", task.runtime * scale)
}

/// A basic string of TOML: one of JSON, where DEL is escaped too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
