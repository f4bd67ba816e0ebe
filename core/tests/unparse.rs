//! Pipelines written back in the file format: what is read from the text is the same pipeline.

mod sources;

use std::fs;
use std::path::PathBuf;

use dagrun_core::ids::{Micros, TaskId};
use dagrun_core::parse::{ParseOptions, parse};
use dagrun_core::payload;
use dagrun_core::pipeline::{
    Arg, Args, Call, Capture, Clause, Conduct, Factor, MinSuccess, Outcomes, Pattern, Pipeline,
    Quantifier, Retry, RetryOn, Scatter, Split, Targets, Task, TaskAction,
};
use dagrun_core::space::{Axis, Ends, Points, Space};
use dagrun_core::template::{Part, Placeholder, Template};
use dagrun_core::unparse::to_toml;
use dagrun_core::value::{RawString, Value};
use proptest::prelude::*;
use sources::TestFiles;

fn read(text: &str) -> Pipeline {
    match parse(text, &ParseOptions { file_stem: "test", ..ParseOptions::default() }, &TestFiles) {
        Ok(parsed) => parsed.pipeline,
        Err(problems) => panic!("{text}\n{problems:?}"),
    }
}

fn reason(pipeline: &Pipeline) -> String {
    to_toml(pipeline).unwrap_err().to_string()
}

fn alone(task: Task) -> Pipeline {
    Pipeline { name: "test".to_owned(), vars: Vec::new(), tasks: vec![task] }
}

fn calling(args: Args) -> Task {
    let call = Call { function: "f".to_owned(), signature: None, args, fold: false };
    let action = TaskAction::Call(Box::new(call));
    Task { capture: Capture::Json, ..Task::new("a", action) }
}

#[test]
fn inputs_with_names_survive_wherever_they_stand() {
    let text = "[task.a]\nin = { z = 'data/{x}.txt', 'y-y' = 'ids.txt' }\ninputs = ['points.csv']\n\
                run = ['f', '{in.z}', '{in.y-y}', '--at={in.z}']\nsweep = { x = ['a', 'b'] }\n";
    let pipeline = read(text);
    let task = &pipeline.tasks[0];
    let named: Vec<_> = task.named_inputs().map(|(name, _)| name).collect();
    assert_eq!((named, task.unnamed_inputs().count()), (vec!["z", "y-y"], 1));
    let written = to_toml(&pipeline).unwrap();
    assert_eq!(read(&written), pipeline, "{written}");
    assert!(written.contains("--at={in.z}"), "{written}");
}

#[test]
fn temporary_outputs_survive() {
    let text = "[task.a]\nrun = 'f {out.x} {out.y} {out.z}'\n\
                out = { x = 'x', y = { path = 'y', temp = true }, z = { path = 'z', temp = false } }\n";
    let pipeline = read(text);
    assert_eq!(pipeline.tasks[0].temp, [1]);
    let written = to_toml(&pipeline).unwrap();
    assert_eq!(read(&written), pipeline, "{written}");
    assert!(written.contains("y = { path = \"y\", temp = true }"), "{written}");
}

#[test]
fn good_pipelines_survive_or_say_what_cannot_be_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/good");
    let mut refused = Vec::new();
    let mut written = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let pipeline = read(&fs::read_to_string(&path).unwrap());
        match to_toml(&pipeline) {
            Ok(text) => {
                assert_eq!(read(&text), pipeline, "{}\n{text}", path.display());
                written += 1;
            }
            Err(error) => refused.push(error.to_string()),
        }
    }
    refused.sort();
    insta::assert_debug_snapshot!(refused);
    assert!(written >= 10, "{written}");
}

#[test]
fn the_text_is_one_that_people_would_write() {
    let source = include_str!("good/call.toml");
    insta::assert_snapshot!(to_toml(&read(source)).unwrap());
    let source = include_str!("good/every-key.toml");
    insta::assert_snapshot!(to_toml(&read(source)).unwrap());
}

#[test]
fn what_the_format_lacks_is_told_with_the_task() {
    let mut fold = calling(Args::Listed(vec![Arg::Params]));
    if let TaskAction::Call(call) = &mut fold.action {
        call.fold = true;
    }
    let listed = calling(Args::Listed(vec![Arg::Params]));
    let constant = |payload: Vec<u8>| {
        let value = Value::String(RawString(payload));
        calling(Args::Named(vec![("x".to_owned(), Arg::Value(value))]))
    };
    let bytes = constant(payload::of_bytes(b"\xff"));
    let infinite = constant(payload::encode(&vec![f64::INFINITY]).unwrap());
    let null = calling(Args::Named(vec![("x".to_owned(), Arg::Value(Value::Null))]));
    let every =
        Task { pattern: Pattern::GatherEvery(TaskId(0), 8), ..calling(Args::Named(Vec::new())) };
    let kept = Task {
        conduct: Conduct { keep: true, ..Conduct::default() },
        ..calling(Args::Named(Vec::new()))
    };
    for (task, expected) in [
        (fold, "that it folds a function over a list, as `reduce` does"),
        (listed, "arguments without names"),
        (bytes, "a constant that is not JSON"),
        (infinite, "a constant that is not JSON"),
        (null, "null, which TOML does not have"),
        (every, "a gather of every so many instances, as `reduce` makes them"),
        (kept, "that its value is kept"),
    ] {
        let expected = format!("task `a`: the file format cannot express {expected}");
        assert_eq!(reason(&alone(task)), expected);
    }
}

#[test]
fn long_constants_are_written_as_what_they_mean() {
    let long: Vec<f64> = (0..2000).map(|at| f64::from(at) / 7.0).collect();
    let payload = payload::encode(&long).unwrap();
    assert_eq!(payload.first(), Some(&payload::TAG));
    let value = Value::String(RawString(payload));
    let task = calling(Args::Named(vec![("x".to_owned(), Arg::Value(value))]));
    let read = read(&to_toml(&alone(task)).unwrap());
    let TaskAction::Call(call) = &read.tasks[0].action else { panic!("{read:?}") };
    let Some(Arg::Value(value)) = call.args.iter().next() else { panic!("{read:?}") };
    let mut json = Vec::new();
    value.write_json(&mut json);
    assert_eq!(serde_json::from_slice::<Vec<f64>>(&json).unwrap(), long);
}

/// Any text without NUL.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{"),
        Just("}"),
        Just("{{x}}"),
        Just("\""),
        Just("'''"),
        Just("\\"),
        Just("\n"),
        Just("\r\n"),
        Just("\t"),
        Just("\u{7f}"),
        Just("\u{1}"),
        Just("ä"),
        Just("x"),
        Just(" "),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn any_value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>()
            .prop_filter("TOML has others", |x| x.is_finite())
            .prop_map(|x| format!("{x:?}")),
        Just("1e-9".to_owned()),
        Just("0.10".to_owned()),
        Just("1E+5".to_owned()),
    ];
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        number.prop_map(Value::Number),
        any_text().prop_map(|text| Value::String(text.into())),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        let fields = proptest::collection::btree_map(any_text(), inner.clone(), 0..3);
        prop_oneof![
            proptest::collection::vec(inner, 0..3).prop_map(Value::List),
            fields.prop_map(|fields| Value::Table(fields.into_iter().collect())),
        ]
    })
}

fn any_points() -> impl Strategy<Value = Points> {
    let ends = (-1e6..1e6f64, -1e6..1e6f64, 2..5u32).prop_map(|(from, to, n)| Ends { from, to, n });
    prop_oneof![
        proptest::collection::vec(any_value().prop_map(|value| vec![value]), 1..4)
            .prop_map(Points::Rows),
        ends.prop_map(Points::Linspace),
        (-9.0..9.0f64, -9.0..9.0f64).prop_map(|(from, to)| Points::Logspace(Ends {
            from,
            to,
            n: 3
        })),
        (any::<i32>(), prop_oneof![1..9i64, -9..-1i64], 1..5u32)
            .prop_map(|(first, step, n)| Points::Range { first: first.into(), step, n }),
    ]
}

/// A sweep over `p0`, `p1`… of the task at this position.
fn any_space(task: usize) -> impl Strategy<Value = Space> {
    proptest::collection::vec(any_points(), 1..3).prop_map(move |points| {
        let axis = |(at, points)| {
            let name = format!("p{task}_{at}");
            Axis { name: name.clone(), names: vec![name], points }
        };
        Space { axes: points.into_iter().enumerate().map(axis).collect(), ..Space::default() }
    })
}

/// What the tasks are made of, apart from how they are joined.
fn any_task(at: usize) -> impl Strategy<Value = Task> {
    let retry = (0..4u32, 0..4_000_000u64, any::<bool>(), any::<bool>()).prop_map(
        |(count, delay, exponential, jitter)| Retry {
            count,
            delay: Micros(delay),
            exponential,
            max_delay: Micros(delay * 3),
            jitter,
            grow_memory: (exponential && !jitter).then_some(Factor(2500)),
            on: if jitter { vec![RetryOn::Exit(75), RetryOn::AnySignal] } else { Vec::new() },
        },
    );
    let limits = (
        retry,
        proptest::option::of(1..9_000_000_000u64),
        0..99_000_000u64,
        1..9u32,
        any::<u32>(),
        any::<i32>(),
    );
    let targets = prop_oneof![
        3 => Just(Targets::Any),
        1 => proptest::collection::vec("[a-z]{1,4}", 1..3).prop_map(Targets::Named),
    ];
    let texts = (any_text(), any_text(), any_text());
    (limits, targets, texts, proptest::option::of(any_space(at)), any::<[bool; 4]>()).prop_map(
        move |(limits, targets, (word, env, script), sweep, [shell, allow, always, capture])| {
            let (retry, timeout, grace, cpus, memory, priority) = limits;
            let action = match shell && !script.trim().is_empty() {
                true => TaskAction::Shell(script),
                false => TaskAction::Run(vec![Template::literal("run"), literal(&word)]),
            };
            Task {
                conduct: Conduct {
                    retry,
                    timeout: timeout.map(Micros),
                    grace: Micros(grace),
                    cpus,
                    memory: memory.into(),
                    priority,
                    targets,
                    allow_failure: allow,
                    always,
                    rerun: always && allow,
                    resources: vec![("gpu".to_owned(), cpus.into())],
                    ..Conduct::default()
                },
                sweep,
                capture: if capture { Capture::Lines } else { Capture::Json },
                env: vec![(format!("NAME {word}").replace('=', ""), literal(&env))],
                ..Task::new(format!("t{at}"), action)
            }
        },
    )
}

fn literal(text: &str) -> Template {
    match text {
        "" => Template::default(),
        text => Template::literal(text),
    }
}

/// Joins task `at` to one before it, in one of the ways there are.
fn join(tasks: &mut [Task], at: usize, way: u8, other: usize) {
    let upstream = TaskId(other as u32);
    let array = {
        // An array, or a task that maps one.
        let (mut task, mut array) = (other, false);
        loop {
            array |= tasks[task].is_array();
            match tasks[task].pattern {
                Pattern::Map(next) => task = next.at(),
                _ => break array,
            }
        }
    };
    let task = &mut tasks[at];
    match way {
        0 => task.pattern = Pattern::Map(upstream),
        1 => {
            task.pattern = Pattern::Gather(vec![upstream]);
            task.sweep = None;
            task.conduct.min_success = Some(MinSuccess::Part(9050));
        }
        2 => {
            let scatter = Scatter { from: upstream, split: Split::Chunk(7), max_items: Some(99) };
            task.pattern = Pattern::Scatter(scatter);
        }
        3 => {
            let clause = |quantifier, on| Clause { upstreams: vec![upstream], quantifier, on };
            task.after = vec![clause(Quantifier::All, Outcomes::Success)];
            task.follow = vec![
                clause(Quantifier::Any, Outcomes::Failure),
                clause(Quantifier::All, Outcomes::Finish),
            ];
        }
        4 if !array => {
            let fields = vec!["0".to_owned(), "name".to_owned()];
            let value = Placeholder::UpstreamValue(upstream, fields);
            let arg = Arg::Text(Template { parts: vec![Part::Placeholder(value)] });
            let args = vec![
                ("x y".to_owned(), arg),
                (
                    "list".to_owned(),
                    Arg::List(vec![Arg::Text(Template {
                        parts: vec![
                            Part::Placeholder(Placeholder::Index(3)),
                            Part::Literal("{".to_owned()),
                            Part::Placeholder(Placeholder::Seed),
                        ],
                    })]),
                ),
            ];
            task.action = calling(Args::Named(args)).action;
            task.capture = Capture::Json;
            task.env = Vec::new();
            task.references = vec![upstream];
        }
        _ => {}
    }
}

fn any_pipeline() -> impl Strategy<Value = Pipeline> {
    let tasks = (any_task(0), any_task(1), any_task(2), any_task(3));
    let ways = proptest::collection::vec((0..6u8, any::<prop::sample::Index>()), 4);
    let vars = proptest::collection::vec(any_value(), 0..3);
    (tasks, ways, vars).prop_map(|((a, b, c, d), ways, vars)| {
        let mut tasks = vec![a, b, c, d];
        for (at, (way, other)) in ways.into_iter().enumerate().skip(1) {
            join(&mut tasks, at, way, other.index(at));
        }
        let vars = vars.into_iter().zip(0..).map(|(value, at)| (format!("v{at}"), value));
        Pipeline { name: "a \"name\"".to_owned(), vars: vars.collect(), tasks }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_pipeline_survives(pipeline in any_pipeline()) {
        let text = to_toml(&pipeline);
        prop_assert!(text.is_ok(), "{text:?}");
        prop_assert_eq!(read(&text.unwrap()), pipeline);
    }
}
