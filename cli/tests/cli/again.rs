//! `dagrun retry` of selected instances, of a file that has changed, and of what is to run in every
//! retry.

use crate::harness::{Cluster, Outcome, Test};

/// The lines of `ran`, sorted; the file is gone afterwards.
fn ran(test: &Test) -> Vec<String> {
    let Ok(text) = std::fs::read_to_string(test.path("ran")) else { return Vec::new() };
    std::fs::remove_file(test.path("ran")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// `a` fails at `x = 2` and `x = 4` as long as there is no file `go`.
const CHAIN: &str = r#"
    [task.a]
    run = ["sh", "-c", 'echo "a $1" >> ran; [ -e go ] || [ "$1" != 2 -a "$1" != 4 ] || exit 3; echo "$1"', "sh", "{x}"]
    capture = "json"
    sweep = { x = [1, 2, 3, 4] }
    [task.b]
    map = "a"
    run = ["sh", "-c", 'echo "b $1" >> ran', "sh", "{a.value}"]
    [task.sum]
    gather = "a"
    min-success = 1
    shell = 'echo sum >> ran'
    [task.last]
    after = "sum"
    shell = 'echo last >> ran'
"#;

#[test]
fn selected_instances_run_again_and_what_has_its_data_from_them() {
    let test = Test::new(CHAIN);
    test.submit(&[]).exits(1);
    assert_eq!(ran(&test), ["a 1", "a 2", "a 3", "a 4", "b 1", "b 3", "last", "sum"]);
    // One that had succeeded: the others that had not are left as they are, and said to be.
    let again = test.run(&["retry", "last", "a[x=1]"]);
    again.exits(1).err_has("run 2 takes 3 instances over from run 1");
    assert_eq!(ran(&test), ["a 1", "b 1", "sum"]);
    let why = "a[1] was cancelled: it was not selected to run again\n";
    test.run(&["explain", "2", "a[1]"]).exits(0).out(why);
    let kept = "b[2] succeeded: taken over from run 1\n";
    test.run(&["explain", "2", "b[2]"]).exits(0).out(kept);
    // With --failed those run besides.
    test.write("go", "");
    test.run(&["retry", "2", "b[2]", "--failed"]).exits(0);
    assert_eq!(ran(&test), ["a 2", "a 4", "b 2", "b 3", "b 4", "sum"]);
    // Now all is whole: one more of it ends well, by any selector and without RUN.
    test.run(&["retry", "a[1..3]"]).exits(0);
    assert_eq!(ran(&test), ["a 2", "a 3", "b 2", "b 3", "sum"]);
    test.run(&["retry", "last", "last", "b[0]"]).exits(0);
    assert_eq!(ran(&test), ["b 1", "last"]);
}

#[test]
fn what_a_selected_instance_needs_runs_too() {
    let test = Test::new(CHAIN);
    test.submit(&[]).exits(1);
    ran(&test);
    test.write("go", "");
    // It was skipped, since what it maps had failed; the other failure is not needed for it.
    test.run(&["retry", "1", "b[1]"]).exits(1);
    assert_eq!(ran(&test), ["a 2", "b 2"]);
    test.run(&["retry", "2", "--failed"]).exits(0);
    assert_eq!(ran(&test), ["a 4", "b 4", "sum"]);
}

#[test]
fn a_selection_that_is_none_is_refused() {
    let test = Test::new(CHAIN);
    test.submit(&[]).exits(1);
    for (words, text) in [
        (&["retry", "1", "z"][..], "the run has no task `z`"),
        (&["retry", "1", "a[x=9]"], "`x` has no value 9"),
        (&["retry", "1", "a[9]"], "a[9]"),
        (&["retry", "1", "a[0]", "--failed", "--with", "pipeline.toml"], "do not go together"),
        (&["retry", "1", "--with", "pipeline.toml"], "--failed"),
        (&["retry", "1", "--failed", "--set", "n=1"], "--with"),
    ] {
        test.run(words).exits(2).err_has(text);
    }
    test.run(&["retry", "7", "a[0]"]).exits(2).err_has("there is no run 7");
}

const SWEPT: &str = r#"
    [vars]
    scale = 10
    [task.pre]
    shell = 'echo pre >> ran'
    [task.sim]
    after = "pre"
    run = ["sh", "-c", 'echo "sim $1" >> ran; [ "$1" != 3 ] || exit 1; echo $(($1 * $2))', "sh", "{x}", "{vars.scale}"]
    capture = "json"
    sweep = { x = [1, 2, 3] }
    [task.plot]
    map = "sim"
    run = ["sh", "-c", 'echo "plot $1" >> ran; echo "$1"', "sh", "{sim.value}"]
    capture = "json"
    [task.other]
    run = ["sh", "-c", 'echo other >> ran']
    [task.all]
    gather = "plot"
    run = ["sh", "-c", 'echo all >> ran; cat "$1"', "sh", "{plot.manifest}"]
    capture = "lines"
"#;

/// The run fails; the file is mended and has other points; the run goes on, wherever it is.
fn goes_on_with_the_file(test: &Test, run: impl Fn(&[&str]) -> Outcome, option: &str) {
    let failed = run(&["submit", "pipeline.toml"]);
    assert!(!failed.exits(1).stderr.contains("--with"), "the file has not changed");
    assert_eq!(
        ran(test),
        ["other", "plot 10", "plot 20", "pre", "sim 1", "sim 2", "sim 3"],
        "{option}"
    );
    let mended = SWEPT.replace("[1, 2, 3] }", "[0, 1, 2, 4] }");
    let mended = mended.replace("[task.pre]", "[task.pre]\n    timeout = 60");
    test.write("pipeline.toml", &mended);
    run(&["retry", "last", "--failed", "--with", "pipeline.toml"])
        .exits(0)
        .err_has("takes 6 instances over from run 1");
    // What succeeded with the same parameters is taken over, wherever it is now.
    assert_eq!(ran(test), ["all", "plot 0", "plot 40", "sim 0", "sim 4"]);
    let values = run(&["table", "last", "plot", "--csv"]).exits(0).stdout;
    let values: Vec<&str> = values.lines().map(|line| line.rsplit(',').next().unwrap()).collect();
    assert_eq!(values, ["value", "0", "10", "20", "40"]);
    let taken = "sim[1] succeeded: taken over from run 1\n";
    run(&["explain", "last", "sim[1]"]).exits(0).out(taken);
    run(&["retry", "last", "--failed", "--with", "pipeline.toml"])
        .exits(0)
        .err_has("nothing to retry: all of run 2 succeeded, and nothing has changed");
    // A variable changes what uses it, and what comes after that.
    run(&["retry", "last", "--failed", "--with", "pipeline.toml", "--set", "scale=100"]).exits(0);
    let all = ["all", "plot 0", "plot 100", "plot 200", "plot 400"];
    // `pre` is a script, which sees all variables.
    let sims = ["pre", "sim 0", "sim 1", "sim 2", "sim 4"];
    assert_eq!(ran(test), [&all[..], &sims].concat());
    run(&["output", "last", "plot[3]"]).exits(0).out("400\n");
    // A command that changed: it and what comes after it.
    test.write("pipeline.toml", mended.replace("echo other", "echo another"));
    let words = ["retry", "last", "--failed", "--with", "pipeline.toml", "--set", "scale=100"];
    run(&words).exits(0);
    assert_eq!(ran(test), ["another"]);
}

#[test]
fn a_run_goes_on_with_its_file_as_it_is_now() {
    let test = Test::new(SWEPT);
    goes_on_with_the_file(&test, |words| test.run(words), "");
}

#[test]
fn a_run_on_a_cluster_goes_on_with_its_file_as_it_is_now() {
    let cluster = Cluster::start(Test::new(SWEPT), "2");
    goes_on_with_the_file(&cluster.0, |words| cluster.run(words), " --cluster c");
}

#[test]
fn the_end_of_a_failed_run_says_that_its_file_has_changed() {
    let test = Test::new(
        "[vars]\nn = 1\n[task.a]\nrun = ['sh', '-c', 'echo >> pipeline.toml; exit 1']\n\
         [task.b]\nrun = ['true']",
    );
    let failed = test.submit(&["--set", "n=2", "-j", "1"]).exits(1);
    let path = test.path("pipeline.toml");
    let path = path.display();
    failed
        .err_has(&format!("dagrun retry 1 --failed -j 1 --with {path} --set n=2"))
        .err_has("pipeline.toml has changed since");
}

#[test]
fn what_the_pipeline_gathers_now_is_what_it_gets() {
    let test = Test::new(
        "[task.a]\nrun = ['echo', '{x}']\ncapture = 'json'\nsweep = { x = [1, 2] }\n\
         [task.sum]\ngather = 'a'\nrun = ['cat', '{a.manifest}']\ncapture = 'text'\n",
    );
    test.submit(&[]).exits(0);
    let before = test.run(&["output", "last", "sum"]).exits(0).stdout;
    assert_eq!(before.lines().count(), 2);
    let text = test.read("pipeline.toml");
    test.write("pipeline.toml", text.replace("[1, 2]", "[2]"));
    test.run(&["retry", "--failed", "--with", "pipeline.toml"])
        .exits(0)
        .err_has("takes 1 instance");
    let after = test.run(&["output", "last", "sum"]).exits(0).stdout;
    assert_eq!(after.lines().count(), 1);
    assert!(after.contains('2'));
}

#[test]
fn locks_are_taken_and_given_back_in_every_retry_that_needs_them() {
    let test = Test::new(
        "[task.lock]\nrerun = 'always'\nshell = 'echo lock >> ran'\n\
         [task.work]\nafter = 'lock'\nshell = 'echo work >> ran; [ -e go ]'\n\
         [task.good]\nafter = 'lock'\nshell = 'echo good >> ran'\n\
         [task.unlock]\nrerun = 'always'\nafter = { all = ['work', 'good'], on = 'finish' }\n\
         shell = 'echo unlock >> ran'\n\
         [task.apart]\nrerun = 'always'\nshell = 'echo apart >> ran'",
    );
    test.submit(&[]).exits(1);
    assert_eq!(ran(&test), ["apart", "good", "lock", "unlock", "work"]);
    test.write("go", "");
    test.run(&["retry", "--failed"]).exits(0).err_has("takes 2 instances over");
    assert_eq!(ran(&test), ["lock", "unlock", "work"]);
    test.run(&["retry", "--failed"]).exits(0).err_has("nothing to retry");
    assert_eq!(ran(&test), [""; 0]);
}
