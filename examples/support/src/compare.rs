//! How fast dagrun is, compared with the same work on plain threads.

use std::fmt;
use std::time::{Duration, Instant};

/// Both are measured at least so often …
const LEAST_ROUNDS: usize = 7;
/// … and, when that was quick, up to so often …
const MOST_ROUNDS: usize = 41;
/// … as long as it has not taken this long.
const LONG: Duration = Duration::from_secs(120);

/// How long the same work has taken both ways, in rounds.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// On plain threads, and through dagrun from building the graph to having the results.
    rounds: Vec<(Duration, Duration)>,
}

impl Comparison {
    /// Measures both in turns; which of them comes first alternates.
    ///
    /// # Errors
    ///
    /// When the work fails.
    pub fn measure<E>(
        mut threads: impl FnMut() -> Result<(), E>,
        mut dagrun: impl FnMut() -> Result<(), E>,
    ) -> Result<Comparison, E> {
        let (start, mut rounds) = (Instant::now(), Vec::new());
        while rounds.len() < LEAST_ROUNDS || rounds.len() < MOST_ROUNDS && start.elapsed() < LONG {
            let round = if rounds.len() % 2 == 0 {
                let threads = timed(&mut threads)?;
                (threads, timed(&mut dagrun)?)
            } else {
                let dagrun = timed(&mut dagrun)?;
                (timed(&mut threads)?, dagrun)
            };
            rounds.push(round);
        }
        Ok(Comparison { rounds })
    }

    /// The speed-up with dagrun as a share of that with plain threads: the median over the rounds. What else
    /// the machine does changes slowly, and so meets both of a round alike.
    pub fn ratio(&self) -> f64 {
        self.ratio_quartiles()[1]
    }

    /// The quartiles of that share: half of the rounds lie between the first and the last.
    pub fn ratio_quartiles(&self) -> [f64; 3] {
        let ratio =
            |(threads, dagrun): &(Duration, Duration)| threads.as_secs_f64() / dagrun.as_secs_f64();
        quartiles(self.rounds.iter().map(ratio))
    }
}

fn timed<E>(work: &mut impl FnMut() -> Result<(), E>) -> Result<Duration, E> {
    let start = Instant::now();
    work().map(|()| start.elapsed())
}

fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, threads, _] = quartiles(self.rounds.iter().map(|(t, _)| t.as_secs_f64()));
        let [_, dagrun, _] = quartiles(self.rounds.iter().map(|(_, d)| d.as_secs_f64()));
        let [low, ratio, high] = self.ratio_quartiles();
        write!(
            f,
            "medians of {} rounds: threads {threads:.3} s, dagrun {dagrun:.3} s: {ratio:.3} of their \
             speed-up (quartiles {low:.3} and {high:.3})",
            self.rounds.len(),
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
        assert!(order.into_inner().starts_with("tddttddttddttd"));
    }

    #[test]
    fn twice_the_time_is_half_the_speed() {
        let seconds = Duration::from_secs;
        let rounds = [(1, 2), (2, 4), (1, 9)].map(|(t, d)| (seconds(t), seconds(d))).to_vec();
        let comparison = Comparison { rounds };
        assert_eq!(comparison.ratio(), 0.5);
        assert_eq!(
            comparison.to_string(),
            "medians of 3 rounds: threads 1.000 s, dagrun 4.000 s: 0.500 of their speed-up \
             (quartiles 0.111 and 0.500)"
        );
    }

    #[test]
    fn work_that_fails_ends_it() {
        assert_eq!(Comparison::measure(|| Ok(()), || Err("no")).unwrap_err(), "no");
    }
}
