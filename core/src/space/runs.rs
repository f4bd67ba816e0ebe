//! Sets of positions as ascending ranges: a few words for what is contiguous, however much it is.

use std::ops::Range;

/// Ascending ranges, none of them empty, no two of them adjacent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs(Vec<Range<u32>>);

impl Runs {
    /// One range, or nothing.
    pub(crate) fn one(range: Range<u32>) -> Runs {
        Runs(Some(range).filter(|range| range.start < range.end).into_iter().collect())
    }

    /// The positions of a range at which something holds.
    pub(crate) fn matching(range: Range<u32>, mut holds: impl FnMut(u32) -> bool) -> Runs {
        let mut runs = Runs::default();
        range.filter(|at| holds(*at)).for_each(|at| runs.push(at..at + 1));
        runs
    }

    /// Appends a range that begins at or after the end of all others.
    pub(crate) fn push(&mut self, range: Range<u32>) {
        match self.0.last_mut() {
            _ if range.start >= range.end => {}
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => self.0.push(range),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        self.0.iter().cloned()
    }

    /// How many positions there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|range| u64::from(range.end - range.start)).sum()
    }

    /// What is left of the range that holds `from`, or the next one.
    pub(crate) fn seek(&self, from: u32) -> Option<Range<u32>> {
        let at = self.0.partition_point(|range| range.end <= from);
        let range = self.0.get(at)?;
        Some(range.start.max(from)..range.end)
    }

    /// How many positions lie before `end`.
    pub(crate) fn rank(&self, end: u32) -> u64 {
        let before = self.0.iter().take_while(|range| range.start < end);
        before.map(|range| u64::from(range.end.min(end) - range.start)).sum()
    }

    pub(crate) fn contains(&self, at: u32) -> bool {
        self.seek(at).is_some_and(|range| range.start == at)
    }

    pub(crate) fn union(&self, other: &Runs) -> Runs {
        let mut all: Vec<Range<u32>> = self.iter().chain(other.iter()).collect();
        all.sort_unstable_by_key(|range| range.start);
        let mut runs = Runs::default();
        all.into_iter().for_each(|range| runs.push(range));
        runs
    }

    pub(crate) fn intersection(&self, other: &Runs) -> Runs {
        let mut runs = Runs::default();
        let (mut one, mut two) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(a), Some(b)) = (one.peek(), two.peek()) {
            runs.push(a.start.max(b.start)..a.end.min(b.end));
            if a.end <= b.end {
                one.next()
            } else {
                two.next()
            };
        }
        runs
    }

    /// All positions below `len` that are not in it.
    pub(crate) fn complement(&self, len: u32) -> Runs {
        let mut runs = Runs::default();
        let mut from = 0;
        for range in &self.0 {
            runs.push(from..range.start.min(len));
            from = range.end;
        }
        runs.push(from..len.max(from));
        runs
    }

    /// The part below `len`, and the rest, counted from there.
    pub(crate) fn split(&self, len: u32) -> (Runs, Runs) {
        let below = self.intersection(&Runs::one(0..len));
        let above = self.iter().filter(|range| range.end > len);
        let above = above.map(|range| range.start.max(len) - len..range.end - len);
        (below, Runs(above.collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(runs: &Runs) -> BTreeSet<u32> {
        runs.iter().flatten().collect()
    }

    proptest! {
        #[test]
        fn agrees_with_sets(
            one in proptest::collection::btree_set(0u32..40, 0..30),
            two in proptest::collection::btree_set(0u32..40, 0..30),
            at in 0u32..45,
        ) {
            let runs = |set: &BTreeSet<u32>| Runs::matching(0..40, |at| set.contains(&at));
            let (a, b) = (runs(&one), runs(&two));
            prop_assert_eq!(set(&a.union(&b)), one.union(&two).copied().collect());
            prop_assert_eq!(set(&a.intersection(&b)), one.intersection(&two).copied().collect());
            let all: BTreeSet<u32> = (0..40).collect();
            prop_assert_eq!(set(&a.complement(40)), all.difference(&one).copied().collect());
            prop_assert_eq!(a.count() as usize, one.len());
            prop_assert_eq!(a.rank(at) as usize, one.range(..at).count());
            prop_assert_eq!(a.seek(at).map(|run| run.start), one.range(at..).next().copied());
            prop_assert_eq!(a.contains(at), one.contains(&at));
            let (below, above) = a.split(at.min(40));
            let shifted: BTreeSet<u32> = one.range(at.min(40)..).map(|x| x - at.min(40)).collect();
            prop_assert_eq!(set(&below), one.range(..at.min(40)).copied().collect());
            prop_assert_eq!(set(&above), shifted);
        }
    }
}
