//! Each block's estimate as a point, with the true value and the band that 95 % should fall into.

use std::collections::BTreeSet;
use std::f64::consts::PI;
use std::path::Path;

use dagrun_example_support::plot::{
    self, Axes, DISTINCT, FAINT, INK, PlotError, font, grouped, px,
};
use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use crate::Hits;

/// Draws the blocks' estimates in the order of the blocks, each in the colour of its place.
pub(crate) fn draw(path: &Path, hits: &[Hits], total: &Hits) -> Result<(), PlotError> {
    let each = total.samples as f64 / hits.len() as f64;
    let sigma = (PI * (4.0 - PI) / each).sqrt();
    let outside = hits.iter().filter(|hits| (hits.estimate() - PI).abs() > 2.0 * sigma).count();
    let title = format!("π from {} random points", grouped(total.samples));
    let below = format!(
        "{:.6} ± {:.6}; {outside} of {} blocks outside of ±2 σ ({:.1} expected); a colour for each slot",
        total.estimate(),
        total.error(),
        hits.len(),
        0.0455 * hits.len() as f64
    );
    plot::save(path, (820, 520), |area| {
        let area = plot::titled(area, &title, &below)?;
        panel(&area, hits, sigma)
    })
}

fn panel(area: &plot::Area<'_>, hits: &[Hits], sigma: f64) -> Result<(), PlotError> {
    let furthest = hits.iter().map(|hits| (hits.estimate() - PI).abs()).fold(3.0 * sigma, f64::max);
    let last = hits.len() as f64;
    // The names of the lines stand to the right of all points.
    let end = last * 1.1 + 1.0;
    let axes = Axes {
        title: "",
        x: 0.0..end,
        y: PI - furthest * 1.08..PI + furthest * 1.08,
        x_label: "block",
        y_label: Some("estimate of π"),
        digits: (0, digits(sigma)),
        labels: (10, 8),
    };
    let mut chart = axes.draw(area)?;
    let band = [(0.0, PI - 2.0 * sigma), (end, PI + 2.0 * sigma)];
    chart.draw_series([Rectangle::new(band, DISTINCT[0].mix(0.07).filled())])?;
    for (sigmas, width) in [(-2.0, 3), (0.0, 5), (2.0, 3)] {
        let value = PI + sigmas * sigma;
        let colour = if sigmas == 0.0 { INK } else { FAINT };
        let line = [(0.0, value), (end, value)];
        chart.draw_series([PathElement::new(line.to_vec(), colour.stroke_width(width))])?;
    }
    let places: BTreeSet<&str> = hits.iter().map(|hits| hits.place.as_str()).collect();
    let places: Vec<&str> = places.into_iter().collect();
    chart.draw_series(hits.iter().enumerate().map(|(at, hits)| {
        let place = places.iter().position(|place| *place == hits.place).unwrap_or(0);
        let colour = DISTINCT[place % DISTINCT.len()].mix(0.85).filled();
        Circle::new((at as f64 + 1.0, hits.estimate()), px(4.0), colour)
    }))?;
    let names = font(13.5, FAINT, HPos::Right, VPos::Bottom);
    for (sigmas, name) in [(2.0, "π + 2 σ"), (0.0, "π"), (-2.0, "π − 2 σ")] {
        let at = (end * 0.995, PI + (sigmas + 0.06) * sigma);
        chart.draw_series([Text::new(name, at, names.clone())])?;
    }
    Ok(())
}

/// Digits after the point that show a tenth of the scatter.
fn digits(sigma: f64) -> usize {
    (1.0 - sigma.log10()).ceil().clamp(2.0, 8.0) as usize
}
