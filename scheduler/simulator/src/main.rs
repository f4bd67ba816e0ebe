//! Plays seeds: `cargo run --release -p dagrun-simulator -- --seeds 100000`.

#![allow(clippy::print_stdout)]

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use dagrun_simulator::{Options, Planted, Seen, quiet, run, shrink};

/// Simulates clusters with faults, and checks what dagrun promises.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds to play.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Play this one alone, and print what happens.
    #[arg(long)]
    seed: Option<u64>,
    /// End after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// No more faults than this.
    #[arg(long)]
    faults: Option<usize>,
    /// No more tasks than this.
    #[arg(long)]
    tasks: Option<usize>,
    /// No more workers than this.
    #[arg(long)]
    workers: Option<usize>,
    /// A fault in the product itself, to see that it is found.
    #[arg(long, value_enum)]
    plant: Option<Plant>,
    /// Threads; as many as there are cores when not given.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Plant {
    /// A worker places outputs whatever its lease.
    StaleAttempts,
    /// The marks of leases are ignored, so that attempt numbers are given twice.
    NumbersTwice,
    /// Places in the journal begin at 0 after a restart.
    SequenceRestarts,
}

impl From<Plant> for Planted {
    fn from(plant: Plant) -> Planted {
        match plant {
            Plant::StaleAttempts => Planted::StaleAttempts,
            Plant::NumbersTwice => Planted::NumbersTwice,
            Plant::SequenceRestarts => Planted::SequenceRestarts,
        }
    }
}

impl Args {
    fn options(&self, seed: u64) -> Options {
        let all = Options::of(seed);
        Options {
            most_faults: self.faults.unwrap_or(all.most_faults),
            most_tasks: self.tasks.unwrap_or(all.most_tasks),
            most_workers: self.workers.unwrap_or(all.most_workers),
            planted: self.plant.map(Planted::from),
            ..all
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    quiet();
    if let Some(seed) = args.seed {
        return match run(Options { trace: true, ..args.options(seed) }) {
            Ok(seen) => {
                println!("seed {seed}: {seen:?}");
                ExitCode::SUCCESS
            }
            Err(broken) => {
                println!("seed {seed}: {broken}");
                ExitCode::FAILURE
            }
        };
    }
    play(&args)
}

fn play(args: &Args) -> ExitCode {
    let begun = Instant::now();
    let (next, failed) = (AtomicU64::new(args.from), AtomicBool::new(false));
    let end = args.from.saturating_add(args.seeds);
    let until = args.seconds.map(|seconds| begun + Duration::from_secs(seconds));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let total = std::thread::scope(|scope| {
        let play = || {
            let mut total = (0, Seen::default());
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                let is_late = until.is_some_and(|until| Instant::now() >= until);
                if seed >= end || is_late || failed.load(Ordering::Relaxed) {
                    return total;
                }
                match run(args.options(seed)) {
                    Ok(seen) => {
                        add(&mut total, seen);
                        total.0 += 1;
                    }
                    Err(broken) => {
                        failed.store(true, Ordering::Relaxed);
                        report(args, seed, &broken);
                    }
                }
            }
        };
        let threads = (0..args.threads.unwrap_or(threads).max(1)).map(|_| scope.spawn(play));
        let threads: Vec<_> = threads.collect();
        let mut total = (0, Seen::default());
        for (played, seen) in threads.into_iter().filter_map(|thread| thread.join().ok()) {
            add(&mut total, seen);
            total.0 += played;
        }
        total
    });
    let (played, seen) = total;
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{played} seeds in {took:.1} s ({:.0} a second): {} events, {} faults, {} attempts, {} of them outlived \
         their scheduler, \
         {:.1} days of simulated time",
        played as f64 / took,
        seen.events,
        seen.faults,
        seen.attempts,
        seen.survived,
        seen.time as f64 / 86_400e6
    );
    if failed.into_inner() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn add(total: &mut (u64, Seen), seen: Seen) {
    let sum = &mut total.1;
    sum.events += seen.events;
    sum.faults += seen.faults;
    sum.attempts += seen.attempts;
    sum.time += seen.time;
    sum.survived += seen.survived;
}

fn report(args: &Args, seed: u64, broken: &str) {
    println!("seed {seed}: {broken}");
    if let Some(smallest) = shrink(args.options(seed)) {
        let Options { most_faults, most_tasks, most_workers, .. } = smallest.options;
        let mut again = format!("--seed {seed}");
        for (name, limit) in
            [("faults", most_faults), ("tasks", most_tasks), ("workers", most_workers)]
        {
            if limit != usize::MAX {
                again.push_str(&format!(" --{name} {limit}"));
            }
        }
        println!("smaller: {again}: {}", smallest.broken);
    }
}
