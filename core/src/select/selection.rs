//! Instances that were selected: products of positions, never lists of indices.

use std::ops::Range;

use crate::space::{Chosen, Runs};
use crate::status::State;

/// Instances of one task, in ascending order.
#[derive(Clone, Debug)]
pub struct Selection {
    /// How many instances the task has.
    width: u32,
    /// The outermost first: an index is a number whose digits are positions of the levels.
    levels: Vec<Level>,
    /// The indices that may be selected; `None` is all.
    bounds: Option<Runs>,
    states: Option<Vec<State>>,
}

/// The positions of one level.
#[derive(Clone, Debug)]
pub(super) enum Level {
    /// So many, of which these are selected.
    Open(u32, Option<Runs>),
    Grid(Chosen),
}

impl Level {
    fn width(&self) -> u32 {
        match self {
            Level::Open(width, _) => *width,
            Level::Grid(chosen) => chosen.width(),
        }
    }

    fn is_all(&self) -> bool {
        match self {
            Level::Open(_, runs) => runs.is_none(),
            Level::Grid(chosen) => chosen.is_all(),
        }
    }

    fn seek(&self, from: u32) -> Option<Range<u32>> {
        match self {
            Level::Open(width, None) => (from < *width).then_some(from..*width),
            Level::Open(_, Some(runs)) => runs.seek(from),
            Level::Grid(chosen) => chosen.seek(from),
        }
    }

    fn rank(&self, end: u32) -> u64 {
        match self {
            Level::Open(_, None) => end.into(),
            Level::Open(_, Some(runs)) => runs.rank(end),
            Level::Grid(chosen) => chosen.rank(end),
        }
    }
}

impl Selection {
    /// All instances of a task that has so many.
    #[must_use]
    pub fn all(width: u32) -> Selection {
        Selection { width, levels: vec![Level::Open(width, None)], bounds: None, states: None }
    }

    pub(super) fn new(
        width: u32,
        levels: Vec<Level>,
        bounds: Option<Runs>,
        states: Option<Vec<State>>,
    ) -> Selection {
        Selection { width, levels, bounds, states }
    }

    /// How many instances the task has.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Whether all instances of the task are selected, whatever their state.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.states.is_none() && self.is_all()
    }

    /// Whether instances in this state are selected.
    #[must_use]
    pub fn admits(&self, state: State) -> bool {
        self.states.as_ref().is_none_or(|states| states.contains(&state))
    }

    /// The states that are selected, when not all of them are.
    #[must_use]
    pub fn states(&self) -> Option<&[State]> {
        self.states.as_deref()
    }

    /// Whether an instance is selected, unless its state forbids it.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        self.seek(index).is_some_and(|range| range.start == index)
    }

    /// How many instances are selected, whatever their states. Takes time for the axes, and with
    /// `exclude` for the pieces into which it cuts the grid.
    #[must_use]
    pub fn count(&self) -> u64 {
        match &self.bounds {
            None => self.rank(self.width),
            Some(bounds) => bounds
                .iter()
                .map(|range| self.rank(range.end.min(self.width)) - self.rank(range.start))
                .sum(),
        }
    }

    /// The instance, when there is exactly one, whatever its state.
    #[must_use]
    pub fn single(&self) -> Option<u32> {
        let first = self.seek(0)?;
        let alone = first.end - first.start == 1 && self.seek(first.end).is_none();
        alone.then_some(first.start)
    }

    /// What is left of a range of selected indices that holds `from`, or the next such range.
    #[must_use]
    pub fn seek(&self, from: u32) -> Option<Range<u32>> {
        let mut from = from;
        loop {
            let bound = match &self.bounds {
                None => from..self.width,
                Some(bounds) => bounds.seek(from)?,
            };
            let found = seek(&self.levels, bound.start)?;
            let end = found.end.min(self.width);
            if found.start >= end {
                return None;
            }
            if found.start < bound.end {
                return Some(found.start..end.min(bound.end));
            }
            from = found.start;
        }
    }

    /// Ascending ranges of the selected indices.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let range = self.seek(next?)?;
            next = (range.end < self.width).then_some(range.end);
            Some(range)
        })
    }

    fn is_all(&self) -> bool {
        self.bounds.is_none() && self.levels.iter().all(Level::is_all)
    }

    /// How many indices before `end` the levels select.
    fn rank(&self, end: u32) -> u64 {
        let counts: Vec<u64> = self.levels.iter().map(|level| level.rank(level.width())).collect();
        let (mut total, mut rest) = (0, end);
        let mut place: u64 = self.levels.iter().map(|level| u64::from(level.width())).product();
        for (at, level) in self.levels.iter().enumerate() {
            place /= u64::from(level.width().max(1));
            if place == 0 {
                return 0;
            }
            let digit = u32::try_from(u64::from(rest) / place).unwrap_or(u32::MAX);
            total +=
                level.rank(digit.min(level.width())) * counts[at + 1..].iter().product::<u64>();
            if digit >= level.width() || level.seek(digit).is_none_or(|run| run.start != digit) {
                break;
            }
            rest -= u32::try_from(u64::from(digit) * place).unwrap_or(rest);
        }
        total
    }
}

/// As [`Selection::seek`], of some levels.
fn seek(levels: &[Level], from: u32) -> Option<Range<u32>> {
    let Some((inner, outer)) = levels.split_last() else { return (from == 0).then_some(0..1) };
    let width = inner.width();
    let (mut at, mut rest) = (from.checked_div(width)?, from % width);
    if outer.is_empty() {
        return inner.seek(from);
    }
    loop {
        let found = seek(outer, at)?;
        if found.start != at {
            rest = 0;
        }
        let start = found.start * width;
        if inner.is_all() {
            let end = u64::from(found.end) * u64::from(width);
            return Some(start + rest..u32::try_from(end).unwrap_or(u32::MAX));
        }
        if let Some(run) = inner.seek(rest) {
            return Some(start + run.start..start + run.end);
        }
        if rest == 0 {
            return None;
        }
        (at, rest) = (found.start.checked_add(1)?, 0);
    }
}
