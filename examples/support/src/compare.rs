//! How fast dagrun is, compared with the same work on plain threads.

use std::fmt;
use std::time::{Duration, Instant};

/// How often both are measured. The fastest of each counts, as what else the machine does only slows
/// them down.
const ROUNDS: u32 = 7;

/// The least times that the same work has taken.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// On plain threads.
    pub threads: Duration,
    /// Through dagrun, from building the graph to having the results.
    pub dagrun: Duration,
}

impl Comparison {
    /// Measures both in turns.
    ///
    /// # Errors
    ///
    /// When the work fails.
    pub fn measure<E>(
        mut threads: impl FnMut() -> Result<(), E>,
        mut dagrun: impl FnMut() -> Result<(), E>,
    ) -> Result<Comparison, E> {
        let mut least = Comparison { threads: Duration::MAX, dagrun: Duration::MAX };
        for _ in 0..ROUNDS {
            least.threads = least.threads.min(timed(&mut threads)?);
            least.dagrun = least.dagrun.min(timed(&mut dagrun)?);
        }
        Ok(least)
    }

    /// The speed-up with dagrun as a share of that with plain threads.
    pub fn ratio(&self) -> f64 {
        self.threads.as_secs_f64() / self.dagrun.as_secs_f64()
    }
}

fn timed<E>(work: &mut impl FnMut() -> Result<(), E>) -> Result<Duration, E> {
    let start = Instant::now();
    work().map(|()| start.elapsed())
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (threads, dagrun) = (self.threads.as_secs_f64(), self.dagrun.as_secs_f64());
        write!(
            f,
            "best of {ROUNDS}: threads {threads:.3} s, dagrun {dagrun:.3} s: {:.3} of their speed-up",
            self.ratio()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn both_are_measured_in_turns() {
        let order = RefCell::new(String::new());
        let note = |name| {
            order.borrow_mut().push(name);
            Ok::<_, ()>(())
        };
        Comparison::measure(|| note('t'), || note('d')).unwrap();
        assert_eq!(order.into_inner(), "td".repeat(ROUNDS as usize));
    }

    #[test]
    fn twice_the_time_is_half_the_speed() {
        let seconds = Duration::from_secs;
        let comparison = Comparison { threads: seconds(1), dagrun: seconds(2) };
        assert_eq!(comparison.ratio(), 0.5);
        let text = comparison.to_string();
        assert!(
            text.ends_with("threads 1.000 s, dagrun 2.000 s: 0.500 of their speed-up"),
            "{text}"
        );
    }

    #[test]
    fn work_that_fails_ends_it() {
        assert_eq!(Comparison::measure(|| Ok(()), || Err("no")).unwrap_err(), "no");
    }
}
