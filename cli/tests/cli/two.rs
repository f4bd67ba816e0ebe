//! Two of a kind: two schedulers on one state directory, two of one cluster name, two submits of one file.
//! And a state directory that is not what it was when a command begins.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::harness::{Cluster, Test};

const SMALL: &str = "[task.a]\nshell = 'echo said; echo also >&2'\n";

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

#[test]
fn two_schedulers_on_one_state_directory() {
    let test = Test::new(SMALL);
    let mut first = test.start(&["scheduler", "--cluster", "c", "--state-dir", "s"]);
    first.wait_for_line("listening");
    let second = || test.start(&["scheduler", "--cluster", "d", "--state-dir", "s"]);
    second()
        .end()
        .exits(1)
        .err_has("/s has a scheduler already: ")
        .err_has(&format!("process {} on {}, since 20", first.pid(), host()))
        .err_has("--state-dir DIR");
    // It is the kernel's: who is killed holds nothing.
    first.signal(Signal::KILL);
    first.end();
    let mut second = second();
    second.wait_for_line("listening");
    second.signal(Signal::TERM);
    second.end();
}

#[test]
fn two_schedulers_of_one_cluster_name() {
    let test = Test::new(SMALL);
    let mut first = test.start(&["scheduler", "--cluster", "c", "--state-dir", "s"]);
    first.wait_for_line("listening");
    test.run(&["scheduler", "--cluster", "c", "--state-dir", "t"])
        .exits(1)
        .err_has("cluster c has a scheduler already: ")
        .err_has(&format!("process {} on {}, since 20", first.pid(), host()));
    test.run(&["cluster", "start", "-n", "1", "--cluster", "c"])
        .exits(1)
        .err_has(&format!("process {}", first.pid()));
    first.signal(Signal::KILL);
    first.end();
    let cluster = Test::run(&test, &["cluster", "start", "-n", "1", "--cluster", "c"]);
    cluster.exits(0);
    drop(Cluster::started(test));
}

#[test]
fn two_submits_of_one_file() {
    let test = Test::new(
        "[task.a]\nshell = 'touch begun-$$; until [ -e go ]; do sleep 0.02; done; echo x > \"$out_f\"'\n\
         out.f = 'product'\n",
    );
    let begun = || {
        let names = fs::read_dir(test.path(".")).unwrap().flatten();
        names.filter(|name| name.file_name().to_string_lossy().starts_with("begun")).count()
    };
    let first = test.start(&["submit", "pipeline.toml"]);
    crate::harness::wait_until("the first runs", || begun() == 1);
    let second = test.start(&["submit", "pipeline.toml"]);
    crate::harness::wait_until("both run", || begun() == 2);
    test.write("go", "");
    first.end().exits(0).err_lacks("also writes");
    second.end().exits(0).err_has("run 1, which is running, also writes product");
    assert_eq!(test.read("product"), "x\n");
    test.run(&["runs"]).exits(0).out_has("1  ").out_has("2  ");
}

/// What somebody does to a state directory that nobody uses, and what is said of it.
type Case = (&'static str, fn(&Path), &'static str);

const CASES: &[Case] = &[
    (
        "its database is missing",
        |db| {
            fs::remove_file(db).unwrap();
        },
        "is missing, but",
    ),
    (
        "its database is empty",
        |db| {
            fs::write(db, "").unwrap();
        },
        "is empty, but",
    ),
    (
        "its header is garbage",
        |db| {
            let mut file = OpenOptions::new().write(true).open(db).unwrap();
            file.write_all(&[b'x'; 100]).unwrap();
        },
        "is damaged",
    ),
    (
        "its database is cut off",
        |db| {
            let file = OpenOptions::new().write(true).open(db).unwrap();
            let bytes = file.metadata().unwrap().len();
            file.set_len(bytes / 2 / 4096 * 4096).unwrap();
        },
        "is damaged",
    ),
    (
        "a newer version has written it",
        |db| {
            let database = rusqlite::Connection::open(db).unwrap();
            database.pragma_update(None, "user_version", 1000).unwrap();
        },
        "was written by a newer dagrun",
    ),
];

/// All files of a directory and what is in them, but for what SQLite keeps beside a database that is read: an
/// index in shared memory, and an empty log.
fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => dirs.push(entry.path()),
                false => found.push((entry.path(), fs::read(entry.path()).unwrap())),
            }
        }
    }
    let is_beside = |path: &Path, of: &[u8]| {
        let name = path.to_string_lossy();
        name.ends_with("-shm") || (name.ends_with("-wal") && of.is_empty())
    };
    found.retain(|(path, of)| !is_beside(path, of));
    found.sort();
    found
}

#[test]
fn a_state_directory_that_lacks_its_database_or_has_another_is_left_alone() {
    for (what, happens, said) in CASES {
        let test = Test::new(SMALL);
        test.submit(&["-q"]).exits(0);
        test.submit(&["-q"]).exits(0);
        happens(&test.path(".dagrun/dagrun.db"));
        let before = content(&test.path(".dagrun"));
        for words in [&["submit", "pipeline.toml"][..], &["runs"], &["status", "last"], &["resume"]]
        {
            let outcome = test.run(words);
            assert_eq!(outcome.status.code(), Some(1), "{what}: {words:?}: {outcome:?}");
            outcome.err_has(said).err_has("dagrun.db").err_has("--state-dir DIR");
        }
        assert!(content(&test.path(".dagrun")) == before, "{what}: something was changed");
        test.submit(&["-q", "--state-dir", "beside"]).exits(0);
    }
}
