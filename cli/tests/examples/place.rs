//! A copy of an example, and the real program run in it, alone or on a cluster of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A copy of one example; its cluster, if it has one, ends with it.
pub(crate) struct Example {
    folder: TempDir,
    on_cluster: bool,
}

impl Example {
    /// A folder without anything in it.
    pub(crate) fn empty() -> Example {
        Example { folder: tempfile::tempdir().unwrap(), on_cluster: false }
    }

    /// A copy of an example.
    pub(crate) fn copy(name: &str) -> Example {
        let example = Example::empty();
        copy(&examples().join(name), example.folder.path());
        example
    }

    /// A copy of an example, for a cluster of two workers with a slot each.
    pub(crate) fn on_cluster(name: &str) -> Example {
        let mut example = Example::copy(name);
        example.on_cluster = true;
        example.printed(&["cluster", "start", "-n", "2", "-j", "1"]);
        example
    }

    /// A path below the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The text of a file.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs `dagrun` in the folder; programs that it starts find it by its name.
    pub(crate) fn dagrun(&self, arguments: &[&str]) -> Output {
        let program = Path::new(env!("CARGO_BIN_EXE_dagrun"));
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", program.parent().unwrap().display()))
            .env("DAGRUN_CLUSTERS_DIR", self.path(".clusters"))
            .env_remove("DAGRUN_CLUSTER")
            .env_remove("DAGRUN_STATE_DIR")
            .stdin(Stdio::null());
        if self.on_cluster {
            command.env("DAGRUN_CLUSTER", "default");
        }
        command.output().unwrap()
    }

    /// What `dagrun` writes to standard error, expecting an exit code.
    pub(crate) fn exits(&self, arguments: &[&str], code: i32) -> String {
        let output = self.dagrun(arguments);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}");
        printed
    }

    /// Submits the pipeline, expecting an exit code; what was written to standard error.
    pub(crate) fn submit(&self, options: &[&str], code: i32) -> String {
        self.exits(&[&["submit", "pipeline.toml"], options].concat(), code)
    }

    /// What `dagrun` prints, expecting success.
    pub(crate) fn printed(&self, arguments: &[&str]) -> String {
        let output = self.dagrun(arguments);
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {printed}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The instances of the last run, by `status --instances --json`.
    pub(crate) fn instances(&self) -> Vec<Value> {
        let lines = self.printed(&["status", "last", "--instances", "--json"]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The states of a task's instances in the last run.
    pub(crate) fn states(&self, task: &str) -> Vec<String> {
        let of_task = |row: &&Value| row["task"] == task;
        let state = |row: &Value| row["state"].as_str().unwrap().to_owned();
        self.instances().iter().filter(of_task).map(state).collect()
    }

    /// What its README shows below a command.
    pub(crate) fn shown(&self, command: &str) -> String {
        let readme = self.read("README.md");
        let after = readme.split_once(&format!("$ {command}\n"));
        let lines = after.unwrap_or_else(|| panic!("README.md has no {command:?}")).1.lines();
        lines
            .take_while(|line| !line.starts_with("$ ") && *line != "```")
            .fold(String::new(), |shown, line| shown + line + "\n")
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        if self.on_cluster {
            self.dagrun(&["cluster", "stop", "--force"]);
        }
    }
}

/// Copies what belongs to an example: not what runs in the original have left, nor sources.
fn copy(from: &Path, to: &Path) {
    const LEFT: [&str; 4] = ["results", "src", "tests", "target"];
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_file() {
            fs::copy(&path, to.join(name)).unwrap();
        } else if !LEFT.contains(&name) && !name.starts_with('.') {
            fs::create_dir(to.join(name)).unwrap();
            copy(&path, &to.join(name));
        }
    }
}

/// The folder of the examples.
pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").canonicalize().unwrap()
}

/// The rows of a table below its headings.
pub(crate) fn rows(csv: &str) -> Vec<Vec<f64>> {
    let row = |line: &str| line.split(',').map(|field| field.parse().unwrap()).collect();
    csv.lines().skip(1).map(row).collect()
}
