//! The legal moves of an instance. Nothing else in the machine writes a state.

use crate::status::State;

/// Whether an instance may move from one state to another.
#[must_use]
pub fn is_legal(from: State, to: State) -> bool {
    use State::{Backoff, Blocked, Cancelled, Failed, Leased, Ready, Skipped, Succeeded};
    match from {
        // What had ended before the run began, or was resumed, moves straight to its end, and what had
        // failed and waits moves straight to its wait. What lacks a value that is made again waits as well.
        Blocked => matches!(to, Ready | Backoff | Succeeded | Failed | Skipped | Cancelled),
        Ready => matches!(to, Leased | Backoff | Failed | Skipped | Cancelled),
        Leased => matches!(to, Ready | Backoff | Succeeded | Failed | Cancelled),
        Backoff => matches!(to, Ready | Skipped | Cancelled),
        Succeeded | Failed | Skipped | Cancelled => reopens(from, to),
    }
}

/// Whether the move opens an instance again that had ended: what an interruption cut off or brought
/// about, or what is no longer there, when its run is resumed; or a value that has died with its worker and
/// is still needed.
#[must_use]
pub fn reopens(from: State, to: State) -> bool {
    from.is_terminal() && to == State::Blocked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_reopening_follows_a_terminal_state() {
        for from in State::ALL.into_iter().filter(|state| state.is_terminal()) {
            for to in State::ALL {
                assert_eq!(is_legal(from, to), reopens(from, to));
                assert_eq!(reopens(from, to), to == State::Blocked);
            }
        }
    }

    #[test]
    fn every_state_is_reached_from_blocked() {
        let mut reached = vec![State::Blocked];
        let mut at = 0;
        while let Some(&from) = reached.get(at) {
            for to in State::ALL {
                if is_legal(from, to) && !reached.contains(&to) {
                    reached.push(to);
                }
            }
            at += 1;
        }
        assert_eq!(reached.len(), State::ALL.len());
    }
}
