//! Where the points of sweeps come from: tables, lines, patterns of paths with names; and where the
//! pipeline comes from.

use std::io::Write as _;
use std::process::Stdio;

use crate::harness::{Outcome, Test};

/// A pipeline whose task prints `{words}` for each point of an axis.
fn pipeline(axis: &str, words: &str) -> String {
    format!("[task.a]\nrun = ['printf', '%s', '{words}']\ncapture = 'text'\nsweep = {{ {axis} }}\n")
}

/// What `a` printed, by instance.
#[track_caller]
fn printed(test: &Test) -> Vec<String> {
    test.submit(&["--quiet"]).exits(0);
    let status = test.run(&["status", "--instances", "--json"]).exits(0).json();
    let value =
        |index| test.run(&["output", "last", &format!("a[{index}]"), "--raw"]).exits(0).stdout;
    (0..status.len()).map(value).collect()
}

/// The message and the help of a pipeline that is refused.
#[track_caller]
fn refused(test: &Test) -> (String, String) {
    let outcome = test.run(&["check", "--json"]).exits(2).silent();
    let error = outcome.json().remove(0)["errors"][0].clone();
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    (text("message"), text("help"))
}

#[test]
fn unclosed_quote_is_an_error_with_file_and_line() {
    let test = Test::new(&pipeline("p = { csv = 'p.csv' }", "{x} {y}"));
    for (content, message) in [
        ("x,y\n1,x\n2,\"y\n3,z\n", "`p.csv`: line 3: a quote that is never closed"),
        (
            "x,y\n\"1,x\n2,\"y\"\n",
            "`p.csv`: line 3: text after the quote that closes a value; it was opened in line 2",
        ),
    ] {
        test.write("p.csv", content);
        let (found, help) = refused(&test);
        assert_eq!(found, message);
        assert!(help.contains("doubled"), "{help}");
    }
    test.write("p.csv", "x,y\n1,\"two, \"\"words\"\"\"\n");
    assert_eq!(printed(&test), ["1 two, \"words\""]);
}

#[test]
fn duplicate_json_keys_are_an_error_with_their_row() {
    let test = Test::new(&pipeline("p = { json = 'p.json' }", "{x}"));
    test.write("p.json", r#"[{"x": 1}, {"x": 2, "x": 3}]"#);
    assert_eq!(refused(&test).0, "`p.json`: row 2 has `x` twice");
}

#[test]
fn csv_with_delimiter_comment_and_columns() {
    let axis =
        "p = { csv = 'f.csv', delimiter = ';', comment = '#', columns = { sample = 'Sample ID' } }";
    let test = Test::new(&pipeline(axis, "{sample} {dose}"));
    test.write("f.csv", "# of today\nSample ID;dose;Other (mM)\na;1,5;2\n\n#b;2;3\nc;3;4\n");
    assert_eq!(printed(&test), ["a 1,5", "c 3"]);
    let test = Test::new(&pipeline("p = { csv = 'f.csv' }", "{a}"));
    for (content, help) in [
        ("a;b\n1;2\n", "add what separates them: delimiter = \";\""),
        ("a\tb\n1\t2\n", "add what separates them: delimiter = \"\\t\""),
        ("a,b\n1,2\n3\n", "a value that holds the delimiter stands in quotes: \"a, b\""),
    ] {
        test.write("f.csv", content);
        let (message, found) = refused(&test);
        assert!(message.starts_with("`f.csv`: "), "{message}");
        assert_eq!(found, help);
    }
}

#[test]
fn crlf_in_the_pipeline_file_is_lf_in_multi_line_strings() {
    let test = Test::new(
        "[task.a]\r\nshell = '''\r\nfor x in 1 2; do\r\n  echo $x\r\ndone\r\n'''\r\ncapture = 'text'\r\n",
    );
    assert_eq!(printed(&test), ["1\n2"]);
    let test = Test::new("[task.a]\r\nrun = ['true']\r\nnope = 1\r\n");
    let outcome = test.run(&["check", "--json"]).exits(2).json().remove(0);
    assert_eq!(
        (&outcome["errors"][0]["line"], &outcome["errors"][0]["column"]),
        (&3.into(), &1.into())
    );
}

#[test]
fn nothing_there_is_an_error_unless_it_is_allowed() {
    for axis in [
        "p = { csv = 'p.csv' }",
        "p = { lines = 'p.txt' }",
        "p = { json = 'p.json' }",
        "p = []",
        "p = { range = '10..0' }",
    ] {
        let source = pipeline(axis, "{seed}");
        let test = Test::new(&source);
        test.write("p.csv", "a,b\n");
        test.write("p.txt", "\n\n");
        test.write("p.json", "[]");
        let (message, help) = refused(&test);
        assert_eq!(message, "axis `p` is empty", "{axis}");
        assert!(help.contains("allow-empty = true"), "{help}");
        test.write("pipeline.toml", source.replace("capture", "allow-empty = true\ncapture"));
        assert_eq!(printed(&test), [""; 0], "{axis}");
    }
    // What is known only in the run is none.
    let test = Test::new(
        "[task.l]\nrun = ['echo', '[]']\ncapture = 'json'\n[task.a]\nscatter = 'l'\nrun = ['true']\n",
    );
    test.submit(&["--quiet"]).exits(0);
}

#[test]
fn blank_lines_are_skipped_alike() {
    let test = Test::new(&pipeline("p = { lines = 'p.txt' }", "{p}"));
    test.write("p.txt", "\na\n\n  \nb c\r\n\r\n");
    assert_eq!(printed(&test), ["a", "b c"]);
    let test = Test::new(&pipeline("p = { csv = 'p.csv' }", "{x}{y}"));
    test.write("p.csv", "\nx,y\n\n1,2\n  \n3,4\n\n");
    assert_eq!(printed(&test), ["12", "34"]);
}

fn fastq(source: &str) -> Test {
    let test = Test::new(source);
    std::fs::create_dir(test.path("fastq")).unwrap();
    for name in ["a_1_R1", "a_1_R2", "b_R1", "b_R2"] {
        test.write(&format!("fastq/{name}.fastq.gz"), "");
    }
    test
}

#[test]
fn names_from_files_make_parameters() {
    let axis = "f = { glob = 'fastq/{sample}_R{read}.fastq.gz', expect = 4 }";
    let test = fastq(&pipeline(axis, "{sample} {read} {f.stem} {f.stem.stem} {f.name} {f.dir}"));
    let printed = printed(&test);
    assert_eq!(printed[1], "a_1 2 a_1_R2.fastq a_1_R2 a_1_R2.fastq.gz fastq");
    assert_eq!(printed.len(), 4);
}

#[test]
fn a_group_gives_one_instance_a_sample_with_a_list() {
    let axis = "f = { glob = 'fastq/{sample}_R{read}.fastq.gz', group = 'read' }";
    let test = fastq(&pipeline(axis, "{sample} {read} {f.0} {f.1.name}"));
    assert_eq!(
        printed(&test),
        [
            "a_1 [1,2] fastq/a_1_R1.fastq.gz a_1_R2.fastq.gz",
            "b [1,2] fastq/b_R1.fastq.gz b_R2.fastq.gz"
        ]
    );
}

#[test]
fn a_script_reads_fields_as_variables() {
    let test = fastq(
        "[task.a]\nshell = 'echo $f_stem $f_stem_stem $f_name $f_dir $sample'\ncapture = 'text'\n\
         sweep = { f = { glob = 'fastq/{sample}_R2.fastq.gz' } }\n",
    );
    test.run(&["check", "--strict"]).exits(0);
    assert_eq!(printed(&test)[1], "b_R2.fastq b_R2 b_R2.fastq.gz fastq b");
}

#[test]
fn brackets_and_braces_are_escaped_by_a_backslash() {
    let test = Test::new(&pipeline("f = { glob = '\\[x\\]\\{y\\}_{n}*.txt' }", "{n} {f}"));
    test.write("[x]{y}_1.txt", "");
    test.write("x{y}_2.txt", "");
    assert_eq!(printed(&test), ["1.txt [x]{y}_1.txt".replace("1.txt ", "1 ")]);
}

#[test]
fn submit_without_a_file_takes_pipeline_toml() {
    let test = Test::new("[task.a]\nrun = ['true']\n");
    test.run(&["submit", "--quiet"]).exits(0);
    test.run(&["check"]).exits(0).out_has("pipeline is valid");
    std::fs::remove_file(test.path("pipeline.toml")).unwrap();
    test.run(&["submit"]).exits(2).err_has("cannot read pipeline.toml");
}

fn piped(test: &Test, words: &[&str], input: &str) -> Outcome {
    let mut command = test.command(words);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Outcome {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn submit_reads_standard_input_with_its_state_in_the_current_directory() {
    let test = Test::new("");
    let source = "[task.a]\nrun = ['echo', 'from stdin']\ncapture = 'text'\n";
    piped(&test, &["submit", "-", "--quiet"], source).exits(0).silent();
    test.run(&["output", "last", "a"]).exits(0).out("from stdin\n");
    assert!(test.path(".dagrun/dagrun.db").exists());
    let outcome = piped(&test, &["check", "-"], "[task.a]\nrunn = 1\n").exits(2);
    outcome.err_has("<stdin>:2:1").err_has("unknown key `runn`");
}

#[test]
fn max_fail_bears_so_many_failures() {
    let failing = |rest: &str| {
        format!(
            "[task.a]\nshell = 'test $x -ge 3'\nsweep = {{ x = {{ range = '0..100' }} }}\n{rest}\n\
             [task.b]\nrun = ['true']\nafter = {{ all = ['a'], on = 'finish' }}\n"
        )
    };
    let counts = |test: &Test| {
        let status = test.run(&["status", "--json"]).exits(0).json().remove(0);
        let of = |at: usize, key: &str| status["tasks"][at][key].as_u64().unwrap();
        let ended = (of(0, "failed"), of(0, "cancelled") > 0, of(1, "succeeded"));
        (status["state"].as_str().unwrap().to_owned(), ended)
    };
    for (most, ended) in [
        ("3", (3, false, 1)),
        ("3%", (3, false, 1)),
        ("2", (3, true, 0)),
        // Of the 101 instances that are known.
        ("2.9%", (3, true, 0)),
        ("0", (1, true, 0)),
    ] {
        let test = Test::new(&failing(""));
        test.submit(&["--quiet", "-j", "1", "--max-fail", most]).exits(1);
        assert_eq!(counts(&test), ("failed".to_owned(), ended), "{most}");
    }
    let test = Test::new(&failing("allow-failure = true"));
    test.submit(&["--quiet", "-j", "1", "--max-fail", "0"]).exits(0);
    for most in ["-1", "x", "101%", "1 %"] {
        test.submit(&["--max-fail", most]).exits(2);
    }
    test.submit(&["--max-fail", "1", "--fail-fast"]).exits(2);
}

#[test]
fn inputs_take_placeholders() {
    let test = Test::new(
        "[vars]\ndir = 'data'\n[task.a]\nrun = ['cat', '{vars.dir}/{s}-{index:02}.txt']\ncapture = 'text'\n\
         inputs = ['{vars.dir}/{s}-{index:02}.txt']\nsweep = { s = ['x', 'y', 'z'] }\n",
    );
    std::fs::create_dir(test.path("data")).unwrap();
    test.write("data/y-01.txt", "y");
    let outcome = test.run(&["check", "--json"]).exits(2).json().remove(0);
    let error = &outcome["errors"][0];
    assert_eq!(error["message"], "input `data/x-00.txt` is missing, and 1 more like it");
    assert_eq!((&error["line"], &error["column"]), (&6.into(), &11.into()));
    test.write("data/x-00.txt", "x");
    test.write("data/z-02.txt", "z");
    assert_eq!(printed(&test), ["x", "y", "z"]);
    // What another task makes is waited for, and what only the run knows is looked for at the start.
    let test = Test::new(
        "[task.b]\nrun = ['sh', '-c', 'sleep 0.1; echo 1 > $0', '{out.f}']\nout.f = 'f'\n\
         [task.a]\nrun = ['cat', 'f']\ninputs = '{b.f}'\ncapture = 'text'\n\
         [task.l]\nrun = ['echo', '[\"f\", \"nowhere\"]']\ncapture = 'json'\nafter = 'b'\n\
         [task.c]\nscatter = 'l'\nrun = ['cat', '{item}']\ninputs = ['{item}']\n",
    );
    test.submit(&[]).exits(1).err_has("c[1] failed: input ").err_has("/nowhere is missing");
    let rows = test.run(&["status", "--instances", "--json"]).exits(0).json();
    let state = |at: usize| rows[at]["state"].as_str().unwrap().to_owned();
    let states: Vec<String> = (0..rows.len()).map(state).collect();
    assert_eq!(states, ["succeeded", "succeeded", "succeeded", "succeeded", "failed"]);
}
