//! Files that tasks read and that are not there, as far as their paths are known before the run.

use std::collections::hash_map::Entry;
use std::fmt;
use std::path::PathBuf;

use rustc_hash::FxHashMap;

use super::Graph;
use crate::ids::TaskId;
use crate::pipeline::{Pipeline, RunContext, Task};
use crate::recipe::Recipe;
use crate::template::{Part, Placeholder, Template};
use crate::url;

/// So many paths are looked for at most.
const LOOKED_FOR: u32 = 100_000;

/// An input of a task that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The task.
    pub task: TaskId,
    /// Its position among the inputs.
    pub input: usize,
    /// The path of the first instance whose input is missing.
    pub path: String,
    /// How many other paths of this input are missing.
    pub others: u32,
    /// Why it is not known whether it is there.
    pub why: Option<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = url::redacted(&self.path);
        match (&self.why, self.others) {
            (Some(why), _) => write!(f, "cannot look for input `{path}`: {why}"),
            (None, 0) => write!(f, "input `{path}` is missing"),
            (None, others) => write!(f, "input `{path}` is missing, and {others} more like it"),
        }
    }
}

/// Inputs that are not there; with `of_instances` only those whose paths have placeholders. What
/// other tasks make, and what only the run knows, is not looked for.
#[must_use]
pub fn missing(
    pipeline: &Pipeline,
    graph: &Graph,
    of_instances: bool,
    exists: &dyn Fn(&str) -> Result<bool, String>,
) -> Vec<Missing> {
    let mut search = Search { exists, known: FxHashMap::default(), left: LOOKED_FOR };
    let mut found = Vec::new();
    // A path is rendered as that of an output is.
    let mut rendered: Option<Pipeline> = None;
    for (id, task) in (0..).map(TaskId).zip(&pipeline.tasks) {
        for (input, template) in task.inputs.iter().enumerate() {
            let missing = match template.parts.as_slice() {
                [Part::Literal(_)] if of_instances => None,
                [Part::Literal(path)] => search.look(path),
                _ if !is_static(template) => None,
                _ => {
                    let clone = rendered.get_or_insert_with(|| pipeline.clone());
                    let width = graph.width(id).unwrap_or(0);
                    search.instances(clone, id, task, template, width)
                }
            };
            found.extend(missing.map(|missing| Missing { task: id, input, ..missing }));
        }
    }
    found
}

/// Whether a path is known before the run, and nothing that the run makes.
fn is_static(template: &Template) -> bool {
    template.placeholders().all(|placeholder| {
        matches!(
            placeholder,
            Placeholder::Param(..)
                | Placeholder::Var(..)
                | Placeholder::Index(_)
                | Placeholder::Key
        )
    })
}

struct Search<'s> {
    exists: &'s dyn Fn(&str) -> Result<bool, String>,
    known: FxHashMap<String, bool>,
    left: u32,
}

impl Search<'_> {
    /// A path that is not there.
    fn look(&mut self, path: &str) -> Option<Missing> {
        let missing =
            |why| Missing { task: TaskId(0), input: 0, path: path.to_owned(), others: 0, why };
        match self.known.entry(path.to_owned()) {
            Entry::Occupied(known) => (!known.get()).then(|| missing(None)),
            Entry::Vacant(place) => match (self.exists)(path) {
                Ok(is_there) => {
                    place.insert(is_there);
                    (!is_there).then(|| missing(None))
                }
                Err(why) => {
                    // Said once.
                    place.insert(true);
                    Some(missing(Some(why)))
                }
            },
        }
    }

    fn instances(
        &mut self,
        pipeline: &mut Pipeline,
        id: TaskId,
        task: &Task,
        template: &Template,
        width: u32,
    ) -> Option<Missing> {
        let run_dir = PathBuf::from("{run.dir}");
        let context = RunContext { run: 0, run_dir, base_dir: PathBuf::new(), seed: 0 };
        pipeline.tasks.get_mut(id.at())?.outputs = vec![("in".to_owned(), template.clone())];
        let recipe = Recipe::new(pipeline, id, &context).ok();
        pipeline.tasks.get_mut(id.at())?.outputs.clone_from(&task.outputs);
        let recipe = recipe.filter(|recipe| !recipe.reports_outputs())?;
        let mut first: Option<Missing> = None;
        let mut seen = rustc_hash::FxHashSet::default();
        for index in 0..width {
            let path = recipe.output_text(index, 0).ok()?;
            // A name that is no text is not looked for here; its attempt is.
            let Ok(path) = String::from_utf8(path) else { continue };
            if !seen.insert(path.clone()) {
                continue;
            }
            self.left = self.left.checked_sub(1)?;
            match (self.look(&path), &mut first) {
                (None, _) => {}
                (Some(missing), None) => first = Some(missing),
                (Some(_), Some(first)) => first.others += 1,
            }
        }
        first
    }
}
