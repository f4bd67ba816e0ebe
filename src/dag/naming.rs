//! The names of tasks: those that the author gave, then those made of what tasks do.

use std::borrow::Cow;

use dagrun_core::check;
use dagrun_core::ids::TaskId;
use dagrun_core::parse::is_name;
use dagrun_core::problem::Problem;
use dagrun_worker::function::shelf::BUILT_IN;
use rustc_hash::FxHashMap;

use super::command::Word;
use super::record::{Entry, NONE, Record, ShapeKind, What};

/// The names of all tasks.
#[derive(Debug)]
pub(super) struct Named<'s> {
    record: &'s Record,
    /// By task.
    pub(super) names: Vec<String>,
    /// By name.
    pub(super) ids: FxHashMap<Cow<'s, str>, TaskId>,
    /// What is wrong with those that were given.
    pub(super) problems: Vec<(Option<TaskId>, Problem)>,
}

impl<'s> Named<'s> {
    pub(super) fn new(record: &'s Record) -> Named<'s> {
        let names = vec![String::new(); record.entries.len()];
        let mut named = Named { record, names, ids: FxHashMap::default(), problems: Vec::new() };
        named.given();
        named.made();
        named
    }

    fn given(&mut self) {
        let record = self.record;
        for (at, entry) in record.entries.iter().enumerate() {
            let Some(name) = record.names.get(entry.name as usize) else { continue };
            let task = TaskId(at as u32);
            self.names[at] = name.to_string();
            let problem = match check::name(name, "task") {
                Some(problem) => Some(problem),
                None => self.ids.insert(Cow::Borrowed(name), task).map(|other| {
                    let other = other.0 + 1;
                    Problem::new(format!("another task, number {other}, has the same name"))
                }),
            };
            self.problems.extend(problem.map(|problem| (Some(task), problem)));
        }
    }

    fn made(&mut self) {
        let record = self.record;
        let unnamed = |entry: &Entry| entry.name == NONE;
        let mut counts = FxHashMap::default();
        // Levels of a reduction are named after its end, which comes behind them.
        for levels in [false, true] {
            for (at, entry) in record.entries.iter().enumerate().filter(|(_, e)| unnamed(e)) {
                let task = TaskId(at as u32);
                let end = end_of(record, task);
                if end.is_some() == levels {
                    let base = match end {
                        Some(end) => Cow::Owned(format!("{}-level", self.names[end.at()])),
                        None => base_name(record, entry),
                    };
                    let name = self.free_name(&base, &mut counts);
                    self.ids.insert(Cow::Owned(name.clone()), task);
                    self.names[at] = name;
                }
            }
        }
    }

    /// `base`, or `base-2` and so on where that is taken.
    fn free_name(&self, base: &str, counts: &mut FxHashMap<String, u32>) -> String {
        let mut count = counts.get(base).copied().unwrap_or(0);
        let name = loop {
            count += 1;
            let name = if count == 1 { base.to_owned() } else { format!("{base}-{count}") };
            if !self.ids.contains_key(name.as_str()) {
                break name;
            }
        };
        match counts.get_mut(base) {
            Some(known) => *known = count,
            None => drop(counts.insert(base.to_owned(), count)),
        }
        name
    }
}

/// The task that ends a reduction, of which this one is a level.
pub(super) fn end_of(record: &Record, task: TaskId) -> Option<TaskId> {
    match record.shape(task)?.kind {
        ShapeKind::Level(_, _, end) => Some(end),
        _ => None,
    }
}

/// What a task does, in a word that can be a name.
fn base_name<'s>(record: &'s Record, entry: &Entry) -> Cow<'s, str> {
    let name = match entry.what {
        What::Function(at) => record.functions.get(at as usize).map(|f| f.name),
        What::Program(at) => record.programs.get(at as usize).and_then(|program| {
            let Word::Text(word) = program.words.first()? else { return None };
            word.rsplit('/').next()
        }),
    };
    // Functions that every worker has are known to users by what follows.
    let name = name.map(|name| name.strip_prefix(BUILT_IN).unwrap_or(name)).unwrap_or_default();
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
