//! The work that waits for slots and the attempts that occupy them.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use dagrun_core::engine::Assignment;
use dagrun_core::ids::{AttemptId, RunId};

use super::Work;
use crate::control::Control;

/// The queue, and the slots behind it.
pub(super) struct State {
    pub(super) queue: VecDeque<Queued>,
    pub(super) free: usize,
    pub(super) slots: usize,
    /// Places that no attempt uses; usually as many as there are slots.
    pub(super) idle: Vec<usize>,
    pub(super) controls: Vec<Arc<Control>>,
    /// The places of attempts that occupy no slot come after those: how many there have been, and
    /// which of them are free.
    beside: usize,
    idle_beside: Vec<usize>,
    pub(super) running: HashMap<AttemptId, Running>,
    /// Threads that wait for an end.
    pub(super) waiting: usize,
}

/// The part of a [`Work`] that has not started yet.
pub(super) struct Queued {
    pub(super) work: Arc<Work>,
    /// Offsets into the work's instances.
    pub(super) left: Range<u32>,
}

pub(super) struct Running {
    pub(super) run: RunId,
    pub(super) place: usize,
    pub(super) control: Arc<Control>,
    pub(super) announced: bool,
    /// Whether it has ended. Its end is about to be reported.
    pub(super) ended: bool,
}

/// An attempt that was taken from the queue.
#[derive(Clone)]
pub(super) struct Taken {
    pub(super) work: Arc<Work>,
    pub(super) offset: u32,
    pub(super) place: usize,
    pub(super) width: usize,
    pub(super) control: Arc<Control>,
}

impl Taken {
    pub(super) fn attempt(&self) -> AttemptId {
        attempt_at(&self.work.assignment, self.offset)
    }
}

impl State {
    /// With so many free slots, a place for each of these, and an empty queue.
    pub(super) fn new(slots: usize, controls: Vec<Arc<Control>>) -> State {
        State {
            queue: VecDeque::new(),
            free: slots,
            slots,
            idle: (0..controls.len()).rev().collect(),
            controls,
            beside: 0,
            idle_beside: Vec::new(),
            running: HashMap::new(),
            waiting: 0,
        }
    }

    /// Marks an attempt as ended; returns false when it already was, or does not run.
    pub(super) fn end(&mut self, attempt: AttemptId) -> bool {
        let running = self.running.get_mut(&attempt);
        running.is_some_and(|running| !std::mem::replace(&mut running.ended, true))
    }

    pub(super) fn take_all(&mut self) -> Vec<Taken> {
        let mut ready = Vec::new();
        while let Some(taken) = self.take() {
            ready.push(taken);
        }
        ready
    }

    /// Takes the head of the queue when enough slots are free for it.
    fn take(&mut self) -> Option<Taken> {
        let head = self.queue.front_mut()?;
        // More slots than there are means all of them.
        let width = (head.work.plan.cpus().max(1) as usize).min(self.slots);
        if width > self.free {
            return None;
        }
        let place = self.idle.pop()?;
        let offset = head.left.start;
        head.left.start += 1;
        let work = head.work.clone();
        if head.left.is_empty() {
            self.queue.pop_front();
        }
        self.free -= width;
        let control = self.controls[place].clone();
        control.reset();
        let taken = Taken { work, offset, place, width, control };
        self.note(&taken);
        Some(taken)
    }

    /// An attempt that occupies no slot, with a place behind those of the slots.
    pub(super) fn beside(&mut self, work: Arc<Work>, offset: u32, control: Arc<Control>) -> Taken {
        let place = self.idle_beside.pop().unwrap_or_else(|| {
            self.beside += 1;
            self.controls.len() + self.beside - 1
        });
        let taken = Taken { work, offset, place, width: 0, control };
        self.note(&taken);
        taken
    }

    fn note(&mut self, taken: &Taken) {
        let (run, place) = (taken.work.assignment.run, taken.place);
        let control = taken.control.clone();
        let running = Running { run, place, control, announced: false, ended: false };
        self.running.insert(taken.attempt(), running);
    }

    /// Frees what an attempt occupied.
    pub(super) fn vacate(&mut self, taken: &Taken) {
        self.free += taken.width;
        match taken.width {
            0 => self.idle_beside.push(taken.place),
            _ => self.idle.push(taken.place),
        }
    }

    /// Removes what `wanted` picks from the queue; what remains keeps its order.
    pub(super) fn withdraw(&mut self, wanted: impl Fn(AttemptId, RunId) -> bool) -> Vec<AttemptId> {
        let mut withdrawn = Vec::new();
        for queued in std::mem::take(&mut self.queue) {
            let assignment = &queued.work.assignment;
            let mut kept: Option<Range<u32>> = None;
            for offset in queued.left.clone() {
                let attempt = attempt_at(assignment, offset);
                if wanted(attempt, assignment.run) {
                    withdrawn.push(attempt);
                    if let Some(left) = kept.take() {
                        self.queue.push_back(Queued { work: queued.work.clone(), left });
                    }
                } else {
                    kept.get_or_insert(offset..offset).end = offset + 1;
                }
            }
            if let Some(left) = kept {
                self.queue.push_back(Queued { work: queued.work, left });
            }
        }
        withdrawn
    }
}

fn attempt_at(assignment: &Assignment, offset: u32) -> AttemptId {
    AttemptId(assignment.first_attempt.0.wrapping_add(u64::from(offset)))
}
