//! The picture of a plot, whatever it is drawn on: sizes, colours, where everything stands.

use super::axis::{Axis, short};
use super::{Plot, Scale, What};

/// Width and height in units.
pub(super) const SIZE: (f64, f64) = (820.0, 520.0);

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

/// Text and axes.
pub(super) const INK: Colour = [38, 42, 51];
/// Lines behind the data.
pub(super) const FAINT: Colour = [226, 229, 234];

/// Colours that can be told apart, also by those who see few (Okabe and Ito).
pub(super) const DISTINCT: [Colour; 9] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
    [110, 110, 110],
    [0, 0, 0],
    [150, 80, 20],
];

/// From low to high, equally far apart for the eye (viridis).
const RAMP: [Colour; 10] = [
    [68, 1, 84],
    [72, 40, 120],
    [62, 74, 137],
    [49, 104, 142],
    [38, 130, 142],
    [31, 158, 137],
    [53, 183, 121],
    [109, 205, 89],
    [180, 222, 44],
    [253, 231, 37],
];

/// The colour of a number between 0 and 1.
pub(super) fn ramp(value: f64) -> Colour {
    let steps = RAMP.len() - 1;
    let place = value.clamp(0.0, 1.0) * steps as f64;
    let low = (place as usize).min(steps - 1);
    let part = place - low as f64;
    let (from, to) = (RAMP[low], RAMP[low + 1]);
    let mix = |at: usize| (f64::from(from[at]) * (1.0 - part) + f64::from(to[at]) * part) as u8;
    [mix(0), mix(1), mix(2)]
}

/// Where a text stands beside its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Left,
    Middle,
    Right,
    /// In the middle, from below upwards.
    Up,
}

/// What is drawn on. Units go right and down.
pub(super) trait Canvas {
    fn line(&mut self, points: &[(f64, f64)], width: f64, colour: Colour);
    fn rectangle(&mut self, corner: (f64, f64), size: (f64, f64), colour: Colour);
    fn dot(&mut self, at: (f64, f64), radius: f64, colour: Colour);
    /// Its middle is at the height of its place.
    fn text(&mut self, at: (f64, f64), text: &str, size: f64, anchor: Anchor);
}

/// The part of the picture that the axes enclose.
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Frame {
    fn x(&self, place: f64) -> f64 {
        self.left + place * self.width
    }

    fn y(&self, place: f64) -> f64 {
        self.top + (1.0 - place) * self.height
    }
}

/// Draws a plot.
pub(super) fn draw(plot: &Plot, on: &mut dyn Canvas) {
    let has_side = match &plot.what {
        What::Curves(curves) => curves.len() > 1,
        What::Points(_, colour) => colour.is_some(),
        What::Cells { .. } => true,
    };
    let right = if has_side { 170.0 } else { 24.0 };
    let (left, top) = (86.0, 26.0);
    let frame = Frame { left, top, width: SIZE.0 - left - right, height: SIZE.1 - top - 66.0 };
    match &plot.what {
        What::Curves(curves) => draw_curves(plot, curves, &frame, on),
        What::Points(points, of) => draw_points(plot, points, of.as_deref(), &frame, on),
        What::Cells { xs, ys, cells, of } => {
            draw_cells(plot, (xs, ys), cells, of, &frame, on);
        }
    }
}

/// The axis of values.
pub(super) fn axis(scale: &Scale, values: impl Iterator<Item = f64>, about: usize) -> Axis {
    match &scale.words {
        Some(words) => Axis::of_words(words),
        None => Axis::of(values, scale.log, about),
    }
}

fn draw_frame(plot: &Plot, x: &Axis, y: &Axis, frame: &Frame, on: &mut dyn Canvas) {
    let (right, bottom) = (frame.x(1.0), frame.y(0.0));
    for (value, text) in &x.ticks {
        let at = frame.x(x.place(*value));
        on.line(&[(at, frame.top), (at, bottom)], 1.0, FAINT);
        on.text((at, bottom + 16.0), &cut(text, 12), 13.0, Anchor::Middle);
    }
    for (value, text) in &y.ticks {
        let at = frame.y(y.place(*value));
        on.line(&[(frame.left, at), (right, at)], 1.0, FAINT);
        on.text((frame.left - 8.0, at), &cut(text, 9), 13.0, Anchor::Right);
    }
    name_axes(plot, frame, on);
    let corner = (frame.left, frame.top);
    let around = [corner, (frame.left, bottom), (right, bottom), (right, frame.top), corner];
    on.line(&around, 1.2, INK);
}

fn name_axes(plot: &Plot, frame: &Frame, on: &mut dyn Canvas) {
    let (middle, bottom) = (frame.x(0.5), frame.y(0.0));
    on.text((middle, bottom + 44.0), &cut(&plot.x.name, 60), 15.0, Anchor::Middle);
    on.text((18.0, frame.y(0.5)), &cut(&plot.y.name, 40), 15.0, Anchor::Up);
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or("")),
        None => text.to_owned(),
    }
}

fn draw_curves(
    plot: &Plot,
    curves: &[(String, Vec<(f64, f64)>)],
    frame: &Frame,
    on: &mut dyn Canvas,
) {
    let all = || curves.iter().flat_map(|(_, points)| points);
    let x = axis(&plot.x, all().map(|point| point.0), 8);
    let y = axis(&plot.y, all().map(|point| point.1), 6);
    draw_frame(plot, &x, &y, frame, on);
    for ((name, points), (number, colour)) in curves.iter().zip((0..).zip(DISTINCT)) {
        let place = |(at, value): &(f64, f64)| (frame.x(x.place(*at)), frame.y(y.place(*value)));
        let points: Vec<(f64, f64)> = points.iter().map(place).collect();
        on.line(&points, 2.0, colour);
        if points.len() <= 60 {
            points.iter().for_each(|point| on.dot(*point, 3.0, colour));
        }
        if curves.len() > 1 {
            let height = frame.top + 12.0 + 22.0 * f64::from(number);
            let left = frame.x(1.0) + 14.0;
            on.line(&[(left, height), (left + 20.0, height)], 2.5, colour);
            on.text((left + 26.0, height), &cut(name, 17), 13.0, Anchor::Left);
        }
    }
}

fn draw_points(
    plot: &Plot,
    points: &[(f64, f64, f64)],
    of: Option<&str>,
    frame: &Frame,
    on: &mut dyn Canvas,
) {
    let x = axis(&plot.x, points.iter().map(|point| point.0), 8);
    let y = axis(&plot.y, points.iter().map(|point| point.1), 6);
    draw_frame(plot, &x, &y, frame, on);
    let (low, high) = ends(points.iter().map(|point| point.2));
    let radius = if points.len() > 1000 { 2.0 } else { 3.2 };
    for (at, value, shade) in points {
        let colour = if of.is_some() { ramp(part(*shade, low, high)) } else { DISTINCT[0] };
        on.dot((frame.x(x.place(*at)), frame.y(y.place(*value))), radius, colour);
    }
    if let Some(of) = of {
        draw_ramp(low, high, of, frame, on);
    }
}

fn draw_cells(
    plot: &Plot,
    (xs, ys): (&[f64], &[f64]),
    cells: &[Option<f64>],
    of: &str,
    frame: &Frame,
    on: &mut dyn Canvas,
) {
    let (low, high) = ends(cells.iter().flatten().copied());
    let size = (frame.width / xs.len() as f64, frame.height / ys.len() as f64);
    for (row, line) in cells.chunks(xs.len().max(1)).enumerate() {
        for (column, cell) in line.iter().enumerate() {
            let Some(value) = cell else { continue };
            let left = frame.left + column as f64 * size.0;
            let top = frame.top + frame.height - (row + 1) as f64 * size.1;
            // A little larger, so that no light shines between them.
            let size = (size.0 + 0.3, size.1 + 0.3);
            on.rectangle((left, top), size, ramp(part(*value, low, high)));
        }
    }
    for (at, text) in labels(&plot.x, xs, 9) {
        let middle = frame.left + (at as f64 + 0.5) * size.0;
        on.line(&[(middle, frame.y(0.0)), (middle, frame.y(0.0) + 5.0)], 1.0, INK);
        on.text((middle, frame.y(0.0) + 16.0), &cut(&text, 12), 13.0, Anchor::Middle);
    }
    for (at, text) in labels(&plot.y, ys, 10) {
        let middle = frame.y(0.0) - (at as f64 + 0.5) * size.1;
        on.line(&[(frame.left - 5.0, middle), (frame.left, middle)], 1.0, INK);
        on.text((frame.left - 8.0, middle), &cut(&text, 9), 13.0, Anchor::Right);
    }
    name_axes(plot, frame, on);
    draw_ramp(low, high, of, frame, on);
}

/// What stands at the cells of an axis, at most so many.
pub(super) fn labels(scale: &Scale, values: &[f64], most: usize) -> Vec<(usize, String)> {
    let text = |value: f64| match &scale.words {
        Some(words) => words.get(value as usize).cloned().unwrap_or_default(),
        None => short(value),
    };
    let step = values.len().div_ceil(most).max(1);
    let values = values.iter().enumerate().step_by(step);
    values.map(|(at, value)| (at, text(*value))).collect()
}

/// What the colours are.
fn draw_ramp(low: f64, high: f64, of: &str, frame: &Frame, on: &mut dyn Canvas) {
    let left = frame.x(1.0) + 24.0;
    let (top, height, steps) = (frame.top + 24.0, frame.height * 0.6, 60);
    on.text((left, frame.top + 6.0), &cut(of, 17), 13.0, Anchor::Left);
    for step in 0..steps {
        let place = f64::from(step) / f64::from(steps - 1);
        let at = top + (1.0 - place) * (height - height / f64::from(steps));
        on.rectangle((left, at), (18.0, height / f64::from(steps) + 0.5), ramp(place));
    }
    for place in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let at = top + (1.0 - place) * height;
        on.text((left + 25.0, at), &short(low + (high - low) * place), 13.0, Anchor::Left);
    }
}

/// The least and the largest.
pub(super) fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let ends = (f64::INFINITY, f64::NEG_INFINITY);
    let (low, high) = values.fold(ends, |(low, high), value| (low.min(value), high.max(value)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

/// Where a value stands between two.
pub(super) fn part(value: f64, low: f64, high: f64) -> f64 {
    if high > low { (value - low) / (high - low) } else { 0.5 }
}
