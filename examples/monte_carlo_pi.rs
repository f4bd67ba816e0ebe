//! π from random points: of those in the unit square, π/4 fall within a quarter of a circle.
//!
//! ```console
//! $ cargo run --release --example monte_carlo_pi
//! ```
//!
//! The samples are drawn in blocks, each a task with random numbers of its own, so the result does
//! not depend on how many slots there are. The plot shows what each block estimates.

#![allow(clippy::print_stdout, reason = "a program for people")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their inputs")]

#[path = "monte_carlo_pi/plot.rs"]
mod plot;

use std::error::Error;
use std::f64::consts::PI;

use clap::Parser;
use dagrun::{ArrayHandle, Cluster, Context, Dag, Handle};
use dagrun_example_support::compare::Comparison;
use dagrun_example_support::options::Common;
use dagrun_example_support::plot::grouped;
use dagrun_example_support::threads;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

/// Tasks unless set otherwise: a multiple of the slots of most machines, each of some milliseconds.
const BLOCKS: u64 = 16;

/// Estimates π from random points
#[derive(Debug, Parser)]
struct Arguments {
    /// How many points are drawn in all [default: 100,000,000]
    #[arg(long, value_name = "N")]
    samples: Option<u64>,
    /// How many tasks draw them
    #[arg(long, value_name = "N", default_value_t = BLOCKS)]
    blocks: u64,
    /// Also measures how fast plain threads do the same
    #[arg(long)]
    compare: bool,
    #[command(flatten)]
    common: Common,
}

/// What a task draws.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Block {
    samples: u64,
    seed: u64,
}

/// How many of the points were within the quarter of a circle.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Hits {
    samples: u64,
    inside: u64,
    /// Who drew them; empty for the sum of several.
    place: String,
}

impl Hits {
    fn estimate(&self) -> f64 {
        4.0 * self.inside as f64 / self.samples as f64
    }

    /// The standard error of the estimate: that of a binomial distribution.
    fn error(&self) -> f64 {
        let share = self.inside as f64 / self.samples as f64;
        4.0 * (share * (1.0 - share) / self.samples as f64).sqrt()
    }
}

/// Draws the points of a block.
#[dagrun::task]
fn throw(block: Block, context: &Context) -> Hits {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(block.seed);
    let mut inside = 0;
    for _ in 0..block.samples {
        let (x, y): (f64, f64) = (random.random(), random.random());
        inside += u64::from(x * x + y * y < 1.0);
    }
    Hits { samples: block.samples, inside, place: place(context) }
}

/// Adds the points of all blocks up.
#[dagrun::task]
fn sum_up(blocks: Vec<Hits>) -> Hits {
    Hits {
        samples: blocks.iter().map(|hits| hits.samples).sum(),
        inside: blocks.iter().map(|hits| hits.inside).sum(),
        place: String::new(),
    }
}

/// The worker that this runs on, and its thread: each slot has one.
fn place(context: &Context) -> String {
    format!("{} {:?}", context.worker(), std::thread::current().id())
}

/// So many samples in so many blocks, as nearly equal as can be.
fn blocks(samples: u64, blocks: u64, seed: u64) -> Vec<Block> {
    let blocks = blocks.max(1);
    let size = |at: u64| samples / blocks + u64::from(at < samples % blocks);
    // The generator is started from a hash of its seed: neighbours have nothing in common.
    let seed = |at: u64| seed.wrapping_mul(1 << 32).wrapping_add(at);
    (0..blocks).map(|at| Block { samples: size(at), seed: seed(at) }).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    dagrun::init();
    run(&Arguments::parse()).map(|_| ())
}

fn run(arguments: &Arguments) -> Result<Hits, Box<dyn Error>> {
    let common = &arguments.common;
    let samples = arguments.samples.unwrap_or(common.sized(100_000_000, 1_000_000));
    let blocks = blocks(samples, arguments.blocks, common.seed);

    let slots = common.slots_each();
    let cluster = Cluster::builder().slots(slots).processes(common.processes).start()?;
    let (dag, each, sum) = graph(&blocks);
    let run = cluster.submit(&dag).wait()?;
    let (hits, total) = (run.results(&each).wait()?, run.result(&sum).wait()?);
    let times = run.times().wait()?;

    let (estimate, error) = (total.estimate(), total.error());
    println!("{} samples in {} blocks", grouped(total.samples), hits.len());
    println!(
        "pi = {estimate:.6} ± {error:.6}, off by {:.2} standard errors",
        (estimate - PI) / error
    );
    let (serial, wall) = (times.serial.as_secs_f64(), times.wall.as_secs_f64());
    println!("{serial:.2} s of work in {wall:.2} s: speed-up {:.2}", times.speed_up());
    let path = common.out.join("monte_carlo_pi.png");
    plot::draw(&path, &hits, &total)?;
    println!("plot: {}", path.display());
    if arguments.compare {
        println!("{}", compare(&cluster, common.slots(), &blocks)?);
    }
    Ok(total)
}

/// A task for each block, and the sum of all.
fn graph(blocks: &[Block]) -> (Dag, ArrayHandle<Hits>, Handle<Hits>) {
    let dag = Dag::new("monte-carlo-pi");
    let hits = dag.map(throw, blocks.to_vec());
    let total = dag.gather(&hits, sum_up);
    (dag, hits, total)
}

/// The same blocks on plain threads.
fn on_threads(count: usize, blocks: &[Block]) -> Vec<Hits> {
    threads::map(count, blocks, |block| throw(block, &Context::detached()))
}

fn compare(
    cluster: &Cluster,
    slots: usize,
    blocks: &[Block],
) -> Result<Comparison, Box<dyn Error>> {
    let plain = || {
        std::hint::black_box(sum_up(on_threads(slots, blocks)));
        Ok(())
    };
    let with_dagrun = || {
        let (dag, _, total) = graph(blocks);
        Ok(cluster.submit(&dag).wait()?.result(&total).wait().map(drop)?)
    };
    Comparison::measure(plain, with_dagrun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_nearly_equal_and_sum_up() {
        let blocks = blocks(1_000, 7, 3);
        assert_eq!(blocks.iter().map(|block| block.samples).sum::<u64>(), 1_000);
        assert!(blocks.iter().all(|block| (142..=143).contains(&block.samples)));
        let seeds: std::collections::HashSet<u64> = blocks.iter().map(|block| block.seed).collect();
        assert_eq!(seeds.len(), 7);
    }

    #[test]
    fn a_block_always_draws_the_same_points() {
        let block = Block { samples: 10_000, seed: 5 };
        let inside = |block: &Block| throw(block.clone(), &Context::detached()).inside;
        assert_eq!(inside(&block), inside(&block));
        assert_ne!(inside(&block), inside(&Block { seed: 6, ..block }));
    }

    #[test]
    fn estimates_scatter_as_their_error_says() {
        let blocks = blocks(1_000_000, 1_000, 11);
        let hits = on_threads(2, &blocks);
        let within = |sigmas: f64| {
            hits.iter().filter(|hits| (hits.estimate() - PI).abs() < sigmas * hits.error()).count()
        };
        // 683 and 954 are expected, with standard deviations of 15 and 7.
        assert!((624..=742).contains(&within(1.0)), "{}", within(1.0));
        assert!((928..=981).contains(&within(2.0)), "{}", within(2.0));
    }

    #[test]
    fn threads_and_dagrun_are_compared() {
        let cluster = Cluster::builder().slots(2).start().unwrap();
        let comparison = compare(&cluster, 2, &blocks(1_000, 4, 1)).unwrap();
        assert!(comparison.ratio() > 0.0);
    }

    #[test]
    fn a_small_run_ends_near_pi_and_draws_it() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().to_str().unwrap();
        let total = run(&Arguments::parse_from(["pi", "--quick", "--out", out])).unwrap();
        assert_eq!(total.samples, 1_000_000);
        let plain = on_threads(2, &blocks(1_000_000, BLOCKS, 1));
        assert_eq!(total.inside, plain.iter().map(|hits| hits.inside).sum::<u64>());
        assert!((total.estimate() - PI).abs() < 4.0 * total.error());
        assert!(folder.path().join("monte_carlo_pi.png").exists());
    }
}
