//! Names for tasks that a pipeline takes: `[A-Za-z_][A-Za-z0-9_-]*`, each once.

use std::collections::HashSet;

use crate::format::RawTask;

/// A name for each task, as like its own as can be.
pub(crate) fn unique(tasks: &[RawTask]) -> Vec<String> {
    let mut taken = HashSet::new();
    tasks.iter().map(|task| free(valid(&wanted(task)), &mut taken)).collect()
}

/// Its id, as names need not be unique; with the name before it when it is only a number.
fn wanted(task: &RawTask) -> String {
    match (task.id(), task.name()) {
        (Some(id), Some(name)) if id.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{name}_{id}")
        }
        (Some(label), _) | (None, Some(label)) => label.to_owned(),
        (None, None) => String::new(),
    }
}

fn valid(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut name: String = text.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        name.insert(0, '_');
    }
    name
}

fn free(name: String, taken: &mut HashSet<String>) -> String {
    if taken.insert(name.clone()) {
        return name;
    }
    let numbered = (2u64..).map(|number| format!("{name}_{number}"));
    let free = numbered.into_iter().find(|candidate| taken.insert(candidate.clone()));
    free.unwrap_or(name)
}
