//! What a worker was given, for as long as its scheduler may not have all of it on disk: with that it can
//! name its attempts to a scheduler that did not hand them out.

use std::collections::BTreeMap;
use std::ops::Range;

use dagrun_core::engine::{Assignment, Claim};
use dagrun_core::ids::{AttemptId, Timestamp};

/// So many assignments are kept before it is worth looking which are done.
const FEW: usize = 4_096;

/// Assignments by their first attempts.
#[derive(Debug, Default)]
pub(crate) struct Given {
    assignments: BTreeMap<u64, Assignment>,
    /// How many there are when it is worth looking again.
    most: usize,
}

impl Given {
    pub(crate) fn note(&mut self, assignment: Assignment) {
        self.assignments.insert(assignment.first_attempt.0, assignment);
    }

    /// Whether it is worth looking which assignments are done.
    pub(crate) fn is_large(&self) -> bool {
        self.assignments.len() > self.most.max(FEW)
    }

    /// Forgets the assignments of which none of these attempts is one.
    pub(crate) fn retain(&mut self, attempts: &[Range<u64>]) {
        let mut kept = BTreeMap::new();
        for range in attempts {
            let mut from = range.start;
            while let Some(assignment) = self.covering(from).filter(|_| from < range.end) {
                kept.insert(assignment.first_attempt.0, assignment);
                from = end_of(&assignment);
            }
        }
        self.assignments = kept;
        self.most = self.assignments.len() * 2;
    }

    pub(crate) fn clear(&mut self) {
        *self = Given::default();
    }

    fn covering(&self, attempt: u64) -> Option<Assignment> {
        let (_, assignment) = self.assignments.range(..=attempt).next_back()?;
        (attempt < end_of(assignment)).then_some(*assignment)
    }

    /// Names what a worker has: attempts that wait or run, each range with when it started, and those that
    /// have ended. What has ended while this was found out is among both.
    pub(crate) fn all(
        &self,
        held: impl IntoIterator<Item = (Range<u64>, Timestamp)>,
        mut ended: Vec<Range<u64>>,
    ) -> Vec<Claim> {
        ended.sort_unstable_by_key(|range| range.start);
        let rest = held.into_iter().flat_map(|(range, started)| {
            let rest = without(range, &ended).into_iter();
            rest.map(move |range| (range, started))
        });
        let mut claims = self.claims(rest, false);
        claims.extend(self.claims(ended.iter().map(|range| (range.clone(), Timestamp(0))), true));
        claims
    }

    /// Names attempts, as far as it can: ranges of ids, and when each range started.
    fn claims(
        &self,
        attempts: impl IntoIterator<Item = (Range<u64>, Timestamp)>,
        ended: bool,
    ) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (range, started) in attempts {
            let mut from = range.start;
            while let Some(assignment) = self.covering(from).filter(|_| from < range.end) {
                let to = end_of(&assignment).min(range.end);
                let fits = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
                let assignment = Assignment {
                    first_index: assignment
                        .first_index
                        .saturating_add(fits(from - assignment.first_attempt.0)),
                    count: fits(to - from),
                    first_attempt: AttemptId(from),
                    ..assignment
                };
                claims.push(Claim { assignment, started, ended });
                from = to;
            }
        }
        claims
    }
}

/// What is left of a range without others, which are sorted.
fn without(range: Range<u64>, others: &[Range<u64>]) -> Vec<Range<u64>> {
    let (mut rest, mut from) = (Vec::new(), range.start);
    let first = others.partition_point(|other| other.end <= range.start);
    for other in others[first..].iter().take_while(|other| other.start < range.end) {
        if from < other.start {
            rest.push(from..other.start);
        }
        from = from.max(other.end);
    }
    if from < range.end {
        rest.push(from..range.end);
    }
    rest
}

fn end_of(assignment: &Assignment) -> u64 {
    assignment.first_attempt.0.saturating_add(assignment.count.into())
}

#[cfg(test)]
mod tests {
    use dagrun_core::ids::{RunId, TaskId};

    use super::*;

    fn assignment(first_attempt: u64, first_index: u32, count: u32) -> Assignment {
        Assignment {
            run: RunId(1),
            task: TaskId(2),
            first_index,
            count,
            first_attempt: AttemptId(first_attempt),
            number: 1,
            memory: 0,
        }
    }

    #[test]
    fn what_has_ended_is_not_among_what_waits() {
        assert_eq!(without(1..9, &[0..2, 4..5, 8..10, 20..21]), [2..4, 5..8]);
        assert_eq!(without(1..9, &[0..5, 5..9]), []);
        let mut given = Given::default();
        given.note(assignment(100, 0, 4));
        let claims = given.all([(100..104, Timestamp(0))], vec![100..101, 200..201]);
        let named = claims.iter().map(|claim| (claim.assignment.first_attempt.0, claim.ended));
        assert_eq!(named.collect::<Vec<_>>(), [(101, false), (100, true)]);
    }

    #[test]
    fn attempts_are_named_by_what_they_came_with() {
        let mut given = Given::default();
        given.note(assignment(100, 10, 5));
        given.note(assignment(105, 0, 2));
        let zero = Timestamp(0);
        let named = |given: &Given, range: Range<u64>| -> Vec<(u64, u32, u32)> {
            let claims = given.claims([(range, zero)], false).into_iter();
            let named = claims.map(|it| it.assignment);
            named.map(|it| (it.first_attempt.0, it.first_index, it.count)).collect()
        };
        assert_eq!(named(&given, 103..107), [(103, 13, 2), (105, 0, 2)]);
        assert_eq!(named(&given, 107..109), []);
        given.retain(std::slice::from_ref(&(104..105)));
        assert_eq!(named(&given, 100..107), [(100, 10, 5)]);
        given.clear();
        assert_eq!(named(&given, 100..107), []);
    }
}
