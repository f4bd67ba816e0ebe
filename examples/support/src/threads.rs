//! The same work on plain threads: no scheduler, no values that travel. What dagrun reaches is
//! measured against this.

use std::sync::atomic::{AtomicUsize, Ordering};
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
}
