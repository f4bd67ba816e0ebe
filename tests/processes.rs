//! Clusters of worker processes, end to end. This program is its own workers, and runs each case as a
//! process of its own, in which it measures memory and with which nothing may be left.

#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dagrun::core::status::{RunState, State};
use dagrun::{Client, Cluster, Context, Dag, Each, Error, Failed, Failure, Gathered, ShelfError};
use dagrun_scheduler::connection::{ClusterDir, Token};

/// The first argument of a process that runs one case.
const CASE: &str = "__case";

const CASES: [(&str, fn()); 10] = [
    ("both_workers_take_part", both_workers_take_part),
    ("a_view_reaches_each_process", a_view_reaches_each_process),
    ("a_late_worker_is_in_a_live_view", a_late_worker_is_in_a_live_view),
    ("functions_that_fail_say_why", functions_that_fail_say_why),
    ("who_kills_its_worker_harms_nobody_else", who_kills_its_worker_harms_nobody_else),
    ("who_kills_its_worker_once_succeeds", who_kills_its_worker_once_succeeds),
    ("a_killed_worker_is_started_again", a_killed_worker_is_started_again),
    ("values_larger_than_memory_flow_between_workers", values_flow),
    ("many_calls_take_bounded_memory", many_calls),
    ("runs_that_nobody_holds_are_forgotten", calls_are_forgotten),
];

fn main() {
    dagrun::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [role, name] if role == CASE => {
            let (_, case) = CASES.iter().find(|(known, _)| known == name).unwrap();
            case();
        }
        arguments if arguments.iter().any(|word| word == "--list") => {
            CASES.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        arguments => std::process::exit(all(arguments)),
    }
}

/// Runs the cases whose names have one of the words in them; all without words.
fn all(arguments: &[String]) -> i32 {
    let words: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(*word));
    let mut failed = 0;
    for (name, _) in CASES.iter().filter(|(name, _)| wanted(name)) {
        let begun = Instant::now();
        let result = apart(name);
        let took = begun.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("test {name} ... ok ({took:.1} s)"),
            Err(why) => {
                println!("test {name} ... FAILED ({took:.1} s): {why}");
                failed += 1;
            }
        }
    }
    println!("processes: {failed} failed");
    i32::from(failed > 0)
}

/// Runs a case in a process of its own, after which no other process and no file may be left.
fn apart(name: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([CASE, name]).env("TMPDIR", dir.path()).stdin(Stdio::null());
    command.env("DAGRUN_CLUSTERS_DIR", dir.path().join("clusters"));
    let status = command.status().unwrap();
    if !status.success() {
        return Err(status.to_string());
    }
    let begun = Instant::now();
    while let Some(pid) = left(dir.path()) {
        // Reapers outlive their workers for a moment.
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(format!("process {pid} is left"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let files: Vec<PathBuf> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    if files.is_empty() { Ok(()) } else { Err(format!("left on disk: {files:?}")) }
}

/// A process that has this directory for its temporary files.
fn left(dir: &Path) -> Option<u32> {
    let wanted = format!("TMPDIR={}", dir.display());
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut pids = pids.filter(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    });
    pids.find(|pid| *pid != std::process::id())
}

fn cluster(workers: u32) -> Cluster {
    Cluster::builder().processes(workers).slots(1).start().unwrap()
}

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn failure<T: std::fmt::Debug>(result: Result<T, Error>) -> Box<Failed> {
    match result {
        Err(Error::Failed(failed)) => failed,
        other => panic!("{other:?}"),
    }
}

#[dagrun::task]
fn own_process() -> u32 {
    std::process::id()
}

/// The process of the worker of this name.
fn pid_of(cluster: &Cluster, worker: &str) -> u32 {
    let dag = Dag::new("pid");
    let handle = dag.task(own_process, ()).targets([worker]);
    cluster.submit(&dag).wait().unwrap().result(&handle).wait().unwrap()
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// A line of a process' status, in bytes.
fn memory(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|known| known.starts_with(line)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

// ---- Work that both do

#[dagrun::task]
fn square(x: u64) -> u64 {
    x * x
}

#[dagrun::task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[dagrun::task]
fn meet(dir: PathBuf, context: &Context) -> Result<(u32, String), Failure> {
    // Each waits for the other, so that both workers must have one.
    std::fs::write(dir.join(context.index().to_string()), "")?;
    while std::fs::read_dir(&dir)?.count() < 2 {
        context.cancelled()?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((std::process::id(), context.worker().to_owned()))
}

fn both_workers_take_part() {
    let cluster = cluster(2);
    let here = tempfile::tempdir().unwrap();
    let dag = Dag::new("both");
    let met = dag.map(meet, vec![here.path().to_owned(); 2]);
    let squares = dag.map(square, 1..=100u64);
    let total = dag.reduce(&squares, add);
    let run = cluster.submit(&dag).wait().unwrap();
    assert_eq!(run.result(&total).wait().unwrap(), 338_350);
    let mut met = run.results(&met).wait().unwrap();
    met.sort_by(|(_, a), (_, b)| a.cmp(b));
    let names: Vec<&str> = met.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["p1", "p2"]);
    assert_eq!(run.finished().wait().unwrap(), RunState::Succeeded);
    let pids: Vec<u32> = met.iter().map(|(pid, _)| *pid).collect();
    assert!(pids[0] != pids[1] && !pids.contains(&std::process::id()));
    assert!(pids.iter().all(|pid| alive(*pid)));
    cluster.shutdown();
    assert!(!pids.iter().any(|pid| alive(*pid)), "{pids:?}");
}

#[dagrun::task]
fn largest_of_the_table(context: &Context) -> Result<f64, ShelfError> {
    let table: Vec<f64> = context.get("table")?;
    Ok(table.into_iter().fold(f64::MIN, f64::max))
}

fn a_view_reaches_each_process() {
    let cluster = cluster(2);
    let both = cluster.view(&["p2", "p1"]).wait().unwrap();
    let pids = both.apply(own_process, ()).wait().unwrap();
    assert_eq!(pids, ["p2", "p1"].map(|name| pid_of(&cluster, name)));
    // Longer than what travels with reports.
    let table: Vec<f64> = (0..100_000).map(f64::from).collect();
    both.scatter("table", table.clone()).wait().unwrap();
    assert_eq!(both.apply(largest_of_the_table, ()).wait().unwrap(), [49_999.0, 99_999.0]);
    assert_eq!(both.gather::<f64>("table").wait().unwrap(), table);
    let first = cluster.view(&["p1"]).wait().unwrap();
    first.push("table", &[7.0]).wait().unwrap();
    assert_eq!(both.apply(largest_of_the_table, ()).wait().unwrap(), [49_999.0, 7.0]);
}

/// A cluster as `dagrun scheduler` makes it, which workers join one by one.
fn a_late_worker_is_in_a_live_view() {
    let clusters = PathBuf::from(std::env::var_os("DAGRUN_CLUSTERS_DIR").unwrap());
    let folder = ClusterDir::of("late").unwrap();
    folder.claim().unwrap();
    let [client, worker] = [Token::random(), Token::random()].map(Result::unwrap);
    let (of_client, of_worker) = (client.bytes().to_vec(), worker.bytes().to_vec());
    let config = dagrun_scheduler::Config::new(folder.state_dir(), of_client, of_worker);
    let scheduler = dagrun_scheduler::spawn(config.on_loopback()).unwrap();
    folder.publish(scheduler.address().unwrap(), &client, &worker).unwrap();

    let client = Client::connect("late").unwrap();
    let join = |name: &str, count: usize| {
        let arguments = ["worker", "--cluster", "late", "-j", "1", "--name", name];
        let program = std::env::current_exe().unwrap();
        let process = Command::new(program).args(arguments).stderr(Stdio::null()).spawn().unwrap();
        let joined = || (client.workers().wait().unwrap().len() == count).then_some(());
        until("it has joined", joined);
        process
    };
    let mut first = join("a", 1);
    let live = client.view_all().wait().unwrap();
    let fixed = client.view(&["a"]).wait().unwrap();
    assert_eq!(live.apply(own_process, ()).wait().unwrap(), [first.id()]);
    live.push("table", &[7.0]).wait().unwrap();

    let mut second = join("b", 2);
    assert_eq!(live.apply(own_process, ()).wait().unwrap(), [first.id(), second.id()]);
    assert_eq!(fixed.apply(own_process, ()).wait().unwrap(), [first.id()]);
    // It has not got what was put on the others before, until it is put there.
    let error = failure(live.apply(largest_of_the_table, ()).wait());
    assert_eq!(error.worker.as_deref(), Some("b"), "{error}");
    live.push("table", &[8.0]).wait().unwrap();
    assert_eq!(live.apply(largest_of_the_table, ()).wait().unwrap(), [8.0, 8.0]);

    scheduler.shutdown();
    scheduler.join();
    first.wait().unwrap();
    second.wait().unwrap();
    std::fs::remove_dir_all(clusters).unwrap();
}

// ---- Faults

#[dagrun::task]
fn panics(x: u32) -> u32 {
    assert!(x > 100, "{x} is too small");
    x
}

#[dagrun::task]
fn refuses(x: u32) -> Result<u32, String> {
    Err(format!("{x} is not wanted"))
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read the settings")]
struct Settings(#[source] Number);

#[derive(Debug, thiserror::Error)]
#[error("the width is no number")]
struct Number(#[source] std::num::ParseIntError);

#[dagrun::task]
fn reads(text: String) -> Result<u32, Settings> {
    text.parse().map_err(|error| Settings(Number(error)))
}

#[dagrun::task]
fn asks(text: String) -> Result<u32, Failure> {
    Ok(text.parse::<u32>()?)
}

fn functions_that_fail_say_why() {
    let cluster = cluster(2);
    let pids = ["p1", "p2"].map(|name| pid_of(&cluster, name));
    let dag = Dag::new("failures");
    let panicked = dag.task(panics, (7,)).retries(1);
    let refused = dag.task(refuses, (3,));
    let stack = dag.task(reads, ("wide".to_owned(),));
    let located = dag.task(asks, ("wide".to_owned(),));
    let run = cluster.submit(&dag).wait().unwrap();

    let panicked = failure(run.result(&panicked).wait());
    assert_eq!((panicked.state, panicked.attempts), (State::Failed, 2));
    let place = "panicked at tests/processes.rs:";
    assert!(panicked.reason.starts_with(place), "{}", panicked.reason);
    assert!(panicked.reason.ends_with(": 7 is too small"), "{}", panicked.reason);

    let refused = failure(run.result(&refused).wait());
    assert_eq!((refused.state, &*refused.reason), (State::Failed, "3 is not wanted"));
    assert!(refused.worker.is_some_and(|worker| worker == "p1" || worker == "p2"));

    let causes =
        ["cannot read the settings", "the width is no number", "invalid digit found in string"];
    let stack = failure(run.result(&stack).wait());
    assert_eq!(stack.reason, causes.join(": "));
    assert!(causes.iter().all(|cause| stack.detail.contains(cause)), "{}", stack.detail);

    let located = failure(run.result(&located).wait());
    assert!(located.reason.contains("invalid digit found in string"), "{}", located.reason);
    assert!(located.detail.contains("tests/processes.rs:"), "{}", located.detail);

    assert_eq!(run.finished().wait().unwrap(), RunState::Failed);
    let now = ["p1", "p2"].map(|name| pid_of(&cluster, name));
    assert_eq!(pids, now, "failures kill no workers");
}

#[dagrun::task]
#[allow(clippy::print_stderr, reason = "it is what is looked for")]
fn kills(how: String) -> u32 {
    eprintln!("about to {how}");
    match how.as_str() {
        "abort" => std::process::abort(),
        "exit" => std::process::exit(7),
        "memory" => std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u64; 1000]>()),
        _ => 0,
    }
}

#[dagrun::task]
fn slowly(x: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(20));
    x + 1
}

fn who_kills_its_worker_harms_nobody_else() {
    for how in ["abort", "exit", "memory"] {
        let cluster = cluster(2);
        let before = ["p1", "p2"].map(|name| pid_of(&cluster, name));
        let dag = Dag::new("killer");
        let killer = dag.task(kills, (how.to_owned(),)).max_lost(2).targets(["p1"]);
        let others = dag.map(slowly, 0..50u64).targets(["p2"]);
        let anywhere = dag.map(slowly, 0..50u64);
        let run = cluster.submit(&dag).wait().unwrap();
        let failed = failure(run.result(&killer).wait());
        assert_eq!((failed.state, failed.attempts), (State::Failed, 3), "{how}: {failed:?}");
        assert_eq!(failed.reason, "lost its worker 3 times", "{how}");
        assert_eq!(failed.worker.as_deref(), Some("p1"), "{how}");
        let (status, stderr) = match how {
            "exit" => ("exit status: 7", "about to exit"),
            "abort" => ("signal: 6 (SIGABRT)", "about to abort"),
            // With backtraces, the end of what it wrote is the end of one.
            _ if std::env::var_os("RUST_BACKTRACE").is_some_and(|set| set != "0") => {
                ("signal: 6 (SIGABRT)", "dagrun_worker::slots")
            }
            _ => ("signal: 6 (SIGABRT)", "memory allocation of 8000 bytes failed"),
        };
        let said = failed.to_string();
        assert!(said.contains(&format!("worker p1 ended with {status}")), "{said}");
        assert!(failed.detail.contains(stderr), "{}", failed.detail);
        let expected: Vec<u64> = (1..=50).collect();
        assert_eq!(run.results(&others).wait().unwrap(), expected);
        assert_eq!(run.results(&anywhere).wait().unwrap(), expected);
        assert_eq!(run.finished().wait().unwrap(), RunState::Failed);
        let after = ["p1", "p2"].map(|name| pid_of(&cluster, name));
        assert!(after[0] != before[0] && after[1] == before[1], "{before:?} {after:?}");
        assert!(!alive(before[0]));
    }
}

#[dagrun::task]
fn kills_once(marker: PathBuf, how: String, context: &Context) -> Result<u32, Failure> {
    if !marker.exists() {
        std::fs::write(&marker, "")?;
        return Ok(kills(how));
    }
    Ok(context.attempt())
}

fn who_kills_its_worker_once_succeeds() {
    let cluster = cluster(2);
    let here = tempfile::tempdir().unwrap();
    let dag = Dag::new("once");
    let killers = ["abort", "exit", "memory"]
        .map(|how| dag.task(kills_once, (here.path().join(how), how.to_owned())).max_lost(2));
    let run = cluster.submit(&dag).wait().unwrap();
    for killer in &killers {
        assert!(run.result(killer).wait().unwrap() >= 2);
    }
    assert_eq!(run.finished().wait().unwrap(), RunState::Succeeded);
}

fn a_killed_worker_is_started_again() {
    let cluster = cluster(1);
    let mut before = pid_of(&cluster, "p1");
    for _ in 0..3 {
        let killed = Command::new("kill").args(["-KILL", &before.to_string()]).status().unwrap();
        assert!(killed.success());
        until("the killed process is gone", || (!alive(before)).then_some(()));
        let after = pid_of(&cluster, "p1");
        assert_ne!(before, after);
        before = after;
    }
}

// ---- Values that do not fit

/// Whether the sizes are those that are wanted in the end, rather than what is enough to see it.
fn full() -> bool {
    std::env::var_os("DAGRUN_FULL").is_some_and(|value| value == "1")
}

/// Bytes of a chunk.
const CHUNK: usize = 4_000_000;

fn random(seed: u32) -> impl Iterator<Item = u64> {
    let mut state = (u64::from(seed) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
    .take(CHUNK / 8)
}

const TURN: u64 = 0x5a5a_5a5a_1234_5678;

/// Goes on with the checksum, which depends on the order.
fn mix(sum: u64, word: u64) -> u64 {
    (sum ^ word).rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word))
}

fn joined(words: impl Iterator<Item = u64>) -> Bytes {
    let mut bytes = Vec::with_capacity(CHUNK);
    words.for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    bytes.into()
}

#[dagrun::task]
fn list(chunks: u32) -> Vec<u32> {
    (0..chunks).collect()
}

#[dagrun::task]
fn make(number: u32) -> Bytes {
    joined(random(number))
}

#[dagrun::task]
#[allow(clippy::needless_pass_by_value)]
fn turn(chunk: Bytes) -> Bytes {
    joined(words(&chunk).map(|word| word ^ TURN))
}

#[dagrun::task]
fn checksum(chunks: Gathered<Bytes>) -> Result<(u64, u64), dagrun::GatherError> {
    let mut sum = (0, 0);
    for chunk in chunks.values() {
        let chunk = chunk?;
        sum = (sum.0 + chunk.len() as u64, words(&chunk).fold(sum.1, mix));
    }
    Ok(sum)
}

fn values_flow() {
    let (chunks, limit) = if full() { (250, 256u64 << 20) } else { (50, 64 << 20) };
    let cluster = Cluster::builder().processes(2).slots(1).memory(limit).start().unwrap();
    let pids = ["p1", "p2"].map(|name| pid_of(&cluster, name));
    let idle = pids.map(|pid| memory(pid, "VmHWM:"));
    let begun = Instant::now();
    let dag = Dag::new("values");
    let numbers = dag.task(list, (chunks,));
    let made = dag.map(make, dag.scatter(&numbers, Each)).targets(["p1"]);
    let turned = dag.map(turn, &made).targets(["p2"]);
    let sum = dag.gather(&turned, checksum).targets(["p1"]);
    let run = cluster.submit(&dag).wait().unwrap();
    let (bytes, sum) = run.result(&sum).wait().unwrap();
    let took = begun.elapsed().as_secs_f64();
    let peaks = pids.map(|pid| memory(pid, "VmHWM:"));
    println!("{bytes} bytes, {took:.1} s, idle {idle:?}, peaks {peaks:?}, limit {limit}");
    assert_eq!(bytes, u64::from(chunks) * CHUNK as u64);
    let expected = (0..chunks).flat_map(random).map(|word| word ^ TURN).fold(0, mix);
    assert_eq!(sum, expected);
    assert_eq!(run.finished().wait().unwrap(), RunState::Succeeded);
    for peak in peaks {
        assert!(peak < limit, "{peaks:?}");
    }
    let now = ["p1", "p2"].map(|name| pid_of(&cluster, name));
    assert_eq!(pids, now, "these were their peaks");
    // While the cluster is still there: the values have gone with their last reader.
    until("the workers give their disk back", || {
        (pids.iter().map(|pid| nameless(*pid)).sum::<u64>() == 0).then_some(())
    });
}

/// Bytes on disk of the files without a name that a process has open.
fn nameless(pid: u32) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(Result::ok);
    let gone = files.filter(|file| {
        let target = std::fs::read_link(file.path()).unwrap_or_default();
        target.to_string_lossy().contains(".dagrun-values-")
    });
    gone.filter_map(|file| Some(std::fs::metadata(file.path()).ok()?.blocks() * 512)).sum()
}

// ---- Calls without a graph

fn many_calls() {
    let calls = if full() { 1_000_000u64 } else { 100_000 };
    let cluster = cluster(2);
    let pids = ["p1", "p2"].map(|name| pid_of(&cluster, name));
    let resident = || [std::process::id(), pids[0], pids[1]].map(|pid| memory(pid, "VmRSS:"));
    let client = cluster.client();
    assert_eq!(client.map(square, 0..1_000u64).map(Result::unwrap).sum::<u64>(), 332_833_500);
    let (before, mut most) = (resident(), [0; 3]);
    let begun = Instant::now();
    let mut expected = 0u64;
    for value in client.map(square, 0..calls) {
        assert_eq!(value.unwrap(), expected * expected);
        expected += 1;
        if expected.is_multiple_of(1_000) {
            let now = resident();
            most = std::array::from_fn(|at| most[at].max(now[at]));
        }
    }
    let rate = expected as f64 / begun.elapsed().as_secs_f64();
    assert_eq!(expected, calls);
    println!("{rate:.0} calls a second; resident {before:?}, most {most:?}");
    for (most, before) in most.iter().zip(before) {
        assert!(most.saturating_sub(before) < 64 << 20, "{before} {most}");
    }
}

#[dagrun::task]
fn long_text(n: u32) -> Result<String, String> {
    if n.is_multiple_of(3) { Err("x".repeat(1_000)) } else { Ok("x".repeat(10_000)) }
}

/// Calls whose values are waited for, that fail, and that nobody waits for.
fn calls_are_forgotten() {
    let (first, calls) = if full() { (1_000, 10_000) } else { (100, 400) };
    let cluster = cluster(1);
    let worker = pid_of(&cluster, "p1");
    let resident = || [std::process::id(), worker].map(|pid| memory(pid, "VmRSS:"));
    let client = cluster.client();
    let call = |n: u32| {
        let pending = client.call(long_text, (n,));
        match n % 4 {
            0 => drop(pending),
            _ => assert_eq!(pending.wait().is_ok(), !n.is_multiple_of(3)),
        }
        let dag = Dag::new("run");
        let handle = dag.task(long_text, (1,));
        let run = client.submit(&dag).wait().unwrap();
        assert_eq!(run.result(&handle).wait().unwrap().len(), 10_000);
        assert_eq!(run.clone().finished().wait().unwrap(), RunState::Succeeded);
    };
    (0..first).for_each(call);
    let before = resident();
    let begun = Instant::now();
    (0..calls).for_each(call);
    let rate = f64::from(2 * calls) / begun.elapsed().as_secs_f64();
    let after = resident();
    println!("{rate:.0} runs a second; resident {before:?}, then {after:?}");
    for (after, before) in after.iter().zip(before) {
        let each = after.saturating_sub(before) / u64::from(2 * calls);
        assert!(each < 1_500, "{each} bytes are kept of each run");
    }
}
