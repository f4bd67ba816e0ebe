//! Placement schemes: which of the workers with capacity gets an attempt.

use serde::{Deserialize, Serialize};

use super::needs::Needs;
use super::workers::{Capacity, Worker, Workers};
use crate::ids::WorkerId;

/// Which of the workers with capacity gets an attempt. The names and the ideas are those of IPython
/// parallel's task schedulers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// The least loaded.
    #[default]
    LeastLoad,
    /// The one that was given work least recently.
    Lru,
    /// Any, with equal probability.
    PlainRandom,
    /// The less loaded of two drawn with equal probability.
    TwoBin,
    /// The less loaded of two drawn with probability inverse to their load.
    Weighted,
}

impl Scheme {
    /// All schemes.
    pub const ALL: [Scheme; 5] =
        [Scheme::LeastLoad, Scheme::Lru, Scheme::PlainRandom, Scheme::TwoBin, Scheme::Weighted];

    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Scheme::LeastLoad => "least-load",
            Scheme::Lru => "lru",
            Scheme::PlainRandom => "plain-random",
            Scheme::TwoBin => "two-bin",
            Scheme::Weighted => "weighted",
        }
    }

    /// The scheme of this name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Scheme> {
        Scheme::ALL.into_iter().find(|scheme| scheme.word() == word)
    }

    pub(super) fn pick(
        self,
        workers: &Workers,
        needs: &Needs,
        ahead: u32,
        random: &mut SplitMix,
    ) -> Option<Capacity> {
        if self == Scheme::LeastLoad || needs.pin.is_some() {
            return workers.least_loaded(needs, ahead);
        }
        let candidates: Vec<(WorkerId, &Worker)> = workers.with_capacity(needs, ahead);
        let least = |a: usize, b: usize| match candidates[a].1.load() <= candidates[b].1.load() {
            true => a,
            false => b,
        };
        let at = match self {
            _ if candidates.is_empty() => return None,
            Scheme::LeastLoad => 0,
            Scheme::Lru => (0..candidates.len()).min_by_key(|at| candidates[*at].1.used)?,
            Scheme::PlainRandom => random.below(candidates.len()),
            Scheme::TwoBin => {
                let first = random.below(candidates.len());
                least(first, random.below(candidates.len()))
            }
            Scheme::Weighted => {
                let weights: Vec<u64> = candidates
                    .iter()
                    .map(|(_, worker)| (1 << 40) / (worker.load() + (1 << 10)))
                    .collect();
                let first = random.weighted(&weights);
                least(first, random.weighted(&weights))
            }
        };
        Some(Capacity { worker: candidates[at].0, attempts: 1 })
    }
}

/// A small generator of random numbers: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SplitMix(pub(super) u64);

impl SplitMix {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next()) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// A position, with probability proportional to its weight.
    fn weighted(&mut self, weights: &[u64]) -> usize {
        let total: u64 = weights.iter().sum();
        let wide = u128::from(self.next()) * u128::from(total);
        let mut left = u64::try_from(wide >> 64).unwrap_or(0);
        for (at, weight) in weights.iter().enumerate() {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return at,
            }
        }
        weights.len() - 1
    }
}
