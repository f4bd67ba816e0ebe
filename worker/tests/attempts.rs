//! Attempts with real processes, one at a time.

mod common;

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{Place, alive, invocation, output, pid_in, reason, sh, until};
use dagrun_core::engine::{Outcome, Refusal};
use dagrun_core::ids::{Micros, RunId};
use dagrun_core::pipeline::Capture;
use dagrun_core::status::{FailureKind, Stream};
use dagrun_worker::control::Stop;

fn failed(kind: FailureKind) -> Outcome {
    Outcome::Failed(kind)
}

#[test]
fn success_carries_times_and_nothing_else() {
    let place = Place::new();
    let ended = place.run(&invocation(place.path(), ["true"]));
    assert_eq!(ended.outcome, Outcome::Succeeded);
    assert_eq!(ended.detail, None);
    assert!(ended.started.0 > 0 && ended.finished >= ended.started);
    assert!(!place.path().join("logs").exists(), "no output, no log");
}

#[test]
fn exit_codes_and_signals_are_told_apart() {
    let place = Place::new();
    let ended = place.sh("echo out; echo last words >&2; exit 3");
    assert_eq!(ended.outcome, failed(FailureKind::Exit(3)));
    assert_eq!(reason(&ended), "exit code 3");
    assert_eq!(ended.detail.unwrap().stderr_tail, b"last words\n");
    assert_eq!(place.logged(Stream::Stdout), b"out\n");
    assert_eq!(place.logged(Stream::Stderr), b"last words\n");
    let ended = place.sh("kill -9 $$");
    assert_eq!(ended.outcome, failed(FailureKind::Signal(9)));
    assert_eq!(reason(&ended), "killed by signal 9 (SIGKILL)");
}

#[test]
fn what_cannot_be_started_says_why() {
    let place = Place::new();
    let dir = place.path();
    std::fs::write(dir.join("plain"), "").unwrap();
    for (name, text) in [("strange", "\x7fELF"), ("orphan", "#!/no/such/interpreter\n")] {
        std::fs::write(dir.join(name), text).unwrap();
        std::fs::set_permissions(dir.join(name), Permissions::from_mode(0o755)).unwrap();
    }
    let mut nowhere = sh(dir, "true");
    nowhere.working_dir = dir.join("absent");
    let mut no_input = sh(dir, "true");
    no_input.stdin = Some(dir.join("absent"));
    let cases = [
        (invocation(dir, ["no-such-program-here"]), "no such program: no-such-program-here", true),
        (invocation(dir, ["./absent"]), "no such program: ./absent", true),
        (invocation(dir, ["./plain"]), "not executable: ./plain", true),
        (invocation(dir, ["./strange"]), "no program that can be executed here: ./strange", true),
        (invocation(dir, ["./orphan"]), "the interpreter of ./orphan is missing", true),
        (invocation(dir, Vec::<OsString>::new()), "no program given", false),
        (invocation(dir, ["a\0b"]), "no such program: a\0b", true),
        (invocation(dir, ["echo", "a\0b"]), "cannot start echo: ", false),
        (nowhere, "no such working directory: ", true),
        (no_input, "cannot open standard input ", false),
    ];
    for (invocation, expected, another_may_have_it) in cases {
        let ended = place.run(&invocation);
        let outcome = match another_may_have_it {
            true => Outcome::Refused(Refusal::Missing),
            false => failed(FailureKind::Start),
        };
        assert_eq!(ended.outcome, outcome, "{expected}");
        assert!(reason(&ended).starts_with(expected), "{:?}", reason(&ended));
        assert_eq!(ended.started.0, 0);
    }
}

#[test]
fn a_script_falls_back_to_sh_where_bash_is_missing() {
    let place = Place::new();
    let bin = place.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let mut script = invocation(place.path(), ["bash", "-euo", "pipefail", "-c", "echo $0"]);
    script.shell = true;
    script.env = vec![("PATH".into(), bin.clone().into())];
    assert_eq!(reason(&place.run(&script)), "no such program: bash");
    std::os::unix::fs::symlink("/bin/sh", bin.join("sh")).unwrap();
    assert_eq!(place.run(&script).outcome, Outcome::Succeeded);
    assert_eq!(place.logged(Stream::Stdout), b"sh\n");
}

#[test]
fn bytes_that_are_not_text_pass_as_they_are() {
    let place = Place::new();
    let hostile: [&[u8]; 5] =
        [b"; rm -rf ~", b"$(reboot)\n'\"", b"{x} {{y}}", b"\xff\xfe\x80", b""];
    let argv =
        [&b"printf"[..], b"%s\\0", hostile[0], hostile[1], hostile[2], hostile[3], hostile[4]];
    let argv = argv.map(|bytes| OsString::from_vec(bytes.to_vec()));
    assert_eq!(place.run(&invocation(place.path(), argv)).outcome, Outcome::Succeeded);
    let expected: Vec<u8> = hostile.iter().flat_map(|bytes| [bytes, &b"\0"[..]].concat()).collect();
    assert_eq!(place.logged(Stream::Stdout), expected);

    let place = Place::new();
    let dir = place.path().join(OsString::from_vec(b"d\xff".to_vec()));
    std::fs::create_dir(&dir).unwrap();
    let mut env = sh(&dir, "printf %s \"$V\" >&2; pwd >&2");
    env.env = vec![("V".into(), OsString::from_vec(b"a\xffb'\n".to_vec()))];
    assert_eq!(place.run(&env).outcome, Outcome::Succeeded);
    let expected =
        [b"a\xffb'\n", dir.canonicalize().unwrap().as_os_str().as_bytes(), b"\n"].concat();
    assert_eq!(place.logged(Stream::Stderr), expected);
}

#[test]
fn standard_input_is_empty_or_the_file() {
    let place = Place::new();
    assert_eq!(place.run(&invocation(place.path(), ["cat"])).outcome, Outcome::Succeeded);
    std::fs::write(place.path().join("in"), "fed").unwrap();
    let mut cat = invocation(place.path(), ["cat"]);
    cat.stdin = Some(place.path().join("in"));
    assert_eq!(place.run(&cat).outcome, Outcome::Succeeded);
    assert_eq!(place.logged(Stream::Stdout), b"fed");
}

#[test]
fn a_timeout_ends_the_whole_group_even_if_it_ignores_sigterm() {
    let place = Place::new();
    let script = "trap '' TERM; sleep 1000 & echo $! > child; while :; do sleep 1000; done";
    let mut stubborn = sh(place.path(), script);
    stubborn.timeout = Some(Micros(1_500_000));
    stubborn.grace = Micros(100_000);
    let ended = place.run(&stubborn);
    assert_eq!(ended.outcome, failed(FailureKind::Timeout));
    assert_eq!(reason(&ended), "timed out after 1.5s");
    let took = ended.finished.since(ended.started);
    assert!(took >= Micros(1_600_000) && took < Micros::from_secs(20), "{took:?}");
    let child = pid_in(&place.path().join("child"));
    until("the group is gone", || (!alive(child)).then_some(()));
}

#[test]
fn a_timeout_lets_the_task_clean_up() {
    let place = Place::new();
    let script = "trap 'echo cleaned; exit 0' TERM; sleep 1000 & wait";
    let mut polite = sh(place.path(), script);
    polite.timeout = Some(Micros(1_500_000));
    let ended = place.run(&polite);
    assert_eq!(ended.outcome, failed(FailureKind::Timeout));
    assert_eq!(place.logged(Stream::Stdout), b"cleaned\n");
    assert!(ended.finished.since(ended.started) < Micros::from_secs(9), "no need for SIGKILL");
}

#[test]
fn a_process_left_behind_in_the_group_ends_with_its_leader() {
    let place = Place::new();
    let start = Instant::now();
    let ended = place.sh("sleep 1000 & echo $! > child; exit 0");
    assert_eq!(ended.outcome, Outcome::Succeeded);
    assert!(start.elapsed() < Duration::from_secs(60), "nobody waits for the pipe's end");
    let child = pid_in(&place.path().join("child"));
    until("the group is gone", || (!alive(child)).then_some(()));
}

#[test]
fn a_daemon_is_found_by_its_mark() {
    let place = Place::new();
    let script = "setsid sh -c 'echo $$ > daemon; exec sleep 1000' & \
                  while ! [ -s daemon ]; do sleep 0.01; done";
    assert_eq!(place.sh(script).outcome, Outcome::Succeeded);
    let daemon = pid_in(&place.path().join("daemon"));
    assert!(alive(daemon), "it left the group");
    let mark = place.runner.mark();
    assert_eq!(mark.kill_all(Some(RunId(70))), 0, "another run");
    assert!(alive(daemon));
    assert_eq!(mark.kill_all(Some(RunId(7))), 1);
    assert!(!alive(daemon));
}

#[test]
fn a_task_that_closes_its_descriptors_is_waited_for() {
    let place = Place::new();
    let ended = place.sh("exec <&- >&- 2>&-; sleep 0.3; : > done; exit 4");
    assert_eq!(ended.outcome, failed(FailureKind::Exit(4)));
    assert!(place.path().join("done").exists());
}

#[test]
fn cancelling_wakes_the_attempt_at_once() {
    let place = Place::new();
    let pid = place.path().join("pid");
    let ended = std::thread::scope(|scope| {
        let attempt = scope.spawn(|| place.sh("echo $$ > pid; sleep 1000"));
        pid_in(&pid);
        // The shell may have written its number before this worker notes that it runs.
        until("it counts as started", || place.control.started());
        place.control.stop(Stop::Cancel);
        attempt.join().unwrap()
    });
    assert_eq!(ended.outcome, failed(FailureKind::Cancelled));
    assert_eq!(reason(&ended), "cancelled");
    assert!(!alive(pid_in(&pid)));
    // An attempt that was cancelled before it started does not start.
    let ended = place.sh(": > second");
    assert_eq!(ended.outcome, failed(FailureKind::Cancelled));
    assert!(!place.path().join("second").exists());
}

#[test]
fn output_becomes_the_value() {
    let place = Place::new();
    for (capture, script, value) in [
        (Capture::Text, "echo 'a \"b\"'", r#""a \"b\"""#),
        (Capture::Json, "echo '{ \"x\": 1e-9 }'", r#"{"x":1e-9}"#),
        (Capture::Lines, "echo a; echo; echo b", r#"["a","","b"]"#),
    ] {
        let mut captured = sh(place.path(), script);
        captured.capture = capture;
        let detail = place.run(&captured).detail.unwrap();
        assert_eq!(String::from_utf8(detail.value.unwrap()).unwrap(), value);
    }
    let mut broken = sh(place.path(), "echo '{'");
    broken.capture = Capture::Json;
    let ended = place.run(&broken);
    assert_eq!(ended.outcome, failed(FailureKind::Capture));
    assert!(reason(&ended).starts_with("captured output is not JSON: EOF"), "{}", reason(&ended));
    let mut failing = sh(place.path(), "echo '{'; exit 5");
    failing.capture = Capture::Json;
    assert_eq!(place.run(&failing).outcome, failed(FailureKind::Exit(5)));
    let mut large = sh(place.path(), "head -c 70000000 /dev/zero");
    large.capture = Capture::Text;
    let ended = place.run(&large);
    assert_eq!(ended.outcome, failed(FailureKind::Capture));
    assert_eq!(reason(&ended), "captured output exceeds 64 MiB");
}

#[test]
fn outputs_are_moved_into_place_or_removed() {
    let place = Place::new();
    let dir = place.path();
    let (a, b) = (output(dir, "a"), output(dir, "b"));
    let script = |text: &str| {
        let mut writes = sh(dir, text);
        writes.outputs = vec![a.clone(), b.clone()];
        writes.report_outputs = true;
        writes.env = vec![
            ("A".into(), a.temporary.clone().into()),
            ("B".into(), b.temporary.clone().into()),
        ];
        writes
    };
    let ended = place.run(&script("echo 1 > $A; echo 2 > $B; exit 1"));
    assert_eq!(ended.outcome, failed(FailureKind::Exit(1)));
    let ended = place.run(&script("echo 1 > $A"));
    assert_eq!(ended.outcome, failed(FailureKind::MissingOutput));
    assert_eq!(reason(&ended), "output b is missing: results/b");
    assert_eq!(std::fs::read_dir(dir.join("results")).unwrap().count(), 0);
    let ended = place.run(&script("echo 1 > $A; echo 2 > $B"));
    assert_eq!(ended.outcome, Outcome::Succeeded);
    let expected: Vec<Vec<u8>> = vec![b"results/a".to_vec(), b"results/b".to_vec()];
    assert_eq!(ended.detail.unwrap().outputs, expected);
    assert_eq!(std::fs::read_to_string(&a.target).unwrap(), "1\n");
    assert_eq!(std::fs::read_dir(dir.join("results")).unwrap().count(), 2);
}

#[test]
fn long_output_is_cut_in_the_middle_and_says_so() {
    let place = Place::new();
    let ended = place.sh("echo begin; head -c 3000000 /dev/zero; echo end; echo err >&2");
    assert_eq!(ended.outcome, Outcome::Succeeded);
    let out = place.logged(Stream::Stdout);
    assert_eq!(out.len(), common::LIMIT);
    assert!(out.starts_with(b"begin\n") && out.ends_with(b"\0end\n"));
    let cut = 3_000_010 - common::LIMIT;
    let note = String::from_utf8(place.logged(Stream::Note)).unwrap();
    assert_eq!(note, format!("… {cut} bytes cut …\n"));
    assert_eq!(place.logged(Stream::Stderr), b"err\n");
}

#[test]
fn a_log_that_cannot_be_written_does_not_hurt_the_attempt() {
    let mut place = Place::new();
    place.log = dagrun_disk::log::RunLog::new(PathBuf::from("/proc/none"), "w1");
    let ended = place.sh("echo out");
    assert_eq!(ended.outcome, Outcome::Succeeded);
    assert_eq!(place.log.lost(), 4);
}

#[test]
fn a_running_attempt_shows_what_it_writes() {
    let place = Place::new();
    std::thread::scope(|scope| {
        let attempt = scope.spawn(|| place.sh("echo early; sleep 1000"));
        until("the output is in the log", || {
            (place.logged(Stream::Stdout) == b"early\n").then_some(())
        });
        place.control.stop(Stop::Cancel);
        attempt.join().unwrap()
    });
}

/// This program adopts nothing, as others may have children of which the worker knows nothing.
#[test]
fn what_left_the_group_of_a_longer_attempt_is_searched_for() {
    let place = Place::new();
    let script = "setsid sh -c 'echo $$ > daemon; exec sleep 1000' & until [ -s daemon ]; do sleep 0.02; done; \
                  sleep 1";
    let ended = place.sh(script);
    assert_eq!(ended.outcome, Outcome::Succeeded);
    assert!(!alive(pid_in(&place.path().join("daemon"))));
}
