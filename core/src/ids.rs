//! Newtype identifiers, one per noun, so that none can be mistaken for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// One execution of a pipeline: 1, 2, 3, … within a state directory.
    RunId(u64)
);
id!(
    /// A task's position in its pipeline.
    TaskId(u32)
);
id!(
    /// A worker's session with the scheduler; a worker that comes back gets a new one.
    WorkerId(u32)
);
id!(
    /// One start of one instance; never used twice while a scheduler lives.
    AttemptId(u64)
);

impl TaskId {
    /// The position as an index into a slice of tasks.
    #[must_use]
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// One instance of a task: `price[7]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId {
    /// The task.
    pub task: TaskId,
    /// The instance's index within the task, from 0.
    pub index: u32,
}

/// A point in time: microseconds since the Unix epoch (or, in a simulation, since its start).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A length of time in microseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl Timestamp {
    /// This time plus `span`, saturating.
    #[must_use]
    pub fn plus(self, span: Micros) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0))
    }

    /// The time since `earlier`, zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }
}

/// In the form in which authors write it: `2s`, `1.5s`, `250ms`, `90m`, `2h`.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: u64 = 1_000_000;
        let micros = self.0;
        match micros {
            0 => f.write_str("0s"),
            _ if micros.is_multiple_of(3600 * SECOND) => write!(f, "{}h", micros / (3600 * SECOND)),
            _ if micros.is_multiple_of(60 * SECOND) => write!(f, "{}m", micros / (60 * SECOND)),
            _ if micros >= SECOND => {
                let text = format!("{}.{:06}", micros / SECOND, micros % SECOND);
                write!(f, "{}s", text.trim_end_matches('0').trim_end_matches('.'))
            }
            _ if micros.is_multiple_of(1000) => write!(f, "{}ms", micros / 1000),
            _ => write!(f, "{micros}us"),
        }
    }
}

impl Micros {
    /// A number of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Micros {
        Micros(secs * 1_000_000)
    }

    /// 100 years, the longest that can be set: sums of times do not overflow.
    pub const MOST: Micros = Micros(36_525 * 86_400_000_000);

    /// A span of the standard library, [`Micros::MOST`] at most.
    #[must_use]
    pub fn of(span: std::time::Duration) -> Micros {
        Micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)).min(Micros::MOST)
    }

    /// The same span for the standard library.
    #[must_use]
    pub const fn to_duration(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0)
    }
}
