//! A part of a grid: positions of its axes and include rows, whose points follow by arithmetic.

use std::borrow::Cow;
use std::ops::Range;

use super::grid::Dimension;
use super::runs::Runs;
use super::{Grid, Points};
use crate::value::Value;

/// The values that one parameter can have: those of its axis, then those of the include rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    grid: &'a Grid,
    /// Which of the grid's names.
    at: usize,
    axis: Option<(&'a Points, usize)>,
    /// How many values the axis has.
    len: u32,
}

impl<'a> Line<'a> {
    /// The values of the parameter number `at`.
    pub(crate) fn new(grid: &'a Grid, at: usize) -> Line<'a> {
        let slot = grid.slot(at);
        let axis = slot.map(|(axis, column)| (&grid.space().axes[axis].points, column));
        let len = axis.map_or(0, |(points, _)| u32::try_from(points.count()).unwrap_or(u32::MAX));
        Line { grid, at, axis, len }
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> u32 {
        self.len.saturating_add(u32::try_from(self.grid.included().len()).unwrap_or(u32::MAX))
    }

    /// How many of the first are computed, and so go only up, or only down.
    pub(crate) fn monotonic(&self) -> u32 {
        match self.axis {
            None | Some((Points::Rows(_), _)) => 0,
            Some(_) => self.len,
        }
    }

    /// A value.
    pub(crate) fn value(&self, position: u32) -> Cow<'a, Value> {
        match (self.axis, position.checked_sub(self.len)) {
            (Some((points, column)), None) => points.value(position, column),
            (_, row) => {
                let row = self.grid.included().get(row.unwrap_or(position) as usize);
                let value = row.and_then(|row| row.get(self.at));
                value.map_or(Cow::Owned(Value::Null), Cow::Borrowed)
            }
        }
    }
}

/// A part of a grid.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    grid: Grid,
    /// For each dimension its positions; `None` is all of them.
    dimensions: Vec<Option<Runs>>,
    /// The include rows; `None` is all of them.
    included: Option<Runs>,
}

impl Chosen {
    /// All of it.
    pub(crate) fn all(grid: Grid) -> Chosen {
        let dimensions = vec![None; grid.dimensions().len()];
        Chosen { grid, dimensions, included: None }
    }

    /// Keeps of the values of parameter number `at` only some, which are positions in its [`Line`].
    pub(crate) fn narrow(&mut self, at: usize, kept: &Runs) {
        let slot = self.grid.slot(at);
        let len = slot.map_or(0, |_| Line::new(&self.grid, at).len);
        let (of_axis, of_rows) = kept.split(len);
        if let Some((axis, _)) = slot
            && let Some(runs) = self.dimensions.get_mut(self.grid.dimension_of(axis))
        {
            narrow(runs, of_axis);
        }
        narrow(&mut self.included, of_rows);
    }

    /// Whether nothing was left out.
    pub(crate) fn is_all(&self) -> bool {
        self.included.is_none() && self.dimensions.iter().all(Option::is_none)
    }

    pub(crate) fn width(&self) -> u32 {
        self.grid.width()
    }

    /// What is left of a range of chosen points that holds `from`, or the next such range.
    pub(crate) fn seek(&self, from: u32) -> Option<Range<u32>> {
        let base = self.grid.base();
        if from < base {
            let mut position = self.grid.kept().map_or(Some(from), |kept| kept.select(from));
            while let Some(at) = position {
                let Some(range) = self.seek_product(at) else { break };
                let points = self.points(range.clone());
                if points.start < points.end {
                    return Some(points);
                }
                position = (range.end < self.grid.product()).then_some(range.end);
            }
        }
        let rows = from.saturating_sub(base);
        let range = match &self.included {
            Some(runs) => runs.seek(rows)?,
            None => rows..self.grid.width() - base,
        };
        (range.start < range.end).then_some(range.start + base..range.end + base)
    }

    /// How many chosen points lie before `end`.
    pub(crate) fn rank(&self, end: u32) -> u64 {
        let base = self.grid.base();
        let rows = end.saturating_sub(base);
        let rows = self.included.as_ref().map_or(u64::from(rows), |runs| runs.rank(rows));
        let product = self.grid.product();
        let end = end.min(base);
        let Some(kept) = self.grid.kept() else { return rows + self.rank_product(end) };
        let end = if end == base { product } else { kept.select(end).unwrap_or(product) };
        let (mut count, mut at) = (rows, 0);
        while let Some(range) = self.seek_product(at).filter(|range| range.start < end) {
            let points = self.points(range.start..range.end.min(end));
            count += u64::from(points.end - points.start);
            at = range.end;
        }
        count
    }

    /// The points at consecutive positions of the product.
    fn points(&self, positions: Range<u32>) -> Range<u32> {
        match self.grid.kept() {
            None => positions,
            Some(kept) => kept.rank(positions.start)..kept.rank(positions.end),
        }
    }

    /// The next position of a dimension that is chosen.
    fn next(&self, dimension: usize, from: u32) -> Option<u32> {
        let len = self.grid.dimensions()[dimension].len;
        match &self.dimensions[dimension] {
            Some(runs) => runs.seek(from).map(|run| run.start),
            None => (from < len).then_some(from),
        }
    }

    /// As [`Chosen::seek`], of positions of the product.
    fn seek_product(&self, from: u32) -> Option<Range<u32>> {
        if from >= self.grid.product() {
            return None;
        }
        let Some(last) = self.dimensions.iter().rposition(Option::is_some) else {
            return Some(from..self.grid.product());
        };
        let dimensions = &self.grid.dimensions()[..=last];
        let mut at: Vec<u32> = dimensions.iter().map(|found| found.coordinate(from)).collect();
        // Where a coordinate moves on, those behind it begin anew; where none is left, the one
        // before it moves on.
        let mut moved = None;
        let mut dimension = 0;
        while dimension <= last {
            let wanted = at[dimension];
            match self.next(dimension, wanted) {
                Some(found) => {
                    if found != wanted && moved.is_none() {
                        moved = Some(dimension);
                    }
                    at[dimension] = found;
                    if found != wanted {
                        at[dimension + 1..].fill(0);
                    }
                    dimension += 1;
                }
                None => {
                    dimension = dimension.checked_sub(1)?;
                    at[dimension] += 1;
                    at[dimension + 1..].fill(0);
                    moved = Some(dimension);
                }
            }
        }
        let end = match &self.dimensions[last] {
            Some(runs) => runs.seek(at[last])?.end,
            None => dimensions[last].len,
        };
        let before = |at: &[u32]| {
            let parts = dimensions.iter().zip(at).map(|(found, at)| found.stride() * at);
            parts.sum::<u32>()
        };
        let start = if moved.is_some() { before(&at) } else { from };
        let outer = before(&at[..last]);
        // The end of the product may be beyond 32 bits only by name: it is the product's own.
        let end = u64::from(outer) + u64::from(end) * u64::from(dimensions[last].stride());
        Some(start..u32::try_from(end).unwrap_or(self.grid.product()))
    }

    /// How many chosen positions of the product lie before `end`.
    fn rank_product(&self, end: u32) -> u64 {
        let dimensions = self.grid.dimensions();
        let count = |at: usize, found: &Dimension| {
            self.dimensions[at].as_ref().map_or(u64::from(found.len), Runs::count)
        };
        let counts: Vec<u64> =
            dimensions.iter().enumerate().map(|(at, found)| count(at, found)).collect();
        if end >= self.grid.product() {
            return if self.grid.product() == 0 { 0 } else { counts.iter().product() };
        }
        let mut total = 0;
        for (at, found) in dimensions.iter().enumerate() {
            let coordinate = found.coordinate(end);
            let runs = self.dimensions[at].as_ref();
            let before = runs.map_or(u64::from(coordinate), |runs| runs.rank(coordinate));
            total += before * counts[at + 1..].iter().product::<u64>();
            if runs.is_some_and(|runs| !runs.contains(coordinate)) {
                break;
            }
        }
        total
    }
}

fn narrow(runs: &mut Option<Runs>, kept: Runs) {
    *runs = Some(match runs.take() {
        Some(runs) => runs.intersection(&kept),
        None => kept,
    });
}
