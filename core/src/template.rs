//! Strings with placeholders, parsed once and rendered per instance.

use serde::{Deserialize, Serialize};

/// A string with placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template {
    /// Its literal pieces and placeholders, in order.
    pub parts: Vec<Part>,
}

/// A piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Text that stays as it is.
    Literal(String),
    /// Something to be put in per instance.
    Placeholder(Placeholder),
}

/// What stands between braces, resolved against its pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placeholder {
    /// `{name}`, `{name.field}`: a parameter.
    Param(String, Vec<String>),
    /// `{vars.name}`.
    Var(String, Vec<String>),
    /// `{index}`, `{index:03}`: with the least number of digits.
    Index(u8),
    /// `{key}`.
    Key,
    /// `{seed}`.
    Seed,
    /// `{out.NAME}`: position in the task's outputs.
    Out(u32),
    /// `{TASK.NAME}`: the upstream's position in `Recipe::upstreams`, position in its outputs.
    UpstreamOut(u32, u32),
    /// `{TASK.value}`, `{TASK.value.field}`: the upstream's position in `Recipe::upstreams`.
    UpstreamValue(u32, Vec<String>),
    /// `{TASK.manifest}`: the upstream's position in `Recipe::upstreams`.
    Manifest(u32),
    /// `{run.id}`.
    RunId,
    /// `{run.dir}`.
    RunDir,
    /// `{attempt}`: from 1.
    Attempt,
}
