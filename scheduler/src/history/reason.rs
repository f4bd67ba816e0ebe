//! The reason of a skip in words: the clause, and the instance at the beginning of the chain with
//! its own reason. `after price: price[17] failed: exit code 3`.

use dagrun_core::engine::{Cause, RunPlan};
use dagrun_core::graph::Graph;
use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::pipeline::{Clause, Outcomes, Pipeline, Quantifier, Task};
use dagrun_core::status::State;
use rusqlite::Connection;
use rustc_hash::FxHashMap;

use super::journal;
use crate::submission::Submission;

/// The instance that decided a skip.
pub(super) fn root(cause: Option<Cause>) -> Option<InstanceId> {
    match cause? {
        Cause::After { root, .. }
        | Cause::Upstream { root }
        | Cause::Follow { root, .. }
        | Cause::Scatter { root, .. } => Some(root),
        Cause::Attempt(_) | Cause::Cancelled | Cause::LostTooOften | Cause::NotStartedInTime => {
            None
        }
    }
}

/// What the reasons of one run are made of, kept while its pages are read.
#[derive(Debug)]
pub(super) struct Reasons {
    pub(super) run: RunId,
    pipeline: Option<Pipeline>,
    plan: RunPlan,
    /// What became of the roots; a skip of a million instances has one.
    roots: FxHashMap<InstanceId, String>,
}

impl Reasons {
    /// A submission that this version cannot read gives reasons without names.
    pub(super) fn new(run: RunId, submission: &Submission) -> Reasons {
        let pipeline = submission.read_pipeline().ok();
        let plan = pipeline
            .as_ref()
            .and_then(|pipeline| Some(Graph::new(pipeline).ok()?.plan(pipeline, false)))
            .unwrap_or_default();
        Reasons { run, pipeline, plan, roots: FxHashMap::default() }
    }

    /// The reason of a skip of an instance of `task`.
    pub(super) fn skip(
        &mut self,
        database: &Connection,
        task: TaskId,
        cause: Option<Cause>,
        root: InstanceId,
    ) -> rusqlite::Result<String> {
        let fate = match self.roots.get(&root) {
            Some(fate) => fate.clone(),
            None => {
                let fate = self.fate(database, root)?;
                // A root that is not terminal yet may still change.
                self.roots.insert(root, fate.clone());
                fate
            }
        };
        let because = match cause {
            Some(Cause::After { clause, .. }) => self.clause(task, clause),
            _ => format!("needs {}", self.upstream(task, root)),
        };
        Ok(format!("{because}: {fate}"))
    }

    fn fate(&self, database: &Connection, root: InstanceId) -> rusqlite::Result<String> {
        let name = self.instance(root);
        let entry = journal::entry(database, self.run, root, false)?;
        let Some(event) = entry.last else { return Ok(name) };
        let reason = event.own_reason();
        Ok(match event.state {
            State::Succeeded => format!("{name} succeeded"),
            State::Cancelled => format!("{name} was cancelled"),
            State::Failed if reason.is_empty() => format!("{name} failed"),
            State::Failed => format!("{name} failed: {reason}"),
            state => format!("{name} is {}", state.word()),
        })
    }

    fn task(&self, task: TaskId) -> Option<&Task> {
        self.pipeline.as_ref()?.tasks.get(task.at())
    }

    fn name(&self, task: TaskId) -> &str {
        self.task(task).map_or("?", |task| task.name.as_str())
    }

    /// `price[7]`, or the task's name alone where it can have but one instance.
    fn instance(&self, instance: InstanceId) -> String {
        let name = self.name(instance.task);
        let single = self.task(instance.task).is_some_and(|task| !task.is_array());
        if single { name.to_owned() } else { format!("{name}[{}]", instance.index) }
    }

    fn clause(&self, task: TaskId, number: u32) -> String {
        let plan = self.plan.tasks.get(task.at());
        let Some((clause, implied)) =
            plan.and_then(|plan| Some((plan.clauses.get(number as usize)?, number < plan.implied)))
        else {
            return "after".to_owned();
        };
        let names = self.names(clause);
        if implied {
            return format!("needs {names}");
        }
        let any = if clause.quantifier == Quantifier::Any { "any of " } else { "" };
        let on = match clause.on {
            Outcomes::Success => "",
            Outcomes::Failure => " on failure",
            Outcomes::Finish => " on finish",
        };
        format!("after {any}{names}{on}")
    }

    fn names(&self, clause: &Clause) -> String {
        let names: Vec<&str> = clause.upstreams.iter().map(|task| self.name(*task)).collect();
        names.join(", ")
    }

    /// The direct upstream through which `root` decided, as far as it can be told.
    fn upstream(&self, task: TaskId, root: InstanceId) -> &str {
        let Some(plan) = self.plan.tasks.get(task.at()) else { return self.name(root.task) };
        let implied = plan.clauses.iter().take(plan.implied as usize);
        let mut direct: Vec<TaskId> =
            implied.flat_map(|clause| clause.upstreams.iter().copied()).collect();
        direct.extend(plan.map.map(|edge| edge.upstream));
        match direct[..] {
            [only] => self.name(only),
            _ => self.name(root.task),
        }
    }
}
