//! What a [`super::Dag`] holds: one short entry for each task, and side tables for what few tasks have.
//!
//! Graphs of a million irregular tasks are built here, so an entry and its arguments take a few dozen
//! bytes: arguments are words of 8 bytes in one long column, constants stand one after another in one
//! arena, and what is not set for a task takes no memory.

use std::any::TypeId;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dagrun_core::ids::TaskId;
use dagrun_core::payload;
use dagrun_core::pipeline::{Clause, Conduct, Scatter};
use dagrun_core::problem::Problem;
use dagrun_core::space::Space;
use dagrun_core::value::Value;
use dagrun_worker::function::TaskFn;
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::TaskRef;
use super::command::Program;
use super::fit::Fit;

/// What all clones of a [`super::Dag`] and its handles share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: String,
    /// No other graph of this program has it.
    pub(super) id: u64,
    record: Mutex<Record>,
}

impl Shared {
    pub(super) fn new(name: String) -> Shared {
        static GRAPHS: AtomicU64 = AtomicU64::new(0);
        let id = GRAPHS.fetch_add(1, Ordering::Relaxed);
        Shared { name, id, record: Mutex::default() }
    }

    /// What was recorded stays sound when a value panics while it is being written.
    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that has been recorded.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) entries: Vec<Entry>,
    /// The arguments of all calls, one task's after another's.
    pub(super) slots: Vec<Slot>,
    pub(super) constants: Constants,
    pub(super) functions: Vec<Known>,
    by_type: FxHashMap<TypeId, u32>,
    /// The function that was looked up last: most tasks call the same few.
    last: Option<(TypeId, u32)>,
    pub(super) shapes: Vec<Shape>,
    pub(super) lists: Vec<Vec<TaskId>>,
    pub(super) names: Vec<Box<str>>,
    pub(super) options: Vec<Conduct>,
    /// The clauses of `after` and `follow`, each with its task, in the order in which they were given.
    pub(super) clauses: Vec<(TaskId, Wait)>,
    pub(super) programs: Vec<Program>,
    pub(super) vars: Vec<(String, Value)>,
    pub(super) problems: Vec<(Option<TaskId>, Problem)>,
}

/// A task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) what: What,
    /// Its first argument among the slots.
    pub(super) first: u32,
    /// How its instances relate to those of others; [`NONE`] is a single task.
    pub(super) shape: u32,
    /// Its name; [`NONE`] is one made of what it does.
    pub(super) name: u32,
    /// [`NONE`]: none are set.
    pub(super) options: u32,
    /// How many arguments.
    pub(super) args: u8,
    /// Whether the function is folded over its only argument.
    pub(super) fold: bool,
}

/// No position in a side table.
pub(super) const NONE: u32 = u32::MAX;

/// What a task does, by its position in a side table.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Function(u32),
    Program(u32),
}

/// An argument of a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot {
    /// Position among the constants.
    Constant(u32),
    /// The value of a single task, or of the instance that is mapped.
    Value(TaskId),
    /// The values of several single tasks; position among the lists.
    Values(u32),
    /// All values of an array, and what becomes of instances that have none.
    Gathered(TaskId, Missing),
    /// The parameters of the task's sweep.
    Params,
    /// A parameter of a map over values, by its position.
    Input(u8),
    /// The parameter of a group, by its position among those that make the groups.
    Group(u8),
    /// What a scatter gives.
    Item,
    /// What cannot be given, which has been reported.
    Unusable,
}

/// What becomes of gathered instances that have no value.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The input has no place for them.
    Refused,
    /// The input has a place for them, if `min_success` allows them.
    Allowed,
    /// The input is of a type for those that expect them: they are allowed unless `min_success` says otherwise.
    Expected,
}

/// How the instances of a task relate to those of others.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) kind: ShapeKind,
    /// How many instances, where that is known while the graph is built.
    pub(super) width: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) enum ShapeKind {
    /// And whether a point fits the function's input.
    Sweep(Space, Fit),
    /// Instances that are given constants: the first of these, how many instances, and how many for each.
    Values(u32, u32, u8),
    Map(TaskId),
    Scatter(Scatter),
    Gather(Vec<TaskId>),
    GatherBy(TaskId, Vec<String>),
    /// A level of a reduction that another task ends.
    Level(TaskId, u32, TaskId),
    EachWorker,
}

/// A clause of `after` or `follow`.
#[derive(Clone, Debug)]
pub(super) enum Wait {
    After(Clause),
    Follow(Clause),
}

/// A function that tasks call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) params: &'static [&'static str],
    pub(super) signature: u64,
}

/// Payloads, one after another.
#[derive(Debug, Default)]
pub(super) struct Constants {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Constants {
    pub(super) fn push(&mut self, payload: &[u8]) -> u32 {
        self.bytes.extend_from_slice(payload);
        self.ends.push(self.bytes.len());
        position(self.ends.len() - 1)
    }

    pub(super) fn get(&self, at: u32) -> &[u8] {
        let at = at as usize;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let range = start.unwrap_or(0)..self.ends.get(at).copied().unwrap_or(0);
        self.bytes.get(range).unwrap_or_default()
    }

    pub(super) fn count(&self) -> u32 {
        position(self.ends.len())
    }

    fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

/// A length as a position; the memory for more does not exist.
pub(super) fn position(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(NONE - 1)
}

impl Record {
    /// The position of a function, which is noted when it is new.
    pub(super) fn function<F: TaskFn>(&mut self, function: F) -> u32 {
        let id = TypeId::of::<F>();
        if let Some((last, at)) = self.last
            && last == id
        {
            return at;
        }
        let functions = &mut self.functions;
        let at = *self.by_type.entry(id).or_insert_with(|| {
            let signature = function.signature();
            functions.push(Known { name: F::NAME, params: F::PARAMS, signature });
            position(functions.len() - 1)
        });
        self.last = Some((id, at));
        at
    }

    /// Notes a task; its arguments are the slots from `first` on.
    pub(super) fn push(&mut self, what: What, first: u32, shape: Option<Shape>) -> TaskId {
        let shape = shape.map_or(NONE, |shape| {
            self.shapes.push(shape);
            position(self.shapes.len() - 1)
        });
        let args = u8::try_from(self.slots.len() - first as usize).unwrap_or(u8::MAX);
        let (name, options, fold) = (NONE, NONE, false);
        self.entries.push(Entry { what, first, shape, name, options, args, fold });
        TaskId(position(self.entries.len() - 1))
    }

    /// The task that the next call of [`Record::push`] makes.
    pub(super) fn next(&self) -> TaskId {
        TaskId(position(self.entries.len()))
    }

    pub(super) fn args(&self, entry: &Entry) -> &[Slot] {
        let first = entry.first as usize;
        self.slots.get(first..first + usize::from(entry.args)).unwrap_or_default()
    }

    pub(super) fn shape(&self, task: TaskId) -> Option<&Shape> {
        let entry = self.entries.get(task.at())?;
        self.shapes.get(entry.shape as usize)
    }

    /// How many instances an array has, if that is known while the graph is built.
    pub(super) fn width(&self, task: TaskId) -> Option<u32> {
        self.shape(task)?.width
    }

    pub(super) fn problem(&mut self, task: TaskId, problem: impl Into<Problem>) {
        self.problems.push((Some(task), problem.into()));
    }

    /// Changes the options of a task. Tasks with the same options share them.
    pub(super) fn change(&mut self, task: TaskId, change: impl FnOnce(&mut Conduct)) {
        /// How many of the latest are compared.
        const NEAR: usize = 8;
        let Some(entry) = self.entries.get_mut(task.at()) else { return };
        let mut options = self.options.get(entry.options as usize).cloned().unwrap_or_default();
        change(&mut options);
        let near = self.options.len().saturating_sub(NEAR);
        let known = self.options[near..].iter().position(|known| *known == options);
        entry.options = position(known.map_or(self.options.len(), |at| near + at));
        if known.is_none() {
            self.options.push(options);
        }
    }

    /// The bytes that have been reserved, names and side tables by their own size only.
    pub(super) fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.constants.memory()
            + self.names.iter().map(|name| name.len() + size_of::<Box<str>>()).sum::<usize>()
            + self.shapes.capacity() * size_of::<Shape>()
            + self.options.capacity() * size_of::<Conduct>()
            + self.clauses.capacity() * size_of::<(TaskId, Wait)>()
            + self.programs.capacity() * size_of::<Program>()
    }
}

/// What writes arguments down.
#[derive(Debug)]
pub struct Recorder<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) record: &'a mut Record,
}

impl Recorder<'_> {
    /// The task of a handle; reports one of another graph.
    pub(super) fn own(&mut self, other: &TaskRef) -> Option<TaskId> {
        if Arc::ptr_eq(self.shared, &other.dag) {
            return Some(other.task);
        }
        let message = format!(
            "it is given a handle of another graph, `{}`: a task can only use what its own graph makes",
            other.dag.name
        );
        let task = self.record.next();
        self.record.problem(task, message);
        None
    }

    /// Notes a value; reports one that cannot be written.
    pub(super) fn constant<T: Serialize + 'static>(&mut self, value: &T) -> Option<u32> {
        match payload::encode(value) {
            Ok(payload) => Some(self.record.constants.push(&payload)),
            Err(error) => {
                let task = self.record.next();
                self.record.problem(task, format!("a value of its input: {error}"));
                None
            }
        }
    }

    pub(super) fn push(&mut self, slot: Slot) {
        self.record.slots.push(slot);
    }
}
