//! A scheduler that goes on with what is in a journal, and a worker that does what it is given at once.

use dagrun_core::engine::{Outcome, Report, Scheme};
use dagrun_core::ids::{AttemptId, Micros, Timestamp};
use dagrun_core::offer::Offer;
use dagrun_core::status::{Detail, FailureKind, RunState};
use dagrun_scheduler::simulated::{Disk, Line, Moment, Order, Scheduler};
use dagrun_schema::wire::{Handout, Registration};

use super::RUN;

const SECOND: u64 = 1_000_000;
const LEASE: Micros = Micros(2 * SECOND);
/// Looks of the scheduler. Some journals leave a run with more instances than this comes to.
const LOOKS: u32 = 60;

/// Goes on with the runs of a journal that have not ended, for a while, and then has another scheduler do
/// so. Each of them may refuse. Returns what they leave, if that can be used on.
pub(super) fn go_on(mut disk: Disk) -> Option<Disk> {
    for start in 1..=2 {
        disk = Playing::new(disk, start)?.play(LOOKS)?;
    }
    Some(disk)
}

/// What a scheduler leaves that is killed after so many looks.
pub(super) fn begin(disk: Disk, looks: u32) -> Option<Disk> {
    Playing::new(disk, 1)?.play(looks)
}

struct Playing {
    scheduler: Scheduler,
    line: Option<Line>,
    time: u64,
    number: u64,
}

impl Playing {
    fn new(disk: Disk, start: u64) -> Option<Playing> {
        let time = start * 1_000 * SECOND;
        let scheduler = Scheduler::start(disk, LEASE, Scheme::default(), &|_| None, moment(time));
        Some(Playing { scheduler: scheduler.ok()?, line: None, time, number: 0 })
    }

    fn play(mut self, looks: u32) -> Option<Disk> {
        let worker = Registration {
            name: "fuzz".to_owned(),
            host: "here".to_owned(),
            pid: 1,
            offer: Offer { slots: 4, labels: Vec::new(), memory: 4 << 30, resources: Vec::new() },
            functions: Vec::new(),
            door: None,
            uid: "fuzz".to_owned(),
            serial: 0,
            lock: None,
            held: Vec::new(),
            claims: Vec::new(),
            runs: Vec::new(),
            leaving: false,
        };
        let welcomed = self.scheduler.register(worker, None, moment(self.time));
        self.line = welcomed.ok().map(|welcomed| welcomed.line);
        for _ in 0..looks {
            let calls = self.scheduler.step(moment(self.time));
            if self.scheduler.problem().is_some() {
                return None;
            }
            for call in calls {
                self.scheduler.sent(call.line, call.number);
                if let (Order::Dispatch(_, handouts), true) =
                    (call.order, Some(call.line) == self.line)
                {
                    self.run(call.line, &handouts);
                }
            }
            self.scheduler.carry_out(self.scheduler.unwritten().0);
            self.scheduler.commit();
            let state = self.scheduler.state_on_disk(RUN);
            if !matches!(state, Some(RunState::Running | RunState::Interrupted)) {
                break;
            }
            let next = self.scheduler.next_step(moment(self.time));
            let wait = next.map_or(SECOND, |next| next.0);
            self.time = self.time.saturating_add(wait.clamp(1, 3_600 * SECOND));
            if let Some(line) = self.line {
                self.scheduler.heartbeat(line);
            }
        }
        Some(self.scheduler.kill())
    }

    /// What it is given succeeds, now and then it fails.
    fn run(&mut self, line: Line, handouts: &[Handout]) {
        let mut reports = Vec::new();
        for handout in handouts {
            let assignment = handout.assignment;
            for (at, index) in (0..assignment.count).zip(assignment.first_index..) {
                let attempt = AttemptId(assignment.first_attempt.0 + u64::from(at));
                let now = Timestamp(self.time);
                let fails = index % 7 == 3;
                let outcome = match fails {
                    true => Outcome::Failed(FailureKind::Exit(1)),
                    false => Outcome::Succeeded,
                };
                let detail =
                    Detail { value: (!fails).then(|| b"[1,2,3]".to_vec()), ..Detail::default() };
                let detail = Some(Box::new(detail));
                reports.push(Report { detail, ..Report::one(attempt, outcome, now, now) });
            }
        }
        self.number += 1;
        self.scheduler.report(line, reports, self.number);
    }
}

fn moment(time: u64) -> Moment {
    Moment { now: Timestamp(time), uptime: Micros(time) }
}
