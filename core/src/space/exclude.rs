//! Which points of a grid product survive its exclude rows: one bit for each.

/// Bits per entry of the directory.
const BLOCK: usize = 512;
const WORDS: usize = BLOCK / 64;

/// A set of positions with access to the n-th member.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    words: Vec<u64>,
    /// The number of members before each block.
    before: Vec<u32>,
    count: u32,
}

impl Kept {
    /// All positions below `len`.
    pub(super) fn all(len: u32) -> Kept {
        let len = len as usize;
        let mut words = vec![u64::MAX; len.div_ceil(64)];
        if let (Some(last), 1..) = (words.last_mut(), len % 64) {
            *last = (1 << (len % 64)) - 1;
        }
        let mut kept = Kept { words, before: Vec::new(), count: 0 };
        kept.index();
        kept
    }

    /// Removes `len` positions from `start`.
    pub(super) fn remove(&mut self, start: u32, len: u32) {
        let (mut at, end) = (start as usize, start as usize + len as usize);
        while at < end {
            let (word, bit) = (at / 64, at % 64);
            let span = (64 - bit).min(end - at);
            let mask = if span == 64 { u64::MAX } else { ((1 << span) - 1) << bit };
            if let Some(word) = self.words.get_mut(word) {
                *word &= !mask;
            }
            at += span;
        }
    }

    /// Brings the directory up to date; must be called after the last [`Kept::remove`].
    pub(super) fn index(&mut self) {
        self.before.clear();
        self.count = 0;
        for block in self.words.chunks(WORDS) {
            self.before.push(self.count);
            self.count += block.iter().map(|word| word.count_ones()).sum::<u32>();
        }
    }

    /// How many positions there are.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Whether `position` is a member.
    pub(super) fn contains(&self, position: u32) -> bool {
        let word = self.words.get(position as usize / 64).copied().unwrap_or(0);
        word >> (position % 64) & 1 == 1
    }

    /// How many members lie before `position`.
    pub(super) fn rank(&self, position: u32) -> u32 {
        let (word, bit) = (position as usize / 64, position % 64);
        let block = word / WORDS;
        let Some(before) = self.before.get(block) else { return self.count };
        let words = self.words.iter().skip(block * WORDS).take(word - block * WORDS);
        let last = self.words.get(word).map_or(0, |word| word & ((1 << bit) - 1));
        before + words.map(|word| word.count_ones()).sum::<u32>() + last.count_ones()
    }

    /// Member number `n`, in order.
    pub(super) fn select(&self, n: u32) -> Option<u32> {
        if n >= self.count {
            return None;
        }
        let block = self.before.partition_point(|&before| before <= n).checked_sub(1)?;
        let mut left = n - self.before.get(block)?;
        for (at, &word) in self.words.iter().enumerate().skip(block * WORDS) {
            let ones = word.count_ones();
            if left < ones {
                let word = (0..left).fold(word, |word, _| word & (word - 1));
                return Some((at * 64) as u32 + word.trailing_zeros());
            }
            left -= ones;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn select_agrees_with_a_list(
            len in 0u32..3000,
            removed in proptest::collection::vec((0u32..3000, 0u32..700), 0..6),
        ) {
            let mut kept = Kept::all(len);
            let mut list: Vec<u32> = (0..len).collect();
            for (start, count) in removed {
                let count = count.min(len.saturating_sub(start));
                kept.remove(start, count);
                list.retain(|at| !(start..start + count).contains(at));
            }
            kept.index();
            prop_assert_eq!(kept.count() as usize, list.len());
            for (n, &at) in list.iter().enumerate() {
                prop_assert_eq!(kept.select(n as u32), Some(at));
                prop_assert!(kept.contains(at));
            }
            prop_assert_eq!(kept.select(list.len() as u32), None);
            for position in 0..=len {
                let before = list.iter().filter(|at| **at < position).count();
                prop_assert_eq!(kept.rank(position) as usize, before);
            }
        }
    }
}
