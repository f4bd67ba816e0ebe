//! Reading the journal: the rows of a range of instances, and their outcome.

use std::ops::Range;
use std::rc::Rc;

use dagrun_core::engine::Cause;
use dagrun_core::ids::{InstanceId, RunId, TaskId, Timestamp};
use dagrun_core::pipeline::Scatter;
use dagrun_core::recipe::{Input, Items};
use dagrun_core::status::State;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::rows::{decode_cause, decode_outputs};
use super::words::cause_text;

/// Captured arrays that are read at once.
const ARRAYS: u32 = 1_024;

/// A row of the journal.
#[derive(Debug)]
pub(crate) struct EventRow {
    pub(crate) first: u32,
    seq: i64,
    pub(crate) count: u32,
    pub(crate) state: State,
    pub(crate) attempt: u32,
    pub(crate) worker: Option<String>,
    pub(crate) started: Timestamp,
    pub(crate) finished: Timestamp,
    pub(crate) cause: Option<Cause>,
    reason: Option<String>,
    payload: Input,
}

/// The newest rows of one instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Newest {
    /// The newest row.
    pub(crate) last: Option<Rc<EventRow>>,
    /// The newest row that belongs to an attempt.
    pub(crate) attempt: Option<Rc<EventRow>>,
    /// How many attempts are known. Their numbers may have gaps.
    pub(crate) attempts: u32,
}

impl EventRow {
    /// Why it failed or was cancelled; skips are put into words by the caller.
    pub(crate) fn own_reason(&self) -> String {
        match (&self.reason, self.cause) {
            (Some(reason), _) => reason.clone(),
            (None, Some(cause)) => cause_text(cause, None),
            (None, None) => String::new(),
        }
    }

    /// The value and the outputs, when they were asked for.
    pub(crate) fn payload(&self) -> Input {
        self.payload.clone()
    }

    fn covers(&self, index: u32) -> bool {
        index.checked_sub(self.first).is_some_and(|offset| offset < self.count)
    }
}

/// A hint and a condition for short rows, which begin fewer than 64 before index `?3` …
pub(crate) const SHORT: (&str, &str) = ("", "e.first_index > ?3 - 64 AND e.count <= 64");
/// … and for all others. SQLite refuses the hint when the index does not hold all rows that match.
pub(crate) const LONG: (&str, &str) = ("INDEXED BY events_long", "e.count > 64");

const COLUMNS: &str = "e.first_index, e.seq, e.count, e.state, e.attempt, w.name, e.started,
    e.finished, e.cause, e.code, e.root_task, e.root_index, e.reason";

fn read(row: &Row<'_>, with_payload: bool) -> rusqlite::Result<EventRow> {
    let state: u8 = row.get(3)?;
    Ok(EventRow {
        first: row.get(0)?,
        seq: row.get(1)?,
        count: row.get(2)?,
        state: State::from_u8(state).unwrap_or(State::Blocked),
        attempt: row.get(4)?,
        worker: row.get(5)?,
        started: Timestamp(row.get::<_, i64>(6)?.cast_unsigned()),
        finished: Timestamp(row.get::<_, i64>(7)?.cast_unsigned()),
        cause: decode_cause((row.get(8)?, row.get(9)?, row.get(10)?, row.get(11)?)),
        reason: row.get(12)?,
        payload: if with_payload {
            let outputs: Option<Vec<u8>> = row.get(14)?;
            Input {
                value: row.get(13)?,
                outputs: outputs.map_or_else(Vec::new, |bytes| decode_outputs(&bytes)),
                file: None,
            }
        } else {
            Input::default()
        },
    })
}

/// The rows of the instances in `indices`, in the order in which they were written.
///
/// Short rows begin shortly before the range, long ones are found through their own index: see
/// [`super::schema`].
fn overlapping(
    database: &Connection,
    run: RunId,
    task: TaskId,
    indices: &Range<u32>,
    with_payload: bool,
) -> rusqlite::Result<Vec<EventRow>> {
    let payload = if with_payload { ", e.value, e.outputs" } else { "" };
    let mut rows = Vec::new();
    for (hint, which) in [SHORT, LONG] {
        let sql = format!(
            "SELECT {COLUMNS}{payload} FROM events e {hint}
             LEFT JOIN workers w ON w.worker = e.worker
             WHERE e.run = ?1 AND e.task = ?2 AND e.first_index < ?4
               AND e.first_index + e.count > ?3 AND {which}"
        );
        let mut statement = database.prepare_cached(&sql)?;
        let parameters = params![run.0.cast_signed(), task.0, indices.start, indices.end];
        let found = statement.query_map(parameters, |row| read(row, with_payload))?;
        for row in found {
            rows.push(row?);
        }
    }
    rows.sort_unstable_by_key(|row| row.seq);
    Ok(rows)
}

/// The newest rows of each instance in `indices`.
pub(crate) fn window(
    database: &Connection,
    run: RunId,
    task: TaskId,
    indices: Range<u32>,
    with_payload: bool,
) -> rusqlite::Result<Vec<Newest>> {
    let mut entries = vec![Newest::default(); indices.len()];
    for row in overlapping(database, run, task, &indices, with_payload)? {
        let row = Rc::new(row);
        let from = row.first.max(indices.start) - indices.start;
        let to = row.first.saturating_add(row.count).min(indices.end) - indices.start;
        let covered = entries.get_mut(from as usize..to as usize).unwrap_or_default();
        for entry in covered {
            if row.attempt > 0 {
                let before = entry.attempt.as_ref().map(|before| before.attempt);
                entry.attempts += u32::from(before != Some(row.attempt));
                entry.attempt = Some(Rc::clone(&row));
            }
            entry.last = Some(Rc::clone(&row));
        }
    }
    Ok(entries)
}

/// All rows of one instance, in the order in which they were written.
pub(crate) fn story(
    database: &Connection,
    run: RunId,
    instance: InstanceId,
) -> rusqlite::Result<Vec<Rc<EventRow>>> {
    let indices = instance.index..instance.index.saturating_add(1);
    let rows = overlapping(database, run, instance.task, &indices, false)?;
    Ok(rows.into_iter().map(Rc::new).collect())
}

/// The newest rows of one instance.
pub(crate) fn entry(
    database: &Connection,
    run: RunId,
    instance: InstanceId,
    with_payload: bool,
) -> rusqlite::Result<Newest> {
    let indices = instance.index..instance.index.saturating_add(1);
    let entries = window(database, run, instance.task, indices, with_payload)?;
    Ok(entries.into_iter().next().unwrap_or_default())
}

/// The value and the outputs of an instance that has succeeded.
pub(crate) fn payload(
    database: &Connection,
    run: RunId,
    instance: InstanceId,
) -> rusqlite::Result<Option<Input>> {
    let last = entry(database, run, instance, true)?.last;
    Ok(last.filter(|event| event.state == State::Succeeded).map(|event| event.payload()))
}

/// The arrays that the instances of a task have captured, in order, cut as a scatter cuts them.
pub(crate) fn items(
    database: &Connection,
    run: RunId,
    scatter: &Scatter,
    width: u32,
) -> rusqlite::Result<Items> {
    let mut items = Items::new(scatter.split);
    for from in (0..width).step_by(ARRAYS as usize) {
        let indices = from..from.saturating_add(ARRAYS).min(width);
        for entry in window(database, run, scatter.from, indices, true)? {
            let value = entry.last.and_then(|event| event.payload().value);
            // The state machine starts nothing when one of them is not an array.
            value.and_then(|value| items.push(&value));
        }
    }
    Ok(items)
}

/// Skips that failed the run: nothing that failed explains them. The numbers of their causes are
/// those of [`super::rows`].
const FATAL_SKIPS: &str = "state = 6 AND (cause = 26 OR cause = 25 AND code % 4 <> 0)";

/// The indices of up to `limit` instances of a task that failed, or whose skip failed the run, from
/// `from` on, in order.
pub(crate) fn failed(
    database: &Connection,
    run: RunId,
    task: TaskId,
    from: u32,
    limit: usize,
) -> rusqlite::Result<Vec<u32>> {
    let mut found = Vec::new();
    let failed =
        [("INDEXED BY events_failed", SHORT.1, "state = 5"), (LONG.0, LONG.1, "state = 5")];
    // No index leads to skips; most runs have none.
    let skips = [(SHORT.0, SHORT.1, FATAL_SKIPS), (LONG.0, LONG.1, FATAL_SKIPS)];
    let may_have_skips = has_skips(database, run, task)?;
    let skips = skips.into_iter().filter(|_| may_have_skips);
    for (hint, which, ended) in failed.into_iter().chain(skips) {
        let mut statement = database.prepare_cached(&format!(
            "SELECT first_index, count FROM events e {hint}
             WHERE run = ?1 AND task = ?2 AND first_index + count > ?3 AND {ended} AND {which}
             ORDER BY first_index"
        ))?;
        let mut rows = statement.query(params![run.0.cast_signed(), task.0, from])?;
        let enough = found.len() + limit;
        while let Some(row) = rows.next()? {
            let (first, count): (u32, u32) = (row.get(0)?, row.get(1)?);
            let indices = first.max(from)..first.saturating_add(count);
            found.extend(indices.take(enough - found.len()));
            if found.len() == enough {
                break;
            }
        }
    }
    found.sort_unstable();
    found.truncate(limit);
    Ok(found)
}

/// Whether instances of a task were skipped, as far as that is known.
fn has_skips(database: &Connection, run: RunId, task: TaskId) -> rusqlite::Result<bool> {
    let mut statement =
        database.prepare_cached("SELECT skipped FROM tasks WHERE run = ?1 AND task = ?2")?;
    let skipped = statement
        .query_row(params![run.0.cast_signed(), task.0], |row| row.get::<_, Option<u32>>(0))
        .optional()?;
    // Counted when the run ends.
    Ok(skipped.flatten() != Some(0))
}

/// The last bytes of standard error of an instance's last attempt.
pub(crate) fn stderr_tail(
    database: &Connection,
    run: RunId,
    instance: InstanceId,
    event: &EventRow,
) -> rusqlite::Result<Vec<u8>> {
    debug_assert!(event.covers(instance.index));
    let mut statement = database.prepare_cached(
        "SELECT stderr_tail FROM events
         WHERE run = ?1 AND task = ?2 AND first_index = ?3 AND seq = ?4",
    )?;
    let parameters = params![run.0.cast_signed(), instance.task.0, event.first, event.seq];
    let tail: Option<Vec<u8>> = statement.query_row(parameters, |row| row.get(0))?;
    Ok(tail.unwrap_or_default())
}
