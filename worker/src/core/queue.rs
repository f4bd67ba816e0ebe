//! The work that waits for slots and the attempts that occupy them.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use dagrun_core::engine::Assignment;
use dagrun_core::ids::{AttemptId, RunId};

use crate::control::Control;

/// Consecutive instances to run.
pub(crate) trait Task {
    /// The instances, and their attempts.
    fn assignment(&self) -> &Assignment;
    /// Slots that one attempt occupies; 0: it starts at once, beside them.
    fn cpus(&self) -> u32;
}

/// Something by which the attempts of a place are stopped from elsewhere, reused by one after the other.
pub(crate) trait Place {
    /// The former attempt's end has nothing to do with the next one.
    fn reset(&self);
}

impl Place for Control {
    fn reset(&self) {
        Control::reset(self);
    }
}

/// The queue, and the slots behind it.
pub(crate) struct State<W, C = Control> {
    pub(crate) queue: VecDeque<Queued<W>>,
    pub(crate) free: usize,
    pub(crate) slots: usize,
    /// Places that no attempt uses; usually as many as there are slots.
    pub(crate) idle: Vec<usize>,
    pub(crate) controls: Vec<Arc<C>>,
    /// The places of attempts that occupy no slot come after those: how many there have been, and
    /// which of them are free.
    beside: usize,
    idle_beside: Vec<usize>,
    pub(crate) running: BTreeMap<AttemptId, Running<C>>,
    /// Threads that wait for an end.
    pub(crate) waiting: usize,
}

/// The part of something to run that has not started yet.
pub(crate) struct Queued<W> {
    pub(crate) work: Arc<W>,
    /// Offsets into the work's instances.
    pub(crate) left: Range<u32>,
}

pub(crate) struct Running<C = Control> {
    pub(crate) run: RunId,
    pub(crate) place: usize,
    pub(crate) control: Arc<C>,
    pub(crate) announced: bool,
    /// Whether it has ended. Its end is about to be reported.
    pub(crate) ended: bool,
}

/// An attempt that was taken from the queue.
pub(crate) struct Taken<W, C = Control> {
    pub(crate) work: Arc<W>,
    pub(crate) offset: u32,
    pub(crate) place: usize,
    pub(crate) width: usize,
    pub(crate) control: Arc<C>,
}

impl<W, C> Clone for Taken<W, C> {
    fn clone(&self) -> Self {
        let Taken { work, offset, place, width, control } = self;
        let (work, control) = (Arc::clone(work), Arc::clone(control));
        Taken { work, offset: *offset, place: *place, width: *width, control }
    }
}

impl<W: Task, C> Taken<W, C> {
    pub(crate) fn attempt(&self) -> AttemptId {
        attempt_at(self.work.assignment(), self.offset)
    }
}

impl<W: Task, C: Place> State<W, C> {
    /// With so many free slots, a place for each of these, and an empty queue.
    pub(crate) fn new(slots: usize, controls: Vec<Arc<C>>) -> State<W, C> {
        State {
            queue: VecDeque::new(),
            free: slots,
            slots,
            idle: (0..controls.len()).rev().collect(),
            controls,
            beside: 0,
            idle_beside: Vec::new(),
            running: BTreeMap::new(),
            waiting: 0,
        }
    }

    /// Appends to the queue; what occupies no slot is given back.
    pub(crate) fn push(&mut self, work: W) -> Option<Arc<W>> {
        let (left, work) = (0..work.assignment().count, Arc::new(work));
        if work.cpus() == 0 {
            return Some(work);
        }
        if !left.is_empty() {
            self.queue.push_back(Queued { work, left });
        }
        None
    }

    /// The attempts that wait or run, or have ended without having been reported yet.
    pub(crate) fn held(&self) -> Vec<Range<u64>> {
        let queued = self.queue.iter().map(|queued| {
            let first = queued.work.assignment().first_attempt.0;
            first + u64::from(queued.left.start)..first + u64::from(queued.left.end)
        });
        let running = self.running.keys().map(|attempt| attempt.0..attempt.0 + 1);
        queued.chain(running).collect()
    }

    /// Marks an attempt as ended; returns false when it already was, or does not run.
    pub(crate) fn end(&mut self, attempt: AttemptId) -> bool {
        let running = self.running.get_mut(&attempt);
        running.is_some_and(|running| !std::mem::replace(&mut running.ended, true))
    }

    pub(crate) fn take_all(&mut self) -> Vec<Taken<W, C>> {
        let mut ready = Vec::new();
        while let Some(taken) = self.take() {
            ready.push(taken);
        }
        ready
    }

    /// Takes the head of the queue when enough slots are free for it.
    fn take(&mut self) -> Option<Taken<W, C>> {
        let head = self.queue.front_mut()?;
        // More slots than there are means all of them.
        let width = (head.work.cpus().max(1) as usize).min(self.slots);
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
    pub(crate) fn beside(&mut self, work: Arc<W>, offset: u32, control: Arc<C>) -> Taken<W, C> {
        let place = self.idle_beside.pop().unwrap_or_else(|| {
            self.beside += 1;
            self.controls.len() + self.beside - 1
        });
        let taken = Taken { work, offset, place, width: 0, control };
        self.note(&taken);
        taken
    }

    fn note(&mut self, taken: &Taken<W, C>) {
        let (run, place) = (taken.work.assignment().run, taken.place);
        let control = taken.control.clone();
        let running = Running { run, place, control, announced: false, ended: false };
        self.running.insert(taken.attempt(), running);
    }

    /// Frees what an attempt occupied.
    pub(crate) fn vacate(&mut self, taken: &Taken<W, C>) {
        self.free += taken.width;
        match taken.width {
            0 => self.idle_beside.push(taken.place),
            _ => self.idle.push(taken.place),
        }
    }

    /// Removes what `wanted` picks from the queue; what remains keeps its order.
    pub(crate) fn withdraw(&mut self, wanted: impl Fn(AttemptId, RunId) -> bool) -> Vec<AttemptId> {
        let mut withdrawn = Vec::new();
        for queued in std::mem::take(&mut self.queue) {
            let assignment = queued.work.assignment();
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
