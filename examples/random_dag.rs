//! A random graph of tasks, checked against the times at which they ran.
//!
//! ```console
//! $ cargo run --release --example random_dag
//! ```
//!
//! Each task waits for a random time and returns when it started and when it finished. Afterwards
//! each must have started after all tasks that it depends on had finished. In the plot, time goes
//! to the right, and so must all lines.

#![allow(clippy::print_stdout, reason = "a program for people")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their inputs")]

#[path = "random_dag/plot.rs"]
mod plot;

use std::error::Error;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use dagrun::{Cluster, Dag, Handle};
use dagrun_example_support::options::Common;
use rand::seq::index;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

/// Runs a random graph of tasks and checks that their order was kept
#[derive(Debug, Parser)]
struct Arguments {
    /// How many tasks there are [default: 64]
    #[arg(long, value_name = "N")]
    tasks: Option<usize>,
    /// How many layers they are in [default: 8]
    #[arg(long, value_name = "N")]
    layers: Option<usize>,
    /// The longest that a task waits, in milliseconds [default: 200]
    #[arg(long, value_name = "MS")]
    longest: Option<u64>,
    #[command(flatten)]
    common: Common,
}

/// A graph in layers: `parents[task]` are the tasks that must finish before it starts, all of them
/// smaller numbers.
#[derive(Clone, Debug)]
struct Graph {
    parents: Vec<Vec<usize>>,
    waits: Vec<Wait>,
    /// The layer of each task, from 0.
    layers: Vec<usize>,
}

/// What a task does.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Wait {
    micros: u64,
}

/// When a task ran, in nanoseconds since 1970 by the clock of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    start: u64,
    finish: u64,
}

/// A line of the graph along which the order was not kept.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    parent: usize,
    child: usize,
}

/// Waits: half of the time asleep and half of it busy.
#[dagrun::task]
fn wait(how_long: Wait) -> Span {
    let start = now();
    thread::sleep(Duration::from_micros(how_long.micros / 2));
    while now() < start + how_long.micros * 1_000 {
        std::hint::spin_loop();
    }
    Span { start, finish: now() }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

impl Graph {
    /// A random graph: each task after the first layer has one to three parents, one of them in the
    /// layer before and the others anywhere earlier.
    fn random(tasks: usize, layers: usize, longest: u64, seed: u64) -> Graph {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let layers = layers.clamp(1, tasks.max(1));
        let layer_of: Vec<usize> = (0..tasks).map(|task| task * layers / tasks).collect();
        let parents = (0..tasks)
            .map(|task| {
                let first = |layer: usize| layer_of.partition_point(|&other| other < layer);
                let layer = layer_of[task];
                if layer == 0 {
                    return Vec::new();
                }
                let near = random.random_range(first(layer - 1)..first(layer));
                let more = random.random_range(0..3usize).min(first(layer) - 1);
                let mut parents: Vec<usize> =
                    index::sample(&mut random, first(layer), more).into_iter().collect();
                parents.push(near);
                parents.sort_unstable();
                parents.dedup();
                parents
            })
            .collect();
        let shortest = longest / 10;
        let waits = (0..tasks)
            .map(|_| Wait { micros: random.random_range(shortest * 1_000..=longest * 1_000) })
            .collect();
        Graph { parents, waits, layers: layer_of }
    }

    /// The lines along which a child started before its parent had finished.
    fn violations(&self, spans: &[Span]) -> Vec<Violation> {
        self.edges()
            .filter(|&(parent, child)| spans[child].start < spans[parent].finish)
            .map(|(parent, child)| Violation { parent, child })
            .collect()
    }

    fn edges(&self) -> impl Iterator<Item = (usize, usize)> {
        let parents = self.parents.iter().enumerate();
        parents.flat_map(|(child, parents)| parents.iter().map(move |&parent| (parent, child)))
    }

    /// A task for each, after its parents.
    fn dag(&self) -> (Dag, Vec<Handle<Span>>) {
        let dag = Dag::new("random");
        let mut handles: Vec<Handle<Span>> = Vec::with_capacity(self.waits.len());
        for (parents, how_long) in self.parents.iter().zip(&self.waits) {
            let mut handle = dag.task(wait, (how_long.clone(),));
            if !parents.is_empty() {
                let parents: Vec<_> = parents.iter().map(|&parent| &handles[parent]).collect();
                handle = handle.after(parents);
            }
            handles.push(handle);
        }
        (dag, handles)
    }

    /// No run can be shorter than this, in seconds: the longest way through the graph, and the whole
    /// work shared by so many slots.
    fn shortest(&self, slots: usize) -> f64 {
        let mut ends: Vec<u64> = Vec::with_capacity(self.waits.len());
        for (parents, each) in self.parents.iter().zip(&self.waits) {
            let start = parents.iter().map(|&parent| ends[parent]).max().unwrap_or(0);
            ends.push(start + each.micros);
        }
        let longest_way = ends.into_iter().max().unwrap_or(0);
        let work: u64 = self.waits.iter().map(|each| each.micros).sum();
        (longest_way as f64).max(work as f64 / slots as f64) / 1e6
    }
}

/// From the first start to the last finish, in seconds.
fn makespan(spans: &[Span]) -> f64 {
    let start = spans.iter().map(|span| span.start).min().unwrap_or(0);
    let finish = spans.iter().map(|span| span.finish).max().unwrap_or(0);
    (finish - start) as f64 / 1e9
}

fn main() -> Result<(), Box<dyn Error>> {
    dagrun::init();
    run(&Arguments::parse()).map(|_| ())
}

fn run(arguments: &Arguments) -> Result<Vec<Span>, Box<dyn Error>> {
    let common = &arguments.common;
    let tasks = arguments.tasks.unwrap_or(common.sized(64, 24)).max(1);
    let layers = arguments.layers.unwrap_or(common.sized(8, 5));
    let longest = arguments.longest.unwrap_or(common.sized(200, 10));
    let graph = Graph::random(tasks, layers, longest, common.seed);

    let slots = common.slots();
    let builder = Cluster::builder().slots(common.slots_each());
    let cluster = builder.processes(common.processes).start()?;
    let (dag, handles) = graph.dag();
    let run = cluster.submit(&dag).wait()?;
    let spans = handles.iter().map(|handle| run.result(handle).wait());
    let spans: Vec<Span> = spans.collect::<Result<_, _>>()?;

    let violations = graph.violations(&spans);
    println!("{tasks} tasks in {layers} layers, {} dependencies", graph.edges().count());
    let (took, least) = (makespan(&spans), graph.shortest(slots));
    println!("{took:.3} s on {slots} slots; no run takes less than {least:.3} s");
    let path = common.out.join("random_dag.png");
    plot::draw(&path, &graph, &spans)?;
    println!("plot: {}", path.display());
    match violations.first() {
        None => println!("every task started after all that it depends on had finished"),
        Some(Violation { parent, child }) => {
            let message = format!(
                "{} dependencies were not kept: {child} started before {parent} had finished",
                violations.len()
            );
            return Err(message.into());
        }
    }
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_in_layers_and_the_same_for_the_same_seed() {
        let graph = Graph::random(50, 6, 100, 9);
        for (parent, child) in graph.edges() {
            assert!(graph.layers[parent] < graph.layers[child]);
        }
        for (task, parents) in graph.parents.iter().enumerate() {
            let layer = graph.layers[task];
            assert!(parents.len() <= 3);
            assert_eq!(parents.is_empty(), layer == 0);
            assert!(layer == 0 || parents.iter().any(|&near| graph.layers[near] + 1 == layer));
        }
        assert_eq!(graph.parents, Graph::random(50, 6, 100, 9).parents);
        assert_ne!(graph.parents, Graph::random(50, 6, 100, 10).parents);
    }

    #[test]
    fn small_graphs_can_be_made() {
        assert!(Graph::random(0, 3, 1, 1).parents.is_empty());
        assert_eq!(Graph::random(1, 3, 1, 1).parents, [[0usize; 0]]);
        assert_eq!(Graph::random(3, 3, 1, 1).edges().count(), 3);
    }

    #[test]
    fn a_start_before_a_parent_finished_is_found() {
        let waits = vec![Wait { micros: 10 }; 3];
        let graph =
            Graph { parents: vec![vec![], vec![0], vec![0, 1]], waits, layers: vec![0, 1, 2] };
        let span = |start, finish| Span { start, finish };
        assert!(graph.violations(&[span(0, 10), span(10, 20), span(25, 30)]).is_empty());
        let early = graph.violations(&[span(0, 10), span(10, 20), span(15, 30)]);
        assert_eq!(early, [Violation { parent: 1, child: 2 }]);
        assert_eq!(graph.shortest(8), 30e-6);
    }

    #[test]
    fn a_wait_is_as_long_as_was_asked() {
        let before = now();
        let span = wait(Wait { micros: 2_000 });
        assert!(before <= span.start && span.finish >= span.start + 2_000_000);
    }

    #[test]
    fn a_small_run_keeps_the_order_and_draws_it() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().to_str().unwrap();
        let spans = run(&Arguments::parse_from(["dag", "--quick", "--out", out])).unwrap();
        assert_eq!(spans.len(), 24);
        assert!(folder.path().join("random_dag.png").exists());
    }
}
