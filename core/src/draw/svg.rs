//! A layered drawing, computed here: each task to the right of its upstreams.

use super::{Drawing, Shape};
use crate::graph::Graph;
use crate::pipeline::Pipeline;

const BOX_HEIGHT: f64 = 34.0;
const ROW_GAP: f64 = 22.0;
const COLUMN_GAP: f64 = 96.0;
const MARGIN: f64 = 24.0;
/// Width of a character of the 14-pixel font, rounded up to be safe.
const CHAR: f64 = 8.6;

/// The upper left corner of a box, and its width.
#[derive(Clone, Copy, Default)]
struct Corner {
    x: f64,
    y: f64,
    width: f64,
}

/// The pipeline as an SVG picture. With `instances`, arrays of at most 32 are drawn instance by
/// instance.
#[must_use]
pub fn to_svg(pipeline: &Pipeline, graph: &Graph, instances: bool) -> String {
    let drawing = Drawing::new(pipeline, graph, instances);
    let layers = layers(graph, &drawing);
    let places = places(&drawing, &layers);
    let width = places.iter().map(|place| place.x + place.width).fold(0.0, f64::max) + MARGIN;
    let height = places.iter().map(|place| place.y + BOX_HEIGHT).fold(0.0, f64::max) + MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\">\n"
    );
    out.push_str(&format!("<title>{}</title>\n", escaped(&pipeline.name)));
    out.push_str(concat!(
        "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" ",
        "markerHeight=\"8\" orient=\"auto\"><path d=\"M0,0 L8,4 L0,8 Z\" fill=\"#5b6770\"/>",
        "</marker></defs>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
    ));
    push_arrows(&drawing, &places, &mut out);
    for (shape, place) in drawing.shapes.iter().zip(&places) {
        push_box(shape, *place, &mut out);
    }
    out.push_str("</svg>\n");
    out
}

/// The shapes in columns: each in the column after its last upstream, the longest path counts.
fn layers(graph: &Graph, drawing: &Drawing) -> Vec<Vec<usize>> {
    let mut depth = vec![0usize; graph.widths().len()];
    let mut downstream = vec![Vec::new(); depth.len()];
    for (from, to, _) in graph.task_edges() {
        downstream[from.at()].push(to.at());
    }
    for task in graph.toposort() {
        for &to in &downstream[task.at()] {
            depth[to] = depth[to].max(depth[task.at()] + 1);
        }
    }
    let mut layers = vec![Vec::new(); depth.iter().max().map_or(0, |deepest| deepest + 1)];
    for (at, shape) in drawing.shapes.iter().enumerate() {
        layers[depth[shape.task.at()]].push(at);
    }
    order(drawing, &mut layers);
    layers
}

/// Sorts each column by the average position of its upstreams, which avoids most crossings.
fn order(drawing: &Drawing, layers: &mut [Vec<usize>]) {
    let mut upstream = vec![Vec::new(); drawing.shapes.len()];
    for arrow in &drawing.arrows {
        upstream[arrow.to].push(arrow.from);
    }
    let mut position = vec![0.0; drawing.shapes.len()];
    for layer in layers {
        let count = layer.len() as f64;
        let wish = |shape: &usize| {
            let from = &upstream[*shape];
            let sum: f64 = from.iter().map(|&from| position[from]).sum();
            if from.is_empty() { 0.5 } else { sum / from.len() as f64 }
        };
        let mut wishes: Vec<(f64, usize)> = layer.iter().map(|at| (wish(at), *at)).collect();
        wishes.sort_by(|one, two| one.0.total_cmp(&two.0));
        *layer = wishes.into_iter().map(|(_, at)| at).collect();
        for (at, &shape) in layer.iter().enumerate() {
            position[shape] = (at as f64 + 0.5) / count;
        }
    }
}

fn places(drawing: &Drawing, layers: &[Vec<usize>]) -> Vec<Corner> {
    let width = |shape: &Shape| shape.label.chars().count() as f64 * CHAR + 28.0;
    let column_height = |count: usize| count as f64 * (BOX_HEIGHT + ROW_GAP) - ROW_GAP;
    let tallest = layers.iter().map(|layer| column_height(layer.len())).fold(0.0, f64::max);
    let mut places = vec![Corner::default(); drawing.shapes.len()];
    let mut x = MARGIN;
    for layer in layers {
        let widest = layer.iter().map(|&at| width(&drawing.shapes[at])).fold(0.0, f64::max);
        let mut y = MARGIN + (tallest - column_height(layer.len())) / 2.0;
        for &at in layer {
            places[at] = Corner { x, y, width: widest };
            y += BOX_HEIGHT + ROW_GAP;
        }
        x += widest + COLUMN_GAP;
    }
    places
}

fn push_arrows(drawing: &Drawing, places: &[Corner], out: &mut String) {
    // With many arrows between the same two tasks one label is enough.
    let mut labelled = std::collections::BTreeSet::new();
    for arrow in &drawing.arrows {
        let (from, to) = (places[arrow.from], places[arrow.to]);
        let (x1, y1) = (from.x + from.width, from.y + BOX_HEIGHT / 2.0);
        let (x2, y2) = (to.x, to.y + BOX_HEIGHT / 2.0);
        let bend = ((x2 - x1) / 2.0).max(30.0);
        let dashes = if arrow.order_only { " stroke-dasharray=\"5 4\"" } else { "" };
        out.push_str(&format!(
            "<path d=\"M{x1:.1},{y1:.1} C{:.1},{y1:.1} {:.1},{y2:.1} {x2:.1},{y2:.1}\" \
             fill=\"none\" stroke=\"#5b6770\" stroke-width=\"1.3\"{dashes} \
             marker-end=\"url(#tip)\"/>\n",
            x1 + bend,
            x2 - bend,
        ));
        let tasks = (drawing.shapes[arrow.from].task, drawing.shapes[arrow.to].task);
        if !arrow.label.is_empty() && labelled.insert((tasks, &arrow.label)) {
            let (x, y) = ((x1 + x2) / 2.0, (y1 + y2) / 2.0 - 5.0);
            out.push_str(&format!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"11\" fill=\"#5b6770\" \
                 text-anchor=\"middle\" stroke=\"white\" stroke-width=\"4\" \
                 paint-order=\"stroke\">{}</text>\n",
                escaped(&arrow.label)
            ));
        }
    }
}

fn push_box(shape: &Shape, place: Corner, out: &mut String) {
    let Corner { x, y, width } = place;
    let mut frame = |offset: f64, fill: &str| {
        let (x, y) = (x + offset, y - offset);
        out.push_str(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BOX_HEIGHT}\" rx=\"7\" \
             fill=\"{fill}\" stroke=\"#2f6f9f\" stroke-width=\"1.3\"/>\n"
        ));
    };
    if shape.array {
        // A stack of boxes.
        frame(6.0, "#d3e5f2");
        frame(3.0, "#deecf6");
    }
    frame(0.0, "#eaf3fa");
    out.push_str(&format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"14\" fill=\"#1c2b36\" \
         text-anchor=\"middle\">{}</text>\n",
        x + width / 2.0,
        y + BOX_HEIGHT / 2.0 + 5.0,
        escaped(&shape.label)
    ));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
