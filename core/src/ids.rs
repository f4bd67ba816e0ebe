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

    /// A span of the standard library, or the longest there is.
    #[must_use]
    pub fn of(span: std::time::Duration) -> Micros {
        Micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
    }

    /// As people read it, rounded down: `under 1 ms`, `12 ms`, `0.4 s`, `3 min 5 s`, `2 h 10 min`.
    #[must_use]
    pub fn rounded(self) -> String {
        let secs = self.0 / 1_000_000;
        match self.0 {
            0..1_000 => "under 1 ms".to_owned(),
            1_000..100_000 => format!("{} ms", self.0 / 1_000),
            100_000..60_000_000 => format!("{secs}.{} s", self.0 / 100_000 % 10),
            _ if secs < 3600 => format!("{} min {} s", secs / 60, secs % 60),
            _ => format!("{} h {} min", secs / 3600, secs / 60 % 60),
        }
    }

    /// The same span for the standard library.
    #[must_use]
    pub const fn to_duration(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Micros;

    #[test]
    fn spans_for_people_are_short() {
        let spans = [999, 12_000, 350_000, 12_345_000, 59_999_999, 185_000_000, 7_800_000_000];
        let texts = spans.map(|micros| Micros(micros).rounded());
        let expected =
            ["under 1 ms", "12 ms", "0.3 s", "12.3 s", "59.9 s", "3 min 5 s", "2 h 10 min"];
        assert_eq!(texts, expected);
    }
}
