//! Workers that are paused, cut off, killed or told to leave, and a scheduler that is stopped for a
//! while.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Cluster, Process, Test, wait_until};

/// Each attempt says that it has begun, writes its output, and waits until it is let go: all of them
/// by `go`, one by `go-ATTEMPT`.
const WAITING: &str = "[task.a]\nsweep = { i = [0, 1] }\nmax-lost = 0\n\
    shell = '''\necho $i $DAGRUN_ATTEMPT >> audit\necho $DAGRUN_ATTEMPT > $out_o\n\
    touch begun-$i-$DAGRUN_ATTEMPT\n\
    while [ ! -e go ] && [ ! -e go-$DAGRUN_ATTEMPT ]; do sleep 0.02; done\n'''\n\
    out.o = 'o-{i}.txt'\n";

/// The same with one instance, which may lose its worker.
fn one() -> String {
    WAITING.replace("[0, 1]", "[0]").replace("max-lost = 0", "max-lost = 3")
}

/// A scheduler that gives workers a lease of this length.
fn scheduler(pipeline: &str, lease: &str) -> (Cluster, Process) {
    let test = Test::new(pipeline);
    let mut scheduler = test.start(&["scheduler", "--cluster", "c", "--lease", lease]);
    scheduler.wait_for_line("listening");
    (Cluster::started(test), scheduler)
}

fn worker(cluster: &Cluster, name: &str, words: &[&str]) -> Process {
    cluster.join(&[&["--name", name, "-j", "1"], words].concat())
}

/// The lines of the audit, sorted; none before the first.
pub(crate) fn audit(cluster: &Cluster) -> Vec<String> {
    let text = std::fs::read_to_string(cluster.0.path("audit")).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn waits_no_more(cluster: &Cluster, file: &str) {
    cluster.0.write(file, "");
    cluster.run(&["wait", "last"]).exits(0);
}

#[test]
fn a_scheduler_that_was_stopped_for_longer_than_a_lease_loses_nobody() {
    let (cluster, mut scheduler) = scheduler(WAITING, "1s");
    let _workers = ["v", "w"].map(|name| worker(&cluster, name, &[]));
    cluster.submit(&["--detach"]).exits(0);
    (0..2).for_each(|i| cluster.0.wait_for_file(&format!("begun-{i}-1")));
    scheduler.signal(Signal::STOP);
    // The pause is what this is about.
    std::thread::sleep(Duration::from_millis(2500));
    scheduler.signal(Signal::CONT);
    waits_no_more(&cluster, "go");
    assert_eq!(audit(&cluster), ["0 1", "1 1"], "nothing was done twice");
    assert_eq!(cluster.run(&["workers", "--json"]).exits(0).json().len(), 2);
}

#[test]
fn what_a_paused_worker_ran_is_not_placed_any_more() {
    let (cluster, _scheduler) = scheduler(&one(), "1s");
    let mut first = worker(&cluster, "first", &[]);
    cluster.submit(&["--detach"]).exits(0);
    cluster.0.wait_for_file("begun-0-1");
    let _second = worker(&cluster, "second", &[]);
    // Its attempt goes on without it.
    first.signal(Signal::STOP);
    cluster.0.wait_for_file("begun-0-2");
    waits_no_more(&cluster, "go-2");
    assert_eq!(cluster.0.read("o-0.txt"), "2\n");
    cluster.0.write("go-1", "");
    first.signal(Signal::CONT);
    wait_until("it is there again", || {
        cluster.run(&["workers", "--json"]).exits(0).json().len() == 2
    });
    // Its only slot is free when it has come to its end there.
    cluster.0.write("next.toml", "[task.b]\nrun = ['true']\ntargets = ['first']\n");
    cluster.run(&["submit", "next.toml", "-q"]).exits(0);
    assert_eq!(cluster.0.read("o-0.txt"), "2\n", "not that of the attempt that was taken away");
    assert_eq!(audit(&cluster), ["0 1", "0 2"]);
    cluster.0.wait_for_no_attempt_dir(".");
}

/// A worker's way to its scheduler, which can be cut.
pub(crate) struct Way {
    address: SocketAddr,
    open: Arc<AtomicBool>,
    lines: Arc<Mutex<Vec<TcpStream>>>,
}

impl Way {
    fn to(scheduler: SocketAddr) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(AtomicBool::new(true));
        let lines = Arc::<Mutex<Vec<TcpStream>>>::default();
        let way = Way { address, open: open.clone(), lines: lines.clone() };
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Some(far) = open.load(Ordering::SeqCst).then(|| TcpStream::connect(scheduler))
                else {
                    continue;
                };
                let Ok(far) = far else { continue };
                let (near_again, far_again) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                lines.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                std::thread::spawn(move || carry(near, far));
                std::thread::spawn(move || carry(far_again, near_again));
            }
        });
        way
    }

    pub(crate) fn cut(&self) {
        self.open.store(false, Ordering::SeqCst);
        self.break_lines();
    }

    pub(crate) fn mend(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    fn break_lines(&self) {
        for line in self.lines.lock().unwrap().drain(..) {
            let _ = line.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// A worker that reaches the scheduler through a way of its own.
pub(crate) fn apart(
    cluster: &Cluster,
    name: &str,
    words: &[&str],
    env: &[(&str, String)],
) -> (Way, Process) {
    let folder = cluster.0.path("clusters/c");
    let text = std::fs::read_to_string(folder.join("worker.json")).unwrap();
    let mut connection: serde_json::Value = serde_json::from_str(&text).unwrap();
    let way = Way::to(connection["address"].as_str().unwrap().parse().unwrap());
    connection["address"] = way.address.to_string().into();
    let mine = cluster.0.path(format!("apart/{name}/c"));
    std::fs::create_dir_all(&mine).unwrap();
    write_private(&mine.join("worker.json"), &connection.to_string());
    let clusters = cluster.0.path(format!("apart/{name}")).display().to_string();
    let words = [&["worker", "--cluster", "c", "--name", name, "-j", "2"], words].concat();
    let env = [env, &[("DAGRUN_CLUSTERS_DIR", clusters)]].concat();
    let mut worker = cluster.0.start_with(&words, &env);
    worker.wait_for_line("joined");
    (way, worker)
}

fn write_private(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let dir = path.parent().unwrap();
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_cut_line_loses_nothing() {
    let (cluster, _scheduler) = scheduler(WAITING, "10m");
    let (way, _worker) = apart(&cluster, "far", &[], &[]);
    cluster.submit(&["--detach"]).exits(0);
    (0..2).for_each(|i| cluster.0.wait_for_file(&format!("begun-{i}-1")));
    way.cut();
    let note = || {
        let workers = cluster.run(&["workers", "--json"]).exits(0).json();
        workers[0]["note"].as_str().unwrap_or("").to_owned()
    };
    wait_until("the cut is noticed", || note().contains("line is cut"));
    // They end while nobody can be told.
    cluster.0.write("go", "");
    way.mend();
    cluster.run(&["wait", "last"]).exits(0);
    assert_eq!(audit(&cluster), ["0 1", "1 1"], "nothing was done twice");
    assert_eq!((0..2).map(|i| cluster.0.read(&format!("o-{i}.txt"))).collect::<String>(), "1\n1\n");
}

#[test]
fn lines_that_are_cut_again_and_again_lose_nothing_either() {
    let many = "[task.a]\nsweep = { i = { range = '0..400' } }\nmax-lost = 0\n\
        shell = 'echo $i $DAGRUN_ATTEMPT >> audit; echo $i; sleep 0.01'\ncapture = 'json'\n";
    let (cluster, _scheduler) = scheduler(many, "10m");
    let (way, _worker) = apart(&cluster, "far", &[], &[]);
    cluster.submit(&["--detach"]).exits(0);
    let done = || audit(&cluster).len();
    for at in [20, 60, 100, 140, 180, 220, 260, 300, 340] {
        wait_until("more are done", || done() >= at);
        way.break_lines();
    }
    cluster.run(&["wait", "last"]).exits(0);
    let mut expected: Vec<String> = (0..400).map(|i| format!("{i} 1")).collect();
    expected.sort();
    assert_eq!(audit(&cluster), expected, "each once, with its first attempt");
}

#[test]
fn the_work_of_a_killed_worker_does_not_wait_for_the_end_of_its_lease() {
    let (cluster, _scheduler) = scheduler(&one(), "10m");
    let mut first = worker(&cluster, "first", &[]);
    cluster.submit(&["--detach"]).exits(0);
    cluster.0.wait_for_file("begun-0-1");
    let _second = worker(&cluster, "second", &[]);
    first.signal(Signal::KILL);
    cluster.0.wait_for_file("begun-0-2");
    waits_no_more(&cluster, "go");
    assert_eq!(cluster.places("a"), ["second"]);
}

#[test]
fn a_worker_told_to_stop_finishes_what_runs_and_takes_nothing_new() {
    let (cluster, _scheduler) = scheduler(WAITING, "30s");
    let mut first = worker(&cluster, "first", &[]);
    cluster.submit(&["--detach"]).exits(0);
    cluster.0.wait_for_file("begun-0-1");
    first.signal(Signal::TERM);
    let _second = worker(&cluster, "second", &[]);
    cluster.0.wait_for_file("begun-1-1");
    waits_no_more(&cluster, "go");
    first.end().exits(0);
    assert_eq!(cluster.places("a"), ["first", "second"]);
    assert_eq!(audit(&cluster), ["0 1", "1 1"]);
}

#[test]
fn graceful_stops_cost_neither_retries_nor_max_lost() {
    let pipeline = WAITING.replace("[0, 1]", "[0]");
    let (cluster, _scheduler) = scheduler(&pipeline, "30s");
    let mut present = worker(&cluster, "w0", &["--drain", "0s"]);
    cluster.submit(&["--detach"]).exits(0);
    for at in 1..=4 {
        cluster.0.wait_for_file(&format!("begun-0-{at}"));
        let next = worker(&cluster, &format!("w{at}"), &["--drain", "0s"]);
        present.signal(Signal::TERM);
        present.end().exits(0);
        present = next;
    }
    cluster.0.wait_for_file("begun-0-5");
    waits_no_more(&cluster, "go");
    assert_eq!(audit(&cluster), ["0 1", "0 2", "0 3", "0 4", "0 5"]);
    let explained = cluster.run(&["explain", "last", "a[0]"]).exits(0);
    assert_eq!(explained.stdout.matches("its worker left").count(), 4, "{}", explained.stdout);
}

#[test]
fn no_attempt_is_started_twice_however_many_workers_are_killed() {
    let many = "[task.a]\nsweep = { i = { range = '0..1500' } }\n\
        shell = 'echo $i $DAGRUN_ATTEMPT >> audit'\n";
    let (cluster, _scheduler) = scheduler(many, "10m");
    let start = |at: usize| {
        let name = format!("w{at}");
        cluster.join(&["--name", &name, "-j", "2"])
    };
    let mut workers: Vec<Process> = (0..3).map(start).collect();
    cluster.submit(&["--detach"]).exits(0);
    let done = || audit(&cluster).len();
    for kill in 0..8 {
        wait_until("more are done", || done() > 150 * (kill + 1));
        workers.remove(0).signal(Signal::KILL);
        workers.push(start(kill + 3));
    }
    cluster.run(&["wait", "last"]).exits(0);
    let started = audit(&cluster);
    let mut twice = started.windows(2).filter(|pair| pair[0] == pair[1]);
    assert_eq!(twice.next(), None, "an attempt was started twice");
    let word = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let mut instances: Vec<String> = started.iter().map(|line| word(line)).collect();
    instances.dedup();
    instances.sort();
    instances.dedup();
    assert_eq!(instances.len(), 1500);
}

#[test]
fn a_task_that_kills_its_worker_is_found_and_the_others_are_not_blamed() {
    // It ends its worker at once, long before the scheduler would hear that it runs.
    let killer = "[task.killer]\nmax-lost = 1\n\
        shell = 'kill -9 $(cut -d\" \" -f4 /proc/$$/stat)'\n\
        [task.a]\nsweep = { i = { range = '0..60' } }\nmax-lost = 1\nafter = 'first'\n\
        run = ['sleep', '0.01']\n[task.first]\nrun = ['true']\n";
    let (cluster, _scheduler) = scheduler(killer, "10m");
    let mut workers: Vec<Process> =
        (0..5).map(|at| worker(&cluster, &format!("w{at}"), &[])).collect();
    cluster.submit(&["-q"]).exits(1);
    let states = |task: &str| {
        let rows = cluster.instances(task);
        let states = rows.iter().map(|row| row["state"].as_str().unwrap_or("").to_owned());
        states.collect::<std::collections::BTreeSet<String>>()
    };
    assert_eq!(Vec::from_iter(states("killer")), ["failed"]);
    assert_eq!(Vec::from_iter(states("a")), ["succeeded"]);
    // Two that it is blamed for, and one more if it had waited there behind another.
    let ended = workers.iter_mut().filter_map(|worker| worker.has_ended().then_some(())).count();
    assert!((2..=3).contains(&ended), "{ended}");
}

#[test]
fn what_killed_workers_left_is_removed() {
    let (cluster, _scheduler) = scheduler(&one(), "10m");
    let temporary = cluster.0.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let left = || std::fs::read_dir(&temporary).unwrap().count();
    let start = |name: &str| {
        let words = ["worker", "--cluster", "c", "--name", name, "-j", "1"];
        let dir = temporary.display().to_string();
        let mut worker = cluster.0.start_with(&words, &[("TMPDIR", dir)]);
        worker.wait_for_line("joined");
        worker
    };
    // Its reaper, which starts with it, removes it.
    let mut first = start("first");
    cluster.submit(&["--detach"]).exits(0);
    cluster.0.wait_for_file("begun-0-1");
    assert_eq!(left(), 1);
    first.signal(Signal::KILL);
    wait_until("its directory is removed", || left() == 0);
    // Where that has ended too, the next worker does.
    let forsaken = temporary.join("dagrun-worker-0123");
    std::fs::create_dir(&forsaken).unwrap();
    std::fs::write(forsaken.join("alive"), "").unwrap();
    let _second = start("second");
    assert!(!forsaken.exists());
    waits_no_more(&cluster, "go");
}

#[test]
fn a_scheduler_that_was_killed_goes_on_with_its_runs_when_it_is_there_again() {
    let (cluster, mut first) = scheduler(WAITING, "2s");
    let _worker = worker(&cluster, "w", &[]);
    cluster.submit(&["--detach"]).exits(0);
    cluster.0.wait_for_file("begun-0-1");
    first.signal(Signal::KILL);
    first.end();
    let mut second = cluster.0.start(&["scheduler", "--cluster", "c", "--lease", "2s"]);
    second.wait_for_line("listening");
    wait_until("it has taken the run over", || {
        let run = cluster.run(&["status", "last", "--json"]).exits(0).json();
        run[0]["state"] == "running"
    });
    // Before it hands anything out, whoever asks waits with it.
    let waiting = cluster.0.start(&["wait", "last", "--cluster", "c"]);
    second.wait_for_line("goes on with run 1");
    waits_no_more(&cluster, "go");
    waiting.end().exits(0);
    // The worker has found it by itself, and what it runs goes on. After a kill no number is used that may
    // have been.
    assert_eq!(audit(&cluster), ["0 1", "1 2"]);
    assert_eq!((0..2).map(|i| cluster.0.read(&format!("o-{i}.txt"))).collect::<String>(), "1\n2\n");
}

#[test]
fn a_scheduler_with_a_history_of_its_own_is_not_taken_for_the_one_before() {
    let (cluster, mut first) = scheduler(&one(), "10m");
    let _worker = worker(&cluster, "w", &[]);
    cluster.submit(&["--detach"]).exits(0);
    cluster.0.wait_for_file("begun-0-1");
    first.signal(Signal::KILL);
    first.end();
    let mut second = cluster.0.start(&["scheduler", "--cluster", "c", "--state-dir", "another"]);
    second.wait_for_line("listening");
    // Its first run has the number that the other one's had, and so has its first attempt.
    cluster.0.write("next.toml", "[task.b]\nshell = 'echo b > $out_o'\nout.o = 'b.txt'\n");
    cluster.run(&["submit", "next.toml", "-q"]).exits(0);
    assert_eq!(cluster.0.read("b.txt"), "b\n");
    assert!(!cluster.0.path("o-0.txt").exists(), "nothing is placed for the one before");
}
