//! Long arguments: what does not fit into words and variables of a process is an error that names it,
//! and there are files for what is long.

use crate::harness::Test;

/// A list with one element of a megabyte.
const MEGABYTE: &str = "[task.list]\nrun = ['awk', 'BEGIN {{ printf \"[\\\"\"; while (i++ < 100000) printf \"0123456789\"; print \"\\\"]\" }}']\n\
                        capture = 'json'\n";

/// The reason of an instance that failed, and what the terminal got.
#[track_caller]
fn failed(pipeline: &str) -> (String, String) {
    let test = Test::new(pipeline);
    let terminal = test.submit(&[]).exits(1).stderr;
    assert!(terminal.len() < 4096 + 600, "{} bytes", terminal.len());
    let rows = test.run(&["status", "--instances", "--failed", "--json"]).exits(0).json();
    (rows[0]["reason"].as_str().unwrap().to_owned(), terminal)
}

#[test]
fn an_item_of_1_mb_is_a_clear_error_or_a_file() {
    let (reason, _) =
        failed(&format!("{MEGABYTE}[task.a]\nscatter = 'list'\nrun = ['echo', '{{item}}']\n"));
    assert!(reason.contains("{item} has 1000000 bytes"), "{reason}");
    assert!(reason.contains("write {item:file}"), "{reason}");
    let (reason, _) = failed(&format!(
        "{MEGABYTE}[task.a]\nscatter = 'list'\nrun = ['true']\nenv = {{ X = 'a {{item}}' }}\n"
    ));
    assert!(reason.contains("{item} has 1000000 bytes"), "{reason}");
    let (reason, _) =
        failed(&format!("{MEGABYTE}[task.a]\nscatter = 'list'\nshell = 'echo $item'\n"));
    assert!(
        reason.contains("`item` has 1000000 bytes") && reason.contains("$item_file"),
        "{reason}"
    );
    for task in [
        "run = ['wc', '-c', '{item:file}']",
        "run = ['wc', '-c']\nstdin = '{item:file}'",
        "run = ['wc', '-c']\nstdin = '{item}'",
        "shell = 'wc -c < \"$item_file\"'",
        "shell = 'sh -c \"wc -c < \\$item_file\"'",
    ] {
        let test =
            Test::new(&format!("{MEGABYTE}[task.a]\nscatter = 'list'\ncapture = 'text'\n{task}\n"));
        test.submit(&["--quiet"]).exits(0);
        let value = test.run(&["output", "last", "a[0]"]).exits(0).stdout;
        assert!(value.trim_start().starts_with("1000002"), "{task}: {value}");
    }
}

#[test]
fn a_value_is_always_the_text_and_its_file_is_asked_for() {
    let value = |task: &str| {
        let test = Test::new(&format!("{MEGABYTE}[task.a]\ncapture = 'text'\n{task}\n"));
        test.submit(&["--quiet"]).exits(0);
        test.run(&["output", "last", "a"]).exits(0).stdout.trim().to_owned()
    };
    assert!(value("run = ['wc', '-c', '{list.value:file}']").starts_with("1000004"));
    assert_eq!(value("shell = 'wc -c < $list_value_file'"), "1000004");
    assert_eq!(value("run = ['wc', '-c']\nstdin = '{list.value}'"), "1000004");
    let (reason, _) = failed(&format!("{MEGABYTE}[task.a]\nrun = ['echo', '{{list.value}}']\n"));
    assert!(reason.contains("{list.value} has 1000004 bytes"), "{reason}");
    assert!(reason.contains("write {list.value:file}"), "{reason}");
    // More than 64 KiB and less than a word can hold.
    let test = Test::new(
        "[task.list]\nshell = 'head -c 100000 /dev/zero | tr \"\\\\000\" y'\ncapture = 'text'\n\
         [task.a]\nrun = ['sh', '-c', 'printf %s ${{#1}}', 'sh', '{list.value}']\ncapture = 'text'\n",
    );
    test.submit(&["--quiet"]).exits(0);
    test.run(&["output", "last", "a"]).exits(0).out("100000\n");
}

/// The message of a pipeline that `check` refuses.
#[track_caller]
fn refused(pipeline: &str) -> String {
    let outcome = Test::new(pipeline).run(&["check", "--json"]).exits(2);
    outcome.json()[0]["errors"][0]["message"].as_str().unwrap().to_owned()
}

#[test]
fn check_finds_what_is_static() {
    let long = "x".repeat(190_000);
    for (pipeline, what) in [
        (
            format!("[vars]\nbig = '{long}'\n[task.a]\nrun = ['echo', '{{vars.big}}']"),
            "{vars.big} has 190000",
        ),
        (format!("[vars]\nbig = '{long}'\n[task.a]\nshell = 'echo $big'"), "`big` has 190000"),
        (
            format!(
                "[vars]\nbig = '{long}'\n[task.a]\nrun = ['a']\nenv = {{ B = '{{vars.big}}' }}"
            ),
            "{vars.big} has 190000",
        ),
        (
            format!("[task.a]\nrun = ['echo', '{{x}}']\nsweep = {{ x = ['a', '{long}'] }}"),
            "{x} has 190000",
        ),
        (
            format!("[task.a]\nshell = 'echo $x'\nsweep = {{ x = ['a', '{long}'] }}"),
            "`x` has 190000",
        ),
        (format!("[task.a]\nshell = 'true # {long}'"), "the script has 190007"),
        (format!("[task.a]\nrun = ['echo', '{long}']"), "the text has 190000"),
    ] {
        let message = refused(&pipeline);
        assert!(message.starts_with(what), "{message}");
        assert!(message.contains("131071"), "{message}");
    }
}

#[test]
fn a_shell_gets_only_the_vars_that_fit() {
    let long = "x".repeat(190_000);
    let many: String = (0..40).map(|at| format!("v{at} = '{}'\n", "y".repeat(100_000))).collect();
    let test = Test::new(&format!(
        "[vars]\nbig = '{long}'\nsmall = 'ok'\n{many}[task.a]\nshell = 'echo $small ${{#v7}}; for big in 1; do echo $big; done'\ncapture = 'text'\n"
    ));
    test.submit(&["--quiet"]).exits(0);
    test.run(&["output", "last", "a"]).exits(0).out("ok 100000\n1\n");
}

#[test]
fn a_hundred_thousand_elements_in_three_parts_are_given_by_file() {
    let test = Test::new(
        "[task.array]\nshell = 'echo \"[\"; seq 1 99999 | tr \"\\\\n\" ,; echo \"100000]\"'\ncapture = 'json'\n\
         [task.shell]\nscatter = { from = 'array', parts = 3 }\n\
         shell = 'tr -cd , < \"$item_file\" | wc -c'\ncapture = 'json'\n\
         [task.stdin]\nscatter = { from = 'array', parts = 3 }\nstdin = '{item}'\n\
         shell = 'tr -cd , | wc -c'\ncapture = 'json'\n\
         [task.word]\nscatter = { from = 'array', parts = 3 }\nallow-failure = true\n\
         run = ['true', '{item}']\n",
    );
    let end = test.submit(&[]);
    assert!(end.stderr.len() < 4_000, "{}", end.stderr);
    end.exits(0);
    let commas = |task: &str| -> u64 {
        let of = |part| test.run(&["output", "last", &format!("{task}[{part}]")]).exits(0).stdout;
        (0..3).map(|part| of(part).trim().parse::<u64>().unwrap()).sum()
    };
    assert_eq!((commas("shell"), commas("stdin")), (99_997, 99_997));
    test.run(&["explain", "last", "word[0]"]).exits(0).out_has("{item:file}");
}

#[test]
fn what_does_not_fit_together_names_the_longest() {
    let words: Vec<String> = (0..100).map(|_| "'{x}{x}'".to_owned()).collect();
    let (reason, _) = failed(&format!(
        "[task.a]\nrun = ['true', {}, '{{x}}{{x}}z']\nsweep = {{ x = ['{}'] }}\n",
        words.join(", "),
        "y".repeat(60_000)
    ));
    assert!(reason.contains("bytes together, more than the system gives a process"), "{reason}");
    assert!(reason.contains("the longest is argument 101 with 120001 bytes"), "{reason}");
}

#[test]
fn files_are_made_of_whole_items_and_values_only() {
    let list = "[task.list]\nrun = ['true']\ncapture = 'json'\n";
    for (task, message) in [
        ("scatter = 'list'\nrun = ['a', '{item.x:file}']", "`{item.x:file}` has no file"),
        (
            "scatter = 'list'\nrun = ['a']\nout.x = '{item:file}'",
            "`{item:file}` cannot be part of the path of an output",
        ),
        ("run = ['a', '{list.value.x:file}']", "`{list.value.x:file}` has no file"),
        ("run = ['a', '{index:file}']", "`{index:file}` has no file"),
        ("run = ['a', '{item:file}']", "`{item:file}` outside of a scatter"),
        ("call = 'f'\nargs = { x = '{list.value:file}' }", "`{list.value:file}` is for commands"),
    ] {
        assert_eq!(refused(&format!("{list}[task.a]\n{task}\n")), message);
    }
}
