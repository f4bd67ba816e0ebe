//! Random programs whose scheduler is killed while workers go on: these hold what they hold, end some of
//! it, and return to the next one in any order, or die. Nothing that was acknowledged is done again, no
//! attempt is started twice, and what runs goes on as the attempt that it is.

use dagrun_core::engine::TaskPlan;
use dagrun_core::ids::{AttemptId, WorkerId};

use super::kills::{Killed, items_of};
use crate::rig::{Held, RUN};

impl Killed {
    fn surviving(seed: u64) -> Killed {
        let mut killed = Killed::new(seed, true);
        killed.survive = true;
        killed
    }

    /// The scheduler ends, and its workers do not, or some of them; the next one goes on when each has
    /// said what it has, or is known to be dead.
    pub(super) fn kill_scheduler(&mut self) {
        self.kills += 1;
        let durable = self.random.pick(&self.rig.journal.places());
        self.rig.journal.cut(durable);
        if self.rig.journal.finished().is_some() {
            return; // It is known to have ended.
        }
        self.acknowledged = self.rig.journal.ends();
        self.rig.lose_scheduler(durable);
        self.ending = false;
        let before = self.joined;
        for _ in 0..self.random.below(6) {
            self.end_one();
        }
        let ran = self.rig.running();
        self.return_in_any_order();
        self.check_going_on(|rig, seed| rig.go_on(|instance| items_of(seed, instance)));
        let mut left: Vec<u32> = self.rig.workers.keys().map(|id| id.0).collect();
        while !left.is_empty() {
            let id = self.take(&mut left);
            match self.random.one_in(12) && !self.certain {
                true => self.replace(id, true),
                false => self.rig.send_pending(id),
            }
            self.check();
        }
        let timed = |task: &TaskPlan| task.conduct.start_within.is_some();
        let timed = self.rig.plan.tasks.iter().any(timed);
        if self.kills == 1 && self.joined == before && !self.meddled && !timed {
            self.check_adopted(&ran);
        }
    }

    fn take(&mut self, left: &mut Vec<u32>) -> u32 {
        let at = self.random.below(left.len() as u32);
        left.swap_remove(at as usize)
    }

    fn return_in_any_order(&mut self) {
        // What follows a worker ends with it.
        let follows = self.rig.plan.tasks.iter().any(|task| task.follows > 0);
        let may_die = !self.certain || !follows;
        let mut left: Vec<u32> = self.rig.workers.keys().map(|id| id.0).collect();
        while !left.is_empty() {
            let id = self.take(&mut left);
            if may_die && self.random.one_in(4) {
                self.replace(id, false);
                continue;
            }
            self.rig.register(id);
            match self.random.below(8) {
                0 if !self.certain => self.replace(id, true),
                1..4 => self.rig.send_pending(id),
                4 => drop(self.end_one()),
                _ => {}
            }
        }
    }

    /// A worker dies, and another one comes. `known`: the scheduler had seen it.
    fn replace(&mut self, id: u32, known: bool) {
        let offer = self.rig.die(id);
        if known {
            self.rig.lose(id);
        }
        self.joined += 1;
        self.rig.join_offering(self.joined, offer);
    }

    /// All workers are there again: what ran and still does goes on as the attempt that it is, unless its
    /// instance is not to go on.
    fn check_adopted(&self, ran: &[(WorkerId, AttemptId, Held)]) {
        let running = self.rig.running();
        let resumed = self.rig.past.resumed.as_ref().unwrap();
        for (worker, attempt, held) in ran {
            let (task, index) = (held.instance.task, held.instance.index);
            let opened = resumed.reopened.iter().any(|opened| {
                opened.task == task
                    && (opened.first_index..opened.first_index + opened.count).contains(&index)
            });
            let still = running.iter().any(|(_, other, _)| other == attempt);
            let state = self.rig.engine.state(RUN, held.instance);
            if !still || opened || state.is_some_and(dagrun_core::status::State::is_terminal) {
                continue;
            }
            let known = self.rig.engine.instance_of(*worker, *attempt);
            assert_eq!(
                known,
                Some((RUN, held.instance)),
                "{held:?} is adopted, seed {}",
                self.seed
            );
        }
    }
}

#[test]
fn programs_go_on_with_the_attempts_of_workers_that_survive() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let programs = number("DAGRUN_PROGRAMS").unwrap_or(3_000);
    let first = number("DAGRUN_SEED").unwrap_or(0);
    for seed in first..first.saturating_add(programs) {
        let killed = Killed::surviving(seed);
        let certain = killed.certain;
        let ends = killed.run();
        if certain {
            let expected = Killed::new(seed, false).run();
            assert_eq!(ends, expected, "seed {seed}");
        }
    }
}
