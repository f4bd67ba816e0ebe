//! Pictures of a pipeline: Graphviz, Mermaid and plain SVG.

mod layout;
mod svg;

use crate::graph::{EdgeKind, Graph};
use crate::ids::TaskId;
use crate::pipeline::{Outcomes, Pattern, Pipeline, Quantifier};

pub use svg::{States, to_svg, to_svg_of_run};

/// Arrays up to this width are drawn instance by instance when that is asked for.
pub const MAX_DRAWN: u32 = 32;

/// A node, drawn as a box.
struct Shape {
    /// Its identifier in the drawing's language.
    id: String,
    label: String,
    /// Whether it represents several instances.
    array: bool,
    /// The task.
    task: TaskId,
    /// The instance, when it is drawn alone.
    index: Option<u32>,
}

/// An edge, drawn as an arrow.
struct Arrow {
    from: usize,
    to: usize,
    label: String,
    /// Whether it is for ordering only, and passes no data.
    order_only: bool,
}

/// What all three languages draw.
struct Drawing {
    shapes: Vec<Shape>,
    arrows: Vec<Arrow>,
}

impl Drawing {
    fn new(pipeline: &Pipeline, graph: &Graph, instances: bool) -> Drawing {
        let mut shapes = Vec::new();
        // For each task its first shape and how many it has.
        let mut places = Vec::new();
        for (at, (task, &width)) in pipeline.tasks.iter().zip(graph.widths()).enumerate() {
            let id = TaskId(at as u32);
            let plain = !task.is_array();
            let known = graph.width(id);
            let alone =
                instances && !plain && known.is_some_and(|known| (1..=MAX_DRAWN).contains(&known));
            places.push((shapes.len(), if alone { width.each() } else { 1 }, alone));
            if alone {
                shapes.extend((0..width.each()).map(|index| Shape {
                    id: format!("t{at}_{index}"),
                    label: format!("{}[{index}]", task.name),
                    array: false,
                    task: id,
                    index: Some(index),
                }));
            } else {
                let label = match known {
                    _ if plain => task.name.clone(),
                    Some(width) => format!("{} ×{width}", task.name),
                    None => format!("{} ×?", task.name),
                };
                shapes.push(Shape {
                    id: format!("t{at}"),
                    label,
                    array: !plain,
                    task: id,
                    index: None,
                });
            }
        }
        let mut arrows = Vec::new();
        for (from, to, kind) in graph.task_edges() {
            let (label, order_only) = describe(pipeline, to, kind);
            let ((from_first, from_count, _), (to_first, to_count, _)) =
                (places[from.at()], places[to.at()]);
            for one in 0..from_count {
                for other in 0..to_count {
                    let joined = match kind {
                        EdgeKind::Map(factor) if places[from.at()].2 && places[to.at()].2 => {
                            other / factor.max(1) == one
                        }
                        EdgeKind::Gather if places[from.at()].2 && places[to.at()].2 => graph
                            .groups(to)
                            .is_none_or(|groups| groups.get(one as usize) == Some(&other)),
                        _ => true,
                    };
                    if joined {
                        let (from, to) = (from_first + one as usize, to_first + other as usize);
                        arrows.push(Arrow { from, to, label: label.clone(), order_only });
                    }
                }
            }
        }
        Drawing { shapes, arrows }
    }
}

/// The label of an edge, and whether the edge is for ordering only.
fn describe(pipeline: &Pipeline, to: TaskId, kind: EdgeKind) -> (String, bool) {
    match kind {
        EdgeKind::Map(1) => ("map".to_owned(), false),
        EdgeKind::Map(factor) => (format!("map ×{factor}"), false),
        EdgeKind::Gather => match pipeline.tasks.get(to.at()).map(|task| &task.pattern) {
            Some(Pattern::GatherBy(_, by)) => (format!("gather by {}", by.join(", ")), false),
            Some(Pattern::GatherEvery(_, every)) => (format!("gather every {every}"), false),
            _ => ("gather".to_owned(), false),
        },
        EdgeKind::Scatter => ("scatter".to_owned(), false),
        EdgeKind::Reference => (String::new(), false),
        EdgeKind::After(clause) | EdgeKind::Follow(clause) => {
            let follow = matches!(kind, EdgeKind::Follow(_));
            let task = pipeline.tasks.get(to.at());
            let clauses = task.map(|task| if follow { &task.follow } else { &task.after });
            let clause = clauses.and_then(|clauses| clauses.get(clause as usize));
            let mut label = if follow { "follow" } else { "after" }.to_owned();
            if let Some(clause) = clause {
                if clause.quantifier == Quantifier::Any {
                    label.push_str(" any");
                }
                label.push_str(match clause.on {
                    Outcomes::Success => "",
                    Outcomes::Failure => " failure",
                    Outcomes::Finish => " finish",
                });
            }
            (label, true)
        }
    }
}

/// The pipeline in Graphviz' language. With `instances`, arrays of at most 32 are drawn instance by
/// instance.
#[must_use]
pub fn to_dot(pipeline: &Pipeline, graph: &Graph, instances: bool) -> String {
    let quoted = |text: &str| {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
    };
    let drawing = Drawing::new(pipeline, graph, instances);
    let mut out = format!("digraph {} {{\n", quoted(&pipeline.name));
    out.push_str("  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n");
    out.push_str("  edge [fontname=\"sans-serif\", fontsize=10];\n");
    for shape in &drawing.shapes {
        let array = if shape.array { ", peripheries=2" } else { "" };
        out.push_str(&format!("  {} [label={}{array}];\n", shape.id, quoted(&shape.label)));
    }
    for arrow in &drawing.arrows {
        let (from, to) = (&drawing.shapes[arrow.from].id, &drawing.shapes[arrow.to].id);
        let style = if arrow.order_only { ", style=dashed" } else { "" };
        out.push_str(&format!("  {from} -> {to} [label={}{style}];\n", quoted(&arrow.label)));
    }
    out.push_str("}\n");
    out
}

/// The pipeline in Mermaid's language, as GitHub shows it. With `instances`, arrays of at most 32
/// are drawn instance by instance.
#[must_use]
pub fn to_mermaid(pipeline: &Pipeline, graph: &Graph, instances: bool) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "#quot;").replace('\n', " "));
    let drawing = Drawing::new(pipeline, graph, instances);
    let mut out = "flowchart LR\n".to_owned();
    for shape in &drawing.shapes {
        let (open, close) = if shape.array { ("[[", "]]") } else { ("(", ")") };
        out.push_str(&format!("  {}{open}{}{close}\n", shape.id, quoted(&shape.label)));
    }
    for arrow in &drawing.arrows {
        let (from, to) = (&drawing.shapes[arrow.from].id, &drawing.shapes[arrow.to].id);
        let line = if arrow.order_only { "-.->" } else { "-->" };
        let label = if arrow.label.is_empty() {
            String::new()
        } else {
            format!("|{}|", quoted(&arrow.label))
        };
        out.push_str(&format!("  {from} {line}{label} {to}\n"));
    }
    out
}
