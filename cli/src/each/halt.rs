//! When `dagrun each` stops before all items are done: `--halt`, in the words of GNU parallel.

use std::str::FromStr;

use dagrun_core::status::{Counts, State};

/// When to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Halt {
    /// When all is done.
    #[default]
    Never,
    /// When enough has ended so.
    When {
        /// Whether what runs is ended as well; else only nothing new is started.
        now: bool,
        /// What is counted.
        what: Counted,
        /// How many.
        enough: Enough,
    },
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Failures.
    Failed,
    /// Successes.
    Succeeded,
    /// Either.
    Done,
}

/// How many are enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Enough {
    /// So many.
    Count(u64),
    /// This share of all, of 1.
    Share(f64),
}

impl FromStr for Halt {
    type Err = String;

    fn from_str(text: &str) -> Result<Halt, String> {
        let when = |now, what, enough| Ok(Halt::When { now, what, enough });
        match text {
            "never" | "0" => return Ok(Halt::Never),
            "1" => return when(false, Counted::Failed, Enough::Count(1)),
            "2" => return when(true, Counted::Failed, Enough::Count(1)),
            _ => {}
        }
        let wrong = || {
            "expected never, or WHEN,WHAT=N as in now,fail=1, soon,fail=10%, now,success=1"
                .to_owned()
        };
        let (now, rest) = text.split_once(',').ok_or_else(wrong)?;
        let (what, enough) = rest.split_once('=').unwrap_or((rest, "1"));
        let now = match now {
            "now" => true,
            "soon" => false,
            _ => return Err(wrong()),
        };
        let what = match what {
            "fail" => Counted::Failed,
            "success" => Counted::Succeeded,
            "done" => Counted::Done,
            _ => return Err(wrong()),
        };
        let enough = match enough.strip_suffix('%') {
            Some(share) => {
                let share = share.parse::<f64>().ok().filter(|it| *it > 0.0 && *it <= 100.0);
                Enough::Share(share.ok_or_else(wrong)? / 100.0)
            }
            None => {
                let count = enough.parse::<u64>().ok().filter(|count| *count > 0);
                Enough::Count(count.ok_or_else(wrong)?)
            }
        };
        when(now, what, enough)
    }
}

impl Halt {
    /// Whether what runs when it stops is to run to its end.
    pub(super) fn lets_run(self) -> bool {
        matches!(self, Halt::When { now: false, .. })
    }

    /// Whether it is time to stop; then whether what runs is ended as well.
    pub(super) fn is_due(self, counts: &Counts) -> Option<bool> {
        let Halt::When { now, what, enough } = self else { return None };
        let of = |state| u64::from(counts.of(state));
        let (failed, succeeded) = (of(State::Failed), of(State::Succeeded));
        let so_far = match what {
            Counted::Failed => failed,
            Counted::Succeeded => succeeded,
            Counted::Done => failed + succeeded,
        };
        let due = match enough {
            Enough::Count(count) => so_far >= count,
            Enough::Share(share) => {
                so_far > 0 && so_far as f64 >= share * f64::from(counts.total())
            }
        };
        due.then_some(now)
    }

    /// Whether the run has done what was wanted when it stopped for this.
    pub(super) fn is_success(self) -> bool {
        matches!(self, Halt::When { what: Counted::Succeeded | Counted::Done, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_gnu_parallel() {
        let when = |now, what, enough| Ok(Halt::When { now, what, enough });
        for (text, expected) in [
            ("never", Ok(Halt::Never)),
            ("0", Ok(Halt::Never)),
            ("1", when(false, Counted::Failed, Enough::Count(1))),
            ("now,fail=1", when(true, Counted::Failed, Enough::Count(1))),
            ("now,fail", when(true, Counted::Failed, Enough::Count(1))),
            ("soon,fail=20%", when(false, Counted::Failed, Enough::Share(0.2))),
            ("now,success=3", when(true, Counted::Succeeded, Enough::Count(3))),
            ("soon,done=7", when(false, Counted::Done, Enough::Count(7))),
        ] {
            assert_eq!(text.parse::<Halt>(), expected, "{text}");
        }
        for wrong in ["", "later,fail=1", "now", "now,fail=0", "now,fail=101%", "now,fails=1", "3"]
        {
            assert!(wrong.parse::<Halt>().is_err(), "{wrong}");
        }
    }
}
