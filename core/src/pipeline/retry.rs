//! Extra attempts, and the failures after which they are made.

use serde::{Deserialize, Serialize};

use crate::ids::Micros;
use crate::status::FailureKind;

/// Extra attempts after a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How many extra attempts at most.
    pub count: u32,
    /// The wait before the first extra attempt.
    #[serde(default)]
    pub delay: Micros,
    /// Whether each further wait is twice the one before.
    #[serde(default)]
    pub exponential: bool,
    /// The longest wait; zero is no limit.
    #[serde(default)]
    pub max_delay: Micros,
    /// Whether each wait is a random part of itself, between a half and the whole.
    #[serde(default)]
    pub jitter: bool,
    /// The failures that are tried again; empty is all. `lost` has no effect here: lost attempts
    /// are made again anyway.
    #[serde(default)]
    pub on: Vec<RetryOn>,
    /// How many times the memory of the attempt before the next one asks for, after an end for memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grow_memory: Option<Factor>,
}

/// By what a demand is multiplied, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Factor(pub u32);

impl Factor {
    /// The largest one.
    pub const MOST: Factor = Factor(1_000_000);

    /// This factor as often as `times` of an amount.
    #[must_use]
    pub fn times(self, amount: u64, times: u32) -> u64 {
        let mut grown = u128::from(amount);
        for _ in 0..times {
            grown = grown * u128::from(self.0) / 1000;
            if grown > u128::from(u64::MAX) {
                return u64::MAX;
            }
        }
        u64::try_from(grown).unwrap_or(u64::MAX)
    }
}

/// Rounded to thousandths; what is no number is zero.
impl From<f64> for Factor {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn from(factor: f64) -> Factor {
        Factor((factor * 1000.0).round() as u32)
    }
}

impl std::fmt::Display for Factor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", f64::from(self.0) / 1000.0)
    }
}

impl Retry {
    /// So many extra attempts after any failure, without a wait.
    #[must_use]
    pub fn times(count: u32) -> Retry {
        Retry { count, ..Retry::default() }
    }

    /// With this wait before each.
    #[must_use]
    pub fn delay(self, delay: std::time::Duration) -> Retry {
        Retry { delay: Micros::of(delay), ..self }
    }

    /// With waits that double, up to `longest`.
    #[must_use]
    pub fn exponential(self, longest: std::time::Duration) -> Retry {
        Retry { exponential: true, max_delay: Micros::of(longest), ..self }
    }

    /// Only after these failures.
    #[must_use]
    pub fn on(self, failures: impl IntoIterator<Item = RetryOn>) -> Retry {
        Retry { on: failures.into_iter().collect(), ..self }
    }

    /// After an end for memory the next attempt asks for so many times the memory of the one before.
    #[must_use]
    pub fn grow_memory(self, factor: f64) -> Retry {
        Retry { grow_memory: Some(factor.into()), ..self }
    }

    /// Whether a failure of this kind is tried again, as far as the count allows.
    #[must_use]
    pub fn covers(&self, kind: FailureKind) -> bool {
        self.on.is_empty() || self.on.iter().any(|on| on.covers(kind))
    }
}

/// A kind of failure that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetryOn {
    /// `exit:75`: this exit code.
    Exit(i32),
    /// `exit`: any exit code.
    AnyExit,
    /// `signal:9`: this signal.
    Signal(i32),
    /// `signal`: any signal.
    AnySignal,
    /// `timeout`.
    Timeout,
    /// `lost`.
    Lost,
    /// `output`: a declared output is missing.
    Output,
    /// `capture`: the output could not become the value.
    Capture,
    /// `start`: the process could not be started, or the function not be called.
    Start,
    /// `error`: the function returned an error.
    Error,
    /// `panic`: the function panicked.
    Panic,
    /// `memory`: it used more memory than it may.
    Memory,
}

impl RetryOn {
    /// Whether a failure is of this kind.
    #[must_use]
    pub fn covers(self, kind: FailureKind) -> bool {
        match (self, kind) {
            (RetryOn::Exit(code), FailureKind::Exit(other)) => code == other,
            (RetryOn::Signal(signal), FailureKind::Signal(other)) => signal == other,
            (RetryOn::AnyExit, FailureKind::Exit(_))
            | (RetryOn::AnySignal, FailureKind::Signal(_))
            | (RetryOn::Timeout, FailureKind::Timeout)
            | (RetryOn::Lost, FailureKind::Lost)
            | (RetryOn::Output, FailureKind::MissingOutput)
            | (RetryOn::Capture, FailureKind::Capture)
            | (RetryOn::Start, FailureKind::Start)
            | (RetryOn::Error, FailureKind::Function)
            | (RetryOn::Panic, FailureKind::Panic)
            | (RetryOn::Memory, FailureKind::Memory) => true,
            _ => false,
        }
    }
}
