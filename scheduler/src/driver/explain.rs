//! What the state machine knows about instances at present, with the names of workers: for
//! `explain` and `status`.

use std::borrow::Cow;
use std::sync::Arc;

use dagrun_core::engine::{Explanation, NotStarted, RunPlan, Shortage, TaskPlan, WorkerInfo};
use dagrun_core::ids::{InstanceId, RunId, TaskId, WorkerId};
use dagrun_core::offer::{Offer, amount_of_memory};
use dagrun_core::pipeline::Targets;
use dagrun_core::status::{InstanceRow, RunStatus, State};
use rustc_hash::FxHashMap;

use super::SchedulerCore;
use crate::history::{Situation, rfc3339};

/// Functions that are listed when the one asked for is missing.
const SHOWN: usize = 12;

impl SchedulerCore {
    /// Why no worker that is present could make some call of the plan: the task, and the reason.
    /// Without workers there is no reason, since suitable ones may still join.
    pub(crate) fn lacks_function(&self, plan: &RunPlan) -> Option<(TaskId, String)> {
        let infos: Vec<&WorkerInfo> = self.workers.values().map(|worker| &worker.info).collect();
        if infos.is_empty() {
            return None;
        }
        let mut tasks = (0..).map(TaskId).zip(&plan.tasks);
        tasks.find_map(|(id, task)| Some((id, without_function(task, &infos)?)))
    }

    /// What is known about an instance; `None` when it or its run is unknown.
    pub(crate) fn situation(&self, run: RunId, instance: InstanceId) -> Option<Situation> {
        let explanation = self.engine.explain(run, instance)?;
        let worker = match &explanation {
            Explanation::Leased { worker, .. } => self.workers.get(worker),
            _ => None,
        };
        let hindrance = match &explanation {
            Explanation::Ready(why) => {
                self.hindrance(run, instance.task, Some(instance.index), why)
            }
            _ => None,
        };
        let worker = worker.map(|worker| worker.info.name.clone());
        Some(Situation { explanation, worker, hindrance })
    }

    /// Adds to each task the progress of its running attempts, and the reason when its ready
    /// instances can never start.
    pub(crate) fn annotate(&self, status: &mut RunStatus) {
        for (worker, live) in &self.workers {
            for (attempt, thousandths) in live.progress() {
                let holder = self.engine.instance_of(*worker, attempt);
                let task = holder.filter(|(run, _)| *run == status.run).map(|(_, it)| it.task);
                if let Some(task) = task.and_then(|task| status.tasks.get_mut(task.at())) {
                    task.partial = task.partial.saturating_add(thousandths);
                }
            }
        }
        for (id, task) in (0..).map(TaskId).zip(&mut status.tasks) {
            if task.counts.of(State::Ready) + task.counts.of(State::Backoff) > 0
                && let Some(note) = self.note(status.run, id)
            {
                task.note = note;
            }
        }
    }

    fn note(&self, run: RunId, task: TaskId) -> Option<String> {
        let why = self.engine.stuck(run, task)?;
        Some(match self.hindrance(run, task, None, &why) {
            Some(unsuited) => unsuited,
            None => "no worker is present".to_owned(),
        })
    }

    /// Puts the present state into rows whose instances have not ended according to the journal.
    pub(crate) fn overlay(&self, run: RunId, rows: &mut [InstanceRow]) {
        let mut notes: FxHashMap<TaskId, Option<String>> = FxHashMap::default();
        for row in rows.iter_mut().filter(|row| !row.state.is_terminal()) {
            match self.engine.state(run, row.instance) {
                // It has ended, but that is not on disk yet.
                Some(state) if state.is_terminal() => row.state = State::Leased,
                Some(state) => row.state = state,
                None => {}
            }
            let task = row.instance.task;
            if row.state == State::Ready
                && let Some(note) = notes.entry(task).or_insert_with(|| self.note(run, task))
            {
                row.reason.clone_from(note);
            }
        }
    }

    /// What keeps ready instances from starting, where it takes names of workers to say that.
    fn hindrance(
        &self,
        run: RunId,
        task: TaskId,
        instance: Option<u32>,
        why: &NotStarted,
    ) -> Option<String> {
        let grown = self.engine.grown_memory(run, task, instance);
        match why {
            NotStarted::NoneSuits { .. } => self.unsuited(run, task, grown),
            NotStarted::Busy { .. } => grown.map(|grown| {
                format!("after an end for memory it asks for {}", amount_of_memory(grown))
            }),
            NotStarted::Short(workers) => {
                let short = workers
                    .iter()
                    .map(|one| format!("{} {}", self.names(&[one.worker]), shortage(one)));
                Some(short.collect::<Vec<_>>().join("; "))
            }
            NotStarted::Choosy { failed, lacking, until } => {
                let mut reasons = Vec::new();
                if !failed.is_empty() {
                    let until = until.map(|until| format!(" until {}", rfc3339(until)));
                    let until = until.unwrap_or_default();
                    reasons.push(format!("it failed on {}{until}", self.names(failed)));
                }
                if !lacking.is_empty() {
                    let lack = if lacking.len() == 1 { "lacks" } else { "lack" };
                    reasons.push(format!("{} {lack} what it executes", self.names(lacking)));
                }
                let reasons = reasons.join(", and ");
                Some(format!("it waits for another worker, which is busy: {reasons}"))
            }
            _ => None,
        }
    }

    /// The names of workers; only the first of many.
    fn names(&self, workers: &[WorkerId]) -> String {
        let present = workers.iter().filter_map(|worker| self.workers.get(worker));
        let names: Vec<&str> =
            present.take(SHOWN).map(|worker| worker.info.name.as_str()).collect();
        match workers.len().saturating_sub(names.len()) {
            0 => names.join(", "),
            more => format!("{} and {more} more", names.join(", ")),
        }
    }

    /// With the memory that is asked for, if it is not what the task says.
    fn unsuited(&self, run: RunId, task: TaskId, grown: Option<u64>) -> Option<String> {
        let mut plan = Cow::Borrowed(self.engine.plan(run)?.tasks.get(task.at())?);
        if let Some(memory) = grown {
            Arc::make_mut(&mut plan.to_mut().conduct).memory = memory;
        }
        let infos: Vec<&WorkerInfo> = self.workers.values().map(|worker| &worker.info).collect();
        Some(unsuited(&plan, &infos))
    }
}

/// What a worker's machine is short of, and what follows from that.
pub(super) fn shortage(short: &Shortage) -> String {
    let Shortage { slots, until, reason, of_memory, .. } = short;
    match until {
        _ if *of_memory && *slots == 0 => {
            format!("takes nothing more until memory is free: {reason}")
        }
        _ if *of_memory => format!("takes one at a time until memory is free: {reason}"),
        Some(until) => {
            format!("starts nothing until {}, as its machine refuses it: {reason}", rfc3339(*until))
        }
        None => {
            format!("runs at most {slots} at once for now, as its machine refuses more: {reason}")
        }
    }
}

/// Why none of the workers that are present is suitable.
fn unsuited(plan: &TaskPlan, workers: &[&WorkerInfo]) -> String {
    let mut candidates = workers.to_vec();
    if let Targets::Named(names) = &plan.conduct.targets {
        candidates.retain(|worker| names.iter().any(|name| worker.is_called(name)));
        if candidates.is_empty() {
            return format!("no worker is called or labelled {}", names.join(" or "));
        }
    }
    if let Some(lacking) = without_function(plan, &candidates) {
        return lacking;
    }
    let most = |amount: &dyn Fn(&Offer) -> u64| {
        candidates.iter().map(|worker| amount(&worker.offer)).max().unwrap_or(0)
    };
    let slots = most(&|offer| offer.slots.into());
    if u64::from(plan.conduct.cpus) > slots {
        return format!("cpus: it needs {}, the largest worker has {slots}", plan.conduct.cpus);
    }
    let memory = most(&|offer| offer.memory);
    if plan.conduct.memory > memory {
        let (needed, memory) = (amount_of_memory(plan.conduct.memory), amount_of_memory(memory));
        return format!("memory: it needs {needed}, the largest worker has {memory}");
    }
    for (name, needed) in &plan.conduct.resources {
        match most(&|offer| offer.amount(name)) {
            0 if *needed > 0 => return format!("{name}: it needs {needed}, no worker has any"),
            least if *needed > least => {
                return format!("{name}: it needs {needed}, no worker has more than {least}");
            }
            _ => {}
        }
    }
    let all = |worker: &&WorkerInfo| {
        worker.offer.suffices(plan.conduct.cpus, plan.conduct.memory, &plan.conduct.resources)
    };
    match candidates.iter().any(all) {
        true => "the worker that it must run on lacks what it needs".to_owned(),
        false => "no single worker has all that it needs".to_owned(),
    }
}

/// Why none of these workers could make the call of a task; `None` when one could, or the task
/// makes no call.
pub(super) fn without_function(plan: &TaskPlan, workers: &[&WorkerInfo]) -> Option<String> {
    let (name, signature) = plan.function.as_ref()?;
    if workers.iter().any(|worker| worker.has(name, *signature)) {
        return None;
    }
    if workers.iter().any(|worker| worker.has(name, None)) {
        return Some(format!(
            "function `{name}` has another signature in the workers' program: start workers from the program that submits"
        ));
    }
    let mut known: Vec<&str> = workers
        .iter()
        .flat_map(|worker| &worker.functions)
        .map(|(name, _)| name.as_str())
        .collect();
    // The functions of views, which every worker has.
    known.retain(|name| !name.starts_with("dagrun::"));
    known.sort_unstable();
    known.dedup();
    let shown = known.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    let found = match known.len() {
        0 => format!("no worker has a function `{name}`, or any other"),
        1..=SHOWN => format!("no worker has a function `{name}`; there are {shown}"),
        more => format!(
            "no worker has a function `{name}`; there are {shown} and {} more",
            more - SHOWN
        ),
    };
    Some(format!("{found}; {UNLINKED}"))
}

/// Why a function may be missing that is there in the source of a library.
const UNLINKED: &str = "functions of a library that the workers' program does not name are not linked: `use LIBRARY as _;`";

#[cfg(test)]
mod tests {
    use dagrun_core::pipeline::Conduct;

    use super::*;

    fn worker(name: &str, slots: u32, memory: u64, gpu: u64) -> WorkerInfo {
        let labels = vec!["big".to_owned()];
        let resources = if gpu > 0 { vec![("gpu".to_owned(), gpu)] } else { Vec::new() };
        let offer = Offer { slots, labels, memory, resources };
        WorkerInfo { name: name.into(), offer, ..WorkerInfo::default() }
    }

    #[test]
    fn the_need_that_nobody_meets_is_named() {
        let (a, b) = (worker("a", 4, 3 << 29, 0), worker("b", 2, 1 << 40, 1));
        let gpu = |amount| vec![("gpu".to_owned(), amount)];
        let named = |names: &[&str]| Targets::Named(names.iter().map(|n| (*n).into()).collect());
        let none = Conduct::default;
        let cases = [
            (Conduct { cpus: 8, ..none() }, "cpus: it needs 8, the largest worker has 4"),
            (
                Conduct { targets: named(&["c", "d"]), ..none() },
                "no worker is called or labelled c or d",
            ),
            (
                Conduct { targets: named(&["a"]), memory: 1 << 31, ..none() },
                "memory: it needs 2 GiB, the largest worker has 1.5 GiB",
            ),
            (Conduct { resources: gpu(2), ..none() }, "gpu: it needs 2, no worker has more than 1"),
            (
                Conduct { resources: vec![("tpu".into(), 1)], ..none() },
                "tpu: it needs 1, no worker has any",
            ),
            (
                Conduct { cpus: 4, resources: gpu(1), ..none() },
                "no single worker has all that it needs",
            ),
            (none(), "the worker that it must run on lacks what it needs"),
        ];
        for (conduct, expected) in cases {
            let plan = TaskPlan { conduct: conduct.into(), ..TaskPlan::default() };
            assert_eq!(unsuited(&plan, &[&a, &b]), expected);
        }
    }
}
