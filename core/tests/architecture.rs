//! The modules of this crate form layers, and so do those of the scheduler and of the worker: none
//! imports from one above it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of this crate, the lowest first: each may import from those before it, and from no other.
const FLOORS: &[&str] = &[
    // Words and numbers.
    "hash", "ids", "layout", "causes", "output", "url", "value", "template", "offer", "status",
    "payload", "space", "spelling", "shell",
    "problem", // A pipeline, and what is derived from it.
    "pipeline", "grids", "resolve", "recipe", "engine", "graph", "check", "warn", "simulate",
    "draw", // The format, reading and writing.
    "parse", "pretty", "unparse", // What is asked of instances, and shown of them.
    "select", "table", "alike", // It only names the others.
    "lib",
];

/// Those of the scheduler.
const SCHEDULER: &[&str] = &[
    // Whom to connect to, what may run, and what is on disk.
    "planted",
    "holding",
    "connection",
    "submission",
    "journal", // Reading and writing it: these do not know each other.
    "history",
    "store", // The state machine's host, then those who talk to it.
    "driver",
    "simulated",
    "server",
    "lib",
];

/// Those of the worker.
const WORKER: &[&str] = &[
    // What an attempt is, and what it needs.
    "control",
    "core", // What waits, runs and is reported, without threads and sockets.
    "descriptors",
    "attempt",
    "space",
    "checkpoint",
    "data",
    "lease",
    "outputs",
    "scratch",
    "temporary",
    "values",
    "copies",
    "groups",
    "orphans",
    "memory",
    "machine",
    "capture",
    "output",
    "program", // Functions and processes, then who runs either.
    "function",
    "process",
    "runner",
    "slots",
    "runs", // The scheduler's side.
    "reports",
    "reaper",
    "service",
    "session",
    "simulated",
    "handle",
    "lib",
];

/// Which floors the modules of a folder have.
const CRATES: &[(&str, &[&str])] =
    &[("core/src", FLOORS), ("scheduler/src", SCHEDULER), ("worker/src", WORKER)];

/// The files of the state machine, likewise.
const ENGINE: &[&str] = &[
    // Events and actions, and data that do not know each other's owners.
    "transition",
    "clause",
    "cause",
    "resumed",
    "plan",
    "again",
    "restore",
    "reopening",
    "event",
    "needs",
    "ready",
    "rank",
    "groups",
    "strain",
    "claims",
    "workers",
    "scheme",
    "deadlines", // A run, then a run with its shared state.
    "run",
    "held",
    "turn", // The operations on it, by topic.
    "cascade",
    "cancel",
    "follow",
    "widths",
    "past",
    "values",
    "temporary",
    "demand",
    "apart",
    "dispatch",
    "attempts",
    "adopt",
    "presence",
    "refusal",
    "remade",
    "wake",
    // For observers.
    "explain",
    "invariants",
    "mod",
];

/// An import of a module of this crate.
#[derive(Debug)]
struct Import {
    /// `core/src/graph/only.rs:4`.
    place: String,
    of: String,
    from: String,
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The modules named by `crate::NAME` and `crate::{NAME, …}` in a line of code.
fn named(line: &str) -> Vec<String> {
    named_in("crate::", line)
}

fn named_in(root: &str, line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or_default();
    let end = |c: char| !c.is_ascii_lowercase() && c != '_';
    let mut names = Vec::new();
    for (at, start) in code.match_indices(root) {
        let rest = &code[at + start.len()..];
        let listed = rest.strip_prefix('{').map(|list| list.split(',').map(str::trim).collect());
        let parts: Vec<&str> = listed.unwrap_or_else(|| vec![rest]);
        let first = parts.iter().filter_map(|part| part.split(end).next());
        names.extend(first.filter(|name| !name.is_empty()).map(str::to_owned));
    }
    names
}

/// What each file of a crate imports, its tests apart.
fn imports(sources_of: &str) -> (BTreeSet<String>, Vec<Import>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(sources_of);
    let mut files = Vec::new();
    sources(&root, &mut files);
    let (mut modules, mut imports) = (BTreeSet::new(), Vec::new());
    for file in files.iter().filter(|file| !file.to_string_lossy().ends_with("tests.rs")) {
        let within = file.strip_prefix(&root).unwrap();
        let first = within.components().next().unwrap();
        let of = Path::new(first.as_os_str()).file_stem().unwrap().to_str().unwrap().to_owned();
        modules.insert(of.clone());
        let text = fs::read_to_string(file).unwrap();
        let lines = (1..).zip(text.lines()).take_while(|(_, line)| *line != "mod tests {");
        for (number, line) in lines {
            let place = || format!("{sources_of}/{}:{number}", within.display());
            let import = |from| Import { place: place(), of: of.clone(), from };
            imports.extend(named(line).into_iter().filter(|from| *from != of).map(import));
        }
    }
    (modules, imports)
}

#[test]
fn no_module_imports_from_one_above_it() {
    for (sources_of, floors) in CRATES {
        check(sources_of, floors);
    }
}

fn check(sources_of: &str, floors: &[&str]) {
    let (modules, imports) = imports(sources_of);
    let listed: BTreeSet<String> = floors.iter().map(|module| (*module).to_owned()).collect();
    assert_eq!(modules, listed, "{sources_of}: every module has its floor, and nothing else has");
    assert!(imports.len() > 25, "{sources_of}: the imports are not found any more: {imports:?}");
    let floor = |module: &str| floors.iter().position(|known| *known == module);
    let wrong: Vec<String> = imports
        .iter()
        .filter(|import| floor(&import.from).is_some_and(|from| Some(from) > floor(&import.of)))
        .map(|import| {
            let Import { place, of, from } = import;
            format!("{place}: `{of}` imports from `{from}`, which stands above it")
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}\nThe floors, the lowest first: {floors:?}", wrong.join("\n"));
}

#[test]
fn no_file_of_the_engine_imports_from_one_above_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine");
    let mut files = Vec::new();
    sources(&folder, &mut files);
    let (mut found, mut imports, mut wrong) = (BTreeSet::new(), 0, Vec::new());
    for file in &files {
        let of = file.file_stem().unwrap().to_str().unwrap();
        found.insert(of);
        let floor = |module: &str| ENGINE.iter().position(|known| *known == module);
        let text = fs::read_to_string(file).unwrap();
        let lines = text.lines().take_while(|line| *line != "mod tests {");
        for from in lines.flat_map(|line| named_in("super::", line)) {
            imports += usize::from(floor(&from).is_some());
            if floor(&from) > floor(of) {
                wrong.push(format!("`{of}` imports from `{from}`, which stands above it"));
            }
        }
    }
    assert_eq!(found, ENGINE.iter().copied().collect(), "every file has its floor in ENGINE");
    assert!(imports > 50, "the imports are not found any more");
    assert!(wrong.is_empty(), "\n{}\nThe floors, the lowest first: {ENGINE:?}", wrong.join("\n"));
}

#[test]
fn imports_are_found_in_code_only() {
    assert_eq!(named("use crate::graph::Graph;"), ["graph"]);
    assert_eq!(named("    use crate::{graph, status::State};"), ["graph", "status"]);
    assert_eq!(named("fn f(a: crate::url::A) -> crate::ids::B;"), ["url", "ids"]);
    assert_eq!(named("/// See [`crate::graph::Graph`]."), <[&str; 0]>::default());
    assert_eq!(named("state: 1, // as crate::engine does"), <[&str; 0]>::default());
}
