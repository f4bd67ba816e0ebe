//! `dagrun resume`: a run whose process was killed or asked to end goes on as the same run.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Test, is_alive, wait_until};

/// The lines of a file, none when it is not there yet.
fn lines(test: &Test, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(test.path(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn instances(test: &Test) -> Vec<Value> {
    test.run(&["status", "1", "--instances", "--json"]).exits(0).json()
}

fn state(test: &Test) -> Value {
    test.run(&["status", "1", "--json"]).exits(0).json().remove(0)["state"].clone()
}

/// Starts the pipeline, waits, and kills it with everything that it runs.
fn kill(test: &Test, words: &[&str], until: impl Fn() -> bool) {
    let mut process = test.start(words);
    wait_until("it has come far enough", until);
    process.signal(Signal::KILL);
    process.end();
}

#[test]
fn after_kills_only_what_had_not_ended_runs_and_no_attempt_is_made_twice() {
    let test = Test::new(
        "[task.a]\nsweep = { i = { range = '0..300' } }\n\
         shell = 'echo \"$i $DAGRUN_ATTEMPT $DAGRUN_ATTEMPT_ID\" >> audit; sleep 0.01'\n\
         [task.sum]\ngather = 'a'\nshell = 'wc -l < audit > sum'",
    );
    let mut done: BTreeSet<u64> = BTreeSet::new();
    let mut ran: Vec<String> = Vec::new();
    for (round, words) in
        [&["submit", "-j", "4"][..], &["resume", "-j", "4"], &["resume"]].into_iter().enumerate()
    {
        let enough = ran.len() + 60;
        if round < 2 {
            kill(&test, words, || lines(&test, "audit").len() > enough);
            assert_eq!(state(&test), "interrupted");
        } else {
            test.run(words).exits(0);
            assert_eq!(state(&test), "succeeded");
        }
        let now = lines(&test, "audit");
        let again = now[ran.len()..].iter().map(|line| line.split(' ').next().unwrap());
        for index in again.map(|i| i.parse::<u64>().unwrap()) {
            assert!(!done.contains(&index), "{index} had succeeded and ran again");
        }
        let succeeded = instances(&test)
            .into_iter()
            .filter(|one| (&one["task"], &one["state"]) == (&json!("a"), &json!("succeeded")));
        done = succeeded.map(|one| one["index"].as_u64().unwrap()).collect();
        ran = now;
    }
    assert_eq!(done.len(), 300);
    let (attempts, ids): (BTreeSet<&str>, BTreeSet<&str>) =
        ran.iter().map(|line| line.rsplit_once(' ').unwrap()).unzip();
    assert_eq!(attempts.len(), ran.len(), "an attempt was started twice");
    assert_eq!(ids.len(), ran.len(), "an id was given twice");
    assert_eq!(test.run(&["runs", "--json"]).exits(0).json().len(), 1);
    assert!(test.path("sum").exists());
}

#[test]
fn what_ran_because_of_an_interruption_runs_once_more() {
    let test = Test::new(
        "[task.ok]\nshell = 'echo ok >> ran'\n\
         [task.work]\nafter = 'ok'\nshell = 'echo work >> ran; echo $$ > new; mv new outer; \
         [ -e go ] || sleep 1000'\n\
         [task.next]\nafter = 'work'\nshell = 'echo next >> ran'\n\
         [task.notify]\nalways = true\nafter = { all = ['work', 'next'], on = 'finish' }\n\
         shell = 'echo notify >> ran'",
    );
    let mut process = test.start(&["submit"]);
    test.wait_for_file("outer");
    process.signal(Signal::INT);
    process.end().exits(130).err_has("continue with: dagrun resume 1");
    assert_eq!(lines(&test, "ran"), ["ok", "work", "notify"]);
    test.write("go", "");
    let events = test.run(&["resume", "--json"]).exits(0).json();
    assert_eq!(events.last().unwrap()["state"], "succeeded");
    assert_eq!(lines(&test, "ran"), ["ok", "work", "notify", "work", "next", "notify"]);
    assert_eq!(state(&test), "succeeded");
    let attempts: Vec<Value> = instances(&test).iter().map(|one| one["attempts"].clone()).collect();
    assert_eq!(attempts, [json!(1), json!(2), json!(1), json!(2)]);
    test.run(&["explain", "1", "work"]).exits(0).out_has("as the run was interrupted");
}

#[test]
fn retries_are_what_is_left_of_them() {
    let test = Test::new(
        "[task.a]\nretries = 2\nshell = 'echo $DAGRUN_ATTEMPT >> tries; [ $DAGRUN_ATTEMPT = 1 ] && exit 1; \
         echo $$ > new; mv new outer; [ -e go ] || sleep 1000; exit 1'",
    );
    kill(&test, &["submit"], || test.path("outer").exists());
    test.write("go", "");
    test.run(&["resume", "1"]).exits(1).err_has("dagrun retry 1 --failed");
    assert_eq!(lines(&test, "tries"), ["1", "2", "3", "4"], "two failures are followed by others");
    let only = &instances(&test)[0];
    assert_eq!((&only["state"], &only["exit-code"]), (&json!("failed"), &json!(1)));
}

#[test]
fn arrays_parts_and_long_values_are_still_there() {
    let test = Test::new(
        "[task.list]\nshell = '''echo list >> ran; printf '['; for i in $(seq 39); do printf '%s,' $i; done; \
         echo '40]' '''\ncapture = 'json'\n\
         [task.long]\nshell = 'echo long >> ran; head -c 300000 /dev/zero | tr \"\\\\0\" x'\ncapture = 'text'\n\
         [task.part]\nscatter = 'list'\nshell = 'echo part >> ran; sleep 0.02; echo $(( $item * 2 ))'\n\
         capture = 'json'\n\
         [task.sum]\ngather = 'part'\nafter = 'long'\n\
         env = { list = '{part.manifest}' }\nshell = 'grep -c value $list'\ncapture = 'json'\n\
         [task.size]\nafter = 'part'\nenv = { text = '{long.value:file}' }\n\
         shell = 'wc -c < $text'\ncapture = 'json'",
    );
    kill(&test, &["submit", "-j", "2"], || {
        lines(&test, "ran").iter().filter(|line| *line == "part").count() > 12
    });
    let known = instances(&test).iter().filter(|one| one["state"] == "succeeded").count();
    assert!(known > 3, "{known} are on disk");
    test.run(&["resume"]).exits(0);
    let ran = lines(&test, "ran");
    let count = |word: &str| ran.iter().filter(|line| *line == word).count();
    // The long value was with the worker that was killed, and somebody still needs it.
    assert_eq!((count("list"), count("long")), (1, 2));
    assert!(count("part") < 40 + 12, "only what had not ended runs again");
    test.run(&["output", "1", "size"]).exits(0).out_has("300");
    test.run(&["output", "1", "sum"]).exits(0).out("40\n");
}

#[test]
fn a_kill_within_a_cancel_ends_cancelled() {
    let test = Test::new(
        "[task.a]\ngrace = '100s'\nshell = 'trap \"\" TERM; echo $$ > new; mv new outer; \
         while true; do sleep 1000; done'\n\
         [task.b]\nafter = 'a'\nrun = ['touch', 'b']",
    );
    let mut process = test.start(&["submit"]);
    test.wait_for_file("outer");
    test.run(&["cancel", "1"]).exits(0);
    process.signal(Signal::KILL);
    process.end();
    let pid = test.read("outer");
    wait_until("its process ends", || !is_alive(&pid));
    std::fs::remove_file(test.path("outer")).unwrap();
    test.run(&["resume"]).exits(1);
    assert_eq!(state(&test), "cancelled");
    assert!(!test.path("outer").exists() && !test.path("b").exists());
}

#[test]
fn outputs_that_are_gone_are_made_again_and_drag_nothing_along() {
    let test = Test::new(
        "[task.a]\nsweep = { i = [1, 2, 3] }\nout.x = 'a{i}'\n\
         shell = 'echo a$i >> ran; echo $i > $out_x'\n\
         [task.b]\nmap = 'a'\nout.x = 'b{i}'\nenv = { from = '{a.x}' }\n\
         shell = 'echo b$i >> ran; cp $from $out_x'\n\
         [task.c]\nafter = 'b'\nshell = 'echo c >> ran; echo $$ > new; mv new outer; [ -e go ] || sleep 1000'",
    );
    kill(&test, &["submit", "-j", "1"], || test.path("outer").exists());
    wait_until("all is on disk", || {
        instances(&test).iter().filter(|one| one["state"] == "succeeded").count() == 6
    });
    std::fs::remove_file(test.path("a2")).unwrap();
    test.write("go", "");
    test.run(&["resume"]).exits(0);
    let again: BTreeSet<String> = lines(&test, "ran").split_off(7).into_iter().collect();
    assert_eq!(again, ["a2", "c"].map(str::to_owned).into(), "what depends on it stays");
    assert_eq!(test.read("a2"), "2\n");
}

#[test]
fn only_what_was_interrupted_is_resumed() {
    let test =
        Test::new("[task.a]\nshell = 'echo $$ > new; mv new outer; [ ! -e wait ] || sleep 1000'");
    test.run(&["submit", "-q"]).exits(0).silent();
    test.run(&["resume", "1"]).exits(0).err_has("nothing to do: run 1 succeeded");
    test.run(&["resume"]).exits(2).err_has("no run was interrupted");
    std::fs::remove_file(test.path("outer")).unwrap();
    test.write("wait", "");
    let mut process = test.start(&["submit"]);
    test.wait_for_file("outer");
    let pid = format!("run 2 is running: process {} on ", process.pid().as_raw_nonzero());
    test.run(&["resume", "2"]).exits(2).err_has(&pid);
    process.signal(Signal::TERM);
    process.end().exits(143).err_has("continue with: dagrun resume 2");
    test.run(&["explain", "2", "a"]).exits(0).err_has("go on with: dagrun resume 2");
    std::fs::remove_file(test.path("wait")).unwrap();
    let note = "run 2 of this file was interrupted; go on with it: dagrun resume 2";
    test.run(&["submit"]).exits(0).err_has(note);
    test.run(&["submit"]).exits(0).err_lacks("interrupted");
    test.run(&["cancel", "2"]).exits(0);
    test.run(&["resume", "2"]).exits(2).err_has("has ended: cancelled").err_has("dagrun retry 2");
}

#[test]
fn marks_of_many_instances_do_not_change_their_numbers_without_a_kill() {
    let test = Test::new("[task.a]\nsweep = { i = { range = '0..9000' } }\nrun = ['true']");
    test.run(&["submit", "-q", "-j", "8"]).exits(0);
    let mut attempts: BTreeMap<u64, u32> = BTreeMap::new();
    for one in instances(&test) {
        *attempts.entry(one["attempts"].as_u64().unwrap()).or_default() += 1;
    }
    assert_eq!(attempts, BTreeMap::from([(1, 9000)]));
}
