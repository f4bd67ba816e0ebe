//! Disk full: nothing more is dispatched, commits are tried again, every client and `status` says why;
//! with space the run goes on by itself, nothing has run twice, and nothing is corrupt.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::process::Command;

use rusqlite::Connection;

use crate::harness::{Outcome, Process, Test, wait_until};

/// Two instances that wait for `go`, and many that come after: each leaves a line in `audit`.
const WAITS: &str = r#"
    [task.a]
    shell = 'echo "a$i" >> audit; touch begun; until [ -e go ]; do sleep 0.02; done'
    sweep = { i = [0, 1] }
    [task.b]
    after = "a"
    shell = 'echo "b$i" >> audit'
    sweep = { i = { range = "0..60" } }
"#;

const WAITING: &str = "/state; waiting for space";

/// A small file system of its own, seen by what runs there alone.
pub(crate) struct Disk {
    /// Where it is mounted, in the test's directory.
    place: &'static str,
    holder: Process,
}

impl Disk {
    /// Mounts one of this size; `None` where that may not be done.
    pub(crate) fn mount(test: &Test, place: &'static str, size: &str) -> Option<Disk> {
        let mount = ["-m", "mount", "-t", "tmpfs", "none", "/mnt"];
        let can = Command::new("unshare").args(mount).output();
        if !can.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: a file system of its own cannot be mounted here");
            return None;
        }
        std::fs::create_dir_all(test.path(place)).unwrap();
        let holder = test.start_in_shell(&format!(
            "exec unshare -m sh -c 'mount -t tmpfs -o size={size},mode=700 none {place} && touch up
             exec sleep 10000'"
        ));
        test.wait_for_file("up");
        Some(Disk { place, holder })
    }

    /// A script that runs where the file system is seen; `$0` is the program.
    pub(crate) fn start(&self, test: &Test, script: &str) -> Process {
        let (pid, here) = (self.holder.pid(), test.path(".").display().to_string());
        let pid = pid.as_raw_nonzero();
        test.start_in_shell(&format!(
            "exec nsenter -t {pid} -m sh -c 'cd {here} && {script}' \"$0\""
        ))
    }

    /// Leaves not a byte.
    pub(crate) fn fill(&self, test: &Test) {
        let place = self.place;
        // Nothing but the small one.
        self.start(test, &format!("stat -f -c %T {place}")).end().exits(0).out("tmpfs\n");
        let fill = format!("cat /dev/zero > {place}/ballast");
        self.start(test, &fill).end().exits(1).err_has("No space left on device");
    }

    pub(crate) fn free(&self, test: &Test) {
        self.start(test, &format!("rm {}/ballast", self.place)).end().exits(0);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.holder.signal(rustix::process::Signal::KILL);
    }
}

/// A test with such a file system.
struct Small {
    test: Test,
    disk: Disk,
}

impl Small {
    fn mount(test: Test, place: &'static str) -> Option<Small> {
        let disk = Disk::mount(&test, place, "3m")?;
        Some(Small { test, disk })
    }

    fn start(&self, script: &str) -> Process {
        self.disk.start(&self.test, script)
    }

    fn run(&self, script: &str) -> Outcome {
        self.start(script).end()
    }

    fn fill(&self) {
        self.disk.fill(&self.test);
    }

    fn free(&self) {
        self.disk.free(&self.test);
    }

    /// What has run, each line once.
    fn audit(&self, lines: usize) {
        let audit = self.test.read("audit");
        let mut seen: Vec<&str> = audit.lines().collect();
        seen.sort_unstable();
        let all = seen.len();
        seen.dedup();
        assert_eq!((all, seen.len()), (lines, lines), "{audit}");
    }

    /// The database is whole.
    fn is_sound(&self) {
        self.run(&format!("cp {}/dagrun.db* .", self.disk.place)).exits(0);
        let database = Connection::open(self.test.path("dagrun.db")).unwrap();
        let sound: String =
            database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if self.disk.place.starts_with("clusters") {
            let stop = ["cluster", "stop", "--force", "--cluster", "c"];
            let _ = self.test.command(&stop).output();
        }
    }
}

#[test]
fn disk_full_embedded() {
    let Some(small) = Small::mount(Test::new(WAITS), "state") else { return };
    let mut run = small.start("exec \"$0\" submit pipeline.toml -j 2 --state-dir state");
    small.test.wait_for_file("begun");
    small.fill();
    small.test.write("go", "");
    run.wait_for_line("run 1: no space left on the disk of ");
    // Whoever looks is shown why, and nothing but what was handed out before has run.
    let status =
        |words: &str| small.run(&format!("exec \"$0\" status last --state-dir state {words}"));
    status("").exits(0).out_has("run 1  pipeline  running").out_has(WAITING);
    let waiting = status("--json").exits(0).json()[0]["waiting"].clone();
    assert!(waiting.as_str().unwrap().ends_with(WAITING), "{waiting}");
    let mut wait = small.start("exec \"$0\" wait last --state-dir state");
    wait.wait_for_line(WAITING);
    let mut watch = small.start("exec \"$0\" watch last --json --state-dir state");
    let mut follow = small.start("exec \"$0\" logs last -f --state-dir state");
    follow.wait_for_line(WAITING);
    // Nothing new can begin.
    small
        .run("exec \"$0\" submit pipeline.toml --state-dir state")
        .exits(1)
        .err_has("the state directory is full: ")
        .err_has("free some space there");
    let begun = small.test.read("audit").lines().filter(|line| line.starts_with('b')).count();
    assert!(begun < 60, "{begun} were handed out on a full disk");
    small.free();
    run.end().exits(0).err_has("run 1 goes on").err_has("run 1 succeeded: 62 instances");
    wait.end().exits(0);
    follow.end().exits(0);
    let events = {
        watch.has_ended();
        watch.end().exits(0).json()
    };
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    let at = |kind| kinds.iter().position(|other| *other == kind);
    assert!(at("run-waiting").is_some() && at("run-waiting") < at("run-continued"), "{kinds:?}");
    status("").exits(0).out_has("run 1  pipeline  succeeded");
    small.audit(62);
    small.is_sound();
}

#[test]
fn disk_full_on_a_cluster() {
    let test = Test::new(WAITS);
    let Some(small) = Small::mount(test, "clusters/c/state") else { return };
    small.run("exec \"$0\" cluster start -n 2 -j 1 --cluster c").exits(0);
    let here = |words: &str| small.run(&format!("exec \"$0\" {words} --cluster c"));
    here("submit pipeline.toml --detach").exits(0);
    small.test.wait_for_file("begun");
    small.fill();
    let mut wait = small.start("exec \"$0\" wait last --cluster c");
    small.test.write("go", "");
    wait.wait_for_line(WAITING);
    here("status last").exits(0).out_has("run 1  pipeline  running").out_has(WAITING);
    here("submit pipeline.toml --detach").exits(1).err_has("the state directory is full: ");
    small.free();
    wait.end().exits(0).err_has("run 1 goes on");
    here("status last").exits(0).out_has("run 1  pipeline  succeeded");
    small.audit(62);
    small.is_sound();
    // Cancelled while there is no space, a run is so once there is.
    std::fs::remove_file(small.test.path("go")).unwrap();
    std::fs::remove_file(small.test.path("begun")).unwrap();
    here("submit pipeline.toml --detach").exits(0);
    small.test.wait_for_file("begun");
    small.fill();
    let mut cancel = small.start("exec \"$0\" cancel 2 --cluster c");
    wait_until("it is not on disk", || here("status 2").exits(0).stdout.contains(WAITING));
    assert!(!cancel.has_ended());
    small.free();
    cancel.end().exits(0);
    here("wait 2").exits(1);
    here("status 2").exits(0).out_has("run 2  pipeline  cancelled");
    here("cluster stop --force").exits(0);
    small.is_sound();
}
