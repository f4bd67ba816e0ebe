//! The pipeline of `dagrun each`: one task, whose instances are the items. What the command makes of an item
//! (`{.}`, `{/}`) is a parameter of its own, beside the item in the same axis.

use std::collections::HashSet;
use std::path::Path;

use dagrun::{Loaded, Problems};
use dagrun_core::graph::Graph;
use dagrun_core::ids::TaskId;
use dagrun_core::pipeline::{Pipeline, Task, TaskAction};
use dagrun_core::space::{Axis, Points, Space};
use dagrun_core::template::{Part, Placeholder, Template};
use dagrun_core::value::Value;

use super::items::Group;
use super::words::{self, Form, Hole, Piece};
use crate::exit::Failure;

/// The name of the task.
pub(super) const TASK: &str = "each";

/// The parameter of `{#}`.
const SEQUENCE: &str = "seq";

/// As many instances as `{#}` can number when several inputs are crossed.
const NUMBERED: u64 = 1_000_000;

/// What was made of the command line.
#[derive(Debug)]
pub(super) struct Made {
    /// The pipeline.
    pub(super) loaded: Loaded,
    /// The parameters that are the inputs, in their order.
    pub(super) inputs: Vec<String>,
}

/// Makes the pipeline. `retries` are further attempts after a failure, `at_once` limits how many instances are given
/// to workers.
pub(super) fn make(
    command: &[String],
    groups: Vec<Group>,
    retries: u32,
    at_once: Option<u32>,
    dir: &Path,
) -> Result<Made, Failure> {
    let mut inputs = Inputs::new(groups);
    let words = match words::script(command) {
        Some(script) => inputs.script(script)?,
        None => inputs.words(command)?,
    };
    let mut task = Task::new(TASK, TaskAction::Run(words));
    let names = inputs.inputs.iter().map(|input| input.name.clone()).collect();
    task.sweep = Some(Space { axes: inputs.axes()?, ..Space::default() });
    task.conduct.retry.count = retries;
    task.conduct.max_running = at_once;
    let pipeline = Pipeline { name: TASK.to_owned(), vars: Vec::new(), tasks: vec![task] };
    let graph = Graph::new(&pipeline).map_err(|error| Failure::usage(error.to_string()))?;
    let warnings = Problems { path: dir.to_owned(), source: String::new(), list: Vec::new() };
    let loaded = Loaded { pipeline, graph, base_dir: dir.to_owned(), warnings, file: None };
    Ok(Made { loaded, inputs: names })
}

/// An input as the command names it, and what is asked of it.
#[derive(Clone, Debug)]
struct Input {
    /// Its group, and its column there.
    group: usize,
    column: usize,
    /// Its parameter.
    name: String,
    /// What is made of it besides.
    forms: Vec<(Form, String)>,
}

struct Inputs {
    groups: Vec<Group>,
    columns: Vec<String>,
    inputs: Vec<Input>,
    taken: HashSet<String>,
    /// The parameter of `{#}`, once it was asked for.
    sequence: Option<String>,
}

impl Inputs {
    fn new(groups: Vec<Group>) -> Inputs {
        let columns: Vec<String> = groups.iter().flat_map(|group| group.columns.clone()).collect();
        let mut taken: HashSet<String> = columns.iter().cloned().collect();
        let several = groups.iter().map(|group| group.width).sum::<usize>() > 1;
        let mut inputs: Vec<Input> = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            for column in 0..group.width {
                let name = group.columns.get(column).cloned().unwrap_or_else(|| {
                    let number = inputs.len() + 1;
                    let name = if several { format!("arg{number}") } else { "arg".to_owned() };
                    unused(name, &mut taken)
                });
                inputs.push(Input { group: at, column, name, forms: Vec::new() });
            }
        }
        Inputs { groups, columns, inputs, taken, sequence: None }
    }

    /// An argument vector: a placeholder that is a word may become several, those of all inputs.
    fn words(&mut self, command: &[String]) -> Result<Vec<Template>, Failure> {
        let mut templates = Vec::new();
        let mut any = false;
        for word in command {
            let pieces = words::pieces(word, &self.columns, false);
            any |= pieces.iter().any(|piece| matches!(piece, Piece::Hole(_)));
            if let [Piece::Hole(hole)] = pieces.as_slice() {
                templates.extend(self.params(hole)?.into_iter().map(|name| template(vec![name])));
                continue;
            }
            let mut parts = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => parts.push(Part::Literal(text)),
                    Piece::Hole(hole) => {
                        for (at, part) in self.params(&hole)?.into_iter().enumerate() {
                            if at > 0 {
                                parts.push(Part::Literal(" ".to_owned()));
                            }
                            parts.push(part);
                        }
                    }
                }
            }
            templates.push(template(parts));
        }
        if !any {
            let items = self.params(&Hole::All(Form::Whole))?;
            templates.extend(items.into_iter().map(|part| template(vec![part])));
        }
        Ok(templates)
    }

    /// A shell with a script, whose first positional parameters are the items.
    fn script(&mut self, script: &str) -> Result<Vec<Template>, Failure> {
        let mut params = self.params(&Hole::All(Form::Whole))?;
        let mut refused = None;
        let columns = self.columns.clone();
        let script = words::positional(script, &columns, |hole| {
            let wanted = self.params(hole).unwrap_or_else(|failure| {
                refused.get_or_insert(failure);
                Vec::new()
            });
            let mut numbers = Vec::with_capacity(wanted.len());
            for part in wanted {
                let known = params.iter().position(|known| *known == part);
                numbers.push(known.unwrap_or(params.len()) + 1);
                if known.is_none() {
                    params.push(part);
                }
            }
            numbers
        });
        if let Some(failure) = refused {
            return Err(failure);
        }
        let shell = if is_there("bash") { "bash" } else { "sh" };
        let fixed = [shell, "-c", &script, shell].map(Template::literal);
        Ok(fixed.into_iter().chain(params.into_iter().map(|part| template(vec![part]))).collect())
    }

    /// The parameters that a placeholder stands for.
    fn params(&mut self, hole: &Hole) -> Result<Vec<Part>, Failure> {
        let count = self.inputs.len();
        let names = match hole {
            Hole::All(form) => (0..count).map(|at| self.form(at, *form)).collect(),
            Hole::Input(at, form) if *at <= count => vec![self.form(at - 1, *form)],
            Hole::Input(at, _) => {
                let text = match count {
                    1 => format!("`{{{at}}}` is in the command, and there is one input only"),
                    _ => format!("`{{{at}}}` is in the command, and there are {count} inputs"),
                };
                return Err(Failure::usage(text));
            }
            Hole::Column(name) => vec![name.clone()],
            Hole::Sequence => {
                let taken = &mut self.taken;
                let name = self.sequence.get_or_insert_with(|| unused(SEQUENCE.to_owned(), taken));
                vec![name.clone()]
            }
        };
        let part = |name| Part::Placeholder(Placeholder::Param(name, Vec::new()));
        Ok(names.into_iter().map(part).collect())
    }

    /// The parameter of a form of an input.
    fn form(&mut self, at: usize, form: Form) -> String {
        let Some(input) = self.inputs.get_mut(at) else { return String::new() };
        if form == Form::Whole {
            return input.name.clone();
        }
        if let Some((_, name)) = input.forms.iter().find(|(known, _)| *known == form) {
            return name.clone();
        }
        let name = unused(format!("{}{}", input.name, form.suffix()), &mut self.taken);
        input.forms.push((form, name.clone()));
        name
    }

    /// An axis for each group, or one for all where the instances are numbered.
    fn axes(mut self) -> Result<Vec<Axis>, Failure> {
        let count = self.groups.iter().map(|group| group.rows.len() as u64).product::<u64>();
        if self.sequence.is_some() && self.groups.len() > 1 {
            if count > NUMBERED {
                let text =
                    format!("`{{#}}` numbers at most {NUMBERED} instances, here are {count}");
                return Err(Failure::usage(text));
            }
            self.cross();
        }
        let mut axes = Vec::new();
        for (at, group) in self.groups.into_iter().enumerate() {
            let inputs: Vec<&Input> = self.inputs.iter().filter(|it| it.group == at).collect();
            let own = inputs.iter().map(|input| input.name.clone());
            let made = inputs.iter().flat_map(|input| input.forms.iter().map(|it| it.1.clone()));
            let mut names: Vec<String> = own.chain(made).collect();
            names.extend(self.sequence.clone());
            let row = |(number, mut row): (usize, Vec<Value>)| {
                for input in &inputs {
                    let item = row.get(input.column).map(Value::to_text).unwrap_or_default();
                    row.extend(input.forms.iter().map(|(form, _)| text(form.of(&item))));
                }
                if self.sequence.is_some() {
                    row.push(Value::Number((number + 1).to_string()));
                }
                row
            };
            let rows = group.rows.into_iter().enumerate().map(row).collect();
            let name = names.first().cloned().unwrap_or_default();
            axes.push(Axis { name, names, points: Points::Rows(rows) });
        }
        Ok(axes)
    }

    /// Makes one group of all; the last varies fastest, as in a sweep.
    fn cross(&mut self) {
        let mut all = Group { columns: Vec::new(), width: 0, rows: vec![Vec::new()] };
        for (at, group) in std::mem::take(&mut self.groups).into_iter().enumerate() {
            let both = |row: &Vec<Value>| {
                let row = row.clone();
                group.rows.iter().map(move |more| [row.as_slice(), more].concat())
            };
            let rows = all.rows.iter().flat_map(both).collect();
            for input in self.inputs.iter_mut().filter(|input| input.group == at) {
                (input.group, input.column) = (0, input.column + all.width);
            }
            all = Group { columns: Vec::new(), width: all.width + group.width, rows };
        }
        self.groups = vec![all];
    }
}

fn text(bytes: Vec<u8>) -> Value {
    Value::String(dagrun_core::value::RawString(bytes))
}

fn template(parts: Vec<Part>) -> Template {
    Template { parts }
}

/// The name, or one like it that nothing has yet and no placeholder of its own means.
fn unused(mut name: String, taken: &mut HashSet<String>) -> String {
    while dagrun_core::parse::is_reserved(&name) || !taken.insert(name.clone()) {
        name.push('_');
    }
    name
}

fn is_there(program: &str) -> bool {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&dirs).any(|dir| dir.join(program).is_file())
}

/// How many instances there are.
pub(super) fn width(loaded: &Loaded) -> u32 {
    loaded.graph.width(TaskId(0)).unwrap_or(0)
}
