//! `dagrun retry`: what succeeded stays, the rest runs, in one process and on a cluster.

use crate::harness::{Cluster, Outcome, Test};

/// Fails at `x = 2` as long as there is no file `go`. Every attempt leaves a line in `ran`.
const FLAKY: &str = r#"
    name = "flaky"
    [task.list]
    shell = 'echo list >> ran; echo "[10, 20, 30]"'
    capture = "json"
    [task.part]
    scatter = "list"
    run = ["sh", "-c", 'echo "part $1" >> ran; echo "$1" > "$2"; [ "$1" != 20 ] || [ -e go ]', "sh", "{item}", "{out.file}"]
    out.file = "{run.dir}/part/{index}.txt"
    capture = "text"
    [task.flaky]
    run = ["sh", "-c", 'echo "flaky $1 $2" >> ran; [ "$1" != 2 ] || [ -e go ] || exit 3; echo "$2"', "sh", "{x}", "{seed}"]
    capture = "text"
    sweep = { x = [1, 2, 3] }
    [task.next]
    map = "flaky"
    run = ["sh", "-c", 'echo "next $1 $2" >> ran', "sh", "{x}", "{flaky.value}"]
    [task.sum]
    gather = ["part", "flaky"]
    run = ["sh", "-c", 'echo sum >> ran; cat "$1" "$2"', "sh", "{part.manifest}", "{flaky.manifest}"]
    capture = "text"
"#;

/// The lines of `ran`, sorted, without seeds; the file is gone afterwards.
fn ran(test: &Test) -> Vec<String> {
    let text = test.read("ran");
    std::fs::remove_file(test.path("ran")).unwrap();
    let short = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = text.lines().map(short).collect();
    lines.sort_unstable();
    lines
}

/// The run, then its retry, wherever they are; the output of the gather.
fn fails_then_goes_on(test: &Test, run: impl Fn(&[&str]) -> Outcome) -> String {
    run(&["submit", "pipeline.toml", "--seed", "7"]).exits(1).err_has("dagrun retry 1 --failed");
    let first = ["flaky 1", "flaky 2", "flaky 3", "list", "next 1", "next 3"];
    let parts = ["part 10", "part 20", "part 30"];
    assert_eq!(ran(test), [&first[..], &parts].concat());
    let seed = run(&["output", "1", "flaky[0]"]).exits(0).stdout;
    test.write("go", "");
    run(&["retry", "last", "--failed"]).exits(0).err_has("run 2 takes 7 instances over from run 1");
    assert_eq!(ran(test), ["flaky 2", "next 2", "part 20", "sum"]);
    // The values are there, whichever run they are of.
    run(&["output", "2", "flaky[0]"]).exits(0).out(&seed);
    run(&["output", "2", "list"]).exits(0).out("[10,20,30]\n");
    run(&["explain", "2", "flaky[0]"]).exits(0).out("flaky[0] succeeded: taken over from run 1\n");
    run(&["explain", "2", "flaky[1]"]).exits(0).out_has("attempt 1 on");
    let status = run(&["status", "2", "--json"]).exits(0).json();
    assert_eq!(status[0]["state"], "succeeded");
    let counts = status[0]["tasks"].as_array().unwrap().iter();
    let widths: Vec<_> = counts.map(|task| task["succeeded"].as_u64().unwrap()).collect();
    assert_eq!(widths, [1, 3, 3, 3, 1]);
    run(&["retry", "2", "--failed"]).exits(0).out("").err_has("nothing to retry");
    run(&["output", "2", "sum"]).exits(0).stdout
}

fn manifest_is_whole(text: &str) {
    let rows: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 6, "{text}");
    assert!(rows.iter().all(|row| row["state"] == "succeeded"));
    for (row, item) in rows.iter().zip([10, 20, 30]) {
        // Each file lies where the run left it that made it.
        let path = row["out"]["file"].as_str().unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), format!("{item}\n"));
        assert_eq!(row["params"]["item"], item);
        assert!(path.contains(if item == 20 { "/runs/2/" } else { "/runs/1/" }), "{path}");
    }
    assert!(rows[3..].iter().all(|row| row["value"].as_str().is_some_and(|v| !v.is_empty())));
}

#[test]
fn what_succeeded_is_not_run_again() {
    let test = Test::new(FLAKY);
    let manifest = fails_then_goes_on(&test, |words| test.run(words));
    manifest_is_whole(&manifest);
}

#[test]
fn a_cluster_retries_its_own_runs() {
    let cluster = Cluster::start(Test::new(FLAKY), "2");
    let manifest = fails_then_goes_on(&cluster.0, |words| cluster.run(words));
    manifest_is_whole(&manifest);
    std::fs::remove_file(cluster.0.path("go")).unwrap();
    cluster.submit(&["-q"]).exits(1).err_has("dagrun retry 3 --failed --cluster c");
    cluster.0.write("go", "");
    cluster.run(&["retry", "3", "--failed", "--detach"]).exits(0).out("4\n").silent();
    cluster.run(&["wait", "4"]).exits(0);
    cluster.run(&["retry", "4", "--failed", "--detach"]).exits(0).out("");
    cluster.run(&["retry", "9", "--failed"]).exits(2).err_has("there is no run 9");
}

#[test]
fn a_seed_is_the_same_when_it_is_tried_again() {
    let test = Test::new(
        "[task.a]\nshell = 'echo $SEED; [ -e go ] || [ $x = 1 ]'\nenv = { SEED = '{seed}' }\n\
         sweep = { x = [1, 2] }\ncapture = 'text'",
    );
    test.submit(&["--seed", "5"]).exits(1);
    test.write("go", "");
    test.run(&["retry", "1", "--failed"]).exits(0);
    let again = test.run(&["output", "2", "a[1]"]).exits(0).stdout;
    test.submit(&["--seed", "5"]).exits(0);
    test.run(&["output", "3", "a[1]"]).exits(0).out(&again);
}

#[test]
fn without_failed_all_of_it_runs_again() {
    let test = Test::new("[task.a]\nshell = 'echo {x} >> ran'\nsweep = { x = [1, 2] }");
    test.submit(&["--set", "unused=1"]).exits(2);
    test.submit(&[]).exits(0);
    test.run(&["retry", "1"]).exits(0).err_has("run 2 succeeded");
    assert_eq!(test.read("ran").lines().count(), 4);
}

#[test]
fn an_instance_whose_files_are_gone_runs_again() {
    let test = Test::new(
        "[task.a]\nrun = ['sh', '-c', 'echo $1 >> ran; touch $2', 'sh', '{x}', '{out.f}']\n\
         out.f = 'out/{x}'\nsweep = { x = [1, 2, 3] }\n\
         [task.b]\ngather = 'a'\nshell = 'echo b >> ran; [ -e go ]'\n\
         [task.c]\nafter = 'a'\nshell = 'echo c >> ran'",
    );
    test.submit(&[]).exits(1);
    assert_eq!(ran(&test), ["1", "2", "3", "b", "c"]);
    std::fs::remove_file(test.path("out/2")).unwrap();
    test.write("go", "");
    test.run(&["retry", "last", "--failed"]).exits(0);
    // What had succeeded after it stays.
    assert_eq!(ran(&test), ["2", "b"]);
    assert!(test.path("out/2").exists());
    std::fs::remove_file(test.path("out/3")).unwrap();
    test.run(&["retry", "last", "--failed"]).exits(0).err_has("takes 4 instances over from run 2");
    test.run(&["explain", "3", "a[0]"]).exits(0).out("a[0] succeeded: taken over from run 1\n");
    assert_eq!(ran(&test), ["3"]);
}

#[test]
fn an_instance_whose_files_have_changed_runs_again() {
    let test = Test::new(
        "[task.a]\nrun = ['sh', '-c', 'echo $1 >> ran; echo $1 > $2', 'sh', '{x}', '{out.f}']\n\
         out.f = 'out/{x}'\nsweep = { x = [1, 2, 3] }\n\
         [task.b]\nshell = 'echo b >> ran; echo b > \"$out_f\"; echo 1'\n\
         out.f = '{run.dir}/b'\ncapture = 'json'\n\
         [task.c]\nafter = ['a', 'b']\nshell = 'echo c >> ran; [ -e go ]'",
    );
    test.submit(&["-j", "1"]).exits(1);
    assert_eq!(ran(&test), ["1", "2", "3", "b", "c"]);
    test.run(&["retry", "last", "--failed"]).exits(1);
    assert_eq!(ran(&test), ["c"], "nothing has changed");
    // Cut short; rewritten with as many bytes; the path of the third follows from the run.
    std::fs::File::create(test.path("out/2")).unwrap();
    let three = std::fs::File::options().write(true).open(test.path("out/3")).unwrap();
    three.set_modified(std::time::UNIX_EPOCH).unwrap();
    std::fs::write(test.path(".dagrun/runs/1/b"), "").unwrap();
    test.write("go", "");
    test.run(&["retry", "last", "--failed", "-j", "1"]).exits(0);
    assert_eq!(ran(&test), ["2", "3", "b", "c"]);
    assert_eq!(test.read("out/2"), "2\n");
}

#[test]
fn a_retry_can_be_retried() {
    let test = Test::new(
        "[task.a]\nshell = 'echo \"$x\" >> ran; [ -e \"go$x\" ]'\nsweep = { x = [1, 2, 3] }",
    );
    test.write("go1", "");
    test.submit(&["-j", "1"]).exits(1).err_has("dagrun retry 1 --failed -j 1");
    test.write("go2", "");
    test.run(&["retry", "1", "--failed"]).exits(1).err_has("dagrun retry 2 --failed");
    test.write("go3", "");
    test.run(&["retry", "2", "--failed", "--quiet"]).exits(0).silent();
    assert_eq!(ran(&test), ["1", "2", "2", "3", "3", "3"]);
    let origins = [(0, "run 1"), (1, "run 2")];
    for (index, origin) in origins {
        let name = format!("a[{index}]");
        test.run(&["explain", "3", &name]).exits(0).out_has(origin);
    }
    let rows = test.run(&["status", "3", "--instances", "--json"]).exits(0).json();
    assert_eq!((&rows[0]["state"], &rows[0]["attempts"]), (&"succeeded".into(), &0.into()));
    assert_eq!(rows[0]["reason"], "taken over from run 1");
    assert_eq!((&rows[2]["attempts"], &rows[2]["reason"]), (&1.into(), &serde_json::Value::Null));
    let events = test.run(&["retry", "1", "--failed", "--json"]).exits(0).json();
    assert_eq!(events.last().unwrap()["state"], "succeeded");
}

#[test]
fn what_follows_runs_where_its_upstream_ran() {
    let pipeline = "[task.a]\nrun = ['true']\n[task.b]\nfollow = 'a'\nrun = ['test', '-e', 'go']";
    let test = Test::new(pipeline);
    test.submit(&[]).exits(1);
    test.write("go", "");
    test.run(&["retry", "last", "--failed"]).exits(0);
    // On a cluster, which worker it was matters.
    std::fs::remove_file(test.path("go")).unwrap();
    let cluster = Cluster::start(test, "2");
    cluster.submit(&[]).exits(1);
    let place = cluster.places("a");
    cluster.0.write("go", "");
    cluster.run(&["retry", "last", "--failed"]).exits(0);
    assert_eq!(cluster.places("b"), place);
}

#[test]
fn only_a_run_that_has_ended_can_be_retried() {
    let test = Test::new("[task.a]\nshell = 'touch begun; sleep 1000'");
    let mut process = test.start(&["submit", "pipeline.toml"]);
    test.wait_for_file("begun");
    test.run(&["retry", "1", "--failed"]).exits(2).err_has("run 1 has not ended");
    process.signal(rustix::process::Signal::INT);
    process.end().exits(130).err_has("dagrun resume 1");
    test.run(&["retry", "2", "--failed"]).exits(2).err_has("there is no run 2");
    test.run(&["retry", "1", "--detach"]).exits(2).err_has("--cluster");
    let mut killed = test.start(&["submit", "pipeline.toml"]);
    killed.wait_for_line("run 2");
    killed.signal(rustix::process::Signal::KILL);
    let _ = killed.end();
    let mut again = test.start(&["retry", "2", "--failed"]);
    again.wait_for_line("run 3");
    again.signal(rustix::process::Signal::INT);
    again.end().exits(130);
}

#[test]
fn what_has_its_data_from_a_failure_runs_again_and_what_is_only_ordered_does_not() {
    let pipeline = "
[task.part]
allow-failure = true
sweep = { n = { range = '0..10' } }
capture = 'json'
shell = 'echo part-$n >> ran; [ $n != 3 ] || [ -e go ] && echo $n'

[task.sum]
gather = 'part'
min-success = 9
capture = 'text'
stdin = '{part.manifest}'
shell = 'echo sum >> ran; grep -c succeeded'

[task.report]
run = ['sh', '-c', 'echo report-$0 >> ran', '{sum.value}']

[task.each]
map = 'part'
shell = 'echo each-$n >> ran'

[task.ordered]
after = { all = 'part', on = 'finish' }
shell = 'echo ordered >> ran'
";
    let test = Test::new(pipeline);
    test.submit(&[]).exits(0);
    let first = ran(&test);
    assert_eq!(first.len(), 10 + 1 + 1 + 9 + 1, "{first:?}");
    assert!(first.contains(&"report-9".to_owned()), "{first:?}");
    test.write("go", "");
    test.run(&["retry", "--failed"]).exits(0).err_has("takes 19 instances over");
    assert_eq!(ran(&test), ["each-3", "part-3", "report-10", "sum"]);
    test.run(&["retry", "--failed"]).exits(0).err_has("nothing to retry");
}
