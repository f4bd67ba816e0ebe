//! What a worker's machine is short of, and so how much it is given: never more than ran when it
//! refused an attempt, nothing for a while when none did, and bit by bit more as time goes by.

use crate::ids::{Micros, Timestamp};

/// The first pause after a refusal while nothing else ran there, and the longest; each is twice the
/// one before.
const PAUSE: Micros = Micros(100_000);
const LONGEST_PAUSE: Micros = Micros(5_000_000);

/// After this long a worker is given more again. Twice as long each time that this was too much.
const STEP: Micros = Micros(1_000_000);
const LONGEST_STEP: Micros = Micros(30_000_000);

/// For this long an attempt waits for a machine where nothing else runs.
const PATIENCE: Micros = Micros(60_000_000);

/// A worker whose machine was short of something.
#[derive(Debug)]
pub(super) struct Strain {
    /// The slots that it may occupy.
    limit: u32,
    /// Nothing is started there until then.
    rest: Option<Timestamp>,
    /// Refusals while nothing else ran there, one for each pause.
    in_a_row: u32,
    /// Since when it has refused all, while nothing else ran there.
    alone_since: Option<Timestamp>,
    raise_at: Timestamp,
    step: Micros,
    /// When it is looked at.
    look: Option<Timestamp>,
    /// Whether it was given more since the last refusal.
    raised: bool,
    /// The words of the system.
    reason: String,
}

/// The pause after refusal number `refusals`, from 1.
pub(super) fn pause(refusals: u32) -> Micros {
    let doublings = refusals.saturating_sub(1).min(16);
    Micros((PAUSE.0 << doublings).min(LONGEST_PAUSE.0))
}

impl Strain {
    /// That of a worker with so many slots, before its first refusal is noted.
    pub(super) fn new(now: Timestamp, slots: u32) -> Strain {
        Strain {
            limit: slots,
            rest: None,
            in_a_row: 0,
            alone_since: None,
            raise_at: now,
            step: STEP,
            look: None,
            raised: false,
            reason: String::new(),
        }
    }

    /// An attempt was refused while others occupied so many slots.
    pub(super) fn note_refusal(&mut self, now: Timestamp, occupied: u32, reason: String) {
        self.limit = self.limit.min(occupied.max(1));
        if std::mem::take(&mut self.raised) {
            self.step = Micros((self.step.0 * 2).min(LONGEST_STEP.0));
        }
        self.raise_at = now.plus(self.step);
        self.reason = reason;
        if occupied > 0 {
            // When one of those ends there may be capacity for another.
            return;
        }
        self.alone_since.get_or_insert(now);
        if self.rest.is_none_or(|until| until <= now) {
            self.in_a_row += 1;
            self.rest = Some(now.plus(pause(self.in_a_row)));
        }
    }

    /// An attempt started.
    pub(super) fn note_start(&mut self) {
        (self.rest, self.alone_since, self.in_a_row) = (None, None, 0);
    }

    /// Time has passed. Returns whether the worker may have all of its `slots` again.
    pub(super) fn recover(&mut self, now: Timestamp, slots: u32) -> bool {
        if self.rest.is_some_and(|until| until <= now) {
            self.rest = None;
        }
        // As long as it refuses all, one attempt at a time is enough to find out.
        if self.raise_at <= now && self.alone_since.is_none() {
            self.limit = self.limit.saturating_add((self.limit / 4).max(1));
            self.raised = true;
        }
        if self.raise_at <= now {
            self.raise_at = now.plus(self.step);
        }
        self.limit >= slots && self.rest.is_none() && self.alone_since.is_none()
    }

    /// When [`Strain::recover`] is next due.
    fn due(&self) -> Timestamp {
        self.rest.map_or(self.raise_at, |until| until.min(self.raise_at))
    }

    /// When it is to be looked at, unless that is arranged already, or for earlier.
    pub(super) fn next_look(&mut self) -> Option<Timestamp> {
        let due = self.due();
        if self.look.is_some_and(|look| look <= due) {
            return None;
        }
        self.look = Some(due);
        Some(due)
    }

    /// Whether this is the time that was arranged.
    pub(super) fn is_due(&mut self, now: Timestamp) -> bool {
        let is_due = self.look.is_some_and(|look| look <= now);
        if is_due {
            self.look = None;
        }
        is_due
    }

    /// The slots that it may occupy now.
    pub(super) fn slots(&self) -> u32 {
        if self.rest.is_some() { 0 } else { self.limit }
    }

    /// The slots that it may occupy when it does not rest.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Until when nothing is started there.
    pub(super) fn rests_until(&self) -> Option<Timestamp> {
        self.rest
    }

    /// The words of the system.
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether it has refused all for so long, while nothing else ran there, that waiting is in vain.
    pub(super) fn is_hopeless(&self, now: Timestamp) -> bool {
        self.alone_since.is_some_and(|since| now.since(since) >= PATIENCE)
    }
}

/// For so long a worker whose machine has too little memory left takes nothing while nothing runs there.
/// Then it takes one attempt at a time, as waiting does not help.
const IN_VAIN: Micros = Micros(10_000_000);

/// A worker whose machine has too little memory left.
#[derive(Debug)]
pub(super) struct Short {
    /// How much that is.
    left: String,
    /// Since when it has been so while nothing ran there.
    idle_since: Option<Timestamp>,
    /// Whether it takes one attempt at a time.
    one_by_one: bool,
}

impl Short {
    /// It is so at `now`, while `occupied` slots are occupied; and was so `before`.
    pub(super) fn new(
        now: Timestamp,
        occupied: u32,
        left: String,
        before: Option<Box<Short>>,
    ) -> Short {
        let (since, one_by_one) = before.map_or((None, false), |it| (it.idle_since, it.one_by_one));
        let idle_since = (occupied == 0).then(|| since.unwrap_or(now));
        let in_vain = idle_since.is_some_and(|since| now.since(since) >= IN_VAIN);
        Short { left, idle_since, one_by_one: one_by_one || in_vain }
    }

    /// The slots that may be occupied now, while so many are.
    pub(super) fn slots(&self, occupied: u32) -> u32 {
        occupied.max(u32::from(self.one_by_one))
    }

    /// How much memory is left.
    pub(super) fn left(&self) -> &str {
        &self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    #[test]
    fn a_worker_is_given_what_ran_and_then_more_bit_by_bit() {
        let mut strain = Strain::new(seconds(100), 32);
        for occupied in (12..31).rev() {
            strain.note_refusal(seconds(100), occupied, "full".to_owned());
        }
        assert_eq!((strain.slots(), strain.rests_until()), (12, None));
        assert!(!strain.recover(seconds(101), 32));
        assert_eq!(strain.slots(), 15);
        // That was too much: the next step comes later.
        strain.note_refusal(seconds(101), 12, "full".to_owned());
        assert_eq!((strain.slots(), strain.due()), (12, seconds(103)));
        let mut now = strain.due();
        while !strain.recover(now, 32) {
            now = strain.due();
        }
        assert!(strain.slots() >= 32);
    }

    #[test]
    fn one_that_refuses_all_rests_longer_and_longer_until_it_is_hopeless() {
        let mut strain = Strain::new(seconds(100), 4);
        let mut now = seconds(100);
        let mut pauses = 0;
        while !strain.is_hopeless(now) {
            strain.note_refusal(now, 0, "full".to_owned());
            assert_eq!((strain.slots(), strain.limit()), (0, 1));
            // Others that were refused in the same pause do not prolong it.
            let until = strain.rests_until();
            strain.note_refusal(now, 0, "full".to_owned());
            assert_eq!(strain.rests_until(), until);
            now = until.unwrap();
            assert!(!strain.recover(now, 4));
            assert_eq!(strain.slots(), 1, "not more as long as it refuses all");
            pauses += 1;
        }
        assert!((10..30).contains(&pauses), "{pauses}");
        assert!(now.since(seconds(100)) < Micros(66_000_000));
        strain.note_start();
        assert!(!strain.is_hopeless(now) && strain.rests_until().is_none());
    }
}
