//! A few numbers that say what is in a column of numbers.

/// Values that are kept of one column for quartiles; of more a part stands for all.
const KEPT: usize = 1 << 20;

/// What a column of numbers holds.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    missing: u64,
    n: u64,
    mean: f64,
    /// The sum of the squares of the distances from the mean.
    squares: f64,
    values: Vec<f64>,
    /// Each so many-th value is kept.
    stride: u64,
}

/// What is shown of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// How many numbers there are.
    pub n: u64,
    /// How many rows have none.
    pub missing: u64,
    /// Their mean.
    pub mean: Option<f64>,
    /// Their standard deviation, as of a sample.
    pub sd: Option<f64>,
    /// The least, the three quartiles, the largest.
    pub quantiles: Option<[f64; 5]>,
    /// How they are spread from the least to the largest, in blocks.
    pub histogram: String,
    /// Whether the quartiles are those of a part of the numbers.
    pub sampled: bool,
}

impl Summary {
    /// That of a column that so many rows before did not have.
    #[must_use]
    pub fn after(rows: u64) -> Summary {
        Summary { missing: rows, ..Summary::default() }
    }

    /// Adds a row.
    pub fn add(&mut self, value: Option<f64>) {
        let Some(value) = value.filter(|value| !value.is_nan()) else {
            self.missing += 1;
            return;
        };
        let at = self.n;
        self.n += 1;
        let distance = value - self.mean;
        self.mean += distance / self.n as f64;
        self.squares += distance * (value - self.mean);
        if self.stride == 0 {
            self.stride = 1;
        }
        if !at.is_multiple_of(self.stride) {
            return;
        }
        if self.values.len() == KEPT {
            let mut at = 0;
            self.values.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.stride *= 2;
            if !self.n.wrapping_sub(1).is_multiple_of(self.stride) {
                return;
            }
        }
        self.values.push(value);
    }

    /// What came of it. The least and the largest are exact unless it is sampled.
    #[must_use]
    pub fn line(mut self) -> Line {
        self.values.sort_unstable_by(f64::total_cmp);
        let values = &self.values;
        let quantile = |part: f64| -> Option<f64> {
            let at = part * (values.len().checked_sub(1)?) as f64;
            let (low, high) = (values.get(at.floor() as usize)?, values.get(at.ceil() as usize)?);
            Some(if low == high { *low } else { low + (high - low) * at.fract() })
        };
        let quantiles = [0.0, 0.25, 0.5, 0.75, 1.0].map(quantile);
        let quantiles = match quantiles {
            [Some(a), Some(b), Some(c), Some(d), Some(e)] => Some([a, b, c, d, e]),
            _ => None,
        };
        Line {
            n: self.n,
            missing: self.missing,
            mean: (self.n > 0).then_some(self.mean),
            sd: (self.n > 1).then(|| (self.squares / (self.n - 1) as f64).sqrt()),
            quantiles,
            histogram: histogram(values),
            sampled: self.stride > 1,
        }
    }
}

/// The spread of ascending values in twelve blocks.
fn histogram(values: &[f64]) -> String {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const BINS: usize = 12;
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let (Some(first), Some(last)) = (finite.first(), finite.last()) else { return String::new() };
    let mut counts = [0usize; BINS];
    for value in &finite {
        let part = if last > first { (value - first) / (last - first) } else { 0.5 };
        let bin = ((part * BINS as f64) as usize).min(BINS - 1);
        if let Some(count) = counts.get_mut(bin) {
            *count += 1;
        }
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let block = |count: &usize| match count {
        0 => BLOCKS[0],
        count => BLOCKS[(count * 8).div_ceil(most).min(8)],
    };
    counts.iter().map(block).collect()
}
