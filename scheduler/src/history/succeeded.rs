//! Reading what succeeded of a task in an earlier run, and whether its values and files are still what
//! they were.

use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use dagrun_core::alike::{Origin, Part};
use dagrun_core::engine::{Cause, Done, Indices, RunPlan};
use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::output::Stamp;
use dagrun_core::payload::{self, Stored, Whereabouts};
use dagrun_core::pipeline::{Pipeline, RunContext};
use dagrun_core::recipe::{Recipe, count_items};
use dagrun_core::status::State;
use dagrun_disk::{stamp_of, whole_stamp_of};
use dagrun_schema::wire::Submission;
use rusqlite::{Row, params};
use rustc_hash::FxHashSet;

use super::History;
use super::damage::{self, Damage};
use crate::journal::TakenSpan;
use crate::journal::rows::{decode_cause, decode_outputs, decode_stamps};

/// The value of a row if its first bytes make it a reference; otherwise NULL.
pub(super) const REFERENCE: &str = "CASE WHEN substr(value, 1, 2) = x'C172' THEN value END";

/// How to check whether the files of a task still exist.
enum Files<'a> {
    None,
    /// Their paths follow from the index.
    Computed(Box<Recipe>),
    /// Their paths are in the journal, relative to this directory.
    Reported {
        base_dir: &'a Path,
        outputs: usize,
    },
}

/// What succeeded of one task.
pub(super) struct Succeeded<'a> {
    pub(super) task: TaskId,
    files: Files<'a>,
    /// Whether its captured arrays are scattered.
    pub(super) scattered: bool,
    /// Whether other tasks follow it, so that the worker matters.
    followed: bool,
    /// How many elements each instance captured, where they are scattered.
    elements: Vec<(u32, u32)>,
    pub(super) spans: Vec<TakenSpan>,
    /// The instances that succeeded, whether they can be taken over or not.
    pub(super) had: Indices,
    /// Which of the task's outputs are temporary, by position.
    temp: Vec<u32>,
    /// Instances in the spans whose temporary outputs are not there any more: they run again if those are
    /// needed.
    pub(super) hollow: Indices,
}

/// What other tasks use of each.
pub(super) struct Used {
    scattered: FxHashSet<TaskId>,
    followed: Vec<bool>,
}

impl Used {
    pub(super) fn new(plan: &RunPlan) -> Used {
        let sources = plan.tasks.iter().filter_map(|task| Some(task.scatter?.from));
        Used { scattered: sources.collect(), followed: plan.followed() }
    }
}

impl History {
    /// Reads what succeeded of a task in a run, of which it had so many instances, as the instances that they
    /// are now. Ends early at a row that is damaged, with what is wrong with it.
    pub(super) fn collect(
        &self,
        run: RunId,
        origin: &Origin,
        width: u32,
        into: &mut Succeeded<'_>,
    ) -> rusqlite::Result<Option<Damage>> {
        let Some(task) = origin.task() else { return Ok(None) };
        let places = Places::new(origin);
        let outputs = if matches!(into.files, Files::None) { "NULL" } else { "outputs" };
        let value = if into.scattered { "value" } else { REFERENCE };
        let mut statement = self.database.prepare_cached(&format!(
            "SELECT first_index, count, cause, code, worker,
                value IS NOT NULL OR outputs IS NOT NULL, {outputs}, {value}
             FROM events WHERE run = ?1 AND task = ?2 AND state = ?3 ORDER BY first_index"
        ))?;
        let parameters = params![run.0.cast_signed(), task.0, State::Succeeded as u8];
        let mut rows = statement.query(parameters)?;
        while let Some(row) = rows.next()? {
            let (first, count): (u32, u32) = (row.get(0)?, row.get(1)?);
            let damage = damage::of_end(first, count, width);
            if damage.is_some() {
                return Ok(damage);
            }
            for part in places.of(first, count) {
                into.add(run, InstanceId { task, index: part.then }, part, row)?;
            }
        }
        into.sort();
        Ok(None)
    }
}

/// Where instances of before are now.
enum Places {
    /// Where they were.
    Same,
    /// These are somewhere, in the order of before.
    Parts(Vec<Part>),
}

impl Places {
    fn new(origin: &Origin) -> Places {
        match origin {
            Origin::New => Places::Parts(Vec::new()),
            Origin::Same(_) => Places::Same,
            Origin::Parts(_, parts) => {
                let mut parts = parts.clone();
                parts.sort_unstable_by_key(|part| part.then);
                Places::Parts(parts)
            }
        }
    }

    fn of(&self, then: u32, count: u32) -> Vec<Part> {
        let parts = match self {
            Places::Same => return vec![Part { first: then, then, count }],
            Places::Parts(parts) => parts,
        };
        let end = then.saturating_add(count);
        let from = parts.partition_point(|part| part.then.saturating_add(part.count) <= then);
        let parts = parts.iter().skip(from).take_while(|part| part.then < end);
        let cut = |part: &Part| {
            let from = then.max(part.then);
            let to = end.min(part.then.saturating_add(part.count));
            Part { first: part.first + (from - part.then), then: from, count: to - from }
        };
        parts.map(cut).collect()
    }
}

impl<'a> Succeeded<'a> {
    /// Nothing yet, of a task of a new run.
    pub(super) fn new(
        task: TaskId,
        run: RunId,
        submission: &'a Submission,
        pipeline: &Pipeline,
        used: &Used,
    ) -> Succeeded<'a> {
        Succeeded {
            task,
            files: files(pipeline, task, run, submission),
            scattered: used.scattered.contains(&task),
            followed: used.followed.get(task.at()).is_some_and(|is| *is),
            elements: Vec::new(),
            spans: Vec::new(),
            had: Indices::new(),
            temp: pipeline.tasks.get(task.at()).map(|task| task.temp.clone()).unwrap_or_default(),
            hollow: Indices::new(),
        }
    }

    /// Adds what a row has of instances, whose first one was `then`.
    fn add(
        &mut self,
        run: RunId,
        then: InstanceId,
        part: Part,
        row: &Row<'_>,
    ) -> rusqlite::Result<()> {
        let Part { first, count, .. } = part;
        let cause = decode_cause((row.get(2)?, row.get(3)?, None, None));
        let origin = match cause {
            Some(Cause::TakenOver { from }) => from,
            _ => run,
        };
        let worker: Option<i64> = if self.followed { row.get(4)? } else { None };
        let payload = row.get(5)?;
        let value: Option<Vec<u8>> = row.get(7)?;
        let end = first.saturating_add(count);
        if value.as_deref().and_then(payload::stored).is_some_and(|stored| is_lost(&stored)) {
            self.had.push(first..end);
            return Ok(());
        }
        let items = match self.scattered {
            false => 0,
            true => match value.as_deref().and_then(count_items) {
                Some(items) => items,
                // A value that is not an array has failed the run: its instance must run again.
                None => return Ok(()),
            },
        };
        self.had.push(first..end);
        let task = self.task;
        let span = |from, count| {
            let then = InstanceId { index: then.index + (from - first), ..then };
            TakenSpan { task, first: from, count, then, origin, payload, worker }
        };
        let reported: Option<Vec<u8>> = row.get(6)?;
        let lacking = self.lacking(first..end, &reported.unwrap_or_default());
        let all = std::iter::once(first..end).collect();
        for range in without(&all, &lacking.lasting) {
            if items > 0 {
                self.elements.push((range.start, items));
            }
            push(&mut self.spans, span(range.start, range.end - range.start));
        }
        self.hollow.extend(lacking.temporary);
        Ok(())
    }

    /// Whether its outputs can be looked for.
    pub(super) fn has_files(&self) -> bool {
        !matches!(self.files, Files::None)
    }

    /// Which instances of a row lack outputs; `reported` is what the row has of these.
    pub(super) fn lacking(&self, instances: Range<u32>, reported: &[u8]) -> Lacking {
        let stamps = decode_stamps(reported);
        let mut lacking = Lacking::default();
        let mut note = |range: Range<u32>, found: Option<Found>| match found {
            Some(Found { lasting: true, temporary: true }) => {}
            Some(Found { lasting: true, .. }) => lacking.temporary.push(range),
            _ => lacking.lasting.push(range),
        };
        match &self.files {
            Files::None => {}
            Files::Reported { base_dir, outputs } => {
                let paths = decode_outputs(reported).into_iter();
                let paths: Vec<_> =
                    paths.map(|path| base_dir.join(OsStr::from_bytes(&path))).collect();
                let found = (paths.len() == *outputs).then(|| look(&paths, &stamps, &self.temp));
                note(instances, found);
            }
            Files::Computed(recipe) => {
                for index in instances {
                    let paths = recipe.output_paths(index).ok().flatten();
                    let found = paths.map(|paths| look(&paths, &stamps, &self.temp));
                    note(index..index + 1, found);
                }
            }
        }
        lacking
    }

    /// Brings all into the order of now.
    fn sort(&mut self) {
        self.spans.sort_by_key(|span| span.first);
        self.elements.sort_unstable();
        self.had.sort_unstable_by_key(|range| range.start);
        self.hollow.sort_unstable_by_key(|range| range.start);
    }

    /// The instances in the spans.
    pub(super) fn spans(&self) -> Indices {
        self.spans.iter().map(|span| span.first..span.first.saturating_add(span.count)).collect()
    }

    pub(super) fn count(&self) -> u64 {
        self.spans.iter().map(|span| u64::from(span.count)).sum()
    }

    pub(super) fn items(&self) -> u64 {
        self.elements.iter().map(|(_, items)| u64::from(*items)).sum()
    }

    pub(super) fn forget(&mut self) {
        self.spans.clear();
        self.elements.clear();
    }

    /// Takes these out of what is taken over.
    pub(super) fn leave_out(&mut self, again: &Indices) {
        if again.is_empty() {
            return;
        }
        let mut spans = Vec::with_capacity(self.spans.len());
        for span in self.spans.drain(..) {
            let mut rest = span.first..span.first.saturating_add(span.count);
            let from = again.partition_point(|range| range.end <= rest.start);
            for range in again.iter().skip(from).take_while(|range| range.start < rest.end) {
                if rest.start < range.start {
                    spans.push(span.part(rest.start, range.start));
                }
                rest.start = range.end.min(rest.end);
            }
            if !rest.is_empty() {
                spans.push(span.part(rest.start, rest.end));
            }
        }
        self.spans = spans;
        self.elements.retain(|(index, _)| {
            let at = again.partition_point(|range| range.end <= *index);
            again.get(at).is_none_or(|range| !range.contains(index))
        });
    }
}

/// The indices below a width that are not among these, which are sorted.
pub(super) fn outside(had: &Indices, width: u32) -> Indices {
    let (mut next, mut outside) = (0, Indices::new());
    for range in had {
        if next < range.start {
            outside.push(next..range.start);
        }
        next = next.max(range.end);
    }
    if next < width {
        outside.push(next..width);
    }
    outside
}

/// These indices without those; both are sorted.
pub(super) fn without(these: &Indices, those: &Indices) -> Indices {
    let mut rest = Indices::new();
    for range in these {
        let mut next = range.start;
        let from = those.partition_point(|other| other.end <= next);
        for other in those.iter().skip(from).take_while(|other| other.start < range.end) {
            if next < other.start {
                rest.push(next..other.start);
            }
            next = next.max(other.end);
        }
        if next < range.end {
            rest.push(next..range.end);
        }
    }
    rest
}

/// Appends a span, merged into the last one when both are alike.
fn push(spans: &mut Vec<TakenSpan>, span: TakenSpan) {
    match spans.last_mut() {
        Some(last)
            if last.first + last.count == span.first
                && last.then.index + last.count == span.then.index
                && (last.origin, last.payload, last.worker)
                    == (span.origin, span.payload, span.worker) =>
        {
            last.count += span.count;
        }
        _ => spans.push(span),
    }
}

fn files<'a>(
    pipeline: &Pipeline,
    task: TaskId,
    run: RunId,
    submission: &'a Submission,
) -> Files<'a> {
    let outputs = pipeline.tasks.get(task.at()).map_or(0, |task| task.outputs.len());
    if outputs == 0 {
        return Files::None;
    }
    let context = RunContext {
        run: run.0,
        // Paths that contain the run's directory are never computed; they are reported.
        run_dir: PathBuf::new(),
        base_dir: submission.base_dir.clone(),
        seed: submission.seed,
    };
    match Recipe::new(pipeline, task, &context) {
        Ok(recipe) if !recipe.reports_outputs() => Files::Computed(Box::new(recipe)),
        _ => Files::Reported { base_dir: &submission.base_dir, outputs },
    }
}

/// Whether a value is no longer where it was kept: workers keep values only until their run ends.
pub(super) fn is_lost(stored: &Stored) -> bool {
    match &stored.place {
        Whereabouts::Worker(..) => true,
        Whereabouts::File(path) => !exists(path),
    }
}

/// Instances whose outputs are not what they were.
#[derive(Default)]
pub(super) struct Lacking {
    /// One that is to last.
    pub(super) lasting: Indices,
    /// Temporary ones only.
    pub(super) temporary: Indices,
}

/// Which outputs of an instance are what they were when it succeeded.
struct Found {
    /// All that are to last.
    lasting: bool,
    /// All that are temporary.
    temporary: bool,
}

/// Looks for outputs; where it is not known what they were, whether they exist.
fn look(paths: &[PathBuf], stamps: &[Option<Stamp>], temp: &[u32]) -> Found {
    let unchanged = |at: usize, path: &Path| match stamps.get(at).copied().flatten() {
        Some(then @ Stamp::Tree { .. }) => {
            whole_stamp_of(path).is_some_and(|now| then.matches(&now))
        }
        Some(then) => stamp_of(path).is_some_and(|now| then.matches(&now)),
        None => exists(path),
    };
    let mut found = Found { lasting: true, temporary: true };
    for (at, path) in paths.iter().enumerate() {
        let is_temp = temp.iter().any(|temp| *temp as usize == at);
        let so_far = if is_temp { &mut found.temporary } else { &mut found.lasting };
        *so_far = *so_far && unchanged(at, path);
    }
    found
}

/// Whether a file exists. An error other than "not found" counts as existing.
fn exists(path: &Path) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    !std::fs::metadata(path).is_err_and(|error| matches!(error.kind(), NotFound | NotADirectory))
}

/// The spans for the state machine, without the workers.
pub(super) fn done(found: &[Succeeded<'_>]) -> Vec<Done> {
    let spans = found.iter().flat_map(|task| &task.spans);
    let done = |span: &TakenSpan| Done {
        task: span.task,
        first_index: span.first,
        count: span.count,
        worker: None,
    };
    spans.map(done).collect()
}
