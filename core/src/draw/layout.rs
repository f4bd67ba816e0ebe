//! Where things are in a layered drawing: each task in a column to the right of its upstreams. Edges that pass
//! a column have a place of their own in it, so that they run between boxes; labels stand in the gaps between
//! columns, each in a line of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::{Drawing, Shape};
use crate::graph::Graph;
use crate::ids::TaskId;

pub(super) const BOX_HEIGHT: f64 = 34.0;
const ROW_GAP: f64 = 22.0;
const COLUMN_GAP: f64 = 96.0;
const MARGIN: f64 = 24.0;
/// The height of the place of an edge that passes a column.
const LANE: f64 = 4.0;
/// The least distance between the lines of two labels in one gap.
const LABEL_LINE: f64 = 16.0;
/// Size of the fonts of boxes and of labels.
pub(super) const BOX_FONT: f64 = 14.0;
pub(super) const LABEL_FONT: f64 = 11.0;

/// The upper left corner of a box, and its width.
#[derive(Clone, Copy, Default)]
pub(super) struct Corner {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
}

/// The label of an arrow, and the middle of its line.
pub(super) struct Label {
    pub(super) arrow: usize,
    pub(super) x: f64,
    pub(super) y: f64,
}

/// Where everything is.
pub(super) struct Layout {
    /// For each shape.
    pub(super) boxes: Vec<Corner>,
    /// For each arrow the points that it goes through. From the first to the second it crosses a gap, from
    /// there to the third a column, and so on.
    pub(super) routes: Vec<Vec<(f64, f64)>>,
    pub(super) labels: Vec<Label>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// The width of a text, rounded up to be safe: fonts differ.
pub(super) fn text_width(text: &str, font: f64) -> f64 {
    let units: f64 = text.chars().map(|c| if c.is_ascii() { 0.62 } else { 1.05 }).sum();
    units * font
}

fn box_width(shape: &Shape) -> f64 {
    text_width(&shape.label, BOX_FONT) + 28.0
}

/// A place in a column: a box, or an edge that passes.
type Node = usize;

/// Places and the columns that they are in.
struct Columns {
    columns: Vec<Vec<Node>>,
    /// The places that come before each, one column to the left.
    before: Vec<Vec<Node>>,
    /// For each arrow the places that it passes.
    passed: Vec<Vec<Node>>,
    boxes: usize,
}

impl Layout {
    pub(super) fn new(graph: &Graph, drawing: &Drawing) -> Layout {
        let depth = depths(graph);
        let mut columns = Columns::new(drawing, &depth);
        columns.sort();
        let gaps = gaps(drawing, &depth, columns.columns.len());
        let mut all = vec![Corner::default(); columns.before.len()];
        let height = |node: Node| if node < columns.boxes { BOX_HEIGHT } else { LANE };
        let tall = |column: &Vec<Node>| -> f64 {
            column.iter().map(|node| height(*node) + ROW_GAP).sum::<f64>() - ROW_GAP
        };
        let tallest = columns.columns.iter().map(tall).fold(0.0, f64::max);
        let mut x = MARGIN;
        for (at, column) in columns.columns.iter().enumerate() {
            let boxes = column.iter().filter_map(|node| drawing.shapes.get(*node));
            let width = boxes.map(box_width).fold(0.0, f64::max);
            let mut y = MARGIN + (tallest - tall(column)) / 2.0;
            for &node in column {
                all[node] = Corner { x, y, width };
                y += height(node) + ROW_GAP;
            }
            x += width + gaps.get(at).copied().unwrap_or(0.0);
        }
        let routes = routes(drawing, &columns, &all);
        let labels = labels(drawing, &routes);
        let lowest = labels.iter().map(|label| label.y).fold(0.0, f64::max);
        let height = (tallest + MARGIN).max(lowest) + MARGIN;
        all.truncate(columns.boxes);
        Layout { boxes: all, routes, labels, width: x + MARGIN, height }
    }
}

/// The column of each task: that after its last upstream, the longest path counts.
fn depths(graph: &Graph) -> Vec<usize> {
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
    depth
}

impl Columns {
    fn new(drawing: &Drawing, depth: &[usize]) -> Columns {
        let count = depth.iter().max().map_or(0, |deepest| deepest + 1);
        let boxes = drawing.shapes.len();
        let mut all = Columns {
            columns: vec![Vec::new(); count],
            before: vec![Vec::new(); boxes],
            passed: Vec::new(),
            boxes,
        };
        for (at, shape) in drawing.shapes.iter().enumerate() {
            all.columns[depth[shape.task.at()]].push(at);
        }
        // All arrows between two tasks pass a column in one place.
        let mut lanes: BTreeMap<(TaskId, TaskId, usize), Node> = BTreeMap::new();
        for arrow in &drawing.arrows {
            let tasks = [arrow.from, arrow.to].map(|at| drawing.shapes[at].task);
            let mut passed = Vec::new();
            let mut last = arrow.from;
            for column in depth[tasks[0].at()] + 1..depth[tasks[1].at()] {
                let lane = *lanes.entry((tasks[0], tasks[1], column)).or_insert_with(|| {
                    all.before.push(Vec::new());
                    all.columns[column].push(all.before.len() - 1);
                    all.before.len() - 1
                });
                all.before[lane].push(last);
                passed.push(lane);
                last = lane;
            }
            all.before[arrow.to].push(last);
            all.passed.push(passed);
        }
        all
    }

    /// Sorts each column by the average position of what comes before, which avoids most crossings.
    fn sort(&mut self) {
        let mut position = vec![0.0; self.before.len()];
        for column in &mut self.columns {
            let count = column.len() as f64;
            let wish = |node: &Node| {
                let before = &self.before[*node];
                let sum: f64 = before.iter().map(|&before| position[before]).sum();
                if before.is_empty() { 0.5 } else { sum / before.len() as f64 }
            };
            let mut wishes: Vec<(f64, Node)> = column.iter().map(|at| (wish(at), *at)).collect();
            wishes.sort_by(|one, two| one.0.total_cmp(&two.0));
            *column = wishes.into_iter().map(|(_, at)| at).collect();
            for (at, &node) in column.iter().enumerate() {
                position[node] = (at as f64 + 0.5) / count;
            }
        }
    }
}

/// How wide the gap behind each column is: its labels fit.
fn gaps(drawing: &Drawing, depth: &[usize], columns: usize) -> Vec<f64> {
    let mut gaps = vec![COLUMN_GAP; columns.saturating_sub(1)];
    for arrow in &drawing.arrows {
        let to = depth[drawing.shapes[arrow.to].task.at()];
        if let Some(gap) = to.checked_sub(1).and_then(|gap| gaps.get_mut(gap)) {
            *gap = gap.max(text_width(&arrow.label, LABEL_FONT) + 44.0);
        }
    }
    gaps
}

fn routes(drawing: &Drawing, columns: &Columns, all: &[Corner]) -> Vec<Vec<(f64, f64)>> {
    let route = |arrow: &super::Arrow, passed: &Vec<Node>| {
        let (from, to) = (all[arrow.from], all[arrow.to]);
        let mut points = vec![(from.x + from.width, from.y + BOX_HEIGHT / 2.0)];
        for lane in passed.iter().map(|node| all[*node]) {
            let y = lane.y + LANE / 2.0;
            points.extend([(lane.x, y), (lane.x + lane.width, y)]);
        }
        points.push((to.x, to.y + BOX_HEIGHT / 2.0));
        points
    };
    drawing.arrows.iter().zip(&columns.passed).map(|(arrow, passed)| route(arrow, passed)).collect()
}

/// A label for each label that there is between two tasks, in the gap before the second one. In a gap each has
/// a line of its own, as near to its arrow as that allows.
fn labels(drawing: &Drawing, routes: &[Vec<(f64, f64)>]) -> Vec<Label> {
    let mut seen = BTreeSet::new();
    let mut gaps: BTreeMap<u64, Vec<Label>> = BTreeMap::new();
    for (at, (arrow, route)) in drawing.arrows.iter().zip(routes).enumerate() {
        let tasks = [arrow.from, arrow.to].map(|at| drawing.shapes[at].task);
        let [.., (x1, y1), (x2, y2)] = route.as_slice() else { continue };
        if !arrow.label.is_empty() && seen.insert((tasks, &arrow.label)) {
            let label = Label { arrow: at, x: (x1 + x2) / 2.0, y: (y1 + y2) / 2.0 - 5.0 };
            gaps.entry(x2.to_bits()).or_default().push(label);
        }
    }
    for labels in gaps.values_mut() {
        labels.sort_by(|one, two| one.y.total_cmp(&two.y));
        let mut free = LABEL_FONT + 2.0;
        for label in labels {
            label.y = label.y.max(free);
            free = label.y + LABEL_LINE;
        }
    }
    gaps.into_values().flatten().collect()
}
