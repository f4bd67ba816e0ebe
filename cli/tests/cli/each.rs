//! `dagrun each`: a command for each item, without a file.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{Cluster, Outcome, Test};

impl Test {
    /// `dagrun each` with these words.
    fn each(&self, words: &[&str]) -> Outcome {
        self.run(&[&["each"], words].concat())
    }

    /// The same, in the order of the items.
    fn in_order(&self, words: &[&str]) -> Outcome {
        self.each(&[&["-k"], words].concat())
    }

    /// The same with a standard input.
    fn each_of(&self, input: &[u8], words: &[&str]) -> Outcome {
        let mut command = self.command(&[&["each", "-k"], words].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        Outcome {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn test() -> Test {
    Test::new("")
}

#[test]
fn a_command_runs_once_for_each_item() {
    let test = test();
    test.in_order(&["-j", "2", "--", "echo", "<{}>", ":::", "a", "b c", "d"])
        .exits(0)
        .out("<a>\n<b c>\n<d>\n")
        .silent();
    test.in_order(&["-j2", "echo", "-n", "x", ":::", "1"]).exits(0).out("x 1");
    test.each(&["--none", "echo", ":::", "1"]).exits(2).err_has("--none");
    test.in_order(&["echo", "n", "-n", ":::", "1", "2"]).exits(0).out("n -n 1\nn -n 2\n");
    let found = test.each(&["echo", ":::", "x", "y"]).exits(0).stdout;
    let mut lines: Vec<_> = found.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["x", "y"]);
}

#[test]
fn placeholders_are_those_of_gnu_parallel() {
    let test = test();
    let item = "dir/file.tar.gz";
    let words =
        ["echo", "{}", "{.}", "{/}", "{//}", "{/.}", "{#}", "a{}b", "{x}", "{{}}", ":::", item];
    test.each(&words).exits(0).out(
        "dir/file.tar.gz dir/file.tar file.tar.gz dir file.tar 1 adir/file.tar.gzb {x} {dir/file.tar.gz}\n",
    );
    test.in_order(&["echo", "{2}-{1}", ":::", "a", "b", ":::", "1", "2"])
        .exits(0)
        .out("1-a\n2-a\n1-b\n2-b\n");
    test.in_order(&["echo", "{#}:{1.}{2}", ":::", "a.c", "b.c", ":::", "1", "2"])
        .exits(0)
        .out("1:a1\n2:a2\n3:b1\n4:b2\n");
    test.in_order(&["echo", "{}", ":::", "a", "b", ":::+", "1", "2"]).exits(0).out("a 1\nb 2\n");
    test.each(&["echo", "{3}", ":::", "a", ":::", "1"]).exits(2).err_has("there are 2 inputs");
}

#[test]
fn sources_of_items_are_files_lines_and_tables() {
    let test = test();
    test.write("names", "a\r\n\nb b\n");
    test.write("runs.csv", "strike,name\n80,low\n1e2,\"high, up\"\n");
    test.in_order(&["echo", "{}", "::::", "names"]).exits(0).out("a\nb b\n");
    test.in_order(&["echo", "{2}{1}", ":::", "x", "y", "::::+", "names"]).out("ax\nb by\n");
    test.in_order(&["--csv", "runs.csv", "echo", "{name}/{strike}/{1}"])
        .exits(0)
        .out("low/80/80\nhigh, up/1e2/1e2\n");
    test.each_of(b"1\n2\n", &["echo", "-{}-"]).exits(0).out("-1-\n-2-\n");
    test.each_of(b"1\n2\n", &["--lines", "echo", "{}", ":::", "a"]).exits(0).out("a 1\na 2\n");
    test.each_of(b"a\nb\0c\0", &["-0", "echo", "<{}>"]).exits(0).out("<a\nb>\n<c>\n");
    test.each(&["echo", "::::", "none"]).exits(2).err_has("cannot read `none`");
    test.each(&["--csv", "none.csv", "echo"]).exits(2).err_has("none.csv");
    test.each_of(b"a\0b\n", &["echo"]).exits(2).err_has("standard input, line 1");
}

#[test]
fn items_may_hold_anything() {
    let test = test();
    let items = [
        "",
        "'",
        "\"",
        "a b",
        "$HOME",
        "`x`",
        "$(x)",
        "{}",
        "{index}",
        "new\nline",
        "ü",
        "\\",
        "-n",
        "*",
    ];
    let words = [&["printf", "<%s>"], &[":::"][..], &items].concat();
    let expected: String = items.iter().map(|item| format!("<{item}>")).collect();
    test.in_order(&words).exits(0).out(&expected);
    let words = [&["printf \"<%s>\" {} '<{}>' \"<{}>\""], &[":::"][..], &items].concat();
    let expected: String = items.iter().map(|i| format!("<{i}><<{i}>><<{i}>>")).collect();
    test.in_order(&words).exits(0).out(&expected);
}

#[test]
fn a_word_with_blanks_is_a_script() {
    let test = test();
    test.in_order(&["echo $1 | tr a-z A-Z", ":::", "a", "b"]).exits(0).out("A\nB\n");
    test.in_order(&["echo {} {.} | tr a-z A-Z", ":::", "a.c"]).exits(0).out("A.C A\n");
    test.in_order(&["echo $2; echo \"$(printf '%s' {1})\"", ":::", "a  b", ":::", "1"])
        .exits(0)
        .out("1\na  b\n");
    test.in_order(&["echo it is", ":::", "a", "b"]).exits(0).out("it is a\nit is b\n");
}

#[test]
fn without_items_nothing_runs() {
    let test = test();
    test.each(&["touch", "ran", ":::"]).exits(0).out("").err_has("no items");
    test.write("head.csv", "a,b\n");
    test.each(&["--csv", "head.csv", "touch", "ran"]).exits(0).out("").err_has("no items");
    test.each_of(b"", &["touch", "ran"]).exits(0).out("").err_has("no items");
    assert!(!test.path("ran").exists() && !test.path(".dagrun").exists());
    test.each(&[":::", "a"]).exits(2).err_has("no command");
    test.each(&[]).exits(2);
}

#[test]
fn outputs_are_whole_and_each_goes_to_its_stream() {
    let test = test();
    let script = "for i in 1 2 3; do echo $1$i; echo $1$i >&2; sleep 0.01; done";
    let outcome = test.each(&["-j", "4", script, ":::", "a", "b", "c", "d"]).exits(0);
    for text in [&outcome.stdout, &outcome.stderr] {
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 12, "{text}");
        for whole in lines.chunks(3) {
            let item = &whole[0][..1];
            assert_eq!(whole, ["1", "2", "3"].map(|i| format!("{item}{i}")), "{text}");
        }
    }
    // Longer than what is logged of other runs.
    let long = test.each(&["head -c 5000000 /dev/zero | tr '\\0' $1", ":::", "x"]).exits(0);
    assert!(long.stdout.len() == 5_000_000 && long.stdout.bytes().all(|byte| byte == b'x'));
}

#[test]
fn of_several_attempts_the_last_is_printed() {
    let test = test();
    let script = "echo try >> tries; wc -l < tries; test $(wc -l < tries) -ge 3";
    test.each(&["--retries", "5", script, ":::", "a"]).exits(0).out("3\n");
}

#[test]
fn a_failure_is_reported_and_retried_as_of_any_run() {
    let test = test();
    let script = "echo $1; test -e ready || test $1 != b";
    let failed = test.in_order(&[script, ":::", "a", "b", "c"]).exits(1).out("a\nb\nc\n");
    failed.err_has("each[1] failed: exit code 1").err_has("dagrun retry 1 --failed");
    test.run(&["logs", "last", "each[1]"]).exits(0).out("b\n");
    test.run(&["status", "last"]).exits(0).out_has("failed");
    test.run(&["status", "last", "each[arg=b]", "--json"])
        .exits(0)
        .out_has(r#""params":{"arg":"b"}"#);
    test.write("ready", "");
    test.run(&["retry", "last", "--failed"]).exits(0).err_has("takes 2 instances over");
    test.run(&["runs", "--json"]).exits(0).out_has(r#""name":"each""#);
}

#[test]
fn a_dry_run_prints_the_commands() {
    let test = test();
    test.each(&["--dry-run", "touch", "ran {}", ":::", "a b", "c"])
        .exits(0)
        .out("touch 'ran a b'\ntouch 'ran c'\n");
    assert!(!test.path(".dagrun").exists());
}

#[test]
fn results_and_a_job_log_are_written() {
    let test = test();
    let words = ["--results", "out", "--joblog", "log", "echo $1; echo $2 >&2; exit $3"];
    let items = [":::", "a/b", ":::", "x", ":::", "0", "3"];
    test.each(&[&words[..], &items].concat()).exits(1);
    assert_eq!(test.read("out/1/a\\_b/2/x/3/0/stdout"), "a/b\n");
    assert_eq!(test.read("out/1/a\\_b/2/x/3/3/stderr"), "x\n");
    assert_eq!(test.read("out/1/a\\_b/2/x/3/3/seq"), "2\n");
    let log = test.read("log");
    let rows: Vec<Vec<&str>> = log.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(
        rows[0].join(" "),
        "Seq Host Starttime JobRuntime Send Receive Exitval Signal Command"
    );
    let mut ends: Vec<_> = rows[1..].iter().map(|row| (row[0], row[5], row[6], row[7])).collect();
    ends.sort_unstable();
    assert_eq!(ends, [("1", "4", "0", "0"), ("2", "4", "3", "0")]);
}

#[test]
fn it_halts_when_it_is_asked_to() {
    let test = test();
    let count = || test.read("ran").lines().count();
    // The third waits to be ended.
    let script = "echo $1 >> ran; case $1 in 1) ;; 2) exit 1 ;; *) sleep 600 ;; esac";
    let items = ["1", "2", "3", "4", "5", "6", "7", "8"];
    let halted = |halt: &str| {
        test.write("ran", "");
        test.each(&[&["-j", "1", "--halt", halt, script, ":::"][..], &items].concat())
    };
    halted("now,fail=1").exits(1);
    assert!((2..=3).contains(&count()));
    halted("now,success=1").exits(0);
    assert!((1..=3).contains(&count()));
    halted("now,done=25%").exits(0);
    assert!((2..=3).contains(&count()));
    halted("later").exits(2);
    // What runs goes on, and nothing new is started.
    test.write("ran", "");
    let script = "echo $1 >> ran; test $1 != 1 || exit 1; until test -e go; do sleep 0.01; done; echo end >> ran";
    let words = ["-j", "2", "--halt", "soon,fail=1", script, ":::"];
    let running = test.start(&[&["each"], &words[..], &items].concat());
    // The fourth run, after the three above.
    let rows = || test.run(&["status", "4", "--instances", "--json"]);
    crate::harness::wait_until("the rest is cancelled", || {
        rows().stdout.lines().filter(|row| row.contains("\"cancelled\"")).count() >= 5
    });
    test.write("go", "");
    running.end().exits(1);
    assert!(test.read("ran").contains("end"));
    let ran = test.read("ran");
    // 1 has failed, 2 was running, and one more may have taken the slot of the first.
    assert!(!ran.contains('4') && !ran.contains('8'), "{ran}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_it() {
    let test = test();
    let script = "yes | head -c 100000; echo $1 >> ran";
    let items: Vec<String> = (0..2000).map(|item| item.to_string()).collect();
    let items = items.join(" ");
    let line = format!("\"$0\" each -j 2 '{script}' ::: {items} | head -n 1");
    let program = test.command(&["help"]).get_program().to_owned();
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).arg(program).current_dir(test.path("")).stdin(Stdio::null());
    let output = shell.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "y\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(test.read("ran").lines().count() < 2000);
    test.run(&["runs", "--json"]).exits(0).out_has(r#""state":"cancelled""#);
}

#[test]
fn ten_thousand_items_come_out_in_order() {
    let test = test();
    let input: String = (0..10_000).map(|item| format!("{item}\n")).collect();
    test.each_of(input.as_bytes(), &["echo", "{}"]).exits(0).out(&input).silent();
}

#[test]
fn a_cluster_runs_it_and_the_outputs_come_here() {
    let cluster = Cluster::start(test(), "2");
    let words = ["each", "-k", "--cluster", "c", "echo", "{}", ":::", "a", "b", "c"];
    cluster.0.run(&words).exits(0).out("a\nb\nc\n");
    let words = ["each", "--cluster", "c", "--detach", "echo", ":::", "a"];
    cluster.0.run(&words).exits(0).out("2\n");
    cluster.0.run(&["wait", "2", "--cluster", "c"]).exits(0);
    cluster.0.run(&["each", "--cluster", "c", "-j", "3", "echo", ":::", "a"]).exits(2);
}

#[test]
fn events_are_written_instead_of_outputs() {
    let events = test().each(&["--json", "echo", ":::", "a"]).exits(0).json();
    assert_eq!(events.last().unwrap()["event"], "run-finished");
    assert!(events.iter().all(|event| event["event"].is_string()));
}
