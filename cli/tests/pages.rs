//! The pages that readers follow by hand are run: their files are written, their commands typed, and what
//! they print is compared with what the page shows.
//!
//! A fenced block whose first line is `# NAME.EXT` is a file of that name. In a `console` block a line
//! that begins with `$ ` is a command for bash, and the lines below it are what it prints: `…` within
//! a line stands for anything, and alone on a line for any number of lines.

use std::path::Path;
use std::process::{Command, Stdio};

/// A command of a page, and what the page says it prints.
struct Typed<'p> {
    line: usize,
    command: &'p str,
    shown: Vec<&'p str>,
}

enum Block<'p> {
    File(&'p str, String),
    Console(Vec<Typed<'p>>),
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```").filter(|language| !language.is_empty())
        else {
            continue;
        };
        let body: Vec<_> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
        let name = body.first().and_then(|(_, first)| first.strip_prefix("# "));
        let name = name.filter(|name| name.contains('.') && !name.contains(' '));
        if let Some(name) = name {
            let text = body.iter().map(|(_, line)| format!("{line}\n")).collect();
            blocks.push(Block::File(name, text));
        } else if language == "console" {
            blocks.push(Block::Console(typed(&body)));
        }
    }
    blocks
}

fn typed<'p>(body: &[(usize, &'p str)]) -> Vec<Typed<'p>> {
    let mut all: Vec<Typed<'p>> = Vec::new();
    for (at, text) in body {
        if let Some(command) = text.strip_prefix("$ ") {
            all.push(Typed { line: at + 1, command, shown: Vec::new() });
        } else if let Some(last) = all.last_mut() {
            last.shown.push(text);
        }
    }
    all
}

/// Whether a line is as the page shows it.
fn is_like(shown: &str, line: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

fn are_like(shown: &[&str], lines: &[&str]) -> bool {
    match (shown.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((&"…", shown)), _) => {
            (0..=lines.len()).any(|skipped| are_like(shown, &lines[skipped..]))
        }
        (Some((shown, shown_after)), Some((line, lines_after))) => {
            is_like(shown, line) && are_like(shown_after, lines_after)
        }
        _ => false,
    }
}

/// A directory in which a page is followed, and the cluster that it may have left behind.
struct Place(tempfile::TempDir);

impl Place {
    fn bash(&self, script: &str) -> Command {
        let bin = Path::new(env!("CARGO_BIN_EXE_dagrun")).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut bash = Command::new("bash");
        bash.args(["-c", script])
            .current_dir(self.0.path())
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("DAGRUN_CLUSTERS_DIR", self.0.path().join(".clusters"))
            .env_remove("DAGRUN_CLUSTER")
            .env_remove("DAGRUN_STATE_DIR")
            .stdin(Stdio::null());
        bash
    }

    /// Follows a page; what differs from it, in words.
    fn follow(&self, page: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut status = 0;
        for block in blocks(page) {
            let all = match block {
                Block::File(name, text) => {
                    std::fs::write(self.0.path().join(name), text).unwrap();
                    continue;
                }
                Block::Console(all) => all,
            };
            for Typed { line, command, shown } in all {
                // `$?` is that of the command before, as at a prompt.
                let script = format!("(exit {status}); {command}");
                let output = self.bash(&script).output().unwrap();
                status = output.status.code().unwrap_or(255);
                let printed = [output.stdout, output.stderr].concat();
                let printed = String::from_utf8_lossy(&printed);
                let lines: Vec<&str> = printed.trim_end().lines().collect();
                if !are_like(&shown, &lines) {
                    wrong.push(format!(
                        "line {line}: $ {command}\nshown:\n{}\nprinted:\n{printed}",
                        shown.join("\n")
                    ));
                }
            }
        }
        wrong
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.path().join(".clusters").exists() {
            let _ = self.bash("dagrun cluster stop").output();
        }
    }
}

fn is_true(page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let wrong = Place(tempfile::tempdir().unwrap()).follow(&text);
    assert!(wrong.is_empty(), "docs/{page} is not what happens:\n\n{}", wrong.join("\n\n"));
}

#[test]
fn lines_are_compared_with_wildcards() {
    assert!(is_like("a…c", "abc") && is_like("…", "") && is_like("a", "a"));
    assert!(!is_like("a…c", "ab") && !is_like("a", "ab") && !is_like("a…a", "a"));
    assert!(are_like(&["…", "b"], &["x", "b", "b"]) && are_like(&[], &[]));
    assert!(!are_like(&["…", "b"], &["b", "x"]) && !are_like(&[], &["x"]));
}

#[test]
fn the_tutorial_is_what_happens() {
    is_true("tutorial.md");
}
