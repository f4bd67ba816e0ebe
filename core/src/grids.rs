//! The tasks' own parameters: those of their sweep, and those of the groups of a gather, whose
//! combinations follow from the sweeps of the gathered tasks.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::ids::TaskId;
use crate::pipeline::{Pattern, Pipeline, Targets};
use crate::space::{Axis, Grid, Points, Space, SpaceError};

/// A task's own parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    /// The parameters; `None` is one instance without any.
    pub(crate) grid: Option<Grid>,
    /// For a gather by parameters, the group of each gathered instance. A group is both an instance
    /// of the gather and a point of its grid.
    pub(crate) groups: Option<Arc<[u32]>>,
}

impl Own {
    /// How many instances there are for each upstream instance, element or worker.
    pub(crate) fn width(&self) -> u32 {
        self.grid.as_ref().map_or(1, Grid::width)
    }
}

/// Why a task's own parameters cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GridError {
    /// There is no such task, or it depends on itself.
    Task(TaskId),
    /// Its sweep has no points.
    Space(TaskId, SpaceError),
    /// Its groups have too many instances or an unknown number of them, or are formed by something
    /// that is not a parameter.
    Groups(TaskId),
}

/// The tasks' own parameters, each computed once.
#[derive(Debug)]
pub(crate) struct Grids<'a> {
    pipeline: &'a Pipeline,
    known: FxHashMap<TaskId, Own>,
}

impl<'a> Grids<'a> {
    pub(crate) fn new(pipeline: &'a Pipeline) -> Grids<'a> {
        Grids { pipeline, known: FxHashMap::default() }
    }

    /// A task's own parameters; without recursion, as gathers may gather gathers.
    pub(crate) fn own(&mut self, task: TaskId) -> Result<Own, GridError> {
        let mut open = vec![task];
        let mut waiting = FxHashSet::default();
        while let Some(&at) = open.last() {
            if self.known.contains_key(&at) {
                open.pop();
                continue;
            }
            let found = self.pipeline.tasks.get(at.at()).ok_or(GridError::Task(at))?;
            let own = if let Some(upstream) = found.pattern.grouped() {
                let chain = self.map_chain(upstream)?;
                let unknown = |task: &TaskId| !self.known.contains_key(task);
                let missing: Vec<TaskId> = chain.iter().copied().filter(unknown).collect();
                if !missing.is_empty() {
                    if !waiting.insert(at) {
                        return Err(GridError::Task(at));
                    }
                    open.extend(missing);
                    continue;
                }
                let groups = match &found.pattern {
                    Pattern::GatherBy(_, by) => self.groups(&chain, by),
                    Pattern::GatherEvery(_, every) => self.parts(&chain, *every),
                    _ => None,
                };
                groups.ok_or(GridError::Groups(at))??
            } else {
                let grid = found.sweep.as_ref().map(Space::compile).transpose();
                let grid = grid.map_err(|error| GridError::Space(at, error))?;
                Own { grid, groups: None }
            };
            self.known.insert(at, own);
            open.pop();
        }
        self.known.get(&task).cloned().ok_or(GridError::Task(task))
    }

    /// A task and those that it maps, the outermost first.
    fn map_chain(&self, task: TaskId) -> Result<Vec<TaskId>, GridError> {
        let tasks = &self.pipeline.tasks;
        let mut chain = vec![task];
        let mut at = task;
        while let Pattern::Map(upstream) = tasks.get(at.at()).ok_or(GridError::Task(at))?.pattern {
            if chain.len() > tasks.len() {
                return Err(GridError::Task(task));
            }
            chain.push(upstream);
            at = upstream;
        }
        chain.reverse();
        Ok(chain)
    }

    /// The grids of a chain of maps, and how many instances the last task has; `None` when that is
    /// known only at run time, or they are too many.
    fn known_grids(&self, chain: &[TaskId]) -> Option<(Vec<&Grid>, u32)> {
        let root = self.pipeline.tasks.get(chain.first()?.at())?;
        if matches!(root.pattern, Pattern::Scatter(_)) || root.conduct.targets == Targets::Each {
            return None;
        }
        let grids: Vec<&Grid> =
            chain.iter().filter_map(|task| self.known.get(task)?.grid.as_ref()).collect();
        let width = grids.iter().try_fold(1u32, |width, grid| width.checked_mul(grid.width()))?;
        Some((grids, width))
    }

    /// The groups of this many consecutive instances of the last task of a chain of maps.
    fn parts(&self, chain: &[TaskId], every: u32) -> Option<Result<Own, GridError>> {
        let (_, width) = self.known_grids(chain)?;
        let every = every.max(1);
        let groups = (0..width).map(|index| index / every).collect();
        let points = Points::Range { first: 0, step: 1, n: width.div_ceil(every) };
        let axis = Axis { name: "part".into(), names: vec!["part".into()], points };
        let space = Space { axes: vec![axis], ..Space::default() };
        let task = *chain.last()?;
        Some(match space.compile() {
            Ok(grid) => Ok(Own { grid: Some(grid), groups: Some(groups) }),
            Err(error) => Err(GridError::Space(task, error)),
        })
    }

    /// The groups of the last task of a chain of maps; `None` when they cannot be made.
    fn groups(&self, chain: &[TaskId], by: &[String]) -> Option<Result<Own, GridError>> {
        let (grids, width) = self.known_grids(chain)?;
        let mut columns = Vec::with_capacity(by.len());
        for name in by {
            let find = |grid: &Grid| grid.names().iter().position(|known| known == name);
            let found = grids.iter().enumerate();
            columns.push(found.filter_map(|(at, grid)| Some((at, find(grid)?))).next()?);
        }
        let classes: Vec<(Vec<u32>, u32)> = grids
            .iter()
            .enumerate()
            .map(|(at, grid)| {
                let slots = columns.iter().filter(|column| column.0 == at).map(|column| column.1);
                classes(grid, &slots.collect::<Vec<_>>())
            })
            .collect();
        let mut group_of = FxHashMap::default();
        let mut rows = Vec::new();
        let mut groups = Vec::with_capacity(width as usize);
        let mut points = vec![0u32; grids.len()];
        for index in 0..width {
            let mut rest = index;
            // All classes as one number, below the width.
            let (mut class, mut radix) = (0u32, 1u32);
            for (at, grid) in grids.iter().enumerate().rev() {
                points[at] = rest % grid.width();
                rest /= grid.width();
                let (of_points, count) = &classes[at];
                class += of_points[points[at] as usize] * radix;
                radix = radix.saturating_mul(*count);
            }
            let group = *group_of.entry(class).or_insert_with(|| {
                let value = |&(at, slot): &(usize, usize)| {
                    let point = grids[at].point(points[at])?;
                    Some(grids[at].value(point, slot).into_owned())
                };
                rows.push(columns.iter().filter_map(value).collect());
                rows.len() as u32 - 1
            });
            groups.push(group);
        }
        let axis = Axis { name: by.join(","), names: by.to_vec(), points: Points::Rows(rows) };
        let space = Space { axes: vec![axis], ..Space::default() };
        let grid = if by.is_empty() { Ok(None) } else { space.compile().map(Some) };
        let task = *chain.last()?;
        Some(match grid {
            Ok(grid) => Ok(Own { grid, groups: Some(groups.into()) }),
            Err(error) => Err(GridError::Space(task, error)),
        })
    }
}

/// For each point of a grid a number for the values in `slots`, and how many numbers there are: the
/// same for the same values, whatever their spelling.
fn classes(grid: &Grid, slots: &[usize]) -> (Vec<u32>, u32) {
    if slots.is_empty() {
        return (vec![0; grid.width() as usize], 1);
    }
    let mut known: FxHashMap<Vec<u8>, u32> = FxHashMap::default();
    let mut classes = Vec::with_capacity(grid.width() as usize);
    for index in 0..grid.width() {
        let mut encoded = Vec::new();
        if let Some(point) = grid.point(index) {
            slots.iter().for_each(|&slot| grid.value(point, slot).write_canonical(&mut encoded));
        }
        let next = known.len() as u32;
        classes.push(*known.entry(encoded).or_insert(next));
    }
    (classes, known.len() as u32)
}
