//! Axes, variables and outputs that nobody uses, and names that are no good as variables of a
//! script.

use rustc_hash::FxHashSet;

use super::At;
use crate::ids::TaskId;
use crate::pipeline::{Arg, Args, Pattern, Task, TaskAction};
use crate::problem::{Problem, Syntax};
use crate::resolve::Names;
use crate::shell;
use crate::template::Placeholder;

/// Words of a script by which it can reach every parameter.
const EVERYTHING: &[&str] = &["DAGRUN_PARAMS", "DAGRUN_INDEX", "printenv"];

/// Warns of what nobody uses, and of names that a script cannot read as they are.
pub(super) fn look(names: &Names<'_>, found: &mut Vec<(At, Problem)>) {
    let mut uses = Uses::new(names);
    for task in ids(names) {
        uses.of_task(task);
        outputs(names, task, found);
    }
    uses.variables(found);
    for task in ids(names) {
        uses.axes(task, found);
    }
}

fn ids(names: &Names<'_>) -> impl Iterator<Item = TaskId> + use<> {
    (0..names.tasks.len() as u32).map(TaskId)
}

/// What is used.
struct Uses<'u, 'n> {
    names: &'u Names<'n>,
    /// Parameters, by the task that gives them.
    params: FxHashSet<(TaskId, &'u str)>,
    /// Tasks all of whose parameters count as used.
    all: FxHashSet<TaskId>,
    vars: FxHashSet<&'u str>,
    /// Whether all variables count as used.
    all_vars: bool,
    /// Tasks whose parameters are variables of a script.
    in_scripts: FxHashSet<TaskId>,
    scripts: bool,
}

impl<'u, 'n> Uses<'u, 'n> {
    fn new(names: &'u Names<'n>) -> Uses<'u, 'n> {
        Uses {
            names,
            params: FxHashSet::default(),
            all: FxHashSet::default(),
            vars: FxHashSet::default(),
            all_vars: false,
            in_scripts: FxHashSet::default(),
            scripts: false,
        }
    }

    fn of_task(&mut self, id: TaskId) {
        let names = self.names;
        let Some(task) = names.tasks.get(id.at()) else { return };
        for placeholder in task.placeholders() {
            match placeholder {
                Placeholder::Param(name, _) => {
                    self.params.extend(names.param(id, name).map(|owner| (owner, name.as_str())));
                }
                Placeholder::Var(name, _) => {
                    self.vars.insert(name);
                }
                Placeholder::Seed | Placeholder::Key | Placeholder::Index(_) => self.every(id),
                _ => {}
            }
        }
        if let Pattern::GatherBy(upstream, by) = &task.pattern {
            for name in by {
                let owner = names.param(*upstream, name);
                self.params.extend(owner.map(|owner| (owner, name.as_str())));
            }
        }
        match &task.action {
            TaskAction::Run(_) => {}
            TaskAction::Shell(script) | TaskAction::Script(script) => self.script(id, script),
            TaskAction::Call(call) => {
                if takes_all(&call.args) {
                    self.every(id);
                }
            }
        }
    }

    /// Counts all parameters of a task as used.
    fn every(&mut self, id: TaskId) {
        for owner in self.names.owners(id) {
            // Those before it have been counted with it.
            if !self.all.insert(owner) {
                break;
            }
        }
    }

    fn script(&mut self, id: TaskId, script: &'u str) {
        let names = self.names;
        self.scripts = true;
        let words = shell::mentions(script);
        if EVERYTHING.iter().any(|word| words.contains(word)) {
            self.all_vars = true;
            self.every(id);
        }
        let braced: FxHashSet<&str> = shell::braced(script).map(|(text, _)| text).collect();
        let mentioned = |name: &str, prefix: &str| {
            words.contains(&*shell::variable(name)) || braced.contains(&*format!("{prefix}{name}"))
        };
        for owner in names.owners(id) {
            self.in_scripts.insert(owner);
            let Some(space) = names.tasks.get(owner.at()).and_then(|task| task.sweep.as_ref())
            else {
                continue;
            };
            let params = space.axes.iter().flat_map(|axis| &axis.names);
            let used = params.filter(|name| mentioned(name, ""));
            self.params.extend(used.map(|name| (owner, name.as_str())));
        }
        self.vars
            .extend(names.vars().map(|(name, _)| name).filter(|name| mentioned(name, "vars.")));
    }

    fn variables(&self, found: &mut Vec<(At, Problem)>) {
        let toml = self.names.syntax() == Syntax::Toml;
        for (name, _) in self.names.vars() {
            let at = || At::Var(name.to_owned());
            if !self.all_vars && !self.vars.contains(name) {
                let problem = Problem::new(format!("nothing uses variable `{name}`"));
                let write = match toml && self.scripts {
                    true => {
                        format!("write {{vars.{name}}}, in a script ${}", shell::variable(name))
                    }
                    false => format!("write {{vars.{name}}}"),
                };
                found.push((at(), problem.help(format!("{write}, or leave it out"))));
            }
            found.extend(name_in_scripts(name, "variable", self.scripts).map(|p| (at(), p)));
        }
    }

    fn axes(&self, id: TaskId, found: &mut Vec<(At, Problem)>) {
        let Some(space) = self.names.tasks.get(id.at()).and_then(|task| task.sweep.as_ref()) else {
            return;
        };
        let in_scripts = self.in_scripts.contains(&id);
        for (at, axis) in space.axes.iter().enumerate() {
            let is_used = |name: &String| self.params.contains(&(id, name.as_str()));
            if !self.all.contains(&id) && !axis.names.iter().any(is_used) {
                let problem = self.unused_axis(id, &axis.names, &axis.name);
                found.push((At::Axis(id, at), problem));
            }
            for name in &axis.names {
                let problem = name_in_scripts(name, "parameter", in_scripts);
                found.extend(problem.map(|problem| (At::Axis(id, at), problem)));
            }
        }
    }

    fn unused_axis(&self, id: TaskId, params: &[String], axis: &str) -> Problem {
        let message = match params {
            [name] => format!("nothing uses parameter `{name}`"),
            _ => format!("nothing uses the parameters of `{axis}`"),
        };
        let name = params.first().map_or(axis, String::as_str);
        let is_script = self.in_scripts.contains(&id);
        let help = match is_script {
            true => format!(
                "in a script it is ${}; what only a program reads from its environment is better \
                 named there too",
                shell::variable(name)
            ),
            false => format!(
                "points that differ in it only do the same: write {{{name}}}, or {{seed}} for \
                 repetitions"
            ),
        };
        Problem::new(message).help(help)
    }
}

/// Whether a call is given all parameters at once.
fn takes_all(args: &Args) -> bool {
    args.iter().any(|arg| matches!(arg, Arg::Params))
}

/// Warns of outputs that their task never mentions, so that it cannot make them.
fn outputs(names: &Names<'_>, id: TaskId, found: &mut Vec<(At, Problem)>) {
    let Some(task) = names.tasks.get(id.at()).filter(|task| !task.outputs.is_empty()) else {
        return;
    };
    let mut used: FxHashSet<u32> = FxHashSet::default();
    for placeholder in task.placeholders() {
        if let Placeholder::Out(at) = placeholder {
            used.insert(*at);
        }
    }
    let (words, braced) = match &task.action {
        TaskAction::Shell(script) | TaskAction::Script(script) => {
            (shell::words(script), shell::braced(script).map(|(text, _)| text).collect())
        }
        _ => (FxHashSet::default(), FxHashSet::default()),
    };
    for ((name, _), at) in task.outputs.iter().zip(0..) {
        let variable = format!("out_{name}");
        let variable = shell::variable(&variable);
        let in_script = words.contains(&*variable)
            || words.contains("DAGRUN_PARAMS")
            || braced.contains(&*format!("out.{name}"));
        if !used.contains(&at) && !in_script {
            found.push((At::Output(id, at as usize), unused_output(task, name, &variable)));
        }
    }
}

fn unused_output(task: &Task, name: &str, variable: &str) -> Problem {
    let write = match task.action {
        TaskAction::Shell(_) => format!("\"${variable}\""),
        TaskAction::Script(_) => format!("the path in the variable `{variable}`"),
        _ => format!("{{out.{name}}}"),
    };
    let message = format!("task `{}` never mentions its output `{name}`", task.name);
    let help = format!("it must write to {write}, which is moved into place at the end");
    Problem::new(message).help(help)
}

/// What is wrong with the name of a parameter or variable as one of a script.
fn name_in_scripts(name: &str, what: &str, in_scripts: bool) -> Option<Problem> {
    if shell::is_for_programs(name) {
        let message =
            format!("{what} `{name}` replaces what programs look for under this name in a script");
        return Some(Problem::new(message).help(format!("give the {what} another name")));
    }
    let variable = shell::variable(name);
    if !in_scripts || variable == name {
        return None;
    }
    let message = format!("{what} `{name}` is `{variable}` in scripts");
    let help = "a shell ends a name at `-`";
    Some(Problem::new(message).help(format!("{help}: write ${variable}, or name it so")))
}
