//! The ready set: instances that could start, as ranges per task, and the order among tasks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::needs::ClassId;
use crate::ids::{RunId, TaskId};

/// Consecutive instances of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u32,
    pub(super) count: u32,
}

impl Span {
    fn end(self) -> u32 {
        self.first + self.count
    }

    fn contains(self, index: u32) -> bool {
        (self.first..self.end()).contains(&index)
    }

    /// The parts that remain without one instance, in order.
    pub(super) fn without(self, index: u32) -> Vec<Span> {
        if !self.contains(index) {
            return vec![self];
        }
        let before = Span { first: self.first, count: index - self.first };
        let after = Span { first: index + 1, count: self.end() - index - 1 };
        [before, after].into_iter().filter(|part| part.count > 0).collect()
    }
}

/// The ready instances of one task, first in, first out; neighbours share an entry.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    spans: VecDeque<Span>,
}

impl ReadyQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub(super) fn len(&self) -> u64 {
        self.spans.iter().map(|span| u64::from(span.count)).sum()
    }

    pub(super) fn front(&self) -> Option<u32> {
        self.spans.front().map(|span| span.first)
    }

    pub(super) fn push_back(&mut self, span: Span) {
        match self.spans.back_mut() {
            _ if span.count == 0 => {}
            Some(last) if last.end() == span.first => last.count += span.count,
            _ => self.spans.push_back(span),
        }
    }

    pub(super) fn push_front(&mut self, index: u32) {
        match self.spans.front_mut() {
            Some(first) if index + 1 == first.first => {
                first.first = index;
                first.count += 1;
            }
            _ => self.spans.push_front(Span { first: index, count: 1 }),
        }
    }

    /// Takes up to `most` consecutive instances from the front.
    pub(super) fn pop(&mut self, most: u32) -> Option<Span> {
        let front = self.spans.front_mut()?;
        let taken = Span { first: front.first, count: front.count.min(most) };
        front.first += taken.count;
        front.count -= taken.count;
        if front.count == 0 {
            self.spans.pop_front();
        }
        Some(taken)
    }

    pub(super) fn clear(&mut self) {
        self.spans = VecDeque::new();
    }

    /// Takes one instance out, wherever it stands.
    pub(super) fn remove(&mut self, index: u32) -> bool {
        let Some(at) = self.spans.iter().position(|span| span.contains(index)) else {
            return false;
        };
        let span = self.spans[at];
        self.spans.remove(at);
        for part in span.without(index).into_iter().rev() {
            self.spans.insert(at, part);
        }
        true
    }

    /// All instances, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.spans.iter().flat_map(|span| span.first..span.end())
    }
}

/// A task with ready instances, ordered: higher priority, then longer remaining critical path, then
/// submission order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReadyKey {
    pub(super) priority: Reverse<i32>,
    pub(super) rank: Reverse<u64>,
    pub(super) submitted: u64,
    pub(super) task: TaskId,
    pub(super) run: RunId,
}

/// All tasks with ready instances, separated by what they need: when one class finds no capacity,
/// the others may.
#[derive(Debug, Default)]
pub(super) struct ReadyTasks {
    by_class: BTreeMap<ClassId, BTreeSet<ReadyKey>>,
}

impl ReadyTasks {
    pub(super) fn insert(&mut self, class: ClassId, key: ReadyKey) {
        self.by_class.entry(class).or_default().insert(key);
    }

    pub(super) fn remove(&mut self, class: ClassId, key: &ReadyKey) {
        if let Some(keys) = self.by_class.get_mut(&class) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_class.remove(&class);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_class.is_empty()
    }

    /// The first task among those whose needs are not in `full`.
    pub(super) fn best(&self, full: &[ClassId]) -> Option<(ClassId, ReadyKey)> {
        self.by_class
            .iter()
            .filter(|(class, _)| !full.contains(class))
            .filter_map(|(class, keys)| keys.first().map(|key| (*class, *key)))
            .min_by_key(|(_, key)| *key)
    }

    pub(super) fn contains(&self, class: ClassId, key: &ReadyKey) -> bool {
        self.by_class.get(&class).is_some_and(|keys| keys.contains(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u32, count: u32) -> Span {
        Span { first, count }
    }

    #[test]
    fn neighbours_merge_and_leave_in_order() {
        let mut queue = ReadyQueue::default();
        queue.push_back(span(0, 3));
        queue.push_back(span(3, 2));
        queue.push_back(span(9, 1));
        assert_eq!(queue.spans.len(), 2);
        assert_eq!(queue.pop(4), Some(span(0, 4)));
        queue.push_front(3);
        assert_eq!(queue.iter().collect::<Vec<_>>(), [3, 4, 9]);
    }

    #[test]
    fn an_instance_is_taken_out_of_the_middle() {
        let mut queue = ReadyQueue::default();
        queue.push_back(span(0, 5));
        assert!(queue.remove(2));
        assert!(!queue.remove(2));
        assert_eq!(queue.iter().collect::<Vec<_>>(), [0, 1, 3, 4]);
        for index in [0, 1, 3, 4] {
            assert!(queue.remove(index));
        }
        assert!(queue.is_empty());
    }
}
