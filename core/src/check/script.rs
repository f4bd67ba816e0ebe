//! The rules of scripts: which names of parameters, variables and outputs a shell can read.

use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::ids::TaskId;
use crate::problem::Problem;
use crate::resolve::Names;
use crate::shell;

/// What a script does wrong: each with its location in the script; without one it is about the task
/// as a whole.
#[must_use]
pub fn script(
    names: &Names<'_>,
    task: TaskId,
    script: &str,
) -> Vec<(Option<Range<usize>>, Problem)> {
    let mut problems = Vec::new();
    let params = names.params(task);
    let outputs = || names.outputs(task).map(|name| (name, format!("out_{name}")));
    let inputs = || names.inputs(task).map(|name| (name, format!("in_{name}")));
    let vars = || names.vars().map(|(name, _)| name);
    let plain = |name: &str| (name.to_owned(), name.to_owned());
    same_variable(params.iter().map(|name| plain(name)), "parameters", &mut problems);
    let outputs_named = outputs().map(|(name, variable)| (name.to_owned(), variable));
    same_variable(outputs_named, "outputs", &mut problems);
    let inputs_named = inputs().map(|(name, variable)| (name.to_owned(), variable));
    same_variable(inputs_named, "inputs", &mut problems);
    // The names that a shell would cut at `-`.
    let dashed = params.iter().copied().chain(vars()).map(str::to_owned);
    let dashed = dashed.chain(outputs().chain(inputs()).map(|(_, variable)| variable));
    let dashed: Vec<String> = dashed.filter(|name| name.contains('-')).collect();
    if dashed.is_empty() {
        return problems;
    }
    for (written, span) in shell::expansions(script) {
        let is_meant = |name: &&String| {
            written.strip_prefix(name.as_str()).is_some_and(|rest| !rest.starts_with(is_word))
        };
        let Some(name) = dashed.iter().filter(is_meant).max_by_key(|name| name.len()) else {
            continue;
        };
        let cut = name.split('-').next().unwrap_or_default();
        let message = format!("a shell reads `${name}` as `${cut}` and what follows");
        let help = format!("names arrive with `_` for `-`: write ${}", shell::variable(name));
        let span = span.start..span.start + name.len();
        problems.push((Some(span), Problem::new(message).help(help)));
    }
    problems
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Names of one kind that would be the same variable; `named` has each with its spelling before `-`
/// becomes `_`.
fn same_variable(
    named: impl Iterator<Item = (String, String)>,
    what: &str,
    problems: &mut Vec<(Option<Range<usize>>, Problem)>,
) {
    let mut first_of: FxHashMap<String, String> = FxHashMap::default();
    for (name, spelling) in named {
        let variable = shell::variable(&spelling).into_owned();
        let first = first_of.entry(variable.clone()).or_insert_with(|| name.clone());
        if *first != name {
            let message =
                format!("{what} `{first}` and `{name}` are both `{variable}` in the script");
            problems.push((None, Problem::new(message).help("give one of them another name")));
        }
    }
}
