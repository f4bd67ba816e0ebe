//! Parameter spaces: axes, their grid product and its corrections, with points implied.

mod choose;
mod duplicates;
mod exclude;
mod grid;
mod idle;
mod points;
mod runs;

use serde::{Deserialize, Serialize};

use crate::value::Value;

pub(crate) use choose::{Chosen, Line};
pub use grid::{Grid, Point};
pub(crate) use idle::Idle;
pub(crate) use runs::Runs;

/// A static fan-out over parameters: the grid product of `axes`, corrected by the rest.
///
/// [`Space::compile`] checks it and makes the [`Grid`] that gives the points.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Space {
    /// The axes, in the author's order; the last varies fastest.
    pub axes: Vec<Axis>,
    /// Groups of axes, by [`Axis::name`], that are paired instead of crossed. A group takes the
    /// position of its first member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zip: Vec<Vec<String>>,
    /// Partial rows: points that agree with all values of one are dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Vec<(String, Value)>>,
    /// Complete rows, appended after the grid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<Vec<(String, Value)>>,
}

/// How the number of points of a [`Space`] comes about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// The axes, those that are zipped together, each with its number of points: `strike 40`.
    pub factors: Vec<String>,
    /// Points that are excluded.
    pub excluded: u32,
    /// Rows that are included.
    pub included: u32,
}

/// One axis of a [`Space`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// Its name as the author wrote it: the key in `sweep`.
    pub name: String,
    /// The names of its parameters: its own name, except for tables (`csv`, `json` of objects).
    pub names: Vec<String>,
    /// The points.
    pub points: Points,
}

/// The points of an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Points {
    /// Written out: one row per point, one value per name.
    Rows(Vec<Vec<Value>>),
    /// `n` numbers at equal distances.
    Linspace(Ends),
    /// `n` numbers at equal ratios.
    Geomspace(Ends),
    /// Powers of ten, whose exponents are at equal distances between the `Ends`.
    Logspace(Ends),
    /// `first`, `first + step`, …: `n` integers.
    Range {
        /// The first.
        first: i64,
        /// The distance, not zero when `n` is more than 1.
        step: i64,
        /// How many.
        n: u32,
    },
}

/// The two ends of a row of numbers, both included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ends {
    /// The first.
    #[serde(with = "points::exact")]
    pub from: f64,
    /// The last.
    #[serde(with = "points::exact")]
    pub to: f64,
    /// How many, ends included.
    pub n: u32,
}

/// Why a `range` is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Neither `a..b` nor `a..=b` with integers.
    #[error("expected two integers as in `0..10` or `0..=10`")]
    Syntax,
    /// `step = 0`.
    #[error("the step must not be 0")]
    ZeroStep,
    /// More numbers than instances can be counted.
    #[error("more than 4294967295 numbers")]
    TooLong,
}

/// What is wrong with the points of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AxisProblem {
    /// An end is infinite or not a number.
    #[error("both ends must be finite numbers")]
    NotFinite,
    /// One point, two different ends.
    #[error("n = 1 cannot include two different ends")]
    OnePoint,
    /// `geomspace` from, to or across zero.
    #[error("geomspace needs two ends of the same sign, neither of them 0")]
    CrossesZero,
    /// `logspace` beyond what a number can hold.
    #[error("10 to the power of an end is no finite number other than 0")]
    Exponent,
    /// A row of `Rows` does not have one value per name.
    #[error("row {row} does not have one value per parameter")]
    RowLength {
        /// The row, from 0.
        row: usize,
    },
    /// The integers of a range leave 64 bits, or its step is 0.
    #[error("the range leaves the 64-bit integers, or its step is 0")]
    Overflow,
}

/// Why a [`Space`] has no points. Positions are those in the vectors of the space.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpaceError {
    /// The points of an axis cannot be made.
    #[error("axis {axis}: {problem}")]
    Axis {
        /// The axis.
        axis: usize,
        /// What is wrong.
        problem: AxisProblem,
    },
    /// Two axes give a parameter of the same name (or one does so twice).
    #[error("two parameters are called `{name}`")]
    DuplicateName {
        /// The name.
        name: String,
        /// The axis that had it first.
        first: usize,
        /// The axis that has it again.
        second: usize,
    },
    /// A zip group names an axis that does not exist.
    #[error("no axis is called `{name}`")]
    ZipUnknown {
        /// The group.
        group: usize,
        /// The position within the group.
        member: usize,
        /// The name.
        name: String,
    },
    /// An axis is in two zip groups, or twice in one.
    #[error("`{name}` is zipped twice")]
    ZipTwice {
        /// The group.
        group: usize,
        /// The position within the group.
        member: usize,
        /// The name.
        name: String,
    },
    /// The axes of a zip group have different lengths.
    #[error("zipped axes have different lengths")]
    ZipLengths {
        /// The group.
        group: usize,
        /// The lengths, in the order of the group.
        lengths: Vec<u32>,
    },
    /// An exclude row names a parameter that no axis gives.
    #[error("no axis gives a parameter `{name}`")]
    ExcludeUnknown {
        /// The row.
        row: usize,
        /// The name.
        name: String,
    },
    /// An exclude row without any value, which would drop every point.
    #[error("an empty row excludes everything")]
    ExcludeEmpty {
        /// The row.
        row: usize,
    },
    /// An include row names a parameter that no axis gives.
    #[error("no axis gives a parameter `{name}`")]
    IncludeUnknown {
        /// The row.
        row: usize,
        /// The name.
        name: String,
    },
    /// An include row lacks a parameter.
    #[error("the row lacks a value for `{name}`")]
    IncludeMissing {
        /// The row.
        row: usize,
        /// The name.
        name: String,
    },
    /// An include row has a parameter twice.
    #[error("the row has two values for `{name}`")]
    IncludeTwice {
        /// The row.
        row: usize,
        /// The name.
        name: String,
    },
    /// More points than instances can be counted.
    #[error("more than 4294967295 points")]
    TooWide,
    /// Too many points before `exclude` is applied.
    #[error("`exclude` works on at most 268435456 points")]
    TooWideToExclude,
}

impl Space {
    /// Checks the space and makes its points accessible, in time and memory for the axes, not for
    /// their product (`exclude` costs one bit per point of the product).
    ///
    /// # Errors
    /// The first problem found.
    pub fn compile(&self) -> Result<Grid, SpaceError> {
        Grid::new(self.clone())
    }

    /// How the number of points comes about; `None` when there are none that can be made.
    #[must_use]
    pub fn size(&self) -> Option<Size> {
        self.compile().ok().map(|grid| grid.size())
    }
}
