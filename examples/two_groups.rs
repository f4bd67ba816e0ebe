//! Bayesian estimation of two groups (Kruschke 2013, “Bayesian Estimation Supersedes the t Test”,
//! Journal of Experimental Psychology: General 142, 573–603).
//!
//! ```console
//! $ cargo run --release --example two_groups
//! ```
//!
//! Does a drug raise the IQ? The scores of both groups are described by t distributions, which allow
//! for outliers, with a mean and a scale for each group and a normality for both. Each task is a
//! Markov chain that draws from the posterior; at the end all chains are put together, after a check
//! that they have mixed. The plot is the paper's figure 3.

#![allow(clippy::print_stdout, reason = "a program for people")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their inputs")]

#[path = "two_groups/model.rs"]
mod model;
#[path = "two_groups/plot.rs"]
mod plot;
#[path = "two_groups/sampler.rs"]
mod sampler;

use std::error::Error;

use clap::Parser;
use dagrun::{Cluster, Dag};
use dagrun_example_support::options::Common;
use dagrun_example_support::plot::grouped;
use dagrun_example_support::statistics::{Mixing, Moments, densest_interval};
use serde::{Deserialize, Serialize};

use crate::model::{DRUG, Model, PLACEBO, Parameters};

/// Estimates by how much two groups differ
#[derive(Debug, Parser)]
struct Arguments {
    /// How many Markov chains there are
    #[arg(long, value_name = "N", default_value_t = 4)]
    chains: u64,
    /// How many draws each chain keeps [default: 25,000]
    #[arg(long, value_name = "N")]
    draws: Option<usize>,
    #[command(flatten)]
    common: Common,
}

/// A Markov chain to be run over the scores of two groups.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Chain {
    groups: [Vec<f64>; 2],
    draws: usize,
    /// Draws before these, which are not kept.
    warm_up: usize,
    seed: u64,
}

/// What a chain has drawn.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Draws {
    draws: Vec<Parameters>,
}

/// Runs a chain.
#[dagrun::task]
fn sample(chain: Chain) -> Draws {
    let [first, second] = &chain.groups;
    let draws = sampler::draw(&Model::new([first, second]), chain.warm_up, chain.draws, chain.seed);
    Draws { draws }
}

/// The draws of all chains, and how well they have mixed.
#[dagrun::task]
fn gather(chains: Vec<Draws>) -> Posterior {
    let quantities = Quantity::ALL.map(|quantity| {
        let each: Vec<Vec<f64>> = chains
            .iter()
            .map(|chain| chain.draws.iter().map(|draw| quantity.of(draw)).collect())
            .collect();
        let slices: Vec<&[f64]> = each.iter().map(Vec::as_slice).collect();
        let mixing = Mixing::of(&slices);
        Marginal {
            quantity,
            r_hat: mixing.r_hat,
            effective: mixing.effective,
            values: each.concat(),
        }
    });
    let draws = chains.into_iter().flat_map(|chain| chain.draws).collect();
    Posterior { draws, quantities: quantities.into() }
}

/// What the chains say together.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Posterior {
    draws: Vec<Parameters>,
    quantities: Vec<Marginal>,
}

/// The posterior of one quantity.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Marginal {
    quantity: Quantity,
    r_hat: f64,
    effective: f64,
    values: Vec<f64>,
}

/// What is asked of the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Quantity {
    FirstMean,
    SecondMean,
    Means,
    FirstScale,
    SecondScale,
    Scales,
    Normality,
    Effect,
}

impl Quantity {
    const ALL: [Quantity; 8] = [
        Quantity::FirstMean,
        Quantity::SecondMean,
        Quantity::Means,
        Quantity::FirstScale,
        Quantity::SecondScale,
        Quantity::Scales,
        Quantity::Normality,
        Quantity::Effect,
    ];

    fn of(self, draw: &Parameters) -> f64 {
        let ([first, second], [first_scale, second_scale]) = (draw.means, draw.scales);
        match self {
            Quantity::FirstMean => first,
            Quantity::SecondMean => second,
            Quantity::Means => first - second,
            Quantity::FirstScale => first_scale,
            Quantity::SecondScale => second_scale,
            Quantity::Scales => first_scale - second_scale,
            Quantity::Normality => draw.normality.log10(),
            Quantity::Effect => {
                (first - second) / ((first_scale.powi(2) + second_scale.powi(2)) / 2.0).sqrt()
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Quantity::FirstMean => "mean of the drug group",
            Quantity::SecondMean => "mean of the placebo group",
            Quantity::Means => "difference of means",
            Quantity::FirstScale => "scale of the drug group",
            Quantity::SecondScale => "scale of the placebo group",
            Quantity::Scales => "difference of scales",
            Quantity::Normality => "normality (log10)",
            Quantity::Effect => "effect size",
        }
    }
}

impl Posterior {
    fn marginal(&self, quantity: Quantity) -> &Marginal {
        &self.quantities[quantity as usize]
    }
}

impl Marginal {
    fn mean(&self) -> f64 {
        self.values.iter().copied().collect::<Moments>().mean()
    }

    /// The interval of highest density with 95 % of the posterior.
    fn interval(&self) -> (f64, f64) {
        densest_interval(&self.values, 0.95).unwrap_or((f64::NAN, f64::NAN))
    }

    /// The share of the posterior below zero.
    fn below_zero(&self) -> f64 {
        let below = self.values.iter().filter(|&&value| value < 0.0).count();
        below as f64 / self.values.len() as f64
    }

    /// Whether the chains give the mean to a tenth of a standard deviation or better.
    fn has_mixed(&self) -> bool {
        self.r_hat < 1.02 && self.effective > 400.0
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    dagrun::init();
    run(&Arguments::parse()).map(|_| ())
}

fn run(arguments: &Arguments) -> Result<Posterior, Box<dyn Error>> {
    let common = &arguments.common;
    let draws = arguments.draws.unwrap_or(common.sized(25_000, 1_500)).max(10);
    let chains: Vec<Chain> = (0..arguments.chains.max(1))
        .map(|at| Chain {
            groups: [DRUG.to_vec(), PLACEBO.to_vec()],
            draws,
            warm_up: (draws / 10).max(200),
            seed: common.seed.wrapping_mul(1 << 32).wrapping_add(at),
        })
        .collect();

    let count = chains.len();

    let slots = common.slots_each();
    let cluster = Cluster::builder().slots(slots).processes(common.processes).start()?;
    let dag = Dag::new("two-groups");
    let sampled = dag.map(sample, chains);
    let gathered = dag.gather(&sampled, gather);
    let run = cluster.submit(&dag).wait()?;
    let posterior = run.result(&gathered).wait()?;
    let times = run.times().wait()?;

    println!("{count} chains of {} draws", grouped(draws as u64));
    println!("{:28} {:>8}   95 % HDI             R-hat    ESS", "", "mean");
    for marginal in &posterior.quantities {
        let ((low, high), name) = (marginal.interval(), marginal.quantity.name());
        println!(
            "{name:28} {:8.3}   [{low:8.3}, {high:8.3}]  {:.4}  {:>6.0}",
            marginal.mean(),
            marginal.r_hat,
            marginal.effective
        );
    }
    let (serial, wall) = (times.serial.as_secs_f64(), times.wall.as_secs_f64());
    println!("{serial:.2} s of work in {wall:.2} s: speed-up {:.2}", times.speed_up());
    let path = common.out.join("two_groups.png");
    plot::draw(&path, &posterior)?;
    println!("plot: {}", path.display());
    if posterior.quantities.iter().all(Marginal::has_mixed) {
        Ok(posterior)
    } else {
        Err("the chains have not mixed: draw more".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_depends_on_its_seed_alone() {
        let groups = [DRUG.to_vec(), PLACEBO.to_vec()];
        let chain = |seed| Chain { groups: groups.clone(), draws: 20, warm_up: 5, seed };
        assert_eq!(sample(chain(3)).draws, sample(chain(3)).draws);
        assert_ne!(sample(chain(3)).draws, sample(chain(4)).draws);
    }

    #[test]
    fn a_small_run_finds_what_integration_finds_and_draws_it() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().to_str().unwrap();
        let posterior = run(&Arguments::parse_from(["best", "--quick", "--out", out])).unwrap();
        assert!(folder.path().join("two_groups.png").exists());

        let exact = Model::new([&DRUG, &PLACEBO]).integrate();
        for (quantity, expected) in [
            (Quantity::FirstMean, exact.means[0]),
            (Quantity::SecondMean, exact.means[1]),
            (Quantity::FirstScale, exact.scales[0]),
            (Quantity::SecondScale, exact.scales[1]),
        ] {
            let marginal = posterior.marginal(quantity);
            let spread = marginal.values.iter().copied().collect::<Moments>().deviation();
            let error = spread / marginal.effective.sqrt();
            let off = (marginal.mean() - expected) / error;
            assert!(off.abs() < 4.5, "{}: {off:.2} errors from {expected}", quantity.name());
        }
    }

    #[test]
    fn the_difference_is_that_of_the_paper() {
        let chain = |seed| Chain {
            groups: [DRUG.to_vec(), PLACEBO.to_vec()],
            draws: 4_000,
            warm_up: 200,
            seed,
        };
        let posterior = gather((0..2).map(|seed| sample(chain(seed))).collect());
        // Figure 3 of the paper: 1.03, the interval does not hold 0; effect size 0.62.
        let means = posterior.marginal(Quantity::Means);
        assert!((means.mean() - 1.03).abs() < 0.06, "{}", means.mean());
        assert!(means.interval().0 > 0.0 && means.below_zero() < 0.03);
        let effect = posterior.marginal(Quantity::Effect);
        assert!((effect.mean() - 0.63).abs() < 0.06, "{}", effect.mean());
    }
}
