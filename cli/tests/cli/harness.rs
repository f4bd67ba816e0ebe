//! A directory with a pipeline in it, and the real program run there: one test reads as a sentence.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of its own, with its own clusters.
pub(crate) struct Test {
    dir: tempfile::TempDir,
}

/// A started cluster called `c`, with workers of one slot called `w1`, `w2` and so on; ended with the
/// test.
pub(crate) struct Cluster(pub(crate) Test);

impl Cluster {
    /// Starts it.
    pub(crate) fn start(test: Test, workers: &str) -> Cluster {
        test.run(&["cluster", "start", "-n", workers, "-j", "1", "--cluster", "c"]).exits(0);
        Cluster(test)
    }

    /// One that was started otherwise.
    pub(crate) fn started(test: Test) -> Cluster {
        Cluster(test)
    }

    /// Runs a command with `--cluster c`.
    pub(crate) fn run(&self, words: &[&str]) -> Outcome {
        self.0.run(&[words, &["--cluster", "c"]].concat())
    }

    /// Submits the pipeline to it.
    pub(crate) fn submit(&self, words: &[&str]) -> Outcome {
        self.run(&[&["submit", "pipeline.toml"], words].concat())
    }

    /// Runs a command once on every worker, or on those that are named before `--`.
    pub(crate) fn exec(&self, words: &[&str]) -> Outcome {
        self.0.run(&[&["exec", "--cluster", "c"], words].concat())
    }

    /// Starts one more worker and waits until it has joined. It ends with the cluster.
    pub(crate) fn join(&self, words: &[&str]) -> Process {
        let mut worker = self.0.start(&[&["worker", "--cluster", "c"], words].concat());
        worker.wait_for_line("joined");
        worker
    }

    /// The instances of a task in the last run: a line of `status --instances --json` each.
    pub(crate) fn instances(&self, task: &str) -> Vec<serde_json::Value> {
        let all = self.run(&["status", "last", "--instances", "--json"]).exits(0).json();
        all.into_iter().filter(|row| row["task"] == task).collect()
    }

    /// The workers where the instances of a task in the last run ran.
    pub(crate) fn places(&self, task: &str) -> Vec<String> {
        let place = |row: &serde_json::Value| row["worker"].as_str().unwrap_or("-").to_owned();
        self.instances(task).iter().map(place).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.0.command(&["cluster", "stop", "--force", "--cluster", "c"]).output();
    }
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A program that runs.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    seen: String,
}

impl Test {
    /// A directory with this `pipeline.toml`.
    pub(crate) fn new(pipeline: &str) -> Test {
        let test = Test { dir: tempfile::tempdir().unwrap() };
        test.write("pipeline.toml", pipeline);
        test
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// A path below the directory.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The content of a file.
    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(name)).unwrap()).into_owned()
    }

    /// The program in this directory, without what the caller's environment would change.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dagrun"));
        command
            .args(words)
            .current_dir(self.dir.path())
            .env("DAGRUN_CLUSTERS_DIR", self.path("clusters"))
            .env_remove("DAGRUN_CLUSTER")
            .env_remove("DAGRUN_STATE_DIR")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Outcome {
        let output = self.command(words).output().unwrap();
        Outcome {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// `dagrun submit pipeline.toml` with further words.
    pub(crate) fn submit(&self, words: &[&str]) -> Outcome {
        self.run(&[&["submit", "pipeline.toml"], words].concat())
    }

    /// Starts the program and goes on.
    pub(crate) fn start(&self, words: &[&str]) -> Process {
        self.start_with(words, &[])
    }

    /// The same with more variables in its environment.
    pub(crate) fn start_with(&self, words: &[&str], env: &[(&str, String)]) -> Process {
        let mut command = self.command(words);
        command.envs(env.iter().map(|(name, value)| (*name, value)));
        Test::spawn(command)
    }

    /// Starts it by a shell, in which `$0` is the program.
    pub(crate) fn start_in_shell(&self, script: &str) -> Process {
        let plain = self.command(&[]);
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(plain.get_program());
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(&self.dir);
        Test::spawn(command)
    }

    fn spawn(mut command: Command) -> Process {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Process { child, lines, seen: String::new() }
    }

    /// Waits until no attempt's directory is left in a directory of outputs.
    pub(crate) fn wait_for_no_attempt_dir(&self, outputs: &str) {
        let is_left = || {
            let mut names = std::fs::read_dir(self.path(outputs)).unwrap().flatten();
            names.any(|entry| entry.file_name().to_string_lossy().starts_with(".dagrun-"))
        };
        wait_until("no directory of an attempt is left", || !is_left());
    }

    /// Waits until a file is there.
    pub(crate) fn wait_for_file(&self, name: &str) {
        let path = self.path(name);
        wait_until(&format!("{} appears", path.display()), || path.exists());
    }
}

/// Waits for something that has no event of its own.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process of this number, whose text is in a file, is alive.
pub(crate) fn is_alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    // Someone who has not been waited for yet is no longer alive.
    status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

impl Process {
    /// Waits for a line on standard error that holds this text.
    pub(crate) fn wait_for_line(&mut self, text: &str) -> &mut Process {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| {
                panic!("no line with {text:?} ({error}); there were:\n{}", self.seen)
            });
            self.seen.push_str(&line);
            self.seen.push('\n');
            if line.contains(text) {
                return self;
            }
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&mut self, signal: rustix::process::Signal) -> &mut Process {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
        self
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Its number.
    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Outcome {
        let mut stdout = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        let status = self.child.wait().unwrap();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.seen.push_str(&line);
            self.seen.push('\n');
        }
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        Outcome { status, stdout, stderr: self.seen }
    }
}

impl Outcome {
    /// It ended with this code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Outcome {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self
    }

    /// Standard output is exactly this.
    #[track_caller]
    pub(crate) fn out(self, text: &str) -> Outcome {
        assert_eq!(self.stdout, text, "{}", self.stderr);
        self
    }

    /// Standard output holds this.
    #[track_caller]
    pub(crate) fn out_has(self, text: &str) -> Outcome {
        assert!(self.stdout.contains(text), "no {text:?} in {self:#?}");
        self
    }

    /// Standard error is empty.
    #[track_caller]
    pub(crate) fn silent(self) -> Outcome {
        assert_eq!(self.stderr, "");
        self
    }

    /// Standard error holds this.
    #[track_caller]
    pub(crate) fn err_has(self, text: &str) -> Outcome {
        assert!(self.stderr.contains(text), "no {text:?} in {self:#?}");
        self
    }

    /// Standard error does not hold this.
    #[track_caller]
    pub(crate) fn err_lacks(self, text: &str) -> Outcome {
        assert!(!self.stderr.contains(text), "{text:?} in {self:#?}");
        self
    }

    /// Standard output as JSON Lines.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {self:#?}"));
        self.stdout.lines().map(parse).collect()
    }
}
