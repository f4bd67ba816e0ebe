//! Conditions on upstream instances.

use serde::{Deserialize, Serialize};

use crate::ids::TaskId;

/// A condition on upstream instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clause {
    /// The upstream tasks, each standing for all its instances.
    pub upstreams: Vec<TaskId>,
    /// Whether all or any of the instances count.
    pub quantifier: Quantifier,
    /// The outcomes that count.
    pub on: Outcomes,
}

/// `all` or `any` of a clause's instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantifier {
    /// Every instance.
    All,
    /// At least one instance; an empty set is met all the same.
    Any,
}

/// The outcomes that a clause counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcomes {
    /// Succeeded.
    Success,
    /// Any terminal state but succeeded.
    Failure,
    /// Any terminal state.
    Finish,
}
