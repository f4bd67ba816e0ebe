//! Building the recipe of one task from a pipeline.

use std::os::unix::ffi::OsStrExt;

use rustc_hash::{FxHashMap, FxHashSet};

use super::Keep;
use super::given::{InputKind, InputSpec, RecipeData, RecipeError, Root, Scope};
use super::render::CHECKPOINT_DIR;
use crate::grids::Grids;
use crate::ids::TaskId;
use crate::pipeline::{Pattern, Pipeline, RunContext, Targets, Task, TaskAction};
use crate::space::Grid;
use crate::template::{Part, Placeholder, Template};
use crate::value::{RawString, Value};

/// An output path that is made of the paths of other tasks, which are made of those of others, this
/// many levels deep, is reported rather than computed: recipes must stay small in long chains.
const MAX_LEVELS: u8 = 16;

impl RecipeData {
    /// The recipe of a task. Takes time and memory for this task and those it maps or mentions.
    ///
    /// # Errors
    /// When the pipeline is not one that [`crate::graph::Graph::new`] would accept.
    pub fn new(
        pipeline: &Pipeline,
        id: TaskId,
        context: &RunContext,
    ) -> Result<RecipeData, RecipeError> {
        let task = pipeline.tasks.get(id.at()).ok_or(RecipeError::Task(id))?;
        let mut builder = Builder::new(pipeline);
        let own = builder.scope(id)?;
        let mut inputs: Vec<InputSpec> = Vec::new();
        let (mut known, mut listed) = (FxHashSet::default(), FxHashSet::default());
        let mut manifests = Vec::new();
        let mut related = Vec::new();
        for placeholder in task.placeholders() {
            let upstream = match placeholder {
                Placeholder::UpstreamValue(upstream, _)
                | Placeholder::UpstreamValueFile(upstream) => *upstream,
                Placeholder::UpstreamOut(upstream, _) if builder.computable(*upstream) => {
                    related.push(*upstream);
                    continue;
                }
                Placeholder::UpstreamOut(upstream, _) => *upstream,
                Placeholder::Manifest(upstream) => {
                    if listed.insert(*upstream) {
                        manifests.push((*upstream, builder.task(*upstream)?.name.clone()));
                    }
                    continue;
                }
                _ => continue,
            };
            if known.insert(upstream) {
                let factor = own.factor(upstream);
                inputs.push(InputSpec { task: upstream, factor, kind: InputKind::Instance });
            }
        }
        let mut gathered: Vec<(TaskId, String)> = Vec::new();
        if let TaskAction::Call(call) = &task.action {
            for upstream in call.gathered() {
                if gathered.iter().all(|(known, _)| *known != upstream) {
                    gathered.push((upstream, builder.task(upstream)?.name.clone()));
                }
            }
        }
        // A function may request its seed.
        let needs_item = !matches!(task.action, TaskAction::Run(_))
            || task.placeholders().any(|placeholder| {
                matches!(
                    placeholder,
                    Placeholder::Item(_) | Placeholder::ItemFile | Placeholder::Seed
                )
            });
        inputs.extend(own.item().filter(|_| needs_item));
        let groups = builder.makers.own(id)?.groups;
        let related = builder.related(related)?;
        let report_outputs = !task.outputs.is_empty() && !builder.computable(id);
        let mut input_names = Vec::new();
        for input in &inputs {
            let upstream = builder.task(input.task)?;
            let outputs = upstream.outputs.iter().map(|(name, _)| name.clone()).collect();
            input_names.push((upstream.name.clone(), outputs));
        }
        Ok(RecipeData {
            vars: used_vars(pipeline, task, &related),
            own,
            action: task.action.clone(),
            wrap: task.wrap.clone(),
            capture: task.capture,
            stdin: task.stdin.clone(),
            named: task
                .named_inputs()
                .map(|(name, path)| (name.to_owned(), path.clone()))
                .collect(),
            reads: task.inputs.iter().filter(|input| !input.is_literal()).cloned().collect(),
            env: task.env.clone(),
            working_dir: task.working_dir.clone(),
            timeout: task.conduct.timeout,
            grace: task.conduct.grace,
            cpus: task.conduct.slots(),
            run: context.run,
            seed: context.seed,
            run_dir: RawString(context.run_dir.as_os_str().as_bytes().to_vec()),
            base_dir: RawString(context.base_dir.as_os_str().as_bytes().to_vec()),
            grids: builder.grids,
            related,
            inputs,
            input_names,
            manifests,
            gathered,
            keep: Keep::default(),
            grouped: groups.is_some(),
            groups,
            report_outputs,
            temp: task.temp.clone(),
            checkpoint: takes_checkpoints(task),
            mark: String::new(),
        })
    }
}

/// Whether attempts of a task are likely to leave something to those after them: it has further attempts,
/// or names the directory. For all others to make one would take longer than a short task.
fn takes_checkpoints(task: &Task) -> bool {
    let names = |text: &str| text.contains(CHECKPOINT_DIR);
    let named = |template: &Template| {
        template.parts.iter().any(|part| matches!(part, Part::Literal(text) if names(text)))
    };
    let mut words = match &task.action {
        TaskAction::Run(argv) => argv.as_slice(),
        TaskAction::Shell(_) | TaskAction::Script(_) | TaskAction::Call(_) => &[],
    }
    .iter();
    task.conduct.retry.count > 0
        || task.action.script().is_some_and(names)
        || words.any(named)
        || task.wrap.iter().any(named)
}

/// The constants that the recipe needs, in the author's order.
fn used_vars(pipeline: &Pipeline, task: &Task, related: &[Scope]) -> Vec<(String, Value)> {
    if task.action.script().is_some() {
        return pipeline.vars.clone();
    }
    let outputs = related.iter().flat_map(|scope| &scope.outputs);
    let used: FxHashSet<&str> = outputs
        .flat_map(|(_, template)| template.placeholders())
        .chain(task.placeholders())
        .filter_map(|placeholder| match placeholder {
            Placeholder::Var(name, _) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    pipeline.vars.iter().filter(|(name, _)| used.contains(name.as_str())).cloned().collect()
}

struct Builder<'a> {
    pipeline: &'a Pipeline,
    makers: Grids<'a>,
    grids: Vec<(TaskId, Grid)>,
    /// Whether the paths of a task can be computed within this many levels.
    known: FxHashMap<(TaskId, u8), bool>,
}

impl<'a> Builder<'a> {
    fn new(pipeline: &'a Pipeline) -> Self {
        Builder {
            pipeline,
            makers: Grids::new(pipeline),
            grids: Vec::new(),
            known: FxHashMap::default(),
        }
    }

    fn task(&self, id: TaskId) -> Result<&'a Task, RecipeError> {
        self.pipeline.tasks.get(id.at()).ok_or(RecipeError::Task(id))
    }

    /// The width of a task's own grid.
    fn own_width(&mut self, id: TaskId) -> Result<u32, RecipeError> {
        if let Some((_, grid)) = self.grids.iter().find(|(known, _)| *known == id) {
            return Ok(grid.width());
        }
        let own = self.makers.own(id)?;
        let width = own.width();
        self.grids.extend(own.grid.map(|grid| (id, grid)));
        Ok(width)
    }

    fn scope(&mut self, id: TaskId) -> Result<Scope, RecipeError> {
        let task = self.task(id)?;
        let mut chain = vec![(id, 1u32)];
        let (mut at, mut factor) = (id, 1u32);
        while let Pattern::Map(upstream) = self.task(at)?.pattern {
            factor = factor.saturating_mul(self.own_width(at)?);
            if chain.len() > self.pipeline.tasks.len() {
                return Err(RecipeError::Task(id));
            }
            chain.push((upstream, factor));
            at = upstream;
        }
        let whole = factor.saturating_mul(self.own_width(at)?);
        chain.reverse();
        let outermost = self.task(at)?;
        let root = match outermost.pattern {
            Pattern::Scatter(_) => Root::Items(whole),
            _ if outermost.conduct.targets == Targets::Each => Root::Workers(whole),
            _ => Root::Grid,
        };
        Ok(Scope { id, name: task.name.clone(), chain, root, outputs: task.outputs.clone() })
    }

    /// Whether a task is a scatter or maps over one, directly or through others.
    fn has_items(&self, id: TaskId) -> bool {
        let mut at = id;
        // A cycle of maps is cut by the number of steps.
        for _ in &self.pipeline.tasks {
            match self.pipeline.tasks.get(at.at()).map(|task| &task.pattern) {
                Some(Pattern::Map(upstream)) => at = *upstream,
                Some(Pattern::Scatter(_)) => return true,
                _ => return false,
            }
        }
        false
    }

    /// Whether the output paths of a task follow from the index alone. All tasks must agree on the
    /// answer, since one decides what to report and the others what to expect.
    fn computable(&mut self, id: TaskId) -> bool {
        self.computable_in(id, MAX_LEVELS)
    }

    fn computable_in(&mut self, id: TaskId, levels: u8) -> bool {
        if let Some(&known) = self.known.get(&(id, levels)) {
            return known;
        }
        let Ok(task) = self.task(id) else { return false };
        let mut all = task.outputs.iter().flat_map(|(_, template)| template.placeholders());
        let computable = all.all(|placeholder| match placeholder {
            Placeholder::UpstreamValue(..)
            | Placeholder::UpstreamValueFile(_)
            | Placeholder::Item(_)
            | Placeholder::ItemFile
            | Placeholder::Attempt
            | Placeholder::Out(_) => false,
            // The instance may have run in an earlier run, whose directory then contains the
            // outputs.
            Placeholder::RunId | Placeholder::RunDir => false,
            Placeholder::Seed => !self.has_items(id),
            Placeholder::UpstreamOut(upstream, _) => {
                levels > 0 && self.computable_in(*upstream, levels - 1)
            }
            _ => true,
        });
        self.known.insert((id, levels), computable);
        computable
    }

    /// The scopes of tasks whose paths are computed, and of those of which their paths are made.
    fn related(&mut self, mut wanted: Vec<TaskId>) -> Result<Vec<Scope>, RecipeError> {
        let mut seen: FxHashSet<TaskId> = FxHashSet::default();
        let mut scopes = Vec::new();
        while let Some(id) = wanted.pop() {
            if !seen.insert(id) {
                continue;
            }
            let scope = self.scope(id)?;
            let made_of = scope.outputs.iter().flat_map(|(_, template)| template.placeholders());
            wanted.extend(made_of.filter_map(|placeholder| match placeholder {
                Placeholder::UpstreamOut(upstream, _) => Some(*upstream),
                _ => None,
            }));
            scopes.push(scope);
        }
        Ok(scopes)
    }
}
