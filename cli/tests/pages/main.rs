//! The pages are run: their files are written, their commands typed, and what they print is compared with what
//! the page shows.
//!
//! - A fenced block whose first line is `# NAME.EXT` is a file of that name.
//! - In a `console` block a line that begins with `$ ` is a command for bash, which goes on in lines that begin
//!   with `> `. The lines below it are what it prints: `…` within a line stands for anything, and alone on a line
//!   for any number of lines. Where none are shown, the command succeeds and prints nothing but progress.
//! - Other `toml` is a pipeline, or keys of a task, and must pass `dagrun check`. `json` must be JSON.
//! - Blocks in HTML comments count: they set up what a reader has. `<!-- needs python3 -->` skips what comes
//!   before the next heading where there is no such program, and says so.

#[path = "../../../worker/tests/common/bucket.rs"]
#[allow(dead_code, unreachable_pub)]
mod bucket;

mod blocks;
mod place;

use std::fs;
use std::path::{Path, PathBuf};

use bucket::Server;
use place::Place;

/// Pages that other tests follow: doctests, those of the two folders with programs of their own, and of the
/// example that takes a while.
const ELSEWHERE: [&str; 5] = [
    "docs/design.md",
    "docs/rust.md",
    "examples/monte-carlo/README.md",
    "examples/pi/README.md",
    "examples/wfcommons/README.md",
];

/// The root of the sources.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn follow(page: &str, place: Place) {
    let text = fs::read_to_string(sources().join(page)).unwrap();
    let wrong = place.follow(&text);
    assert!(wrong.is_empty(), "{page} is not what happens:\n\n{}", wrong.join("\n\n"));
}

/// Copies a folder, but not what runs have left there.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_file() {
            fs::copy(&path, to.join(name)).unwrap();
        } else if name != "results" && !name.starts_with('.') {
            copy(&path, &to.join(name));
        }
    }
}

/// A page of an example is followed in a copy of the example, from the root of the sources.
fn follow_example(name: &str) {
    let place = Place::new();
    let folder = Path::new("examples").join(name);
    copy(&sources().join(&folder), &place.home().join(&folder));
    follow(&format!("examples/{name}/README.md"), place);
}

macro_rules! pages {
    ($($test:ident: $page:literal,)*) => {
        const PAGES: &[&str] = &[$($page),*];
        $(#[test]
        fn $test() {
            follow($page, Place::new());
        })*
    };
}

pages! {
    the_readme: "README.md",
    the_command_line: "docs/cli.md",
    the_cookbook: "docs/cookbook.md",
    coming_from: "docs/coming-from.md",
    the_format: "docs/pipeline.md",
    planning: "docs/planning.md",
    reliability: "docs/reliability.md",
    semantics: "docs/semantics.md",
    tables: "docs/tables.md",
    troubleshooting: "docs/troubleshooting.md",
    the_tutorial: "docs/tutorial.md",
}

macro_rules! examples {
    ($($test:ident: $name:literal,)*) => {
        const EXAMPLES: &[&str] = &[$($name),*];
        $(#[test]
        fn $test() {
            follow_example($name);
        })*
    };
}

examples! {
    cleanup: "cleanup",
    convergence: "convergence",
    groups: "groups",
    hello: "hello",
    hyperparameters: "hyperparameters",
    nightly: "nightly",
    paired_reads: "paired-reads",
    scatter: "scatter",
    sweep: "sweep",
}

#[test]
fn every_page_is_followed() {
    let pages = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(sources().join(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let mut all = vec!["README.md".to_owned()];
    all.extend(pages("docs").into_iter().map(|name| format!("docs/{name}")));
    let readmes = pages("examples").into_iter().map(|name| format!("examples/{name}/README.md"));
    all.extend(readmes.filter(|readme| sources().join(readme).exists()));
    all.retain(|page| page.ends_with(".md"));
    let examples = EXAMPLES.iter().map(|name| format!("examples/{name}/README.md"));
    let followed: Vec<_> = PAGES.iter().chain(&ELSEWHERE).map(|page| (*page).to_owned()).collect();
    let followed: Vec<_> = followed.into_iter().chain(examples).collect();
    let lacking: Vec<_> = all.iter().filter(|page| !followed.contains(page)).collect();
    assert!(lacking.is_empty(), "nobody follows {lacking:?}");
}
