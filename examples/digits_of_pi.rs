//! How often does each pair of digits occur among the decimals of π? Counted in 15 files at once.
//!
//! ```console
//! $ cargo run --release --example digits_of_pi
//! $ cargo run --release --example digits_of_pi -- --digits 10_000_000
//! ```
//!
//! The decimals are computed first, by the program of `examples/pi`: a few seconds for 15 files of
//! 100,000, about 25 minutes and 8 GB for 15 of 10 million. With `--from` the files of a folder are
//! counted instead, in the order of their names; blanks and line ends in them are passed over.

#![allow(clippy::print_stdout, reason = "a program for people")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their inputs")]

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use dagrun::{Cluster, Dag};
use dagrun_example_pi::count::{Counts, pair_index};
use dagrun_example_pi::{decimals, plot};
use dagrun_example_support::options::Common;
use dagrun_example_support::plot::grouped;
use serde::{Deserialize, Serialize};

/// Counts the pairs of digits of pi
#[derive(Debug, Parser)]
struct Arguments {
    /// How many files the digits are in
    #[arg(long, value_name = "N", default_value_t = 15)]
    files: usize,
    /// How many digits each file has [default: 100,000]
    #[arg(long, value_name = "N", value_parser = with_underscores)]
    digits: Option<usize>,
    /// Counts the files of this folder, instead of computing the digits
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

fn with_underscores(text: &str) -> Result<usize, std::num::ParseIntError> {
    text.replace('_', "").parse()
}

/// Why a file could not be counted.
#[derive(Debug, thiserror::Error)]
enum CountError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} has no digits only", path.display())]
    Digits { path: PathBuf, source: dagrun_example_pi::error::Error },
}

/// The counts of consecutive files: how often each digit and each pair of digits occurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Frequencies {
    counts: Counts,
}

/// Counts the digits of a file.
#[dagrun::task]
fn frequencies(path: PathBuf) -> Result<Frequencies, CountError> {
    let mut text = Vec::new();
    let read = File::open(&path).and_then(|mut file| file.read_to_end(&mut text));
    read.map_err(|source| CountError::Read { path: path.clone(), source })?;
    text.retain(|byte| !byte.is_ascii_whitespace());
    let counts = Counts::of(&text).map_err(|source| CountError::Digits { path, source })?;
    Ok(Frequencies { counts })
}

/// Adds the counts of a file to those of the file before it, and the pair that stands across the
/// two. It is associative, but the order matters.
#[dagrun::task]
fn join(mut before: Frequencies, after: Frequencies) -> Frequencies {
    let counts = &mut before.counts;
    counts.pairs[pair_index(counts.last, after.counts.first)] += 1;
    for (sum, count) in counts.pairs.iter_mut().zip(&after.counts.pairs) {
        *sum += count;
    }
    for (sum, count) in counts.single.iter_mut().zip(&after.counts.single) {
        *sum += count;
    }
    counts.last = after.counts.last;
    before
}

/// Computes the decimals and writes them to so many files.
fn write_files(folder: &Path, files: usize, digits: usize) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    let decimals = decimals::of_pi(files * digits);
    let parts = decimals.as_bytes().chunks(digits).enumerate();
    parts
        .map(|(part, digits)| {
            let path = folder.join(format!("pi-{part:02}.txt"));
            fs::write(&path, digits).map(|()| path)
        })
        .collect()
}

/// The files of a folder in the order of their names.
fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries: io::Result<Vec<PathBuf>> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut files: Vec<PathBuf> = entries?.into_iter().filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

fn main() -> Result<(), Box<dyn Error>> {
    dagrun::init();
    run(&Arguments::parse()).map(|_| ())
}

fn run(arguments: &Arguments) -> Result<Counts, Box<dyn Error>> {
    let common = &arguments.common;
    let folder = tempfile::tempdir()?;
    let files = match &arguments.from {
        Some(from) => files_of(from)?,
        None => {
            let digits = arguments.digits.unwrap_or(common.sized(100_000, 1_000)).max(1);
            let start = Instant::now();
            let files = write_files(folder.path(), arguments.files.max(1), digits)?;
            let (count, seconds) = (grouped((digits * files.len()) as u64), start.elapsed());
            println!("{count} decimals computed in {:.2} s", seconds.as_secs_f64());
            files
        }
    };

    if files.is_empty() {
        return Err("no files".into());
    }
    let count = files.len();

    let slots = common.slots_each();
    let cluster = Cluster::builder().slots(slots).processes(common.processes).start()?;
    let dag = Dag::new("digits-of-pi");
    let each = dag.map(frequencies, files);
    let sum = dag.reduce(&each, join);
    let run = cluster.submit(&dag).wait()?;
    let total = run.result(&sum).wait()?;
    let times = run.times().wait()?;

    let (serial, wall) = (times.serial.as_secs_f64(), times.wall.as_secs_f64());
    println!(
        "{count} files: {serial:.3} s of work in {wall:.3} s: speed-up {:.2}",
        times.speed_up()
    );
    report(&total.counts)?;
    fs::create_dir_all(&common.out)?;
    let path = common.out.join("digits_of_pi.png");
    fs::write(&path, plot::png(&total.counts.pairs)?)?;
    println!("plot: {}", path.display());
    Ok(total.counts)
}

fn report(counts: &Counts) -> Result<(), Box<dyn Error>> {
    let (digits, pairs) = (counts.single.iter().sum::<u64>(), counts.pairs.iter().sum::<u64>());
    if pairs + 1 != digits {
        return Err(format!("{pairs} pairs were counted in {digits} digits").into());
    }
    for (digit, count) in counts.single.iter().enumerate() {
        println!("{digit}: {}", grouped(*count));
    }
    println!(
        "chi squared: {:.1} for 10 digits (9 expected), {:.1} for 100 pairs (90 expected)",
        chi_squared(&counts.single),
        // Pairs overlap: what the digits already explain is taken off (Good, 1953).
        chi_squared(&counts.pairs) - chi_squared(&counts.single)
    );
    Ok(())
}

/// How far counts are from being equal.
fn chi_squared(counts: &[u64]) -> f64 {
    let mean = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    counts.iter().map(|&count| (count as f64 - mean).powi(2) / mean).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> Frequencies {
        Frequencies { counts: Counts::of(text.as_bytes()).unwrap() }
    }

    #[test]
    fn parts_join_to_the_counts_of_the_whole_in_any_grouping() {
        let parts = || ["1415", "9", "2653589793"].map(counted);
        let ([a, b, c], [d, e, f]) = (parts(), parts());
        let whole = counted("141592653589793");
        assert_eq!(join(join(a, b), c), whole);
        assert_eq!(join(d, join(e, f)), whole);
    }

    #[test]
    fn blanks_and_line_ends_are_passed_over() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "14159 26535\n89793 23846\n").unwrap();
        let counts = frequencies(file.path().to_owned()).unwrap().counts;
        assert_eq!(counts, counted("14159265358979323846").counts);
    }

    #[test]
    fn what_cannot_be_counted_is_named() {
        let missing = frequencies(PathBuf::from("/nowhere/pi.txt")).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read /nowhere/pi.txt");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "3.14").unwrap();
        let source = frequencies(file.path().to_owned()).unwrap_err();
        assert_eq!(source.source().unwrap().to_string(), "not a digit at byte 1");
    }

    #[test]
    fn a_small_run_counts_the_first_decimals_and_draws_them() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().to_str().unwrap();
        let counts = run(&Arguments::parse_from(["pi", "--quick", "--files", "10", "--out", out]));
        // The digits of the first 10,000 decimals are a known table.
        let known = [968, 1026, 1021, 974, 1012, 1046, 1021, 970, 948, 1014];
        assert_eq!(counts.unwrap().single, known);
        assert!(folder.path().join("digits_of_pi.png").exists());
    }

    #[test]
    fn files_of_a_folder_are_counted_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (from, out) = (folder.path().join("digits"), folder.path().join("plots"));
        fs::create_dir(&from).unwrap();
        fs::write(from.join("2.txt"), "9265").unwrap();
        fs::write(from.join("1.txt"), "1415\n").unwrap();
        let arguments = [Path::new("pi"), Path::new("--from"), &from, Path::new("--out"), &out];
        let counts = run(&Arguments::parse_from(arguments)).unwrap();
        assert_eq!(counts, counted("14159265").counts);
    }
}
