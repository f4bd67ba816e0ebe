//! Pipelines built in Rust: the same as those that are written in the file format, typed, and told what is
//! wrong with them.

use std::time::Duration;

use bytes::Bytes;
use dagrun::core::parse::{NoFiles, ParseOptions, parse};
use dagrun::core::pipeline::Outcomes::{Failure, Finish};
use dagrun::core::pipeline::{Args, Pattern, Pipeline, Retry, RetryOn, TaskAction};
use dagrun::{
    ArrayHandle, Chunk, Cluster, Dag, Dependency, Each, Gathered, Handle, Parts, Sweep, linspace,
    range,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Point {
    strike: f64,
    kind: String,
    #[serde(default)]
    x: u32,
}

#[dagrun::task]
fn start() -> f64 {
    1.0
}

#[dagrun::task]
fn square(x: f64) -> f64 {
    x * x
}

#[dagrun::task]
fn add(a: f64, b: f64) -> f64 {
    a + b
}

#[dagrun::task]
fn price(point: Point, paths: u64) -> f64 {
    point.strike * paths as f64
}

#[dagrun::task]
fn strike_of(point: Point) -> f64 {
    point.strike
}

#[dagrun::task]
fn mean(values: Vec<f64>) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[dagrun::task]
fn some_mean(values: Vec<Option<f64>>) -> f64 {
    values.iter().flatten().sum()
}

#[dagrun::task]
fn streamed(values: Gathered<f64>) -> f64 {
    values.values().map_while(Result::ok).sum()
}

#[dagrun::task]
fn both(values: Vec<f64>, texts: Gathered<String>) -> usize {
    values.len() + texts.count()
}

#[dagrun::task]
fn of_kind(values: Vec<f64>, kind: String) -> String {
    format!("{kind}: {}", values.len())
}

#[dagrun::task]
fn list(n: u32) -> Vec<f64> {
    (0..n).map(f64::from).collect()
}

#[dagrun::task]
fn text(x: f64) -> String {
    x.to_string()
}

#[dagrun::task]
fn length(of: Bytes) -> usize {
    of.len()
}

/// The pipeline of a text in the file format. Signatures cannot be written there.
fn written(name: &str, toml: &str) -> Pipeline {
    let options = ParseOptions { file_stem: name, ..ParseOptions::default() };
    match parse(toml, &options, &NoFiles) {
        Ok(parsed) => parsed.pipeline,
        Err(problems) => panic!("{problems:?}"),
    }
}

fn without_signatures(dag: &Dag) -> Pipeline {
    let mut pipeline = dag.pipeline().unwrap();
    for task in &mut pipeline.tasks {
        if let TaskAction::Call(call) = &mut task.action {
            assert!(call.signature.take().is_some());
        }
    }
    pipeline
}

#[track_caller]
fn same(dag: &Dag, toml: &str) {
    let (built, written) = (without_signatures(dag), written("test", toml));
    for (built, written) in built.tasks.iter().zip(&written.tasks) {
        assert_eq!(built, written);
    }
    assert_eq!(built, written);
}

fn problems(dag: &Dag) -> Vec<String> {
    let error = dag.pipeline().unwrap_err();
    error.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn tasks_are_given_values_and_what_others_make() {
    let dag = Dag::new("test");
    let one: Handle<f64> = dag.task(start, ());
    let two = dag.task(add, (&one, 2.5));
    dag.task(add, (two.clone(), &one)).name("last");
    same(
        &dag,
        r#"
        [task.start]
        call = "start"
        [task.add]
        call = "add"
        args = { a = "{start.value}", b = 2.5 }
        [task.last]
        call = "add"
        args = { a = "{add.value}", b = "{start.value}" }
        "#,
    );
}

#[test]
fn maps_gathers_and_scatters_are_those_of_the_file_format() {
    let dag = Dag::new("test");
    let sweep = Sweep::new().axis("strike", linspace(80.0, 120.0, 3)).axis("kind", ["call", "put"]);
    let prices: ArrayHandle<f64> = dag.map_with(price, sweep, (1000,));
    let squares = dag.map(square, &prices);
    let average = dag.gather(&squares, mean);
    let numbers = dag.task(list, (9,));
    let each = dag.map(square, dag.scatter(&numbers, Each));
    let parts = dag.map(mean, dag.scatter(&numbers, Parts(4)).max_items(99)).name("parts");
    let total = dag.gather(&each, streamed).min_success(0.9);
    dag.gather_by(&prices, ["kind"], of_kind);
    dag.map(text, &parts).name("texts");
    assert_eq!((prices.width(), squares.width(), each.width()), (Some(6), Some(6), None));
    let _ = (average, total);
    same(
        &dag,
        r#"
        [task.price]
        call = "price"
        sweep = { strike = { linspace = [80, 120], n = 3 }, kind = ["call", "put"] }
        args = { point = { strike = "{strike}", kind = "{kind}" }, paths = 1000 }
        [task.square]
        call = "square"
        map = "price"
        args = { x = "{price.value}" }
        [task.mean]
        call = "mean"
        gather = "square"
        args = { values = "{square.value}" }
        [task.list]
        call = "list"
        args = { n = 9 }
        [task.square-2]
        call = "square"
        scatter = "list"
        args = { x = "{item}" }
        [task.parts]
        call = "mean"
        scatter = { from = "list", parts = 4, max-items = 99 }
        args = { values = "{item}" }
        [task.streamed]
        call = "streamed"
        gather = "square-2"
        min-success = "90%"
        args = { values = "{square-2.value}" }
        [task.of_kind]
        call = "of_kind"
        gather = { task = "price", by = ["kind"] }
        args = { values = "{price.value}", kind = "{kind}" }
        [task.texts]
        call = "text"
        map = "parts"
        args = { x = "{parts.value}" }
        "#,
    );
}

#[test]
fn maps_over_values_and_numbers_give_each_instance_its_own() {
    let dag = Dag::new("test");
    dag.map(square, [1.5, 2.0]);
    dag.map(square, linspace(0.0, 1.0, 3)).name("spaced");
    dag.map(strike_of, Sweep::new().axis("strike", range(1, 2, 2)).axis("kind", ["call"]));
    dag.map(square, Sweep::new().axis("x", [0.5])).name("direct");
    same(
        &dag,
        r#"
        [task.square]
        call = "square"
        sweep = { input = [1.5, 2.0] }
        args = { x = "{input}" }
        [task.spaced]
        call = "square"
        sweep = { input = { linspace = [0, 1], n = 3 } }
        args = { x = "{input}" }
        [task.strike_of]
        call = "strike_of"
        sweep = { strike = { range = "1..=3", step = 2 }, kind = ["call"] }
        args = { point = { strike = "{strike}", kind = "{kind}" } }
        [task.direct]
        call = "square"
        sweep = { x = [0.5] }
        args = { x = "{x}" }
        "#,
    );
}

#[test]
fn what_json_would_lose_travels_as_it_is() {
    let dag = Dag::new("test");
    dag.map(square, [f64::NAN, 1.0]);
    dag.task(length, (Bytes::from_static(b"\xff\0"),));
    let pipeline = dag.pipeline().unwrap();
    let again: Pipeline = serde_json::from_slice(&serde_json::to_vec(&pipeline).unwrap()).unwrap();
    assert_eq!(again, pipeline);
    let error = dag.to_toml().unwrap_err().to_string();
    assert_eq!(error, "task `square`: the file format cannot express a constant that is not JSON");
}

#[test]
fn sweeps_are_zipped_and_corrected() {
    let dag = Dag::new("test");
    let sweep = Sweep::new()
        .axis("strike", [1.0, 2.0, 3.0])
        .axis("kind", ["a", "b", "c"])
        .axis("x", 0..2)
        .zip(["strike", "kind"])
        .exclude((("strike", 2.0), ("x", 1)))
        .include((("strike", 9.0), ("kind", "z"), ("x", 7)));
    let array = dag.map(strike_of, &sweep);
    assert_eq!(array.width(), Some(6));
    dag.map_command(sweep, ["echo", "{strike}", "{kind}", "{x}"]);
    same(
        &dag,
        r#"
        [task.strike_of]
        call = "strike_of"
        sweep = { strike = [1.0, 2.0, 3.0], kind = ["a", "b", "c"], x = [0, 1] }
        combine = { zip = [["strike", "kind"]], exclude = [{ strike = 2.0, x = 1 }], include = [{ strike = 9.0, kind = "z", x = 7 }] }
        args = { point = { strike = "{strike}", kind = "{kind}", x = "{x}" } }
        [task.echo]
        run = ["echo", "{strike}", "{kind}", "{x}"]
        sweep = { strike = [1.0, 2.0, 3.0], kind = ["a", "b", "c"], x = [0, 1] }
        combine = { zip = [["strike", "kind"]], exclude = [{ strike = 2.0, x = 1 }], include = [{ strike = 9.0, kind = "z", x = 7 }] }
        "#,
    );
}

#[test]
fn options_are_the_keys_of_the_file_format() {
    let dag = Dag::new("test");
    let one = dag.task(start, ());
    let retry = Retry { count: 3, on: vec![RetryOn::Timeout], ..Retry::default() };
    let many = dag
        .map(square, [0.0, 1.0, 2.0, 3.0])
        .retry(retry)
        .timeout(Duration::from_millis(1500))
        .grace(Duration::from_secs(1))
        .start_within(Duration::from_secs(60))
        .cpus(2)
        .memory(1 << 20)
        .resource("gpu", 1)
        .priority(-3)
        .targets(["big", "node-7"])
        .max_running(2)
        .max_lost(1);
    let done = dag.command(["touch", "done"]).allow_failure().always().retries(1).done();
    let last = dag.task(start, ()).name("last");
    last.clone().after(&one).after(Dependency::any((&many, &done)).on(Failure));
    last.follow(Dependency::all([&many]).on(Finish));
    dag.task(start, ()).name("everywhere").each_worker().after([&one, &one]);
    same(
        &dag,
        r#"
        [task.start]
        call = "start"
        [task.square]
        call = "square"
        sweep = { input = [0.0, 1.0, 2.0, 3.0] }
        args = { x = "{input}" }
        retries = { count = 3, on = ["timeout"] }
        timeout = "1500ms"
        grace = "1s"
        start-within = "1m"
        cpus = 2
        memory = "1MiB"
        resources = { gpu = 1 }
        priority = -3
        targets = ["big", "node-7"]
        max-running = 2
        max-lost = 1
        [task.touch]
        run = ["touch", "done"]
        allow-failure = true
        always = true
        retries = 1
        [task.last]
        call = "start"
        after = ["start", { any = ["square", "touch"], on = "failure" }]
        follow = { all = ["square"], on = "finish" }
        [task.everywhere]
        call = "start"
        targets = "each"
        after = "start"
        "#,
    );
}

#[test]
fn commands_have_placeholders_and_take_what_tasks_make() {
    let dag = Dag::new("test");
    dag.var("paths", &1000);
    let one = dag.task(start, ());
    let sweep = Sweep::new().axis("strike", linspace(80.0, 120.0, 3));
    let mesh = dag
        .map_command(sweep, ["./mesh", "{strike}", "{index:03}", "{vars.paths}", "{{x}}"])
        .arg(&one)
        .env("SEED", "{seed}-{attempt}")
        .output("grid", "out/{key}.grid");
    let solved = dag
        .map_command(&mesh, ["./solve", "{mesh.grid}", "{strike}"])
        .working_dir("work")
        .arg(mesh.out("grid"))
        .capture::<f64>();
    let table = dag
        .gather_command((&solved, &mesh), ["./table", "{solve.manifest}", "{out.csv}"])
        .output("csv", "{run.dir}/table.csv");
    dag.command(["./plot"]).stdin(table.out("csv")).capture_lines();
    let many = dag.task(list, (9,));
    dag.map_command(dag.scatter(&many, Chunk(3)), ["echo", "{item}"]).capture_text();
    same(
        &dag,
        r#"
        [vars]
        paths = 1000
        [task.start]
        call = "start"
        [task.mesh]
        run = ["./mesh", "{strike}", "{index:03}", "{vars.paths}", "{{x}}", "{start.value}"]
        sweep = { strike = { linspace = [80.0, 120.0], n = 3 } }
        env = { SEED = "{seed}-{attempt}" }
        out.grid = "out/{key}.grid"
        [task.solve]
        run = ["./solve", "{mesh.grid}", "{strike}", "{mesh.grid}"]
        map = "mesh"
        working-dir = "work"
        capture = "json"
        [task.table]
        run = ["./table", "{solve.manifest}", "{out.csv}"]
        gather = ["solve", "mesh"]
        out.csv = "{run.dir}/table.csv"
        [task.plot]
        run = ["./plot"]
        stdin = "{table.csv}"
        capture = "lines"
        [task.list]
        call = "list"
        args = { n = 9 }
        [task.echo]
        run = ["echo", "{item}"]
        scatter = { from = "list", chunk = 3 }
        capture = "text"
        "#,
    );
    let toml = dag.to_toml().unwrap();
    assert_eq!(written("test", &toml), without_signatures(&dag));
}

#[test]
fn reductions_are_trees_where_the_width_is_known() {
    let dag = Dag::new("test");
    let squares = dag.map(square, (0..100).map(f64::from));
    let total = dag.reduce(&squares, add).retries(2).name("total");
    let pipeline = dag.pipeline().unwrap();
    let names: Vec<_> = pipeline.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["square", "total-level", "total-level-2", "total"]);
    let widths: Vec<_> = dag.graph().unwrap().widths().to_vec();
    assert_eq!(widths, [100, 13, 2, 1]);
    assert!(pipeline.tasks[1..].iter().all(|task| task.conduct.retry.count == 2));
    assert!(matches!(pipeline.tasks[2].pattern, Pattern::GatherEvery(_, 8)));
    assert_eq!(pipeline.tasks[total.id().at()].name, "total");
    for task in &pipeline.tasks[1..] {
        let TaskAction::Call(call) = &task.action else { panic!("{task:?}") };
        assert!(call.fold && matches!(&call.args, Args::Listed(args) if args.len() == 1));
    }
    let numbers = dag.task(list, (9,));
    let unknown = dag.map(square, dag.scatter(&numbers, Each));
    let one = dag.reduce(&unknown, add);
    let pipeline = dag.pipeline().unwrap();
    assert_eq!(pipeline.tasks[one.id().at()].pattern, Pattern::Gather(vec![unknown.id()]));
    assert!(dag.to_toml().unwrap_err().to_string().starts_with("task `total-level`: "));
}

#[test]
fn lists_of_handles_are_lists_of_values() {
    let dag = Dag::new("test");
    let each: Vec<Handle<f64>> = (0..3).map(|x| dag.task(square, (f64::from(x),))).collect();
    dag.task(mean, (&each,)).name("mean");
    let pipeline = dag.pipeline().unwrap();
    assert_eq!(pipeline.tasks[3].references.len(), 3);
    let toml = dag.to_toml().unwrap();
    assert!(
        toml.contains(r#"["{square.value}", "{square-2.value}", "{square-3.value}"]"#),
        "{toml}"
    );
}

#[test]
fn all_problems_are_told_with_their_tasks() {
    let dag = Dag::new("test");
    let other = Dag::new("other").task(start, ());
    let one = dag.task(start, ()).name("one");
    dag.task(add, (&other, &one));
    dag.task(start, ()).name("one");
    dag.task(start, ()).name("1 x").cpus(0);
    let squares = dag.map(square, Vec::<f64>::new()).after(&other);
    dag.reduce(&squares, add).name("none");
    dag.map(square, Sweep::new().axis("seed", [1.0]).zip(["x", "y"])).name("swept");
    dag.command(["run", "{nothing}", "{one.csv}", "{square.value}", "{", "{vars.x}"]);
    dag.command([""]).name("nothing").output("value", " ");
    let array = dag.map_command(0..3, ["make"]).output("o", "same.txt").min_success(2);
    dag.gather(&array.capture::<f64>(), mean).min_success(0.5).name("some");
    insta::assert_snapshot!(problems(&dag).join("\n"));
}

#[test]
fn what_only_the_whole_shows_is_told() {
    let dag = Dag::new("test");
    let one = dag.task(start, ()).name("one");
    let two = dag.task(square, (&one,)).name("two");
    one.after(&two);
    let cycle = "cycle: one -> two (input) -> one (after); each task waits for the one before it; drop one of them";
    assert_eq!(problems(&dag), [cycle]);

    let dag = Dag::new("test");
    let array = dag.map(square, [0.0, 1.0, 2.0]);
    dag.gather(&array, some_mean).min_success(4);
    dag.map_command(0..2, ["make"]).output("o", "same.txt");
    let told = problems(&dag);
    assert_eq!(told[0], "task `some_mean`: `min_success` wants 4 to succeed, but there are only 3");
    assert!(
        told[1].starts_with("task `make`: make[0] and make[1] would both write `same.txt`"),
        "{told:?}"
    );

    let dag = Dag::new("test");
    let one = dag.task(start, ()).name("one");
    let copy = one.clone();
    one.each_worker();
    dag.task(square, (&copy,));
    let told = problems(&dag);
    assert!(told[0].contains("`one` is an array"), "{told:?}");
    assert_eq!(problems(&Dag::new("none")), ["the graph has no tasks"]);
}

#[test]
fn several_arrays_go_to_several_inputs() {
    let dag = Dag::new("test");
    let numbers = dag.map(square, [0.0, 1.0, 2.0]);
    let texts = dag.map(text, &numbers);
    dag.gather((&numbers, &texts), both);
    dag.gather_with(&numbers, of_kind, ("some",)).name("labelled");
    let pipeline = dag.pipeline().unwrap();
    assert_eq!(pipeline.tasks[2].pattern, Pattern::Gather(vec![numbers.id(), texts.id()]));
    assert_eq!(written("test", &dag.to_toml().unwrap()), without_signatures(&dag));
}

#[test]
fn a_plain_call_takes_few_bytes() {
    let dag = Dag::new("test");
    let mut last = dag.task(start, ());
    for x in 0..10_000 {
        last = dag.task(add, (&last, f64::from(x)));
    }
    assert!(dag.memory() / dag.len() <= 100, "{} bytes each", dag.memory() / dag.len());
    let json = serde_json::to_vec(&dag.pipeline().unwrap()).unwrap();
    assert!(json.len() / dag.len() <= 260, "{} bytes of JSON each", json.len() / dag.len());
}

#[test]
fn what_is_built_runs_and_gives_what_its_functions_make() {
    let temp = tempfile::tempdir().unwrap();
    let cluster = Cluster::builder().state_dir(temp.path()).slots(2).start().unwrap();
    let dag = Dag::new("everything");
    let one = dag.task(start, ());
    let squares = dag.map(square, (1..=100).map(f64::from));
    let sweep = Sweep::new().axis("strike", [1.0, 2.0]).axis("kind", ["call", "put"]);
    let prices = dag.map_with(price, sweep, (10,));
    let of_kinds = dag.gather_by(&prices, ["kind"], of_kind);
    let numbers = dag.task(list, (10,));
    let total = dag.reduce(&squares, add);
    let late = dag.reduce(&dag.map(mean, dag.scatter(&numbers, Chunk(4))), add);
    let chosen = dag.task(mean, (vec![one.clone(), total.clone()],));
    let echoed = dag.command(["echo"]).arg(&total).capture::<f64>();
    let last = dag.task(add, (&echoed, &one));
    let streamed_total = dag.gather(&squares, streamed).min_success(0.5);
    let infinite = dag.map(square, [f64::INFINITY, 2.0]);
    let run = cluster.submit(&dag).wait().unwrap();
    assert_eq!(run.result(&total).wait().unwrap(), 338_350.0);
    assert_eq!(run.result(&last).wait().unwrap(), 338_351.0);
    assert_eq!(run.result(&chosen).wait().unwrap(), 338_351.0 / 2.0);
    assert_eq!(run.result(&late).wait().unwrap(), 1.5 + 5.5 + 8.5);
    assert_eq!(run.result(&streamed_total).wait().unwrap(), 338_350.0);
    assert_eq!(run.results(&prices).wait().unwrap(), [10.0, 10.0, 20.0, 20.0]);
    assert_eq!(run.results(&of_kinds).wait().unwrap(), ["call: 2", "put: 2"]);
    assert_eq!(run.results(&infinite).wait().unwrap(), [f64::INFINITY, 4.0]);
    cluster.shutdown();
}
