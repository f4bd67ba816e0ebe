//! The options of a task: what does not depend on what it does.

use serde::{Deserialize, Serialize};

use super::Retry;
use crate::ids::Micros;

/// How the attempts of a task are made, placed and judged: what does not depend on what it does.
///
/// It is stored among the task's own keys, and only what differs from the default is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conduct {
    /// Extra attempts.
    #[serde(skip_serializing_if = "is_default")]
    pub retry: Retry,
    /// Longest run time of one attempt.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout: Option<Micros>,
    /// Time between SIGTERM and SIGKILL.
    #[serde(skip_serializing_if = "is_default_grace")]
    pub grace: Micros,
    /// Whether a failure of the task leaves the run successful.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_failure: bool,
    /// Slots an attempt occupies on its worker.
    #[serde(skip_serializing_if = "is_default_cpus")]
    pub cpus: u32,
    /// Whether an attempt occupies none of them, and starts at once whatever its worker is busy with.
    /// For looking at workers: a pipeline file cannot say so.
    #[serde(skip_serializing_if = "is_default")]
    pub beside: bool,
    /// How many of its instances may run at once.
    #[serde(skip_serializing_if = "is_default")]
    pub max_running: Option<u32>,
    /// How often an attempt that lost its worker is made again.
    #[serde(skip_serializing_if = "is_default_max_lost")]
    pub max_lost: u32,
    /// How long an instance may wait, once it is ready, before its first attempt starts.
    #[serde(skip_serializing_if = "is_default")]
    pub start_within: Option<Micros>,
    /// Whether it runs even when the run is being cancelled.
    #[serde(skip_serializing_if = "is_default")]
    pub always: bool,
    /// Whether it runs in every retry in which something runs that needs it or that it comes after,
    /// although it succeeded before.
    #[serde(skip_serializing_if = "is_default")]
    pub rerun: bool,
    /// Higher priorities come first.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: i32,
    /// Memory that an attempt occupies on its worker, in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub memory: u64,
    /// Custom resources that an attempt occupies on its worker, by name.
    #[serde(skip_serializing_if = "is_default")]
    pub resources: Vec<(String, u64)>,
    /// The workers that may run it.
    #[serde(skip_serializing_if = "is_default")]
    pub targets: Targets,
    /// How many gathered instances must succeed; all when not given. Only with a gather.
    #[serde(skip_serializing_if = "is_default")]
    pub min_success: Option<MinSuccess>,
    /// Whether a long value stays readable after the run, even when other tasks use it.
    #[serde(skip_serializing_if = "is_default")]
    pub keep: bool,
}

impl Conduct {
    /// The slots that an attempt occupies.
    #[must_use]
    pub fn slots(&self) -> u32 {
        if self.beside { 0 } else { self.cpus }
    }
}

impl Default for Conduct {
    fn default() -> Conduct {
        Conduct {
            retry: Retry::default(),
            timeout: None,
            grace: DEFAULT_GRACE,
            allow_failure: false,
            cpus: 1,
            beside: false,
            max_running: None,
            max_lost: DEFAULT_MAX_LOST,
            start_within: None,
            always: false,
            rerun: false,
            priority: 0,
            memory: 0,
            resources: Vec::new(),
            targets: Targets::Any,
            min_success: None,
            keep: false,
        }
    }
}

/// How long a process may take to end after SIGTERM, unless the author sets another time.
pub const DEFAULT_GRACE: Micros = Micros::from_secs(10);

/// How often a lost attempt is made again, unless the author sets another number.
pub const DEFAULT_MAX_LOST: u32 = 5;

// Options left at their default are not written: there may be a million tasks.

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_default_max_lost(count: &u32) -> bool {
    *count == DEFAULT_MAX_LOST
}

fn is_default_grace(grace: &Micros) -> bool {
    *grace == DEFAULT_GRACE
}

fn is_default_cpus(cpus: &u32) -> bool {
    *cpus == 1
}

/// The workers that may run a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Targets {
    /// Any.
    #[default]
    Any,
    /// Those with one of these names or labels.
    Named(Vec<String>),
    /// One instance for each worker present when the task becomes ready, each on its own.
    Each,
}

/// How many of the gathered instances must succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MinSuccess {
    /// At least this many, or all if there are fewer.
    Count(u32),
    /// At least this part of them, in 1/10,000, rounded up.
    Part(u32),
}

/// How many failures of instances a run bears; more of them cancel the rest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaxFail {
    /// So many.
    Count(u32),
    /// This part of the instances that are known, in 1/10,000, of tasks that may not fail.
    Part(u32),
}

impl MaxFail {
    /// Whether so many failures are more than that; `known` counts the instances.
    pub(crate) fn is_exceeded(self, failures: u64, known: impl FnOnce() -> u64) -> bool {
        match self {
            MaxFail::Count(most) => failures > u64::from(most),
            MaxFail::Part(part) => {
                u128::from(failures) * 10_000 > u128::from(known()) * u128::from(part)
            }
        }
    }
}

/// `20`, or `1%`.
impl std::str::FromStr for MaxFail {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<MaxFail, &'static str> {
        const FORMS: &str = "write how many may fail, such as 20, or a percentage, such as 1%";
        let Some(percent) = text.strip_suffix('%') else {
            return text.parse().map(MaxFail::Count).map_err(|_| FORMS);
        };
        let is_plain = percent.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let percent: f64 = percent.parse().ok().filter(|_| is_plain).ok_or(FORMS)?;
        if percent > 100.0 {
            return Err("a percentage is at most 100%");
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let part = (percent * 100.0).round() as u32;
        Ok(MaxFail::Part(part))
    }
}

impl From<u32> for MinSuccess {
    fn from(count: u32) -> MinSuccess {
        MinSuccess::Count(count)
    }
}

/// A part from 0 to 1; values outside are clamped.
impl From<f64> for MinSuccess {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn from(part: f64) -> MinSuccess {
        MinSuccess::Part((part.clamp(0.0, 1.0) * 10_000.0).round() as u32)
    }
}

impl MinSuccess {
    /// How many of `total` must succeed.
    #[must_use]
    pub fn of(self, total: u64) -> u64 {
        match self {
            MinSuccess::Count(count) => u64::from(count),
            MinSuccess::Part(part) => (total * u64::from(part)).div_ceil(10_000),
        }
    }
}
