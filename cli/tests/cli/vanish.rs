//! A state directory that is removed, cut off, damaged or taken over by a newer version while a run goes on:
//! noticed at the next commit, and what is there is left alone.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use rusqlite::Connection;

use crate::harness::{Cluster, Test};

const WAITS: &str = r#"
    [task.a]
    shell = 'touch begun; until [ -e go ]; do sleep 0.02; done'
    [task.b]
    after = "a"
    sweep = { x = { range = "0..20" } }
    run = "true"
"#;

/// What somebody does to a database, and what is said of it.
type Case = (&'static str, fn(&Path), &'static str);

const CASES: &[Case] = &[
    (
        "the state directory is removed",
        |path| fs::remove_dir_all(path.parent().unwrap()).unwrap(),
        "has been removed or replaced",
    ),
    (
        "the database is removed",
        |path| fs::remove_file(path).unwrap(),
        "has been removed or replaced",
    ),
    (
        "its log is removed",
        |path| fs::remove_file(path.with_extension("db-wal")).unwrap(),
        "has been removed or replaced",
    ),
    ("it is cut off", |path| drop(File::create(path).unwrap()), "is damaged"),
    (
        "its beginning is overwritten",
        |path| {
            let mut file = OpenOptions::new().write(true).open(path).unwrap();
            file.write_all(&[b'x'; 100]).unwrap();
        },
        "is damaged",
    ),
    (
        "another is put in its place",
        |path| {
            fs::write(path.with_extension("new"), "mine").unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        },
        "has been removed or replaced",
    ),
    (
        "a newer version takes it",
        |path| {
            let database = Connection::open(path).unwrap();
            database.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
            database.pragma_update(None, "user_version", 1000).unwrap();
        },
        "was written by a newer dagrun",
    ),
];

#[test]
fn an_embedded_run_says_what_became_of_its_state_directory() {
    for (what, happens, said) in CASES {
        let test = Test::new(WAITS);
        // There is something to lose.
        test.write("earlier.toml", "[task.a]\nrun = 'true'");
        test.run(&["submit", "earlier.toml", "-q"]).exits(0);
        let process = test.start(&["submit", "pipeline.toml", "-q"]);
        test.wait_for_file("begun");
        let path = test.path(".dagrun/dagrun.db");
        happens(&path);
        let left = fs::read(&path).ok();
        test.write("go", "");
        let outcome = process.end();
        assert_eq!(outcome.status.code(), Some(1), "{what}: {outcome:?}");
        let outcome = outcome.err_has(said).err_has("dagrun.db").err_has("--state-dir DIR");
        if !said.contains("newer") {
            assert_eq!(fs::read(&path).ok(), left, "{what}: {outcome:?}");
        }
        test.run(&["submit", "earlier.toml", "-q", "--state-dir", "beside"]).exits(0);
    }
}

#[test]
fn a_scheduler_says_so_to_those_who_wait_and_to_those_who_come() {
    for (what, happens, said) in &CASES[1..3] {
        let cluster = Cluster::start(Test::new(WAITS), "1");
        let process = cluster.0.start(&["submit", "pipeline.toml", "-q", "--cluster", "c"]);
        cluster.0.wait_for_file("begun");
        happens(&cluster.0.path("clusters/c/state/dagrun.db"));
        cluster.0.write("go", "");
        let outcome = process.end();
        assert_eq!(outcome.status.code(), Some(1), "{what}: {outcome:?}");
        outcome.err_has(said);
        let outcome = cluster.submit(&["-q"]);
        assert_ne!(outcome.status.code(), Some(0), "{what}");
        outcome.err_has(said);
    }
}
