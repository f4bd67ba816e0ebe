//! Means, errors, intervals, and what shows whether chains of a Markov process have mixed.

/// The sum of numbers and of their squares.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moments {
    count: u64,
    sum: f64,
    squares: f64,
}

impl Moments {
    /// Takes a number in.
    pub fn push(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.squares += value * value;
    }

    /// The mean of the numbers; not a number when there are none.
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// The standard deviation of the numbers, with one degree of freedom taken off.
    pub fn deviation(&self) -> f64 {
        let spread = self.squares - self.sum * self.mean();
        (spread.max(0.0) / (self.count as f64 - 1.0)).sqrt()
    }

    /// The standard error of the mean.
    pub fn error(&self) -> f64 {
        self.deviation() / (self.count as f64).sqrt()
    }
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Moments {
        let mut moments = Moments::default();
        values.into_iter().for_each(|value| moments.push(value));
        moments
    }
}

/// The shortest interval that holds this share of the values: for a posterior, the interval of
/// highest density. None when there are no values.
pub fn densest_interval(values: &[f64], share: f64) -> Option<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let inside = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1));
    let ends = sorted.windows(inside).map(|window| (window[0], window[inside - 1]));
    ends.min_by(|a, b| f64::total_cmp(&(a.1 - a.0), &(b.1 - b.0)))
}

/// How chains of the same length agree on a number.
#[derive(Clone, Copy, Debug)]
pub struct Mixing {
    /// R-hat of Gelman and Rubin with each chain halved: 1 when all halves show the same.
    pub r_hat: f64,
    /// As many independent draws would give the mean as precisely as all draws do.
    pub effective: f64,
}

impl Mixing {
    /// Compares chains of at least four draws each.
    ///
    /// The effective size follows Geyer (1992) and Stan: autocorrelations over all chains are
    /// summed in pairs until a pair is negative.
    pub fn of(chains: &[&[f64]]) -> Mixing {
        let halves: Vec<&[f64]> = chains
            .iter()
            .flat_map(|chain| {
                let half = chain.len() / 2;
                [&chain[..half], &chain[chain.len() - half..]]
            })
            .collect();
        let length = halves[0].len() as f64;
        let each: Vec<Moments> = halves.iter().map(|half| half.iter().copied().collect()).collect();
        let within =
            each.iter().map(|half| half.deviation().powi(2)).sum::<f64>() / each.len() as f64;
        let between = each.iter().map(Moments::mean).collect::<Moments>().deviation().powi(2);
        let variance = within * (length - 1.0) / length + between;
        let means: Vec<f64> = each.iter().map(Moments::mean).collect();
        // The correlation of draws that are so far apart.
        let correlation = |lag: usize| {
            let sum: f64 =
                halves.iter().zip(&means).map(|(half, mean)| covariance(half, *mean, lag)).sum();
            1.0 - (within - sum / halves.len() as f64 * length / (length - 1.0)) / variance
        };
        let mut time = -1.0;
        let mut smallest = f64::INFINITY;
        for lag in (0..halves[0].len() - 1).step_by(2) {
            let pair = correlation(lag) + correlation(lag + 1);
            if pair < 0.0 {
                break;
            }
            smallest = smallest.min(pair);
            time += 2.0 * smallest;
        }
        let draws = length * halves.len() as f64;
        Mixing {
            r_hat: (variance / within).sqrt(),
            effective: draws / time.max(1.0 / draws.log10()),
        }
    }
}

/// The autocovariance at a lag, divided by the number of all draws.
fn covariance(draws: &[f64], mean: f64, lag: usize) -> f64 {
    let pairs = draws.iter().zip(&draws[lag..]);
    pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / draws.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from 0 to 1 that look random.
    fn noise(seed: u64, count: usize) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn moments_are_those_of_the_textbook() {
        let moments: Moments = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().collect();
        assert_eq!(moments.mean(), 5.0);
        assert!((moments.deviation() - (32.0f64 / 7.0).sqrt()).abs() < 1e-12);
        assert!((moments.error() - (4.0f64 / 7.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_densest_interval_lies_where_the_values_crowd() {
        let values: Vec<f64> = (0..100).map(|at| (f64::from(at) / 100.0).powi(2)).collect();
        assert_eq!(densest_interval(&values, 0.5), Some((0.0, 0.49f64.powi(2))));
        assert_eq!(densest_interval(&[], 0.95), None);
        assert_eq!(densest_interval(&[3.0], 0.95), Some((3.0, 3.0)));
    }

    #[test]
    fn independent_draws_count_fully() {
        let chains: Vec<Vec<f64>> = (1..5).map(|seed| noise(seed, 2_000)).collect();
        let chains: Vec<&[f64]> = chains.iter().map(Vec::as_slice).collect();
        let mixing = Mixing::of(&chains);
        assert!((mixing.r_hat - 1.0).abs() < 0.005, "{mixing:?}");
        assert!((5_500.0..11_000.0).contains(&mixing.effective), "{mixing:?}");
    }

    #[test]
    fn draws_that_follow_the_last_one_count_less() {
        // For x' = 0.9 x + noise, 19 draws are worth one.
        let chains: Vec<Vec<f64>> = (1..5)
            .map(|seed| {
                let mut x = 0.0;
                let step = |noise: f64| {
                    x = 0.9 * x + noise - 0.5;
                    x
                };
                noise(seed, 20_000).into_iter().map(step).collect()
            })
            .collect();
        let chains: Vec<&[f64]> = chains.iter().map(Vec::as_slice).collect();
        let mixing = Mixing::of(&chains);
        let expected = 80_000.0 / 19.0;
        assert!((0.8..1.25).contains(&(mixing.effective / expected)), "{mixing:?}");
    }

    #[test]
    fn a_chain_elsewhere_shows_in_r_hat() {
        let mut chains: Vec<Vec<f64>> = (1..5).map(|seed| noise(seed, 500)).collect();
        chains[3].iter_mut().for_each(|x| *x += 1.0);
        let chains: Vec<&[f64]> = chains.iter().map(Vec::as_slice).collect();
        let mixing = Mixing::of(&chains);
        assert!(mixing.r_hat > 1.5 && mixing.effective < 20.0, "{mixing:?}");
    }
}
