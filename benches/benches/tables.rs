//! What it takes to read the results of a million instances as tables: seconds and peak memory of the
//! `dagrun` program for each form, and to find one instance of four billion.
//!
//! ```console
//! $ cargo build --release -p dagrun-cli && cargo bench -p dagrun-benches --bench tables
//! ```
//!
//! `DAGRUN_BIN` names another program, `DAGRUN_ROWS` another number of rows.

#![allow(clippy::print_stdout, reason = "it prints its figures")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dagrun::{Cluster, Dag, Sweep, linspace, range};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Point {
    strike: f64,
    sigma: f64,
    rep: u32,
}

#[derive(Serialize, Deserialize)]
struct Price {
    price: f64,
    delta: f64,
}

/// Two fields: with the three parameters of the sweep a table has five columns.
#[dagrun::task]
fn price(point: Point) -> Price {
    let price = point.strike * (1.0 + point.sigma) + f64::from(point.rep) / 7.0;
    Price { price, delta: 1.0 / (1.0 + price) }
}

/// One instance of each of four billion, of which none runs: what they wait for fails.
const GRID: &str = r#"
[task.gate]
run = "false"
[task.grid]
after = "gate"
run = ["true"]
sweep = { a = { linspace = [0.0, 1.0], n = 2000 }, b = { range = "0..2000" }, c = { logspace = [-3, 3], n = 1000 } }
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    dagrun::init();
    let rows: u32 = std::env::var("DAGRUN_ROWS").ok().map_or(Ok(1_000_000), |n| n.parse())?;
    let dir = std::env::temp_dir().join(format!("dagrun-tables-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let state = dir.join("state");
    let took = make(&state, rows)?;
    println!("a run of {rows} instances, made in {:.1} s", took.as_secs_f64());
    let sql = "SELECT sigma, avg(price) FROM price GROUP BY sigma";
    let file = dir.join("x.parquet");
    let file = file.to_string_lossy();
    let cases: [(&str, &[&str]); 8] = [
        ("CSV", &["table", "price", "--csv"]),
        ("JSON lines", &["table", "price", "--jsonl"]),
        ("parquet", &["table", "price", "-o", &file]),
        ("summary", &["table", "price", "--summary"]),
        ("SQL group-by", &["sql", sql]),
        ("sorted", &["table", "price", "--sort", "-price", "--csv"]),
        ("first 20 rows", &["table", "price", "--limit", "20"]),
        ("one instance", &["output", "price[strike=0,sigma=0.5,rep=3]"]),
    ];
    for (name, words) in cases {
        measure(name, &state, &dir, words)?;
    }
    std::fs::write(dir.join("grid.toml"), GRID)?;
    let grid = dir.join("grid");
    measure("submit a grid of 4,000,000,000", &grid, &dir, &["submit", "grid.toml", "--quiet"])?;
    let one = "grid[a=1,b=1999,c=1000]";
    measure("one value of it", &grid, &dir, &["status", one, "--json"])?;
    measure("its row", &grid, &dir, &["table", one])?;
    measure(
        "one by state",
        &grid,
        &dir,
        &["table", "grid[a=1,b=7,state=skipped]", "--limit", "5"],
    )?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn make(state: &Path, rows: u32) -> Result<Duration, Box<dyn std::error::Error>> {
    let started = Instant::now();
    let cluster = Cluster::builder().state_dir(state).slots(2).start()?;
    let dag = Dag::new("prices");
    let (strikes, sigmas) = (100.min(rows), 10.min(rows.div_ceil(100)));
    let sweep = Sweep::new()
        .axis("strike", linspace(0.0, f64::from(strikes - 1), strikes))
        .axis("sigma", (0..sigmas).map(|at| f64::from(at) / 10.0))
        .axis("rep", range(0, 1, rows / strikes / sigmas));
    let prices = dag.map(price, sweep);
    let run = cluster.submit(&dag).wait()?;
    run.wait_all([&prices]).wait()?;
    run.finished().wait()?;
    Ok(started.elapsed())
}

/// Runs the program and prints how long it took, and the most memory it had.
fn measure(
    name: &str,
    state: &Path,
    dir: &Path,
    words: &[&str],
) -> Result<(), Box<dyn std::error::Error>> {
    let started = Instant::now();
    let mut child = Command::new(program()?)
        .args(words)
        .arg("--state-dir")
        .arg(state)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
        peak = kilobytes.unwrap_or(peak);
        std::thread::sleep(Duration::from_micros(500));
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{name:32} {:>8.0} ms {:>6} MB", seconds * 1e3, peak / 1000);
    Ok(())
}

fn program() -> Result<PathBuf, Box<dyn std::error::Error>> {
    if let Some(named) = std::env::var_os("DAGRUN_BIN") {
        return Ok(named.into());
    }
    let mut path = std::env::current_exe()?;
    path.pop();
    Ok(path.with_file_name("dagrun"))
}
