//! European and Asian options priced by Monte Carlo, over strikes and volatilities.
//!
//! ```console
//! $ cargo run --release --example option_prices
//! ```
//!
//! The price of a share follows a geometric Brownian motion, and a year has 260 trading days. A
//! European option pays by the last price, an Asian one by the mean of all days' closing prices.
//! Each pair of strike and volatility is a task. For European options the price is known exactly
//! (Black and Scholes), and for Asian ones the difference between call and put; both are compared.

#![allow(clippy::print_stdout, reason = "a program for people")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their inputs")]

#[path = "option_prices/exact.rs"]
mod exact;
#[path = "option_prices/plot.rs"]
mod plot;

use std::error::Error;

use clap::Parser;
use dagrun::{ArrayHandle, Cluster, Dag};
use dagrun_example_support::compare::Comparison;
use dagrun_example_support::options::Common;
use dagrun_example_support::plot::grouped;
use dagrun_example_support::statistics::Moments;
use dagrun_example_support::threads;
use rand::SeedableRng;
use rand::distr::Distribution;
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

/// Prices European and Asian options by Monte Carlo
#[derive(Debug, Parser)]
struct Arguments {
    /// How many strikes, and how many volatilities [default: 15]
    #[arg(long, value_name = "N")]
    points: Option<usize>,
    /// How many paths of the price are drawn for each option [default: 100,000]
    #[arg(long, value_name = "N")]
    paths: Option<u64>,
    /// How many prices a path has, at equal distances over a year [default: 260]
    #[arg(long, value_name = "N")]
    days: Option<u32>,
    /// Also measures how fast plain threads do the same
    #[arg(long)]
    compare: bool,
    #[command(flatten)]
    common: Common,
}

/// What is priced, and how precisely.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Contract {
    /// The price of the share now, in dollars.
    spot: f64,
    /// The price agreed upon, in dollars.
    strike: f64,
    /// The standard deviation of the logarithm of the price after a year.
    volatility: f64,
    /// The interest rate without risk, a year, continuously compounded.
    rate: f64,
    /// Prices a path has, the last after a year.
    days: u32,
    paths: u64,
    seed: u64,
}

/// A price in dollars with its standard error.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Price {
    value: f64,
    error: f64,
}

/// The prices of the four options on one contract.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Prices {
    european_call: Price,
    european_put: Price,
    asian_call: Price,
    asian_put: Price,
}

/// Prices the four options on the same paths.
#[dagrun::task]
fn price(contract: Contract) -> Prices {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(contract.seed);
    let day = 1.0 / f64::from(contract.days);
    let drift = (contract.rate - contract.volatility.powi(2) / 2.0) * day;
    let spread = contract.volatility * day.sqrt();
    let mut paid = [Moments::default(); 4];
    for _ in 0..contract.paths {
        let (mut price, mut sum) = (contract.spot, 0.0);
        for _ in 0..contract.days {
            let normal: f64 = StandardNormal.sample(&mut random);
            price *= (drift + spread * normal).exp();
            sum += price;
        }
        let european = price - contract.strike;
        let asian = sum * day - contract.strike;
        for (moments, gain) in paid.iter_mut().zip([european, -european, asian, -asian]) {
            moments.push(gain.max(0.0));
        }
    }
    // What is paid after a year is worth less today.
    let discount = (-contract.rate).exp();
    let [european_call, european_put, asian_call, asian_put] = paid.map(|moments| Price {
        value: discount * moments.mean(),
        error: discount * moments.error(),
    });
    Prices { european_call, european_put, asian_call, asian_put }
}

/// The contracts, all volatilities of the first strike first.
fn contracts(points: usize, paths: u64, days: u32, seed: u64) -> Vec<Contract> {
    let along =
        |from: f64, to: f64, at: usize| from + (to - from) * (at as f64 / (points - 1) as f64);
    (0..points * points)
        .map(|at| Contract {
            spot: 100.0,
            strike: along(90.0, 110.0, at / points),
            volatility: along(0.1, 0.4, at % points),
            rate: 0.05,
            days,
            paths,
            seed: seed.wrapping_mul(1 << 32).wrapping_add(at as u64),
        })
        .collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    dagrun::init();
    run(&Arguments::parse()).map(|_| ())
}

fn run(arguments: &Arguments) -> Result<exact::Check, Box<dyn Error>> {
    let common = &arguments.common;
    let points = arguments.points.unwrap_or(common.sized(15, 5)).max(2);
    let paths = arguments.paths.unwrap_or(common.sized(100_000, 2_000));
    let days = arguments.days.unwrap_or(common.sized(260, 20));
    let contracts = contracts(points, paths, days, common.seed);

    let slots = common.slots_each();
    let cluster = Cluster::builder().slots(slots).processes(common.processes).start()?;
    let (dag, each) = graph(&contracts);
    let run = cluster.submit(&dag).wait()?;
    let prices = run.results(&each).wait()?;
    let times = run.times().wait()?;

    println!("{points} strikes × {points} volatilities, {} paths of {days} days", grouped(paths));
    let check = exact::Check::of(&contracts, &prices);
    println!("{check}");
    let (serial, wall) = (times.serial.as_secs_f64(), times.wall.as_secs_f64());
    println!("{serial:.2} s of work in {wall:.2} s: speed-up {:.2}", times.speed_up());
    let path = common.out.join("option_prices.png");
    plot::draw(&path, &contracts, &prices)?;
    println!("plot: {}", path.display());
    if arguments.compare {
        println!("{}", compare(&cluster, common.slots(), &contracts)?);
    }
    if check.holds() { Ok(check) } else { Err("the prices are not what they should be".into()) }
}

/// A task for each contract.
fn graph(contracts: &[Contract]) -> (Dag, ArrayHandle<Prices>) {
    let dag = Dag::new("option-prices");
    let prices = dag.map(price, contracts.to_vec());
    (dag, prices)
}

fn compare(
    cluster: &Cluster,
    slots: usize,
    contracts: &[Contract],
) -> Result<Comparison, Box<dyn Error>> {
    let plain = || {
        threads::map(slots, contracts, *price);
        Ok(())
    };
    let with_dagrun = || {
        let (dag, prices) = graph(contracts);
        Ok(cluster.submit(&dag).wait()?.results(&prices).wait().map(drop)?)
    };
    Comparison::measure(plain, with_dagrun)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract() -> Contract {
        let (spot, strike, volatility, rate) = (100.0, 100.0, 0.25, 0.05);
        Contract { spot, strike, volatility, rate, days: 50, paths: 4_000, seed: 1 }
    }

    #[test]
    fn contracts_cover_the_corners() {
        let contracts = contracts(15, 10, 10, 1);
        assert_eq!(contracts.len(), 225);
        let corner = |at: usize| (contracts[at].strike, contracts[at].volatility);
        assert_eq!([corner(0), corner(14), corner(224)], [(90.0, 0.1), (90.0, 0.4), (110.0, 0.4)]);
    }

    #[test]
    fn without_volatility_the_price_is_that_of_a_certain_payment() {
        let certain = price(Contract { volatility: 0.0, paths: 10, ..contract() });
        let expected = 100.0 - 100.0 * (-0.05f64).exp();
        assert!((certain.european_call.value - expected).abs() < 1e-9);
        assert_eq!([certain.european_put.value, certain.asian_put.value], [0.0, 0.0]);
        assert!(certain.european_call.error < 1e-6);
    }

    #[test]
    fn an_asian_option_is_cheaper_than_a_european_one() {
        let prices = price(contract());
        assert!(prices.asian_call.value < prices.european_call.value);
        assert!(prices.asian_put.value < prices.european_put.value);
    }

    #[test]
    fn a_mean_over_one_day_is_the_last_price() {
        let prices = price(Contract { days: 1, ..contract() });
        assert_eq!(prices.asian_call.value, prices.european_call.value);
        assert_eq!(prices.asian_put.value, prices.european_put.value);
    }

    #[test]
    fn threads_and_dagrun_are_compared() {
        let cluster = Cluster::builder().slots(2).start().unwrap();
        let comparison = compare(&cluster, 2, &contracts(2, 10, 5, 1)).unwrap();
        assert!(comparison.ratio() > 0.0);
    }

    #[test]
    fn a_small_run_agrees_with_what_is_known_and_draws_it() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().to_str().unwrap();
        let check = run(&Arguments::parse_from(["options", "--quick", "--out", out])).unwrap();
        assert_eq!(check.european, 50);
        assert!(folder.path().join("option_prices.png").exists());
    }
}
