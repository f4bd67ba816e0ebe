//! From rows to what is drawn.

use std::collections::HashMap;

use dagrun_core::table::{Group, Kind, Row, Sheet};

use super::{CURVES, POINTS, Plot, Scale, Wanted, What};
use crate::exit::Failure;

/// Cells of a heat map along an axis at most.
const CELLS: usize = 200;

/// Bins of a density along an axis.
const BINS: usize = 60;

/// The numbers of the rows.
pub(crate) struct Gathered {
    wanted: Wanted,
    x: Numbers,
    by: Option<Numbers>,
    /// The names of the axes: of `y`, `x`, and the other.
    names: [String; 3],
    is_param: bool,
    /// Whether both axes are parameters.
    is_grid: bool,
    /// The other parameters, by which curves differ.
    others: Vec<(usize, String)>,
    /// The first values of the others, and whether they vary.
    varies: Vec<(Option<Vec<u8>>, bool)>,
    rows: Vec<Point>,
    /// What the others are in each group.
    groups: Vec<Vec<Vec<u8>>>,
    known: HashMap<Vec<Vec<u8>>, u32>,
}

#[derive(Clone, Copy)]
struct Point {
    x: f64,
    by: f64,
    y: f64,
    /// `u32::MAX` when there are too many.
    group: u32,
}

/// Numbers of an axis, or words that are numbered as they turn up.
#[derive(Default)]
struct Numbers {
    words: Option<Vec<String>>,
}

impl Numbers {
    fn of(sheet: &Sheet, column: usize) -> Numbers {
        let kind =
            sheet.columns().get(column).map_or(Kind::Missing, dagrun_core::table::Column::kind);
        let is_word = matches!(kind, Kind::Text | Kind::Boolean | Kind::Json);
        Numbers { words: is_word.then(Vec::new) }
    }

    fn get(&mut self, row: &Row, column: usize) -> Option<f64> {
        let Some(words) = &mut self.words else { return row.number(column) };
        let (kind, bytes) = row.get(column);
        if kind == Kind::Missing {
            return None;
        }
        let word = String::from_utf8_lossy(bytes);
        let at = words.iter().position(|known| *known == word).unwrap_or_else(|| {
            words.push(word.into_owned());
            words.len() - 1
        });
        Some(at as f64)
    }
}

impl Gathered {
    /// Of a sheet whose columns and their kinds are known.
    pub(crate) fn new(wanted: Wanted, sheet: &Sheet) -> Gathered {
        let columns = sheet.columns();
        let name = |at: usize| columns.get(at).map_or_else(String::new, |it| it.name.clone());
        let is_axis = |at: usize| at == wanted.x || Some(at) == wanted.by || at == wanted.y;
        let others = sheet.group(Group::Param).filter(|at| !is_axis(*at));
        let others: Vec<_> = others.map(|at| (at, name(at))).collect();
        let is_param = |at: usize| {
            let group = columns.get(at).map(|column| column.group);
            matches!(group, Some(Group::Param | Group::Index))
        };
        Gathered {
            x: numbers_of(sheet, wanted.x),
            by: wanted.by.map(|by| numbers_of(sheet, by)),
            names: [name(wanted.y), name(wanted.x), wanted.by.map(name).unwrap_or_default()],
            is_param: is_param(wanted.x),
            is_grid: is_param(wanted.x) && wanted.by.is_some_and(is_param),
            varies: vec![(None, false); others.len()],
            others,
            rows: Vec::new(),
            groups: Vec::new(),
            known: HashMap::new(),
            wanted,
        }
    }

    /// Takes a row in; one that lacks a number is not drawn.
    pub(crate) fn add(&mut self, row: &Row) {
        let Some(y) = row.number(self.wanted.y).filter(|y| y.is_finite()) else { return };
        let Some(x) = self.x.get(row, self.wanted.x).filter(|x| x.is_finite()) else { return };
        let by = match (&mut self.by, self.wanted.by) {
            (Some(numbers), Some(column)) => numbers.get(row, column),
            _ => Some(0.0),
        };
        let Some(by) = by.filter(|by| by.is_finite()) else { return };
        let group = self.group(row);
        self.rows.push(Point { x, by, y, group });
    }

    fn group(&mut self, row: &Row) -> u32 {
        for ((column, _), (first, varies)) in self.others.iter().zip(&mut self.varies) {
            let bytes = row.get(*column).1;
            match first {
                None => *first = Some(bytes.to_vec()),
                Some(first) => *varies |= first != bytes,
            }
        }
        if self.groups.len() > CURVES {
            return u32::MAX;
        }
        let key: Vec<Vec<u8>> =
            self.others.iter().map(|(column, _)| row.get(*column).1.to_vec()).collect();
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let number = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        self.groups.push(key.clone());
        self.known.insert(key, number);
        number
    }

    /// What is drawn of it.
    pub(crate) fn plot(self) -> Result<Plot, Failure> {
        if self.rows.is_empty() {
            let [y, x, by] = &self.names;
            let over = if by.is_empty() { format!("`{x}`") } else { format!("`{x}` and `{by}`") };
            return Err(Failure::usage(format!("no row has numbers in `{y}` and {over}")));
        }
        let [name, x, by] = self.names.clone();
        let x_words = self.x.words.clone();
        let log = x_words.is_none() && is_spread(self.rows.iter().map(|row| row.x));
        let x = Scale { name: x, words: x_words, log };
        let y = Scale { name: name.clone(), ..Scale::default() };
        let Some(second) = &self.by else {
            let what = self.over_one();
            return Ok(match what {
                What::Points(points, None) if points.len() > POINTS && x.words.is_none() => {
                    density(x, y, &points)
                }
                What::Points(points, None) => {
                    let step = points.len().div_ceil(4 * POINTS).max(1);
                    let points = points.into_iter().step_by(step).collect();
                    Plot { x, y, what: What::Points(points, None) }
                }
                what => Plot { x, y, what },
            });
        };
        if let Some(words) = &second.words
            && words.len() <= CURVES
            && x.words.is_none()
        {
            let curves = words.iter().enumerate().map(|(at, word)| {
                let of = self.rows.iter().filter(|row| row.by as usize == at);
                (format!("{by}={word}"), curve(of))
            });
            return Ok(Plot { x, y, what: What::Curves(curves.collect()) });
        }
        let by_log = second.words.is_none() && is_spread(self.rows.iter().map(|row| row.by));
        let y = Scale { name: by, words: second.words.clone(), log: by_log };
        Ok(match self.cells(&name) {
            Some(what) => Plot { x, y, what },
            None => {
                let points = self.rows.iter().map(|row| (row.x, row.by, row.y));
                let points = points.take(20 * POINTS).collect();
                Plot { x, y, what: What::Points(points, Some(name)) }
            }
        })
    }

    /// Curves where `x` is a parameter and they are few, else points.
    fn over_one(&self) -> What {
        let points = || {
            let all = self.rows.iter().map(|row| (row.x, row.y, 0.0));
            What::Points(all.collect(), None)
        };
        if !self.is_param || self.x.words.is_some() || self.groups.len() > CURVES {
            return points();
        }
        let curves = (0..).zip(&self.groups).map(|(number, key)| {
            let of = self.rows.iter().filter(|row| row.group == number);
            let differs = self.others.iter().zip(&self.varies).zip(key);
            let differs = differs.filter(|((_, (_, varies)), _)| *varies);
            let name = differs.map(|(((_, name), _), value)| {
                format!("{name}={}", String::from_utf8_lossy(value))
            });
            (name.collect::<Vec<_>>().join(" "), curve(of))
        });
        What::Curves(curves.collect())
    }

    /// A heat map, when the rows of a grid fill at least a quarter of one, others all of it.
    fn cells(&self, of: &str) -> Option<What> {
        let xs = distinct(self.rows.iter().map(|row| row.x));
        let ys = distinct(self.rows.iter().map(|row| row.by));
        // Measured values are rarely equal: their places in order say nothing.
        let least = if self.is_grid { 4 } else { 1 };
        if xs.len().checked_mul(ys.len())? > least * self.rows.len() {
            return None;
        }
        let (across, along) = (xs.len().div_ceil(CELLS), ys.len().div_ceil(CELLS));
        let (xs, x_of) = thinned(xs, across);
        let (ys, y_of) = thinned(ys, along);
        let mut sums = vec![(0.0, 0u32); xs.len() * ys.len()];
        for row in &self.rows {
            let at = y_of(row.by) * xs.len() + x_of(row.x);
            if let Some((sum, count)) = sums.get_mut(at) {
                *sum += row.y;
                *count += 1;
            }
        }
        let cells = sums.into_iter().map(|(sum, n)| (n > 0).then(|| sum / f64::from(n))).collect();
        Some(What::Cells { xs, ys, cells, of: of.to_owned() })
    }
}

fn numbers_of(sheet: &Sheet, column: usize) -> Numbers {
    Numbers::of(sheet, column)
}

/// The points of a curve from left to right; of those above each other the mean.
fn curve<'a>(points: impl Iterator<Item = &'a Point>) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = points.map(|point| (point.x, point.y)).collect();
    points.sort_by(|one, two| one.0.total_cmp(&two.0));
    let mut means: Vec<(f64, f64)> = Vec::new();
    for above in points.chunk_by(|one, two| one.0 == two.0) {
        let sum: f64 = above.iter().map(|(_, y)| y).sum();
        if let Some((x, _)) = above.first() {
            means.push((*x, sum / above.len() as f64));
        }
    }
    means
}

fn distinct(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

/// Each `step`-th value, and to which of them a value belongs.
fn thinned(values: Vec<f64>, step: usize) -> (Vec<f64>, impl Fn(f64) -> usize) {
    let kept = values.iter().copied().step_by(step).collect();
    let of = move |value: f64| values.partition_point(|known| *known < value) / step;
    (kept, of)
}

/// Whether positive numbers are seen better by their powers of ten.
fn is_spread(values: impl Iterator<Item = f64>) -> bool {
    let values = distinct(values);
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return false };
    let middle = values.get(values.len() / 2).copied().unwrap_or(0.0);
    values.len() >= 4
        && *first > 0.0
        && last / first >= 100.0
        && middle - first < 0.1 * (last - first)
}

/// How many points there are where.
fn density(x: Scale, y: Scale, points: &[(f64, f64, f64)]) -> Plot {
    let ends = |values: &dyn Fn(&(f64, f64, f64)) -> f64| {
        let values = points.iter().map(values);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (x_low, x_high) = ends(&|point| point.0);
    let (y_low, y_high) = ends(&|point| point.1);
    let bin = |value: f64, low: f64, high: f64| {
        let part = if high > low { (value - low) / (high - low) } else { 0.5 };
        ((part * BINS as f64) as usize).min(BINS - 1)
    };
    let mut counts = vec![0u32; BINS * BINS];
    for (px, py, _) in points {
        if let Some(count) =
            counts.get_mut(bin(*py, y_low, y_high) * BINS + bin(*px, x_low, x_high))
        {
            *count += 1;
        }
    }
    let middles = |low: f64, high: f64| {
        let width = (high - low) / BINS as f64;
        (0..BINS).map(|at| low + (at as f64 + 0.5) * width).collect::<Vec<f64>>()
    };
    let cells = counts.into_iter().map(|count| (count > 0).then_some(f64::from(count))).collect();
    let (xs, ys) = (middles(x_low, x_high), middles(y_low, y_high));
    let (x, y) = (Scale { log: false, words: None, ..x }, Scale { words: None, ..y });
    Plot { x, y, what: What::Cells { xs, ys, cells, of: "rows".to_owned() } }
}
