//! Parameter spaces: axes, their grid product and its corrections, with points implied.

use serde::{Deserialize, Serialize};

use crate::value::Value;

/// A static fan-out over parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Space {
    /// The axes; the last varies fastest.
    pub axes: Vec<Axis>,
}

/// One axis of a [`Space`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// The names of its parameters: one, but for tables (`csv`, `json` of objects).
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
}
