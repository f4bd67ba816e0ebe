//! Many instances of one task, as tables need them: the last state of each, and what it yielded.
//!
//! Each stretch is read in the order in which the journal lies on the disk, a window at a time, and
//! nothing is made of what was not asked for.

use std::ops::Range;

use dagrun_core::ids::{RunId, TaskId, Timestamp};
use dagrun_core::status::State;
use rusqlite::params;

use super::{History, HistoryError};
use crate::journal::read;
use crate::journal::rows::decode_outputs;

/// Instances that are read at once.
const WINDOW: u32 = 4_096;

/// What is read of each instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its value, as it was reported, see [`dagrun_core::payload`].
    pub value: bool,
    /// The paths of its outputs that were reported.
    pub outputs: bool,
    /// When its last attempt started and ended, and where it ran.
    pub attempt: bool,
}

/// What is known of one instance.
#[derive(Clone, Debug)]
pub struct Scanned<'a> {
    /// Its index.
    pub index: u32,
    /// Its state; blocked as long as the journal knows nothing of it.
    pub state: State,
    /// Its value, if it has succeeded and has one.
    pub value: Option<&'a [u8]>,
    /// Its outputs as they were reported; empty when the index decides them.
    pub outputs: Option<&'a [u8]>,
    /// How many attempts are known.
    pub attempts: u32,
    /// The worker of the last attempt.
    pub worker: Option<i64>,
    /// When the last attempt started; 0 when none did.
    pub started: Timestamp,
    /// When it ended; 0 when it has not.
    pub finished: Timestamp,
}

impl Scanned<'_> {
    /// The paths of the outputs that were reported.
    #[must_use]
    pub fn outputs(&self) -> Vec<Vec<u8>> {
        self.outputs.map_or_else(Vec::new, decode_outputs)
    }
}

/// What a window has of one instance.
#[derive(Clone, Copy)]
struct Slot {
    /// The number of the row that this is of, for later ones to win; 0 before any.
    seq: i64,
    state: State,
    value: Span,
    outputs: Span,
    attempt: Attempt,
    attempts: u32,
}

#[derive(Clone, Copy, Default)]
struct Attempt {
    seq: i64,
    number: u32,
    worker: Option<i64>,
    started: i64,
    finished: i64,
}

/// A part of the window's bytes; none is no value at all.
type Span = Option<(usize, usize)>;

impl History {
    /// The name of a worker by its number.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn worker_name(&self, worker: i64) -> Result<String, HistoryError> {
        let sql = "SELECT coalesce((SELECT name FROM workers WHERE worker = ?1), '')";
        let mut statement = self.read(self.database.prepare_cached(sql))?;
        self.read(statement.query_row([worker], |row| row.get(0)))
    }

    /// Hands over the instances of a task in a range of indices, in order, until `each` returns
    /// false; returns what it returned last. All is of one moment.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn scan(
        &self,
        run: RunId,
        task: TaskId,
        indices: Range<u32>,
        wanted: Wanted,
        each: &mut dyn FnMut(&Scanned<'_>) -> bool,
    ) -> Result<bool, HistoryError> {
        let mut window = Window::default();
        let mut at = indices.start;
        while at < indices.end {
            let end = at.saturating_add(WINDOW).min(indices.end);
            self.read(window.fill(&self.database, run, task, at..end, wanted))?;
            for (index, slot) in (at..end).zip(&window.slots) {
                if !each(&window.scanned(index, slot)) {
                    return Ok(false);
                }
            }
            at = end;
        }
        Ok(true)
    }

    /// Does something while the database stands still for this reader.
    ///
    /// # Errors
    /// When the database cannot be read, or what `what` returns.
    pub fn at_one_moment<T, E: From<HistoryError>>(
        &self,
        what: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let _moment = self.read(self.database.unchecked_transaction())?;
        what()
    }
}

#[derive(Default)]
struct Window {
    slots: Vec<Slot>,
    bytes: Vec<u8>,
}

impl Window {
    fn fill(
        &mut self,
        database: &rusqlite::Connection,
        run: RunId,
        task: TaskId,
        indices: Range<u32>,
        wanted: Wanted,
    ) -> rusqlite::Result<()> {
        let empty = Slot {
            seq: -1,
            state: State::Blocked,
            value: None,
            outputs: None,
            attempt: Attempt { seq: -1, ..Attempt::default() },
            attempts: 0,
        };
        self.slots.clear();
        self.slots.resize(indices.len(), empty);
        self.bytes.clear();
        let column = |wanted: bool, name: &'static str| if wanted { name } else { "NULL" };
        let (value, outputs) = (column(wanted.value, "value"), column(wanted.outputs, "outputs"));
        for (hint, which) in [read::SHORT, read::LONG] {
            // Of what is not wanted nothing is read, not even whether it is there.
            let sql = format!(
                "SELECT first_index, seq, count, state, {value}, {outputs}, attempt, worker, started,
                    finished
                 FROM events e {hint}
                 WHERE e.run = ?1 AND e.task = ?2 AND e.first_index < ?4
                   AND e.first_index + e.count > ?3 AND {which}"
            );
            let mut statement = database.prepare_cached(&sql)?;
            let parameters = params![run.0.cast_signed(), task.0, indices.start, indices.end];
            let mut rows = statement.query(parameters)?;
            while let Some(row) = rows.next()? {
                self.take(row, &indices, wanted)?;
            }
        }
        Ok(())
    }

    /// Puts a row of the journal where it belongs.
    fn take(
        &mut self,
        row: &rusqlite::Row<'_>,
        indices: &Range<u32>,
        wanted: Wanted,
    ) -> rusqlite::Result<()> {
        let (first, seq, count): (u32, i64, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let state = State::from_u8(row.get(3)?).unwrap_or(State::Blocked);
        let value = self.keep(row, 4)?;
        let outputs = self.keep(row, 5)?;
        let attempt = match wanted.attempt {
            true => Attempt {
                seq,
                number: row.get(6)?,
                worker: row.get(7)?,
                started: row.get(8)?,
                finished: row.get(9)?,
            },
            false => Attempt::default(),
        };
        let from = first.max(indices.start) - indices.start;
        let to = first.saturating_add(count).min(indices.end) - indices.start;
        for slot in self.slots.get_mut(from as usize..to as usize).unwrap_or_default() {
            if seq >= slot.seq {
                *slot = Slot { seq, state, value, outputs, ..*slot };
            }
            // Those of one instance come in the order in which they were written.
            if attempt.number > 0 && seq >= slot.attempt.seq {
                slot.attempts += u32::from(attempt.number != slot.attempt.number);
                slot.attempt = attempt;
            }
        }
        Ok(())
    }

    fn keep(&mut self, row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Span> {
        let Some(bytes) = row.get_ref(column)?.as_bytes_or_null()? else { return Ok(None) };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Ok(Some((start, self.bytes.len())))
    }

    fn scanned(&self, index: u32, slot: &Slot) -> Scanned<'_> {
        let bytes = |span: Span| span.and_then(|(start, end)| self.bytes.get(start..end));
        let succeeded = slot.state == State::Succeeded;
        Scanned {
            index,
            state: slot.state,
            value: bytes(slot.value).filter(|_| succeeded),
            outputs: bytes(slot.outputs).filter(|_| succeeded),
            attempts: slot.attempts,
            worker: slot.attempt.worker,
            started: Timestamp(slot.attempt.started.cast_unsigned()),
            finished: Timestamp(slot.attempt.finished.cast_unsigned()),
        }
    }
}
