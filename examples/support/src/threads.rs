//! The same work on plain threads: no scheduler, no values that travel. What dagrun reaches is
//! measured against this.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Calls a function for each item on so many threads, which take the next item when they are done
/// with one. The results are in the order of the items.
///
/// # Panics
///
/// When the function panics.
pub fn map<T, R, F>(threads: usize, items: &[T], function: F) -> Vec<R>
where
    T: Clone + Sync,
    R: Send,
    F: Fn(T) -> R + Sync,
{
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        while let Some((at, item)) = nth(items, next.fetch_add(1, Ordering::Relaxed)) {
            done.push((at, function(item.clone())));
        }
        done
    };
    let done = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(take)).collect();
        threads.into_iter().flat_map(joined).collect()
    });
    in_order(done)
}

/// Calls a function for each number below `parents.len()`, each after its parents, on so many
/// threads. The parents of a number must be smaller than it.
///
/// # Panics
///
/// When the function panics, or a parent is not smaller than its child.
pub fn after_parents<R, F>(threads: usize, parents: &[Vec<usize>], function: F) -> Vec<R>
where
    R: Send,
    F: Fn(usize) -> R + Sync,
{
    for (child, parents) in parents.iter().enumerate() {
        assert!(parents.iter().all(|&parent| parent < child), "a parent of {child} is not smaller");
    }
    let queue = Queue::new(parents);
    let take = || {
        let mut done = Vec::new();
        while let Some(at) = queue.take() {
            done.push((at, function(at)));
            queue.finish(at);
        }
        done
    };
    let done = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(take)).collect();
        threads.into_iter().flat_map(joined).collect()
    });
    in_order(done)
}

fn nth<T>(items: &[T], at: usize) -> Option<(usize, &T)> {
    items.get(at).map(|item| (at, item))
}

fn joined<R>(thread: thread::ScopedJoinHandle<'_, Vec<R>>) -> Vec<R> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn in_order<R>(mut done: Vec<(usize, R)>) -> Vec<R> {
    done.sort_by_key(|&(at, _)| at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// What is ready to run, and for how many parents each of the others still waits.
struct Queue {
    children: Vec<Vec<usize>>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    ready: Vec<usize>,
    waits_for: Vec<usize>,
    unfinished: usize,
}

impl Queue {
    fn new(parents: &[Vec<usize>]) -> Queue {
        let mut children = vec![Vec::new(); parents.len()];
        for (child, parents) in parents.iter().enumerate() {
            for &parent in parents {
                children[parent].push(child);
            }
        }
        let waits_for: Vec<usize> = parents.iter().map(Vec::len).collect();
        // The last is taken first.
        let ready = (0..parents.len()).rev().filter(|&at| waits_for[at] == 0).collect();
        let state = Mutex::new(State { ready, waits_for, unfinished: parents.len() });
        Queue { children, state, changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for one that is ready; none when all are finished.
    fn take(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if let Some(at) = state.ready.pop() {
                return Some(at);
            }
            if state.unfinished == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish(&self, at: usize) {
        let mut state = self.lock();
        state.unfinished -= 1;
        for &child in &self.children[at] {
            state.waits_for[child] -= 1;
            if state.waits_for[child] == 0 {
                state.ready.insert(0, child);
            }
        }
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<u64> = (0..1_000).collect();
        let squares = map(3, &items, |item| item * item);
        assert_eq!(squares, items.iter().map(|item| item * item).collect::<Vec<_>>());
        assert!(map(2, &[0u8; 0], |item| item).is_empty());
    }

    #[test]
    fn each_is_called_after_its_parents() {
        let parents: Vec<Vec<usize>> =
            (0..200usize).map(|at| if at < 5 { vec![] } else { vec![at / 2, at - 5] }).collect();
        let clock = AtomicUsize::new(0);
        let tick = || clock.fetch_add(1, Ordering::SeqCst);
        let spans = after_parents(4, &parents, |_| (tick(), tick()));
        for (child, parents) in parents.iter().enumerate() {
            for &parent in parents {
                assert!(spans[parent].1 < spans[child].0, "{child} began before {parent} ended");
            }
        }
    }

    #[test]
    #[should_panic(expected = "a parent of 1 is not smaller")]
    fn a_parent_that_comes_later_is_refused() {
        after_parents(1, &[vec![], vec![2], vec![]], |at| at);
    }
}
