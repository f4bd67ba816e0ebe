//! The posterior as in the paper's figure 3: parameters on the left, the scores with what is
//! predicted for them and the differences on the right.

use std::path::Path;

use dagrun_example_support::plot::{self, Area, Axes, DISTINCT, INK, PlotError, font, number};
use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use crate::model::{DRUG, Model, PLACEBO};
use crate::{Posterior, Quantity};

const BARS: usize = 44;
/// How many draws of the posterior are shown as curves over the scores.
const CURVES: usize = 30;

/// Draws the posterior.
pub(crate) fn draw(path: &Path, posterior: &Posterior) -> Result<(), PlotError> {
    let title = "Does the drug raise the IQ?";
    let below = format!(
        "{} draws from the posterior; black bars: 95 % intervals of highest density",
        plot::grouped(posterior.draws.len() as u64)
    );
    let rows: [[Panel; 2]; 5] = [
        [Panel::Posterior(Quantity::FirstMean), Panel::Scores(0)],
        [Panel::Posterior(Quantity::SecondMean), Panel::Scores(1)],
        [Panel::Posterior(Quantity::FirstScale), Panel::Posterior(Quantity::Means)],
        [Panel::Posterior(Quantity::SecondScale), Panel::Posterior(Quantity::Scales)],
        [Panel::Posterior(Quantity::Normality), Panel::Posterior(Quantity::Effect)],
    ];
    plot::save(path, (900, 1130), |area| {
        let areas = plot::titled(area, title, &below)?.split_evenly((5, 2));
        for (area, panel) in areas.iter().zip(rows.into_iter().flatten()) {
            match panel {
                Panel::Posterior(quantity) => histogram(area, posterior, quantity)?,
                Panel::Scores(group) => scores(area, posterior, group)?,
            }
        }
        Ok(())
    })
}

enum Panel {
    Posterior(Quantity),
    Scores(usize),
}

/// The ends of the axis and the label; groups are compared on the same axis.
fn axis(posterior: &Posterior, quantity: Quantity) -> (f64, f64, &'static str) {
    let both = |a, b| {
        let (a, b) = (reach(posterior, a), reach(posterior, b));
        (a.0.min(b.0), a.1.max(b.1))
    };
    let ((low, high), label) = match quantity {
        Quantity::FirstMean => (both(quantity, Quantity::SecondMean), "µ₁ (IQ points)"),
        Quantity::SecondMean => (both(quantity, Quantity::FirstMean), "µ₂ (IQ points)"),
        Quantity::FirstScale => (both(quantity, Quantity::SecondScale), "σ₁ (IQ points)"),
        Quantity::SecondScale => (both(quantity, Quantity::FirstScale), "σ₂ (IQ points)"),
        Quantity::Means => (reach(posterior, quantity), "µ₁ − µ₂ (IQ points)"),
        Quantity::Scales => (reach(posterior, quantity), "σ₁ − σ₂ (IQ points)"),
        Quantity::Normality => (reach(posterior, quantity), "log₁₀ ν"),
        Quantity::Effect => (reach(posterior, quantity), "(µ₁ − µ₂) / √((σ₁² + σ₂²) / 2)"),
    };
    (low, high, label)
}

/// All but the outermost 0.2 % of the draws, with a margin.
fn reach(posterior: &Posterior, quantity: Quantity) -> (f64, f64) {
    let mut sorted = posterior.marginal(quantity).values.clone();
    sorted.sort_by(f64::total_cmp);
    let cut = sorted.len() / 500;
    let (low, high) = (sorted[cut], sorted[sorted.len() - 1 - cut]);
    (low - (high - low) * 0.1, high + (high - low) * 0.1)
}

fn histogram(area: &Area<'_>, posterior: &Posterior, quantity: Quantity) -> Result<(), PlotError> {
    let marginal = posterior.marginal(quantity);
    let (low, high, label) = axis(posterior, quantity);
    let width = (high - low) / BARS as f64;
    let mut bars = [0.0; BARS];
    for value in marginal.values.iter().filter(|value| (low..high).contains(*value)) {
        bars[(((value - low) / width) as usize).min(BARS - 1)] += 1.0;
    }
    let top = bars.iter().copied().fold(1.0, f64::max);
    let title = {
        let name = quantity.name();
        name[..1].to_uppercase() + &name[1..]
    };
    let axes = Axes {
        title: &title,
        x: low..high,
        y: 0.0..top * 1.25,
        x_label: label,
        y_label: None,
        digits: (1, 0),
        labels: (6, 0),
    };
    let mut chart = axes.draw(area)?;
    for (at, count) in bars.into_iter().enumerate().filter(|(_, count)| *count > 0.0) {
        let from = low + at as f64 * width;
        let corners = [(from, 0.0), (from + width * 0.93, count)];
        let bar = Rectangle::new(corners, DISTINCT[5].mix(0.75).filled());
        chart.draw_series([bar])?;
    }
    let (from, to) = marginal.interval();
    let interval = vec![(from, top * 0.012), (to, top * 0.012)];
    chart.draw_series([PathElement::new(interval, INK.stroke_width(14))])?;
    let right = font(13.5, INK, HPos::Right, VPos::Top);
    let mean = format!("mean {}", number(marginal.mean(), 2));
    let ends = format!("{} to {}", number(from, 2), number(to, 2));
    let side = low + (high - low) * 0.99;
    chart.draw_series([
        Text::new(mean, (side, top * 1.22), right.clone()),
        Text::new(ends, (side, top * 1.06), right),
    ])?;
    if matches!(quantity, Quantity::Means | Quantity::Scales | Quantity::Effect) {
        let zero = vec![(0.0, 0.0), (0.0, top * 1.05)];
        chart.draw_series([PathElement::new(zero, DISTINCT[1].stroke_width(5))])?;
        let below = 100.0 * marginal.below_zero();
        let text = format!("{below:.1} % < 0 < {:.1} %", 100.0 - below);
        let style = font(13.0, DISTINCT[1], HPos::Left, VPos::Top);
        chart.draw_series([Text::new(text, (low + (high - low) * 0.01, top * 1.22), style)])?;
    }
    Ok(())
}

/// The scores of a group, and the densities that some draws predict for them.
fn scores(area: &Area<'_>, posterior: &Posterior, group: usize) -> Result<(), PlotError> {
    let (scores, name): (&[f64], _) =
        if group == 0 { (&DRUG, "drug") } else { (&PLACEBO, "placebo") };
    let title = format!("{} scores of the {name} group, and predictions", scores.len());
    let count = scores.len() as f64;
    let share = |score: i32| {
        scores.iter().filter(|value| (**value - f64::from(score)).abs() < 0.5).count() as f64
            / count
    };
    let (low, high) = (80, 126);
    let top = if group == 0 { 0.3 } else { 0.56 };
    let axes = Axes {
        title: &title,
        x: f64::from(low)..f64::from(high),
        y: 0.0..top,
        x_label: "IQ",
        y_label: None,
        digits: (0, 0),
        labels: (10, 0),
    };
    let mut chart = axes.draw(area)?;
    for score in low..=high {
        let corners = [(f64::from(score) - 0.46, 0.0), (f64::from(score) + 0.46, share(score))];
        let bar = Rectangle::new(corners, DISTINCT[1].mix(0.35).filled());
        if share(score) > 0.0 {
            chart.draw_series([bar])?;
        }
    }
    let every = (posterior.draws.len() / CURVES).max(1);
    for draw in posterior.draws.iter().step_by(every) {
        let (mean, scale) = (draw.means[group], draw.scales[group]);
        let curve: Vec<(f64, f64)> = (0..=460)
            .map(|at| f64::from(low) + f64::from(at) / 10.0)
            .map(|score| (score, Model::density(score, mean, scale, draw.normality)))
            // What lies on the axis is left out.
            .filter(|(_, density)| (top * 0.004..top).contains(density))
            .collect();
        chart.draw_series([PathElement::new(curve, DISTINCT[0].mix(0.35).stroke_width(3))])?;
    }
    Ok(())
}
