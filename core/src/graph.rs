//! The graph of tasks: what is checked, counted and drawn before a run, and the plan that is
//! derived from it.

mod collisions;
mod cycles;
mod inputs;
mod only;
pub(crate) mod temporary;
mod values;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::engine::{GatherPlan, MapEdge, RunPlan, TaskPlan, Width};
use crate::grids::{GridError, Grids};
use crate::ids::{Micros, TaskId};
use crate::pipeline::{
    Clause, Conduct, Outcomes, Pattern, Pipeline, Quantifier, Targets, Task, TaskAction,
};
use crate::space::SpaceError;
use crate::template::{Placeholder, Template};

pub use collisions::{Collision, Taken, collisions, taken};
pub use cycles::find_cycles;
pub use inputs::{Missing, missing};
pub use only::only;

/// Why a pipeline has no graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A task, an output or a variable that the pipeline does not have. The parser never makes one.
    #[error("task `{task}` refers to {what} that does not exist")]
    Dangling {
        /// The task.
        task: String,
        /// What is missing.
        what: &'static str,
    },
    /// Tasks that wait for each other: each for the one before it, the first for the last.
    #[error("cycle of {} tasks", .0.len())]
    Cycle(Vec<TaskId>),
    /// A sweep without points.
    #[error("sweep of task {task}: {error}")]
    Space {
        /// The task.
        task: TaskId,
        /// What is wrong.
        error: SpaceError,
    },
    /// More instances than can be counted.
    #[error("task {task} has more than 4294967295 instances")]
    TooWide {
        /// The task.
        task: TaskId,
    },
    /// Groups that cannot be made. The parser never makes one.
    #[error("the instances that task {task} gathers cannot be put into groups")]
    Groups {
        /// The task.
        task: TaskId,
    },
}

/// How the instances of two tasks are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeKind {
    /// Element-wise, with this many downstream instances for each upstream one.
    Map(u32),
    /// All upstream instances into one, or those of a group.
    Gather,
    /// The captured array of the upstream decides the width of the downstream.
    Scatter,
    /// A clause of `after`, by position.
    After(u32),
    /// A clause of `follow`, by position.
    Follow(u32),
    /// A placeholder that names a single task.
    Reference,
}

/// The graph of tasks; instances are implied.
#[derive(Clone, Debug)]
pub struct Graph {
    /// A task is the vertex of its number.
    graph: DiGraph<(), EdgeKind>,
    widths: Vec<Width>,
    /// The group tables of tasks that gather by parameters.
    groups: FxHashMap<TaskId, Arc<[u32]>>,
    order: Vec<TaskId>,
}

impl Graph {
    /// The graph of a pipeline.
    ///
    /// # Errors
    /// The first of the problems in [`GraphError`].
    pub fn new(pipeline: &Pipeline) -> Result<Graph, GraphError> {
        check_references(pipeline)?;
        let pairs = edges_of(pipeline);
        let plain: Vec<_> = pairs.iter().map(|&(from, to, _)| (from, to)).collect();
        let mut graph = DiGraph::with_capacity(pipeline.tasks.len(), pairs.len());
        for _ in &pipeline.tasks {
            graph.add_node(());
        }
        for &(from, to, kind) in &pairs {
            graph.add_edge(vertex(from), vertex(to), kind);
        }
        let order = toposort(&graph);
        if order.len() < pipeline.tasks.len() {
            let cycles = find_cycles(pipeline.tasks.len(), &plain);
            return Err(GraphError::Cycle(cycles.into_iter().next().unwrap_or_default()));
        }
        let widths = vec![Width::Known(1); pipeline.tasks.len()];
        let mut graph = Graph { graph, widths, groups: FxHashMap::default(), order };
        graph.set_widths(pipeline)?;
        Ok(graph)
    }

    /// The number of instances of each task.
    #[must_use]
    pub fn widths(&self) -> &[Width] {
        &self.widths
    }

    /// The number of instances of a task; `None` when it is known only at run time, or when there
    /// is no such task.
    #[must_use]
    pub fn width(&self, task: TaskId) -> Option<u32> {
        self.widths.get(task.at())?.known()
    }

    /// Whether the number of instances is known only at run time: that of a scatter, of a task with
    /// `targets = "each"`, and of the maps of such tasks.
    #[must_use]
    pub fn is_dynamic(&self, task: TaskId) -> bool {
        self.widths.get(task.at()).is_some_and(|width| width.is_late())
    }

    /// The group of each instance of the only upstream of a task that gathers by parameters. A
    /// group is the index of the instance that gathers it.
    #[must_use]
    pub fn groups(&self, task: TaskId) -> Option<&Arc<[u32]>> {
        self.groups.get(&task)
    }

    /// How many instances the largest group of a gather has; `None` when it is known only at run
    /// time. `gathered` are the tasks that it gathers.
    #[must_use]
    pub fn largest_group(&self, task: TaskId, gathered: &[TaskId]) -> Option<u64> {
        if let Some(groups) = self.groups(task) {
            let mut sizes = vec![0u64; self.widths[task.at()].each() as usize];
            groups.iter().for_each(|group| sizes[*group as usize] += 1);
            return Some(sizes.into_iter().max().unwrap_or(0));
        }
        gathered.iter().map(|task| self.width(*task).map(u64::from)).sum()
    }

    /// The tasks in an order in which each comes after its upstreams; among several possible
    /// orders, the one closest to the author's.
    #[must_use]
    pub fn toposort(&self) -> &[TaskId] {
        &self.order
    }

    /// The number of instances of the whole pipeline, without those of tasks whose number of
    /// instances is known only at run time.
    #[must_use]
    pub fn instances(&self) -> u64 {
        self.widths.iter().filter_map(|width| width.known()).map(u64::from).sum()
    }

    /// The edges between tasks: upstream, downstream and how their instances are joined. Two tasks
    /// can have several.
    pub fn task_edges(&self) -> impl Iterator<Item = (TaskId, TaskId, EdgeKind)> {
        let edges = self.graph.edge_references();
        edges.map(|edge| (task_of(edge.source()), task_of(edge.target()), *edge.weight()))
    }

    /// The tasks that a task waits for, each once for every edge.
    pub fn upstreams(&self, task: TaskId) -> impl Iterator<Item = TaskId> {
        self.graph.neighbors_directed(vertex(task), Direction::Incoming).map(task_of)
    }

    /// The number of dependencies between instances: an upstream of width n and a downstream of
    /// width m count n × m, except for a map, which counts m, and a gather of groups, which counts
    /// n. Two tasks count once, however often the one is mentioned by the other. Those from and to
    /// tasks whose width is known only at run time are not counted.
    #[must_use]
    pub fn edges(&self) -> u64 {
        let mut pairs: FxHashMap<(TaskId, TaskId), u64> = FxHashMap::default();
        for (from, to, kind) in self.task_edges() {
            let (Some(n), Some(m)) = (self.width(from), self.width(to)) else { continue };
            let (n, m) = (u64::from(n), u64::from(m));
            let count = match kind {
                // A mere reference is to a single task: 1 × m, the same as a map.
                EdgeKind::Map(_) | EdgeKind::Reference => m,
                EdgeKind::Gather if self.groups.contains_key(&to) => n,
                _ => n * m,
            };
            let most = pairs.entry((from, to)).or_insert(0);
            *most = count.max(*most);
        }
        pairs.into_values().fold(0, u64::saturating_add)
    }

    /// The plan for the state machine. `pipeline` is the one that the graph was made of; the caller
    /// fills in the weights and the seed.
    #[must_use]
    pub fn plan(&self, pipeline: &Pipeline, fail_fast: bool) -> RunPlan {
        let tasks = pipeline.tasks.iter().zip(&self.widths);
        // Most tasks have the options of the one before.
        let mut conduct = Arc::<Conduct>::default();
        let plan = |(id, (task, &width)): (usize, (&Task, &Width))| {
            if *conduct != task.conduct {
                conduct = Arc::new(task.conduct.clone());
            }
            self.task_plan(pipeline, TaskId(id as u32), width, Arc::clone(&conduct))
        };
        let tasks: Vec<TaskPlan> = tasks.enumerate().map(plan).collect();
        let values = values::edges(pipeline, &tasks);
        let temporary = temporary::of(pipeline, &tasks);
        RunPlan { tasks, values, temporary, fail_fast, ..RunPlan::default() }
    }

    fn task_plan(
        &self,
        pipeline: &Pipeline,
        id: TaskId,
        width: Width,
        conduct: Arc<Conduct>,
    ) -> TaskPlan {
        let task = &pipeline.tasks[id.at()];
        let all_succeed = |upstreams: Vec<TaskId>| Clause {
            upstreams,
            quantifier: Quantifier::All,
            on: Outcomes::Success,
        };
        let gathered = task.pattern.gathered();
        let groups = self.groups.get(&id);
        let gather = (groups.is_some() || conduct.min_success.is_some()) && !gathered.is_empty();
        let gather = gather.then(|| GatherPlan {
            upstreams: gathered.to_vec(),
            groups: groups.cloned(),
            min_success: conduct.min_success,
        });
        let scatter = match task.pattern {
            Pattern::Scatter(scatter) => Some(scatter),
            _ => None,
        };
        let mut clauses = Vec::new();
        // The upstreams of a tolerant gather need not succeed.
        if gather.is_none() && !gathered.is_empty() {
            clauses.push(all_succeed(gathered.to_vec()));
        }
        if let Some(scatter) = &scatter {
            clauses.push(all_succeed(vec![scatter.from]));
        }
        // Long chains of maps are walked only where it matters.
        let mapped =
            if task.references.is_empty() { FxHashSet::default() } else { map_chain(pipeline, id) };
        let mut references = task.references.clone();
        if !references.is_empty() {
            let listed: FxHashSet<TaskId> =
                clauses.iter().flat_map(|clause| &clause.upstreams).copied().collect();
            references.retain(|upstream| !mapped.contains(upstream) && !listed.contains(upstream));
        }
        if !references.is_empty() {
            clauses.push(all_succeed(references));
        }
        let implied = clauses.len() as u32;
        clauses.extend(task.after.iter().chain(&task.follow).cloned());
        let edges = self.graph.edges_directed(vertex(id), Direction::Incoming);
        let map = edges.filter_map(|edge| match edge.weight() {
            EdgeKind::Map(factor) => {
                Some(MapEdge { upstream: task_of(edge.source()), factor: *factor })
            }
            _ => None,
        });
        TaskPlan {
            width,
            map: map.last(),
            scatter,
            gather,
            clauses,
            implied,
            follows: task.follow.len() as u32,
            function: match &task.action {
                TaskAction::Call(call) => Some((call.function.clone(), call.signature)),
                TaskAction::Run(_) | TaskAction::Shell(_) | TaskAction::Script(_) => None,
            },
            conduct,
            weight: Micros(0),
        }
    }

    fn set_widths(&mut self, pipeline: &Pipeline) -> Result<(), GraphError> {
        let mut grids = Grids::new(pipeline);
        for &id in &self.order {
            let task = &pipeline.tasks[id.at()];
            let own = grids.own(id)?;
            let width = own.width();
            if let Some(groups) = own.groups {
                self.groups.insert(id, groups);
            }
            let late = task.conduct.targets == Targets::Each
                || match task.pattern {
                    Pattern::Scatter(_) => true,
                    Pattern::Map(upstream) => self.is_dynamic(upstream),
                    _ => false,
                };
            let each = match task.pattern {
                Pattern::Own
                | Pattern::Scatter(_)
                | Pattern::GatherBy(..)
                | Pattern::GatherEvery(..) => width,
                Pattern::Gather(_) => 1,
                Pattern::Map(upstream) => self.widths[upstream.at()]
                    .each()
                    .checked_mul(width)
                    .ok_or(GraphError::TooWide { task: id })?,
            };
            self.widths[id.at()] = if late { Width::Late { each } } else { Width::Known(each) };
            if let Pattern::Map(upstream) = task.pattern {
                let edges = self.graph.edges_connecting(vertex(upstream), vertex(id));
                let map = edges.filter(|edge| matches!(edge.weight(), EdgeKind::Map(_)));
                if let Some(edge) = map.map(|edge| edge.id()).last() {
                    self.graph[edge] = EdgeKind::Map(width);
                }
            }
        }
        Ok(())
    }
}

impl From<GridError> for GraphError {
    fn from(error: GridError) -> GraphError {
        match error {
            GridError::Space(task, error) => GraphError::Space { task, error },
            GridError::Task(task) | GridError::Groups(task) => GraphError::Groups { task },
        }
    }
}

fn vertex(task: TaskId) -> NodeIndex {
    NodeIndex::new(task.at())
}

fn task_of(vertex: NodeIndex) -> TaskId {
    TaskId(vertex.index() as u32)
}

/// The tasks that a task maps, directly and through others, the nearest first.
fn map_chain(pipeline: &Pipeline, task: TaskId) -> FxHashSet<TaskId> {
    let mut chain = FxHashSet::default();
    let mut at = task;
    while let Some(Pattern::Map(upstream)) = pipeline.tasks.get(at.at()).map(|task| &task.pattern) {
        if !chain.insert(*upstream) {
            break;
        }
        at = *upstream;
    }
    chain
}

/// Every edge between tasks: upstream, downstream, kind. Maps have a factor of 1 for the moment.
fn edges_of(pipeline: &Pipeline) -> Vec<(TaskId, TaskId, EdgeKind)> {
    let mut edges = Vec::new();
    for (id, task) in pipeline.tasks.iter().enumerate() {
        let id = TaskId(id as u32);
        match &task.pattern {
            Pattern::Own => {}
            Pattern::Map(upstream) => edges.push((*upstream, id, EdgeKind::Map(1))),
            Pattern::Gather(_) | Pattern::GatherBy(..) | Pattern::GatherEvery(..) => {
                let gathered = task.pattern.gathered();
                edges.extend(gathered.iter().map(|&upstream| (upstream, id, EdgeKind::Gather)));
            }
            Pattern::Scatter(scatter) => edges.push((scatter.from, id, EdgeKind::Scatter)),
        }
        for (position, clause) in task.after.iter().enumerate() {
            let kind = EdgeKind::After(position as u32);
            edges.extend(clause.upstreams.iter().map(|&upstream| (upstream, id, kind)));
        }
        for (position, clause) in task.follow.iter().enumerate() {
            let kind = EdgeKind::Follow(position as u32);
            edges.extend(clause.upstreams.iter().map(|&upstream| (upstream, id, kind)));
        }
        edges.extend(task.references.iter().map(|&upstream| (upstream, id, EdgeKind::Reference)));
    }
    edges
}

/// Fails when a task refers to something that does not exist.
fn check_references(pipeline: &Pipeline) -> Result<(), GraphError> {
    let tasks = &pipeline.tasks;
    for task in tasks {
        let dangling = |what| Err(GraphError::Dangling { task: task.name.clone(), what });
        let clauses = task.after.iter().chain(&task.follow);
        let clauses = clauses.flat_map(|clause| &clause.upstreams);
        let mut upstreams = task.pattern.upstreams().iter().chain(clauses).chain(&task.references);
        if upstreams.any(|upstream| upstream.at() >= tasks.len()) {
            return dangling("a task");
        }
        if let TaskAction::Call(call) = &task.action
            && call.gathered().iter().any(|from| !task.pattern.gathered().contains(from))
        {
            return dangling("a gathered task");
        }
        if task.named.iter().any(|(_, at)| (*at as usize) >= task.inputs.len())
            || task.inputs.iter().any(Template::has_input)
        {
            return dangling("an input");
        }
        for placeholder in task.placeholders() {
            let output_exists = |upstream: &Task, at: u32| (at as usize) < upstream.outputs.len();
            match placeholder {
                Placeholder::UpstreamOut(upstream, output) => match tasks.get(upstream.at()) {
                    Some(upstream) if output_exists(upstream, *output) => {}
                    _ => return dangling("an output"),
                },
                Placeholder::UpstreamValue(upstream, _)
                | Placeholder::UpstreamValueFile(upstream)
                | Placeholder::Manifest(upstream)
                    if upstream.at() >= tasks.len() =>
                {
                    return dangling("a task");
                }
                Placeholder::Out(output) if !output_exists(task, *output) => {
                    return dangling("an output");
                }
                Placeholder::In(input) if (*input as usize) >= task.named.len() => {
                    return dangling("an input");
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Kahn's algorithm, smallest task first. Tasks in and behind cycles are missing.
fn toposort(graph: &DiGraph<(), EdgeKind>) -> Vec<TaskId> {
    let mut waiting: Vec<usize> = graph
        .node_indices()
        .map(|vertex| graph.edges_directed(vertex, Direction::Incoming).count())
        .collect();
    let free = waiting.iter().enumerate().filter(|(_, edges)| **edges == 0);
    let mut ready: BinaryHeap<Reverse<usize>> = free.map(|(at, _)| Reverse(at)).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(Reverse(at)) = ready.pop() {
        order.push(TaskId(at as u32));
        for downstream in graph.neighbors(NodeIndex::new(at)) {
            let waiting = &mut waiting[downstream.index()];
            *waiting -= 1;
            if *waiting == 0 {
                ready.push(Reverse(downstream.index()));
            }
        }
    }
    order
}
