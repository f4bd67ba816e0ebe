//! Widths that are known only at run time, groups, and the inputs of their instances: from the text
//! of a file to plans and processes.

mod sources;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dagrun_core::draw::{to_dot, to_mermaid};
use dagrun_core::engine::{GatherPlan, MapEdge, Width};
use dagrun_core::graph::{Graph, only};
use dagrun_core::ids::TaskId;
use dagrun_core::parse::{ParseOptions, Parsed, parse};
use dagrun_core::pipeline::{
    Clause, MinSuccess, Outcomes, Pattern, Quantifier, RunContext, Scatter, Split, Targets,
};
use dagrun_core::recipe::{Input, InputKind, InputSpec, Invocation, Items, Recipe, RenderError};
use dagrun_core::value::Value;
use proptest::prelude::*;
use sources::TestFiles;

fn late(each: u32) -> Width {
    Width::Late { each }
}

fn parsed(source: &str) -> Parsed {
    let options = ParseOptions { file_stem: "test", ..ParseOptions::default() };
    match parse(source, &options, &TestFiles) {
        Ok(parsed) => parsed,
        Err(problems) => panic!("{problems:#?}"),
    }
}

fn recipe(parsed: &Parsed, name: &str) -> Recipe {
    let id = id(parsed, name);
    let context =
        RunContext { run: 7, run_dir: "/s/runs/7".into(), base_dir: "/p".into(), seed: 42 };
    let made = Recipe::new(&parsed.pipeline, id, &context).unwrap();
    // The recipe that a worker receives renders the same.
    let sent: Recipe = serde_json::from_slice(&serde_json::to_vec(&*made).unwrap()).unwrap();
    assert_eq!(sent.inputs(), made.inputs());
    made
}

fn id(parsed: &Parsed, name: &str) -> TaskId {
    let at = parsed.pipeline.tasks.iter().position(|task| task.name == name).unwrap();
    TaskId(at as u32)
}

fn words(invocation: &Invocation) -> Vec<String> {
    invocation.argv.iter().map(|word| word.to_str().unwrap().to_owned()).collect()
}

fn item(text: &str) -> Input {
    Input { value: Some(text.into()), outputs: Vec::new(), ..Input::default() }
}

fn all(upstreams: &[TaskId]) -> Clause {
    Clause { upstreams: upstreams.to_vec(), quantifier: Quantifier::All, on: Outcomes::Success }
}

const SCATTERED: &str = r#"
[task.list]
run = "true"
capture = "json"

[task.s]
run = ["s", "{item}", "{item.name}", "{p}", "{index}", "{key}", "{seed}", "{out.o}"]
scatter = "list"
sweep = { p = [1, 2] }
capture = "json"
out.o = "o/{item.name}-{p}"

[task.m]
run = ["m", "{item.name}", "{p}", "{q}", "{s.o}", "{s.value}"]
map = "s"
sweep = { q = ["x", "y", "z"] }

[task.plain]
run = "plain {index}"
map = "s"

[task.script]
shell = "echo $item"
scatter = { from = "m2", parts = 2 }

[task.m2]
run = "true"
map = "s"
capture = "lines"

[task.all]
run = "cat {s.manifest}"
gather = "s"

[task.setup]
run = "true"
after = "m"
follow = { any = ["s", "list"], on = "finish" }
"#;

#[test]
fn a_scatter_is_planned_without_its_width() {
    let parsed = parsed(SCATTERED);
    let (graph, pipeline) = (&parsed.graph, &parsed.pipeline);
    let at = |name| id(&parsed, name);
    let widths: Vec<_> = (0..8).map(|task| graph.width(TaskId(task))).collect();
    assert_eq!(widths, [Some(1), None, None, None, None, None, Some(1), Some(1)]);
    assert!(graph.is_dynamic(at("m")) && !graph.is_dynamic(at("all")));
    assert_eq!(graph.width(TaskId(99)), None);
    assert_eq!((graph.instances(), graph.edges()), (3, 1));
    let plan = graph.plan(pipeline, false);
    let s = &plan.tasks[at("s").at()];
    let scatter = Scatter { from: at("list"), split: Split::Each, max_items: None };
    assert_eq!((s.scatter, s.width, s.map), (Some(scatter), late(2), None));
    assert_eq!((s.clauses.as_slice(), s.implied), (&[all(&[at("list")])][..], 1));
    let m = &plan.tasks[at("m").at()];
    assert_eq!((m.width, m.map), (late(6), Some(MapEdge { upstream: at("s"), factor: 3 })));
    assert_eq!((m.clauses.len(), m.scatter), (0, None));
    let script = &plan.tasks[at("script").at()];
    let scatter = Scatter { from: at("m2"), split: Split::Parts(2), max_items: None };
    assert_eq!((script.scatter, script.width), (Some(scatter), late(1)));
    let all_of_s = &plan.tasks[at("all").at()];
    assert_eq!((all_of_s.clauses.as_slice(), &all_of_s.gather), (&[all(&[at("s")])][..], &None));
    let setup = &plan.tasks[at("setup").at()];
    assert_eq!((setup.clauses.len(), setup.implied, setup.follows), (2, 0, 1));
    assert_eq!(setup.clauses[1], pipeline.tasks[at("setup").at()].follow[0]);
}

#[test]
fn instances_of_a_scatter_get_their_items() {
    let parsed = parsed(SCATTERED);
    let s = recipe(&parsed, "s");
    let spec = InputSpec { task: TaskId(1), factor: Some(2), kind: InputKind::Item };
    assert_eq!((s.inputs(), s.item()), (&[spec][..], Some(spec)));
    assert_eq!([0, 1, 2, 5].map(|index| spec.upstream_index(index)), [0, 0, 1, 2]);
    assert!(s.reports_outputs(), "the item decides the path");
    let input = item(r#"{"name": "a b", "size": 1.50}"#);
    let invocation = s.invocation(5, 1, std::slice::from_ref(&input)).unwrap();
    let words = words(&invocation);
    let text = r#"{"name":"a b","size":1.50}"#;
    assert_eq!(words[..6], ["s", text, "a b", "2", "5", "5"]);
    assert_eq!(words[7], "/p/o/.dagrun-7-1-5-1/a b-2");
    let seed = s.seed(5, std::slice::from_ref(&input)).unwrap();
    assert_eq!(words[6], seed.to_string());
    // The value of the item decides, not its position or spelling.
    let same = item(r#"{"name":"a b","size":1.5}"#);
    assert_eq!(s.seed(1, &[same]).unwrap(), seed);
    assert_ne!(s.seed(4, std::slice::from_ref(&input)).unwrap(), seed);
    assert_ne!(s.seed(5, &[item(r#"{"name":"b"}"#)]).unwrap(), seed);
    for bad in [vec![], vec![item("1")], vec![item("[")], vec![Input::default()]] {
        let error = s.invocation(0, 1, &bad).unwrap_err();
        assert!(matches!(error, RenderError::Placeholder { .. }), "{error}");
    }
    let preview = s.preview(0).unwrap();
    assert_eq!(preview.argv[1..3], ["{item}", "{item.name}"]);
    assert_eq!(preview.argv[6], "{seed}");
    assert_eq!(s.params(3), [("p".to_owned(), Value::Number("2".into()))]);
    let line = s.manifest_line_of_item(3, Some(b"[1]"), "failed", None, &[]);
    let expected =
        r#"{"index":3,"params":{"p":2,"item":[1]},"state":"failed","value":null,"out":{}}"#;
    assert_eq!(String::from_utf8(line).unwrap().trim_end(), expected);
}

#[test]
fn a_map_over_a_scatter_has_its_items() {
    let parsed = parsed(SCATTERED);
    let m = recipe(&parsed, "m");
    let of_s = InputSpec { task: TaskId(1), factor: Some(3), kind: InputKind::Instance };
    let item_spec = InputSpec { task: TaskId(1), factor: Some(6), kind: InputKind::Item };
    assert_eq!(m.inputs(), [of_s, item_spec]);
    // m[10] is of s[3], which is of part 1 and point 1 of its sweep; its own point is 1.
    assert_eq!((of_s.upstream_index(10), item_spec.upstream_index(10)), (3, 1));
    let of_s = Input {
        value: Some(b"\"v\"".to_vec()),
        outputs: vec![b"o/n-2".to_vec()],
        ..Input::default()
    };
    let invocation = m.invocation(10, 1, &[of_s, item(r#"{"name":"n"}"#)]).unwrap();
    assert_eq!(words(&invocation), ["m", "n", "2", "y", "/p/o/n-2", "v"]);
    // A task that does not use the item is not sent it.
    let plain = recipe(&parsed, "plain");
    assert!(plain.inputs().is_empty());
    assert_eq!(plain.item().map(|spec| spec.factor), Some(Some(2)));
    assert_eq!(words(&plain.invocation(9, 1, &[]).unwrap()), ["plain", "9"]);
    assert_eq!(plain.key(9), "9");
}

#[test]
fn a_script_gets_the_item_as_a_variable() {
    let parsed = parsed(SCATTERED);
    let script = recipe(&parsed, "script");
    let mut items = Items::new(Split::Parts(2));
    for array in ["[\"a\", \"; rm -rf ~\"]", "[]", "[3]"] {
        items.push(array.as_bytes()).unwrap();
    }
    let texts: Vec<_> = (0..2)
        .map(|index| {
            let part = script.inputs()[0].upstream_index(index);
            let input = Input { value: items.part(part), outputs: Vec::new(), ..Input::default() };
            let env = script.invocation(index, 1, &[input]).unwrap().env;
            let (_, value) = env.into_iter().find(|(name, _)| name == "item").unwrap();
            value.into_string().unwrap()
        })
        .collect();
    assert_eq!(texts, ["[\"a\",\"; rm -rf ~\"]", "[3]"]);
}

const EACH: &str = r#"
[task.w]
run = "w {key} {seed}"
targets = "each"

[task.m]
run = "m {p} {seed}"
map = "w"
sweep = { p = [1, 2] }
"#;

#[test]
fn one_instance_for_each_worker() {
    let parsed = parsed(EACH);
    let plan = parsed.graph.plan(&parsed.pipeline, false);
    assert_eq!((plan.tasks[0].width, &plan.tasks[0].conduct.targets), (late(1), &Targets::Each));
    assert_eq!((plan.tasks[1].width, plan.tasks[1].map.unwrap().factor), (late(2), 2));
    assert_eq!((parsed.graph.width(TaskId(0)), parsed.graph.width(TaskId(1))), (None, None));
    let (w, m) = (recipe(&parsed, "w"), recipe(&parsed, "m"));
    assert!(w.inputs().is_empty() && w.item().is_none());
    let seeds: Vec<_> = (0..3).map(|index| w.seed(index, &[]).unwrap()).collect();
    assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2]);
    assert_eq!(words(&w.invocation(2, 1, &[]).unwrap()), ["w", "2", &seeds[2].to_string()]);
    assert_ne!(m.seed(0, &[]).unwrap(), m.seed(2, &[]).unwrap());
    assert_eq!(words(&m.invocation(7, 1, &[]).unwrap())[1], "2");
}

const GROUPED: &str = r#"
[task.sim]
run = "true"
sweep = { h = [0.1, 0.2, 0.10], sigma = ["a", "b"] }
out.x = "{index}"

[task.by]
run = "cat {sim.manifest} {h} {key} {out.csv}"
gather = { task = "sim", by = ["h"] }
out.csv = "{key}.csv"

[task.plot]
run = "plot {h} {by.csv}"
map = "by"

[task.most]
run = "cat {sim.manifest}"
gather = "sim"
min-success = "50%"

[task.again]
run = "cat {by.manifest} {h}"
gather = { task = "by", by = "h", min-success = 1 }
"#;

#[test]
fn groups_are_instances_with_their_parameters() {
    let parsed = parsed(GROUPED);
    let graph = &parsed.graph;
    assert_eq!(graph.widths(), [6, 2, 2, 1, 2]);
    // Each simulation goes into one group.
    assert_eq!(graph.edges(), 6 + 2 + 6 + 2);
    let plan = graph.plan(&parsed.pipeline, false);
    let groups = graph.groups(TaskId(1)).unwrap().clone();
    assert_eq!(&groups[..], [0, 0, 1, 1, 0, 0]);
    let gather =
        GatherPlan { upstreams: vec![TaskId(0)], groups: Some(groups.clone()), min_success: None };
    assert_eq!(plan.tasks[1].gather, Some(gather));
    assert!(plan.tasks[1].clauses.is_empty() && plan.tasks[1].implied == 0);
    assert_eq!(plan.tasks[2].map, Some(MapEdge { upstream: TaskId(1), factor: 1 }));
    let most = plan.tasks[3].gather.as_ref().unwrap();
    assert_eq!((&most.groups, most.min_success), (&None, Some(MinSuccess::Part(5000))));
    assert!(plan.tasks[3].clauses.is_empty());
    let by = recipe(&parsed, "by");
    let manifests = by.manifests();
    assert_eq!(manifests[0].groups, Some(groups));
    let path = manifests[0].path(1);
    assert_eq!(path.to_str(), Some("/s/runs/7/manifests/by.sim.1.jsonl"));
    let listed: Vec<u32> = (0..6).filter(|index| manifests[0].lists(1, *index)).collect();
    assert_eq!(listed, [2, 3]);
    let invocation = by.invocation(1, 1, &[]).unwrap();
    let csv = "/p/.dagrun-7-1-1-1/h=0.2.csv";
    assert_eq!(words(&invocation), ["cat", path.to_str().unwrap(), "0.2", "h=0.2", csv]);
    assert_eq!(by.params(0), [("h".to_owned(), Value::Number("0.1".into()))]);
    let plot = recipe(&parsed, "plot");
    let words_of_plot = words(&plot.invocation(1, 1, &[]).unwrap());
    assert_eq!(words_of_plot, ["plot", "0.2", "/p/h=0.2.csv"]);
    let most = recipe(&parsed, "most").manifests().remove(0);
    assert_eq!(most.path(0).to_str(), Some("/s/runs/7/manifests/most.sim.jsonl"));
    assert!(most.groups.is_none() && most.lists(0, 5));
}

#[test]
fn a_part_of_a_pipeline_keeps_its_patterns() {
    let scattered = parsed(SCATTERED);
    let part = only(&scattered.pipeline, &[id(&scattered, "script")]);
    let names: Vec<_> = part.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["list", "s", "script", "m2"]);
    let scatter = Scatter { from: TaskId(3), split: Split::Parts(2), max_items: None };
    assert_eq!(part.tasks[2].pattern, Pattern::Scatter(scatter));
    let part = only(&scattered.pipeline, &[id(&scattered, "setup")]);
    assert_eq!(part.tasks.last().unwrap().follow[0].upstreams, [TaskId(1), TaskId(0)]);
    let grouped = parsed(GROUPED);
    let part = only(&grouped.pipeline, &[id(&grouped, "again")]);
    assert_eq!(part.tasks[2].pattern, Pattern::GatherBy(TaskId(1), vec!["h".into()]));
    assert_eq!(Graph::new(&part).unwrap().widths(), [6, 2, 2]);
}

#[test]
fn pictures_tell_what_is_not_known() {
    let scattered = parsed(SCATTERED);
    let dot = to_dot(&scattered.pipeline, &scattered.graph, true);
    for line in [
        "t1 [label=\"s ×?\", peripheries=2]",
        "t0 -> t1 [label=\"scatter\"]",
        "t1 -> t2 [label=\"map ×3\"]",
        "t1 -> t7 [label=\"follow any finish\", style=dashed]",
    ] {
        assert!(dot.contains(line), "{line}:\n{dot}");
    }
    let grouped = parsed(GROUPED);
    let mermaid = to_mermaid(&grouped.pipeline, &grouped.graph, false);
    assert!(mermaid.contains("t0 -->|\"gather by h\"| t1"), "{mermaid}");
    let instances = to_dot(&grouped.pipeline, &grouped.graph, true);
    assert_eq!(instances.matches("gather by h").count(), 6 + 2, "{instances}");
    assert!(instances.contains("t0_3 -> t1_1 "), "{instances}");
}

#[test]
fn long_chains_of_groups_need_no_stack() {
    let mut source = "[task.t0]\nrun = 'true'\nsweep = { h = [1, 2], k = [1, 2] }\n".to_owned();
    for task in 1..20_000 {
        let before = task - 1;
        writeln!(source, "[task.t{task}]\nrun = 'echo {{h}}'").unwrap();
        writeln!(source, "gather = {{ task = 't{before}', by = 'h' }}").unwrap();
    }
    let parsed = parsed(&source);
    assert_eq!(parsed.graph.widths()[19_999], 2);
    let last = recipe(&parsed, "t19999");
    assert_eq!(last.key(1), "h=2");
}

#[test]
fn groups_of_a_million_are_made() {
    let source = "[task.a]\nrun = 'true'\n[task.a.sweep]\nx = { range = '0..1000' }\n\
                  y = { range = '0..1000' }\n[task.b]\nrun = 'echo {y}'\n\
                  gather = { task = 'a', by = ['y'] }\n";
    let parsed = parsed(source);
    assert_eq!(parsed.graph.widths(), [1_000_000, 1000]);
    let groups = parsed.graph.groups(TaskId(1)).unwrap();
    assert_eq!((groups[999], groups[1000], groups[999_999]), (999, 0, 999));
}

#[test]
fn hostile_recipes_are_refused() {
    let parsed = parsed(SCATTERED);
    let good = serde_json::to_value(&*recipe(&parsed, "s")).unwrap();
    let mut bad = good.clone();
    bad["inputs"] = serde_json::json!([]);
    bad["input_names"] = serde_json::json!([]);
    assert!(serde_json::from_value::<Recipe>(bad).is_err(), "an item that never comes");
    let mut bad = good;
    bad["own"]["root"] = serde_json::json!({ "items": 0 });
    let recipe: Recipe = serde_json::from_value(bad).unwrap();
    assert_eq!(recipe.item().unwrap().upstream_index(5), 5);
}

proptest! {
    #[test]
    fn groups_are_the_distinct_combinations(
        first in prop::collection::vec(0u8..3, 1..5),
        second in prop::collection::vec(0u8..3, 1..4),
        third in prop::collection::vec(0u8..3, 1..4),
        by in prop::sample::subsequence(vec!["a", "b", "c"], 1..=3).prop_shuffle(),
    ) {
        let source = format!(
            "[task.s]\nrun = 'true'\nsweep = {{ a = {first:?}, b = {second:?} }}\n\
             [task.m]\nrun = 'true'\nmap = 's'\nsweep = {{ c = {third:?} }}\n\
             [task.g]\nrun = 'true'\ngather = {{ task = 'm', by = {by:?} }}\n"
        );
        let parsed = parsed(&source);
        let (m, g) = (recipe(&parsed, "m"), recipe(&parsed, "g"));
        let groups = parsed.graph.groups(TaskId(2)).unwrap();
        prop_assert_eq!(parsed.graph.widths()[1], groups.len() as u32);
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for (index, group) in (0..).zip(groups.iter()) {
            let params: BTreeMap<_, _> = m.params(index).into_iter().collect();
            let own = by.iter().map(|name| ((*name).to_owned(), params[*name].clone()));
            let own: Vec<_> = own.collect();
            let next = seen.len() as u32;
            // Groups are numbered in order of first appearance, and have the values that all their
            // instances share.
            prop_assert_eq!(*seen.entry(format!("{own:?}")).or_insert(next), *group);
            prop_assert_eq!(g.params(*group), own);
        }
        prop_assert_eq!(parsed.graph.widths()[2], seen.len() as u32);
    }
}
