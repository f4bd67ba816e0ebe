//! Cycles among tasks.

use std::collections::VecDeque;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use rustc_hash::FxHashMap;

use crate::ids::TaskId;

/// One cycle for each set of tasks that wait for each other, in linear time and without recursion:
/// a shortest one through the first task of the set. Sorted by first task.
///
/// `edges` are pairs (upstream, downstream) of positions below `tasks`; others are ignored. In a
/// cycle each task is upstream of the next, and the last of the first.
#[must_use]
pub fn find_cycles(tasks: usize, edges: &[(TaskId, TaskId)]) -> Vec<Vec<TaskId>> {
    let mut graph: DiGraph<(), ()> = DiGraph::with_capacity(tasks, edges.len());
    for _ in 0..tasks {
        graph.add_node(());
    }
    for (from, to) in edges.iter().filter(|(from, to)| from.at() < tasks && to.at() < tasks) {
        graph.add_edge(NodeIndex::new(from.at()), NodeIndex::new(to.at()), ());
    }
    // Not `tarjan_scc`, which recurses and overflows the stack on long chains.
    let sets = kosaraju_scc(&graph);
    let mut set_of = vec![0; tasks];
    for (number, set) in sets.iter().enumerate() {
        for vertex in set {
            set_of[vertex.index()] = number;
        }
    }
    let mut cycles: Vec<Vec<TaskId>> =
        sets.iter().filter_map(|set| cycle_in(&graph, set, &set_of)).collect();
    cycles.sort();
    cycles
}

/// A shortest cycle through the first task of a set, by breadth-first search within the set.
fn cycle_in(graph: &DiGraph<(), ()>, set: &[NodeIndex], set_of: &[usize]) -> Option<Vec<TaskId>> {
    let start = *set.iter().min()?;
    let mut came_from: FxHashMap<NodeIndex, NodeIndex> = FxHashMap::default();
    let mut queue = VecDeque::from([start]);
    while let Some(vertex) = queue.pop_front() {
        let mut downstream: Vec<NodeIndex> = graph.neighbors(vertex).collect();
        // The cycle must not depend on the order of the edges.
        downstream.sort_unstable();
        for next in downstream {
            if next == start {
                let mut cycle = vec![TaskId(vertex.index() as u32)];
                let mut at = vertex;
                while let Some(&before) = came_from.get(&at) {
                    cycle.push(TaskId(before.index() as u32));
                    at = before;
                }
                cycle.reverse();
                return Some(cycle);
            }
            if set_of[next.index()] == set_of[start.index()] && !came_from.contains_key(&next) {
                came_from.insert(next, vertex);
                queue.push_back(next);
            }
        }
    }
    None
}
