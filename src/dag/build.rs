//! From what has been recorded to a pipeline.

use std::borrow::Cow;

use dagrun_core::graph::{Graph, GraphError, collisions};
use dagrun_core::ids::TaskId;
use dagrun_core::parse::is_name;
use dagrun_core::payload::TAG;
use dagrun_core::pipeline::{
    Arg, Args, Call, Capture, Conduct, MinSuccess, Pattern, Pipeline, Task, TaskAction,
};
use dagrun_core::space::{Axis, Points, Space};
use dagrun_core::template::{Part, Placeholder, Template};
use dagrun_core::value::{RawString, Value};
use rustc_hash::FxHashMap;

use super::error::{BuildError, Problem};
use super::options::{clauses_of, problems};
use super::source::INPUTS;
use super::store::{Entry, Known, NONE, ShapeKind, Slot, Store, What};
use super::words::References;

/// The pipeline and its graph.
pub(super) fn pipeline(name: &str, store: &Store) -> Result<(Pipeline, Graph), BuildError> {
    let mut builder = Builder::new(store);
    builder.name_tasks();
    builder.variables(name);
    let tasks = (0..store.entries.len()).map(|at| builder.task(TaskId(at as u32))).collect();
    let pipeline = Pipeline { name: name.to_owned(), vars: store.vars.clone(), tasks };
    if builder.problems.is_empty() {
        let graph = builder.graph(&pipeline);
        if let Some(graph) = graph.filter(|_| builder.problems.is_empty()) {
            return Ok((pipeline, graph));
        }
    }
    Err(builder.error())
}

/// What is being made of a store.
#[derive(Debug)]
pub(super) struct Builder<'s> {
    pub(super) store: &'s Store,
    names: Vec<String>,
    ids: FxHashMap<String, TaskId>,
    /// The clauses, those of one task together.
    waits: Vec<u32>,
    problems: Vec<(Option<TaskId>, String)>,
}

impl<'s> Builder<'s> {
    fn new(store: &'s Store) -> Builder<'s> {
        let mut waits: Vec<u32> = (0..).take(store.clauses.len()).collect();
        waits.sort_by_key(|at| store.clauses[*at as usize].0);
        let problems = store.problems.clone();
        Builder { store, names: Vec::new(), ids: FxHashMap::default(), waits, problems }
    }

    pub(super) fn problem(&mut self, task: TaskId, message: impl Into<String>) {
        self.problems.push((Some(task), message.into()));
    }

    pub(super) fn name(&self, task: TaskId) -> &str {
        self.names.get(task.at()).map_or("", String::as_str)
    }

    pub(super) fn id(&self, name: &str) -> Option<TaskId> {
        self.ids.get(name).copied()
    }

    fn error(mut self) -> BuildError {
        self.problems.sort_by_key(|(task, _)| task.map_or(0, |task| u64::from(task.0) + 1));
        self.problems.dedup();
        let names = &self.names;
        let problem = |(task, message): (Option<TaskId>, String)| Problem {
            task: task.map(|task| names.get(task.at()).cloned().unwrap_or_default()),
            message,
        };
        BuildError { problems: self.problems.into_iter().map(problem).collect() }
    }

    /// Gives every task a name: those that the author gave, then those made of what tasks do.
    fn name_tasks(&mut self) {
        let store = self.store;
        self.names = vec![String::new(); store.entries.len()];
        for (at, entry) in store.entries.iter().enumerate() {
            let Some(name) = store.names.get(entry.name as usize) else { continue };
            let task = TaskId(at as u32);
            self.names[at] = name.to_string();
            if !is_name(name) {
                let message = format!(
                    "`{}` cannot name a task: names are made of letters, digits, `_` and `-`, and do not begin with a digit or `-`",
                    name.escape_debug()
                );
                self.problem(task, message);
            } else if let Some(other) = self.ids.insert(name.to_string(), task) {
                let message = format!("another task, number {}, has the same name", other.0 + 1);
                self.problem(task, message);
            }
        }
        let unnamed = |entry: &Entry| entry.name == NONE;
        let mut counts = FxHashMap::default();
        // Levels of a reduction are named after its end, which comes behind them.
        for levels in [false, true] {
            for (at, entry) in store.entries.iter().enumerate().filter(|(_, e)| unnamed(e)) {
                let task = TaskId(at as u32);
                let end = self.end_of(task);
                if end.is_some() == levels {
                    let base = match end {
                        Some(end) => Cow::Owned(format!("{}-level", self.name(end))),
                        None => self.base_name(entry),
                    };
                    let name = self.free_name(&base, &mut counts);
                    self.ids.insert(name.clone(), task);
                    self.names[at] = name;
                }
            }
        }
    }

    /// The task that ends a reduction, of which this one is a level.
    fn end_of(&self, task: TaskId) -> Option<TaskId> {
        match self.store.shape(task)?.kind {
            ShapeKind::Level(_, _, end) => Some(end),
            _ => None,
        }
    }

    /// What a task does, in a word that can be a name.
    fn base_name(&self, entry: &Entry) -> Cow<'s, str> {
        let name = match entry.what {
            What::Function(at) => self.store.functions.get(at as usize).map(|f| f.name),
            What::Program(at) => self.store.programs.get(at as usize).and_then(|program| {
                let super::command::Word::Text(word) = program.words.first()? else { return None };
                word.rsplit('/').next()
            }),
        };
        let name = name.unwrap_or_default();
        if is_name(name) {
            return Cow::Borrowed(name);
        }
        let fits = |c: char| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '_' };
        let name: String = name.chars().map(fits).collect();
        let name = name.trim_matches('_');
        match is_name(name) {
            true => Cow::Owned(name.to_owned()),
            false => Cow::Owned(format!("task{name}")),
        }
    }

    /// `base`, or `base-2` and so on where that is taken.
    fn free_name(&self, base: &str, counts: &mut FxHashMap<String, u32>) -> String {
        let mut count = counts.get(base).copied().unwrap_or(0);
        let name = loop {
            count += 1;
            let name = if count == 1 { base.to_owned() } else { format!("{base}-{count}") };
            if !self.ids.contains_key(&name) {
                break name;
            }
        };
        match counts.get_mut(base) {
            Some(known) => *known = count,
            None => drop(counts.insert(base.to_owned(), count)),
        }
        name
    }

    fn variables(&mut self, name: &str) {
        let store = self.store;
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            let message = "the name of the graph is empty or has control characters".to_owned();
            self.problems.push((None, message));
        }
        if store.entries.is_empty() {
            self.problems.push((None, "the graph has no tasks".to_owned()));
        }
        for (name, _) in store.vars.iter().filter(|(name, _)| !is_name(name)) {
            let message = format!("`{}` cannot name a variable", name.escape_debug());
            self.problems.push((None, message));
        }
    }

    fn task(&mut self, id: TaskId) -> Task {
        let store = self.store;
        let entry = store.entries[id.at()];
        // A level of a reduction is told what its end is told.
        let told = self.end_of(id).unwrap_or(id);
        let shape = store.shape(id).map(|shape| &shape.kind);
        let mut task = Task::new(self.name(id), TaskAction::Shell(String::new()));
        (task.pattern, task.sweep) = self.pattern(id, shape);
        match entry.what {
            What::Function(at) => {
                if let Some(&function) = store.functions.get(at as usize) {
                    self.call(id, &entry, function, &mut task);
                }
            }
            What::Program(at) => {
                if let Some(program) = store.programs.get(at as usize) {
                    self.program(id, program, &mut task);
                }
            }
        }
        let options = store.entries.get(told.at()).map_or(NONE, |entry| entry.options);
        if let Some(conduct) = store.options.get(options as usize) {
            self.options(id, told, conduct, &mut task);
        }
        (task.after, task.follow) = clauses_of(&store.clauses, &self.waits, told);
        let clauses = task.after.iter().chain(&task.follow);
        if clauses.clone().any(|clause| clause.upstreams.is_empty())
            && !self.problems.iter().any(|(task, _)| *task == Some(told))
        {
            self.problem(told, "it waits for an empty list of tasks");
        }
        task
    }

    fn options(&mut self, id: TaskId, told: TaskId, conduct: &Conduct, task: &mut Task) {
        task.conduct = conduct.clone();
        let gathers = !task.pattern.gathered().is_empty();
        if id == told {
            for problem in problems(conduct, gathers) {
                self.problem(id, problem);
            }
        } else {
            // It holds for the last level: all that the others made must be there.
            task.conduct.min_success = None;
            task.conduct.keep = false;
        }
        let strict = |slot: &Slot| matches!(slot, Slot::Gathered(_, false));
        let slots = self.store.args(&self.store.entries[id.at()]);
        if task.conduct.min_success.is_some() && slots.iter().any(strict) {
            let message = "with `min_success` some of the values may be missing, for which `Vec<T>` has no \
                           place: let it take `Vec<Option<T>>` or `Gathered<T>`";
            self.problem(id, message);
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
                for name in by {
                    if !self.has_param(*upstream, name) {
                        let (name, upstream) = (name.escape_debug(), self.name(*upstream));
                        self.problem(id, format!("`{name}` is no parameter of `{upstream}`"));
                    }
                }
                if by.is_empty() {
                    self.problem(id, "it gathers by no parameter: use `gather`");
                }
                (Pattern::GatherBy(*upstream, by.clone()), None)
            }
        }
    }

    /// A recorded value.
    fn constant(&mut self, task: TaskId, at: u32) -> Value {
        let payload = self.store.constants.get(at);
        if payload.first() == Some(&TAG) {
            return Value::String(RawString(payload.to_vec()));
        }
        Value::from_json(payload).unwrap_or_else(|error| {
            self.problem(task, format!("a value of its input: {error}"));
            Value::Null
        })
    }

    fn call(&mut self, id: TaskId, entry: &Entry, function: Known, task: &mut Task) {
        let slots = self.store.args(entry);
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
            self.problem(id, message);
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
        task.action = TaskAction::Call(Box::new(call));
        task.capture = Capture::Json;
        task.references = refs.order;
    }

    fn arg(&mut self, id: TaskId, slot: Slot, param: Option<&str>, refs: &mut References) -> Arg {
        match slot {
            Slot::Constant(at) => match self.store.constants.get(at) {
                payload if payload.first() == Some(&TAG) => {
                    Arg::Payload(RawString(payload.to_vec()))
                }
                _ => Arg::Value(self.constant(id, at)),
            },
            Slot::Value(upstream) => self.value_arg(id, upstream, refs),
            Slot::Values(at) => {
                let tasks = self.store.lists.get(at as usize).map_or(&[][..], Vec::as_slice);
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
            Slot::Group(at) => match self.store.shape(id).map(|shape| &shape.kind) {
                Some(ShapeKind::GatherBy(_, by)) if usize::from(at) < by.len() => {
                    placeholder(Placeholder::Param(by[usize::from(at)].clone(), Vec::new()))
                }
                _ => Arg::Value(Value::Null),
            },
            Slot::Unusable => Arg::Value(Value::Null),
        }
    }

    fn value_arg(&mut self, id: TaskId, upstream: TaskId, refs: &mut References) -> Arg {
        if !self.maps(id, upstream) {
            refs.add(upstream);
        }
        match self.value(id, upstream, Vec::new()) {
            Ok(value) => placeholder(value),
            Err(message) => {
                self.problem(id, message);
                Arg::Value(Value::Null)
            }
        }
    }

    /// The parameters of a sweep as the fields of one input; a single one of the input's name is it.
    fn params_arg(&mut self, id: TaskId, param: Option<&str>) -> Arg {
        let store = self.store;
        let Some(ShapeKind::Sweep(space, fit)) = store.shape(id).map(|shape| &shape.kind) else {
            return Arg::Params;
        };
        let param_of = |name: &String| placeholder(Placeholder::Param(name.clone(), Vec::new()));
        let names: Vec<&String> = space.axes.iter().flat_map(|axis| &axis.names).collect();
        let whole = matches!(names.as_slice(), [name] if Some(name.as_str()) == param);
        let first = space.compile().ok().filter(|grid| grid.width() > 0);
        if let Some(Err(message)) = first.map(|grid| fit(&grid.params(0), whole)) {
            self.problem(id, format!("its sweep: {message}"));
        }
        match names.as_slice() {
            [name] if whole => param_of(name),
            names => {
                Arg::Table(names.iter().map(|name| ((*name).clone(), param_of(name))).collect())
            }
        }
    }

    pub(super) fn maps(&self, task: TaskId, upstream: TaskId) -> bool {
        let shape = self.store.shape(task).map(|shape| &shape.kind);
        matches!(shape, Some(ShapeKind::Map(mapped)) if *mapped == upstream)
    }

    pub(super) fn gathers(&self, task: TaskId, upstream: TaskId) -> bool {
        match self.store.shape(task).map(|shape| &shape.kind) {
            Some(ShapeKind::Gather(arrays)) => arrays.contains(&upstream),
            Some(ShapeKind::GatherBy(array, _) | ShapeKind::Level(array, ..)) => *array == upstream,
            _ => false,
        }
    }

    pub(super) fn is_array(&self, task: TaskId) -> bool {
        let shape = self.store.shape(task).map(|shape| &shape.kind);
        !matches!(shape, None | Some(ShapeKind::Gather(_)))
    }

    /// The graph; tells what cannot be run although each task by itself can.
    fn graph(&mut self, pipeline: &Pipeline) -> Option<Graph> {
        let graph = match Graph::new(pipeline) {
            Ok(graph) => graph,
            Err(error) => {
                let problem = self.graph_problem(&error);
                self.problems.push(problem);
                return None;
            }
        };
        for (id, task) in (0..).map(TaskId).zip(&pipeline.tasks) {
            let Some(MinSuccess::Count(least)) = task.conduct.min_success else { continue };
            if let Some(most) = graph.largest_group(id, task.pattern.gathered())
                && u64::from(least) > most
            {
                let message = format!("`min_success` wants {least} to succeed, of {most}");
                self.problem(id, message);
            }
        }
        if pipeline.tasks.iter().any(|task| !task.outputs.is_empty()) {
            for collision in collisions(pipeline, &graph) {
                let message = format!(
                    "`{}` would also be written by `{}`: put {{index}}, {{key}} or a parameter into the path, or give it another",
                    collision.path.display(),
                    self.name(collision.first.task)
                );
                self.problem(collision.second.task, message);
            }
        }
        Some(graph)
    }

    fn graph_problem(&self, error: &GraphError) -> (Option<TaskId>, String) {
        match error {
            GraphError::Cycle(tasks) => {
                let first = tasks.first().copied();
                let names: Vec<_> = tasks.iter().chain(&first).map(|task| self.name(*task)).collect();
                (None, format!("tasks wait for each other: {}", names.join(" -> ")))
            }
            GraphError::Space { task, error } => (Some(*task), format!("its sweep: {error}")),
            GraphError::TooWide { task } => {
                (Some(*task), "it has more than 4294967295 instances".to_owned())
            }
            GraphError::Groups { task } => (
                Some(*task),
                "what it gathers cannot be put into groups before the run: the number of instances is not known"
                    .to_owned(),
            ),
            error @ GraphError::Dangling { .. } => (None, error.to_string()),
        }
    }
}

fn placeholder(placeholder: Placeholder) -> Arg {
    Arg::Text(Template { parts: vec![Part::Placeholder(placeholder)] })
}
