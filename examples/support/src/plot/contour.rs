//! Filled contours of values on a grid, with the colour bar that explains them. Between the points
//! of the grid the values are interpolated.

use plotters::element::{PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, FontTransform};

use super::{Area, Axes, FAINT, INK, PlotError, font, number, px, ramp, text};

/// The colour bar and its numbers, in units.
const BAR_WIDTH: f64 = 14.0;
const BAR_SPACE: f64 = 86.0;
/// What [`Axes`] leaves free above and below the data.
const ABOVE: f64 = 28.0;
const BELOW: f64 = 54.0;

/// Values at the points of an even grid: `values[row][column]`, the first row at the lowest `y`.
#[derive(Clone, Debug)]
pub struct Grid {
    /// The values; all rows have the same length.
    pub values: Vec<Vec<f64>>,
}

impl Grid {
    /// The value between the points: `x` and `y` go from 0 at the first point to 1 at the last.
    pub fn at(&self, x: f64, y: f64) -> f64 {
        let (row, up) = between(y, self.values.len());
        let (column, right) = between(x, self.values[row].len());
        let value = |row: usize, column: usize| {
            let row = &self.values[row.min(self.values.len() - 1)];
            row[column.min(row.len() - 1)]
        };
        let along = |row| value(row, column) * (1.0 - right) + value(row, column + 1) * right;
        along(row) * (1.0 - up) + along(row + 1) * up
    }

    fn range(&self) -> (f64, f64) {
        let values = self.values.iter().flatten();
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| {
            (low.min(value), high.max(value))
        })
    }
}

/// The interval of `points` points that a place from 0 to 1 falls into, and where in it.
fn between(place: f64, points: usize) -> (usize, f64) {
    let place = place.clamp(0.0, 1.0) * (points - 1) as f64;
    let low = (place as usize).min(points.saturating_sub(2));
    (low, place - low as f64)
}

/// Bands of equal height with round limits.
#[derive(Clone, Debug, PartialEq)]
struct Bands {
    low: f64,
    step: f64,
    count: usize,
}

impl Bands {
    /// About ten bands from `low` to `high`.
    fn over(low: f64, high: f64) -> Bands {
        let rough = ((high - low) / 10.0).max(high.abs() * 1e-6).max(1e-9);
        let magnitude = 10f64.powf(rough.log10().floor());
        let factor =
            [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|by| by * magnitude >= rough * 0.99);
        let step = factor.unwrap_or(10.0) * magnitude;
        let first = (low / step + 1e-9).floor();
        let last = (high / step - 1e-9).ceil();
        Bands { low: first * step, step, count: ((last - first) as usize).max(1) }
    }

    fn of(&self, value: f64) -> usize {
        (((value - self.low) / self.step).max(0.0) as usize).min(self.count - 1)
    }

    fn colour(&self, band: usize) -> plotters::style::RGBColor {
        ramp((band as f64 + 0.5) / self.count as f64)
    }

    /// Digits after the point by which the limits differ.
    fn digits(&self) -> usize {
        (0..6)
            .find(|&digits| {
                let scaled = self.step * 10f64.powi(digits);
                (scaled - scaled.round()).abs() < 1e-9 * scaled
            })
            .unwrap_or(6) as usize
    }
}

/// A panel with filled contours and a colour bar.
#[derive(Debug)]
pub struct Contours<'a> {
    /// The axes; their ends are the first and the last points of the grid.
    pub axes: Axes<'a>,
    /// What is shown.
    pub grid: &'a Grid,
    /// What the colours mean, with the unit.
    pub unit: &'a str,
}

impl Contours<'_> {
    /// Draws the panel.
    ///
    /// # Errors
    ///
    /// When it cannot be drawn.
    pub fn draw(&self, area: &Area<'_>) -> Result<(), PlotError> {
        let (low, high) = self.grid.range();
        let bands = Bands::over(low, high);
        let (width, height) = area.dim_in_pixel();
        let (left, right) = area.split_horizontally(width as i32 - px(BAR_SPACE));
        let chart = self.axes.draw(&left)?;
        self.fill(&chart.plotting_area().strip_coord_spec(), &bands)?;
        self.bar(&right, height as i32, &bands)
    }

    /// Colours the pixels row by row, those of one band next to each other at once.
    fn fill(&self, area: &Area<'_>, bands: &Bands) -> Result<(), PlotError> {
        let (width, height) = area.dim_in_pixel();
        let (width, height) = (width as i32, height as i32);
        for y in 0..height {
            let up = 1.0 - (f64::from(y) + 0.5) / f64::from(height);
            let band = |x: i32| bands.of(self.grid.at((f64::from(x) + 0.5) / f64::from(width), up));
            let (mut from, mut current) = (0, band(0));
            for x in 1..=width {
                let next = if x < width { band(x) } else { usize::MAX };
                if next != current {
                    let colour = bands.colour(current).filled();
                    area.draw(&Rectangle::new([(from, y), (x, y + 1)], colour))?;
                    (from, current) = (x, next);
                }
            }
        }
        Ok(())
    }

    fn bar(&self, area: &Area<'_>, height: i32, bands: &Bands) -> Result<(), PlotError> {
        let (top, bottom) = (px(ABOVE), height - px(BELOW));
        let at = |limit: usize| {
            bottom - ((bottom - top) as f64 * limit as f64 / bands.count as f64).round() as i32
        };
        let numbers = font(12.5, INK, HPos::Left, VPos::Center);
        let every = if bands.count > 12 { 2 } else { 1 };
        for band in 0..bands.count {
            let corners = [(0, at(band + 1)), (px(BAR_WIDTH), at(band))];
            area.draw(&Rectangle::new(corners, bands.colour(band).filled()))?;
        }
        for limit in (0..=bands.count).step_by(every) {
            let tick = [(px(BAR_WIDTH), at(limit)), (px(BAR_WIDTH + 4.0), at(limit))];
            area.draw(&PathElement::new(tick, FAINT.stroke_width(3)))?;
            let value = number(bands.low + limit as f64 * bands.step, bands.digits());
            let place = (BAR_WIDTH + 7.0, f64::from(at(limit)) / f64::from(px(1.0)));
            text(area, &value, place, &numbers)?;
        }
        let outline = FAINT.stroke_width(3);
        area.draw(&Rectangle::new([(0, top), (px(BAR_WIDTH), bottom)], outline))?;
        let style = font(13.5, INK, HPos::Center, VPos::Center).transform(FontTransform::Rotate270);
        let middle = f64::from(top + bottom) / 2.0 / f64::from(px(1.0));
        text(area, self.unit, (BAR_WIDTH + 48.0, middle), &style)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_interpolated_between_the_points() {
        let grid = Grid { values: vec![vec![0.0, 1.0, 2.0], vec![10.0, 11.0, 12.0]] };
        assert_eq!([grid.at(0.0, 0.0), grid.at(1.0, 1.0), grid.at(0.25, 0.5)], [0.0, 12.0, 5.5]);
        assert_eq!(grid.range(), (0.0, 12.0));
    }

    #[test]
    fn bands_have_round_limits_and_cover_all_values() {
        let bands = Bands::over(2.13, 24.7);
        assert_eq!(bands, Bands { low: 0.0, step: 2.5, count: 10 });
        assert_eq!([bands.of(2.13), bands.of(24.7), bands.of(25.0)], [0, 9, 9]);
        assert_eq!(bands.digits(), 1);
        assert_eq!(Bands::over(0.0, 10.0), Bands { low: 0.0, step: 1.0, count: 10 });
    }

    #[test]
    fn equal_values_are_one_band() {
        assert_eq!(Bands::over(5.0, 5.0).of(5.0), 0);
        assert_eq!(Bands::over(0.0, 0.0).count, 1);
    }
}
