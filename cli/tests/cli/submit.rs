//! `dagrun submit` in one process: what runs, what is printed, how it exits.

use crate::harness::Test;

#[test]
fn a_succeeding_pipeline_exits_with_0_and_writes_nothing_to_stdout() {
    Test::new("[task.hello]\nrun = ['echo', 'hello']").submit(&[]).exits(0).out("");
}

#[test]
fn a_failing_task_exits_with_1() {
    Test::new("[task.a]\nrun = ['false']").submit(&[]).exits(1).out("");
}

#[test]
fn an_allowed_failure_exits_with_0() {
    Test::new("[task.a]\nrun = ['false']\nallow-failure = true").submit(&[]).exits(0);
}

#[test]
fn an_invalid_pipeline_exits_with_2_and_runs_nothing() {
    let test = Test::new("[task.a]\nrunn = ['touch', 'ran']");
    test.submit(&[]).exits(2).out("").err_has("did you mean").err_has("has 1 problem");
    assert!(!test.path("ran").exists());
    assert!(!test.path(".dagrun").exists());
}

#[test]
fn a_call_is_refused_as_the_workers_of_this_command_have_no_functions() {
    let test = Test::new(
        "[task.first]\nrun = ['touch', 'ran']\n\
         [task.price]\ncall = 'price'\nafter = 'first'\nargs = { x = 1.0 }\n",
    );
    let refused = test.submit(&[]).exits(2).out("");
    refused.err_has("task `price` cannot be run").err_has("has a function `price`");
    assert!(!test.path("ran").exists());
    test.run(&["check", "pipeline.toml"]).exits(0);
}

#[test]
fn a_missing_file_and_wrong_usage_exit_with_2() {
    let test = Test::new("");
    test.run(&["submit", "none.toml"]).exits(2).err_has("none.toml");
    test.run(&["submit"]).exits(2);
    test.run(&["plant", "pipeline.toml"]).exits(2).err_has("unrecognized subcommand");
}

#[test]
fn data_flows_from_task_to_task() {
    let test = Test::new(
        r#"
        [vars]
        greeting = "hello"
        [task.price]
        run = ["sh", "-c", 'echo "{x}" > "$1"', "sh", "{out.price}"]
        out.price = "out/{index:03}.txt"
        sweep = { x = [10, 20, 30] }
        [task.count]
        gather = "price"
        run = ["sh", "-c", 'wc -l < "$1"', "sh", "{price.manifest}"]
        capture = "text"
        [task.say]
        run = ["echo", "{vars.greeting}", "{count.value}"]
        capture = "text"
        "#,
    );
    test.submit(&["--set", "greeting=good day"]).exits(0);
    assert_eq!(test.read("out/002.txt"), "30\n");
    test.run(&["output", "last", "say"]).exits(0).out("good day 3\n");
}

#[test]
fn only_runs_a_task_and_what_it_needs() {
    let test = Test::new(
        "[task.a]\nrun = ['touch', 'a']\n[task.b]\nrun = ['touch', 'b']\nafter = 'a'\n\
         [task.c]\nrun = ['touch', 'c']\nafter = 'b'",
    );
    test.submit(&["--only", "b"]).exits(0);
    assert!(test.path("b").exists() && !test.path("c").exists());
    test.submit(&["--only", "x"]).exits(2).err_has("no task `x`");
}

#[test]
fn fail_fast_cancels_the_rest() {
    let test = Test::new(
        "[task.a]\nrun = ['false']\n[task.b]\nrun = ['sleep', '1000']\n[task.c]\nrun = ['true']\n\
         after = 'b'",
    );
    test.submit(&["--fail-fast", "-j", "2"]).exits(1).err_has("a[0] failed: exit code 1");
}

#[test]
fn the_state_directory_is_beside_the_pipeline_and_ignored_by_git() {
    let test = Test::new("[task.a]\nrun = ['true']");
    test.submit(&["--quiet"]).exits(0).silent();
    assert_eq!(test.read(".dagrun/.gitignore"), "*\n");
    test.submit(&["--quiet", "--state-dir", "elsewhere"]).exits(0);
    assert!(test.path("elsewhere/dagrun.db").exists());
}

#[test]
fn the_state_directory_is_found_from_below() {
    let test = Test::new("[task.a]\nrun = ['true']");
    test.submit(&[]).exits(0);
    std::fs::create_dir_all(test.path("deep/down")).unwrap();
    let output =
        test.command(&["status", "last"]).current_dir(test.path("deep/down")).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("succeeded"));
}

#[test]
fn detaching_needs_a_cluster() {
    Test::new("[task.a]\nrun = ['true']").submit(&["--detach"]).exits(2).err_has("--cluster");
}

#[test]
fn a_dry_run_prints_every_argv_and_runs_nothing() {
    let test = Test::new(
        "[task.a]\nrun = ['touch', '{x}', '{index:02}']\nsweep = { x = ['one', \"it's two\"] }",
    );
    test.submit(&["--dry-run"]).exits(0).out("touch one 00\ntouch 'it'\\''s two' 01\n");
    assert!(!test.path("one").exists());
    assert!(!test.path(".dagrun").exists());
}

#[test]
fn a_large_dry_run_counts_instead() {
    let test = Test::new(
        "[task.a]\nrun = ['true']\nsweep = { x = { range = '0..1000000' } }\n\
         [task.b]\ngather = 'a'\nrun = ['true']",
    );
    test.submit(&["--dry-run"]).exits(0).out("a 1000000\nb 1\n");
}

#[test]
fn the_seed_decides() {
    let test = Test::new("[task.a]\nrun = ['echo', '{seed}']\ncapture = 'text'");
    let value = |seed: &str| {
        test.submit(&["--seed", seed]).exits(0);
        test.run(&["output", "last", "a"]).exits(0).stdout
    };
    let first = value("1");
    assert_ne!(first, value("2"));
    assert_eq!(first, value("1"));
}

#[test]
fn name_priority_and_environment_are_given_with_the_run() {
    let test = Test::new(
        "[task.a]\nshell = 'echo \"$SITE $OWN\"; [ -e go ]'\ncapture = 'text'\nenv = { OWN = 'mine' }\n\
         [task.b]\nafter = 'a'\nrun = ['sh', '-c', 'echo $SITE']\ncapture = 'text'\n\
         [task.c]\nafter = 'b'\nrun = 'false'\n",
    );
    let words = ["--name", "night", "--env", "SITE=x y", "--env", "OWN=theirs", "--priority", "-3"];
    test.submit(&[&words[..], &["--until", "b"]].concat()).exits(1);
    test.write("go", "");
    test.run(&["retry", "--failed", "-q"]).exits(0);
    test.run(&["output", "last", "a"]).exits(0).out("x y mine\n");
    test.run(&["output", "last", "b"]).exits(0).out("x y\n");
    test.run(&["runs"]).exits(0).out_has("night");
    // With the file as it is now the environment is the same: nothing has changed but what is new.
    test.submit(&["--env", "SITE=z", "-q"]).exits(1);
    test.run(&["retry", "--failed", "--with", "pipeline.toml"])
        .exits(1)
        .err_has("takes 2 instances");
    for (words, text) in [
        (["--env", "NOT_SET_HERE"], "NOT_SET_HERE is not set here"),
        (["--env", "=x"], "expected NAME=VALUE"),
        (["--name", ""], "name"),
    ] {
        test.submit(&words).exits(2).err_has(text);
    }
}
