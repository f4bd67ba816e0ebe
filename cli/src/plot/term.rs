//! Plots as lines of text.

use super::axis::{Axis, short};
use super::picture::{self, DISTINCT, axis, ends, part, ramp};
use super::{Plot, What};
use crate::terminal::{self, Terminal};

/// Lines of a picture.
const HEIGHT: usize = 20;

/// Marks of curves and points where there are no colours.
const MARKS: [char; 9] = ['•', '+', 'x', 'o', '*', '#', '@', '%', '&'];

/// From low to high, where there are no colours.
const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];

/// The lines of a plot.
pub(super) fn lines(plot: &Plot) -> Vec<String> {
    drawn(plot, crate::terminal::width().clamp(40, 110), Terminal::stdout().color)
}

fn drawn(plot: &Plot, width: usize, colour: bool) -> Vec<String> {
    match &plot.what {
        What::Curves(curves) => draw_curves(plot, curves, width, colour),
        What::Points(points, of) => draw_points(plot, points, of.as_deref(), width, colour),
        What::Cells { xs, ys, cells, of } => draw_cells(plot, (xs, ys), cells, of, width, colour),
    }
}

/// Characters in a frame, each with a colour of its own.
struct Grid {
    width: usize,
    cells: Vec<(char, Option<[u8; 3]>)>,
}

impl Grid {
    fn new(width: usize, height: usize) -> Grid {
        Grid { width, cells: vec![(' ', None); width * height] }
    }

    fn set(&mut self, (column, row): (usize, usize), mark: char, colour: Option<[u8; 3]>) {
        if column < self.width
            && let Some(cell) = self.cells.get_mut(row * self.width + column)
        {
            *cell = (mark, colour);
        }
    }

    fn rows(&self) -> impl Iterator<Item = String> + '_ {
        self.cells.chunks(self.width.max(1)).map(|row| {
            let mut text = String::new();
            for (mark, colour) in row {
                match colour {
                    Some([red, green, blue]) => {
                        text.push_str(&format!("\x1b[38;2;{red};{green};{blue}m{mark}\x1b[0m"));
                    }
                    None => text.push(*mark),
                }
            }
            text.trim_end().to_owned()
        })
    }
}

/// Dots of which each character has two across and four along.
struct Dots {
    width: usize,
    height: usize,
    bits: Vec<(u8, usize)>,
}

impl Dots {
    fn new(width: usize, height: usize) -> Dots {
        Dots { width, height, bits: vec![(0, 0); width * height] }
    }

    fn set(&mut self, x: usize, y: usize, series: usize) {
        const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        if x / 2 < self.width && y / 4 < self.height {
            let (bits, owner) = &mut self.bits[y / 4 * self.width + x / 2];
            *bits |= BITS[y % 4][x % 2];
            *owner = series;
        }
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), series: usize) {
        let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).ceil().max(1.0);
        for step in 0..=steps as usize {
            let part = step as f64 / steps;
            let x = from.0 + (to.0 - from.0) * part;
            let y = from.1 + (to.1 - from.1) * part;
            self.set(x.round().max(0.0) as usize, y.round().max(0.0) as usize, series);
        }
    }
}

fn draw_curves(
    plot: &Plot,
    curves: &[(String, Vec<(f64, f64)>)],
    width: usize,
    colour: bool,
) -> Vec<String> {
    let all = || curves.iter().flat_map(|(_, points)| points);
    let x = axis(&plot.x, all().map(|point| point.0), 6);
    let y = axis(&plot.y, all().map(|point| point.1), 5);
    let margin = margin(&y);
    let inner = width - margin;
    let mut grid = Grid::new(inner, HEIGHT);
    if colour || curves.len() == 1 {
        let mut dots = Dots::new(inner, HEIGHT);
        let (across, along) = ((inner * 2 - 1) as f64, (HEIGHT * 4 - 1) as f64);
        for (series, (_, points)) in curves.iter().enumerate() {
            let place =
                |(at, to): &(f64, f64)| (x.place(*at) * across, (1.0 - y.place(*to)) * along);
            let points: Vec<(f64, f64)> = points.iter().map(place).collect();
            if let [only] = points.as_slice() {
                dots.line(*only, *only, series);
            }
            for pair in points.windows(2) {
                dots.line(pair[0], pair[1], series);
            }
        }
        for (at, (bits, series)) in dots.bits.iter().enumerate().filter(|(_, (bits, _))| *bits > 0)
        {
            let mark = char::from_u32(0x2800 + u32::from(*bits)).unwrap_or('.');
            let paint = colour.then(|| DISTINCT[series % DISTINCT.len()]);
            grid.set((at % inner, at / inner), mark, paint);
        }
    } else {
        for ((_, points), mark) in curves.iter().zip(MARKS) {
            for (at, to) in points {
                let column = (x.place(*at) * (inner - 1) as f64).round() as usize;
                let row = ((1.0 - y.place(*to)) * (HEIGHT - 1) as f64).round() as usize;
                grid.set((column, row), mark, None);
            }
        }
    }
    let mut lines = framed(plot, &grid, &x, &y, margin);
    if curves.len() > 1 {
        let names = curves.iter().enumerate().map(|(series, (name, _))| {
            let name = terminal::plain(name);
            match colour {
                true => {
                    let [r, g, b] = DISTINCT[series % DISTINCT.len()];
                    format!("\x1b[38;2;{r};{g};{b}m━\x1b[0m {name}")
                }
                false => format!("{} {name}", MARKS[series % MARKS.len()]),
            }
        });
        lines.push(format!(
            "{}{}",
            " ".repeat(margin.saturating_sub(1)),
            names.collect::<Vec<_>>().join("   ")
        ));
    }
    lines
}

fn draw_points(
    plot: &Plot,
    points: &[(f64, f64, f64)],
    of: Option<&str>,
    width: usize,
    colour: bool,
) -> Vec<String> {
    let x = axis(&plot.x, points.iter().map(|point| point.0), 6);
    let y = axis(&plot.y, points.iter().map(|point| point.1), 5);
    let margin = margin(&y);
    let inner = width - margin;
    let (low, high) = ends(points.iter().map(|point| point.2));
    let mut grid = Grid::new(inner, HEIGHT);
    for (at, to, shade) in points {
        let column = (x.place(*at) * (inner - 1) as f64).round() as usize;
        let row = ((1.0 - y.place(*to)) * (HEIGHT - 1) as f64).round() as usize;
        let place = part(*shade, low, high);
        let (mark, paint) = match (of.is_some(), colour) {
            (true, true) => ('●', Some(ramp(place))),
            (true, false) => (SHADES[shade_of(place)], None),
            (false, true) => ('●', Some(DISTINCT[0])),
            (false, false) => (MARKS[0], None),
        };
        grid.set((column, row), mark, paint);
    }
    let mut lines = framed(plot, &grid, &x, &y, margin);
    if let Some(of) = of {
        lines.push(legend(of, low, high, margin, colour));
    }
    lines
}

fn draw_cells(
    plot: &Plot,
    (xs, ys): (&[f64], &[f64]),
    cells: &[Option<f64>],
    of: &str,
    width: usize,
    colour: bool,
) -> Vec<String> {
    let (low, high) = ends(cells.iter().flatten().copied());
    let names: Vec<String> =
        picture::labels(&plot.y, ys, ys.len().max(1)).into_iter().map(|(_, text)| text).collect();
    let margin = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(12) + 2;
    let inner = width - margin;
    // So many cells become one, or so many characters show one.
    let (join_x, join_y) = (xs.len().div_ceil(inner), ys.len().div_ceil(HEIGHT + 4));
    let columns = xs.len().div_ceil(join_x);
    let wide = (inner / columns).clamp(1, 6);
    let mut lines = vec![terminal::plain(&plot.y.name)];
    for row in (0..ys.len().div_ceil(join_y)).rev() {
        let mut grid = Grid::new(columns * wide, 1);
        for column in 0..columns {
            let inside = (row * join_y..((row + 1) * join_y).min(ys.len())).flat_map(|y| {
                let from = y * xs.len() + column * join_x;
                let to = (from + join_x).min((y + 1) * xs.len());
                cells.get(from..to).unwrap_or_default().iter().flatten().copied()
            });
            let (sum, count) = inside.fold((0.0, 0u32), |(sum, n), value| (sum + value, n + 1));
            if count == 0 {
                continue;
            }
            let place = part(sum / f64::from(count), low, high);
            for at in 0..wide {
                let at = (column * wide + at, 0);
                match colour {
                    true => grid.set(at, '█', Some(ramp(place))),
                    false => grid.set(at, SHADES[shade_of(place)], None),
                }
            }
        }
        let name: String =
            names.get(row * join_y).map_or("", String::as_str).chars().take(12).collect();
        let line = grid.rows().next().unwrap_or_default();
        lines.push(format!("{name:>at$} {line}", at = margin - 2));
    }
    let kept: Vec<f64> = xs.iter().copied().step_by(join_x).collect();
    let most = (columns * wide / 9).max(1);
    let mut below = String::new();
    for (at, text) in picture::labels(&plot.x, &kept, most) {
        let column = margin - 1 + at * wide;
        if below.chars().count() <= column {
            below.push_str(&" ".repeat(column - below.chars().count()));
            below.push_str(&text);
            below.push(' ');
        }
    }
    lines.push(below.trim_end().to_owned());
    let name = terminal::plain(&plot.x.name);
    let before = margin + (columns * wide).saturating_sub(name.chars().count()) / 2;
    lines.push(format!("{}{name}", " ".repeat(before)));
    lines.push(legend(of, low, high, margin, colour));
    lines
}

/// Which shade a part is.
fn shade_of(place: f64) -> usize {
    ((place * SHADES.len() as f64) as usize).min(SHADES.len() - 1)
}

fn legend(of: &str, low: f64, high: f64, margin: usize, colour: bool) -> String {
    let blocks: String = match colour {
        true => (0..20)
            .map(|at| {
                let [r, g, b] = ramp(f64::from(at) / 19.0);
                format!("\x1b[38;2;{r};{g};{b}m█\x1b[0m")
            })
            .collect(),
        false => SHADES.iter().flat_map(|shade| [*shade, *shade]).collect(),
    };
    let before = " ".repeat(margin.saturating_sub(1));
    format!("{before}{}: {} {blocks} {}", terminal::plain(of), short(low), short(high))
}

/// Columns that the numbers of an axis need.
fn margin(y: &Axis) -> usize {
    y.ticks.iter().map(|(_, text)| text.chars().count()).max().unwrap_or(0).min(12) + 2
}

/// The grid with its axes and their names.
fn framed(plot: &Plot, grid: &Grid, x: &Axis, y: &Axis, margin: usize) -> Vec<String> {
    let mut lines = vec![terminal::plain(&plot.y.name)];
    let mut names = vec![String::new(); HEIGHT];
    for (value, text) in &y.ticks {
        let row = ((1.0 - y.place(*value)) * (HEIGHT - 1) as f64).round() as usize;
        if let Some(name) = names.get_mut(row) {
            *name = text.chars().take(12).collect();
        }
    }
    for (name, row) in names.iter().zip(grid.rows()) {
        let edge = if name.is_empty() { '│' } else { '┤' };
        lines.push(format!("{name:>at$} {edge}{row}", at = margin - 2).trim_end().to_owned());
    }
    let inner = grid.width;
    let (mut edge, mut below) = (vec!['─'; inner], String::new());
    for (value, text) in &x.ticks {
        let column = (x.place(*value) * (inner - 1) as f64).round() as usize;
        if let Some(edge) = edge.get_mut(column) {
            *edge = '┬';
        }
        let text: String = text.chars().take(12).collect();
        let start = (margin + column).saturating_sub(text.chars().count() / 2);
        let used = below.chars().count();
        if used < start || used == 0 {
            below.push_str(&" ".repeat(start.saturating_sub(used)));
            below.push_str(&text);
        }
    }
    lines.push(format!("{}└{}", " ".repeat(margin - 1), edge.into_iter().collect::<String>()));
    lines.push(below);
    let name = terminal::plain(&plot.x.name);
    let before = margin + inner.saturating_sub(name.chars().count()) / 2;
    lines.push(format!("{}{name}", " ".repeat(before)));
    lines
}
