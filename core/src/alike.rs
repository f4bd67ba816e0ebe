//! Which instances of a pipeline are those of an earlier version of it: the same task with the same
//! parameters, whose command and environment are rendered alike.
//!
//! What only decides when and where an instance runs is not compared: options such as `timeout`,
//! `retries` and `cpus`, and what it is ordered after.

use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::graph::Graph;
use crate::ids::TaskId;
use crate::pipeline::{Pattern, Pipeline, Targets, Task};
use crate::select::{Columns, Point};
use crate::template::Placeholder;
use crate::unparse::definition;
use crate::value::{Value, write_canonical_text};

/// Where the instances of a task come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// None of them was there before.
    New,
    /// All of them were, in the same places, and no other.
    Same(TaskId),
    /// Some of them were.
    Parts(TaskId, Vec<Part>),
}

/// Consecutive instances, and where they were before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first of them now.
    pub first: u32,
    /// The first of them then.
    pub then: u32,
    /// How many.
    pub count: u32,
}

impl Origin {
    /// The task of before.
    #[must_use]
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Origin::New => None,
            Origin::Same(task) | Origin::Parts(task, _) => Some(*task),
        }
    }

    /// The instances that were not there before, of a task of this width.
    #[must_use]
    pub fn fresh(&self, width: u32) -> Vec<Range<u32>> {
        let parts = match self {
            Origin::Same(_) => return Vec::new(),
            Origin::New => &[][..],
            Origin::Parts(_, parts) => parts,
        };
        let (mut next, mut fresh) = (0, Vec::new());
        for part in parts {
            if next < part.first {
                fresh.push(next..part.first);
            }
            next = part.first.saturating_add(part.count);
        }
        if next < width {
            fresh.push(next..width);
        }
        fresh
    }
}

/// Where the instances of each task of `now` come from.
///
/// Takes time in proportion to the tasks, and to the instances of those whose parameters changed.
#[must_use]
pub fn origins(then: &Pipeline, now: &Pipeline, graph: &Graph) -> Vec<Origin> {
    let names = (0..).map(TaskId).zip(&then.tasks).map(|(id, task)| (task.name.as_str(), id));
    let names: FxHashMap<&str, TaskId> = names.collect();
    let mut origins = vec![Origin::New; now.tasks.len()];
    for &task in graph.toposort() {
        let Some(found) = now.tasks.get(task.at()) else { continue };
        let Some(&before) = names.get(found.name.as_str()) else { continue };
        let pair = Pair { then, now, before, task };
        let Some(origin) = pair.origin(found, &origins) else { continue };
        if let Some(place) = origins.get_mut(task.at()) {
            *place = origin;
        }
    }
    origins
}

/// A task, and that of its name before.
struct Pair<'p> {
    then: &'p Pipeline,
    now: &'p Pipeline,
    before: TaskId,
    task: TaskId,
}

impl Pair<'_> {
    /// `None` when none of the instances was there before.
    fn origin(&self, task: &Task, known: &[Origin]) -> Option<Origin> {
        let before = self.then.tasks.get(self.before.at())?;
        let same = definition(self.then, self.before)? == definition(self.now, self.task)?
            && vars(self.then, before) == vars(self.now, task);
        if !same {
            return None;
        }
        let is_same = |task: &TaskId| matches!(known.get(task.at()), Some(Origin::Same(_)));
        let (alike, whole) = match &task.pattern {
            Pattern::Own => (true, true),
            Pattern::Map(upstream) => (true, is_same(upstream)),
            // Which elements and members an instance has follows from all those there.
            Pattern::Scatter(scatter) => (is_same(&scatter.from), true),
            gathers => (gathers.upstreams().iter().all(is_same), true),
        };
        if !alike {
            return None;
        }
        if whole && before.sweep == task.sweep {
            return Some(Origin::Same(self.before));
        }
        let parts = self.parts(task)?;
        (!parts.is_empty()).then_some(Origin::Parts(self.before, parts))
    }

    /// The instances that have the parameters of one before. Parameters that several have name none of
    /// them.
    fn parts(&self, task: &Task) -> Option<Vec<Part>> {
        let then = Keys::new(self.then, self.before)?;
        let now = Keys::new(self.now, self.task)?;
        let mut places: FxHashMap<Vec<u8>, Option<u32>> = FxHashMap::default();
        then.each(|key, index| match places.get_mut(key) {
            Some(place) => *place = None,
            None => {
                places.insert(key.to_owned(), Some(index));
            }
        });
        let by_index = uses_index(task);
        let mut parts: Vec<Part> = Vec::new();
        now.each(|key, first| {
            // Taken, so that a second instance of these parameters finds none.
            let Some(then) = places.get_mut(key).and_then(Option::take) else { return };
            if by_index && then != first {
                return;
            }
            match parts.last_mut() {
                Some(last)
                    if last.first + last.count == first && last.then + last.count == then =>
                {
                    last.count += 1;
                }
                _ => parts.push(Part { first, then, count: 1 }),
            }
        });
        Some(parts)
    }
}

/// The parameters of each instance of a task.
struct Keys(Columns);

impl Keys {
    /// `None` where the instances are not known from the pipeline.
    fn new(pipeline: &Pipeline, task: TaskId) -> Option<Keys> {
        let found = pipeline.tasks.get(task.at())?;
        let columns = Columns::new(pipeline, task).ok()?;
        let known = columns.items().is_none() && found.conduct.targets != Targets::Each;
        known.then_some(Keys(columns))
    }

    fn each(&self, mut visit: impl FnMut(&[u8], u32)) {
        let Keys(columns) = self;
        let mut params: Vec<_> = columns.params().iter().collect();
        params.sort_by(|one, other| one.name.cmp(&other.name));
        let (mut point, mut key, mut exact) = (Point::default(), Vec::new(), Vec::new());
        for index in 0..columns.inner_width() {
            columns.seek(index, &mut point);
            key.clear();
            for param in &params {
                write_canonical_text(param.name.as_bytes(), &mut key);
                exact.clear();
                columns.value(&point, param).write_canonical(&mut exact);
                write_canonical_text(&exact, &mut key);
            }
            visit(&key, index);
        }
    }
}

/// The variables that a task can see, by name: a script has all of them in its environment.
fn vars<'p>(pipeline: &'p Pipeline, task: &Task) -> Vec<(&'p str, &'p Value)> {
    let used = |name: &str| {
        let is = |placeholder: &Placeholder| matches!(placeholder, Placeholder::Var(var, _) if var == name);
        task.action.script().is_some() || task.placeholders().any(is)
    };
    let vars = pipeline.vars.iter().map(|(name, value)| (name.as_str(), value));
    let mut vars: Vec<_> = vars.filter(|(name, _)| used(name)).collect();
    vars.sort_by_key(|(name, _)| *name);
    vars
}

/// Whether what an instance does can depend on its index.
fn uses_index(task: &Task) -> bool {
    let script = task.action.script().is_some_and(|script| {
        let mut words = script.split(|of: char| !of.is_ascii_alphanumeric() && of != '_');
        words.any(|word| matches!(word, "index" | "DAGRUN_INDEX" | "DAGRUN_PARAMS"))
    });
    let is_index = |placeholder: &Placeholder| matches!(placeholder, Placeholder::Index(_));
    script || task.placeholders().any(is_index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{NoFiles, ParseOptions, parse};

    fn read(text: &str) -> Pipeline {
        let read = parse(&format!("dagrun = 1\n{text}"), &ParseOptions::default(), &NoFiles);
        read.unwrap_or_else(|problems| panic!("{text}: {problems:?}")).pipeline
    }

    fn of(then: &str, now: &str) -> Vec<Origin> {
        let (then, now) = (read(then), read(now));
        origins(&then, &now, &Graph::new(&now).unwrap())
    }

    fn same(task: u32) -> Origin {
        Origin::Same(TaskId(task))
    }

    const SIM: &str = "[task.sim]\nrun = ['sim', '{x}']\nsweep = { x = [1, 2, 3] }\n";

    #[test]
    fn options_and_order_change_nothing() {
        let now = "[task.pre]\nrun = 'true'\n[task.sim]\nrun = ['sim', '{x}']\ntimeout = 5\n\
                   retries = 2\ncpus = 2\nafter = 'pre'\nsweep = { x = [1, 2, 3] }";
        assert_eq!(of(SIM, now), [Origin::New, same(0)]);
        assert_eq!(of(SIM, SIM), [same(0)]);
    }

    #[test]
    fn what_the_task_does_is_compared() {
        let task = |lines: &str| {
            format!("[vars]\nn = 1\nm = 2\n[task.a]\nsweep = {{ x = [1, 2] }}\n{lines}")
        };
        let run = task("run = ['a', '{vars.n}']");
        for (then, now, expected) in [
            (run.clone(), run.replace("m = 2", "m = 3"), same(0)),
            (run.clone(), run.replace("n = 1", "n = 3"), Origin::New),
            (run.clone(), run.replace("'a'", "'b'"), Origin::New),
            (run.clone(), task("run = ['a', '{vars.n}']\nenv = { A = '1' }"), Origin::New),
            (run.clone(), task("run = ['a', '{vars.n}']\nstdin = 'f'"), Origin::New),
            (run.clone(), task("run = ['a', '{vars.n}']\nout.o = '{x}'"), Origin::New),
            (run.clone(), task("run = ['a', '{vars.n}']\ncapture = 'json'"), Origin::New),
            (run.clone(), task("run = ['a', '{vars.n}']\nworking-dir = 'd'"), Origin::New),
            (run.clone(), run.replace("task.a", "task.b"), Origin::New),
            // A script sees all variables.
            (
                task("shell = 'echo $n'"),
                task("shell = 'echo $n'").replace("m = 2", "m = 3"),
                Origin::New,
            ),
            (task("shell = 'echo $n'"), task("shell = 'echo  $n'"), Origin::New),
        ] {
            assert_eq!(of(&then, &now), [expected], "{now}");
        }
    }

    #[test]
    fn instances_are_found_by_their_parameters() {
        let sweep = |points: &str| SIM.replace("[1, 2, 3]", points);
        let parts = |points: &str| match of(SIM, &sweep(points)).remove(0) {
            Origin::Parts(TaskId(0), parts) => {
                parts.iter().map(|part| (part.first, part.then, part.count)).collect()
            }
            Origin::New => vec![],
            other => panic!("{other:?}"),
        };
        assert_eq!(parts("[1, 2, 3, 4]"), [(0, 0, 3)]);
        assert_eq!(parts("[0, 1, 2, 3]"), [(1, 0, 3)]);
        assert_eq!(parts("[3, 1, 2]"), [(0, 2, 1), (1, 0, 2)]);
        assert_eq!(parts("[1, 3]"), [(0, 0, 1), (1, 2, 1)]);
        assert_eq!(parts("[7, 8]"), []);
        // The text `1` is not the number.
        assert_eq!(parts("['1', '2']"), []);
        // Of two with the same parameters the first is the one.
        assert_eq!(parts("[1, 1, 2]"), [(0, 0, 1), (2, 1, 1)]);
        let fresh = of(SIM, &sweep("[0, 1, 9, 2]")).remove(0).fresh(4);
        assert_eq!(fresh, [0..1, 2..3]);
    }

    #[test]
    fn an_axis_more_changes_all_and_an_index_what_moves() {
        let more = SIM.replace("x = [1, 2, 3]", "x = [1, 2, 3], y = [1]");
        assert_eq!(of(SIM, &more), [Origin::New]);
        let indexed = SIM.replace("{x}'", "{index}'");
        let moved = indexed.replace("[1, 2, 3]", "[1, 9, 2, 3]");
        let part = Part { first: 0, then: 0, count: 1 };
        assert_eq!(of(&indexed, &moved), [Origin::Parts(TaskId(0), vec![part])]);
    }

    #[test]
    fn what_gathers_or_maps_others_is_compared_with_them() {
        let then = format!(
            "{SIM}[task.m]\nmap = 'sim'\nrun = ['m', '{{x}}']\n[task.g]\ngather = 'm'\nrun = 'g'\n"
        );
        assert_eq!(of(&then, &then), [same(0), same(1), same(2)]);
        let now = then.replace("[1, 2, 3]", "[1, 2, 3, 4]");
        let part = vec![Part { first: 0, then: 0, count: 3 }];
        let parts = |task| Origin::Parts(TaskId(task), part.clone());
        assert_eq!(of(&then, &now), [parts(0), parts(1), Origin::New]);
    }
}
