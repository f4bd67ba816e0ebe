//! Placeholders in scripts, in which nothing is substituted.

use super::At;
use crate::ids::TaskId;
use crate::pipeline::TaskAction;
use crate::problem::Problem;
use crate::resolve::Names;
use crate::shell;

/// Warns of braces in a script that would be a placeholder elsewhere.
pub(super) fn look(names: &Names<'_>, task: TaskId, found: &mut Vec<(At, Problem)>) {
    let Some(TaskAction::Shell(script)) = names.tasks.get(task.at()).map(|task| &task.action)
    else {
        return;
    };
    for (text, span) in shell::braced(script) {
        let Some(help) = instead(names, task, text) else { continue };
        let message = format!("`{{{text}}}` stays as it is: nothing is substituted in a script");
        found.push((At::Script(task, span), Problem::new(message).help(help)));
    }
}

/// What to write in a script for a placeholder; `None` when it is none.
fn instead(names: &Names<'_>, task: TaskId, text: &str) -> Option<String> {
    let plain = text.split(':').next().unwrap_or(text);
    let (head, field) = match plain.split_once('.') {
        Some((head, field)) => (head, Some(field)),
        None => (plain, None),
    };
    let variable = |name: &str| format!("write \"${name}\"");
    let by_env = || format!("pass it: env = {{ value = \"{{{text}}}\" }}, and write \"$value\"");
    if names.param(task, head).is_some() {
        return Some(match field {
            None => variable(&shell::variable(head)),
            Some(_) => by_env(),
        });
    }
    match (head, field) {
        ("out", Some(name)) => names
            .outputs(task)
            .any(|output| output == name)
            .then(|| variable(&shell::variable(&format!("out_{name}")))),
        ("in", Some(name)) => names
            .inputs(task)
            .any(|input| input == name)
            .then(|| variable(&shell::variable(&format!("in_{name}")))),
        ("vars", Some(name)) => {
            names.vars().any(|(var, _)| var == name).then(|| variable(&shell::variable(name)))
        }
        ("index", None) => Some(variable("DAGRUN_INDEX")),
        ("attempt", None) => Some(variable("DAGRUN_ATTEMPT")),
        ("item", None) => Some(variable("item")),
        ("run", Some("id")) => Some(variable("DAGRUN_RUN_ID")),
        ("key" | "seed", None) | ("run", Some("dir")) => Some(by_env()),
        (name, Some(field)) => {
            let upstream = names.id(name)?;
            let first = field.split('.').next().unwrap_or(field);
            let has = ["value", "manifest"].contains(&first)
                || names.outputs(upstream).any(|output| output == field);
            has.then(by_env)
        }
        _ => None,
    }
}
