//! Inputs with names: files of this machine, and copies of what is at URLs.

use crate::harness::Test;

#[test]
fn a_file_here_is_read_where_it_is() {
    let test = Test::new(
        r##"
        [task.run]
        in.text = "data/{i}.txt"
        run = ["cat", "{in.text}"]
        working-dir = "/"
        capture = "text"
        sweep = { i = ["a", "b"] }
        [task.shell]
        map = "run"
        in.a-text = "data/{i}.txt"
        inputs = "data/a.txt"
        shell = 'cat "$in_a_text"'
        capture = "text"
        [task.script]
        in = { one = "data/a.txt", two = "{make.made}" }
        script = """#!/bin/sh
        cat "$in_two"; grep -o '"in":{[^}]*}' "$DAGRUN_PARAMS"
        """
        capture = "text"
        [task.make]
        run = ["cp", "data/b.txt", "{out.made}"]
        out.made = "made.txt"
        "##,
    );
    std::fs::create_dir(test.path("data")).unwrap();
    test.write("data/a.txt", "alpha");
    test.write("data/b.txt", "beta\n");
    test.submit(&[]).exits(0);
    for task in ["run", "shell"] {
        test.run(&["output", "last", &format!("{task}[0]")]).exits(0).out("alpha\n");
        test.run(&["output", "last", &format!("{task}[1]")]).exits(0).out("beta\n");
    }
    let here = test.path(".").canonicalize().unwrap().display().to_string();
    let named = format!("\"in\":{{\"one\":\"{here}/data/a.txt\",\"two\":\"{here}/made.txt\"}}");
    test.run(&["output", "last", "script"]).exits(0).out(&format!("beta\n{named}\n"));
    test.submit(&["--dry-run"]).exits(0).out_has("data/a.txt");
}

#[test]
fn what_is_wrong_with_names_is_found_before_anything_runs() {
    let cases = [
        ("in.a = 'absent'\nrun = ['cat', '{in.a}']", "input `absent` is missing"),
        ("in.a = '{i}'\nsweep = { i = ['no'] }\nrun = ['cat', '{in.a}']", "input `no` is missing"),
        ("in.a = 'p'\nrun = ['cat', '{in.b}']", "task `t` has no input `b`"),
        ("in.a = 'p'\nrun = ['cat', '{in.a.stem}']", "task `t` has no input `a.stem`"),
        ("run = ['cat', '{in.b}']", "declare it: in.NAME = \"path or URL\""),
        ("run = ['cat', '{in}']", "write {in.NAME}"),
        ("in.a = 'p'\nin.b = '{in.a}'\nrun = 'true'", "cannot be part of the path of an input"),
        ("in.a = 'p'\nout.b = '{in.a}'\nrun = 'true'", "cannot be part of the path of an output"),
        ("in.a = 7\nrun = 'true'", "a string"),
        ("in = 'p'\nrun = 'true'", "a table of inputs"),
        ("in.'a b' = 'p'\nrun = 'true'", "input"),
        ("in.a-b = 'p'\nin.a_b = 'p'\nshell = 'true'", "inputs"),
        ("sweep = { in = [1] }\nrun = 'true'", "`in`"),
    ];
    for (task, expected) in cases {
        let test = Test::new(&format!("[task.t]\n{task}\n"));
        test.write("p", "");
        test.run(&["check", "pipeline.toml"]).exits(2).err_has(expected);
    }
    let warned = "[task.t]\nin.a = 'p'\nshell = 'cat {in.a}'\n";
    let test = Test::new(warned);
    test.write("p", "");
    test.run(&["check", "pipeline.toml"]).exits(0).err_has("write \"$in_a\"");
}
