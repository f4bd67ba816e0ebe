//! A worker without processes: slots, and a queue in front of them as in a real worker.

use std::collections::VecDeque;

use crate::engine::Assignment;
use crate::ids::{AttemptId, InstanceId};

/// The attempts that a worker holds and has not started, and its free slots.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) free: u32,
    queue: VecDeque<Queued>,
}

#[derive(Clone, Copy, Debug)]
struct Queued {
    assignment: Assignment,
    cpus: u32,
}

impl Worker {
    pub(super) fn new(slots: u32) -> Worker {
        Worker { free: slots, queue: VecDeque::new() }
    }

    /// Appends to the queue.
    pub(super) fn push(&mut self, assignment: Assignment, cpus: u32) {
        if assignment.count > 0 {
            self.queue.push_back(Queued { assignment, cpus });
        }
    }

    /// Starts the head of the queue if enough slots are free.
    pub(super) fn take(&mut self) -> Option<(AttemptId, InstanceId)> {
        let head = self.queue.front_mut()?;
        self.free = self.free.checked_sub(head.cpus)?;
        let assignment = &mut head.assignment;
        let instance = InstanceId { task: assignment.task, index: assignment.first_index };
        let attempt = assignment.first_attempt;
        assignment.first_index += 1;
        assignment.first_attempt.0 += 1;
        assignment.count -= 1;
        if assignment.count == 0 {
            self.queue.pop_front();
        }
        Some((attempt, instance))
    }

    /// Removes attempts from the queue, at any position, and returns those that were found.
    pub(super) fn withdraw(&mut self, attempts: &[AttemptId]) -> Vec<AttemptId> {
        let mut withdrawn = Vec::new();
        for queued in std::mem::take(&mut self.queue) {
            let whole = queued.assignment;
            let mut kept = Assignment { count: 0, ..whole };
            for offset in 0..whole.count {
                let attempt = AttemptId(whole.first_attempt.0 + u64::from(offset));
                if !attempts.contains(&attempt) {
                    kept.count += 1;
                    continue;
                }
                withdrawn.push(attempt);
                self.push(kept, queued.cpus);
                kept.first_index = whole.first_index + offset + 1;
                kept.first_attempt = AttemptId(attempt.0 + 1);
                kept.count = 0;
            }
            self.push(kept, queued.cpus);
        }
        withdrawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{RunId, TaskId};

    fn held(count: u32, cpus: u32) -> Worker {
        let mut worker = Worker::new(2);
        let assignment = Assignment {
            memory: 0,
            run: RunId(1),
            task: TaskId(0),
            first_index: 10,
            count,
            first_attempt: AttemptId(100),
            number: 1,
        };
        worker.push(assignment, cpus);
        worker
    }

    fn all(mut worker: Worker) -> Vec<(u64, u32)> {
        worker.free = 100;
        let taken = std::iter::from_fn(|| worker.take());
        taken.map(|(attempt, instance)| (attempt.0, instance.index)).collect()
    }

    #[test]
    fn the_head_waits_for_its_slots() {
        let mut worker = held(2, 2);
        assert!(worker.take().is_some());
        assert_eq!(worker.take(), None);
        worker.free += 2;
        assert!(worker.take().is_some());
    }

    #[test]
    fn what_is_withdrawn_leaves_a_gap() {
        let mut worker = held(4, 1);
        let asked = [AttemptId(101), AttemptId(103), AttemptId(200)];
        assert_eq!(worker.withdraw(&asked), [AttemptId(101), AttemptId(103)]);
        assert_eq!(all(worker), [(100, 10), (102, 12)]);
    }
}
