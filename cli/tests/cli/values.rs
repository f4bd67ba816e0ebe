//! Long values: from worker to worker, into files for commands, and gone when nobody needs them.

use std::process::Child;

use crate::harness::{Cluster, Test, wait_until};

/// Workers that keep next to nothing in memory, with their temporary files in the test's directory.
struct Small {
    cluster: Cluster,
    workers: Vec<Child>,
}

impl Small {
    /// With workers of these names besides one that is called otherwise.
    fn start(pipeline: &str, names: &[&str]) -> Small {
        let cluster = Cluster::start(Test::new(pipeline), "1");
        std::fs::create_dir(cluster.0.path("tmp")).unwrap();
        let join = |name: &&str| {
            let words = ["worker", "--cluster", "c", "-j", "2", "--memory", "8MiB", "--name", name];
            let mut worker = cluster.0.command(&words);
            worker.env("TMPDIR", cluster.0.path("tmp")).stderr(std::process::Stdio::null());
            worker.spawn().unwrap()
        };
        let workers = names.iter().map(join).collect();
        let small = Small { cluster, workers };
        let expected = names.len() + 1;
        wait_until("the workers have joined", || small.present() == expected);
        small
    }

    fn present(&self) -> usize {
        self.cluster.run(&["workers", "--json"]).exits(0).json().len()
    }

    /// The files of all its workers, below their own directories; the empty ones for temporary files
    /// of attempts stay as long as the workers.
    fn files(&self) -> Vec<std::path::PathBuf> {
        let entries = |dir| std::fs::read_dir(dir).into_iter().flatten().flatten();
        let dirs = entries(self.cluster.0.path("tmp")).map(|entry| entry.path());
        let found = dirs.flat_map(|dir| entries(dir).map(|entry| entry.path()));
        let is_empty =
            |path: &std::path::PathBuf| path.is_dir() && entries(path.clone()).count() == 0;
        let is_slot = |path: &std::path::PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tmp-"))
        };
        // The lock by which others see that the worker lives.
        let is_lock = |path: &std::path::PathBuf| path.ends_with("alive");
        found.filter(|path| !(is_lock(path) || is_slot(path) && is_empty(path))).collect()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

const LONG: &str = "name = 'long'\n\
    [task.make]\nsweep = { x = [0, 1, 2, 3, 4, 5] }\ntargets = ['a']\n\
    run = ['sh', '-c', 'head -c 1000000 /dev/zero | tr \"\\000\" {x}']\ncapture = 'text'\n\
    [task.count]\nmap = 'make'\ntargets = ['b']\n\
    run = ['sh', '-c', 'tr -cd {x} < $0 | wc -c', '{make.value:file}']\ncapture = 'json'\n";

#[test]
fn commands_on_other_workers_find_long_values_in_files() {
    let small = Small::start(LONG, &["a", "b"]);
    small.cluster.submit(&["-q"]).exits(0).silent();
    for index in 0..6 {
        let count = format!("count[{index}]");
        small.cluster.run(&["output", "last", &count]).exits(0).out("1000000\n");
    }
    assert_eq!(small.cluster.places("make")[0], "a");
    assert_eq!(small.cluster.places("count")[0], "b");
    // Values that other tasks were given are gone; those of the run's files have never been.
    small.cluster.run(&["output", "last", "make[0]"]).exits(1);
    wait_until("no file is left", || small.files().is_empty());
}

#[test]
fn values_that_nobody_is_given_are_there_to_be_read() {
    let small = Small::start(
        "[task.make]\nrun = ['sh', '-c', 'head -c 20000000 /dev/zero | tr \"\\000\" y']\n\
         capture = 'text'\n",
        &[],
    );
    small.cluster.submit(&["-q"]).exits(0).silent();
    let value = small.cluster.run(&["output", "last", "make"]).exits(0).stdout;
    assert_eq!((value.len(), value.trim_end_matches('\n').trim_matches('y')), (20_000_001, ""));
    let file = small.cluster.0.path("clusters/c/state/runs/1/values/make-0.json");
    assert_eq!(std::fs::metadata(file).unwrap().len(), 20_000_002);
}

/// Long values that are made from long values, and that wait to be counted. Who runs says so.
const AGAIN: &str = r#"
    [task.base]
    sweep   = { x = [0, 1] }
    targets = ["a", "b"]
    shell   = 'echo base $x $DAGRUN_ATTEMPT >> audit; head -c 200000 /dev/zero | tr "\000" b'
    capture = "text"
    [task.make]
    map     = "base"
    targets = ["a", "b"]
    run     = ["sh", "-c", 'echo make $DAGRUN_INDEX $DAGRUN_ATTEMPT >> audit; tr b m < $0', "{base.value:file}"]
    capture = "text"
    [task.wait]
    after   = "make"
    shell   = 'touch waiting; until [ -e go ]; do sleep 0.01; done'
    [task.count]
    map     = "make"
    after   = "wait"
    run     = ["sh", "-c", 'echo count $DAGRUN_INDEX $DAGRUN_ATTEMPT >> audit; tr -cd m < $0 | wc -c', "{make.value:file}"]
    capture = "json"
"#;

#[test]
fn a_value_whose_worker_has_died_is_made_again() {
    let mut small = Small::start(AGAIN, &["a", "b"]);
    small.cluster.submit(&["--detach"]).exits(0);
    small.cluster.0.wait_for_file("waiting");
    let places = small.cluster.places("make");
    let mut holder = small.workers.remove(usize::from(places[0] == "b"));
    holder.kill().unwrap();
    holder.wait().unwrap();
    wait_until("the worker has gone", || small.present() == 2);
    small.cluster.0.write("go", "");
    small.cluster.run(&["wait", "last"]).exits(0);
    let mut audit = crate::presence::audit(&small.cluster);
    audit.sort_unstable();
    let lost = |index: &usize| places[*index] == places[0];
    let again = |task: &'static str| {
        let second = (0..2).filter(lost).map(move |index| format!("{task} {index} 2"));
        (0..2).map(move |index| format!("{task} {index} 1")).chain(second)
    };
    // What that was made of had been released: it is made again as well. Nobody else has tried twice.
    let counts = (0..2).map(|index| format!("count {index} 1"));
    let mut expected: Vec<String> = again("base").chain(again("make")).chain(counts).collect();
    expected.sort_unstable();
    assert_eq!(audit, expected);
    small.cluster.run(&["output", "last", "count[0]"]).exits(0).out("200000\n");
    let row = &small.cluster.instances("count")[0];
    assert_eq!((&row["state"], &row["attempts"]), (&"succeeded".into(), &1.into()));
    small
        .cluster
        .run(&["explain", "last", "make[0]"])
        .exits(0)
        .out_has("its value or an output is no longer there")
        .out_has("attempt 2 on ");
    wait_until("no file is left", || small.files().is_empty());
    small.workers.push(holder);
}

#[test]
fn who_waits_for_a_value_that_is_made_again_says_so() {
    let pipeline = AGAIN.replace(
        "tr b m < $0",
        "[ $DAGRUN_ATTEMPT = 1 ] || until [ -e made ]; do sleep 0.01; done; tr b m < $0",
    );
    let mut small = Small::start(&pipeline, &["a", "b"]);
    small.cluster.submit(&["--detach"]).exits(0);
    small.cluster.0.wait_for_file("waiting");
    let places = small.cluster.places("make");
    let mut holder = small.workers.remove(usize::from(places[0] == "b"));
    holder.kill().unwrap();
    holder.wait().unwrap();
    small.cluster.0.write("go", "");
    let explained = || small.cluster.run(&["explain", "last", "count[0]"]).exits(0).stdout;
    wait_until("it waits", || explained().contains("make[0]"));
    small.cluster.0.write("made", "");
    small.cluster.run(&["wait", "last"]).exits(0);
    small.workers.push(holder);
}

#[test]
fn raw_output_is_the_text_and_nothing_else() {
    let test = Test::new(
        "[task.a]\nrun = ['printf', '[1,\"x\"]']\ncapture = 'json'\n\
                          [task.b]\nrun = ['printf', 'a\\nb']\ncapture = 'text'",
    );
    test.submit(&["-q"]).exits(0);
    test.run(&["output", "last", "a"]).exits(0).out("[1,\"x\"]\n");
    test.run(&["output", "last", "b"]).exits(0).out("a\nb\n");
    test.run(&["output", "last", "b", "--raw"]).exits(0).out("a\nb");
    test.run(&["output", "last", "a", "--raw"]).exits(0).out("[1,\"x\"]");
}
