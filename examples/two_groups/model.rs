//! The scores, and how probable parameters are given them.

use std::f64::consts::PI;

use libm::lgamma;
use serde::{Deserialize, Serialize};

/// IQ scores of those who took the drug, from the paper.
pub(crate) const DRUG: [f64; 47] = [
    101., 100., 102., 104., 102., 97., 105., 105., 98., 101., 100., 123., 105., 103., 100., 95.,
    102., 106., 109., 102., 82., 102., 100., 102., 102., 101., 102., 102., 103., 103., 97., 97.,
    103., 101., 97., 104., 96., 103., 124., 101., 101., 100., 101., 101., 104., 100., 101.,
];

/// IQ scores of those who took the placebo.
pub(crate) const PLACEBO: [f64; 42] = [
    99., 101., 100., 101., 102., 100., 97., 101., 104., 101., 102., 102., 100., 105., 88., 101.,
    100., 104., 100., 100., 100., 101., 102., 103., 97., 101., 101., 100., 101., 99., 101., 100.,
    100., 101., 100., 99., 101., 100., 102., 99., 100., 99.,
];

/// The five parameters: each group's mean and scale, and the degrees of freedom of both.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parameters {
    pub(crate) means: [f64; 2],
    pub(crate) scales: [f64; 2],
    pub(crate) normality: f64,
}

/// The scores, each value once with how often it occurs, and the priors: means are normal around
/// that of all scores, scales uniform, both with little to say; normality − 1 is exponential with a
/// mean of 29.
#[derive(Debug)]
pub(crate) struct Model {
    groups: [Vec<(f64, f64)>; 2],
    mean: f64,
    deviation: f64,
}

impl Model {
    pub(crate) fn new(groups: [&[f64]; 2]) -> Model {
        let all = groups.concat();
        let count = all.len() as f64;
        let mean = all.iter().sum::<f64>() / count;
        let squares: f64 = all.iter().map(|score| (score - mean).powi(2)).sum();
        let deviation = (squares / (count - 1.0)).sqrt();
        Model { groups: groups.map(distinct), mean, deviation }
    }

    /// Where a chain may start: what the scores themselves say.
    pub(crate) fn start(&self) -> Parameters {
        let mean = |group: usize| {
            let (sum, count) =
                self.groups[group].iter().fold((0.0, 0.0), |(sum, count), (score, times)| {
                    (sum + score * times, count + times)
                });
            sum / count
        };
        Parameters { means: [mean(0), mean(1)], scales: [self.deviation; 2], normality: 10.0 }
    }

    /// The logarithm of the density of the scores of a group, and of the priors of its mean and
    /// scale, up to a constant.
    pub(crate) fn group(&self, group: usize, mean: f64, scale: f64, normality: f64) -> f64 {
        let wide = 1_000.0 * self.deviation;
        if !(self.deviation / 1_000.0..=wide).contains(&scale) {
            return f64::NEG_INFINITY;
        }
        let mut total = -((mean - self.mean) / wide).powi(2) / 2.0;
        let constant = lgamma((normality + 1.0) / 2.0)
            - lgamma(normality / 2.0)
            - (normality * PI).ln() / 2.0
            - scale.ln();
        for (score, times) in &self.groups[group] {
            let distance = (score - mean) / scale;
            let shape = (distance * distance / normality).ln_1p();
            total += times * (constant - (normality + 1.0) / 2.0 * shape);
        }
        total
    }

    /// The logarithm of the prior of the normality, up to a constant.
    pub(crate) fn normality(&self, normality: f64) -> f64 {
        if normality > 1.0 { -(normality - 1.0) / 29.0 } else { f64::NEG_INFINITY }
    }

    /// The density of a score under parameters.
    pub(crate) fn density(score: f64, mean: f64, scale: f64, normality: f64) -> f64 {
        let distance = (score - mean) / scale;
        let constant = lgamma((normality + 1.0) / 2.0) - lgamma(normality / 2.0);
        let shape = (distance * distance / normality).ln_1p();
        (constant - (normality + 1.0) / 2.0 * shape).exp() / (scale * (normality * PI).sqrt())
    }

    /// The means of the parameters without any chain: sums over a fine grid. For a given normality
    /// the groups are independent, which makes three dimensions of five.
    #[cfg(test)]
    pub(crate) fn integrate(&self) -> Parameters {
        let mut weights = 0.0;
        let mut sums = Parameters { means: [0.0; 2], scales: [0.0; 2], normality: 0.0 };
        for step in 0..36 {
            // Evenly in the logarithm of normality − 1, from 0.05 to 100.
            let beyond = 0.05 * 2_000f64.powf((f64::from(step) + 0.5) / 36.0);
            let normality = 1.0 + beyond;
            let groups = [0, 1].map(|group| self.integrate_group(group, normality));
            let prior = self.normality(normality).exp() * beyond;
            let weight = prior * groups.iter().map(|sums| sums.weight).product::<f64>();
            weights += weight;
            for (group, of) in groups.iter().enumerate() {
                sums.means[group] += weight * of.mean;
                sums.scales[group] += weight * of.scale;
            }
            sums.normality += weight * normality;
        }
        Parameters {
            means: sums.means.map(|sum| sum / weights),
            scales: sums.scales.map(|sum| sum / weights),
            normality: sums.normality / weights,
        }
    }

    #[cfg(test)]
    fn integrate_group(&self, group: usize, normality: f64) -> Sums {
        // About the logarithm of the density at its best, so that no weight is too small to count.
        let best = [-125.0, -75.0][group];
        let mut sums = Sums { weight: 0.0, mean: 0.0, scale: 0.0 };
        for row in 0..60 {
            let mean = 98.0 + 7.0 * (f64::from(row) + 0.5) / 60.0;
            for column in 0..60 {
                // Evenly in the logarithm of the scale, from 0.3 to 12.
                let scale = 0.3 * 40f64.powf((f64::from(column) + 0.5) / 60.0);
                let weight = (self.group(group, mean, scale, normality) - best).exp() * scale;
                sums.weight += weight;
                sums.mean += weight * mean;
                sums.scale += weight * scale;
            }
        }
        Sums { weight: sums.weight, mean: sums.mean / sums.weight, scale: sums.scale / sums.weight }
    }
}

/// What [`Model::integrate`] adds up for a group.
#[cfg(test)]
struct Sums {
    weight: f64,
    mean: f64,
    scale: f64,
}

/// Each score once, with how often it occurs.
fn distinct(scores: &[f64]) -> Vec<(f64, f64)> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let same = sorted.chunk_by(|a, b| a == b);
    same.map(|scores| (scores[0], scores.len() as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_density_is_that_of_the_t_distribution() {
        // With one degree of freedom it is Cauchy's, with many the normal one.
        assert!((Model::density(3.0, 1.0, 2.0, 1.0) - 1.0 / (4.0 * PI)).abs() < 1e-12);
        let normal = (-0.5f64).exp() / (2.0 * PI).sqrt();
        assert!((Model::density(1.0, 0.0, 1.0, 1e6) - normal).abs() < 1e-6);
    }

    #[test]
    fn the_likelihood_is_the_product_of_densities() {
        let scores = [1.0, 2.0, 2.0, 5.0];
        let model = Model::new([&scores, &scores]);
        let product = |mean: f64| -> f64 {
            scores.iter().map(|&score| Model::density(score, mean, 1.5, 4.0).ln()).sum()
        };
        let difference = model.group(0, 2.0, 1.5, 4.0) - model.group(0, 3.0, 1.5, 4.0);
        // The prior is all but flat.
        assert!((difference - (product(2.0) - product(3.0))).abs() < 1e-5);
        assert_eq!(model.groups[0], [(1.0, 1.0), (2.0, 2.0), (5.0, 1.0)]);
    }

    #[test]
    fn impossible_parameters_have_no_density() {
        let model = Model::new([&DRUG, &PLACEBO]);
        assert_eq!(model.group(0, 100.0, -1.0, 5.0), f64::NEG_INFINITY);
        assert_eq!(model.normality(1.0), f64::NEG_INFINITY);
    }
}
