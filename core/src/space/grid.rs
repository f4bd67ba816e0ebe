//! A checked space: its points by index, none of them stored.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize, Serializer};

use super::exclude::Kept;
use super::{Size, Space, SpaceError};
use crate::value::Value;

/// The maximum number of points before `exclude`: 32 MiB of bits.
const MAX_EXCLUDED_FROM: u32 = 1 << 28;

/// A checked [`Space`] with access to its points by index.
///
/// Cheap to clone. Serialised as its space.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Space")]
pub struct Grid(Arc<Inner>);

/// An axis and a column of it.
type Slot = (usize, usize);

#[derive(Debug)]
struct Inner {
    space: Space,
    names: Vec<String>,
    /// Where each name comes from.
    slots: Vec<Slot>,
    dimensions: Vec<Dimension>,
    /// For each axis its dimension.
    places: Vec<usize>,
    /// Points of the product, before `exclude`.
    product: u32,
    kept: Option<Kept>,
    /// The include rows, values in the order of `names`.
    include: Vec<Vec<Value>>,
    width: u32,
    /// Computed on first use.
    duplicates: OnceLock<Duplicates>,
}

/// The points that the texts of their parameters do not distinguish; see `duplicates`.
#[derive(Debug, Default)]
pub(super) struct Duplicates {
    /// For each dimension the positions whose texts it has more than once.
    pub(super) positions: Vec<FxHashSet<u32>>,
    /// Positions of the product that an include row repeats.
    pub(super) product: FxHashSet<u32>,
    /// Include rows that repeat another row or a point of the product.
    pub(super) included: FxHashSet<u32>,
    /// Include rows that repeat an earlier row or a point of the product.
    pub(super) repeats: FxHashSet<u32>,
}

/// One axis, or several that are zipped.
#[derive(Clone, Debug)]
pub(super) struct Dimension {
    /// The axes.
    pub(super) axes: Vec<usize>,
    /// How many points they have.
    pub(super) len: u32,
    /// Points of the product from one position to the next.
    stride: u32,
}

/// Where a point comes from; see [`Grid::point`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A position in the product of the axes.
    Product(u32),
    /// An include row.
    Included(u32),
}

impl Grid {
    pub(super) fn new(space: Space) -> Result<Grid, SpaceError> {
        for (axis, found) in space.axes.iter().enumerate() {
            found.check().map_err(|problem| SpaceError::Axis { axis, problem })?;
        }
        let (names, slots) = names(&space)?;
        let (mut dimensions, places) = dimensions(&space)?;
        let include = include(&space, &names)?;
        let product = strides(&mut dimensions)?;
        // Without axes the product is one point without parameters; include rows replace it.
        let product = if space.axes.is_empty() && !include.is_empty() { 0 } else { product };
        let mut inner = Inner {
            space,
            names,
            slots,
            dimensions,
            places,
            product,
            kept: None,
            include,
            width: 0,
            duplicates: OnceLock::new(),
        };
        inner.kept = inner.exclude()?;
        let base = inner.kept.as_ref().map_or(inner.product, Kept::count);
        let included = u32::try_from(inner.include.len()).map_err(|_| SpaceError::TooWide)?;
        inner.width = base.checked_add(included).ok_or(SpaceError::TooWide)?;
        Ok(Grid(Arc::new(inner)))
    }

    /// How many points there are.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.0.width
    }

    /// The names of the parameters, in the order of [`Grid::params`].
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0.names
    }

    /// The parameters of a point; empty when there is no such point.
    #[must_use]
    pub fn params(&self, index: u32) -> Vec<(String, Value)> {
        let Some(point) = self.point(index) else { return Vec::new() };
        let values = (0..self.0.names.len()).map(|at| self.value(point, at).into_owned());
        self.0.names.iter().cloned().zip(values).collect()
    }

    /// Where the point of an index is found, for [`Grid::value`].
    #[must_use]
    pub fn point(&self, index: u32) -> Option<Point> {
        let inner = &*self.0;
        let base = self.base();
        if index >= base {
            return (index < inner.width).then(|| Point::Included(index - base));
        }
        match &inner.kept {
            Some(kept) => kept.select(index).map(Point::Product),
            None => Some(Point::Product(index)),
        }
    }

    /// The value of the parameter number `at` (in the order of [`Grid::names`]) of a point; null
    /// when there is no such parameter.
    #[must_use]
    pub fn value(&self, point: Point, at: usize) -> Cow<'_, Value> {
        let inner = &*self.0;
        match point {
            Point::Included(row) => {
                let value = inner.include.get(row as usize).and_then(|row| row.get(at));
                value.map_or(Cow::Owned(Value::Null), Cow::Borrowed)
            }
            Point::Product(position) => match inner.slots.get(at) {
                Some(&(axis, column)) => {
                    let dimension = &inner.dimensions[inner.places[axis]];
                    inner.space.axes[axis].points.value(dimension.coordinate(position), column)
                }
                None => Cow::Owned(Value::Null),
            },
        }
    }

    /// Appends the text of a parameter, see [`Grid::value`] and [`Value::write_text`].
    pub fn write_text(&self, point: Point, at: usize, out: &mut Vec<u8>) {
        let inner = &*self.0;
        match (point, inner.slots.get(at)) {
            (Point::Product(position), Some(&(axis, column))) => {
                let dimension = &inner.dimensions[inner.places[axis]];
                let points = &inner.space.axes[axis].points;
                points.write_text(dimension.coordinate(position), column, out);
            }
            _ => self.value(point, at).write_text(out),
        }
    }

    /// The space that this was made of.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.0.space
    }

    pub(super) fn duplicates(&self) -> &OnceLock<Duplicates> {
        &self.0.duplicates
    }

    pub(super) fn dimensions(&self) -> &[Dimension] {
        &self.0.dimensions
    }

    /// The include rows, values in the order of the names.
    pub(super) fn included(&self) -> &[Vec<Value>] {
        &self.0.include
    }

    /// The positions of an axis' columns among the names.
    pub(super) fn slots_of(&self, axis: usize) -> impl Iterator<Item = usize> {
        let slots = self.0.slots.iter().enumerate();
        slots.filter(move |(_, slot)| slot.0 == axis).map(|(at, _)| at)
    }

    /// Where a parameter comes from: the axis and its column; none for those of include rows alone.
    pub(super) fn slot(&self, at: usize) -> Option<(usize, usize)> {
        self.0.slots.get(at).copied()
    }

    /// The dimension of an axis.
    pub(super) fn dimension_of(&self, axis: usize) -> usize {
        self.0.places[axis]
    }

    /// Points of the product, before `exclude`.
    pub(super) fn product(&self) -> u32 {
        self.0.product
    }

    /// Points of the product, after `exclude`.
    pub(super) fn base(&self) -> u32 {
        self.0.width - self.0.include.len() as u32
    }

    /// How the number of points comes about.
    pub(super) fn size(&self) -> Size {
        let factor = |dimension: &Dimension| {
            let names = dimension.axes.iter().map(|axis| self.space().axes[*axis].name.as_str());
            let names: Vec<_> = names.collect();
            format!("{} {}", names.join("+"), dimension.len)
        };
        Size {
            factors: self.dimensions().iter().map(factor).collect(),
            excluded: self.product() - self.base(),
            included: self.width() - self.base(),
        }
    }

    /// The survivors of `exclude`; none where nothing is excluded.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.0.kept.as_ref()
    }

    /// Whether a position of the product is a point.
    pub(super) fn is_kept(&self, position: u32) -> bool {
        self.0.kept.as_ref().is_none_or(|kept| kept.contains(position))
    }
}

impl Dimension {
    /// The position in this dimension of a position in the product.
    pub(super) fn coordinate(&self, position: u32) -> u32 {
        position / self.stride.max(1) % self.len.max(1)
    }

    /// What one step in this dimension adds to the position in the product.
    pub(super) fn stride(&self) -> u32 {
        self.stride
    }
}

impl TryFrom<Space> for Grid {
    type Error = SpaceError;

    fn try_from(space: Space) -> Result<Grid, SpaceError> {
        Grid::new(space)
    }
}

impl Serialize for Grid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.space().serialize(serializer)
    }
}

impl PartialEq for Grid {
    fn eq(&self, other: &Grid) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.space() == other.space()
    }
}

impl Inner {
    /// The survivors of the exclude rows; none when there are no such rows.
    fn exclude(&self) -> Result<Option<Kept>, SpaceError> {
        let mut rows = Vec::new();
        for (row, wanted) in self.space.exclude.iter().enumerate() {
            if wanted.is_empty() {
                return Err(SpaceError::ExcludeEmpty { row });
            }
            let mut conditions = vec![Vec::new(); self.dimensions.len()];
            for (name, value) in wanted {
                let at = self.names.iter().position(|known| known == name);
                let Some(&(axis, column)) = at.and_then(|at| self.slots.get(at)) else {
                    return Err(SpaceError::ExcludeUnknown { row, name: name.clone() });
                };
                conditions[self.places[axis]].push((axis, column, value));
            }
            rows.push(conditions);
        }
        if rows.is_empty() {
            return Ok(None);
        }
        if self.product > MAX_EXCLUDED_FROM {
            return Err(SpaceError::TooWideToExclude);
        }
        let mut kept = Kept::all(self.product);
        for conditions in rows {
            let matching = self.dimensions.iter().zip(&conditions);
            let matching: Vec<_> = matching.map(|(d, wanted)| self.matching(d, wanted)).collect();
            remove(&mut kept, &self.dimensions, &matching);
        }
        kept.index();
        Ok(Some(kept))
    }

    /// The positions of a dimension that meet all conditions; `None` for all of them.
    fn matching(
        &self,
        dimension: &Dimension,
        wanted: &[(usize, usize, &Value)],
    ) -> Option<Vec<u32>> {
        if wanted.is_empty() {
            return None;
        }
        let meets = |at: &u32| {
            wanted.iter().all(|&(axis, column, value)| {
                self.space.axes[axis].points.value(*at, column).matches(value)
            })
        };
        Some((0..dimension.len).filter(meets).collect())
    }
}

/// Removes the product of the matching positions.
fn remove(kept: &mut Kept, dimensions: &[Dimension], matching: &[Option<Vec<u32>>]) {
    // Beyond the last constrained dimension everything is removed, in one piece.
    let Some(last) = matching.iter().rposition(Option::is_some) else { return };
    let choices: Vec<(u32, Cow<'_, [u32]>)> = dimensions[..=last]
        .iter()
        .zip(matching)
        .map(|(dimension, matching)| match matching {
            Some(positions) => (dimension.stride, Cow::Borrowed(positions.as_slice())),
            None => (dimension.stride, Cow::Owned((0..dimension.len).collect())),
        })
        .collect();
    if choices.iter().any(|(stride, positions)| *stride == 0 || positions.is_empty()) {
        return;
    }
    let mut odometer = vec![0; choices.len()];
    loop {
        let start =
            choices.iter().zip(&odometer).map(|((stride, p), &at): (_, &usize)| stride * p[at]);
        kept.remove(start.sum(), dimensions[last].stride);
        let Some(turn) =
            (0..choices.len()).rev().find(|&at| odometer[at] + 1 < choices[at].1.len())
        else {
            return;
        };
        odometer[turn] += 1;
        odometer[turn + 1..].fill(0);
    }
}

/// The names of all parameters and where they come from.
fn names(space: &Space) -> Result<(Vec<String>, Vec<Slot>), SpaceError> {
    let mut names: Vec<String> = Vec::new();
    let mut slots: Vec<Slot> = Vec::new();
    for (axis, found) in space.axes.iter().enumerate() {
        for (column, name) in found.names.iter().enumerate() {
            if let Some(at) = names.iter().position(|known| known == name) {
                let (first, name) = (slots[at].0, name.clone());
                return Err(SpaceError::DuplicateName { name, first, second: axis });
            }
            names.push(name.clone());
            slots.push((axis, column));
        }
    }
    if let (true, Some(row)) = (space.axes.is_empty(), space.include.first()) {
        for (name, _) in row {
            if names.contains(name) {
                return Err(SpaceError::IncludeTwice { row: 0, name: name.clone() });
            }
            names.push(name.clone());
        }
    }
    Ok((names, slots))
}

/// The dimensions in the order of their first axes, and the dimension of each axis.
fn dimensions(space: &Space) -> Result<(Vec<Dimension>, Vec<usize>), SpaceError> {
    let axes = &space.axes;
    let mut groups: Vec<Option<usize>> = vec![None; axes.len()];
    for (group, members) in space.zip.iter().enumerate() {
        let mut lengths = Vec::new();
        for (member, name) in members.iter().enumerate() {
            let found = axes.iter().position(|axis| axis.name == *name);
            let found = found.or_else(|| axes.iter().position(|axis| axis.names.contains(name)));
            let Some(axis) = found else {
                return Err(SpaceError::ZipUnknown { group, member, name: name.clone() });
            };
            if groups[axis].is_some() {
                return Err(SpaceError::ZipTwice { group, member, name: name.clone() });
            }
            groups[axis] = Some(group);
            lengths.push(u32::try_from(axes[axis].points.count()).unwrap_or(u32::MAX));
        }
        if lengths.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(SpaceError::ZipLengths { group, lengths });
        }
    }
    let mut dimensions: Vec<Dimension> = Vec::new();
    let mut places = Vec::new();
    let mut of_group = vec![None; space.zip.len()];
    for (axis, found) in axes.iter().enumerate() {
        if let Some(Some(dimension)) = groups[axis].map(|group| of_group[group]) {
            let dimension: usize = dimension;
            dimensions[dimension].axes.push(axis);
            places.push(dimension);
            continue;
        }
        if let Some(group) = groups[axis] {
            of_group[group] = Some(dimensions.len());
        }
        places.push(dimensions.len());
        let len = u32::try_from(found.points.count()).map_err(|_| SpaceError::TooWide)?;
        dimensions.push(Dimension { axes: vec![axis], len, stride: 0 });
    }
    Ok((dimensions, places))
}

/// Fills in the strides and returns the number of points of the product.
fn strides(dimensions: &mut [Dimension]) -> Result<u32, SpaceError> {
    if dimensions.iter().any(|dimension| dimension.len == 0) {
        return Ok(0);
    }
    let mut product = 1u32;
    for dimension in dimensions.iter_mut().rev() {
        dimension.stride = product;
        product = product.checked_mul(dimension.len).ok_or(SpaceError::TooWide)?;
    }
    Ok(product)
}

/// The include rows with their values in the order of `names`.
fn include(space: &Space, names: &[String]) -> Result<Vec<Vec<Value>>, SpaceError> {
    let mut rows = Vec::new();
    for (row, found) in space.include.iter().enumerate() {
        let mut values = vec![None; names.len()];
        for (name, value) in found {
            let Some(at) = names.iter().position(|known| known == name) else {
                return Err(SpaceError::IncludeUnknown { row, name: name.clone() });
            };
            if values[at].replace(value.clone()).is_some() {
                return Err(SpaceError::IncludeTwice { row, name: name.clone() });
            }
        }
        let missing = values.iter().position(Option::is_none);
        if let Some(at) = missing {
            return Err(SpaceError::IncludeMissing { row, name: names[at].clone() });
        }
        rows.push(values.into_iter().flatten().collect());
    }
    Ok(rows)
}
