//! The legal moves of an instance. Nothing else in the machine writes a state.

use crate::status::State;

/// Whether an instance may move from one state to another.
#[must_use]
pub fn is_legal(from: State, to: State) -> bool {
    use State::{Backoff, Blocked, Cancelled, Failed, Leased, Ready, Skipped, Succeeded};
    match from {
        // What had succeeded before the run began moves straight to success.
        Blocked => matches!(to, Ready | Succeeded | Skipped | Cancelled),
        Ready => matches!(to, Leased | Failed | Skipped | Cancelled),
        Leased => matches!(to, Ready | Backoff | Succeeded | Failed | Cancelled),
        Backoff => matches!(to, Ready | Skipped | Cancelled),
        Succeeded | Failed | Skipped | Cancelled => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_a_terminal_state() {
        for from in State::ALL.into_iter().filter(|state| state.is_terminal()) {
            assert!(State::ALL.into_iter().all(|to| !is_legal(from, to)));
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
