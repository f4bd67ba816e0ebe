//! A directory in which a page is followed, and what a reader has there.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Server;
use crate::blocks::{Block, Typed, are_like, blocks};

/// Tasks that the keys in a page may mention.
const OTHERS: &str = "[task.a]\nrun = 'true'\n[task.b]\nrun = 'true'\n[task.c]\nrun = 'true'\n";

/// What stands for `cargo`: building is not what a page is tested for, but that what it names is there.
const CARGO: &str = r#"#!/usr/bin/env bash
set -eu
case "$*" in
  "run --release -- "*) shift 3; exec dagrun "$@" ;;
  "run --release --example "*) test -e "$SOURCES/examples/$4.rs" ;;
  "install --locked --path "*) grep -q '^name = "dagrun"' "$SOURCES/$4/Cargo.toml" ;;
  "test --workspace") ;;
  *) echo "nobody expects cargo $*" >&2; exit 1 ;;
esac
"#;

/// A directory in which a page is followed, and the cluster that it may have left behind.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    bucket: Server,
    wrong: Vec<String>,
    status: i32,
}

impl Place {
    pub(crate) fn new() -> Place {
        let photos: Vec<_> = (1..=15).map(|n| format!("photos/2026/{n:02}.raw")).collect();
        let mut objects: Vec<_> = photos.iter().map(|name| (name.as_str(), "-")).collect();
        objects.push(("templates/style.css", "-"));
        let place = Place {
            dir: tempfile::tempdir().unwrap(),
            bucket: Server::start(&objects),
            wrong: Vec::new(),
            status: 0,
        };
        for dir in ["home", "tools/bin"] {
            fs::create_dir_all(place.dir.path().join(dir)).unwrap();
        }
        let cargo = place.dir.path().join("tools/bin/cargo");
        fs::write(&cargo, CARGO).unwrap();
        rustix::fs::chmod(&cargo, rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        place
    }

    /// Where the reader's files are.
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn bash(&self, script: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_dagrun")).parent().unwrap().display();
        let tools = self.dir.path().join("tools");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut bash = Command::new("bash");
        bash.args(["-c", script])
            .current_dir(self.here())
            .env("PATH", format!("{}:{program}:{path}", tools.join("bin").display()))
            .env("TOOLS", &tools)
            .env("SOURCES", Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .envs(self.bucket.env())
            .env("DAGRUN_CLUSTERS_DIR", tools.join("clusters"))
            .env_remove("DAGRUN_CLUSTER")
            .env_remove("DAGRUN_STATE_DIR")
            .stdin(Stdio::null());
        bash
    }

    /// Follows a page; what differs from it, in words.
    pub(crate) fn follow(mut self, page: &str) -> Vec<String> {
        let mut lacks = false;
        for block in blocks(page) {
            match block {
                Block::Heading => lacks = false,
                Block::Needs(needs) => lacks |= self.lacks(needs),
                _ if lacks => {}
                Block::File(name, text) => fs::write(self.here().join(name), text).unwrap(),
                Block::Console(all) => all.into_iter().for_each(|typed| self.type_in(typed)),
                Block::Pipeline(line, text) => self.check(line, &text),
                Block::Keys(line, all) => {
                    for key in all {
                        let task = "[task.d]\nrun = 'true'\n";
                        self.check(line, &format!("{OTHERS}{task}{key}\n"));
                    }
                }
                Block::Json(line, text) => self.parse(line, &text),
                Block::Other(line, language) => {
                    if !["text", "mermaid"].contains(&language.as_str()) {
                        self.wrong.push(format!("line {line}: nobody runs this {language}"));
                    }
                }
            }
        }
        std::mem::take(&mut self.wrong)
    }

    /// Whether a program is missing that a part of the page needs, or a module of Python.
    fn lacks(&self, needs: &str) -> bool {
        let script = match needs.split_once(' ') {
            Some((python, module)) => format!("{python} -c 'import {module}'"),
            None => format!("{needs} --version"),
        };
        let output = self.bash(&script).output();
        let lacks = !output.is_ok_and(|output| output.status.success());
        if lacks {
            // Not by a macro, whose words are seen only when the test fails.
            let _ = writeln!(std::io::stderr(), "SKIPPED: a part of a page, for lack of {needs}");
        }
        lacks
    }

    /// The directory where the last command ended.
    fn here(&self) -> PathBuf {
        let here = fs::read_to_string(self.dir.path().join("tools/cwd")).unwrap_or_default();
        self.home().join(here.trim_end())
    }

    /// Types a command, in the directory where the one before it ended, with its `$?`.
    fn type_in(&mut self, Typed { line, command, shown }: Typed<'_>) {
        let script = format!(
            "(exit {})\n{command}\n_status=$?\npwd > \"$TOOLS/cwd\"; exit $_status",
            self.status
        );
        let output = self.bash(&script).output().unwrap();
        self.status = output.status.code().unwrap_or(255);
        let printed = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        let printed = String::from_utf8_lossy(&printed);
        let lines: Vec<&str> = printed.trim_end().lines().collect();
        // Progress is not shown; a page that shows nothing says that it went well.
        let is_right = match shown.is_empty() {
            true => self.status == 0 && output.stdout.is_empty(),
            false => are_like(&shown, &lines),
        };
        if !is_right {
            let shown = shown.join("\n");
            self.wrong.push(format!(
                "line {line}: $ {command}\nshown:\n{shown}\nprinted ({}):\n{printed}",
                self.status
            ));
        }
    }

    /// Checks a pipeline of which nobody says what it is called.
    fn check(&mut self, line: usize, text: &str) {
        fs::write(self.here().join("page.toml"), text).unwrap();
        let output = self.bash("dagrun check page.toml").output().unwrap();
        if !output.status.success() {
            let printed = String::from_utf8_lossy(&output.stderr);
            self.wrong.push(format!("line {line}: the pipeline\n{text}is refused:\n{printed}"));
        }
    }

    fn parse(&mut self, line: usize, text: &str) {
        let is_json = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
        if !is_json(text) && !text.lines().all(is_json) {
            self.wrong.push(format!("line {line}: no JSON: {text}"));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Ok(clusters) = fs::read_dir(self.dir.path().join("tools/clusters")) {
            for cluster in clusters.flatten() {
                let name = cluster.file_name().to_string_lossy().into_owned();
                let stop = format!("dagrun cluster stop --force --cluster '{name}'");
                let _ = self.bash(&stop).output();
            }
        }
    }
}
