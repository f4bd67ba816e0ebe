//! The scheduler's time: the clock for people when it started, and from then on the one that never jumps.
//! Deadlines are kept by it, so that nobody waits for longer, and nothing is due sooner, when somebody sets
//! the clock. What people read has the clock's time.

use dagrun_core::ids::{Micros, Timestamp};

/// A moment, by two clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// For people: it may jump.
    pub(crate) now: Timestamp,
    /// How long the machine has been up: it never goes back, and goes on while the machine is suspended.
    pub(crate) uptime: Micros,
}

/// The scheduler's time, and what clocks showed at the last look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    began: Moment,
    seen: Moment,
}

impl Time {
    pub(super) fn new(at: Moment) -> Time {
        Time { began: at, seen: at }
    }

    /// Looks at the clocks: how long ago the last look was.
    pub(super) fn look(&mut self, at: Moment) -> Micros {
        let passed = Micros(at.uptime.0.saturating_sub(self.seen.uptime.0));
        self.seen = at;
        passed
    }

    /// The moment of the last look, by the time of deadlines.
    pub(super) fn now(&self) -> Timestamp {
        self.at(self.seen.uptime)
    }

    fn at(&self, uptime: Micros) -> Timestamp {
        let passed = uptime.0.saturating_sub(self.began.uptime.0);
        Timestamp(self.began.now.0.saturating_add(passed))
    }

    /// How long it is to a deadline.
    pub(super) fn left(&self, deadline: Timestamp, at: Moment) -> Micros {
        deadline.since(self.at(at.uptime))
    }

    /// The moment of the last look, for people.
    pub(super) fn for_people(&self) -> Timestamp {
        self.seen.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_do_not_move_when_the_clock_jumps() {
        let at = |now, uptime| Moment { now: Timestamp(now), uptime: Micros(uptime) };
        let mut time = Time::new(at(1_000, 50));
        assert_eq!(time.now(), Timestamp(1_000));
        assert_eq!(time.look(at(400, 60)), Micros(10));
        assert_eq!((time.now(), time.for_people()), (Timestamp(1_010), Timestamp(400)));
        assert_eq!(time.left(Timestamp(1_015), at(0, 62)), Micros(3));
        assert_eq!(time.left(Timestamp(1_015), at(0, 90)), Micros(0));
    }
}
