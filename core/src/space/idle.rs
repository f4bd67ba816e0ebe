//! What in a space has no effect, or not the one that its author meant: rows that exclude nothing or
//! everything, points that are there twice, text where there are numbers.

use rustc_hash::FxHashMap;

use super::Grid;
use crate::value::Value;

/// Axes with more points are not searched for points that are there twice.
const SEARCHED: u32 = 10_000_000;

/// A part of a space that has no effect, or hardly the one that was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// An exclude row that no point of the axes agrees with.
    Exclude {
        /// The row.
        row: usize,
        /// A parameter of which it has text where the axis has the same as a number, or the other
        /// way round.
        kind: Option<String>,
    },
    /// An exclude row that says the same as an earlier one.
    ExcludeTwice {
        /// The row.
        row: usize,
        /// The earlier one.
        first: usize,
    },
    /// The exclude rows leave no point.
    AllExcluded,
    /// An axis, alone or zipped with others, that has points more than once.
    Axis {
        /// The first axis of its dimension.
        axis: usize,
        /// The text of such a point.
        example: String,
    },
    /// An include row that is a point of the grid already, or repeats an earlier row.
    Include {
        /// The row.
        row: usize,
    },
    /// An include row with text for a parameter of which the axis has numbers only, or the other way
    /// round.
    IncludeKind {
        /// The row.
        row: usize,
        /// The parameter.
        name: String,
    },
}

impl Grid {
    /// All that has no effect. Takes time for each point of each axis, not for each of the product.
    pub(crate) fn idle(&self) -> Vec<Idle> {
        let mut idle = self.idle_excludes();
        if self.product() > 0 && self.width() == 0 {
            idle.push(Idle::AllExcluded);
        }
        if self.dimensions().iter().any(|dimension| dimension.len > SEARCHED) {
            return idle;
        }
        idle.extend(self.doubled_axes());
        let mut repeats: Vec<u32> = self.known_duplicates().repeats.iter().copied().collect();
        repeats.sort_unstable();
        idle.extend(repeats.into_iter().map(|row| Idle::Include { row: row as usize }));
        idle.extend(self.strange_includes());
        idle
    }

    fn idle_excludes(&self) -> Vec<Idle> {
        let mut idle = Vec::new();
        let mut first_of: FxHashMap<Vec<u8>, usize> = FxHashMap::default();
        for (row, wanted) in self.space().exclude.iter().enumerate() {
            let first = *first_of.entry(canonical(wanted)).or_insert(row);
            if first < row {
                idle.push(Idle::ExcludeTwice { row, first });
            } else if !self.excludes_something(wanted) {
                let kind = wanted.iter().find(|(name, value)| self.is_of_other_kind(name, value));
                idle.push(Idle::Exclude { row, kind: kind.map(|(name, _)| name.clone()) });
            }
        }
        idle
    }

    /// Whether a point of the axes agrees with a row.
    fn excludes_something(&self, wanted: &[(String, Value)]) -> bool {
        let mut conditions = vec![Vec::new(); self.dimensions().len()];
        for (name, value) in wanted {
            let at = self.names().iter().position(|known| known == name);
            let Some((axis, column)) = at.and_then(|at| self.slot(at)) else { return true };
            conditions[self.dimension_of(axis)].push((axis, column, value));
        }
        self.dimensions().iter().zip(&conditions).all(|(dimension, conditions)| {
            let axes = &self.space().axes;
            let agrees = |at| {
                conditions.iter().all(|(axis, column, value)| {
                    axes[*axis].points.value(at, *column).matches(value)
                })
            };
            conditions.is_empty() || (0..dimension.len).any(agrees)
        })
    }

    /// Whether an axis has a value of the same text but of another kind, and never this one.
    fn is_of_other_kind(&self, name: &str, wanted: &Value) -> bool {
        let mut similar = false;
        for value in self.values_of(name) {
            if value.matches(wanted) {
                return false;
            }
            similar |= match (value.as_number(), wanted.as_number()) {
                (Some(one), Some(two)) => {
                    let (one, two) = (Value::Number(one.into()), Value::Number(two.into()));
                    one.same_value(&two)
                }
                _ => value.to_text() == wanted.to_text(),
            };
        }
        similar
    }

    /// The values of a parameter on its axis.
    fn values_of(&self, name: &str) -> impl Iterator<Item = Value> {
        let at = self.names().iter().position(|known| known == name);
        let slot = at.and_then(|at| self.slot(at));
        slot.into_iter().flat_map(|(axis, column)| {
            let count = self.dimensions().get(self.dimension_of(axis)).map_or(0, |d| d.len);
            let points = &self.space().axes[axis].points;
            (0..count).map(move |at| points.value(at, column).into_owned())
        })
    }

    fn doubled_axes(&self) -> Vec<Idle> {
        let positions = &self.known_duplicates().positions;
        let pairs = self.dimensions().iter().zip(positions);
        let doubled = pairs.filter_map(|(dimension, positions)| {
            let first = *positions.iter().min()?;
            let axes = &self.space().axes;
            let columns = dimension.axes.iter().flat_map(|&axis| {
                let columns = 0..axes[axis].names.len();
                columns.map(move |column| axes[axis].points.value(first, column).to_text())
            });
            let texts: Vec<_> =
                columns.map(|text| String::from_utf8_lossy(&text).into_owned()).collect();
            Some(Idle::Axis { axis: *dimension.axes.first()?, example: texts.join(", ") })
        });
        doubled.collect()
    }

    fn strange_includes(&self) -> Vec<Idle> {
        let rows = &self.space().include;
        let mut idle = Vec::new();
        for name in self.names().iter().filter(|_| !rows.is_empty()) {
            let mut kinds = self.values_of(name).map(|value| Kind::of(&value));
            let Some(first) = kinds.next() else { continue };
            if first == Kind::Other || kinds.any(|kind| kind != first) {
                continue;
            }
            for (row, fields) in rows.iter().enumerate() {
                let value = fields.iter().find(|(known, _)| known == name);
                let kind = value.map_or(first, |(_, value)| Kind::of(value));
                if kind != first && kind != Kind::Other {
                    idle.push(Idle::IncludeKind { row, name: name.clone() });
                }
            }
        }
        idle
    }
}

/// What can be mistaken for each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Other,
}

impl Kind {
    fn of(value: &Value) -> Kind {
        match value {
            Value::Number(_) => Kind::Number,
            Value::String(_) => Kind::Text,
            _ => Kind::Other,
        }
    }
}

/// A row independently of the order of its fields.
fn canonical(row: &[(String, Value)]) -> Vec<u8> {
    let mut fields: Vec<_> = row.iter().collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let mut encoded = Vec::new();
    for (name, value) in fields {
        encoded.extend_from_slice(&(name.len() as u64).to_le_bytes());
        encoded.extend_from_slice(name.as_bytes());
        value.write_canonical(&mut encoded);
    }
    encoded
}
