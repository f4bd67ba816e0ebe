//! The decimals of π by the series of the Chudnovsky brothers, summed by binary splitting.
//!
//! ```text
//! 1/π = 12 Σ (−1)^k (6k)! (13591409 + 545140134 k) / ((3k)! (k!)³ 640320^(3k+3/2))
//! ```

use dashu::base::SquareRoot;
use dashu::integer::{IBig, UBig};

/// Digits computed beyond those asked for, so that rounding does not reach the latter. The sum is
/// exact; only the square root and the division cut off, and each by less than one.
const GUARD: usize = 16;

/// Decimals that a term of the series adds: 14.18, rounded down.
const DECIMALS_PER_TERM: u64 = 14;

/// Below this many terms a second thread costs more than it gains.
const SEQUENTIAL: u64 = 512;

/// The first `n` decimals of π: those after the point, so 1, 4, 1, 5, …
pub fn of_pi(n: usize) -> String {
    let precision = n + GUARD;
    let terms = precision as u64 / DECIMALS_PER_TERM + 2;
    let (sum, root) = rayon::join(
        || Partial::last(0, terms),
        || (UBig::from(10005u32) * UBig::from(10u32).pow(2 * precision)).sqrt(),
    );
    let scaled = IBig::from(root) * sum.q * IBig::from(426_880u32) / sum.t;
    let mut text = scaled.to_string();
    text.truncate(n + 1);
    text.remove(0);
    text
}

/// The terms `a..b` of the series as one fraction, in the usual notation: `t / q` is their sum,
/// and `p / q` the factor that they put before all terms that follow.
struct Partial {
    p: IBig,
    q: IBig,
    t: IBig,
}

impl Partial {
    /// The terms `a..b`, with others to follow.
    fn of(a: u64, b: u64) -> Partial {
        if b - a == 1 {
            return Partial::single(a);
        }
        let middle = a.midpoint(b);
        let (left, right) = join(b - a, || Partial::of(a, middle), || Partial::of(middle, b));
        let (t, (p, q)) = join(
            b - a,
            || &left.t * &right.q + &left.p * &right.t,
            || (&left.p * &right.p, &left.q * &right.q),
        );
        Partial { p, q, t }
    }

    /// The terms `a..b`, with none to follow: its `p` is not needed, so it stays zero.
    fn last(a: u64, b: u64) -> Partial {
        if b - a == 1 {
            return Partial::single(a);
        }
        let middle = a.midpoint(b);
        let (left, right) = join(b - a, || Partial::of(a, middle), || Partial::last(middle, b));
        let (t, q) = join(b - a, || &left.t * &right.q + &left.p * &right.t, || &left.q * &right.q);
        Partial { p: IBig::ZERO, q, t }
    }

    fn single(k: u64) -> Partial {
        let (p, q) = match k {
            0 => (IBig::ONE, IBig::ONE),
            _ => (
                IBig::from(6 * k - 5) * IBig::from(2 * k - 1) * IBig::from(6 * k - 1),
                // 640320³ / 24
                IBig::from(k).pow(3) * IBig::from(10_939_058_860_032_000u64),
            ),
        };
        let t = &p * IBig::from(13_591_409 + 545_140_134 * k);
        Partial { p, q, t: if k.is_multiple_of(2) { t } else { -t } }
    }
}

fn join<A: Send, B: Send>(
    terms: u64,
    a: impl FnOnce() -> A + Send,
    b: impl FnOnce() -> B + Send,
) -> (A, B) {
    if terms < SEQUENTIAL { (a(), b()) } else { rayon::join(a, b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Counts;

    #[test]
    fn begins_with_the_known_decimals() {
        assert_eq!(of_pi(50), "14159265358979323846264338327950288419716939937510");
    }

    #[test]
    fn a_shorter_result_is_the_beginning_of_a_longer_one() {
        let long = of_pi(3_000);
        for n in [1, 2, 13, 14, 15, 761, 762, 767, 768, 1_000, 2_999] {
            assert_eq!(of_pi(n), long[..n], "{n} decimals");
        }
        // Feynman's point: six nines from decimal 762 on.
        assert_eq!(&long[761..767], "999999");
    }

    #[test]
    fn the_first_million_decimals_have_the_known_counts() {
        let decimals = of_pi(1_000_000);
        let counts = Counts::of(decimals.as_bytes()).unwrap();
        assert_eq!(
            counts.single,
            [99959, 99758, 100026, 100229, 100230, 100359, 99548, 99800, 99985, 100106]
        );
        assert_eq!(counts.pairs.iter().sum::<u64>(), 999_999);
        assert_eq!(&decimals[999_990..], "5779458151");
    }
}
