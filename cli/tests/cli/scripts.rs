//! `script`, `wrap` and `capture`: scripts of any interpreter, words before a task's own, and what
//! standard output becomes.

use crate::harness::Test;

/// What a task `a` printed.
#[track_caller]
fn printed(pipeline: &str) -> String {
    let test = Test::new(pipeline);
    test.submit(&["--quiet"]).exits(0);
    test.run(&["output", "last", "a", "--raw"]).exits(0).stdout
}

/// The message of a pipeline that `check` refuses.
#[track_caller]
fn refused(pipeline: &str) -> String {
    let outcome = Test::new(pipeline).run(&["check", "--json"]).exits(2);
    outcome.json()[0]["errors"][0]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_script_is_run_by_its_first_line() {
    for (line, extra) in [
        ("#!/bin/sh", ""),
        ("#!/usr/bin/env sh", ""),
        ("#! /bin/sh -e", ""),
        ("#!/usr/bin/env -S sh -e -u", ""),
        ("#!/bin/sh", "wrap = ['env', 'WRAPPED={vars.n}']\n"),
    ] {
        let printed = printed(&format!(
            "[vars]\nn = 5\n[task.a]\n{extra}capture = 'text'\nscript = '''\n{line}\necho \"$0\" $x $n ${{WRAPPED:-}} \"{{x}}\"\n'''\n\
             sweep = {{ x = ['it is'] }}\n"
        ));
        let (file, rest) = printed.split_once(' ').unwrap();
        assert!(file.ends_with("/script") && !std::path::Path::new(file).exists(), "{file}");
        let wrapped = if extra.is_empty() { "" } else { "5 " };
        assert_eq!(rest, format!("it is 5 {wrapped}{{x}}"), "{line}");
    }
    assert_eq!(refused("[task.a]\nscript = 'echo 1'"), "the script names no interpreter");
    assert_eq!(refused("[task.a]\nscript = \"#!\\necho 1\""), "the script names no interpreter");
}

#[test]
fn a_script_makes_outputs_and_fails_with_its_code() {
    let test = Test::new(
        "[task.a]\nscript = '''\n#!/bin/sh\necho 1 > \"$out_my_file\"\n'''\nout.my-file = 'f'\n",
    );
    test.submit(&["--quiet"]).exits(0);
    assert_eq!(test.read("f"), "1\n");
    assert!(
        !test.path(".dagrun/runs/1/scratch").exists()
            || std::fs::read_dir(test.path(".dagrun/runs/1/scratch")).unwrap().next().is_none()
    );
    let test = Test::new("[task.a]\nscript = '''\n#!/bin/sh\nexit 7\n'''\n");
    test.submit(&[]).exits(1).err_has("exit code 7");
    let test = Test::new("[task.a]\nscript = '''\n#!/usr/bin/env no-such-thing\n'''\n");
    test.submit(&[]).exits(1).err_has("no such program: no-such-thing");
}

#[test]
fn everything_is_in_one_json_file() {
    let test = Test::new(
        "[vars]\nn = 0.50\n[task.list]\nrun = ['echo', '[{{\"k\": [1, 2]}}]']\ncapture = 'json'\n\
         [task.a]\nscatter = 'list'\nsweep = { x-y = [\"it's\"] }\nout.f = 'f'\ncapture = 'json'\n\
         script = '''\n#!/bin/sh\ntouch \"$out_f\"\ncat \"$DAGRUN_PARAMS\"\n'''\n",
    );
    test.submit(&["--quiet", "--seed", "3"]).exits(0);
    let text = test.run(&["output", "last", "a[0]"]).exits(0).stdout;
    assert!(text.contains("\"n\":0.50"), "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["params"], serde_json::json!({ "x-y": "it's" }));
    assert_eq!(value["item"], serde_json::json!({ "k": [1, 2] }));
    assert_eq!(value["in"], serde_json::json!({}));
    assert!(value["out"]["f"].as_str().unwrap().ends_with("/f"), "{text}");
    assert_eq!((&value["index"], &value["attempt"]), (&0.into(), &1.into()));
    assert!(value["seed"].is_u64(), "{text}");
    assert_eq!(value["run"]["id"], 1);
    assert!(value["run"]["dir"].as_str().unwrap().ends_with("/runs/1"), "{text}");
    // A shell that mentions it has it too.
    let index = printed("[task.a]\nshell = 'cat $DAGRUN_PARAMS'\ncapture = 'json'\n");
    assert!(index.contains("\"index\":0"), "{index}");
}

#[test]
fn wrap_is_put_before_the_tasks_own_words() {
    let wrap = "[vars]\nw = 'in a box'\n[defaults]\nwrap = ['env', 'BOX={vars.w}']\n";
    let run = |task: &str| printed(&format!("{wrap}[task.a]\ncapture = 'text'\n{task}\n"));
    assert_eq!(run("run = ['sh', '-c', 'echo $BOX']"), "in a box");
    assert_eq!(run("shell = 'echo $BOX'"), "in a box");
    assert_eq!(run("shell = 'echo ${BOX:-none}'\nwrap = []"), "none");
    assert_eq!(run("shell = 'echo $BOX'\nwrap = ['env', 'BOX=own']"), "own");
    assert_eq!(refused("[task.a]\ncall = 'f'\nwrap = ['nice']"), "`wrap` does not go with `call`");
    // A default is for those that have processes.
    let test = Test::new("[defaults]\nwrap = ['nice']\n[task.a]\ncall = 'f'\n");
    test.run(&["check"]).exits(0);
    let test = Test::new(&format!("{wrap}[task.a]\nrun = ['x', 'y']\n"));
    test.submit(&["--dry-run"]).exits(0).out("env 'BOX=in a box' x y\n");
}

#[test]
fn nan_and_infinity_in_captured_json_are_named() {
    for (text, word) in [("{\"a\": NaN}", "NaN"), ("[1, -Infinity]", "-Infinity")] {
        let test = Test::new(&format!(
            "[task.a]\nrun = ['echo', '''{}''']\ncapture = 'json'\n",
            text.replace('{', "{{").replace('}', "}}")
        ));
        test.submit(&[]).exits(1).err_has(&format!("JSON has no {word}"));
    }
}

#[test]
fn capture_of_json_lines_and_bytes() {
    let lines =
        "[task.l]\nrun = ['printf', '%s\\n', '{{\"a\": 1}}', '', '[2]']\ncapture = 'json-lines'\n";
    assert_eq!(
        printed(&format!(
            "{lines}[task.a]\nrun = ['echo', '{{l.value}} {{l.value.0.a}}']\ncapture = 'text'"
        )),
        "[{\"a\":1},[2]] 1"
    );
    let test = Test::new(&format!(
        "{lines}[task.a]\nscatter = 'l'\nrun = ['echo', '{{item}}']\ncapture = 'text'"
    ));
    test.submit(&["--quiet"]).exits(0);
    test.run(&["output", "last", "a[1]", "--raw"]).exits(0).out("[2]");
    let test = Test::new("[task.l]\nrun = ['printf', '1\\nx\\n']\ncapture = 'json-lines'\n");
    test.submit(&[]).exits(1).err_has("line 2 of the captured output is not JSON");
    let test = Test::new(
        "[task.b]\nrun = ['printf', 'a\\377\\000']\ncapture = 'bytes'\n\
         [task.a]\nrun = ['wc', '-c', '{b.value:file}']\ncapture = 'text'\n",
    );
    test.submit(&["--quiet"]).exits(0);
    let raw = test.command(&["output", "last", "b", "--raw"]).output().unwrap().stdout;
    assert_eq!(raw, b"a\xff\0");
    assert!(test.run(&["output", "last", "a"]).exits(0).stdout.starts_with("3 "));
    assert_eq!(
        refused("[task.b]\nrun = ['b']\ncapture = 'bytes'\n[task.a]\nscatter = 'b'\nrun = ['a']"),
        "`b` captures bytes, not an array"
    );
}

#[test]
fn tmpdir_is_of_each_attempt() {
    let test = Test::new(
        "[task.a]\nshell = 'mktemp > /dev/null; mkdir $TMPDIR/d; ls -A $TMPDIR | wc -l; echo $TMPDIR'\ncapture = 'lines'\n\
         sweep = { x = [1, 2] }\nretries = 1\n[task.b]\nrun = ['sh', '-c', 'echo $TMPDIR']\ncapture = 'text'\nenv = { TMPDIR = 'own' }\n",
    );
    test.submit(&["--quiet", "-j", "1"]).exits(0);
    for index in 0..2 {
        let value = test.run(&["output", "last", &format!("a[{index}]")]).exits(0).json().remove(0);
        assert_eq!(value[0].as_str().unwrap().trim(), "2");
        let path = value[1].as_str().unwrap();
        assert!(path.contains("dagrun") && !std::path::Path::new(path).exists(), "{path}");
    }
    test.run(&["output", "last", "b"]).exits(0).out("own\n");
}
