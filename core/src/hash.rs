//! The hashes that are visible outside a process (keys, seeds, signatures): they must never change.

/// FNV-1a, 64 bits.
#[must_use]
pub fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = StableHash::new();
    hash.write(bytes);
    hash.0
}

/// FNV-1a, 64 bits, with the finaliser of SplitMix64, which spreads short inputs over all bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StableHash(u64);

impl StableHash {
    /// The hash of no bytes.
    pub(crate) fn new() -> StableHash {
        StableHash(0xcbf2_9ce4_8422_2325)
    }

    /// Hashes more bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// The hash of all bytes so far.
    pub(crate) fn finish(self) -> u64 {
        let mut z = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The hash of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> u64 {
        let mut hash = StableHash::new();
        hash.write(bytes);
        hash.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_changes() {
        assert_eq!(StableHash::new().0, 0xcbf2_9ce4_8422_2325);
        // The published FNV-1a test vector.
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        // The first output of SplitMix64 seeded with 0.
        assert_eq!(StableHash(0).finish(), 0xe220_a839_7b1d_cdaf);
    }
}
