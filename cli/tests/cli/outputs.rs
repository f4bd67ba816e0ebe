//! What outputs replace, what they are called while they are written, and what is left of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::harness::{Test, wait_until};

/// The hidden names below a directory that attempts made.
fn leftovers(test: &Test, dir: &str) -> Vec<String> {
    let entries = fs::read_dir(test.path(dir)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".dagrun-")).collect()
}

#[expect(clippy::print_stderr, reason = "what is skipped is said")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

const O: &str = "[task.a]\nrun = ['sh', '-c', 'echo new > \"$1\"', 'sh', '{out.o}']\nout.o = 'o'\n";

#[test]
fn check_and_submit_refuse_what_is_never_replaced() {
    for kind in ["link", "dangling link", "link to directory", "fifo", "socket", "device"] {
        let test = Test::new(O);
        let (path, words) = (
            test.path("o"),
            match kind {
                "fifo" => "`o` is a named pipe",
                "socket" => "`o` is a socket",
                "device" => "`o` is a device",
                _ => "`o` is a symbolic link to `to`",
            },
        );
        match kind {
            "link" => test.write("to", "precious"),
            "link to directory" => fs::create_dir(test.path("to")).unwrap(),
            _ => {}
        }
        match kind {
            "fifo" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
            "socket" => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
            "device" => {
                let made = Command::new("mknod").arg(&path).args(["c", "1", "3"]).output();
                if !made.is_ok_and(|made| made.status.success()) {
                    skipped("only root makes devices");
                    continue;
                }
            }
            _ => symlink("to", &path).unwrap(),
        }
        let before = fs::symlink_metadata(&path).unwrap().file_type();
        for words_of in [&["check", "pipeline.toml"][..], &["submit", "pipeline.toml"]] {
            test.run(words_of).exits(2).out("").err_has(words).err_has("pipeline.toml:3");
        }
        assert_eq!(fs::symlink_metadata(&path).unwrap().file_type(), before, "{kind}");
        assert!(!test.path(".dagrun").exists(), "{kind}: something ran");
        if kind == "link" {
            assert_eq!(test.read("to"), "precious");
        }
    }
}

#[test]
fn what_is_known_only_in_the_run_is_refused_there() {
    let test = Test::new(
        "[task.v]\nrun = 'echo o'\ncapture = 'text'\n\
         [task.a]\nrun = ['touch', '{out.o}']\nout.o = '{v.value}'\n",
    );
    symlink("to", test.path("o")).unwrap();
    test.submit(&[]).exits(1).err_has("o is a symbolic link to `to`");
    assert!(fs::symlink_metadata(test.path("o")).unwrap().is_symlink());
    assert!(leftovers(&test, ".").is_empty());
}

#[test]
fn files_and_directories_are_replaced_run_after_run() {
    let test = Test::new(
        "[task.d]\nshell = 'mkdir \"$out_d\" && echo $DAGRUN_RUN_ID > \"$out_d/f$DAGRUN_RUN_ID\"'\n\
         out.d = 'results/d/'\n\
         [task.e]\nshell = 'mkdir \"$out_e\" && echo $DAGRUN_RUN_ID > \"$out_e/f\"'\nout.e = 'e'\n\
         [task.f]\nshell = 'echo $DAGRUN_RUN_ID > \"$out_f\"'\nout.f = 'f.txt'\n",
    );
    for run in ["1", "2", "3"] {
        test.submit(&[]).exits(0);
        let names: Vec<_> = fs::read_dir(test.path("results/d")).unwrap().collect();
        assert_eq!(names.len(), 1, "what was there is gone as a whole");
        assert_eq!(test.read(&format!("results/d/f{run}")).trim(), run);
        assert_eq!((test.read("e/f").trim(), test.read("f.txt").trim()), (run, run));
    }
    assert!(leftovers(&test, ".").is_empty() && leftovers(&test, "results").is_empty());
}

#[test]
fn the_name_keeps_its_ending() {
    let test = Test::new(
        "[task.t]\nrun = ['tar', '-caf', '{out.t}', 'pipeline.toml']\nout.t = 'x.tar.gz'\n",
    );
    test.submit(&[]).exits(0);
    assert_eq!(fs::read(test.path("x.tar.gz")).unwrap()[..2], [0x1f, 0x8b]);
}

#[test]
fn programs_that_add_an_ending_find_it_there() {
    if Command::new("python3").arg("--version").output().is_err() {
        skipped("there is no python3");
        return;
    }
    // As numpy.save does: the ending is added unless it is there.
    let test = Test::new(
        "[task.t]\nout.t = 'x.npy'\nrun = ['python3', '-c', '''\nimport sys\n\
         name = sys.argv[1]\nif not name.endswith('.npy'): name += '.npy'\n\
         open(name, 'w').write('array')\n''', '{out.t}']\n",
    );
    test.submit(&[]).exits(0);
    assert_eq!(test.read("x.npy"), "array");
}

#[test]
fn a_path_that_the_task_writes_itself_is_explained() {
    let test = Test::new("[task.t]\nshell = 'echo x > x.txt'\nout.t = 'x.txt'\n");
    test.submit(&[]).exits(1).err_has("{out.t}").err_has("\"$out_t\"");
}

#[test]
fn side_files_are_named_in_the_log() {
    let test = Test::new("[task.t]\nshell = 'touch \"$out_t\" \"$out_t.bai\"'\nout.t = 'x.bam'\n");
    test.submit(&[]).exits(0);
    test.run(&["logs", "1"]).exits(0).out_has("x.bam.bai");
    assert!(leftovers(&test, ".").is_empty() && !test.path("x.bam.bai").exists());
}

#[test]
fn what_a_killed_process_left_is_removed_at_the_next_start() {
    let test = Test::new(
        "[vars]\ngo = 'no'\n[task.t]\nout.t = 'x.dat'\n\
         shell = 'echo part > \"$out_t\"; [ $go = yes ] || { echo ready > ready; sleep 600; }'\n",
    );
    let mut process = test.start(&["submit", "pipeline.toml"]);
    test.wait_for_file("ready");
    assert_eq!(leftovers(&test, ".").len(), 1);
    process.signal(rustix::process::Signal::KILL);
    process.end();
    // The attempt itself is ended by the reaper, and what it had written stays until somebody comes.
    wait_until("the killed one lets go of its record", || {
        test.run(&["submit", "pipeline.toml", "--set", "go=yes"]).exits(0);
        leftovers(&test, ".").is_empty()
    });
    assert_eq!(test.read("x.dat"), "part\n");
}
