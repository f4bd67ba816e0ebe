//! A layered drawing as SVG, computed here. It follows the colours of who looks at it, dark or light.

use super::layout::{BOX_FONT, BOX_HEIGHT, Corner, LABEL_FONT, Layout};
use super::{Drawing, Shape};
use crate::graph::Graph;
use crate::ids::TaskId;
use crate::pipeline::Pipeline;
use crate::status::State;

/// The colours, for a light background and for a dark one. Not by variables, which few programs but browsers
/// understand.
const STYLE: &str = "<style>
.paper { fill: white } .arrow { fill: none; stroke: #5b6770; stroke-width: 1.3 } .tip { fill: #5b6770 }
.box { fill: #eaf3fa; stroke: #2f6f9f; stroke-width: 1.3 } .back { fill: #d3e5f2 } .name { fill: #1c2b36 }
.succeeded { fill: #d9f0dc } .failed { fill: #f9d5d3 } .active { fill: #fdf0c8 } .other { fill: #e8e8e8 }
.label { fill: #5b6770; stroke: white; stroke-width: 4; paint-order: stroke }
@media (prefers-color-scheme: dark) {
.paper { fill: #14191d } .arrow { stroke: #9aa8b2 } .tip { fill: #9aa8b2 }
.box { fill: #1d3345; stroke: #6fb1e0 } .back { fill: #16283a } .name { fill: #e4ecf1 }
.succeeded { fill: #1f4d2b } .failed { fill: #6b2522 } .active { fill: #5c4a12 } .other { fill: #3a3f44 }
.label { fill: #9aa8b2; stroke: #14191d }
}
</style>
";

/// The state of a task in a run, or of one of its instances.
pub type States<'a> = &'a dyn Fn(TaskId, Option<u32>) -> Option<State>;

/// The pipeline as an SVG picture. With `instances`, arrays of at most 32 are drawn instance by
/// instance.
#[must_use]
pub fn to_svg(pipeline: &Pipeline, graph: &Graph, instances: bool) -> String {
    to_svg_of_run(pipeline, graph, instances, &|_, _| None)
}

/// The same with the boxes in the colours of their states.
#[must_use]
pub fn to_svg_of_run(
    pipeline: &Pipeline,
    graph: &Graph,
    instances: bool,
    states: States<'_>,
) -> String {
    let drawing = Drawing::new(pipeline, graph, instances);
    let layout = Layout::new(graph, &drawing);
    let (width, height) = (layout.width, layout.height);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\">\n"
    );
    out.push_str(&format!("<title>{}</title>\n", escaped(&pipeline.name)));
    out.push_str(STYLE);
    out.push_str(concat!(
        "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" ",
        "markerHeight=\"8\" orient=\"auto\"><path d=\"M0,0 L8,4 L0,8 Z\" class=\"tip\"/>",
        "</marker></defs>\n<rect width=\"100%\" height=\"100%\" class=\"paper\"/>\n",
    ));
    for (arrow, route) in drawing.arrows.iter().zip(&layout.routes) {
        push_arrow(route, arrow.order_only, &mut out);
    }
    for (shape, place) in drawing.shapes.iter().zip(&layout.boxes) {
        push_box(shape, *place, states(shape.task, shape.index), &mut out);
    }
    // Above all else, so that nothing is drawn over them.
    for label in &layout.labels {
        let Some(arrow) = drawing.arrows.get(label.arrow) else { continue };
        out.push_str(&format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{LABEL_FONT}\" text-anchor=\"middle\" \
             class=\"label\">{}</text>\n",
            label.x,
            label.y,
            escaped(&arrow.label)
        ));
    }
    out.push_str("</svg>\n");
    out
}

fn push_arrow(route: &[(f64, f64)], order_only: bool, out: &mut String) {
    let Some((x, y)) = route.first() else { return };
    let mut path = format!("M{x:.1},{y:.1}");
    for (at, pair) in route.windows(2).enumerate() {
        let [(x1, y1), (x2, y2)] = pair else { continue };
        // Curves in the gaps, straight lines through the columns.
        match at % 2 {
            0 => {
                let bend = (x2 - x1) / 2.0;
                let (a, b) = (x1 + bend, x2 - bend);
                path.push_str(&format!(" C{a:.1},{y1:.1} {b:.1},{y2:.1} {x2:.1},{y2:.1}"));
            }
            _ => path.push_str(&format!(" L{x2:.1},{y2:.1}")),
        }
    }
    let dashes = if order_only { " stroke-dasharray=\"5 4\"" } else { "" };
    out.push_str(&format!(
        "<path d=\"{path}\" class=\"arrow\"{dashes} marker-end=\"url(#tip)\"/>\n"
    ));
}

fn push_box(shape: &Shape, place: Corner, state: Option<State>, out: &mut String) {
    let Corner { x, y, width } = place;
    let class = match state {
        None => "",
        Some(State::Succeeded) => " succeeded",
        Some(State::Failed) => " failed",
        Some(State::Leased | State::Backoff) => " active",
        Some(State::Blocked | State::Ready | State::Skipped | State::Cancelled) => " other",
    };
    let mut frame = |offset: f64, class: &str| {
        let (x, y) = (x + offset, y - offset);
        out.push_str(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BOX_HEIGHT}\" rx=\"7\" \
             class=\"box{class}\"/>\n"
        ));
    };
    if shape.array {
        // A stack of boxes.
        frame(6.0, " back");
        frame(3.0, " back");
    }
    frame(0.0, class);
    let title = state.map(|state| format!("<title>{}</title>", state.word())).unwrap_or_default();
    out.push_str(&format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{BOX_FONT}\" text-anchor=\"middle\" \
         class=\"name\">{title}{}</text>\n",
        x + width / 2.0,
        y + BOX_HEIGHT / 2.0 + 5.0,
        escaped(&shape.label)
    ));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
