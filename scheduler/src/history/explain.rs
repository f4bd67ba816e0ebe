//! `explain`: why an instance is in its state, and how each of its attempts went, in sentences.

use std::rc::Rc;

use dagrun_core::engine::{Cause, Explanation, Missing, MissingEdge, NotStarted};
use dagrun_core::ids::{InstanceId, RunId, TaskId, Timestamp};
use dagrun_core::pipeline::{Clause, Pattern};
use dagrun_core::status::{RunStatus, State};

use super::reason::Reasons;
use super::{History, HistoryError, check_index, rfc3339};
use crate::journal::read::{self, EventRow};

/// What is known about an instance at present.
#[derive(Debug)]
pub(crate) struct Situation {
    /// Why it is in its state.
    pub(crate) explanation: Explanation,
    /// The name of the worker that holds it.
    pub(crate) worker: Option<String>,
    /// What keeps it from starting, where that takes names of workers.
    pub(crate) hindrance: Option<String>,
}

impl History {
    /// Why an instance is in its state, according to the journal, and how each of its attempts
    /// went: lines for people.
    ///
    /// # Errors
    /// When there is no such instance or the database cannot be read.
    pub fn explain(&self, run: RunId, task: &str, index: u32) -> Result<Vec<String>, HistoryError> {
        self.explain_live(run, task, index, None)
    }

    /// The same with what the scheduler knows at present.
    pub(crate) fn explain_live(
        &self,
        run: RunId,
        task: &str,
        index: u32,
        situation: Option<&Situation>,
    ) -> Result<Vec<String>, HistoryError> {
        let (id, width) = self.task(run, task)?;
        let instance = InstanceId { task: id, index };
        let known = self.width_known(run, id)?;
        if known {
            check_index(task, index, width)?;
        }
        let story = self.read(read::story(&self.database, run, instance))?;
        let last = story.last().filter(|event| event.state.is_terminal());
        let mut lines = match (last, situation) {
            (Some(event), _) => vec![self.end(run, instance, event)?],
            (None, Some(situation)) if !matches!(situation.explanation, Explanation::Ended(_)) => {
                self.with_reasons(run, |reasons| Ok(live(reasons, instance, situation, &story)))?
            }
            (None, Some(_)) => self.with_reasons(run, |reasons| {
                Ok(vec![format!("{} ends at this moment", reasons.instance(instance))])
            })?,
            (None, None) => {
                let status = self.status(run)?;
                self.with_reasons(run, |reasons| {
                    self.journal_of(reasons, instance, &status, story.last(), known)
                })?
            }
        };
        lines.extend(attempts(&story));
        Ok(lines)
    }

    fn end(
        &self,
        run: RunId,
        instance: InstanceId,
        event: &EventRow,
    ) -> Result<String, HistoryError> {
        let name = self.with_reasons(run, |reasons| Ok(reasons.instance(instance)))?;
        let reason = match super::has_reason(event) {
            false => String::new(),
            true => self.reason(run, instance.task, event)?,
        };
        let end = match event.state {
            State::Skipped | State::Cancelled => format!("{name} was {}", event.state.word()),
            state => format!("{name} {}", state.word()),
        };
        let is_enough = reason.is_empty() || reason == event.state.word();
        Ok(if is_enough { end } else { format!("{end}: {reason}") })
    }

    /// What the journal records about an instance that has not ended.
    fn journal_of(
        &self,
        reasons: &Reasons,
        instance: InstanceId,
        status: &RunStatus,
        last: Option<&Rc<EventRow>>,
        known: bool,
    ) -> Result<Vec<String>, HistoryError> {
        let name = reasons.instance(instance);
        let Some(last) = last else {
            let head = match known {
                true => format!("{name} has not started"),
                false => width_unknown(reasons.name(instance.task)),
            };
            let mut lines = vec![head];
            self.open_upstreams(reasons, instance, status, &mut lines)?;
            return Ok(lines);
        };
        let on = last.worker.as_deref().unwrap_or("a worker");
        Ok(vec![match last.state {
            State::Leased => format!("{name} runs on {on} since {}", rfc3339(last.started)),
            _ => format!("{name} waits for attempt {}", last.attempt + 1),
        }])
    }

    /// The upstreams of an instance that have not ended according to the journal.
    fn open_upstreams(
        &self,
        reasons: &Reasons,
        instance: InstanceId,
        status: &RunStatus,
        lines: &mut Vec<String>,
    ) -> Result<(), HistoryError> {
        let Some(task) = reasons.task(instance.task) else { return Ok(()) };
        let mut needed: Vec<TaskId> = task.references.clone();
        match &task.pattern {
            Pattern::Map(upstream) => {
                lines.extend(self.open_mapped(reasons, instance, *upstream, status)?);
            }
            pattern => needed.extend(pattern.upstreams()),
        }
        for upstream in needed {
            let words = format!("needs {}", reasons.name(upstream));
            lines.extend(open_text(status, &words, upstream));
        }
        for (word, clauses) in [("after", &task.after), ("follow", &task.follow)] {
            for clause in clauses {
                let words = reasons.clause(word, Some(clause));
                let open = clause.upstreams.iter();
                lines.extend(open.filter_map(|upstream| open_text(status, &words, *upstream)));
            }
        }
        Ok(())
    }

    /// A line for the instance that an instance maps, unless it has ended.
    fn open_mapped(
        &self,
        reasons: &Reasons,
        instance: InstanceId,
        upstream: TaskId,
        status: &RunStatus,
    ) -> Result<Option<String>, HistoryError> {
        let width =
            |task: TaskId| status.tasks.get(task.at()).map_or(0, |task| task.counts.total());
        let factor = width(instance.task).checked_div(width(upstream)).unwrap_or(0);
        let index = instance.index.checked_div(factor).unwrap_or(0);
        let mapped = InstanceId { task: upstream, index };
        let entry = self.read(read::entry(&self.database, reasons.run, mapped, false))?;
        let ended = entry.last.is_some_and(|event| event.state.is_terminal());
        let (name, mapped) = (reasons.name(upstream), reasons.instance(mapped));
        Ok((!ended).then(|| format!("needs {name}: {mapped} has not ended")))
    }
}

/// A line for a task that has instances that have not ended.
fn open_text(status: &RunStatus, words: &str, upstream: TaskId) -> Option<String> {
    let task = status.tasks.get(upstream.at())?;
    let (name, total) = (&task.name, task.counts.total());
    if !task.width_known {
        return Some(format!("{words}: {}", width_unknown(name)));
    }
    match total - task.counts.terminal() {
        0 => None,
        1 if total == 1 => Some(format!("{words}: {name} has not ended")),
        open => Some(format!("{words}: {open} of {total} instances of {name} have not ended")),
    }
}

/// What the scheduler knows about an instance that has not ended.
fn live(
    reasons: &Reasons,
    instance: InstanceId,
    situation: &Situation,
    story: &[Rc<EventRow>],
) -> Vec<String> {
    let name = reasons.instance(instance);
    let on = situation.worker.as_deref().unwrap_or("a worker");
    match &situation.explanation {
        Explanation::Blocked(missing) => {
            let lines = missing.iter().map(|missing| missing_text(reasons, instance.task, missing));
            std::iter::once(format!("{name} is blocked")).chain(lines).collect()
        }
        Explanation::WidthUnknown(missing) => {
            let lines = missing.iter().map(|missing| missing_text(reasons, instance.task, missing));
            let head = width_unknown(reasons.name(instance.task));
            std::iter::once(head).chain(lines).collect()
        }
        Explanation::Ready(why) => {
            let why = not_started(reasons, instance.task, why, situation.hindrance.as_deref());
            vec![format!("{name} is ready but has not started: {why}")]
        }
        Explanation::Leased { cancelled: true, .. } => {
            vec![format!("{name} is being cancelled on {on}")]
        }
        Explanation::Leased { number, started: true, .. } => {
            let known = story.iter().find(|event| event.attempt == *number);
            let since = known.map(|event| format!(" since {}", rfc3339(event.started)));
            vec![format!("{name} runs on {on}{} (attempt {number})", since.unwrap_or_default())]
        }
        Explanation::Leased { number, .. } => {
            vec![format!("{name} has been handed to {on} and starts there next (attempt {number})")]
        }
        Explanation::Backoff { attempts, until, refused } => {
            let due = until.map(|until| format!(", which is due at {}", rfc3339(until)));
            let due = due.unwrap_or_default();
            let why = refused.as_ref().map(|reason| format!("; a machine refused it: {reason}"));
            let why = why.unwrap_or_default();
            vec![format!("{name} waits for attempt {}{due}{why}", attempts + 1)]
        }
        Explanation::Ended(_) => Vec::new(),
    }
}

fn not_started(
    reasons: &Reasons,
    task: TaskId,
    why: &NotStarted,
    hindrance: Option<&str>,
) -> String {
    match why {
        NotStarted::NoWorker => "no worker is present".to_owned(),
        NotStarted::NoneSuits { .. } => hindrance.unwrap_or("no worker suits it").to_owned(),
        NotStarted::Choosy { .. } => hindrance.unwrap_or("it waits for another worker").to_owned(),
        NotStarted::Short(_) => hindrance.unwrap_or("its worker's machine refuses it").to_owned(),
        NotStarted::MaxRunning => {
            let most = reasons.task(task).and_then(|task| task.conduct.max_running).unwrap_or(0);
            format!("max-running allows {most} of {} at once", reasons.name(task))
        }
        NotStarted::Busy { workers, ahead } => {
            let busy = match workers {
                1 => "the worker that can run it is busy".to_owned(),
                _ => format!("all {workers} workers that can run it are busy"),
            };
            let busy = match hindrance {
                Some(asks) => format!("{busy}; {asks}"),
                None => busy,
            };
            match ahead {
                0 => busy,
                1 => format!("{busy}, and 1 ready instance of a higher priority goes first"),
                _ => format!("{busy}, and {ahead} ready instances of a higher priority go first"),
            }
        }
    }
}

fn missing_text(reasons: &Reasons, task: TaskId, missing: &Missing) -> String {
    let clause = |clauses: fn(&dagrun_core::pipeline::Task) -> &Vec<Clause>, number: u32| {
        reasons.task(task).and_then(|task| clauses(task).get(number as usize))
    };
    let words = match missing.edge {
        MissingEdge::After(number) => reasons.clause("after", clause(|task| &task.after, number)),
        MissingEdge::Follow(number) => {
            reasons.clause("follow", clause(|task| &task.follow, number))
        }
        MissingEdge::Upstream => {
            let mut tasks: Vec<TaskId> =
                missing.first.iter().map(|instance| instance.task).collect();
            tasks.extend(&missing.unknown);
            tasks.sort_unstable();
            tasks.dedup();
            format!("needs {}", reasons.names(&tasks))
        }
    };
    let mut parts: Vec<String> = match missing.unknown.as_slice() {
        [] => Vec::new(),
        [task] => vec![width_unknown(reasons.name(*task))],
        several => {
            vec![format!("{} do not know yet how many instances they have", reasons.names(several))]
        }
    };
    if missing.pending > 0 {
        let named: Vec<String> =
            missing.first.iter().map(|instance| reasons.instance(*instance)).collect();
        let more = missing.pending.saturating_sub(named.len() as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let have = if missing.pending == 1 { "has" } else { "have" };
        parts.push(format!("{}{more} {have} not ended", named.join(", ")));
    }
    format!("{words}: {}", parts.join("; "))
}

fn width_unknown(task: &str) -> String {
    format!("{task} does not know yet how many instances it has")
}

/// A line for each attempt that was made.
fn attempts(story: &[Rc<EventRow>]) -> Vec<String> {
    let mut attempts: Vec<(&EventRow, Timestamp)> = Vec::new();
    for event in story.iter().filter(|event| event.attempt > 0) {
        match attempts.last_mut() {
            Some((last, started)) if last.attempt == event.attempt => {
                // Later rows do not belong to this attempt.
                if last.state == State::Leased {
                    *last = event;
                    *started = if event.started.0 > 0 { event.started } else { *started };
                }
            }
            _ => attempts.push((event, event.started)),
        }
    }
    attempts.into_iter().map(|(event, started)| attempt(event, started)).collect()
}

fn attempt(event: &EventRow, started: Timestamp) -> String {
    let worker = event.worker.as_deref().unwrap_or("a worker");
    let how = match event.state {
        State::Leased => "runs".to_owned(),
        // Something may be remarkable all the same.
        State::Succeeded => match event.own_reason() {
            nothing if nothing.is_empty() => "succeeded".to_owned(),
            remark => format!("succeeded; it {remark}"),
        },
        _ if event.cause == Some(Cause::LostTooOften) => "its worker was lost".to_owned(),
        _ => event.own_reason(),
    };
    let mut line = format!("attempt {} on {worker}: ", event.attempt);
    if started.0 > 0 {
        line += &format!("started {}, ", rfc3339(started));
        if event.state != State::Leased && event.finished.0 > 0 {
            line += &format!("took {}, ", event.finished.since(started).rounded());
        }
    }
    line + &how
}
