//! From what has been recorded to a pipeline.

use dagrun_core::check::{self, Concern};
use dagrun_core::graph::Graph;
use dagrun_core::ids::TaskId;
use dagrun_core::payload::TAG;
use dagrun_core::pipeline::{
    Arg, Args, Call, Capture, MinSuccess, Pattern, Pipeline, Task, TaskAction,
};
use dagrun_core::problem::{Problem, Syntax};
use dagrun_core::resolve::{Names, References};
use dagrun_core::space::{Axis, Points, Space};
use dagrun_core::template::{Part, Placeholder, Template};
use dagrun_core::value::{RawString, Value};
use dagrun_core::warn;

use super::error::BuildError;
use super::naming::{Named, end_of};
use super::options::clauses_of;
use super::record::{Entry, Known, Missing, NONE, Record, ShapeKind, Slot, What};
use super::source::INPUTS;

/// The pipeline and its graph.
pub(super) fn pipeline(name: &str, record: &Record) -> Result<(Pipeline, Graph), BuildError> {
    let mut builder = Builder::resolved(name, record);
    let tasks = std::mem::take(&mut builder.names.tasks);
    let pipeline = Pipeline { name: name.to_owned(), vars: record.vars.clone(), tasks };
    if builder.problems.is_empty() {
        match check::whole(&pipeline, Syntax::Rust) {
            Ok(graph) => return Ok((pipeline, graph)),
            Err(problems) => builder.problems.extend(problems.into_iter().map(located)),
        }
    }
    Err(BuildError::new(builder.problems, &pipeline.tasks))
}

/// What is allowed in the pipeline and hardly meant.
pub(super) fn warnings(name: &str, record: &Record) -> Result<Vec<super::Problem>, BuildError> {
    let builder = Builder::resolved(name, record);
    let tasks = &builder.names.tasks;
    if !builder.problems.is_empty() {
        return Err(BuildError::new(builder.problems, tasks));
    }
    let warnings = warn::warnings(&builder.names).into_iter();
    let warnings = warnings.map(|(at, problem)| (at.task(), problem)).collect();
    Ok(BuildError::new(warnings, tasks).into_problems())
}

fn located((place, problem): (Concern, Problem)) -> (Option<TaskId>, Problem) {
    let task = match place {
        Concern::Pipeline => None,
        Concern::Task(task) | Concern::MinSuccess(task) | Concern::Output(task, _) => Some(task),
    };
    (task, problem)
}

/// What is being made of a record.
#[derive(Debug)]
pub(super) struct Builder<'s> {
    pub(super) record: &'s Record,
    /// The tasks by name. They are outlined first, and given what they do when all are known.
    pub(super) names: Names<'s>,
    /// The clauses, those of one task together.
    waits: Vec<u32>,
    problems: Vec<(Option<TaskId>, Problem)>,
}

impl<'s> Builder<'s> {
    fn new(record: &'s Record) -> Builder<'s> {
        let mut waits: Vec<u32> = (0..).take(record.clauses.len()).collect();
        waits.sort_by_key(|at| record.clauses[*at as usize].0);
        let mut problems = record.problems.clone();
        let named = Named::new(record);
        problems.extend(named.problems);
        let none = || TaskAction::Shell(String::new());
        let tasks = named.names.into_iter().map(|name| Task::new(name, none())).collect();
        let names = Names::new(Syntax::Rust, tasks, named.ids, &record.vars);
        Builder { record, names, waits, problems }
    }

    /// All tasks of a record, resolved as far as they could be.
    fn resolved(name: &str, record: &'s Record) -> Builder<'s> {
        let mut builder = Builder::new(record);
        builder.whole(name);
        for task in (0..record.entries.len() as u32).map(TaskId) {
            builder.outline(task);
        }
        for (task, _, problem) in builder.names.link() {
            builder.problem(task, problem);
        }
        for task in (0..record.entries.len() as u32).map(TaskId) {
            builder.action(task);
        }
        let mut lengths = check::Lengths::default();
        for task in (0..record.entries.len() as u32).map(TaskId) {
            for (_, problem) in lengths.of_task(&builder.names, task) {
                builder.problem(task, problem);
            }
        }
        builder
    }

    pub(super) fn problem(&mut self, task: TaskId, problem: impl Into<Option<Problem>>) {
        self.problems.extend(problem.into().map(|problem| (Some(task), problem)));
    }

    fn whole(&mut self, name: &str) {
        let record = self.record;
        let vars = record.vars.iter().filter_map(|(name, _)| check::constant(name));
        let problems = check::pipeline_name(name).into_iter();
        let problems = problems.chain(check::tasks(record.entries.len(), Syntax::Rust)).chain(vars);
        self.problems.extend(problems.map(|problem| (None, problem)));
    }

    /// Gives a task all that others may refer to, its options and what it waits for.
    fn outline(&mut self, id: TaskId) {
        let record = self.record;
        let entry = record.entries[id.at()];
        // A level of a reduction has the options of its end.
        let end = end_of(record, id).unwrap_or(id);
        let shape = record.shape(id).map(|shape| &shape.kind);
        let mut task = std::mem::replace(
            &mut self.names.tasks[id.at()],
            Task::new("", TaskAction::Shell(String::new())),
        );
        (task.pattern, task.sweep) = self.pattern(id, shape);
        match entry.what {
            What::Function(_) => task.capture = Capture::Json,
            What::Program(at) => {
                if let Some(program) = record.programs.get(at as usize) {
                    task.capture = program.capture;
                    let outputs = program.outputs.iter();
                    let outputs = outputs.map(|(name, _)| (name.clone(), Template::default()));
                    task.outputs = outputs.collect();
                    task.temp = program.temp();
                    let named = (0..).zip(&program.inputs);
                    let named = named.filter_map(|(at, (name, _))| Some((name.clone()?, at)));
                    task.named = named.collect();
                }
            }
        }
        let options = record.entries.get(end.at()).map_or(NONE, |entry| entry.options);
        if let Some(conduct) = record.options.get(options as usize) {
            task.conduct = conduct.clone();
        }
        (task.after, task.follow) = clauses_of(&record.clauses, &self.waits, end);
        if id == end {
            check::options(&task, Syntax::Rust, &mut |problem| {
                self.problems.push((Some(id), problem));
            });
        } else {
            // It holds for the last level: all that the others made must be there.
            task.conduct.min_success = None;
            task.conduct.keep = false;
        }
        let gathered = record.args(&entry).iter().filter_map(|slot| match slot {
            Slot::Gathered(_, missing) => Some(*missing),
            _ => None,
        });
        let gathered: Vec<Missing> = gathered.collect();
        if !gathered.is_empty() && gathered.iter().all(|missing| *missing == Missing::Expected) {
            task.conduct.min_success.get_or_insert(MinSuccess::Count(0));
        }
        if task.conduct.min_success.is_some() && gathered.contains(&Missing::Refused) {
            let message = "with `min_success` some of the values may be missing, for which `Vec<T>` has no place";
            let help = "let it take `Vec<Option<T>>` or `Gathered<T>`";
            self.problem(id, Problem::new(message).help(help));
        }
        self.names.tasks[id.at()] = task;
    }

    /// Gives a task what it does, which may refer to all others.
    fn action(&mut self, id: TaskId) {
        let record = self.record;
        let entry = record.entries[id.at()];
        let task = &self.names.tasks[id.at()];
        for (key, clauses) in [("after", &task.after), ("follow", &task.follow)] {
            if clauses.iter().any(|clause| clause.upstreams.contains(&id)) {
                let problem = self.names.not_itself(id, id, key).err();
                self.problems.extend(problem.map(|problem| (Some(id), problem)));
            }
        }
        match entry.what {
            What::Function(at) => {
                if let Some(&function) = record.functions.get(at as usize) {
                    self.call(id, &entry, function);
                }
            }
            What::Program(at) => {
                if let Some(program) = record.programs.get(at as usize) {
                    self.program(id, program);
                }
            }
        }
    }

    /// The pattern and the sweep of a task.
    fn pattern(&mut self, id: TaskId, shape: Option<&ShapeKind>) -> (Pattern, Option<Space>) {
        match shape {
            None | Some(ShapeKind::EachWorker) => (Pattern::Own, None),
            Some(ShapeKind::Sweep(space, _)) => (Pattern::Own, Some(space.clone())),
            Some(&ShapeKind::Values(first, count, each)) => {
                let each = u32::from(each);
                let row = |at| first + at * each..first + (at + 1) * each;
                let mut row = |at| row(at).map(|at| self.constant(id, at)).collect();
                let points = Points::Rows((0..count).map(&mut row).collect());
                let names: Vec<String> =
                    INPUTS.iter().take(each as usize).map(|name| (*name).to_owned()).collect();
                let axis = Axis { name: INPUTS[0].to_owned(), names, points };
                (Pattern::Own, Some(Space { axes: vec![axis], ..Space::default() }))
            }
            Some(ShapeKind::Map(upstream)) => (Pattern::Map(*upstream), None),
            Some(ShapeKind::Scatter(scatter)) => (Pattern::Scatter(*scatter), None),
            Some(ShapeKind::Gather(arrays)) => (Pattern::Gather(arrays.clone()), None),
            Some(ShapeKind::Level(upstream, every, _)) => {
                (Pattern::GatherEvery(*upstream, *every), None)
            }
            Some(ShapeKind::GatherBy(upstream, by)) => {
                (Pattern::GatherBy(*upstream, by.clone()), None)
            }
        }
    }

    /// A recorded value.
    fn constant(&mut self, task: TaskId, at: u32) -> Value {
        let payload = self.record.constants.get(at);
        if payload.first() == Some(&TAG) {
            return Value::String(RawString(payload.to_vec()));
        }
        Value::from_json(payload).unwrap_or_else(|error| {
            self.problem(task, Problem::new(format!("a value of its input: {error}")));
            Value::Null
        })
    }

    fn call(&mut self, id: TaskId, entry: &Entry, function: Known) {
        let slots = self.record.args(entry);
        let mut refs = References::default();
        let args: Vec<Arg> = slots
            .iter()
            .enumerate()
            .map(|(at, slot)| self.arg(id, *slot, function.params.get(at).copied(), &mut refs))
            .collect();
        let complete = args.len() == function.params.len();
        if !complete && !entry.fold {
            let (takes, given) = (function.params.len(), args.len());
            let message = format!("{} takes {takes} inputs and is given {given}", function.name);
            self.problem(id, Problem::new(message));
        }
        let args = match complete && !entry.fold {
            true => {
                let names = function.params.iter().map(|name| (*name).to_owned());
                Args::Named(names.zip(args).collect())
            }
            false => Args::Listed(args),
        };
        let (signature, fold) = (Some(function.signature), entry.fold);
        let call = Call { function: function.name.to_owned(), signature, args, fold };
        let task = &mut self.names.tasks[id.at()];
        task.action = TaskAction::Call(Box::new(call));
        task.references = refs.into_tasks();
    }

    fn arg(&mut self, id: TaskId, slot: Slot, param: Option<&str>, refs: &mut References) -> Arg {
        match slot {
            Slot::Constant(at) => match self.record.constants.get(at) {
                payload if payload.first() == Some(&TAG) => {
                    Arg::Payload(RawString(payload.to_vec()))
                }
                _ => Arg::Value(self.constant(id, at)),
            },
            Slot::Value(upstream) => self.value_arg(id, upstream, refs),
            Slot::Values(at) => {
                let tasks = self.record.lists.get(at as usize).map_or(&[][..], Vec::as_slice);
                match tasks {
                    [] => Arg::Value(Value::List(Vec::new())),
                    tasks => Arg::List(
                        tasks.iter().map(|task| self.value_arg(id, *task, refs)).collect(),
                    ),
                }
            }
            Slot::Gathered(upstream, _) => Arg::Gathered(upstream),
            Slot::Input(at) => {
                let name = INPUTS[usize::from(at).min(INPUTS.len() - 1)];
                placeholder(Placeholder::Param(name.to_owned(), Vec::new()))
            }
            Slot::Item => placeholder(Placeholder::Item(Vec::new())),
            Slot::Params => self.params_arg(id, param),
            Slot::Group(at) => match self.record.shape(id).map(|shape| &shape.kind) {
                Some(ShapeKind::GatherBy(_, by)) if usize::from(at) < by.len() => {
                    placeholder(Placeholder::Param(by[usize::from(at)].clone(), Vec::new()))
                }
                _ => Arg::Value(Value::Null),
            },
            Slot::Unusable => Arg::Value(Value::Null),
        }
    }

    fn value_arg(&mut self, id: TaskId, upstream: TaskId, refs: &mut References) -> Arg {
        match self.names.value(id, upstream, Vec::new()) {
            Ok(value) => {
                self.names.reference(id, &value).into_iter().for_each(|task| refs.add(task));
                placeholder(value)
            }
            Err(problem) => {
                self.problem(id, problem);
                Arg::Value(Value::Null)
            }
        }
    }

    /// The parameters of a sweep as the fields of one input; a single one of the input's name is it.
    fn params_arg(&mut self, id: TaskId, param: Option<&str>) -> Arg {
        let record = self.record;
        let Some(ShapeKind::Sweep(space, fit)) = record.shape(id).map(|shape| &shape.kind) else {
            return Arg::Params;
        };
        let param_of = |name: &String| placeholder(Placeholder::Param(name.clone(), Vec::new()));
        let names: Vec<&String> = space.axes.iter().flat_map(|axis| &axis.names).collect();
        let whole = matches!(names.as_slice(), [name] if Some(name.as_str()) == param);
        let first = space.compile().ok().filter(|grid| grid.width() > 0);
        if let Some(Err(message)) = first.map(|grid| fit(&grid.params(0), whole)) {
            self.problem(id, Problem::new(format!("its sweep: {message}")));
        }
        match names.as_slice() {
            [name] if whole => param_of(name),
            names => {
                Arg::Table(names.iter().map(|name| ((*name).clone(), param_of(name))).collect())
            }
        }
    }
}

fn placeholder(placeholder: Placeholder) -> Arg {
    Arg::Text(Template { parts: vec![Part::Placeholder(placeholder)] })
}
