//! How runs are named on the command line, `last` or `12`, and what a scheduler is asked about.

use std::fmt;
use std::str::FromStr;

use dagrun_core::ids::RunId;

/// A run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunName {
    /// The one submitted last.
    Last,
    /// The one of this id.
    Id(RunId),
}

impl FromStr for RunName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "last" {
            return Ok(RunName::Last);
        }
        match text.parse() {
            Ok(id) if id > 0 => Ok(RunName::Id(RunId(id))),
            _ => Err("a run is named by its number, or `last`".to_owned()),
        }
    }
}

/// A task, or one of its instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The task's name.
    pub(crate) task: String,
    /// The instance's index.
    pub(crate) index: Option<u32>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}[{index}]", self.task),
            None => f.write_str(&self.task),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RunName;
    use dagrun_core::ids::RunId;

    #[test]
    fn reads_runs() {
        assert_eq!("last".parse(), Ok(RunName::Last));
        assert_eq!("12".parse(), Ok(RunName::Id(RunId(12))));
        assert!("0".parse::<RunName>().is_err());
        assert!("first".parse::<RunName>().is_err());
    }
}
