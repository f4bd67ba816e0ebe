//! Workflows that others recorded, with scaled sleeps on four workers: what waits for what is kept,
//! and a run takes what `plan` predicts.
//!
//! The sample in the examples always runs; so does every `.json` in the directory that
//! `DAGRUN_WFINSTANCES` names.

#[path = "cli/harness.rs"]
#[allow(dead_code, reason = "shared with the other tests of the command")]
mod harness;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use dagrun_example_wfcommons::{Workflow, durations_json, pipeline_toml};
use harness::{Outcome, Test};

const WORKERS: &str = "4";

/// How long a sleep takes on average, in seconds: long against the start of a process.
const MEAN_SLEEP: f64 = 0.6;

/// The same where a run would take longer than [`LONG`] otherwise.
const SHORT_SLEEP: f64 = 0.3;

/// What is a long run, in seconds.
const LONG: f64 = 30.0;

/// A run takes this long at least, in seconds.
const SHORTEST: f64 = 4.0;

/// The slots that a worker may have: the more, the longer the sleeps of a run of the same length.
const SLOTS: [u32; 4] = [8, 4, 2, 1];

/// On a busy machine processes start late: that often the times may be wrong.
const TRIES: usize = 3;

/// What the command predicts, in seconds.
#[derive(Clone, Copy, Debug)]
struct Plan {
    makespan: f64,
    /// What no schedule can be shorter than.
    bound: f64,
}

/// A directory with a pipeline, its durations and a cluster, which ends with it.
struct Case {
    test: Test,
    workflow: Workflow,
}

impl Case {
    fn new(recording: &Path) -> Case {
        let workflow = Workflow::read(&std::fs::read(recording).unwrap());
        let workflow = workflow.unwrap_or_else(|error| panic!("{}: {error}", recording.display()));
        let case = Case { test: Test::new(""), workflow };
        case.write(1.0);
        case
    }

    /// Writes the pipeline and its durations.
    fn write(&self, scale: f64) {
        self.test.write("pipeline.toml", pipeline_toml(&self.workflow, scale));
        self.test.write("durations.json", durations_json(&self.workflow, scale));
    }

    fn plan(&self, slots: u32) -> Plan {
        let slots = slots.to_string();
        let words = ["plan", "pipeline.toml", "--workers", WORKERS, "--cpus", &slots];
        let words = [&words[..], &["--durations", "durations.json", "--json"]].concat();
        let json = self.test.run(&words).exits(0).silent().json().remove(0);
        let number = |key: &str| json[key].as_f64().unwrap();
        let bound = number("critical-path").max(number("work") / number("slots"));
        Plan { makespan: number("makespan"), bound }
    }

    /// The most slots for each worker with which the best schedule is known to be about as long as the
    /// bound, and the seconds that a run takes then.
    fn slots(&self) -> (u32, f64) {
        let plans = SLOTS.map(|slots| (slots, self.plan(slots)));
        let good = plans.iter().find(|(_, plan)| plan.makespan <= 1.03 * plan.bound);
        let (slots, plan) = *good.unwrap_or(&plans[SLOTS.len() - 1]);
        (slots, plan.makespan)
    }

    /// How long to sleep for each second that was recorded, where all of it takes `makespan`.
    fn scale(&self, makespan: f64) -> f64 {
        let runtimes = self.workflow.tasks.iter().map(|task| task.runtime);
        let sleeping = runtimes.filter(|runtime| *runtime > 0.0).count();
        if sleeping == 0 {
            return 1.0;
        }
        let mean = self.workflow.work() / sleeping as f64;
        let most = (MEAN_SLEEP / mean).min(LONG / makespan);
        most.max(SHORT_SLEEP / mean).max(SHORTEST / makespan)
    }

    /// Runs a command with the cluster.
    fn run(&self, words: &[&str]) -> Outcome {
        self.test.run(&[words, &["--cluster", "wf"]].concat())
    }

    /// Runs it once, and gives how long it took, in seconds.
    fn makespan(&self) -> f64 {
        self.run(&["submit", "pipeline.toml", "--quiet"]).exits(0);
        let run = self.run(&["status", "last", "--json"]).exits(0).json().remove(0);
        let rows = self.run(&["status", "last", "--instances", "--json"]).exits(0).json();
        assert_eq!(rows.len(), self.workflow.tasks.len());
        let time = |row: &serde_json::Value, key: &str| seconds(row[key].as_str().unwrap());
        let times: HashMap<&str, (f64, f64)> = rows
            .iter()
            .inspect(|row| assert_eq!(row["state"], "succeeded", "{row}"))
            .map(|row| {
                (row["task"].as_str().unwrap(), (time(row, "started"), time(row, "finished")))
            })
            .collect();
        for task in &self.workflow.tasks {
            let (started, _) = times[task.name.as_str()];
            for parent in &task.parents {
                let parent = &self.workflow.tasks[*parent].name;
                let (_, finished) = times[parent.as_str()];
                assert!(started >= finished, "{} started before {parent} had ended", task.name);
            }
        }
        time(&run, "finished") - time(&run, "started")
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = self.test.command(&["cluster", "stop", "--force", "--cluster", "wf"]).output();
    }
}

/// Seconds since the epoch of a time in RFC 3339.
fn seconds(text: &str) -> f64 {
    let time: jiff::Timestamp = text.parse().unwrap();
    time.as_millisecond() as f64 / 1000.0
}

#[allow(clippy::print_stderr, reason = "the figures are what one wants to see")]
fn runs_as_planned(recording: &Path, tolerance: f64) {
    let name = recording.file_name().unwrap().to_string_lossy();
    let case = Case::new(recording);
    let (slots, makespan) = case.slots();
    case.write(case.scale(makespan));
    let plan = case.plan(slots);
    let start = ["cluster", "start", "-n", WORKERS, "-j", &slots.to_string()];
    case.run(&start).exits(0);
    let mut tries = Vec::new();
    for _ in 0..TRIES {
        let makespan = case.makespan();
        let off = makespan / plan.makespan - 1.0;
        let line = format!(
            "{name}: {} tasks on {WORKERS} × {slots} slots took {makespan:.3} s, {:+.1} % of the plan's \
             {:.3} s, {:.3} of the bound {:.3} s",
            case.workflow.tasks.len(),
            off * 100.0,
            plan.makespan,
            makespan / plan.bound,
            plan.bound
        );
        eprintln!("{line}");
        tries.push(line);
        if off.abs() <= tolerance {
            return;
        }
    }
    panic!("not as planned:\n{}", tries.join("\n"));
}

#[test]
#[allow(clippy::print_stderr, reason = "a test that is skipped has to say so")]
fn recorded_workflows_run_as_planned() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    // A machine that is busy takes longer, one that plans wrongly takes another half.
    runs_as_planned(&examples.join("wfcommons/sample.json"), 0.4);
    let Some(folder) = std::env::var_os("DAGRUN_WFINSTANCES").filter(|name| !name.is_empty())
    else {
        eprintln!("SKIPPED: DAGRUN_WFINSTANCES names no directory with recorded workflows");
        return;
    };
    let mut recordings: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("DAGRUN_WFINSTANCES: {}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    recordings.sort();
    assert!(!recordings.is_empty(), "DAGRUN_WFINSTANCES: nothing in {}", folder.display());
    for recording in recordings {
        runs_as_planned(&recording, 0.05);
    }
}
