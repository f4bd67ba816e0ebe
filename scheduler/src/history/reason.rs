//! The reason for an end in words. For a skip it names the clause, and the root instance of the
//! chain with its own reason: `after price: price[17] failed: exit code 3`.

use dagrun_core::engine::{Cause, FollowProblem};
use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::payload;
use dagrun_core::pipeline::{Clause, MinSuccess, Outcomes, Pattern, Pipeline, Quantifier, Task};
use dagrun_core::status::State;
use rusqlite::Connection;
use rustc_hash::FxHashMap;

use crate::journal::read;
use crate::journal::words::cause_text;
use dagrun_schema::wire::Submission;

/// The fate of a root that did not fail.
const SUCCEEDED: &str = " succeeded";

/// At most this many tasks are named in one place.
const NAMED: usize = 8;

/// The instance that caused a skip.
pub(super) fn root(cause: Option<Cause>) -> Option<InstanceId> {
    match cause? {
        Cause::After { root, .. }
        | Cause::Upstream { root }
        | Cause::Follow { root, .. }
        | Cause::Scatter { root, .. } => Some(root),
        Cause::Attempt(_)
        | Cause::Cancelled
        | Cause::LostTooOften
        | Cause::NotStartedInTime
        | Cause::NotSelected
        | Cause::Reopened(_)
        | Cause::TakenOver { .. } => None,
    }
}

/// The sources of the reasons of one run, kept while its pages are read.
#[derive(Debug)]
pub(super) struct Reasons {
    pub(super) run: RunId,
    pipeline: Option<Pipeline>,
    /// The fates of the roots; a skip of a million instances has one root.
    roots: FxHashMap<InstanceId, String>,
}

/// The beginning of a value and what it is: `5, a number`.
fn described(value: &[u8]) -> Option<String> {
    const SHOWN: usize = 60;
    let json = payload::to_json(value).ok()?;
    let what = match json.trim_ascii_start().first()? {
        b'"' => "text",
        b'{' => "an object",
        b'[' => "an array",
        b't' | b'f' => "a boolean",
        b'n' => "null",
        _ => "a number",
    };
    let text = String::from_utf8_lossy(&json);
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    Some(match what {
        "null" => what.to_owned(),
        what => format!("{shown}{more}, {what}"),
    })
}

impl Reasons {
    /// Reasons have no names when this version cannot read the submission.
    pub(super) fn new(run: RunId, submission: &Submission) -> Reasons {
        Reasons { run, pipeline: submission.read_pipeline().ok(), roots: FxHashMap::default() }
    }

    /// The reason for an end.
    pub(super) fn of(
        &mut self,
        database: &Connection,
        task: TaskId,
        event: &read::EventRow,
    ) -> rusqlite::Result<String> {
        match (event.cause, root(event.cause)) {
            (Some(cause), Some(root)) => self.skip(database, task, cause, root),
            _ => Ok(self.own(task, event)),
        }
    }

    /// The reason for an end that no other instance caused.
    fn own(&self, task: TaskId, event: &read::EventRow) -> String {
        match event.cause {
            Some(limit @ (Cause::LostTooOften | Cause::NotStartedInTime)) => {
                cause_text(limit, self.task(task))
            }
            _ => event.own_reason(),
        }
    }

    fn skip(
        &mut self,
        database: &Connection,
        task: TaskId,
        cause: Cause,
        root: InstanceId,
    ) -> rusqlite::Result<String> {
        let because = match cause {
            Cause::After { clause, .. } => {
                let clause = self.task(task).and_then(|task| task.after.get(clause as usize));
                self.clause("after", clause)
            }
            Cause::Follow { clause, why, .. } => match self.follow(task, clause, root, why) {
                Ok(reason) => return Ok(reason),
                Err(because) => because,
            },
            Cause::Scatter { items, .. } => return self.scatter(database, task, root, items),
            _ if root.task == task => return Ok(self.out_of_reach(task)),
            _ => self.needs(task, root),
        };
        let fate = match self.roots.get(&root) {
            Some(fate) => fate.clone(),
            None => {
                let (fate, is_final) = self.fate(database, root)?;
                if is_final {
                    self.roots.insert(root, fate.clone());
                }
                fate
            }
        };
        if fate.ends_with(SUCCEEDED)
            && let Some(array) = self.through_scatter(database, task, cause, root)?
        {
            return Ok(format!("{because}: {array}"));
        }
        Ok(format!("{because}: {fate}"))
    }

    /// What is wrong with the array of an instance that succeeded and is still the root of a skip
    /// further down: the task that should have scattered it was skipped.
    fn through_scatter(
        &self,
        database: &Connection,
        task: TaskId,
        cause: Cause,
        root: InstanceId,
    ) -> rusqlite::Result<Option<String>> {
        let direct = match cause {
            Cause::After { clause, .. } => {
                let clause = self.task(task).and_then(|task| task.after.get(clause as usize));
                clause.is_some_and(|clause| clause.upstreams.contains(&root.task))
            }
            Cause::Follow { .. } => true,
            _ => false,
        };
        let tasks = self.pipeline.iter().flat_map(|pipeline| &pipeline.tasks);
        for (id, known) in (0..).map(TaskId).zip(tasks).filter(|_| !direct) {
            if !matches!(&known.pattern, Pattern::Scatter(scatter) if scatter.from == root.task) {
                continue;
            }
            let first = InstanceId { task: id, index: 0 };
            let last = read::entry(database, self.run, first, false)?.last;
            if let Some(Cause::Scatter { root: decided, items }) = last.and_then(|end| end.cause)
                && decided == root
            {
                return self.array(database, id, root, items).map(Some);
            }
        }
        Ok(None)
    }

    /// Why a task cannot follow. An `Err` is a text to which the fate of the root must be added.
    fn follow(
        &self,
        task: TaskId,
        clause: u32,
        root: InstanceId,
        why: FollowProblem,
    ) -> Result<String, String> {
        let clause = self.task(task).and_then(|task| task.follow.get(clause as usize));
        if clause.is_none() && root.task == task {
            return Ok("targets each: its worker is gone".to_owned());
        }
        let upstreams = clause.map_or(&[][..], |clause| &clause.upstreams);
        let words = self.clause("follow", clause);
        match why {
            FollowProblem::Outcome => Err(words),
            FollowProblem::SeveralWorkers => Ok(format!("{words}: they ran on several workers")),
            FollowProblem::WorkerLost => Ok(format!("{words}: its worker is gone")),
            FollowProblem::NeverRan if upstreams.contains(&root.task) => {
                Ok(format!("{words}: {} never ran on a worker", self.instance(root)))
            }
            // The followed task was itself skipped, for a reason further up.
            FollowProblem::NeverRan => match upstreams {
                [only] => Err(format!("{words}: {} never ran on a worker", self.name(*only))),
                _ => Err(format!("{words}: none of them ever ran on a worker")),
            },
        }
    }

    fn scatter(
        &self,
        database: &Connection,
        task: TaskId,
        root: InstanceId,
        items: Option<u64>,
    ) -> rusqlite::Result<String> {
        let from = match self.task(task).map(|task| &task.pattern) {
            Some(Pattern::Scatter(scatter)) => scatter.from,
            _ => root.task,
        };
        Ok(format!("needs {}: {}", self.name(from), self.array(database, task, root, items)?))
    }

    /// What is wrong with the array that `task` should have scattered.
    fn array(
        &self,
        database: &Connection,
        task: TaskId,
        root: InstanceId,
        items: Option<u64>,
    ) -> rusqlite::Result<String> {
        let most = match self.task(task).map(|task| &task.pattern) {
            Some(Pattern::Scatter(scatter)) => scatter.max_items,
            _ => None,
        };
        let name = self.name(root.task);
        Ok(match (items, most) {
            (None, _) => {
                let value = read::payload(database, self.run, root)?.and_then(|found| found.value);
                let what = value.as_deref().and_then(described);
                let what = what.map_or_else(String::new, |what| format!(", but {what}"));
                format!("{} captured no JSON array{what}", self.instance(root))
            }
            (Some(items), Some(most)) if items > u64::from(most) => {
                format!("{name} has {items} elements, max-items is {most}")
            }
            (Some(items), _) => {
                format!("{name} has {items} elements, which make too many instances")
            }
        })
    }

    /// A gather that needs more successes than there are instances.
    fn out_of_reach(&self, task: TaskId) -> String {
        let gathered = self.task(task).map_or(&[][..], |task| task.pattern.gathered());
        format!("needs {}: it has fewer instances than `min-success`", self.names(gathered))
    }

    /// The fate of an instance, and whether it is final.
    fn fate(&self, database: &Connection, root: InstanceId) -> rusqlite::Result<(String, bool)> {
        let name = self.instance(root);
        let entry = read::entry(database, self.run, root, false)?;
        let Some(event) = entry.last else { return Ok((name, false)) };
        let reason = self.own(root.task, &event);
        let fate = match event.state {
            State::Succeeded => format!("{name}{SUCCEEDED}"),
            State::Cancelled => format!("{name} was cancelled"),
            State::Failed if reason.is_empty() => format!("{name} failed"),
            State::Failed => format!("{name} failed: {reason}"),
            state => format!("{name} is {}", state.word()),
        };
        Ok((fate, event.state.is_terminal()))
    }

    /// A task as its author wrote it.
    pub(super) fn task(&self, task: TaskId) -> Option<&Task> {
        self.pipeline.as_ref()?.tasks.get(task.at())
    }

    /// A task's name.
    pub(super) fn name(&self, task: TaskId) -> &str {
        self.task(task).map_or("?", |task| task.name.as_str())
    }

    /// `price[7]`, or only the task's name where it can have one instance only.
    pub(super) fn instance(&self, instance: InstanceId) -> String {
        let name = self.name(instance.task);
        let single = self.task(instance.task).is_some_and(|task| !task.is_array());
        if single { name.to_owned() } else { format!("{name}[{}]", instance.index) }
    }

    /// `after any of a, b on failure`.
    pub(super) fn clause(&self, word: &str, clause: Option<&Clause>) -> String {
        let Some(clause) = clause else { return word.to_owned() };
        let several = clause.upstreams.len() > 1 && clause.quantifier == Quantifier::Any;
        let any = if several { "any of " } else { "" };
        let on = match clause.on {
            Outcomes::Success => "",
            Outcomes::Failure => " on failure",
            Outcomes::Finish => " on finish",
        };
        format!("{word} {any}{}{on}", self.names(&clause.upstreams))
    }

    /// The names of tasks, separated by commas; only the first of many.
    pub(super) fn names(&self, tasks: &[TaskId]) -> String {
        let names: Vec<&str> = tasks.iter().take(NAMED).map(|task| self.name(*task)).collect();
        match tasks.len() - names.len() {
            0 => names.join(", "),
            more => format!("{} and {more} more", names.join(", ")),
        }
    }

    /// The need of a task that `root` decided: its direct upstream where there is only one,
    /// otherwise the task of `root`.
    fn needs(&self, task: TaskId, root: InstanceId) -> String {
        let Some(found) = self.task(task) else { return format!("needs {}", self.name(root.task)) };
        let gathered = found.pattern.gathered();
        let mut direct: Vec<TaskId> =
            found.pattern.upstreams().iter().chain(&found.references).copied().collect();
        direct.dedup();
        let of = match direct[..] {
            [only] => self.name(only),
            _ => self.name(root.task),
        };
        match found.conduct.min_success {
            Some(least) if !gathered.is_empty() && gathered.len() == direct.len() => {
                format!("needs {} of {}", amount(least), self.names(gathered))
            }
            _ => format!("needs {of}"),
        }
    }
}

fn amount(least: MinSuccess) -> String {
    match least {
        MinSuccess::Count(count) => count.to_string(),
        MinSuccess::Part(part) if part % 100 == 0 => format!("{}%", part / 100),
        MinSuccess::Part(part) => format!("{}.{:02}%", part / 100, part % 100),
    }
}
