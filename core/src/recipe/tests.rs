//! Recipes of hand-made pipelines.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use proptest::prelude::*;

use std::ffi::OsString;

use super::*;
use crate::payload::TAG;
use crate::pipeline::{Arg, Args, Call, Capture, Pattern, Task, TaskAction};
use crate::space::{Axis, Points, Space};
use crate::template::{Part, Placeholder, Template};
use crate::value::RawString;

pub(crate) fn template(parts: &[Part]) -> Template {
    Template { parts: parts.to_vec() }
}

fn lit(text: &str) -> Part {
    Part::Literal(text.to_owned())
}

fn hole(placeholder: Placeholder) -> Part {
    Part::Placeholder(placeholder)
}

fn param(name: &str) -> Part {
    hole(Placeholder::Param(name.to_owned(), Vec::new()))
}

pub(crate) fn task(name: &str, words: &[Template]) -> Task {
    Task::new(name, TaskAction::Run(words.to_vec()))
}

fn axis(name: &str, values: &[Value]) -> Axis {
    let rows = values.iter().map(|value| vec![value.clone()]).collect();
    Axis { name: name.to_owned(), names: vec![name.to_owned()], points: Points::Rows(rows) }
}

fn number(text: &str) -> Value {
    Value::Number(text.to_owned())
}

fn text(bytes: &[u8]) -> Value {
    Value::String(RawString(bytes.to_vec()))
}

fn sweep(axes: Vec<Axis>) -> Option<Space> {
    Some(Space { axes, ..Space::default() })
}

fn pipeline(tasks: Vec<Task>) -> Pipeline {
    let vars = vec![("paths".to_owned(), number("100000")), ("other".to_owned(), number("1"))];
    Pipeline { name: "test".to_owned(), vars, tasks }
}

fn context() -> RunContext {
    RunContext { run: 7, run_dir: "/s/runs/7".into(), base_dir: "/p".into(), seed: 42 }
}

fn recipe(pipeline: &Pipeline, task: u32) -> Recipe {
    let recipe = Recipe::new(pipeline, TaskId(task), &context()).unwrap();
    // The recipe that a worker receives renders the same.
    serde_json::from_slice(&serde_json::to_vec(&*recipe).unwrap()).unwrap()
}

fn instance_of(task: u32, factor: Option<u32>) -> InputSpec {
    InputSpec { task: TaskId(task), factor, kind: InputKind::Instance }
}

fn argv(invocation: &Invocation) -> Vec<&str> {
    invocation.argv.iter().map(|word| word.to_str().unwrap()).collect()
}

/// mesh ×2 → relax (map, ×3 each) → report (gather).
fn three() -> Pipeline {
    let mut mesh = task("mesh", &[template(&[lit("mesh")])]);
    mesh.sweep = sweep(vec![axis("h", &[number("0.10"), number("1e-9")])]);
    mesh.outputs = vec![("msh".into(), template(&[lit("mesh/"), hole(Placeholder::Key)]))];
    let words = [
        template(&[lit("relax")]),
        template(&[lit("--h="), param("h"), lit(","), param("tol")]),
        template(&[hole(Placeholder::UpstreamOut(TaskId(0), 0))]),
        template(&[hole(Placeholder::Out(0))]),
        template(&[hole(Placeholder::Var("paths".into(), vec![]))]),
    ];
    let mut relax = task("relax", &words);
    relax.pattern = Pattern::Map(TaskId(0));
    relax.sweep = sweep(vec![axis("tol", &[number("1"), number("2"), number("3")])]);
    relax.outputs =
        vec![("csv".into(), template(&[lit("out/"), hole(Placeholder::Index(3)), lit(".csv")]))];
    let manifest = template(&[hole(Placeholder::Manifest(TaskId(1)))]);
    let mut report = task("report", std::slice::from_ref(&manifest));
    report.pattern = Pattern::Gather(vec![TaskId(1), TaskId(0)]);
    report.stdin = Some(manifest);
    pipeline(vec![mesh, relax, report])
}

#[test]
fn a_mapped_instance_sees_its_upstream() {
    let recipe = recipe(&three(), 1);
    assert!(recipe.inputs().is_empty() && recipe.manifests().is_empty());
    let invocation = recipe.invocation(4, 2, &[]).unwrap();
    let temporary = "/p/out/.dagrun-7-1-4-2/004.csv";
    assert_eq!(argv(&invocation), ["relax", "--h=1e-9,2", "/p/mesh/h=1e-9", temporary, "100000"]);
    assert_eq!(invocation.outputs[0].path, Path::new("out/004.csv"));
    assert_eq!(invocation.outputs[0].target, Path::new("/p/out/004.csv"));
    assert_eq!(invocation.outputs[0].temporary, Path::new(temporary));
    assert_eq!(invocation.working_dir, Path::new("/p"));
    assert!(!invocation.shell && !invocation.report_outputs);
    assert_eq!(recipe.key(4), "h=1e-9,tol=2");
    let env: Vec<_> = invocation.env.iter().map(|(k, v)| (k.to_str(), v.to_str())).collect();
    for (name, value) in [
        ("DAGRUN_RUN_ID", "7"),
        ("DAGRUN_TASK", "relax"),
        ("DAGRUN_INDEX", "4"),
        ("DAGRUN_ATTEMPT", "2"),
        ("DAGRUN_CPUS", "1"),
    ] {
        assert!(env.contains(&(Some(name), Some(value))), "{name}");
    }
    assert!(recipe.invocation(6, 1, &[]).is_err(), "there are only six");
}

#[test]
fn a_gather_mentions_its_manifest() {
    let pipeline = three();
    let report = recipe(&pipeline, 2);
    let path = Path::new("/s/runs/7/manifests/report.relax.jsonl");
    let manifests = report.manifests();
    let [manifest] = manifests.as_slice() else { panic!("one") };
    assert_eq!((manifest.upstream, manifest.path(0).as_path()), (TaskId(1), path));
    let invocation = report.invocation(0, 1, &[]).unwrap();
    assert_eq!(argv(&invocation), [path.to_str().unwrap()]);
    assert_eq!(invocation.stdin.as_deref(), Some(path));
    assert_eq!(report.key(0), "0");
    let line = recipe(&pipeline, 1).manifest_line(4, "succeeded", Some(b"{\"a\":\n [1]}"), &[]);
    assert_eq!(
        String::from_utf8(line).unwrap(),
        "{\"index\":4,\"params\":{\"h\":1e-9,\"tol\":2},\"state\":\"succeeded\",\
         \"value\":{\"a\": [1]},\"out\":{\"csv\":\"/p/out/004.csv\"}}\n"
    );
    let line = recipe(&pipeline, 1).manifest_line(0, "failed", None, &[]);
    assert!(line.ends_with(b"\"state\":\"failed\",\"value\":null,\"out\":{}}\n"));
}

#[test]
fn values_and_paths_made_of_them_come_with_the_dispatch() {
    let mut first = task("first", &[template(&[lit("first")])]);
    first.capture = Capture::Json;
    let value = |fields: &[&str]| {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        hole(Placeholder::UpstreamValue(TaskId(0), fields))
    };
    let mut second = task("second", &[template(&[lit("second"), value(&["a", "0"])])]);
    second.references = vec![TaskId(0)];
    second.outputs = vec![("x".into(), template(&[lit("d/"), value(&["name"])]))];
    let out = template(&[hole(Placeholder::UpstreamOut(TaskId(1), 0))]);
    let mut third = task("third", &[out]);
    third.references = vec![TaskId(1)];
    let pipeline = pipeline(vec![first, second, third]);

    let second = recipe(&pipeline, 1);
    assert_eq!(second.inputs(), [instance_of(0, None)]);
    let json = br#"{"a": [1e-9], "name": "n v"}"#.to_vec();
    let input = Input { value: Some(json), outputs: Vec::new(), ..Input::default() };
    let invocation = second.invocation(0, 1, std::slice::from_ref(&input)).unwrap();
    assert_eq!(argv(&invocation), ["second1e-9"]);
    assert!(invocation.report_outputs && second.output_paths(0).unwrap().is_none());
    assert_eq!(invocation.outputs[0].target, Path::new("/p/d/n v"));
    let error = second.invocation(0, 1, &[Input::default()]).unwrap_err();
    assert_eq!(error.to_string(), "{first.value.name}: the upstream captured no value");
    assert_eq!(argv(&second.preview(0).unwrap()), ["second{first.value.a.0}"]);

    let third = recipe(&pipeline, 2);
    assert_eq!(third.inputs(), [instance_of(1, None)]);
    let input = Input { value: None, outputs: vec![b"d/n v".to_vec()], ..Input::default() };
    assert_eq!(argv(&third.invocation(0, 1, &[input]).unwrap()), ["/p/d/n v"]);
    assert_eq!(argv(&third.preview(0).unwrap()), ["{second.x}"]);
    let line = second.manifest_line(0, "succeeded", Some(b"1"), &[b"d/n v".to_vec()]);
    assert!(line.ends_with(b"\"out\":{\"x\":\"/p/d/n v\"}}\n"));
}

#[test]
fn paths_with_the_directory_of_the_run_are_reported() {
    for in_path in [Placeholder::RunDir, Placeholder::RunId] {
        let mut first = task("first", &[template(&[lit("x")])]);
        first.outputs = vec![("x".into(), template(&[hole(in_path), lit("/x")]))];
        let mut second =
            task("second", &[template(&[hole(Placeholder::UpstreamOut(TaskId(0), 0))])]);
        second.references = vec![TaskId(0)];
        let pipeline = pipeline(vec![first, second]);
        let first = recipe(&pipeline, 0);
        assert!(first.reports_outputs() && first.output_paths(0).unwrap().is_none());
        // Another run may have created it.
        let input =
            Input { value: None, outputs: vec![b"/elsewhere/x".to_vec()], ..Input::default() };
        let second = recipe(&pipeline, 1).invocation(0, 1, &[input]).unwrap();
        assert_eq!(argv(&second), ["/elsewhere/x"]);
    }
}

#[test]
fn paths_made_of_computed_paths_are_computed() {
    let mut tasks = vec![task("t0", &[template(&[lit("x")])])];
    tasks[0].outputs = vec![("x".into(), template(&[lit("x")]))];
    for at in 1..40u32 {
        let upstream = hole(Placeholder::UpstreamOut(TaskId(at - 1), 0));
        let mut next = task(&format!("t{at}"), &[template(std::slice::from_ref(&upstream))]);
        next.references = vec![TaskId(at - 1)];
        next.outputs = vec![("x".into(), template(&[upstream, lit(".x")]))];
        tasks.push(next);
    }
    let pipeline = pipeline(tasks);
    let mut reported = Vec::new();
    for at in 1..40u32 {
        let recipe = recipe(&pipeline, at);
        let upstream = Recipe::new(&pipeline, TaskId(at - 1), &context()).unwrap();
        assert_eq!(
            recipe.inputs().len(),
            usize::from(
                upstream.reports_outputs()
                    || recipe.reports_outputs() && upstream.reports_outputs()
            )
        );
        let path = format!("/p/x{}", ".x".repeat(at as usize - 1));
        let input =
            Input { value: None, outputs: vec![path.clone().into_bytes()], ..Input::default() };
        let inputs = vec![input; recipe.inputs().len()];
        let invocation = recipe.invocation(0, 1, &inputs).unwrap();
        assert_eq!(argv(&invocation), [path.as_str()]);
        assert_eq!(invocation.outputs[0].target, Path::new(&format!("{path}.x")));
        reported.push(recipe.reports_outputs());
    }
    assert!(!reported[0] && reported[38]);
}

#[test]
fn shell_tasks_get_everything_in_their_environment() {
    let mut shell = task("shell", &[]);
    shell.action = TaskAction::Shell("echo {h} $h".into());
    shell.sweep = sweep(vec![axis("h", &[text(b"; rm -rf ~\n\xff")])]);
    shell.outputs = vec![("csv".into(), Template::literal("/abs/out.csv"))];
    shell.env = vec![("X".into(), template(&[lit("x"), param("h")]))];
    let invocation = recipe(&pipeline(vec![shell]), 0).invocation(0, 1, &[]).unwrap();
    assert!(invocation.shell);
    assert_eq!(argv(&invocation), ["bash", "-euo", "pipefail", "-c", "echo {h} $h"]);
    let env = |name: &str| {
        let found = invocation.env.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_bytes().to_vec()).unwrap_or_default()
    };
    assert_eq!(env("h"), b"; rm -rf ~\n\xff");
    assert_eq!(env("X"), b"x; rm -rf ~\n\xff");
    assert_eq!(env("paths"), b"100000");
    assert_eq!(env("other"), b"1");
    assert_eq!(env("out_csv"), b"/abs/.dagrun-7-0-0-1/out.csv");
}

#[test]
fn a_value_never_becomes_two_words_and_stays_bytes() {
    let mut run = task("run", &[template(&[lit("p")]), template(&[param("h")])]);
    run.sweep = sweep(vec![axis("h", &[text(b"a b'\"$(x) {y} \xe9")])]);
    let invocation = recipe(&pipeline(vec![run]), 0).invocation(0, 1, &[]).unwrap();
    assert_eq!(invocation.argv[1].as_os_str(), OsStr::from_bytes(b"a b'\"$(x) {y} \xe9"));
    assert_eq!(invocation.argv.len(), 2);
}

#[test]
fn an_attempt_writes_real_names_into_a_directory_of_its_own() {
    let long = "n".repeat(250);
    let mut run = task("run", &[template(&[lit("p")])]);
    run.outputs = vec![
        ("a".into(), Template::literal(&format!("{long}.tar.gz"))),
        ("b".into(), Template::literal("d/b.npy")),
        ("c".into(), Template::literal("d/c/")),
        ("u".into(), Template::literal("s3://x/1/k.json")),
        ("v".into(), Template::literal("s3://x/2/k.json")),
    ];
    let recipe = recipe(&pipeline(vec![run]), 0);
    let mut seen = Vec::new();
    for (mark, attempt) in [("0a", 1), ("0a", 2), ("0b", 1)] {
        let outputs = recipe.clone().marked(mark).invocation(0, attempt, &[]).unwrap().outputs;
        for output in &outputs {
            let name = output.temporary.file_name();
            assert_eq!(name, output.target.file_name());
            let dir = output.temporary.parent().unwrap();
            let shown = dir.file_name().unwrap().to_string_lossy();
            assert!(shown.starts_with(&format!(".dagrun-{mark}-7-0-0-{attempt}")), "{shown}");
            if crate::url::remote(&output.target).is_none() {
                assert_eq!(dir.parent(), output.target.parent());
            }
        }
        assert_eq!(outputs[2].target, Path::new("/p/d/c"));
        let slashes: Vec<bool> = outputs.iter().map(|output| output.directory).collect();
        assert_eq!(slashes, [false, false, true, false, false]);
        seen.extend(outputs.into_iter().map(|output| output.temporary));
    }
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), all);
}

#[test]
fn an_output_must_name_a_file() {
    for path in ["", "../", "..", "/", "./", ".", "dir/.", "dir/./"] {
        let mut run = task("run", &[template(&[lit("p")])]);
        run.outputs = vec![("a".into(), Template::literal(path))];
        let recipe = recipe(&pipeline(vec![run]), 0);
        let error = recipe.invocation(0, 1, &[]).unwrap_err();
        assert!(matches!(error, RenderError::NotAFile { .. }), "{path}: {error}");
    }
}

fn swept(axes: Vec<Axis>) -> Recipe {
    let mut run = task("price", &[template(&[lit("p")])]);
    run.sweep = sweep(axes);
    recipe(&pipeline(vec![run]), 0)
}

#[test]
fn keys_are_readable_safe_and_unique() {
    let values = [number("0.1"), text(b"data/a b.txt"), text(b"data/a_b.txt"), number("0.1")];
    let recipe = swept(vec![axis("h", &values)]);
    let keys: Vec<String> = (0..4).map(|index| recipe.key(index)).collect();
    assert_eq!(keys[0], "h=0.1~0");
    assert_eq!(keys[3], "h=0.1~3");
    // Pinned: a key names files that users keep.
    assert_eq!(keys[1], "h=data_a_b.txt~76af04a2843dd0d0");
    assert!(keys[2].starts_with("h=data_a_b.txt~") && keys[2] != keys[1]);
    let long = swept(vec![axis("h", &[text(&[b'x'; 300])])]);
    assert_eq!(long.key(0).len(), 117);
}

#[test]
fn seeds_depend_on_what_a_point_is() {
    let h = axis("h", &[number("0.1"), number("0.2")]);
    let k = axis("k", &[number("1"), text(b"x")]);
    let one = swept(vec![h.clone(), k.clone()]);
    // Pinned: results are reproduced from seeds.
    assert_eq!(one.seed(0, &[]).unwrap(), 15_752_599_092_436_567_399);
    let other = swept(vec![
        axis("k", &[text(b"x"), number("7"), number("1.0")]),
        axis("h", &[number("0.20"), number("1e-1")]),
    ]);
    assert_eq!(one.seed(0, &[]).unwrap(), other.seed(5, &[]).unwrap());
    assert_eq!(one.seed(3, &[]).unwrap(), other.seed(0, &[]).unwrap());
    let seeds: std::collections::BTreeSet<u64> =
        (0..4).map(|at| one.seed(at, &[]).unwrap()).collect();
    assert_eq!(seeds.len(), 4);
}

proptest! {
    #[test]
    fn keys_are_unique(
        first in proptest::collection::vec("[ab/ ,=~]{0,3}", 1..6),
        second in proptest::collection::vec("[ab1é\\n]{0,120}", 1..4),
        include in proptest::collection::vec(("[ab/ ]{0,2}", "[ab1]{0,2}"), 0..4),
    ) {
        let values = |texts: &[String]| -> Vec<Value> {
            texts.iter().map(|t| text(t.as_bytes())).collect()
        };
        let row = |(a, b): &(String, String)| {
            vec![("a".to_owned(), text(a.as_bytes())), ("b".to_owned(), text(b.as_bytes()))]
        };
        let mut run = task("t", &[template(&[lit("p")])]);
        run.sweep = Some(Space {
            axes: vec![axis("a", &values(&first)), axis("b", &values(&second))],
            include: include.iter().map(row).collect(),
            exclude: include.first().map(row).into_iter().collect(),
            ..Space::default()
        });
        let width = run.sweep.as_ref().unwrap().compile().unwrap().width();
        let recipe = recipe(&pipeline(vec![run]), 0);
        let mut keys: Vec<String> = (0..width).map(|index| recipe.key(index)).collect();
        for key in &keys {
            prop_assert!(key.len() < 200 && !key.contains(['/', ' ', '\n', '\0']));
        }
        keys.sort();
        keys.dedup();
        prop_assert_eq!(keys.len(), width as usize);
    }
}

fn calling(task: TaskId, tasks: Vec<Task>, index: u32, inputs: &[Input]) -> Calling {
    let recipe = Recipe::new(&pipeline(tasks), task, &context()).unwrap();
    let sent: Recipe = serde_json::from_slice(&serde_json::to_vec(&*recipe).unwrap()).unwrap();
    match sent.job(index, 1, inputs).unwrap() {
        Job::Call(calling) => calling,
        Job::Process(process) => panic!("{process:?}"),
    }
}

fn call(args: Vec<(&str, Arg)>) -> TaskAction {
    let args = args.into_iter().map(|(name, arg)| (name.to_owned(), arg)).collect();
    let call = Call { function: "f".into(), signature: None, args: Args::Named(args), fold: false };
    TaskAction::Call(Box::new(call))
}

#[test]
fn arguments_are_values_where_a_placeholder_stands_alone_and_text_elsewhere() {
    let alone = |placeholder| Arg::Text(template(&[hole(placeholder)]));
    let source = Task { capture: Capture::Json, ..task("src", &[template(&[lit("x")])]) };
    let value = |fields: &[&str]| {
        Placeholder::UpstreamValue(TaskId(0), fields.iter().map(|f| (*f).to_owned()).collect())
    };
    let args = vec![
        ("strike", alone(Placeholder::Param("h".into(), Vec::new()))),
        ("text", Arg::Text(template(&[lit("h"), param("h")]))),
        ("var", alone(Placeholder::Var("paths".into(), Vec::new()))),
        ("index", alone(Placeholder::Index(0))),
        ("all", Arg::Params),
        ("whole", alone(value(&[]))),
        ("field", alone(value(&["b"]))),
        ("list", Arg::List(vec![alone(value(&["b"])), Arg::Value(number("1.50"))])),
        ("bytes", Arg::Payload(RawString(vec![TAG, b'b', 0xff]))),
        ("stored", Arg::Value(text(&[TAG, b'b', 0xff]))),
    ];
    let price = Task {
        action: call(args),
        sweep: sweep(vec![axis("h", &[number("0.10"), text(b"t")])]),
        references: vec![TaskId(0)],
        ..task("price", &[])
    };
    let input =
        Input { value: Some(br#"{"b": [1e3]}"#.to_vec()), outputs: Vec::new(), ..Input::default() };
    let calling = calling(TaskId(1), vec![source, price], 1, &[input]);
    let json = |text: &str| Argument::Value(text.as_bytes().to_vec());
    let expected = [
        ("strike", json("\"t\"")),
        ("text", json("\"ht\"")),
        ("var", json("100000")),
        ("index", json("1")),
        ("all", json("{\"h\":\"t\"}")),
        ("whole", Argument::Input(0)),
        ("field", json("[1e3]")),
        ("list", json("[[1e3],1.50]")),
        ("bytes", Argument::Value(vec![TAG, b'b', 0xff])),
        ("stored", Argument::Value(vec![TAG, b'b', 0xff])),
    ];
    let expected = expected.map(|(name, arg)| (Some(name.to_owned()), arg));
    assert_eq!(calling.args, expected);
    assert_eq!((calling.index, calling.attempt, &*calling.task), (1, 1, "price"));
}

#[test]
fn a_function_that_gathers_is_given_a_file_of_values() {
    let of =
        Task { sweep: sweep(vec![axis("h", &[number("1"), number("2")])]), ..task("sim", &[]) };
    let whole = Task {
        action: call(vec![("x", Arg::Gathered(TaskId(0)))]),
        pattern: Pattern::Gather(vec![TaskId(0)]),
        ..task("sum", &[])
    };
    let by_h = Task { pattern: Pattern::GatherBy(TaskId(0), vec!["h".into()]), ..whole.clone() };
    for (task, index, path) in [
        (whole, 0, "/s/runs/7/manifests/sum.sim.values"),
        (by_h, 1, "/s/runs/7/manifests/sum.sim.1.values"),
    ] {
        let tasks = vec![of.clone(), task];
        let recipe = Recipe::new(&pipeline(tasks.clone()), TaskId(1), &context()).unwrap();
        let manifests = recipe.manifests();
        assert_eq!(manifests.len(), 1);
        assert!(manifests[0].values);
        assert_eq!(manifests[0].path(index), Path::new(path));
        let calling = calling(TaskId(1), tasks, index, &[]);
        assert_eq!(calling.args[0].1, Argument::Gathered(path.into()));
    }
}

#[test]
fn a_call_is_shown_in_words() {
    let args = vec![("x", Arg::Params), ("of", Arg::Gathered(TaskId(0)))];
    let task =
        Task { action: call(args), pattern: Pattern::Gather(vec![TaskId(0)]), ..task("g", &[]) };
    let upstream = self::task("u", &[template(&[lit("x")])]);
    let recipe = Recipe::new(&pipeline(vec![upstream, task]), TaskId(1), &context()).unwrap();
    let shown = recipe.preview(0).unwrap();
    assert_eq!(
        shown.argv,
        ["f", "x={}", "of=\"/s/runs/7/manifests/g.u.values\""].map(OsString::from)
    );
}

#[test]
fn an_output_at_a_url_is_written_in_the_runs_directory() {
    let mut first = task("first", &[template(&[hole(Placeholder::Out(0))])]);
    first.sweep =
        sweep(vec![axis("file", &[text(b"https://h/d/a.b.txt?key=1"), text(b"s3://b/c")])]);
    let stem = hole(Placeholder::Param("file".into(), vec!["stem".into()]));
    first.outputs = vec![("x".into(), template(&[lit("s3://results/"), stem, lit(".json")]))];
    let mut second = task("second", &[template(&[hole(Placeholder::UpstreamOut(TaskId(0), 0))])]);
    second.pattern = Pattern::Map(TaskId(0));
    second.stdin = Some(template(&[param("file")]));
    second.outputs =
        vec![("y".into(), template(&[lit("file:///d/100%25/"), hole(Placeholder::Index(1))]))];
    let pipeline = pipeline(vec![first, second]);
    let first = recipe(&pipeline, 0);
    let invocation = first.invocation(0, 1, &[]).unwrap();
    let temporary = "/s/runs/7/outgoing/.dagrun-7-0-0-1-338262d8f096398f/a.b.json";
    assert_eq!(argv(&invocation), [temporary]);
    assert_eq!(invocation.outputs[0].target, Path::new("s3://results/a.b.json"));
    assert_eq!(invocation.outputs[0].path, Path::new("s3://results/a.b.json"));
    let line = String::from_utf8(first.manifest_line(1, "succeeded", None, &[])).unwrap();
    assert!(line.ends_with("\"out\":{\"x\":\"s3://results/c.json\"}}\n"), "{line}");
    let invocation = recipe(&pipeline, 1).invocation(0, 1, &[]).unwrap();
    assert_eq!(argv(&invocation), ["s3://results/a.b.json"]);
    assert_eq!(invocation.stdin.as_deref(), Some(Path::new("https://h/d/a.b.txt?key=1")));
    assert_eq!(invocation.outputs[0].target, Path::new("/d/100%/0"));
}

#[test]
fn what_cannot_be_a_url_for_its_use_is_an_error() {
    let rendered = |change: &dyn Fn(&mut Task)| {
        let mut run = task("run", &[template(&[lit("p")])]);
        change(&mut run);
        recipe(&pipeline(vec![run]), 0).invocation(0, 1, &[]).map(drop)
    };
    for url in ["s3://b", "s3://b/", "https://h/d/?x=y", "https://h"] {
        let error = rendered(&|run| run.outputs = vec![("a".into(), Template::literal(url))]);
        assert!(matches!(error, Err(RenderError::NotAFile { .. })), "{url}: {error:?}");
    }
    let error = rendered(&|run| run.stdin = Some(Template::literal("ftp://u:p@h/x"))).unwrap_err();
    assert!(error.to_string().starts_with("ftp://***@h/x: `ftp://` is not supported"), "{error}");
    let error = rendered(&|run| run.working_dir = Some(Template::literal("s3://b/d")));
    assert!(matches!(error, Err(RenderError::Url { .. })), "{error:?}");
}
