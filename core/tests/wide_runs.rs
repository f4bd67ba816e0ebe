//! A chain of a hundred thousand tasks, and a task with as many upstreams, through the machine: run
//! to the end, and cancelled in the middle. The machine's actions are counted, and grow in
//! proportion to the run.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dagrun_core::engine::{
    Action, CancelScope, Cause, Engine, Event, Explanation, Outcome, Report, RevokeMode, RunPlan,
    TaskPlan, WorkerInfo,
};
use dagrun_core::ids::{AttemptId, InstanceId, RunId, TaskId, Timestamp, WorkerId};
use dagrun_core::offer::Offer;
use dagrun_core::pipeline::{Clause, Outcomes, Quantifier};
use dagrun_core::status::{FailureKind, RunState, State};

const RUN: RunId = RunId(1);
const WORKER: WorkerId = WorkerId(1);

/// Far more than linear time needs without optimisation, far less than quadratic time does.
const LIMIT: Duration = Duration::from_secs(60);

/// What the machine did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Done {
    events: u64,
    dispatched: u64,
    recorded: u64,
    /// Records of ranges count once.
    records: u64,
    revoked: u64,
}

/// A machine with one worker that ends every attempt at once.
struct Rig {
    engine: Engine,
    now: u64,
    held: VecDeque<AttemptId>,
    done: Done,
    state: Option<RunState>,
}

impl Rig {
    fn new(tasks: Vec<TaskPlan>) -> Rig {
        let (held, done) = (VecDeque::new(), Done::default());
        let mut rig = Rig { engine: Engine::default(), now: 0, held, done, state: None };
        let offer = Offer { slots: 4, ..Offer::default() };
        let info = WorkerInfo { name: "w".into(), offer, ..WorkerInfo::default() };
        rig.event(Event::WorkerJoined { worker: WORKER, info });
        let plan = Arc::new(RunPlan { tasks, ..RunPlan::default() });
        rig.event(Event::RunSubmitted { run: RUN, plan, past: Arc::default() });
        rig
    }

    fn event(&mut self, event: Event) {
        self.now += 1;
        self.done.events += 1;
        let mut actions = Vec::new();
        self.engine.handle(Timestamp(self.now), event, &mut actions);
        for action in actions {
            match action {
                Action::Dispatch { assignment, .. } => {
                    self.done.dispatched += u64::from(assignment.count);
                    let first = assignment.first_attempt.0;
                    self.held.extend((first..first + u64::from(assignment.count)).map(AttemptId));
                }
                Action::Record(record) => {
                    self.done.recorded += u64::from(record.count);
                    self.done.records += 1;
                }
                Action::Revoke { attempts, mode, .. } => {
                    assert_eq!(mode, RevokeMode::Cancel);
                    self.done.revoked += attempts.len() as u64;
                }
                Action::RunFinished { state, .. } => self.state = Some(state),
                Action::WidthKnown { .. } => panic!("nothing is scattered"),
                Action::Release { .. } | Action::Reopen { .. } => {
                    panic!("no worker keeps a value")
                }
                Action::Remove { .. } => panic!("no output is temporary"),
            }
        }
    }

    fn end(&mut self, outcome: Outcome) {
        let attempt = self.held.pop_front().expect("something runs");
        let (started, finished) = (Timestamp(self.now), Timestamp(self.now + 1));
        let reports = vec![Report::one(attempt, outcome, started, finished)];
        self.event(Event::Reported { worker: WORKER, reports });
    }

    fn state(&self, task: usize) -> State {
        let task = TaskId(u32::try_from(task).unwrap());
        self.engine.state(RUN, InstanceId { task, index: 0 }).unwrap()
    }
}

fn after(upstreams: impl Iterator<Item = usize>) -> TaskPlan {
    let upstreams = upstreams.map(|task| TaskId(u32::try_from(task).unwrap())).collect();
    let clause = Clause { upstreams, quantifier: Quantifier::All, on: Outcomes::Success };
    TaskPlan { clauses: vec![clause], ..TaskPlan::default() }
}

fn chain(tasks: usize) -> Vec<TaskPlan> {
    let rest = (1..tasks).map(|task| after(task - 1..task));
    std::iter::once(TaskPlan::default()).chain(rest).collect()
}

fn fan_in(tasks: usize) -> Vec<TaskPlan> {
    let first = (1..tasks).map(|_| TaskPlan::default());
    first.chain([after(0..tasks - 1)]).collect()
}

/// Runs `plan` with this many tasks to its end.
fn run(plan: fn(usize) -> Vec<TaskPlan>, tasks: usize) -> Done {
    let mut rig = Rig::new(plan(tasks));
    while rig.state.is_none() {
        rig.end(Outcome::Succeeded);
    }
    assert_eq!(rig.state, Some(RunState::Succeeded));
    assert_eq!(rig.state(tasks - 1), State::Succeeded);
    rig.engine.check_invariants();
    rig.done
}

/// Cancels a run when half of it has ended.
fn cancel(plan: fn(usize) -> Vec<TaskPlan>, tasks: usize) -> Done {
    let mut rig = Rig::new(plan(tasks));
    for _ in 0..tasks / 2 {
        rig.end(Outcome::Succeeded);
    }
    let last = InstanceId { task: TaskId(u32::try_from(tasks - 1).unwrap()), index: 0 };
    assert!(matches!(rig.engine.explain(RUN, last), Some(Explanation::Blocked(_))));
    rig.event(Event::CancelRequested { run: RUN, scope: CancelScope::Run });
    while rig.state.is_none() {
        rig.end(Outcome::Failed(FailureKind::Cancelled));
    }
    assert_eq!(rig.state, Some(RunState::Cancelled));
    assert_eq!((rig.state(0), rig.state(tasks - 1)), (State::Succeeded, State::Cancelled));
    rig.engine.check_invariants();
    rig.done
}

/// A run that fails at its beginning, so that all the rest is skipped at once.
fn cascade(tasks: usize) -> Done {
    let mut rig = Rig::new(chain(tasks));
    rig.end(Outcome::Failed(FailureKind::Exit(1)));
    assert_eq!((rig.state, rig.state(tasks - 1)), (Some(RunState::Failed), State::Skipped));
    rig.done
}

/// Ten times as many tasks take ten times as many actions, except for a constant.
#[allow(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn grows_with_its_size(what: impl Fn(usize) -> Done) {
    let begin = Instant::now();
    let (small, large) = (what(10_000), what(100_000));
    let linear = |small: u64, large: u64| large <= small * 10 + 10;
    assert!(linear(small.events, large.events), "{small:?} {large:?}");
    assert!(linear(small.dispatched, large.dispatched), "{small:?} {large:?}");
    assert!(linear(small.records, large.records), "{small:?} {large:?}");
    assert!(linear(small.revoked, large.revoked), "{small:?} {large:?}");
    // What happens between two actions cannot be counted from here.
    assert!(begin.elapsed() < LIMIT, "{:?}", begin.elapsed());
}

#[test]
fn a_chain_runs_to_its_end() {
    grows_with_its_size(|tasks| {
        let done = run(chain, tasks);
        assert_eq!((done.dispatched, done.recorded), (tasks as u64, tasks as u64));
        done
    });
}

#[test]
fn a_fan_in_runs_to_its_end() {
    grows_with_its_size(|tasks| {
        let done = run(fan_in, tasks);
        assert_eq!((done.dispatched, done.recorded), (tasks as u64, tasks as u64));
        done
    });
}

#[test]
fn a_chain_is_cancelled_in_the_middle() {
    grows_with_its_size(|tasks| cancel(chain, tasks));
}

#[test]
fn a_fan_in_is_cancelled_in_the_middle() {
    grows_with_its_size(|tasks| cancel(fan_in, tasks));
}

#[test]
fn a_chain_that_fails_at_its_beginning_is_skipped_to_its_end() {
    grows_with_its_size(cascade);
    let mut rig = Rig::new(chain(100));
    let mut actions = Vec::new();
    let reports = vec![Report::one(
        rig.held.pop_front().unwrap(),
        Outcome::Failed(FailureKind::Exit(1)),
        Timestamp(1),
        Timestamp(2),
    )];
    rig.engine.handle(Timestamp(9), Event::Reported { worker: WORKER, reports }, &mut actions);
    let roots = actions.iter().filter_map(|action| match action {
        Action::Record(record) => record.cause,
        _ => None,
    });
    let root = InstanceId { task: TaskId(0), index: 0 };
    assert_eq!(roots.filter(|cause| *cause == Cause::After { clause: 0, root }).count(), 99);
}
