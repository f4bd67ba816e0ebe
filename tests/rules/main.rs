//! The rules of the language, each played through both ways into it: a pipeline file and the builder.
//! What the one accepts the other accepts; what the one refuses the other refuses, in the same words
//! but for how options are spelt.
//!
//! The tables are the snapshots `rules__placeholders.snap` and `rules__checks.snap`.

mod warnings;

use std::fmt::Write as _;
use std::time::Duration;

use dagrun::core::parse::{NoFiles, ParseOptions, parse};
use dagrun::core::pipeline::{MinSuccess, Outcomes, Retry, RetryOn};
use dagrun::{ArrayHandle, Chunk, Dag, Dependency, Each, Handle, Parts, Sweep};

#[dagrun::task]
fn total(values: Vec<f64>) -> f64 {
    values.iter().sum()
}

#[dagrun::task]
fn some(values: Vec<Option<f64>>) -> f64 {
    values.iter().flatten().sum()
}

#[dagrun::task]
fn of_group(values: Vec<f64>, h: f64) -> f64 {
    h * values.len() as f64
}

#[dagrun::task]
fn half(x: f64) -> f64 {
    x / 2.0
}

/// What every row begins with, as a file.
const GIVEN: &str = r#"
[vars]
n = 5
site = { name = "north" }
[task.one]
run = ["one"]
capture = "json"
out.csv = "one.csv"
[task.text]
run = ["text"]
capture = "text"
[task.plain]
run = ["plain"]
[task.run]
run = ["run"]
out.id = "id"
[task.list]
run = ["list"]
capture = "json"
[task.array]
run = ["array", "{h}"]
sweep = { h = [1.0, 2.0] }
capture = "json"
out.file = "array-{index}"
[task.late]
run = ["late"]
scatter = "list"
capture = "json"
"#;

/// The same as built.
struct Given {
    dag: Dag,
    one: Handle<f64>,
    text: Handle<String>,
    list: Handle<Vec<f64>>,
    array: ArrayHandle<f64>,
    late: ArrayHandle<f64>,
}

fn given() -> Given {
    let dag = Dag::new("test");
    dag.var("n", &5);
    dag.var("site", &serde_json::json!({ "name": "north" }));
    let one = dag.command(["one"]).output("csv", "one.csv").capture();
    let text = dag.command(["text"]).capture_text();
    dag.command(["plain"]);
    dag.command(["run"]).output("id", "id");
    let list = dag.command(["list"]).capture();
    let sweep = Sweep::new().axis("h", [1.0, 2.0]);
    let array = dag.map_command(sweep, ["array", "{h}"]).output("file", "array-{index}").capture();
    let late = dag.map_command(dag.scatter(&list, Each), ["late"]).capture();
    Given { dag, one, text, list, array, late }
}

/// What is wrong, each with its help; nothing is accepted.
type Problems = Vec<String>;

fn with_help(message: &str, help: Option<&String>) -> String {
    help.map_or_else(|| message.to_owned(), |help| format!("{message}; {help}"))
}

fn of_file(task: &str) -> Problems {
    let options = ParseOptions { file_stem: "test", ..ParseOptions::default() };
    match parse(&format!("{GIVEN}{task}"), &options, &NoFiles) {
        Ok(_) => Vec::new(),
        Err(found) => found.iter().map(|p| with_help(&p.message, p.help.as_ref())).collect(),
    }
}

fn of_builder(dag: &Dag) -> Problems {
    let Err(error) = dag.check() else { return Vec::new() };
    error.problems().iter().map(|p| with_help(&p.message, p.help.as_ref())).collect()
}

/// A row of a table. Both ways must agree on whether it is sound.
fn row(table: &mut String, given: &str, file: &Problems, builder: &Problems) {
    assert_eq!(file.is_empty(), builder.is_empty(), "{given}\n{file:#?}\n{builder:#?}");
    assert_eq!(file.len(), builder.len(), "{given}\n{file:#?}\n{builder:#?}");
    writeln!(table, "{given}").unwrap();
    if file.is_empty() {
        writeln!(table, "    accepted").unwrap();
    }
    for (file, builder) in file.iter().zip(builder) {
        writeln!(table, "    {file}").unwrap();
        if file != builder {
            writeln!(table, "    in Rust: {builder}").unwrap();
        }
    }
}

/// How the instances of the task come about in whose words a placeholder stands.
#[derive(Clone, Copy, Debug)]
enum In {
    Single,
    Sweep,
    Map,
    Scatter,
    OverScatter,
    Gather,
}

impl In {
    fn file(self, text: &str) -> String {
        let pattern = match self {
            In::Single => "",
            In::Sweep => "sweep = { h = [1.0], file = ['a/b.txt'] }",
            In::Map => "map = 'array'",
            In::Scatter => "scatter = 'list'",
            In::OverScatter => "map = 'late'",
            In::Gather => "gather = 'array'",
        };
        format!("[task.t]\nrun = ['t', '''{text}''']\nout.o = 'o-{{index}}'\n{pattern}\n")
    }

    fn build(self, given: &Given, text: &str) {
        let (dag, words) = (&given.dag, ["t", text]);
        let path = "o-{index}";
        match self {
            In::Single => drop(dag.command(words).output("o", path)),
            In::Gather => drop(dag.gather_command(&given.array, words).output("o", path)),
            In::Sweep => {
                let sweep = Sweep::new().axis("h", [1.0]).axis("file", ["a/b.txt"]);
                drop(dag.map_command(sweep, words).output("o", path));
            }
            In::Map => drop(dag.map_command(&given.array, words).output("o", path)),
            In::OverScatter => drop(dag.map_command(&given.late, words).output("o", path)),
            In::Scatter => {
                drop(dag.map_command(dag.scatter(&given.list, Each), words).output("o", path));
            }
        }
    }
}

/// Every placeholder, right and wrong, and where it stands.
const PLACEHOLDERS: &[(In, &str)] = &[
    (In::Single, "no braces"),
    (In::Single, "{{x}}"),
    (In::Single, "{"),
    (In::Single, "}"),
    (In::Single, "{}"),
    (In::Single, "{ h }"),
    (In::Single, "{a..b}"),
    // {name}, {name.field}
    (In::Sweep, "{h}"),
    (In::Sweep, "{file.name} {file.stem}"),
    (In::Sweep, "{file.colour}"),
    (In::Sweep, "{h.name}"),
    (In::Map, "{h}"),
    (In::Map, "{h.name}"),
    (In::Single, "{h}"),
    (In::Sweep, "{hh}"),
    (In::Gather, "{h}"),
    (In::OverScatter, "{h}"),
    // {vars.name}
    (In::Single, "{vars.n} {vars.site.name}"),
    (In::Single, "{vars.m}"),
    (In::Single, "{vars.quite_another}"),
    (In::Single, "{vars.n.x}"),
    (In::Single, "{vars}"),
    (In::Single, "{n}"),
    // {index}, {key}, {seed}, {attempt}
    (In::Single, "{index} {index:03} {key} {seed} {attempt}"),
    (In::Single, "{index:3}"),
    (In::Single, "{key:03}"),
    (In::Sweep, "{h:03}"),
    (In::Single, "{index.x}"),
    (In::Single, "{key.x}"),
    (In::Single, "{seed.x}"),
    (In::Single, "{attempt.x}"),
    // {out.NAME}
    (In::Single, "{out.o}"),
    (In::Single, "{out.x}"),
    (In::Single, "{out.o.x}"),
    (In::Single, "{out}"),
    // {TASK.NAME}
    (In::Single, "{one.csv}"),
    (In::Single, "{one.cvs}"),
    (In::Single, "{plain.csv}"),
    (In::Single, "{one}"),
    (In::Single, "{plain}"),
    (In::Single, "{t.o}"),
    (In::Single, "{nobody.csv}"),
    (In::Single, "{array.file}"),
    (In::Map, "{array.file}"),
    (In::Gather, "{array.file}"),
    (In::OverScatter, "{array.file}"),
    // {TASK.value}
    (In::Single, "{one.value} {one.value.x.y} {text.value}"),
    (In::Single, "{text.value.x}"),
    (In::Single, "{plain.value}"),
    (In::Single, "{array.value}"),
    (In::Map, "{array.value.x}"),
    (In::OverScatter, "{late.value}"),
    (In::Single, "{late.value.x}"),
    // {TASK.manifest}
    (In::Gather, "{array.manifest}"),
    (In::Gather, "{array.manifest.x}"),
    (In::Gather, "{late.manifest}"),
    (In::Single, "{array.manifest}"),
    // {run.id}, {run.dir}; `run` is a task with an output `id` here
    (In::Single, "{run.dir}"),
    (In::Single, "{run.id}"),
    (In::Single, "{run.name}"),
    (In::Single, "{run}"),
    // {item}
    (In::Scatter, "{item} {item.x} {item.0}"),
    (In::OverScatter, "{item} {item.x}"),
    (In::Single, "{item}"),
    (In::Map, "{item.x}"),
];

#[test]
fn placeholders() {
    let mut table = String::new();
    for (place, text) in PLACEHOLDERS {
        let given = given();
        place.build(&given, text);
        let name = format!("{text}  in {place:?}");
        row(&mut table, &name, &of_file(&place.file(text)), &of_builder(&given.dag));
    }
    insta::assert_snapshot!(table);
}

/// A rule, a task of a file, and the same as it is built.
type Rule = (&'static str, &'static str, fn(&Given));

const COMMAND: &str = "run = ['t']";

/// What a task may hold besides placeholders.
const RULES: &[Rule] = &[
    ("a task's name", "[task.'1 x']\nrun = ['t']", |g| drop(g.dag.command(["t"]).name("1 x"))),
    ("a parameter's name", "COMMAND\nsweep = { '1 x' = [1] }", |g| swept(g, "1 x")),
    ("a reserved parameter", "COMMAND\nsweep = { seed = [1] }", |g| swept(g, "seed")),
    ("a parameter that a shell sets", "COMMAND\nsweep = { RANDOM = [1] }", |g| {
        swept(g, "RANDOM");
    }),
    ("a parameter that dagrun sets", "COMMAND\nsweep = { DAGRUN_X = [1] }", |g| {
        swept(g, "DAGRUN_X");
    }),
    ("a variable that a shell sets", "COMMAND\n[vars.IFS]\ny = 1", |g| {
        g.dag.var("IFS", &serde_json::json!({ "y": 1 }));
        g.dag.command(["t"]);
    }),
    ("a variable's name", "COMMAND\n[vars.'1 x']\ny = 1", |g| {
        g.dag.var("1 x", &serde_json::json!({ "y": 1 }));
        g.dag.command(["t"]);
    }),
    ("an output's name", "COMMAND\nout.'1 x' = 'o'", |g| {
        g.dag.command(["t"]).name("t").output("1 x", "o");
    }),
    ("a reserved output", "COMMAND\nout.value = 'o'", |g| {
        g.dag.command(["t"]).name("t").output("value", "o");
    }),
    ("an environment variable", "COMMAND\nenv = { 'A=B' = 'x' }", |g| {
        g.dag.command(["t"]).env("A=B", "x");
    }),
    ("no program", "[task.t]\nrun = ['']", |g| drop(g.dag.command([""]).name("t"))),
    ("NUL", "[task.t]\nrun = ['t', \"a\\u0000b\"]", |g| drop(g.dag.command(["t", "a\0b"]))),
    ("an empty path", "COMMAND\nout.o = ' '", |g| drop(g.dag.command(["t"]).output("o", " "))),
    ("an empty stdin", "COMMAND\nstdin = ''", |g| drop(g.dag.command(["t"]).stdin(""))),
    ("an empty directory", "COMMAND\nworking-dir = ''", |g| {
        g.dag.command(["t"]).working_dir("");
    }),
    ("words before its own", "COMMAND\nwrap = ['nice', '-n', '{vars.n}']", |g| {
        g.dag.command(["t"]).wrap(["nice", "-n", "{vars.n}"]);
    }),
    ("no words before its own", "COMMAND\nwrap = []", |g| {
        g.dag.command(["t"]).wrap(Vec::<String>::new());
    }),
    ("an empty word before its own", "COMMAND\nwrap = ['']", |g| {
        g.dag.command(["t"]).wrap([""]);
    }),
    ("a placeholder in words before its own", "COMMAND\nwrap = ['nice', '{x}']", |g| {
        g.dag.command(["t"]).wrap(["nice", "{x}"]);
    }),
    ("a URL", "COMMAND\nout.o = 's3://bucket/key'", |g| {
        g.dag.command(["t"]).output("o", "s3://bucket/key");
    }),
    ("a temporary output", "COMMAND\nout.o = { path = 'o', temp = true }", |g| {
        g.dag.command(["t"]).temp_output("o", "o");
    }),
    ("a temporary URL", "COMMAND\nout.o = { path = 's3://bucket/key', temp = true }", |g| {
        g.dag.command(["t"]).temp_output("o", "s3://bucket/key");
    }),
    ("an unknown scheme", "COMMAND\nout.o = 'ftp://host/x'", |g| {
        g.dag.command(["t"]).output("o", "ftp://host/x");
    }),
    ("a URL without a bucket", "COMMAND\nstdin = 's3://'", |g| {
        g.dag.command(["t"]).stdin("s3://");
    }),
    ("a directory that is a URL", "COMMAND\nworking-dir = 's3://bucket/x'", |g| {
        g.dag.command(["t"]).working_dir("s3://bucket/x");
    }),
    ("an output within an output", "COMMAND\nout.o = 'o'\nout.p = '{out.o}'", |g| {
        g.dag.command(["t"]).output("o", "o").output("p", "{out.o}");
    }),
    ("cpus", "COMMAND\ncpus = 0", |g| drop(g.dag.command(["t"]).cpus(0))),
    ("max-running", "COMMAND\nmax-running = 0", |g| drop(g.dag.command(["t"]).max_running(0))),
    ("max-lost", "COMMAND\nmax-lost = 0", |g| drop(g.dag.command(["t"]).max_lost(0))),
    ("timeout", "COMMAND\ntimeout = 0", |g| drop(g.dag.command(["t"]).timeout(Duration::ZERO))),
    ("timeout of 200 years", "COMMAND\ntimeout = '73050d'", |g| {
        g.dag.command(["t"]).timeout(Duration::from_secs(73_050 * 86_400));
    }),
    ("a start within 200 years", "COMMAND\nstart-within = '73050d'", |g| {
        g.dag.command(["t"]).start_within(Duration::from_secs(73_050 * 86_400));
    }),
    ("grace of 200 years", "COMMAND\ngrace = '73050d'", |g| {
        g.dag.command(["t"]).grace(Duration::from_secs(73_050 * 86_400));
    }),
    ("a delay of 200 years", "COMMAND\nretries = { count = 1, delay = '73050d' }", |g| {
        let delay = Duration::from_secs(73_050 * 86_400);
        g.dag.command(["t"]).retry(Retry::times(1).delay(delay));
    }),
    ("start-within", "COMMAND\nstart-within = '0s'", |g| {
        g.dag.command(["t"]).start_within(Duration::ZERO);
    }),
    ("grace", "COMMAND\ngrace = 0", |g| drop(g.dag.command(["t"]).grace(Duration::ZERO))),
    ("memory", "COMMAND\nmemory = '9999999TB'", |g| drop(g.dag.command(["t"]).memory(u64::MAX))),
    ("a resource", "COMMAND\nresources = { gpu = 1, none = 0 }", |g| {
        g.dag.command(["t"]).resource("gpu", 1).resource("none", 0);
    }),
    ("a resource's name", "COMMAND\nresources = { 'a b' = 1 }", |g| {
        g.dag.command(["t"]).resource("a b", 1);
    }),
    ("a resource that is an option", "COMMAND\nresources = { memory = 1 }", |g| {
        g.dag.command(["t"]).resource("memory", 1);
    }),
    ("no targets", "COMMAND\ntargets = []", |g| drop(g.dag.command(["t"]).targets([]))),
    ("an empty target", "COMMAND\ntargets = ['a', ' ']", |g| {
        g.dag.command(["t"]).targets(["a", " "]);
    }),
    ("each worker", "COMMAND\ntargets = 'each'", |g| {
        let _ = g.dag.command(["t"]).done().each_worker();
    }),
    ("each worker of a gather", "COMMAND\ntargets = 'each'\ngather = 'array'", |g| {
        let _ = g.dag.gather_command(&g.array, ["t"]).done().each_worker();
    }),
    ("retries", "COMMAND\nretries = { count = 1, on = ['exit:75', 'signal:9'] }", |g| {
        retried(g, vec![RetryOn::Exit(75), RetryOn::Signal(9)]);
    }),
    ("an exit code", "COMMAND\nretries = { count = 1, on = ['exit:0'] }", |g| {
        retried(g, vec![RetryOn::Exit(0)]);
    }),
    ("another exit code", "COMMAND\nretries = { count = 1, on = ['exit:256'] }", |g| {
        retried(g, vec![RetryOn::Exit(256)]);
    }),
    ("a signal", "COMMAND\nretries = { count = 1, on = ['signal:65'] }", |g| {
        retried(g, vec![RetryOn::Signal(65)]);
    }),
    (
        "memory that grows",
        "COMMAND\nmemory = 1\nretries = { count = 1, grow = { memory = 2 } }",
        |g| {
            g.dag.command(["t"]).memory(1).retry(Retry::times(1).grow_memory(2.0));
        },
    ),
    (
        "memory that shrinks",
        "COMMAND\nmemory = 1\nretries = { count = 1, grow = { memory = 0.5 } }",
        |g| {
            g.dag.command(["t"]).memory(1).retry(Retry::times(1).grow_memory(0.5));
        },
    ),
    ("no memory that grows", "COMMAND\nretries = { count = 1, grow = { memory = 2.0 } }", |g| {
        g.dag.command(["t"]).retry(Retry::times(1).grow_memory(2.0));
    }),
    (
        "memory that grows in vain",
        "COMMAND\nmemory = 1\nretries = { count = 1, on = ['exit'], grow = { memory = 2.0 } }",
        |g| {
            let retry = Retry::times(1).on([RetryOn::AnyExit]).grow_memory(2.0);
            g.dag.command(["t"]).memory(1).retry(retry);
        },
    ),
    ("a placeholder in env", "COMMAND\nenv = { A = '{x}' }", |g| {
        g.dag.command(["t"]).env("A", "{x}");
    }),
    ("a placeholder in a path", "COMMAND\nout.o = '{x}'", |g| {
        g.dag.command(["t"]).output("o", "{x}");
    }),
    ("a placeholder in stdin", "COMMAND\nstdin = '{x}'", |g| {
        drop(g.dag.command(["t"]).stdin("{x}"));
    }),
    ("a placeholder in working-dir", "COMMAND\nworking-dir = '{x}'", |g| {
        g.dag.command(["t"]).working_dir("{x}");
    }),
    (
        "a parameter that is also a task",
        "[task.t]\nrun = ['t', '{one.csv}']\nsweep = { one = [{ csv = 1 }] }",
        |g| {
            let sweep = Sweep::new().axis("one", [serde_json::json!({ "csv": 1 })]);
            g.dag.map_command(sweep, ["t", "{one.csv}"]);
        },
    ),
    (
        "an axis paired with nothing",
        "COMMAND\nsweep = { a = [1, 2] }\ncombine = { zip = [['a']] }",
        |g| drop(g.dag.map_command(Sweep::new().axis("a", [1, 2]).zip(["a"]), ["t"])),
    ),
    (
        "axes that are paired",
        "COMMAND\nsweep = { a = [1, 2], b = [3, 4] }\ncombine = { zip = [['a', 'b']] }",
        |g| {
            let sweep = Sweep::new().axis("a", [1, 2]).axis("b", [3, 4]).zip(["a", "b"]);
            g.dag.map_command(sweep, ["t"]);
        },
    ),
    ("a map", "COMMAND\nmap = 'array'", |g| drop(g.dag.map_command(&g.array, ["t"]))),
    ("a chunk", "COMMAND\nscatter = { from = 'list', chunk = 0 }", |g| {
        g.dag.map_command(g.dag.scatter(&g.list, Chunk(0)), ["t"]);
    }),
    ("parts", "COMMAND\nscatter = { from = 'list', parts = 0 }", |g| {
        g.dag.map_command(g.dag.scatter(&g.list, Parts(0)), ["t"]);
    }),
    (
        "a scatter of what is no array",
        "[task.s]\nrun = ['s']\ncapture = 'text'\n[task.t]\nrun = ['t']\nscatter = 's'",
        |g| {
            let source = g.dag.command(["s"]);
            let list: Handle<Vec<f64>> = source.clone().capture();
            let _ = source.capture_text();
            g.dag.map_command(g.dag.scatter(&list, Each), ["t"]);
        },
    ),
    ("a gather", "COMMAND\ngather = ['one', 'array']", |g| {
        g.dag.gather_command((&g.one, &g.array), ["t"]);
    }),
    ("a gather of nothing", "COMMAND\ngather = []", |g| {
        g.dag.gather_command(Vec::<Handle<f64>>::new(), ["t"]);
    }),
    (
        "groups",
        "[task.of_group]\ncall = 'of_group'\ngather = { task = 'array', by = ['h'] }\nargs = { h = '{h}', values = '{array.value}' }",
        |g| {
            let _ = g.dag.gather_by(&g.array, ["h"], of_group);
        },
    ),
    (
        "groups by no parameter",
        "[task.of_group]\ncall = 'of_group'\ngather = { task = 'array', by = ['x'] }",
        |g| {
            let _ = g.dag.gather_by(&g.array, ["x"], of_group);
        },
    ),
    (
        "groups of what is known late",
        "[task.of_group]\ncall = 'of_group'\ngather = { task = 'late', by = ['x'] }",
        |g| {
            let _ = g.dag.gather_by(&g.late, ["x"], of_group);
        },
    ),
    ("min-success", "[task.some]\ncall = 'some'\ngather = 'array'\nmin-success = 2", |g| {
        g.dag.gather(&g.array, some).min_success(2);
    }),
    (
        "too high a min-success",
        "[task.some]\ncall = 'some'\ngather = 'array'\nmin-success = 3",
        |g| {
            g.dag.gather(&g.array, some).min_success(3);
        },
    ),
    (
        "min-success above 100 %",
        "[task.some]\ncall = 'some'\ngather = 'array'\nmin-success = '101%'",
        |g| {
            g.dag.gather(&g.array, some).min_success(MinSuccess::Part(10_100));
        },
    ),
    ("min-success without a gather", "COMMAND\nmin-success = 1", |g| {
        g.dag.command(["t"]).min_success(1);
    }),
    (
        "clauses",
        "COMMAND\nafter = ['one', { any = ['array'], on = 'failure' }]\nfollow = 'one'",
        |g| {
            let any = Dependency::any(&g.array).on(Outcomes::Failure);
            g.dag.command(["t"]).after(&g.one).after(any).follow(&g.one);
        },
    ),
    ("a clause without tasks", "COMMAND\nafter = { all = [] }", |g| {
        g.dag.command(["t"]).after(Vec::<Handle<f64>>::new());
    }),
    ("a follow without tasks", "COMMAND\nfollow = { any = [] }", |g| {
        g.dag.command(["t"]).follow(Dependency::any(Vec::<Handle<f64>>::new()));
    }),
    ("after itself", "COMMAND\nafter = 't'", |g| {
        let task = g.dag.command(["t"]).done();
        task.clone().after(&task);
    }),
    ("a cycle", "[task.a]\nrun = ['a']\nafter = 'b'\n[task.b]\nrun = ['b']\nafter = 'a'", |g| {
        let first = g.dag.command(["a"]).done();
        let second = g.dag.command(["b"]).done().after(&first);
        first.after(&second);
    }),
    ("the same path in two tasks", "COMMAND\nout.o = './one.csv'", |g| {
        g.dag.command(["t"]).output("o", "./one.csv");
    }),
    ("the same path in two instances", "COMMAND\nsweep = { x = [1, 2] }\nout.o = 'o'", |g| {
        g.dag.map_command(Sweep::new().axis("x", [1, 2]), ["t"]).output("o", "o");
    }),
    (
        "too many instances",
        "COMMAND\nsweep = { x = { range = '0..100000' }, y = { range = '0..100000' } }",
        |g| {
            let sweep = Sweep::new().axis("x", dagrun::range(0, 1, 100_000));
            g.dag.map_command(sweep.axis("y", dagrun::range(0, 1, 100_000)), ["t"]);
        },
    ),
    ("a value that is given", "[task.half]\ncall = 'half'\nargs = { x = '{one.value}' }", |g| {
        g.dag.task(half, (&g.one,));
    }),
    (
        "all values",
        "[task.total]\ncall = 'total'\ngather = 'array'\nargs = { values = '{array.value}' }",
        |g| {
            g.dag.gather(&g.array, total);
        },
    ),
];

fn swept(given: &Given, name: &str) {
    given.dag.map_command(Sweep::new().axis(name, [1]), ["t"]);
}

fn retried(given: &Given, on: Vec<RetryOn>) {
    given.dag.command(["t"]).retry(Retry { count: 1, on, ..Retry::default() });
}

#[test]
fn checks() {
    let mut table = String::new();
    for (rule, file, build) in RULES {
        let given = given();
        build(&given);
        let file = file.replace("COMMAND", &format!("[task.t]\n{COMMAND}"));
        row(&mut table, rule, &of_file(&file), &of_builder(&given.dag));
    }
    let _ = given().text;
    insta::assert_snapshot!(table);
}
