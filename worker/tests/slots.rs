//! The queue and the pool of slots, with real processes.

mod common;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{pid_in, sh, until};
use dagrun_core::engine::{Assignment, Outcome, Report};
use dagrun_core::ids::{AttemptId, RunId, TaskId, Timestamp};
use dagrun_core::recipe::{Input, Job};
use dagrun_core::status::FailureKind;
use dagrun_worker::control::Stop;
use dagrun_worker::groups::Mark;
use dagrun_worker::runner::Runner;
use dagrun_worker::slots::{Slots, TaskSource, Work};

/// Runs a script with the index as `$I`.
#[derive(Debug)]
struct Script {
    dir: PathBuf,
    text: &'static str,
    cpus: u32,
}

impl TaskSource for Script {
    fn cpus(&self) -> u32 {
        self.cpus
    }

    fn job(&self, index: u32, _: u32, inputs: &[Input]) -> Result<Job, String> {
        assert!(self.text != "panic", "the plan is broken");
        let mut invocation = sh(&self.dir, self.text);
        let value = inputs.first().and_then(|input| input.value.clone()).unwrap_or_default();
        invocation.env = vec![
            ("I".into(), index.to_string().into()),
            ("V".into(), String::from_utf8(value).unwrap().into()),
        ];
        Ok(Job::Process(invocation))
    }
}

fn work(dir: &Path, text: &'static str, cpus: u32, first: u64, count: u32) -> Work {
    Work {
        assignment: Assignment {
            run: RunId(1),
            task: TaskId(0),
            first_index: u32::try_from(first).unwrap(),
            count,
            first_attempt: AttemptId(first),
            number: 1,
            memory: 0,
        },
        plan: Arc::new(Script { dir: dir.into(), text, cpus }),
        inputs: Arc::new(Vec::new()),
        log: None,
        announce: false,
        fenced: Vec::new(),
    }
}

fn slots(count: usize) -> (Slots, mpsc::Receiver<Report>) {
    let (sender, receiver) = mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let sink = Box::new(move |report| sender.lock().unwrap().send(report).unwrap());
    (Slots::new(count, Runner::new(Mark::random(), None, 1 << 20), sink).unwrap(), receiver)
}

fn next(reports: &mpsc::Receiver<Report>) -> Report {
    reports.recv_timeout(Duration::from_secs(60)).unwrap()
}

#[test]
fn no_instance_starts_twice_and_equal_ones_start_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (slots, reports) = slots(3);
    slots.push([work(dir.path(), "mkdir $I", 1, 0, 40), work(dir.path(), "mkdir $I", 1, 40, 40)]);
    let mut seen = HashSet::new();
    for _ in 0..80 {
        let report = next(&reports);
        assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
        assert!(seen.insert(report.first));
    }
    slots.wait_idle(None);
    assert!(reports.try_recv().is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 80);
}

#[test]
fn a_single_slot_keeps_the_order() {
    let dir = tempfile::tempdir().unwrap();
    let (slots, reports) = slots(1);
    slots.push([work(dir.path(), "exit 0", 1, 0, 20), work(dir.path(), "exit 0", 1, 100, 5)]);
    let order: Vec<u64> = (0..25).map(|_| next(&reports).first.0).collect();
    assert_eq!(order, (0..20).chain(100..105).collect::<Vec<_>>());
}

#[test]
fn attempts_occupy_as_many_slots_as_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let (slots, reports) = slots(4);
    // Each attempt fails if a third one runs at the same time.
    let script = "mkdir a 2>/dev/null || mkdir b || exit 9; sleep 0.02; \
                  rmdir a 2>/dev/null || rmdir b";
    slots.push([work(dir.path(), script, 2, 0, 20)]);
    for _ in 0..20 {
        assert_eq!(next(&reports).outcome, Outcome::Succeeded);
    }
    // More slots than there are means all of them.
    let alone = "mkdir alone || exit 9; sleep 0.02; rmdir alone";
    slots.push([work(dir.path(), alone, 99, 100, 4)]);
    for _ in 0..4 {
        assert_eq!(next(&reports).outcome, Outcome::Succeeded);
    }
}

#[test]
fn what_has_not_started_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (slots, reports) = slots(1);
    slots.push([work(dir.path(), "echo $$ > pid$I; sleep 1000", 1, 0, 10)]);
    pid_in(&dir.path().join("pid0"));
    let wanted: HashSet<_> = [0, 3, 4, 9, 50].map(AttemptId).into();
    assert_eq!(slots.withdraw(&wanted), [3, 4, 9].map(AttemptId));
    let rest = slots.withdraw_all(Some(RunId(1)));
    assert_eq!(rest, [1, 2, 5, 6, 7, 8].map(AttemptId));
    assert!(slots.withdraw_all(None).is_empty());
    let (running, more) = until("it is listed as running", || {
        let listed = slots.newly_running(Timestamp(u64::MAX));
        (!listed.0.is_empty()).then_some(listed)
    });
    assert_eq!(
        (running[0].first, running[0].outcome, more),
        (AttemptId(0), Outcome::Started, false)
    );
    assert!(slots.newly_running(Timestamp(u64::MAX)).0.is_empty(), "told once");
    slots.stop(&wanted, Stop::Cancel);
    let report = next(&reports);
    assert_eq!(
        (report.first, report.outcome),
        (AttemptId(0), Outcome::Failed(FailureKind::Cancelled))
    );
}

#[test]
fn a_slot_is_as_good_as_new_after_a_cancelled_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let (slots, reports) = slots(1);
    slots.push([work(dir.path(), "echo $$ > pid$I; sleep 1000", 1, 0, 1)]);
    pid_in(&dir.path().join("pid0"));
    slots.stop_all(Some(RunId(2)), Stop::Leave);
    slots.stop_all(Some(RunId(1)), Stop::Leave);
    assert_eq!(next(&reports).outcome, Outcome::Failed(FailureKind::Preempted));
    slots.push([work(dir.path(), "sleep 0.05", 1, 1, 1)]);
    assert_eq!(next(&reports).outcome, Outcome::Succeeded);
}

#[test]
fn a_panic_of_ours_is_an_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let (slots, reports) = slots(2);
    slots.push([work(dir.path(), "panic", 1, 0, 5), work(dir.path(), "exit 0", 1, 5, 1)]);
    let mut failed = 0;
    for _ in 0..6 {
        let report = next(&reports);
        match report.outcome {
            Outcome::Failed(FailureKind::Start) => {
                failed += 1;
                let reason = report.detail.unwrap().reason;
                assert_eq!(reason, "internal error of the worker: the plan is broken");
            }
            outcome => assert_eq!(outcome, Outcome::Succeeded),
        }
    }
    assert_eq!(failed, 5);
    slots.wait_idle(None);
}

#[test]
fn each_instance_gets_its_own_inputs() {
    let dir = tempfile::tempdir().unwrap();
    let (slots, reports) = slots(2);
    let input = |i: u32| {
        vec![Input { value: Some(i.to_string().into_bytes()), outputs: vec![], ..Input::default() }]
    };
    let mut fed = work(dir.path(), "[ $V = $I ]", 1, 10, 6);
    fed.inputs = Arc::new((10..16).map(input).collect());
    slots.push([fed]);
    for _ in 0..6 {
        assert_eq!(next(&reports).outcome, Outcome::Succeeded);
    }
}

#[test]
fn what_occupies_no_slot_starts_at_once_and_takes_none() {
    let dir = tempfile::tempdir().unwrap();
    let (slots, reports) = slots(1);
    let script = "echo $$ > pid$I.new; mv pid$I.new pid$I; sleep 1000";
    slots.push([work(dir.path(), script, 1, 0, 3), work(dir.path(), script, 0, 10, 2)]);
    let pid = |index: u64| pid_in(&dir.path().join(format!("pid{index}")));
    let (slot, beside, other) = (pid(0), pid(10), pid(11));
    assert_ne!(beside, other);
    // It ends by itself, by a cancel and with its worker as any other.
    slots.push([work(dir.path(), "exit 3", 0, 20, 1)]);
    let report = next(&reports);
    let ended = (report.first, report.outcome);
    assert_eq!(ended, (AttemptId(20), Outcome::Failed(FailureKind::Exit(3))));
    slots.stop(&[AttemptId(10)].into(), Stop::Cancel);
    let report = next(&reports);
    let ended = (report.first, report.outcome);
    assert_eq!(ended, (AttemptId(10), Outcome::Failed(FailureKind::Cancelled)));
    assert_eq!(slots.running(), 2);
    // The one slot has been occupied all the time, and is free for the next one when it ends.
    assert_eq!(slot, pid(0));
    assert_eq!(slots.withdraw(&[AttemptId(2)].into()), [AttemptId(2)]);
    slots.stop(&[AttemptId(0)].into(), Stop::Cancel);
    assert_eq!(next(&reports).first, AttemptId(0));
    pid(1);
    slots.stop_all(None, Stop::Leave);
    let mut left = [next(&reports).first, next(&reports).first];
    left.sort_unstable();
    assert_eq!(left, [AttemptId(1), AttemptId(11)]);
    slots.wait_idle(None);
}
