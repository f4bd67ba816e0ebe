//! The ends of an axis and the numbers at it.

/// An axis as it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
    /// Where numbers stand, and the numbers.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// One that holds these values, with about so many numbers at it. `tight` leaves no space around.
    pub(super) fn of(values: impl Iterator<Item = f64>, log: bool, about: usize) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            let value = if log { value.log10() } else { value };
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if low == high {
            let around = if low == 0.0 { 1.0 } else { low.abs() * 0.5 };
            (low, high) = (low - around, high + around);
        }
        let space = (high - low) * 0.04;
        (low, high) = (low - space, high + space);
        let ticks = if log { log_ticks(low, high, about) } else { ticks(low, high, about) };
        Axis { low, high, log, ticks }
    }

    /// One of words at 0, 1, 2, …
    pub(super) fn of_words(words: &[String]) -> Axis {
        let ticks = words.iter().enumerate().map(|(at, word)| (at as f64, word.clone()));
        let high = words.len() as f64 - 0.5;
        Axis { low: -0.5, high: high.max(0.5), log: false, ticks: ticks.collect() }
    }

    /// Where a value stands: 0 at the lower end, 1 at the upper.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = if self.log { value.log10() } else { value };
        (value - self.low) / (self.high - self.low)
    }
}

/// Round numbers between two, about so many.
fn ticks(low: f64, high: f64, about: usize) -> Vec<(f64, String)> {
    let raw = (high - low) / about.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|part| part * power);
    let step = step.into_iter().find(|step| *step >= raw * 0.999).unwrap_or(raw);
    let first = (low / step).ceil();
    let count = ((high - low) / step) as usize + 1;
    let values = (0..count).map(|at| (first + at as f64) * step);
    let digits = decimals(step);
    values
        .filter(|value| *value <= high)
        .map(|value| (value, number(value, step, digits)))
        .collect()
}

fn log_ticks(low: f64, high: f64, about: usize) -> Vec<(f64, String)> {
    let (first, last) = (low.ceil() as i32, high.floor() as i32);
    let step = usize::try_from(last - first).unwrap_or(0).div_ceil(about.max(1)).max(1);
    let powers = (first..=last).step_by(step);
    powers.map(|power| (10f64.powi(power), short(10f64.powi(power)))).collect()
}

/// Digits behind the point that a step needs.
fn decimals(step: f64) -> usize {
    (0..12)
        .find(|digits| {
            let scaled = step * 10f64.powi(*digits);
            (scaled - scaled.round()).abs() < 1e-6 * scaled.abs()
        })
        .map_or(12, |digits| digits as usize)
}

fn number(value: f64, step: f64, digits: usize) -> String {
    // What is left of 0 after adding steps is 0.
    let value = if value.abs() < step * 1e-6 { 0.0 } else { value };
    match value.abs() {
        large if large >= 1e6 || digits > 5 => short(value),
        _ => format!("{value:.digits$}"),
    }
}

/// A number in a few characters.
pub(super) fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if (1e-4..1e6).contains(&value.abs()) {
        let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
        return format!("{rounded}");
    }
    let text = format!("{value:.3e}");
    let Some((digits, power)) = text.split_once('e') else { return text };
    format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: [f64; 2], log: bool) -> String {
        let ticks = Axis::of(values.into_iter(), log, 5).ticks;
        ticks.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn numbers_at_an_axis_are_round() {
        assert_eq!(shown([80.0, 120.0], false), "80 90 100 110 120");
        assert_eq!(shown([0.0, 1.0], false), "0.00 0.25 0.50 0.75 1.00");
        assert_eq!(shown([-3.0, 3.0], false), "-2 0 2");
        assert_eq!(shown([1e-3, 1e3], true), "0.001 0.1 10 1000");
        assert_eq!(shown([5e7, 9e7], false), "5e7 6e7 7e7 8e7 9e7");
        assert_eq!(shown([2.0, 2.0], false), "1.0 1.5 2.0 2.5 3.0");
        assert_eq!(shown([f64::NAN, f64::INFINITY], false), "0.00 0.25 0.50 0.75 1.00");
    }

    #[test]
    fn values_stand_between_the_ends() {
        let axis = Axis::of([1.0, 3.0].into_iter(), false, 4);
        assert!((axis.place(2.0) - 0.5).abs() < 1e-12);
        assert!(axis.place(1.0) > 0.0 && axis.place(3.0) < 1.0);
        let words = Axis::of_words(&["cg".into(), "lu".into()]);
        assert_eq!([words.place(0.0), words.place(1.0)], [0.25, 0.75]);
    }
}
