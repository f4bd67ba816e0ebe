//! The graph: order, cycles, widths, plans, parts, collisions and pictures.

use dagrun_core::draw::{to_dot, to_mermaid, to_svg, to_svg_of_run};
use dagrun_core::engine::MapEdge;
use dagrun_core::graph::{EdgeKind, Graph, GraphError, collisions, find_cycles, only};
use dagrun_core::ids::TaskId;
use dagrun_core::pipeline::{
    Capture, Clause, Outcomes, Pattern, Pipeline, Quantifier, Task, TaskAction,
};
use dagrun_core::space::{Axis, Points, Space};
use dagrun_core::status::State;
use dagrun_core::template::{Part, Placeholder, Template};
use proptest::prelude::*;

fn task(name: &str) -> Task {
    Task::new(name, TaskAction::Run(vec![Template::literal("true")]))
}

fn range(name: &str, n: u32) -> Option<Space> {
    let points = Points::Range { first: 0, step: 1, n };
    let axis = Axis { name: name.to_owned(), names: vec![name.to_owned()], points };
    Some(Space { axes: vec![axis], ..Space::default() })
}

fn after(upstreams: &[u32]) -> Clause {
    Clause {
        upstreams: upstreams.iter().copied().map(TaskId).collect(),
        quantifier: Quantifier::All,
        on: Outcomes::Success,
    }
}

fn pipeline(tasks: Vec<Task>) -> Pipeline {
    Pipeline { name: "test \"<1>\"".to_owned(), vars: Vec::new(), tasks }
}

fn path(parts: &[Result<&str, Placeholder>]) -> Vec<(String, Template)> {
    let part = |part: &Result<&str, Placeholder>| match part {
        Ok(text) => Part::Literal((*text).to_owned()),
        Err(placeholder) => Part::Placeholder(placeholder.clone()),
    };
    vec![("x".to_owned(), Template { parts: parts.iter().map(part).collect() })]
}

fn param(name: &str) -> Placeholder {
    Placeholder::Param(name.to_owned(), Vec::new())
}

/// mesh ×4 → relax (map ×3) → report (gather), report → notify (after), mesh → notify
/// (reference of a single task `setup`).
fn example() -> Pipeline {
    let mut mesh = task("mesh");
    mesh.sweep = range("h", 4);
    let mut relax = task("relax");
    relax.pattern = Pattern::Map(TaskId(0));
    relax.sweep = range("tol", 3);
    let mut report = task("report");
    report.pattern = Pattern::Gather(vec![TaskId(1)]);
    report.references = vec![TaskId(4)];
    let mut notify = task("notify");
    notify.after = vec![Clause { on: Outcomes::Finish, ..after(&[2, 1]) }];
    pipeline(vec![mesh, relax, report, notify, task("setup")])
}

#[test]
fn widths_edges_and_plan() {
    let pipeline = example();
    let graph = Graph::new(&pipeline).unwrap();
    assert_eq!(graph.widths(), [4, 12, 1, 1, 1]);
    assert_eq!(graph.instances(), 19);
    assert_eq!(graph.edges(), 12 + 12 + 1 + (1 + 12));
    assert_eq!(graph.toposort(), [0, 1, 4, 2, 3].map(TaskId));
    assert!(graph.task_edges().any(|edge| edge == (TaskId(0), TaskId(1), EdgeKind::Map(3))));
    let plan = graph.plan(&pipeline, true);
    assert!(plan.fail_fast);
    assert_eq!(plan.tasks[1].map, Some(MapEdge { upstream: TaskId(0), factor: 3 }));
    assert_eq!(plan.tasks[2].clauses, [after(&[1]), after(&[4])]);
    assert_eq!((plan.tasks[2].implied, plan.tasks[3].implied), (2, 0));
    assert_eq!(plan.tasks[3].clauses, pipeline.tasks[3].after);
    assert_eq!(plan.tasks[1].width, 12);
}

#[test]
fn the_example_of_the_command_line() {
    let mut price = task("price");
    price.sweep = range("p", 225);
    let mut surface = task("surface");
    surface.pattern = Pattern::Gather(vec![TaskId(0)]);
    let graph = Graph::new(&pipeline(vec![price, surface])).unwrap();
    assert_eq!((graph.widths().len(), graph.instances(), graph.edges()), (2, 226, 225));
}

#[test]
fn too_wide_and_dangling() {
    let mut first = task("first");
    first.sweep = range("a", 70_000);
    let mut second = task("second");
    second.pattern = Pattern::Map(TaskId(0));
    second.sweep = range("b", 70_000);
    let error = Graph::new(&pipeline(vec![first, second])).unwrap_err();
    assert_eq!(error, GraphError::TooWide { task: TaskId(1) });
    for change in [
        (|task: &mut Task| task.after = vec![after(&[7])]) as fn(&mut Task),
        |task| task.references = vec![TaskId(7)],
        |task| task.pattern = Pattern::Map(TaskId(7)),
        |task| task.outputs = path(&[Err(Placeholder::Out(3))]),
        |task| task.outputs = path(&[Err(Placeholder::UpstreamOut(TaskId(0), 3))]),
        |task| task.outputs = path(&[Err(Placeholder::Manifest(TaskId(7)))]),
    ] {
        let mut broken = task("broken");
        change(&mut broken);
        let error = Graph::new(&pipeline(vec![broken])).unwrap_err();
        assert!(matches!(error, GraphError::Dangling { .. }), "{error}");
    }
}

#[test]
fn a_part_of_a_pipeline_keeps_its_meaning() {
    let mut pipeline = example();
    pipeline.tasks.insert(0, task("unrelated"));
    // Every task has moved by one position.
    pipeline.tasks[2].pattern = Pattern::Map(TaskId(1));
    pipeline.tasks[3].pattern = Pattern::Gather(vec![TaskId(2)]);
    pipeline.tasks[3].references = vec![TaskId(5)];
    pipeline.tasks[3].outputs = path(&[Err(Placeholder::Manifest(TaskId(2)))]);
    pipeline.tasks[4].after = vec![after(&[3])];
    let part = only(&pipeline, &[TaskId(3), TaskId(99)]);
    let names: Vec<&str> = part.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["mesh", "relax", "report", "setup"]);
    assert_eq!(part.tasks[1].pattern, Pattern::Map(TaskId(0)));
    assert_eq!(part.tasks[2].pattern, Pattern::Gather(vec![TaskId(1)]));
    assert_eq!(part.tasks[2].references, [TaskId(3)]);
    assert_eq!(part.tasks[2].outputs, path(&[Err(Placeholder::Manifest(TaskId(1)))]));
    Graph::new(&part).unwrap();
}

#[test]
fn long_chains_do_not_overflow_the_stack() {
    let count = 100_000u32;
    let mut edges: Vec<(TaskId, TaskId)> =
        (1..count).map(|at| (TaskId(at - 1), TaskId(at))).collect();
    assert!(find_cycles(count as usize, &edges).is_empty());
    edges.push((TaskId(count - 1), TaskId(0)));
    let cycles = find_cycles(count as usize, &edges);
    assert_eq!(cycles, [(0..count).map(TaskId).collect::<Vec<_>>()]);

    let tasks = (0..count).map(|at| {
        let mut task = task(&format!("t{at}"));
        if at > 0 {
            task.pattern = Pattern::Map(TaskId(at - 1));
        }
        task
    });
    let pipeline = pipeline(tasks.collect());
    let graph = Graph::new(&pipeline).unwrap();
    assert_eq!(graph.plan(&pipeline, false).tasks.len(), count as usize);
    assert_eq!(only(&pipeline, &[TaskId(count - 1)]).tasks.len(), count as usize);
}

proptest! {
    #[test]
    fn order_and_cycles_agree(
        count in 1usize..30,
        pairs in proptest::collection::vec((0u32..30, 0u32..30), 0..60),
    ) {
        let edges: Vec<(TaskId, TaskId)> = pairs
            .into_iter()
            .map(|(from, to)| (TaskId(from % count as u32), TaskId(to % count as u32)))
            .collect();
        let mut tasks: Vec<Task> = (0..count).map(|at| task(&format!("t{at}"))).collect();
        for (from, to) in &edges {
            tasks[to.at()].after.push(after(&[from.0]));
        }
        let cycles = find_cycles(count, &edges);
        let mut reaches = vec![vec![false; count]; count];
        edges.iter().for_each(|(from, to)| reaches[from.at()][to.at()] = true);
        for middle in 0..count {
            for from in 0..count {
                for to in 0..count {
                    reaches[from][to] |= reaches[from][middle] && reaches[middle][to];
                }
            }
        }
        // One cycle for each set of tasks that reach each other, made of real edges.
        let sets: std::collections::BTreeSet<usize> = (0..count)
            .filter(|&at| reaches[at][at])
            .map(|at| (0..count).find(|&other| other == at || reaches[at][other] && reaches[other][at]).unwrap())
            .collect();
        let firsts: Vec<usize> = cycles.iter().map(|cycle| cycle[0].at()).collect();
        prop_assert_eq!(firsts, sets.into_iter().collect::<Vec<_>>());
        for cycle in &cycles {
            for (at, from) in cycle.iter().enumerate() {
                let to = cycle[(at + 1) % cycle.len()];
                prop_assert!(edges.contains(&(*from, to)));
            }
            let distinct: std::collections::BTreeSet<_> = cycle.iter().collect();
            prop_assert_eq!(distinct.len(), cycle.len());
        }
        match Graph::new(&pipeline(tasks)) {
            Ok(graph) => {
                prop_assert!(cycles.is_empty());
                let place = |task: TaskId| {
                    graph.toposort().iter().position(|other| *other == task).unwrap()
                };
                prop_assert!(edges.iter().all(|(from, to)| place(*from) < place(*to)));
            }
            Err(error) => prop_assert_eq!(error, GraphError::Cycle(cycles[0].clone())),
        }
    }

    /// Compares what the templates prove and hashing finds with rendering everything.
    #[test]
    fn collisions_are_found(
        width in prop_oneof![20 => 1u32..40, 1 => Just(5000u32)],
        before in proptest::sample::select(vec!["", "d/", "d/1", "./d/", "d//"]),
        middle in proptest::sample::select(vec![
            Placeholder::Index(1), Placeholder::Index(3), Placeholder::Key, param("p"), Placeholder::RunId,
        ]),
        between in proptest::sample::select(vec!["", "-", "/"]),
        last in proptest::sample::select(vec![Placeholder::Index(1), param("p"), Placeholder::Seed]),
        other in proptest::sample::select(vec!["d/1", "d/1.x", "e/1", "d/007-7", "./d/p=3-3"]),
    ) {
        let mut first = task("first");
        first.sweep = range("p", width);
        first.outputs = path(&[Ok(before), Err(middle), Ok(between), Err(last)]);
        let mut second = task("second");
        second.outputs = path(&[Ok(other)]);
        let pipeline = pipeline(vec![first, second]);
        let context = dagrun_core::pipeline::RunContext {
            run: 0, run_dir: "/r".into(), base_dir: "/b".into(), seed: 0,
        };
        let mut seen = std::collections::BTreeMap::new();
        let mut expected = false;
        for (id, width) in [(0, width), (1, 1)] {
            let recipe = dagrun_core::recipe::Recipe::new(&pipeline, TaskId(id), &context).unwrap();
            for index in 0..width {
                let path = recipe.invocation(index, 1, &[]).unwrap().outputs.remove(0).target;
                // `components` drops `.` and doubled slashes.
                let path: std::path::PathBuf = path.components().collect();
                expected |= seen.insert(path, ()).is_some();
            }
        }
        let found = collisions(&pipeline, &Graph::new(&pipeline).unwrap());
        prop_assert_eq!(!found.is_empty(), expected, "{:?}", found);
        prop_assert!(found.len() <= 8);
        prop_assert!(found.iter().all(|collision| collision.first < collision.second));
    }
}

#[test]
fn collisions_of_large_arrays() {
    let mut first = task("first");
    first.sweep = range("p", 100_000);
    first.outputs = path(&[Ok("out/"), Err(Placeholder::Index(3)), Ok(".json")]);
    let mut second = first.clone();
    second.outputs = path(&[Ok("other/"), Err(Placeholder::Key), Ok(".json")]);
    let mut third = task("third");
    third.outputs = path(&[Ok("out/x.json")]);
    let mut tasks = vec![first, second, third];
    let found = |tasks: &[Task]| {
        let pipeline = pipeline(tasks.to_vec());
        collisions(&pipeline, &Graph::new(&pipeline).unwrap())
    };
    // The third looks as if it could be one of the first, so that those are rendered.
    assert_eq!(found(&tasks), []);
    tasks[2].outputs = path(&[Ok("out/../out/77777.json")]);
    let collisions = found(&tasks);
    assert_eq!(collisions.len(), 1);
    let collision = &collisions[0];
    assert_eq!(collision.path, std::path::Path::new("out/77777.json"));
    assert_eq!((collision.first.task, collision.first.index), (TaskId(0), 77_777));
    assert_eq!((collision.second.task, collision.second.index), (TaskId(2), 0));
    // One path for all instances: the first few are enough.
    tasks[0].outputs = path(&[Ok("same")]);
    assert_eq!(found(&tasks).len(), 4);
}

#[test]
fn unknown_paths_are_left_out() {
    let mut first = task("first");
    first.capture = Capture::Text;
    let mut second = task("second");
    second.sweep = range("p", 2);
    second.references = vec![TaskId(0)];
    second.outputs = path(&[Err(Placeholder::UpstreamValue(TaskId(0), Vec::new()))]);
    let pipeline = pipeline(vec![first, second]);
    assert_eq!(collisions(&pipeline, &Graph::new(&pipeline).unwrap()), []);
}

#[test]
fn pictures() {
    let pipeline = example();
    let graph = Graph::new(&pipeline).unwrap();
    insta::assert_snapshot!("dot", to_dot(&pipeline, &graph, false));
    insta::assert_snapshot!("mermaid", to_mermaid(&pipeline, &graph, false));
    let svg = to_svg(&pipeline, &graph, false);
    assert!(svg.contains("mesh ×4") && svg.contains("&lt;1&gt;") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("<path d=\"M").count(), 5 + 1);
    let instances = to_dot(&pipeline, &graph, true);
    assert!(instances.contains("t0_3 -> t1_11 [label=\"map ×3\"]"));
    assert_eq!(instances.matches(" -> ").count() as u64, graph.edges());
    assert!(to_svg(&pipeline, &graph, true).contains("relax[11]"));
}

/// The numbers in a text behind each `name="`; there is `100%` too.
fn numbers(text: &str, name: &str) -> Vec<f64> {
    let key = format!(" {name}=\"");
    let after = text.split(key.as_str()).skip(1);
    after.filter_map(|rest| rest.split('"').next()?.parse().ok()).collect()
}

#[test]
fn labels_and_edges_of_a_picture_keep_clear() {
    // Long edges past wide boxes, and many labels in one gap.
    let after = |upstream: u32, on| Clause {
        upstreams: vec![TaskId(upstream)],
        quantifier: Quantifier::All,
        on,
    };
    let mut last = task("report of everything that there is to be reported");
    last.after = vec![
        after(0, Outcomes::Finish),
        after(1, Outcomes::Failure),
        after(2, Outcomes::Success),
        after(3, Outcomes::Finish),
    ];
    let chain = |name: &str, upstream: u32| Task {
        after: vec![after(upstream, Outcomes::Success)],
        ..task(name)
    };
    let pipeline = pipeline(vec![
        task("a"),
        chain("a task with a very long name that makes a wide column", 0),
        chain("c", 1),
        chain("d", 0),
        last,
    ]);
    let svg = to_svg(&pipeline, &Graph::new(&pipeline).unwrap(), false);
    let (width, height) = (numbers(&svg, "width")[0], numbers(&svg, "height")[0]);

    let boxes: Vec<[f64; 4]> = svg
        .lines()
        .filter(|line| line.contains("class=\"box"))
        .map(|line| ["x", "y", "width", "height"].map(|name| numbers(line, name)[0]))
        .collect();
    assert_eq!(boxes.len(), 5);
    let labels: Vec<[f64; 4]> = svg
        .lines()
        .filter(|line| line.contains("class=\"label"))
        .map(|line| {
            let text = line.split(['>', '<']).nth(2).unwrap();
            let wide = text.chars().count() as f64 * 0.6 * 11.0;
            [numbers(line, "x")[0] - wide / 2.0, numbers(line, "y")[0] - 11.0, wide, 13.0]
        })
        .collect();
    assert_eq!(labels.len(), 7);
    let overlap = |a: &[f64; 4], b: &[f64; 4]| {
        a[0] < b[0] + b[2] && b[0] < a[0] + a[2] && a[1] < b[1] + b[3] && b[1] < a[1] + a[3]
    };
    for (at, label) in labels.iter().enumerate() {
        let others = boxes.iter().chain(&labels[at + 1..]);
        assert!(others.into_iter().all(|other| !overlap(label, other)), "{svg}");
        assert!(label[0] > 0.0 && label[0] + label[2] < width, "{svg}");
        assert!(label[1] > 0.0 && label[1] + label[3] < height, "{svg}");
    }
    // The straight parts of edges are those that pass a column.
    for line in svg.lines().filter(|line| line.contains("class=\"arrow")) {
        for part in line.split(" L").skip(1) {
            let y: f64 = part.split([',', ' ', '"']).nth(1).unwrap().parse().unwrap();
            let x: f64 = part.split(',').next().unwrap().parse().unwrap();
            let passes = |[left, top, wide, high]: &[f64; 4]| {
                x >= *left && x <= left + wide && y >= *top && y <= top + high
            };
            assert!(!boxes.iter().any(passes), "{part} in {svg}");
        }
    }
    assert!(svg.contains(" L") && svg.contains("prefers-color-scheme: dark"));
}

#[test]
fn boxes_have_the_colours_of_states() {
    let pipeline = example();
    let graph = Graph::new(&pipeline).unwrap();
    let states = |task: TaskId, index: Option<u32>| match (task.0, index) {
        (0, Some(1)) => Some(State::Failed),
        (0, _) => Some(State::Succeeded),
        _ => None,
    };
    let svg = to_svg_of_run(&pipeline, &graph, true, &states);
    assert_eq!(svg.matches("class=\"box succeeded\"").count(), 3);
    assert_eq!(svg.matches("class=\"box failed\"").count(), 1);
    let svg = to_svg_of_run(&pipeline, &graph, false, &states);
    assert_eq!(svg.matches("class=\"box succeeded\"").count(), 1);
}

#[test]
fn a_gather_of_every_so_many_has_an_instance_for_each_part() {
    let every = |upstream, every| Task {
        pattern: Pattern::GatherEvery(TaskId(upstream), every),
        ..task(&format!("every{every}"))
    };
    let tree = pipeline(vec![
        Task { sweep: range("x", 5), ..task("leaves") },
        every(0, 2),
        every(1, 3),
        Task { pattern: Pattern::Map(TaskId(1)), ..task("each") },
    ]);
    let graph = Graph::new(&tree).unwrap();
    assert_eq!(graph.widths(), [5, 3, 1, 3]);
    assert_eq!(&graph.groups(TaskId(1)).unwrap()[..], [0, 0, 1, 1, 2]);
    assert_eq!(&graph.groups(TaskId(2)).unwrap()[..], [0, 0, 0]);
    assert_eq!(graph.edges(), 5 + 3 + 3);
}
