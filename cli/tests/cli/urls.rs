//! Pipelines whose inputs and outputs are at URLs, with a server of the test's own.

#[path = "../../../worker/tests/common/bucket.rs"]
#[allow(dead_code, unreachable_pub)]
mod bucket;

use crate::harness::{Outcome, Test};
use bucket::Server;

const TEXTS: [(&str, &str); 7] = [
    ("in/data/a.txt", "alpha"),
    ("in/data/b.txt", "beta"),
    ("in/data/c.txt", "gamma"),
    ("in/data/d.txt", "delta"),
    ("in/data/e.csv", "x,y\n1,one\n2,two\n"),
    ("in/data/sub/f.txt", "-"),
    ("in/ids", "p\nq\n"),
];

fn run(test: &Test, server: &Server, words: &[&str]) -> Outcome {
    let output = test.command(words).envs(server.env()).output().unwrap();
    Outcome {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn text(server: &Server, name: &str) -> String {
    String::from_utf8(server.get(name).unwrap_or_default()).unwrap()
}

/// The files of a run that were on their way.
fn outgoing(test: &Test) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(test.path(".dagrun/runs/1/outgoing")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn the_keys_of_a_bucket_are_mapped_into_a_bucket_and_gathered() {
    let server = Server::start(&TEXTS);
    let test = Test::new(
        r#"
        [task.upper]
        stdin = "{file}"
        run = ["sh", "-c", 'tr a-z A-Z > "$1"', "sh", "{out.text}"]
        out.text = "s3://results/upper/{file.stem}.txt"
        sweep = { file = { glob = "s3://in/data/*.txt", expect = 4 } }
        [task.twice]
        map = "upper"
        stdin = "{upper.text}"
        shell = 'x=$(cat); echo "$x $x"'
        capture = "text"
        [task.url]
        map = "upper"
        run = ["echo", "{upper.text}", "{file}", "{file.name}"]
        capture = "text"
        [task.list]
        gather = ["upper"]
        run = ["cp", "{upper.manifest}", "{out.lines}"]
        out.lines = "s3://results/list.jsonl"
        "#,
    );
    run(&test, &server, &["submit", "pipeline.toml"]).exits(0);
    assert_eq!(text(&server, "results/upper/a.txt"), "ALPHA");
    assert_eq!(text(&server, "results/upper/d.txt"), "DELTA");
    test.run(&["output", "last", "twice[1]"]).exits(0).out("BETA BETA\n");
    let words = "s3://results/upper/c.txt s3://in/data/c.txt c.txt\n";
    test.run(&["output", "last", "url[2]"]).exits(0).out(words);
    let list = text(&server, "results/list.jsonl");
    let first: serde_json::Value = serde_json::from_str(list.lines().next().unwrap()).unwrap();
    assert_eq!(first["out"]["text"], "s3://results/upper/a.txt");
    assert_eq!(first["params"]["file"], "s3://in/data/a.txt");
    assert_eq!(list.lines().count(), 4);
    assert!(outgoing(&test).is_empty());
}

#[test]
fn axes_are_read_from_urls() {
    let server = Server::start(&TEXTS);
    server.put("in/points.json", br#"[{"h": 0.1}, {"h": 0.2}]"#);
    let web = server.url();
    let test = Test::new(&format!(
        r#"
        [task.all]
        run = ["true"]
        inputs = ["s3://in/ids", "{web}/in/ids?signature=x"]
        [task.all.sweep]
        rows = {{ csv = "{web}/in/data/e.csv" }}
        points = {{ json = "s3://in/points.json" }}
        id = {{ lines = "s3://in/ids" }}
        "#
    ));
    let outcome = run(&test, &server, &["check", "pipeline.toml", "--json"]).exits(0);
    assert_eq!(outcome.json()[0]["instances"], 8);
}

#[test]
fn file_urls_are_paths() {
    let test = Test::new("");
    let here = test.path("").display().to_string();
    test.write("a b.txt", "here");
    test.write(
        "pipeline.toml",
        format!(
            r#"
            [task.a]
            inputs = "file://{here}a%20b.txt"
            stdin = "file://{here}a%20b.txt"
            run = ["cp", "/dev/stdin", "{{out.x}}"]
            out.x = "file://{here}out/{{index}}.txt"
            [task.b]
            run = ["echo", "{{a.x}}", "{{file.name}}"]
            sweep = {{ file = {{ glob = "file://{here}*.txt" }} }}
            capture = "text"
            "#
        ),
    );
    test.submit(&[]).exits(0);
    assert_eq!(test.read("out/0.txt"), "here");
    test.run(&["output", "last", "b"]).exits(0).out(&format!("{here}out/0.txt a b.txt\n"));
}

#[test]
fn problems_with_urls_are_told_with_their_places_before_anything_runs() {
    let server = Server::start(&TEXTS);
    let web = server.url().replace("http://", "http://me:hush@");
    let test = Test::new(&format!(
        r#"[task.a]
run = ["touch", "ran"]
inputs = [
  "s3://in/data/none.txt",
  "s3://nobody/x",
  "s3://locked/x",
  "ftp://host/x",
  "{web}/in/none?signature=hush",
]
out.x = "ftp://host/{{index}}"
stdin = "gopher://host/x"
[task.b]
run = ["true"]
out.y = "s3://in/same"
working-dir = "https://host/dir"
[task.c]
run = ["true"]
out.z = "s3://in/same"
[task.d]
run = ["true"]
sweep = {{ f = {{ glob = "s3://in/none/*.txt" }}, g = {{ glob = "https://host/*" }}, h = {{ lines = "s3://none/x" }} }}
"#
    ));
    let outcome = run(&test, &server, &["check", "pipeline.toml", "--json"]).exits(2);
    let errors = outcome.json()[0]["errors"].as_array().unwrap().clone();
    let told: Vec<_> = errors
        .iter()
        .map(|error| (error["line"].as_u64().unwrap(), error["message"].as_str().unwrap()))
        .collect();
    let known = "use `file://`, `s3://`, `http://` and `https://`";
    let hidden = server.url().replace("http://", "http://***@");
    for (line, message) in [
        (4, "input `s3://in/data/none.txt` is missing".to_owned()),
        (5, "input `s3://nobody/x` is missing".to_owned()),
        (6, "cannot look for input `s3://locked/x`: the server answered 403 Forbidden".to_owned()),
        (7, format!("cannot look for input `ftp://host/x`: `ftp://` is not supported: {known}")),
        (8, format!("input `{hidden}/in/none?***` is missing")),
        (10, format!("`ftp://` is not supported: {known}")),
        (11, format!("`gopher://` is not supported: {known}")),
        (15, "`working-dir` is a directory, not a URL".to_owned()),
        (21, "no file matches `s3://in/none/*.txt`".to_owned()),
        (
            21,
            "cannot list `https://host/*`: a web server lists nothing: patterns are for `s3://`, \
             `file://` and paths"
                .to_owned(),
        ),
        (21, "cannot read `s3://none/x`: the server answered 404 Not Found (NoSuchKey)".to_owned()),
    ] {
        assert!(told.contains(&(line, &message)), "{line} {message}\n{told:#?}");
    }
    assert!(!outcome.stdout.contains("hush") && !outcome.stdout.contains("top-secret"));
    run(&test, &server, &["submit", "pipeline.toml"]).exits(2);
    assert!(!test.path("ran").exists());
}

#[test]
fn two_tasks_cannot_write_the_same_url() {
    let test = Test::new(
        "[task.a]\nrun = ['true']\nout.x = 's3://b/same'\n\
         [task.b]\nrun = ['true']\nout.y = 's3://b/same'\n\
         [task.c]\nrun = ['true']\nout.z = 's3://b/{n}'\nsweep = { n = [1, 1] }\n",
    );
    test.submit(&[])
        .exits(2)
        .err_has("`a` and `b` would both write `s3://b/same`")
        .err_has("c[0] and c[1] would both write `s3://b/1`");
}

#[test]
fn an_output_that_is_missing_or_cannot_be_sent_fails_the_attempt() {
    let server = Server::start(&TEXTS);
    let test = Test::new(
        r#"
        [task.absent]
        run = ["true"]
        out.x = "s3://results/x"
        [task.both]
        run = ["sh", "-c", 'echo 1 > "$1"; echo 2 > "$2"', "sh", "{out.good}", "{out.bad}"]
        out.good = "s3://results/good"
        out.bad = "s3://failing/bad"
        [task.gone]
        run = ["cat"]
        stdin = "s3://in/gone"
        [task.fails]
        run = ["sh", "-c", 'echo 1 > "$1"; exit 3', "sh", "{out.x}"]
        out.x = "s3://results/of-failed"
        "#,
    );
    run(&test, &server, &["submit", "pipeline.toml"]).exits(1);
    let rows = test.run(&["status", "last", "--instances", "--json"]).exits(0).json();
    let reasons: Vec<_> = rows.iter().map(|row| row["reason"].as_str().unwrap()).collect();
    let refused = "the server answered 403 Forbidden (AccessDenied)";
    assert_eq!(
        reasons,
        [
            "output x is missing: s3://results/x",
            &format!("output bad cannot be sent to s3://failing/bad: {refused}"),
            "cannot open standard input s3://in/gone: the server answered 404 Not Found (NoSuchKey)",
            "exit code 3",
        ]
    );
    // What had been sent before was taken back.
    assert!(!server.names().iter().any(|name| name.starts_with("results/")));
    assert!(outgoing(&test).is_empty());
}

#[test]
fn large_outputs_go_in_parts_and_come_back_whole() {
    let server = Server::start(&[]);
    let test = Test::new(
        r#"
        [task.large]
        run = ["sh", "-c", 'head -c 20000000 /dev/zero | tr "\000" x > "$1"', "sh", "{out.x}"]
        out.x = "s3://results/large"
        [task.count]
        run = ["wc", "-c"]
        stdin = "{large.x}"
        capture = "json"
        "#,
    );
    run(&test, &server, &["submit", "pipeline.toml"]).exits(0);
    test.run(&["output", "last", "count"]).exits(0).out_has("20000000");
    let parts = server.requests().iter().filter(|asked| asked.contains("partNumber=")).count();
    assert_eq!((parts, server.loose_parts()), (3, 0));
}

#[test]
fn a_transfer_ends_with_its_attempt() {
    let server = Server::start(&TEXTS);
    let test = Test::new("[task.a]\nrun = ['cat']\nstdin = 's3://stuck/x'\ntimeout = '300ms'\n");
    run(&test, &server, &["submit", "pipeline.toml"]).exits(1).err_has("timed out after 300ms");
    let test = Test::new("[task.a]\nrun = ['cat']\nstdin = 's3://stuck/y'\n");
    let mut submitted = test.start_with(&["submit", "pipeline.toml"], &server.env());
    server.wait_for("GET /stuck/y");
    submitted.signal(rustix::process::Signal::INT);
    assert_eq!(submitted.end().status.code(), Some(130));
}

#[test]
fn secrets_of_the_environment_are_written_nowhere() {
    let server = Server::start(&TEXTS);
    let test =
        Test::new("[task.a]\nrun = ['cp', '/dev/null', '{out.x}']\nout.x = 's3://failing/x'\n");
    let outcome = run(&test, &server, &["submit", "pipeline.toml"]).exits(1);
    outcome.err_has("s3://failing/x").err_lacks("top-secret");
    let mut open = vec![test.path("")];
    let mut seen = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(bytes) = std::fs::read(&path) {
            seen += 1;
            let found = bytes.windows(10).any(|window| window == b"top-secret");
            assert!(!found, "{}", path.display());
        }
    }
    assert!(seen > 2);
}

#[test]
fn an_input_with_a_name_is_brought_once_and_each_attempt_has_a_copy() {
    let server = Server::start(&TEXTS);
    let test = Test::new(
        r#"
        [task.read]
        in.text = "s3://in/data/a.txt"
        shell = 'echo more >> "$in_text"; cat "$in_text"; basename "$in_text"'
        capture = "text"
        sweep = { i = { range = "0..20" } }
        [task.each]
        in.text = "{file}"
        run = ["cat", "{in.text}"]
        capture = "text"
        sweep = { file = { glob = "s3://in/data/*.txt", expect = 4 } }
        "#,
    );
    run(&test, &server, &["submit", "pipeline.toml"]).exits(0);
    for index in [0, 19] {
        let read = format!("read[{index}]");
        test.run(&["output", "last", &read]).exits(0).out("alphamore\na.txt\n");
    }
    test.run(&["output", "last", "each[2]"]).exits(0).out("gamma\n");
    let gets = server.requests().into_iter().filter(|line| line.starts_with("GET /in/data/a.txt"));
    // Once for each of the tasks' URLs, which are the same.
    assert_eq!(gets.count(), 1);
    assert!(!test.path(".dagrun/runs/1/scratch").exists() || scratch(&test).is_empty());
}

fn scratch(test: &Test) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(test.path(".dagrun/runs/1/scratch")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn an_input_that_is_not_there_by_then_fails_the_attempt_with_its_url() {
    let server = Server::start(&TEXTS);
    let test = Test::new(
        r#"
        [task.name]
        run = ["echo", "s3://in/absent.txt"]
        capture = "text"
        [task.read]
        in.text = "{name.value}"
        run = ["cat", "{in.text}"]
        "#,
    );
    let ended = run(&test, &server, &["submit", "pipeline.toml"]).exits(1);
    ended.err_has("cannot read input s3://in/absent.txt: ");
}
