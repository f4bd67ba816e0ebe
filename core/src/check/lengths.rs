//! What is too long for the arguments and the environment of a process, as far as it is known before
//! the run. The rest is refused where it is rendered.

use rustc_hash::FxHashMap;

use crate::ids::TaskId;
use crate::pipeline::TaskAction;
use crate::problem::Problem;
use crate::recipe::WORD;
use crate::resolve::Names;
use crate::shell;
use crate::space::Points;
use crate::template::{Part, Placeholder, Template};

/// The part of a task that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Long {
    /// A word of its command, by position.
    Word(usize),
    /// A variable of its environment, by position.
    Env(usize),
    /// Its script, or what it reads.
    Script,
}

/// The lengths of the longest values of parameters, each computed once.
#[derive(Debug, Default)]
pub struct Lengths {
    params: FxHashMap<(TaskId, String), usize>,
}

impl Lengths {
    /// What of a task no process can be given.
    pub fn of_task(&mut self, names: &Names<'_>, task: TaskId) -> Vec<(Long, Problem)> {
        let mut problems = Vec::new();
        let Some(found) = names.tasks.get(task.at()) else { return problems };
        match &found.action {
            TaskAction::Run(words) => {
                for (at, word) in words.iter().enumerate() {
                    let problem = self.text(names, task, word, 0);
                    problems.extend(problem.map(|problem| (Long::Word(at), problem)));
                }
            }
            TaskAction::Shell(script) => {
                if script.len() > WORD {
                    let problem = too_long("the script", script.len());
                    let help = "put it into a file, and run that";
                    problems.push((Long::Script, problem.help(help)));
                }
                self.read_by(names, task, script, &mut problems);
            }
            TaskAction::Script(_) | TaskAction::Call(_) => {}
        }
        for (at, (name, value)) in found.env.iter().enumerate() {
            let problem = self.text(names, task, value, name.len() + 1);
            problems.extend(problem.map(|problem| (Long::Env(at), problem)));
        }
        problems
    }

    /// The variables that a script expands.
    fn read_by(
        &mut self,
        names: &Names<'_>,
        task: TaskId,
        script: &str,
        problems: &mut Vec<(Long, Problem)>,
    ) {
        let expanded = shell::expanded(script);
        let params: Vec<String> = names.params(task).into_iter().map(str::to_owned).collect();
        let mut sized: Vec<(String, usize)> = Vec::new();
        for (name, value) in names.vars() {
            let hidden = params.iter().any(|param| param == name);
            if expanded.contains(&*shell::variable(name)) && !hidden {
                sized.push((name.to_owned(), value.to_text().len()));
            }
        }
        for name in params {
            if expanded.contains(&*shell::variable(&name)) {
                let length = self.param(names, task, &name);
                sized.push((name, length));
            }
        }
        sized.sort();
        for (name, length) in sized.into_iter().filter(|(name, n)| name.len() + 1 + n > WORD) {
            let problem = too_long(&format!("`{name}`"), length);
            let help = "let the script read it from a file";
            problems.push((Long::Script, problem.help(help)));
        }
    }

    /// A text that is too long by what is known of it: with the longest value of one parameter, and
    /// nothing for what only the run knows.
    fn text(
        &mut self,
        names: &Names<'_>,
        task: TaskId,
        text: &Template,
        before: usize,
    ) -> Option<Problem> {
        let mut known = before;
        let mut longest = ("the text".to_owned(), 0);
        let mut param = ("".to_owned(), 0);
        for part in &text.parts {
            let (what, length) = match part {
                Part::Literal(text) => ("the text".to_owned(), text.len()),
                Part::Placeholder(Placeholder::Var(name, fields)) => {
                    let value = names.vars().find(|(var, _)| var == name);
                    let value = value.and_then(|(_, value)| value.field_path(fields));
                    let length = value.map_or(0, |value| value.to_text().len());
                    (format!("{{vars.{name}}}"), length)
                }
                Part::Placeholder(Placeholder::Param(name, fields)) if fields.is_empty() => {
                    let length = self.param(names, task, name);
                    if length > param.1 {
                        param = (format!("{{{name}}}"), length);
                    }
                    continue;
                }
                Part::Placeholder(_) => continue,
            };
            known += length;
            if length > longest.1 {
                longest = (what, length);
            }
        }
        if known + param.1 <= WORD {
            return None;
        }
        let (what, length) = if param.1 > longest.1 { param } else { longest };
        let problem = too_long(&what, length);
        Some(problem.help("put it into a file, and pass its path"))
    }

    /// The length of the longest value of a parameter.
    fn param(&mut self, names: &Names<'_>, task: TaskId, name: &str) -> usize {
        let Some(owner) = names.param(task, name) else { return 0 };
        let key = (owner, name.to_owned());
        if let Some(known) = self.params.get(&key) {
            return *known;
        }
        let space = names.tasks.get(owner.at()).and_then(|task| task.sweep.as_ref());
        let axes = space.iter().flat_map(|space| &space.axes);
        let mut longest = 0;
        for axis in axes {
            let column = axis.names.iter().position(|known| known == name);
            if let (Some(column), Points::Rows(rows)) = (column, &axis.points) {
                let lengths = rows.iter().filter_map(|row| Some(row.get(column)?.to_text().len()));
                longest = lengths.max().unwrap_or(0);
            }
        }
        self.params.insert(key, longest);
        longest
    }
}

fn too_long(what: &str, bytes: usize) -> Problem {
    let message =
        format!("{what} has {bytes} bytes, and a process can be given {WORD} in one word");
    Problem::new(message)
}
