//! The parameters of a task: which there are, where they come from, and the value of each.

use std::borrow::Cow;

use super::selection::Level;
use crate::grids::{GridError, Grids};
use crate::ids::TaskId;
use crate::pipeline::{Pattern, Pipeline, Targets};
use crate::space::{Chosen, Grid, Point as GridPoint};
use crate::value::Value;

/// The parameters of a task, those that it inherits first.
#[derive(Clone, Debug)]
pub struct Columns {
    /// The outermost first.
    pub(super) grids: Vec<Grid>,
    params: Vec<Param>,
    /// What the outermost level is, when it is no grid.
    root: Root,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    Grid,
    Items(TaskId),
    Workers,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Which of the grids it is of.
    pub(super) grid: usize,
    /// Which of the grid's names it is.
    pub(super) slot: usize,
}

/// Why a task has no parameters that could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parameters of task {0} cannot be made")]
pub struct ColumnsError(pub TaskId);

/// The parameters of one instance.
#[derive(Clone, Debug, Default)]
pub struct Point {
    /// The position in each grid; the part of the items, or the worker, comes before them.
    at: Vec<Option<GridPoint>>,
    part: u32,
}

impl Columns {
    /// Those of a task.
    ///
    /// # Errors
    /// When the pipeline is not one that [`crate::graph::Graph::new`] accepts.
    pub fn new(pipeline: &Pipeline, task: TaskId) -> Result<Columns, ColumnsError> {
        let error = |_: GridError| ColumnsError(task);
        let mut makers = Grids::new(pipeline);
        let mut grids = Vec::new();
        let mut at = task;
        // A cycle of maps is cut by the number of steps.
        for _ in 0..=pipeline.tasks.len() {
            let found = pipeline.tasks.get(at.at()).ok_or(ColumnsError(task))?;
            grids.extend(makers.own(at).map_err(error)?.grid);
            if let Pattern::Map(upstream) = found.pattern {
                at = upstream;
                continue;
            }
            let root = match found.pattern {
                Pattern::Scatter(_) => Root::Items(at),
                _ if found.conduct.targets == Targets::Each => Root::Workers,
                _ => Root::Grid,
            };
            grids.reverse();
            return Ok(Columns::of(grids, root));
        }
        Err(ColumnsError(task))
    }

    fn of(grids: Vec<Grid>, root: Root) -> Columns {
        let mut params = Vec::new();
        for (grid, found) in grids.iter().enumerate() {
            for (slot, name) in found.names().iter().enumerate() {
                params.push(Param { name: name.clone(), grid, slot });
            }
        }
        Columns { grids, params, root }
    }

    /// The parameters, those of the outermost task first, in the author's order.
    #[must_use]
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// The task whose items its instances have, if they have any.
    #[must_use]
    pub fn items(&self) -> Option<TaskId> {
        match self.root {
            Root::Items(task) => Some(task),
            Root::Grid | Root::Workers => None,
        }
    }

    /// How many instances of this task there are for each item or worker.
    #[must_use]
    pub fn inner_width(&self) -> u32 {
        self.grids.iter().fold(1, |width, grid| width.saturating_mul(grid.width()))
    }

    /// Finds the parameters of an instance; `point` is used again.
    pub fn seek(&self, index: u32, point: &mut Point) {
        point.at.clear();
        point.at.resize(self.grids.len(), None);
        let mut rest = index;
        for (at, grid) in self.grids.iter().enumerate().rev() {
            let width = grid.width().max(1);
            let outermost = at == 0 && self.root == Root::Grid;
            let own = if outermost { rest } else { rest % width };
            if let Some(slot) = point.at.get_mut(at) {
                *slot = grid.point(own);
            }
            rest /= width;
        }
        point.part = rest;
    }

    /// The value of a parameter; null where there is no such instance.
    #[must_use]
    pub fn value<'a>(&'a self, point: &Point, param: &Param) -> Cow<'a, Value> {
        let found = point.at.get(param.grid).copied().flatten();
        match (found, self.grids.get(param.grid)) {
            (Some(found), Some(grid)) => grid.value(found, param.slot),
            _ => Cow::Owned(Value::Null),
        }
    }

    /// Appends its text, see [`Value::write_text`].
    pub fn write_text(&self, point: &Point, param: &Param, out: &mut Vec<u8>) {
        let found = point.at.get(param.grid).copied().flatten();
        if let (Some(found), Some(grid)) = (found, self.grids.get(param.grid)) {
            grid.write_text(found, param.slot, out);
        }
    }

    /// The levels of an index, nothing left out; `width` is the number of instances.
    pub(super) fn levels(&self, width: u32) -> Vec<Level> {
        let inner = self.inner_width().max(1);
        let open = (self.root != Root::Grid || self.grids.is_empty()).then_some(width / inner);
        let open = open.map(|width| Level::Open(width, None));
        let grids = self.grids.iter().cloned().map(Chosen::all).map(Level::Grid);
        open.into_iter().chain(grids).collect()
    }

    /// Which of the levels the first grid is.
    pub(super) fn first_grid(&self) -> usize {
        usize::from(self.root != Root::Grid || self.grids.is_empty())
    }
}

impl Point {
    /// The part of the items that the instance has, or the number of its worker.
    #[must_use]
    pub fn part(&self) -> u32 {
        self.part
    }
}
