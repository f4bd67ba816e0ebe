//! Chaos with real processes: workers are killed, stopped for longer than their lease and cut off, the
//! scheduler is stopped, all at random, while short attempts append to an audit file and write outputs.
//! At the end the audit adds up.
//!
//! `DAGRUN_CHAOS` sets how many instances there are (800 by default), `DAGRUN_CHAOS_RUNS` how often it is
//! done, `DAGRUN_CHAOS_SEED` the first seed. A failure prints its seed; what the machine does beside it
//! is not repeated by a seed.

#![allow(clippy::print_stderr, reason = "a failure is looked into by its seed")]

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Cluster, Process, Test};
use crate::presence::audit;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

const WORKERS: usize = 4;

/// A cluster that things happen to.
struct Chaos {
    cluster: Cluster,
    scheduler: Process,
    workers: Vec<Process>,
    started: usize,
    random: Random,
}

impl Chaos {
    fn new(instances: u64, seed: u64) -> Chaos {
        let pipeline = format!(
            "[task.a]\nsweep = {{ i = {{ range = '0..{instances}' }} }}\nmax-lost = 1000\n\
             shell = '''\necho $i $DAGRUN_ATTEMPT >> audit\n\
             sleep 0.0$((i % 7))\necho $i $DAGRUN_ATTEMPT > $out_o\n'''\n\
             out.o = 'out/{{i}}.txt'\n"
        );
        let test = Test::new(&pipeline);
        let words = ["scheduler", "--cluster", "c", "--lease", "1s"];
        let mut scheduler = test.start(&words);
        scheduler.wait_for_line("listening");
        let cluster = Cluster::started(test);
        let (workers, random) = (Vec::new(), Random(seed));
        let mut chaos = Chaos { cluster, scheduler, workers, started: 0, random };
        (0..WORKERS).for_each(|_| chaos.start_worker());
        chaos
    }

    fn start_worker(&mut self) {
        self.started += 1;
        let name = format!("w{}", self.started);
        self.workers.push(self.cluster.join(&["--name", &name, "-j", "2", "--drain", "0s"]));
    }

    /// One thing happens.
    fn strike(&mut self) {
        let at = self.random.below(WORKERS as u64) as usize;
        match self.random.below(8) {
            0..3 => {
                self.workers.remove(at).signal(Signal::KILL);
                self.start_worker();
            }
            3 => {
                self.workers.remove(at).signal(Signal::TERM);
                self.start_worker();
            }
            // Beyond its lease, or not.
            4..6 => {
                let span = Duration::from_millis(200 + self.random.below(2000));
                self.workers[at].signal(Signal::STOP);
                std::thread::sleep(span);
                self.workers[at].signal(Signal::CONT);
            }
            _ => {
                let span = Duration::from_millis(200 + self.random.below(2000));
                self.scheduler.signal(Signal::STOP);
                std::thread::sleep(span);
                self.scheduler.signal(Signal::CONT);
            }
        }
    }

    fn has_ended(&self) -> bool {
        let run = self.cluster.run(&["status", "last", "--json"]).exits(0).json();
        run[0]["state"] != "running"
    }

    /// Everything that must hold at the end.
    fn adds_up(&self, instances: u64) {
        let rows = self.cluster.instances("a");
        assert_eq!(rows.len() as u64, instances);
        let unlike: Vec<&Value> = rows.iter().filter(|row| row["state"] != "succeeded").collect();
        assert!(unlike.is_empty(), "{unlike:?}");
        let audit = audit(&self.cluster);
        let distinct: BTreeSet<&String> = audit.iter().collect();
        assert_eq!(distinct.len(), audit.len(), "an attempt was started twice");
        for row in &rows {
            let index = row["index"].as_u64().unwrap();
            let output = self.cluster.0.read(&format!("out/{index}.txt"));
            assert!(distinct.contains(&output.trim_end().to_owned()), "{index}: {output}");
            if output == format!("{index} 1\n") && row["attempts"] == 1 {
                continue;
            }
            // Which one was acknowledged is not a part of the row: numbers may have gaps.
            let attempt = output.trim_end().split(' ').nth(1).unwrap();
            let explained = self.cluster.run(&["explain", "last", &format!("a[{index}]")]).exits(0);
            let mut lines = explained.stdout.lines();
            let word = format!("attempt {attempt} on ");
            let own = lines.find(|line| line.starts_with(&word)).unwrap_or_default();
            assert!(own.ends_with("succeeded"), "{index} has {attempt}: {explained:#?}");
        }
        self.cluster.0.wait_for_no_attempt_dir("out");
    }
}

#[test]
fn the_audit_adds_up_whatever_happens() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let instances = number("DAGRUN_CHAOS").unwrap_or(800);
    let runs = number("DAGRUN_CHAOS_RUNS").unwrap_or(1);
    let first = number("DAGRUN_CHAOS_SEED").unwrap_or(1);
    for seed in first..first + runs {
        eprintln!("chaos with seed {seed}");
        let mut chaos = Chaos::new(instances, seed);
        chaos.cluster.submit(&["--detach"]).exits(0);
        let mut strikes = 0;
        while !chaos.has_ended() {
            chaos.strike();
            strikes += 1;
            assert!(strikes < 10 + instances, "it never ends");
        }
        eprintln!("{strikes} strikes, {} attempts", audit(&chaos.cluster).len());
        chaos.adds_up(instances);
    }
}
