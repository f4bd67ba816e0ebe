//! One instance of a task: its parameters.

use std::borrow::Cow;

use super::compile::{CompiledScope, ParamAt};
use super::given::Root;
use crate::space::Point;
use crate::value::Value;

/// One instance of a scope.
pub(super) struct Frame<'a> {
    pub(super) scope: &'a CompiledScope,
    pub(super) index: u32,
    /// The point in each of the scope's grids; none where a grid is empty.
    points: Vec<Option<Point>>,
}

impl<'a> Frame<'a> {
    pub(super) fn new(scope: &'a CompiledScope, index: u32) -> Frame<'a> {
        let mut points = vec![None; scope.grids.len()];
        let mut rest = index;
        for (at, grid) in scope.grids.iter().enumerate().rev() {
            let width = grid.width().max(1);
            // The outermost grid takes the remaining quotient, so that an index beyond the end has
            // no point.
            let known = scope.root == Root::Grid;
            let own = if at == 0 && known { rest } else { rest % width };
            points[at] = grid.point(own);
            rest /= width;
        }
        Frame { scope, index, points }
    }

    /// Whether the number of instances is known only at run time.
    pub(super) fn is_dynamic(&self) -> bool {
        self.scope.root != Root::Grid
    }

    /// The number of the worker to which the instance, or the one that it maps, belongs.
    pub(super) fn worker(&self) -> Option<u32> {
        match self.scope.root {
            Root::Workers(factor) => Some(self.index / factor.max(1)),
            Root::Grid | Root::Items(_) => None,
        }
    }

    pub(super) fn task_name(&self) -> &'a str {
        &self.scope.name
    }

    pub(super) fn value(&self, place: ParamAt) -> Option<Cow<'a, Value>> {
        let point = self.points.get(place.grid).copied().flatten()?;
        Some(self.scope.grids.get(place.grid)?.value(point, place.slot))
    }

    /// Appends the text of a parameter; returns whether there is such an instance.
    pub(super) fn write_text(&self, place: ParamAt, out: &mut Vec<u8>) -> bool {
        let point = self.points.get(place.grid).copied().flatten();
        let (Some(point), Some(grid)) = (point, self.scope.grids.get(place.grid)) else {
            return false;
        };
        grid.write_text(point, place.slot, out);
        true
    }

    fn pair(&self, place: ParamAt) -> Option<(&'a str, Cow<'a, Value>)> {
        Some((self.scope.name_of(place), self.value(place)?))
    }

    /// The parameters, inherited ones first.
    pub(super) fn params(&self) -> impl Iterator<Item = (&'a str, Cow<'a, Value>)> {
        self.scope.places().filter_map(|place| self.pair(place))
    }

    /// The parameters in the order of their names' bytes.
    pub(super) fn params_by_name(&self) -> impl Iterator<Item = (&'a str, Cow<'a, Value>)> {
        self.scope.by_name.iter().filter_map(|&place| self.pair(place))
    }

    /// Whether the texts of another instance's parameters may be the same.
    pub(super) fn is_duplicate(&self) -> bool {
        let mut points = self.scope.grids.iter().zip(&self.points);
        points.any(|(grid, point)| point.is_some_and(|point| grid.is_duplicate(point)))
    }
}
