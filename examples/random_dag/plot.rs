//! Above, when each task ran, in as many lanes as tasks ran at once. Below, the graph itself, each
//! task at its start and its duration, with a line from it to each that depends on it.

use std::path::Path;

use dagrun_example_support::plot::{self, Area, Axes, FAINT, INK, PlotError, px, ramp};
use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::{Color, RGBColor, WHITE};

use crate::{Graph, Span, makespan};

/// Draws the run of a graph.
pub(crate) fn draw(path: &Path, graph: &Graph, spans: &[Span]) -> Result<(), PlotError> {
    let title = "A random graph of tasks";
    let below = format!(
        "{} tasks, {} dependencies, {} of them broken; from dark to light: the {} layers of the graph",
        spans.len(),
        graph.edges().count(),
        graph.violations(spans).len(),
        graph.layers.last().map_or(0, |last| last + 1)
    );
    let lanes = lanes(spans);
    let height = 60 + 30 * lanes.iter().max().map_or(1, |last| last + 1) as u32;
    plot::save(path, (900, 500 + height), |area| {
        let area = plot::titled(area, title, &below)?;
        let (above, below) = area.split_vertically(px(f64::from(height)) + px(20.0));
        timeline(&above, graph, spans, &lanes)?;
        dependencies(&below, graph, spans)
    })
}

/// Seconds since the first start.
fn seconds(spans: &[Span]) -> impl Fn(u64) -> f64 {
    let start = spans.iter().map(|span| span.start).min().unwrap_or(0);
    move |nanos| (nanos - start) as f64 / 1e9
}

fn colour(graph: &Graph, task: usize) -> RGBColor {
    let last = graph.layers.last().copied().unwrap_or(0).max(1);
    ramp(graph.layers[task] as f64 / last as f64 * 0.92)
}

/// A lane for each task, so that no two overlap in one: the lowest that is free at its start.
fn lanes(spans: &[Span]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|&task| spans[task].start);
    let mut free_from: Vec<u64> = Vec::new();
    let mut lanes = vec![0; spans.len()];
    for task in order {
        let Span { start, finish } = spans[task];
        let lane = free_from.iter().position(|&free| free <= start).unwrap_or(free_from.len());
        if lane == free_from.len() {
            free_from.push(finish);
        }
        free_from[lane] = finish;
        lanes[task] = lane;
    }
    lanes
}

fn timeline(
    area: &Area<'_>,
    graph: &Graph,
    spans: &[Span],
    lanes: &[usize],
) -> Result<(), PlotError> {
    let count = lanes.iter().max().map_or(1, |last| last + 1) as f64;
    let end = makespan(spans).max(1e-6);
    let axes = Axes {
        title: "when each task ran",
        x: -end * 0.01..end * 1.02,
        y: count + 0.5..0.5,
        x_label: "time since the first start (s)",
        y_label: Some("lane"),
        digits: (2, 0),
        labels: (10, (count as usize).min(8)),
    };
    let mut chart = axes.draw(area)?;
    let at = seconds(spans);
    for (task, (span, lane)) in spans.iter().zip(lanes).enumerate() {
        let middle = *lane as f64 + 1.0;
        let corners = [(at(span.start), middle - 0.36), (at(span.finish), middle + 0.36)];
        chart.draw_series([
            Rectangle::new(corners, colour(graph, task).filled()),
            Rectangle::new(corners, WHITE.stroke_width(2)),
        ])?;
    }
    Ok(())
}

fn dependencies(area: &Area<'_>, graph: &Graph, spans: &[Span]) -> Result<(), PlotError> {
    let at = seconds(spans);
    let took = |span: &Span| (span.finish - span.start) as f64 / 1e6;
    let (end, longest) = (makespan(spans).max(1e-6), spans.iter().map(took).fold(1e-3, f64::max));
    let axes = Axes {
        title: "what depended on what",
        x: -end * 0.01..end * 1.02,
        y: 0.0..longest * 1.08,
        x_label: "start (s)",
        y_label: Some("duration (ms)"),
        digits: (2, if longest < 10.0 { 1 } else { 0 }),
        labels: (10, 6),
    };
    let mut chart = axes.draw(area)?;
    let place = |task: usize| (at(spans[task].start), took(&spans[task]));
    let broken = graph.violations(spans);
    for (parent, child) in graph.edges() {
        let kept = !broken.iter().any(|line| (line.parent, line.child) == (parent, child));
        let style = if kept { FAINT.mix(0.45) } else { RGBColor(200, 30, 30).mix(1.0) };
        let line = vec![place(parent), place(child)];
        chart.draw_series([PathElement::new(line, style.stroke_width(3))])?;
    }
    for task in 0..spans.len() {
        chart.draw_series([
            Circle::new(place(task), px(5.0), colour(graph, task).filled()),
            Circle::new(place(task), px(5.0), INK.stroke_width(2)),
        ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_overlap_have_lanes_of_their_own() {
        let spans = [(0, 10), (5, 8), (8, 12), (10, 11), (9, 9)];
        let spans = spans.map(|(start, finish)| Span { start, finish });
        assert_eq!(lanes(&spans), [0, 1, 1, 0, 2]);
    }
}
