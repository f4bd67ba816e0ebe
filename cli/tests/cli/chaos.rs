//! Chaos with real processes: workers and the scheduler are killed, told to end, stopped for longer than
//! a lease and cut off, the disk of the state directory fills up, all at random, while short attempts
//! append to an audit file and write outputs. At the end the audit adds up.
//!
//! `DAGRUN_CHAOS` sets how many instances there are (800 by default), `DAGRUN_CHAOS_RUNS` how often it is
//! done, `DAGRUN_CHAOS_SEED` the first seed, `DAGRUN_CHAOS_PAUSE` how many seconds a worker is stopped or
//! cut off for at most (2). A failure prints its seed; what the machine does beside it is not repeated by
//! a seed.
//!
//! `DAGRUN_SOAK` sets for how many seconds run follows run on one cluster, of which the scheduler and two
//! workers live on while the other workers are killed, everything is stopped now and then, lines are cut and
//! the disk fills up. What those that live on hold is printed, and may not grow.

#![allow(clippy::print_stderr, reason = "a failure is looked into by its seed")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::full::Disk;
use crate::harness::{Cluster, Process, Test, wait_until};
use crate::presence::{Way, apart, audit};

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// From a fifth of a second to so many seconds.
    fn span(&mut self, most: u64) -> Duration {
        Duration::from_millis(200 + self.below(most * 1000))
    }
}

const WORKERS: usize = 4;

/// How long nothing happens between two strikes.
const PACE: Duration = Duration::from_millis(500);

struct Worker {
    process: Process,
    /// Its way to the scheduler, where that can be cut.
    way: Option<Way>,
    /// Until when it is stopped, or cut off.
    until: Option<Instant>,
}

impl Worker {
    fn stop(&mut self, until: Instant) {
        self.process.signal(Signal::STOP);
        self.until = Some(until);
    }

    fn cut(&mut self, until: Instant) {
        if let Some(way) = &self.way {
            way.cut();
            self.until = Some(until);
        }
    }

    fn go_on(&mut self) {
        self.process.signal(Signal::CONT);
        if let Some(way) = &self.way {
            way.mend();
        }
        self.until = None;
    }
}

/// A cluster that things happen to.
struct Chaos {
    cluster: Cluster,
    disk: Option<Disk>,
    /// Until when it is full.
    full: Option<Instant>,
    scheduler: Process,
    workers: Vec<Worker>,
    /// Those that have been told to end, or were killed.
    former: Vec<Process>,
    started: usize,
    random: Random,
    /// For how many seconds workers are stopped or cut off, at most.
    pause: u64,
    /// How often what happened.
    strikes: BTreeMap<&'static str, u32>,
    /// The ends that somebody was told, by index.
    told: BTreeMap<u64, Value>,
}

impl Chaos {
    fn new(instances: u64, seed: u64, pause: u64) -> Chaos {
        let pipeline = format!(
            "[task.a]\nsweep = {{ i = {{ range = '0..{instances}' }} }}\nmax-lost = 1000\n\
             shell = '''\necho $i $DAGRUN_ATTEMPT >> audit\n\
             sleep 0.0$((i % 7))\necho $i $DAGRUN_ATTEMPT > $out_o\n'''\n\
             out.o = 'out/{{i}}.txt'\n"
        );
        Chaos::with(&pipeline, seed, pause)
    }

    fn with(pipeline: &str, seed: u64, pause: u64) -> Chaos {
        let test = Test::new(pipeline);
        std::fs::create_dir(test.path("temporary")).unwrap();
        let disk = Disk::mount(&test, "clusters/c/state", "64m");
        let scheduler = start_scheduler(&test, disk.as_ref());
        let cluster = Cluster::started(test);
        let mut chaos = Chaos {
            cluster,
            disk,
            full: None,
            scheduler,
            workers: Vec::new(),
            former: Vec::new(),
            started: 0,
            random: Random(seed),
            pause,
            strikes: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        (0..WORKERS).for_each(|_| chaos.start_worker());
        chaos
    }

    /// Every other one joins by a way that can be cut.
    fn start_worker(&mut self) {
        self.started += 1;
        let name = format!("w{}", self.started);
        let temporary = self.cluster.0.path("temporary").display().to_string();
        let (own, env) = (["--drain", "0s"], ("TMPDIR", temporary));
        let (way, process) = if self.started.is_multiple_of(2) {
            let (way, process) = apart(&self.cluster, &name, &own, &[env]);
            (Some(way), process)
        } else {
            let words = ["worker", "--cluster", "c", "--name", name.as_str(), "-j", "2"];
            let mut worker = self.cluster.0.start_with(&[&words, &own[..]].concat(), &[env]);
            worker.wait_for_line("joined");
            (None, worker)
        };
        self.workers.push(Worker { process, way, until: None });
    }

    fn end_worker(&mut self, at: usize, signal: Signal) {
        let mut worker = self.workers.remove(at);
        worker.process.signal(signal);
        worker.go_on();
        self.former.push(worker.process);
        self.start_worker();
    }

    /// The scheduler is started again after this signal.
    fn restart(&mut self, signal: Signal) {
        // A scheduler needs some space to begin.
        self.free();
        self.scheduler.signal(signal);
        wait_until("the scheduler has ended", || self.scheduler.has_ended());
        self.scheduler = start_scheduler(&self.cluster.0, self.disk.as_ref());
    }

    fn free(&mut self) {
        if let Some(disk) = self.disk.as_ref().filter(|_| self.full.is_some()) {
            disk.free(&self.cluster.0);
            self.full = None;
        }
    }

    /// What is over ends.
    fn end_what_is_over(&mut self, now: Instant) {
        let is_over = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        self.workers.iter_mut().filter(|worker| is_over(worker.until)).for_each(Worker::go_on);
        if is_over(self.full) {
            self.free();
        }
    }

    /// One thing happens that the scheduler and the first two workers live on with.
    fn strike_gently(&mut self) {
        std::thread::sleep(PACE);
        let now = Instant::now();
        self.end_what_is_over(now);
        let (any, at) = (self.random.below(4) as usize, 2 + self.random.below(2) as usize);
        let until = now + self.random.span(self.pause);
        match self.random.below(8) {
            0 => self.end_worker(at, Signal::KILL),
            1 => self.end_worker(at, Signal::TERM),
            2..4 if self.workers[any].until.is_none() => self.workers[any].stop(until),
            4 if self.workers[any].until.is_none() => self.workers[any].cut(until),
            5 if self.full.is_none() => {
                self.disk.iter().for_each(|disk| disk.fill(&self.cluster.0));
                self.full = self.disk.as_ref().map(|_| until);
            }
            6 => {
                self.scheduler.signal(Signal::STOP);
                std::thread::sleep(self.random.span(2));
                self.scheduler.signal(Signal::CONT);
            }
            _ => {}
        }
    }

    /// What the scheduler and the first two workers hold.
    fn held(&self) -> Vec<Held> {
        let workers = self.workers.iter().take(2).map(|worker| &worker.process);
        std::iter::once(&self.scheduler).chain(workers).map(Held::of).collect()
    }

    /// One thing happens, and what is over ends.
    fn strike(&mut self) {
        std::thread::sleep(PACE);
        let now = Instant::now();
        self.end_what_is_over(now);
        let at = self.random.below(WORKERS as u64) as usize;
        let idle = self.workers.iter().filter(|worker| worker.until.is_some()).count();
        let kind = match self.random.below(16) {
            0..4 => {
                self.end_worker(at, Signal::KILL);
                "worker killed"
            }
            4..6 => {
                self.end_worker(at, Signal::TERM);
                "worker told to end"
            }
            // Half of them go on.
            6..9 if idle < WORKERS / 2 => {
                let until = now + self.random.span(self.pause);
                self.workers[at].stop(until);
                "worker stopped"
            }
            9..11 if idle < WORKERS / 2 => {
                let until = now + self.random.span(self.pause);
                self.workers[at].cut(until);
                "worker cut off"
            }
            11..13 => {
                self.restart(Signal::KILL);
                "scheduler killed"
            }
            13 => {
                self.restart(Signal::TERM);
                "scheduler told to end"
            }
            14 if self.disk.is_some() && self.full.is_none() => {
                self.disk.iter().for_each(|disk| disk.fill(&self.cluster.0));
                self.full = Some(now + self.random.span(2));
                "disk full"
            }
            _ => {
                let span = self.random.span(2);
                self.scheduler.signal(Signal::STOP);
                std::thread::sleep(span);
                self.scheduler.signal(Signal::CONT);
                "scheduler stopped"
            }
        };
        *self.strikes.entry(kind).or_default() += 1;
    }

    /// How many instances have ended, and whether the run has.
    fn progress(&self) -> (u64, bool) {
        let run = self.cluster.run(&["status", "last", "--json"]).exits(0).json();
        let ended = run[0]["tasks"][0]["succeeded"].as_u64().unwrap_or(0);
        (ended, !matches!(run[0]["state"].as_str(), Some("running" | "interrupted")))
    }

    /// What is told now to have ended is what was told before, and more.
    fn ask(&mut self) {
        for row in self.cluster.instances("a") {
            let index = row["index"].as_u64().unwrap();
            if let Some(told) = self.told.get(&index) {
                for key in ["state", "attempts", "started", "finished", "worker"] {
                    assert_eq!(row[key], told[key], "{key} of {told} is now: {row}");
                }
            } else if row["state"] == "succeeded" {
                self.told.insert(index, row);
            }
        }
    }

    /// Nothing is stopped, cut off or full any more.
    fn calm(&mut self) {
        self.free();
        self.workers.iter_mut().for_each(Worker::go_on);
    }

    /// Everything that must hold at the end.
    fn adds_up(&mut self, instances: u64) {
        self.calm();
        self.ask();
        assert_eq!(self.told.len() as u64, instances, "all have succeeded");
        let audit = audit(&self.cluster);
        let distinct: BTreeSet<&String> = audit.iter().collect();
        assert_eq!(distinct.len(), audit.len(), "an attempt was started twice");
        for (index, row) in &self.told {
            let output = self.cluster.0.read(&format!("out/{index}.txt"));
            assert!(distinct.contains(&output.trim_end().to_owned()), "{index}: {output}");
            if output == format!("{index} 1\n") && row["attempts"] == 1 {
                continue;
            }
            // Which one was acknowledged is not a part of the row: numbers may have gaps.
            let attempt: u32 = output.trim_end().split(' ').nth(1).unwrap().parse().unwrap();
            let explained = self.cluster.run(&["explain", "last", &format!("a[{index}]")]).exits(0);
            let mut lines = explained.stdout.lines();
            let word = format!("attempt {attempt} on ");
            let own = lines.find(|line| line.starts_with(&word)).unwrap_or_default();
            assert!(own.ends_with("succeeded"), "{index} has {attempt}: {explained:#?}");
            // An end that is told is that of the last attempt that was ever started.
            let later = |line: &&&String| {
                let (of, number) = line.split_once(' ').unwrap();
                of.parse() == Ok(*index) && number.parse::<u32>().unwrap() > attempt
            };
            if let Some(line) = distinct.iter().find(later) {
                panic!("{index} has ended with {attempt}, and there is {line}: {explained:#?}");
            }
        }
        self.cluster.0.wait_for_no_attempt_dir("out");
    }

    /// Ends everything: no process and no file may be left.
    fn leaves_nothing(mut self) {
        self.cluster.run(&["cluster", "stop", "--force"]).exits(0);
        let dir = self.cluster.0.path(".").canonicalize().unwrap();
        wait_until("the scheduler has ended", || self.scheduler.has_ended());
        let workers = self.workers.iter_mut().map(|worker| &mut worker.process);
        for process in workers.chain(&mut self.former) {
            wait_until("a worker has ended", || process.has_ended());
        }
        let disk = self.disk.take();
        drop(disk);
        wait_until("no process is left", || left(&dir).is_empty());
        let temporary = dir.join("temporary");
        wait_until("no directory of a worker is left", || {
            std::fs::read_dir(&temporary).unwrap().next().is_none()
        });
    }
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    kib: u64,
    descriptors: u64,
}

impl Held {
    fn of(process: &Process) -> Held {
        let dir = format!("/proc/{}", process.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(format!("{dir}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib = line.trim().trim_end_matches(" kB").parse().unwrap();
        let descriptors = std::fs::read_dir(format!("{dir}/fd")).unwrap().count() as u64;
        Held { kib, descriptors }
    }
}

/// The median of what is picked of the samples of a process.
fn median(samples: &[Vec<Held>], process: usize, pick: fn(&Held) -> u64) -> u64 {
    let mut of: Vec<u64> = samples.iter().map(|sample| pick(&sample[process])).collect();
    of.sort_unstable();
    of[of.len() / 2]
}

fn start_scheduler(test: &Test, disk: Option<&Disk>) -> Process {
    let mut scheduler = match disk {
        Some(disk) => disk.start(test, "exec \"$0\" scheduler --cluster c --lease 1s"),
        None => test.start(&["scheduler", "--cluster", "c", "--lease", "1s"]),
    };
    scheduler.wait_for_line("listening");
    scheduler
}

/// The processes that work in a directory.
fn left(dir: &std::path::Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let of = processes.filter(|process| {
        std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir))
    });
    of.map(|process| process.file_name().display().to_string()).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn the_audit_adds_up_whatever_happens() {
    let instances = number("DAGRUN_CHAOS").unwrap_or(800);
    let runs = number("DAGRUN_CHAOS_RUNS").unwrap_or(1);
    let first = number("DAGRUN_CHAOS_SEED").unwrap_or(1);
    let pause = number("DAGRUN_CHAOS_PAUSE").unwrap_or(2);
    for seed in first..first + runs {
        eprintln!("chaos with seed {seed}");
        let begun = Instant::now();
        let mut chaos = Chaos::new(instances, seed, pause);
        chaos.cluster.submit(&["--detach"]).exits(0);
        let (mut strikes, mut seen, mut since) = (0, 0, 0);
        loop {
            let (ended, is_over) = chaos.progress();
            if is_over {
                break;
            }
            since = if ended == seen { since + 1 } else { 0 };
            seen = ended;
            assert!(since < 40 + 4 * pause, "nothing ends any more: {ended} of {instances}");
            chaos.strike();
            strikes += 1;
            if strikes % 8 == 0 {
                chaos.ask();
            }
        }
        chaos.adds_up(instances);
        eprintln!(
            "{} attempts in {:.0} s; {strikes} strikes: {:?}",
            audit(&chaos.cluster).len(),
            begun.elapsed().as_secs_f64(),
            chaos.strikes
        );
        chaos.leaves_nothing();
    }
}

#[test]
fn what_lives_on_holds_no_more_after_many_runs() {
    let Some(seconds) = number("DAGRUN_SOAK") else {
        eprintln!("SKIPPED: DAGRUN_SOAK does not say for how many seconds");
        return;
    };
    let pipeline = "[task.a]\nsweep = { i = { range = '0..500' } }\nmax-lost = 1000\n\
        shell = '''\necho $DAGRUN_ATTEMPT_ID >> audit\nsleep 0.0$((i % 7))\necho $i > $out_o\n'''\n\
        out.o = 'out/{i}.txt'\n";
    let mut chaos = Chaos::with(pipeline, number("DAGRUN_CHAOS_SEED").unwrap_or(1), 3);
    let (begun, mut samples) = (Instant::now(), Vec::new());
    while begun.elapsed() < Duration::from_secs(seconds) || samples.len() < 12 {
        chaos.cluster.submit(&["--detach"]).exits(0);
        while !chaos.progress().1 {
            chaos.strike_gently();
        }
        chaos.calm();
        let run = chaos.cluster.run(&["status", "last", "--json"]).exits(0).json().remove(0);
        assert_eq!(run["state"], "succeeded", "{run}");
        chaos.cluster.0.wait_for_no_attempt_dir("out");
        samples.push(chaos.held());
        eprintln!(
            "{:.0} s, {} runs, {} attempts: {:?}",
            begun.elapsed().as_secs_f64(),
            samples.len(),
            audit(&chaos.cluster).len(),
            samples.last().unwrap()
        );
    }
    let attempts = audit(&chaos.cluster);
    let distinct: BTreeSet<&String> = attempts.iter().collect();
    assert_eq!(distinct.len(), attempts.len(), "an attempt was started twice");
    // The first third warms up.
    let third = samples.len() / 3;
    let parts = [&samples[third..2 * third], &samples[2 * third..]];
    for process in 0..3 {
        let kib = parts.map(|part| median(part, process, |held| held.kib));
        let descriptors = parts.map(|part| median(part, process, |held| held.descriptors));
        eprintln!("process {process}: {kib:?} KiB, {descriptors:?} descriptors");
        assert!(kib[1] <= kib[0] + kib[0] / 10 + 2048, "process {process} grows: {kib:?} KiB");
        assert!(descriptors[1] <= descriptors[0] + 4, "process {process}: {descriptors:?}");
    }
    chaos.leaves_nothing();
}
