//! Draws from the posterior by slice sampling (Neal 2003), one parameter after the other: no step
//! size to tune, and each new value depends little on the one before.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::model::{Model, Parameters};

/// Runs a chain and returns its draws after the warm-up.
pub(crate) fn draw(model: &Model, warm_up: usize, draws: usize, seed: u64) -> Vec<Parameters> {
    let mut chain = State { random: Xoshiro256PlusPlus::seed_from_u64(seed), at: model.start() };
    for _ in 0..warm_up {
        chain.advance(model);
    }
    (0..draws)
        .map(|_| {
            chain.advance(model);
            chain.at
        })
        .collect()
}

struct State {
    random: Xoshiro256PlusPlus,
    at: Parameters,
}

impl State {
    /// Gives every parameter a new value. Scales and normality − 1 are sampled as logarithms, which
    /// adds these to the logarithm of the density.
    fn advance(&mut self, model: &Model) {
        for group in 0..2 {
            let Parameters { means, scales, normality } = self.at;
            let density = |mean| model.group(group, mean, scales[group], normality);
            self.at.means[group] = slice(&mut self.random, means[group], 1.0, density);
            let mean = self.at.means[group];
            let density = |log: f64| model.group(group, mean, log.exp(), normality) + log;
            let log = slice(&mut self.random, scales[group].ln(), 0.7, density);
            self.at.scales[group] = log.exp();
        }
        let Parameters { means, scales, normality } = self.at;
        let density = |log: f64| {
            let normality = 1.0 + log.exp();
            let group = |group| model.group(group, means[group], scales[group], normality);
            model.normality(normality) + log + group(0) + group(1)
        };
        let log = slice(&mut self.random, (normality - 1.0).ln(), 2.0, density);
        self.at.normality = 1.0 + log.exp();
    }
}

/// One step: a height below the density at `x`, an interval around `x` that is widened until both
/// its ends are below that height, and points of it until one is above.
fn slice(random: &mut Xoshiro256PlusPlus, x: f64, width: f64, density: impl Fn(f64) -> f64) -> f64 {
    // One minus a number below one is never zero.
    let height = density(x) + (1.0 - random.random::<f64>()).ln();
    let mut low = x - width * random.random::<f64>();
    let mut high = low + width;
    while density(low) > height {
        low -= width;
    }
    while density(high) > height {
        high += width;
    }
    loop {
        let next = low + (high - low) * random.random::<f64>();
        // The interval shrinks towards `x`, which is above the height but for rounding.
        if density(next) >= height || next == x {
            return next;
        }
        if next < x { low = next } else { high = next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_draw_from_the_density() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(8);
        let mut x = 5.0;
        let draws: Vec<f64> = (0..20_000)
            .map(|_| {
                x = slice(&mut random, x, 1.0, |x: f64| -x * x / 2.0);
                x
            })
            .collect();
        let share = |limit: f64| {
            draws.iter().filter(|draw| **draw < limit).count() as f64 / draws.len() as f64
        };
        for (limit, expected) in [(-1.0, 0.1587), (0.0, 0.5), (1.96, 0.975)] {
            assert!((share(limit) - expected).abs() < 0.012, "{limit}: {}", share(limit));
        }
    }
}
