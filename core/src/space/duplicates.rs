//! Points of a grid that the texts of their parameters do not distinguish.
//!
//! Only 64-bit hashes are compared: a point may be mistaken for a duplicate, which makes its key
//! longer but does no harm.

use rustc_hash::{FxHashMap, FxHashSet};

use super::grid::{Dimension, Duplicates};
use super::{Grid, Point};
use crate::hash::StableHash;
use crate::value::write_canonical_text;

impl Grid {
    /// Whether the texts of all parameters of another point may be the same as those of this one.
    #[must_use]
    pub fn is_duplicate(&self, point: Point) -> bool {
        self.known_duplicates().contains(self, point)
    }

    pub(super) fn known_duplicates(&self) -> &Duplicates {
        self.duplicates().get_or_init(|| Duplicates::new(self))
    }
}

impl Duplicates {
    /// Looks for the duplicates of `grid`.
    fn new(grid: &Grid) -> Duplicates {
        let mut found = Duplicates {
            positions: grid.dimensions().iter().map(|d| repeated(grid, d)).collect(),
            ..Duplicates::default()
        };
        found.look_at_included(grid);
        found
    }

    /// Whether `point` is one.
    fn contains(&self, grid: &Grid, point: Point) -> bool {
        match point {
            Point::Included(row) => self.included.contains(&row),
            Point::Product(position) => {
                self.product.contains(&position)
                    || self.positions.iter().zip(grid.dimensions()).any(|(repeated, dimension)| {
                        !repeated.is_empty() && repeated.contains(&dimension.coordinate(position))
                    })
            }
        }
    }

    fn look_at_included(&mut self, grid: &Grid) {
        let rows = grid.included();
        let mut first_of: FxHashMap<u64, u32> = FxHashMap::default();
        let all: Vec<usize> = (0..grid.names().len()).collect();
        for row in 0..rows.len() as u32 {
            if let Some(&first) = first_of.get(&included_hash(grid, row, &all)) {
                self.included.extend([first, row]);
                self.repeats.insert(row);
            } else {
                first_of.insert(included_hash(grid, row, &all), row);
            }
        }
        if rows.is_empty() || grid.dimensions().is_empty() {
            return;
        }
        // For each row the positions, by dimension, that agree with it.
        let mut agreeing: Vec<Vec<Option<u32>>> = vec![Vec::new(); rows.len()];
        for dimension in grid.dimensions() {
            let mut wanted: FxHashMap<u64, Option<u32>> = FxHashMap::default();
            let slots = slots(grid, dimension);
            let hashes: Vec<u64> =
                (0..rows.len() as u32).map(|row| included_hash(grid, row, &slots)).collect();
            wanted.extend(hashes.iter().map(|&hash| (hash, None)));
            for at in 0..dimension.len {
                if let Some(found) = wanted.get_mut(&position_hash(grid, dimension, at)) {
                    found.get_or_insert(at);
                }
            }
            for (row, hash) in hashes.iter().enumerate() {
                agreeing[row].push(wanted.get(hash).copied().flatten());
            }
        }
        for (row, positions) in agreeing.into_iter().enumerate() {
            let Some(positions) = positions.into_iter().collect::<Option<Vec<u32>>>() else {
                continue;
            };
            let dimensions = grid.dimensions();
            let position = dimensions.iter().zip(&positions).map(|(d, at)| d.stride() * at).sum();
            let ambiguous = self.positions.iter().zip(&positions).any(|(set, at)| set.contains(at));
            if ambiguous || grid.is_kept(position) {
                self.included.insert(row as u32);
                self.repeats.insert(row as u32);
                self.product.insert(position);
            }
        }
    }
}

/// The positions of a dimension whose texts it has more than once.
fn repeated(grid: &Grid, dimension: &Dimension) -> FxHashSet<u32> {
    let axes = &grid.space().axes;
    if dimension.axes.iter().any(|&axis| axes[axis].points.distinct()) {
        return FxHashSet::default();
    }
    let mut repeated = FxHashSet::default();
    let mut first_of: FxHashMap<u64, u32> = FxHashMap::default();
    for at in 0..dimension.len {
        match first_of.entry(position_hash(grid, dimension, at)) {
            std::collections::hash_map::Entry::Occupied(first) => {
                repeated.extend([*first.get(), at]);
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(at);
            }
        }
    }
    repeated
}

/// The parameters of a dimension, as positions among the names.
fn slots(grid: &Grid, dimension: &Dimension) -> Vec<usize> {
    dimension.axes.iter().flat_map(|&axis| grid.slots_of(axis)).collect()
}

fn included_hash(grid: &Grid, row: u32, slots: &[usize]) -> u64 {
    hash_of(slots.iter().map(|&at| grid.value(Point::Included(row), at).to_text()))
}

fn position_hash(grid: &Grid, dimension: &Dimension, at: u32) -> u64 {
    let axes = &grid.space().axes;
    hash_of(dimension.axes.iter().flat_map(|&axis| {
        let columns = 0..axes[axis].names.len();
        columns.map(move |column| axes[axis].points.value(at, column).to_text())
    }))
}

fn hash_of(texts: impl Iterator<Item = Vec<u8>>) -> u64 {
    let mut encoded = Vec::new();
    texts.for_each(|text| write_canonical_text(&text, &mut encoded));
    StableHash::of(&encoded)
}
