//! The store's records read back: ranges, retries, skips, reasons, paging.

use std::path::Path;
use std::sync::Arc;

use dagrun_core::engine::{Cause, Record};
use dagrun_core::ids::{Micros, WorkerId};
use dagrun_core::parse::{NoFiles, ParseOptions, parse};
use dagrun_core::payload::{Stored, Whereabouts};
use dagrun_core::pipeline::{Clause, Outcomes, Pipeline, Quantifier, Task, TaskAction};
use dagrun_core::status::{Detail, FailureKind, Stream};
use dagrun_disk::log::{Owner, RunLog, Span};
use dagrun_schema::wire::Scope;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::store::{Command, Haste, Line, NewRun, Reply, RunEnd, Store};

pub(super) fn task(name: &str, after: Vec<Clause>) -> Task {
    Task { after, ..Task::new(name, TaskAction::Shell("true".into())) }
}

pub(super) fn after(task: u32) -> Clause {
    let upstreams = vec![TaskId(task)];
    Clause { upstreams, quantifier: Quantifier::All, on: Outcomes::Success }
}

/// A run in a directory of its own, with records that the test chooses.
pub(super) struct Written {
    pub(super) dir: tempfile::TempDir,
    pub(super) store: Store,
    replies: mpsc::UnboundedReceiver<Reply>,
    pub(super) run: RunId,
    batch: u64,
}

pub(super) fn begin(store: &Store, tasks: &[(&str, u32)], pipeline: &Pipeline) -> RunId {
    let submission = Submission {
        pipeline: serde_json::to_vec(pipeline).unwrap(),
        base_dir: "/tmp".into(),
        seed: u64::MAX,
        fail_fast: false,
        max_fail: None,
    };
    let new = NewRun {
        name: pipeline.name.clone(),
        submission: Arc::new(submission),
        started: Timestamp(1_000),
        tasks: tasks.iter().map(|(name, width)| ((*name).to_owned(), Some(*width))).collect(),
        taken: None,
    };
    let (reply, answer) = oneshot::channel();
    store.send(Command::Begin(Box::new(new), reply), Haste::Now);
    answer.blocking_recv().unwrap().unwrap().run
}

impl Written {
    pub(super) fn new(tasks: &[(&str, u32)], pipeline: &Pipeline) -> Written {
        let dir = tempfile::tempdir().unwrap();
        let (reply_to, replies) = mpsc::unbounded_channel();
        let store = Store::start(dir.path(), None, reply_to).unwrap();
        let run = begin(&store, tasks, pipeline);
        Written { dir, store, replies, run, batch: 0 }
    }

    /// Writes records, and waits for the acknowledgement.
    pub(super) fn append(&mut self, mut records: Vec<Record>, ends: Vec<RunEnd>) {
        for record in &mut records {
            record.run = self.run;
        }
        self.batch += 1;
        let entries = records.into_iter().map(Line::Record).collect();
        self.store.send(Command::Append(self.batch, entries, ends), Haste::Now);
        match self.replies.blocking_recv() {
            Some(Reply::Committed(number)) => assert_eq!(number, self.batch),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn history(&self) -> History {
        History::open(self.dir.path()).unwrap()
    }

    pub(super) fn rows(&self) -> Vec<InstanceRow> {
        let page = self.history().instances(self.run, FIRST, 1_000, false).unwrap();
        assert_eq!(page.next, None);
        page.rows
    }
}

pub(super) fn record(task: u32, first_index: u32, count: u32, state: State) -> Record {
    Record {
        run: RunId(0),
        task: TaskId(task),
        first_index,
        count,
        state,
        attempt: 1,
        worker: Some(WorkerId(1)),
        started: Timestamp(2_000),
        finished: Timestamp(3_000),
        cause: None,
        detail: None,
    }
}

pub(super) fn failed(task: u32, index: u32, attempt: u32, state: State, code: i32) -> Record {
    Record {
        attempt,
        cause: Some(Cause::Attempt(FailureKind::Exit(code))),
        detail: Some(Box::new(Detail {
            reason: format!("exit code {code}"),
            stderr_tail: b"oh\n".to_vec(),
            ..Detail::default()
        })),
        ..record(task, index, 1, state)
    }
}

fn skipped(task: u32, first: u32, count: u32, cause: Cause) -> Record {
    let record = record(task, first, count, State::Skipped);
    Record { attempt: 0, worker: None, started: Timestamp(0), cause: Some(cause), ..record }
}

pub(super) fn pipeline(tasks: Vec<Task>) -> Pipeline {
    Pipeline { name: "p".into(), vars: Vec::new(), tasks }
}

#[test]
fn ranges_retries_and_skips_come_to_one_row_for_each_instance() {
    let definition = pipeline(vec![task("price", vec![]), task("sum", vec![after(0)])]);
    let mut written = Written::new(&[("price", 6), ("sum", 1)], &definition);
    let at = Timestamp(500);
    let (name, host) = ("w7".to_owned(), "h".to_owned());
    written.store.send(Command::joined(WorkerId(1), name, host, at), Haste::Now);
    let root = InstanceId { task: TaskId(0), index: 3 };
    written.append(
        vec![
            record(0, 0, 3, State::Succeeded),
            failed(0, 3, 1, State::Ready, 75),
            failed(0, 3, 2, State::Failed, 3),
            skipped(1, 0, 1, Cause::After { clause: 0, root }),
        ],
        vec![],
    );
    let rows = written.rows();
    let states: Vec<_> = rows.iter().map(|row| row.state.word()).collect();
    let expected =
        ["succeeded", "succeeded", "succeeded", "failed", "blocked", "blocked", "skipped"];
    assert_eq!(states, expected);
    assert_eq!(rows[1].worker.as_deref(), Some("w7"));
    assert_eq!((rows[1].exit_code, rows[1].attempts), (Some(0), 1));
    assert_eq!((rows[3].exit_code, rows[3].attempts), (Some(3), 2));
    assert_eq!(rows[3].reason, "exit code 3");
    assert_eq!((rows[6].attempts, rows[6].worker.as_deref(), rows[6].started), (0, None, None));
    let status = written.history().status(written.run).unwrap();
    assert_eq!(status.tasks[0].counts.of(State::Blocked), 2);
    assert_eq!(status.tasks[1].counts.of(State::Skipped), 1);
    let summary = &written.history().runs(10).unwrap()[0];
    assert_eq!((summary.instances, summary.done, summary.failed), (7, 5, 1));
    let failures = written.history().failures(written.run, 10).unwrap();
    assert_eq!(failures[0].instance, root);
    assert_eq!(failures[0].stderr_tail, b"oh\n");
}

#[test]
fn a_skip_names_its_clause_and_the_root_of_the_chain() {
    let definition = pipeline(vec![
        task("a", vec![]),
        task("b", vec![after(0)]),
        task("c", vec![after(1)]),
        task(
            "d",
            vec![Clause {
                upstreams: vec![TaskId(0), TaskId(1)],
                quantifier: Quantifier::Any,
                on: Outcomes::Success,
            }],
        ),
        task("e", vec![]),
    ]);
    let names = [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1)];
    let mut written = Written::new(&names, &definition);
    let root = InstanceId { task: TaskId(0), index: 0 };
    let cancelled =
        Record { cause: Some(Cause::Cancelled), attempt: 0, ..record(4, 0, 1, State::Cancelled) };
    written.append(
        vec![
            failed(0, 0, 1, State::Failed, 3),
            skipped(1, 0, 1, Cause::After { clause: 0, root }),
            skipped(2, 0, 1, Cause::After { clause: 0, root }),
            skipped(3, 0, 1, Cause::After { clause: 0, root }),
            cancelled,
        ],
        vec![],
    );
    let reasons: Vec<_> = written.rows().into_iter().map(|row| row.reason).collect();
    assert_eq!(
        reasons,
        [
            "exit code 3",
            "after a: a failed: exit code 3",
            "after b: a failed: exit code 3",
            "after any of a, b: a failed: exit code 3",
            "cancelled",
        ]
    );
}

#[test]
fn a_range_of_any_length_is_found_from_any_page() {
    let definition = pipeline(vec![task("wide", vec![]), task("next", vec![])]);
    let width = 100_000;
    let mut written = Written::new(&[("wide", width), ("next", 1)], &definition);
    // A long range, a short one that begins before a page, single ones, and a correction inside.
    written.append(
        vec![
            record(0, 0, 50_000, State::Succeeded),
            record(0, 50_000, 64, State::Succeeded),
            record(0, 50_064, 1, State::Succeeded),
            Record { state: State::Ready, ..record(0, 60_000, 65, State::Ready) },
            Record { attempt: 2, ..record(0, 60_010, 1, State::Failed) },
            Record { attempt: 2, ..record(0, 60_020, 3, State::Failed) },
        ],
        vec![],
    );
    let history = written.history();
    let mut counts = Counts::default();
    let (mut next, mut expected) = (Some(FIRST), 0);
    while let Some(from) = next {
        let page = history.instances(written.run, from, 777, false).unwrap();
        for row in page.rows {
            if row.instance.task == TaskId(0) {
                assert_eq!(row.instance.index, expected);
                expected += 1;
                counts.0[row.state as usize] += 1;
            }
        }
        next = page.next;
    }
    assert_eq!(expected, width);
    assert_eq!(counts.of(State::Succeeded), 50_065);
    assert_eq!(counts.of(State::Failed), 4);
    assert_eq!(counts.of(State::Ready), 61);
    let only_failed = |from, limit| {
        let from = InstanceId { task: TaskId(0), index: from };
        let page = history.instances(written.run, from, limit, true).unwrap();
        let rows: Vec<_> = page.rows.iter().map(|row| row.instance.index).collect();
        (rows, page.next.map(|next| next.index))
    };
    assert_eq!(only_failed(0, 2), (vec![60_010, 60_020], Some(60_021)));
    assert_eq!(only_failed(60_021, 100), (vec![60_021, 60_022], None));
}

#[test]
fn the_counts_of_a_finished_run_are_its_own() {
    let mut written = Written::new(&[("a", 10)], &pipeline(vec![task("a", vec![])]));
    let mut counts = Counts::default();
    counts.0[State::Succeeded as usize] = 9;
    counts.0[State::Failed as usize] = 1;
    let (run, state, finished) = (written.run, RunState::Failed, Timestamp(9_000));
    let durations = vec![Some(Micros(1_500))];
    let end = RunEnd { run, state, finished, counts: vec![counts], durations };
    let records = vec![record(0, 0, 9, State::Succeeded), failed(0, 9, 1, State::Failed, 1)];
    written.append(records, vec![end]);
    let status = written.history().status(run).unwrap();
    assert_eq!((status.state, status.finished), (state, Some(finished)));
    assert_eq!(status.tasks[0].counts, counts);
    assert_eq!(written.history().last_run().unwrap(), Some(run));
    let submission = written.history().submission(run).unwrap();
    assert_eq!((submission.seed, submission.base_dir.as_path()), (u64::MAX, Path::new("/tmp")));
}

#[test]
fn widths_come_late_and_durations_are_remembered() {
    let definition = pipeline(vec![task("a", vec![]), task("b", vec![])]);
    let mut written = Written::new(&[("a", 1)], &definition);
    let new = |tasks| NewRun {
        name: "p".into(),
        submission: Arc::new(written.history().submission(written.run).unwrap()),
        started: Timestamp(1_000),
        tasks,
        taken: None,
    };
    let submit = |written: &Written, new| {
        let (reply, answer) = oneshot::channel();
        written.store.send(Command::Begin(Box::new(new), reply), Haste::Now);
        answer.blocking_recv().unwrap().unwrap()
    };
    let tasks = vec![("a".to_owned(), None), ("b".to_owned(), Some(2))];
    let again = (new(tasks.clone()), new(tasks.clone()), new(tasks));
    let begun = submit(&written, again.0);
    assert_eq!(begun.durations, [Micros(0), Micros(0)]);
    let known = |written: &Written| {
        let tasks = written.history().status(begun.run).unwrap().tasks;
        tasks.iter().map(|task| (task.width_known, task.counts.total())).collect::<Vec<_>>()
    };
    assert_eq!(known(&written), [(false, 0), (true, 2)]);
    let width = Line::Width { run: begun.run, task: TaskId(0), width: 3 };
    let (state, finished) = (RunState::Succeeded, Timestamp(9_000));
    let counts = vec![Counts::default(); 2];
    let durations = vec![Some(Micros(70)), None];
    let end = RunEnd { run: begun.run, state, finished, counts, durations };
    written.store.send(Command::Append(1, vec![width], vec![end]), Haste::Now);
    written.batch = 1;
    assert_eq!(submit(&written, again.1).durations, [Micros(70), Micros(0)]);
    assert_eq!(known(&written), [(true, 3), (true, 2)]);
    let mut other = again.2;
    other.name = "q".into();
    assert_eq!(submit(&written, other).durations, [Micros(0), Micros(0)]);
}

#[test]
fn values_are_found_by_name_and_their_absence_explained() {
    let mut written = Written::new(&[("a", 3)], &pipeline(vec![task("a", vec![])]));
    let detail = Detail { value: Some(b"42".to_vec()), ..Detail::default() };
    let with_value = Record { detail: Some(Box::new(detail)), ..record(0, 0, 1, State::Succeeded) };
    written.append(vec![with_value, record(0, 1, 1, State::Succeeded)], vec![]);
    let history = written.history();
    let error = |task, index| history.value(written.run, task, index).unwrap_err().to_string();
    assert_eq!(history.value(written.run, "a", 0).unwrap(), b"42");
    assert_eq!(error("a", 1), "a[1] has no value: its task captures nothing");
    assert_eq!(error("a", 2), "a[2] has no value: it has not succeeded");
    assert_eq!(error("a", 3), "a has no instance 3: its instances are 0 to 2");
    assert_eq!(error("b", 0), "run 1 has no task b");
    let unknown = history.status(RunId(7)).unwrap_err().to_string();
    assert_eq!(unknown, "there is no run 7");
}

#[test]
fn two_stores_in_one_directory_never_share_a_run_id() {
    let definition = pipeline(vec![task("a", vec![])]);
    let written = Written::new(&[("a", 1)], &definition);
    let (reply_to, _replies) = mpsc::unbounded_channel();
    let other = Store::start(written.dir.path(), None, reply_to).unwrap();
    let second = begin(&other, &[("a", 1)], &definition);
    let third = begin(&written.store, &[("a", 1)], &definition);
    assert_eq!((written.run, second, third), (RunId(1), RunId(2), RunId(3)));
}

#[test]
fn a_directory_without_runs_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = History::open(dir.path()).unwrap_err();
    assert!(matches!(error, HistoryError::Missing(_)), "{error}");
}

#[test]
fn a_database_that_cannot_be_written_is_reported_and_stays_whole() {
    let mut written = Written::new(&[("a", 100_000)], &pipeline(vec![task("a", vec![])]));
    written.append(vec![record(0, 0, 1, State::Succeeded)], vec![]);
    // As on a full disk: the database may not grow any more.
    written.store.send(Command::LimitPages, Haste::Now);
    let big = Detail { value: Some(vec![b'1'; 1 << 20]), ..Detail::default() };
    let big = Record { detail: Some(Box::new(big)), ..record(0, 1, 1, State::Succeeded) };
    written.store.send(Command::Append(2, vec![Line::Record(big)], vec![]), Haste::Now);
    match written.replies.blocking_recv() {
        Some(Reply::Paused(why)) => {
            let dir = written.dir.path().display();
            assert_eq!(why, format!("no space left on the disk of {dir}; waiting for space"));
        }
        other => panic!("{other:?}"),
    }
    let page = written.history().instances(written.run, FIRST, 2, false).unwrap();
    let states: Vec<_> = page.rows.iter().map(|row| row.state).collect();
    assert_eq!(states, [State::Succeeded, State::Blocked]);
    // Who ends meanwhile does not wait for ever.
    let Written { store, mut replies, .. } = written;
    drop(store);
    match replies.blocking_recv() {
        Some(Reply::Failed(error)) => {
            let line = dagrun_core::one_line(error.as_ref());
            assert!(line.contains("dagrun.db") && line.contains("full"), "{line}");
        }
        other => panic!("{other:?}"),
    }
}

/// Names the directory for the test below, which runs itself again as a separate process.
const KILLED_DIR: &str = "DAGRUN_TEST_KILLED_DIR";

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if let Some(dir) = std::env::var_os(KILLED_DIR) {
        return write_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "history::tests::what_was_acknowledged_survives_a_kill", "--nocapture"])
        .env(KILLED_DIR, dir.path())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let told = std::io::BufReader::new(child.stderr.take().unwrap());
    let acknowledged = std::io::BufRead::lines(told).nth(30).unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let acknowledged: u32 = acknowledged.parse().unwrap();
    let history = History::open(dir.path()).unwrap();
    let succeeded = history.status(RunId(1)).unwrap().tasks[0].counts.of(State::Succeeded);
    assert!(acknowledged > 0 && succeeded >= acknowledged, "{succeeded} of {acknowledged}");
    // A batch is stored completely or not at all, and the next scheduler can continue writing.
    assert_eq!(succeeded % 7, 0);
    let (reply_to, _replies) = mpsc::unbounded_channel();
    let store = Store::start(dir.path(), None, reply_to).unwrap();
    let next = begin(&store, &[("a", 1)], &pipeline(vec![task("a", vec![])]));
    assert_eq!(next, RunId(2));
}

fn write_until_killed(dir: &Path) {
    let (reply_to, mut replies) = mpsc::unbounded_channel();
    let store = Store::start(dir, None, reply_to).unwrap();
    let definition = pipeline(vec![task("a", vec![])]);
    let run = begin(&store, &[("a", 700_000)], &definition);
    let mut committed = 0;
    for batch in 1..100_000u32 {
        let records = (0..7).map(|i| {
            let record = record(0, (batch - 1) * 7 + i, 1, State::Succeeded);
            Line::Record(Record { run, ..record })
        });
        store.send(Command::Append(batch.into(), records.collect(), vec![]), Haste::Now);
        // There are always some batches under way, but a bounded number.
        while u64::from(batch) - committed >= 50 {
            let Some(Reply::Committed(number)) = replies.blocking_recv() else { return };
            committed = number;
            use std::io::Write as _;
            writeln!(std::io::stderr(), "{}", number * 7).unwrap();
        }
    }
}

/// A pipeline as its author writes it.
fn written_as(source: &str) -> Pipeline {
    let options = ParseOptions { file_stem: "p", ..ParseOptions::default() };
    parse(source, &options, &NoFiles).unwrap().pipeline
}

fn captured(task: u32, index: u32, value: &[u8]) -> Record {
    let detail = Detail { value: Some(value.to_vec()), ..Detail::default() };
    Record { detail: Some(Box::new(detail)), ..record(task, index, 1, State::Succeeded) }
}

#[test]
fn a_command_is_made_of_what_the_upstreams_left() {
    let definition = written_as(
        "[task.make]\nrun = 'true'\ncapture = 'json'\n\
         [task.use]\nmap = 'make'\nrun = ['use', '{make.value}', '{index}', '{attempt}', '{run.dir}']\n\
         [task.part]\nscatter = 'make'\nrun = ['part', '{item}']",
    );
    let tasks = [("make", 1), ("use", 1), ("part", 2)];
    let mut written = Written::new(&tasks, &definition);
    let at = |task, index| InstanceId { task: TaskId(task), index };
    let command = |written: &Written, task, index| {
        let argv = written.history().command(written.run, at(task, index));
        argv.map(|argv| argv.join(" ".as_ref()).into_string().unwrap())
            .map_err(|error| error.to_string())
    };
    let early = command(&written, 1, 0).unwrap_err();
    assert!(early.starts_with("the command of use[0] cannot be made: "), "{early}");
    written.append(vec![captured(0, 0, b"[1,\"two\"]"), failed(1, 0, 2, State::Failed, 1)], vec![]);
    let dir = layout::run_dir(written.dir.path(), written.run);
    let expected = format!("use [1,\"two\"] 0 2 {}", dir.display());
    assert_eq!(command(&written, 1, 0), Ok(expected));
    assert_eq!(command(&written, 2, 0), Ok("part 1".into()));
    assert_eq!(command(&written, 2, 1), Ok("part two".into()));
    let unknown = "part has no instance 2: its instances are 0 to 1";
    assert_eq!(command(&written, 2, 2), Err(unknown.into()));
    assert_eq!(command(&written, 3, 0), Err("run 1 has no task 3".into()));
}

#[test]
fn the_place_of_a_long_value_stands_for_it_in_a_command() {
    let definition = written_as(
        "[task.make]\nrun = 'true'\ncapture = 'text'\n\
         [task.use]\nmap = 'make'\nrun = ['use', '{make.value:file}']",
    );
    let mut written = Written::new(&[("make", 2), ("use", 2)], &definition);
    let file = written.dir.path().join("long.bin");
    std::fs::write(&file, b"long").unwrap();
    let stored = |place| Stored { place, bytes: 6, checksum: 0 }.to_payload();
    let held = Whereabouts::Worker(WorkerId(1), InstanceId { task: TaskId(0), index: 1 });
    let records = [Whereabouts::File(file.clone()), held];
    let records = (0..).zip(records).map(|(index, place)| captured(0, index, &stored(place)));
    written.append(records.collect(), vec![]);
    let command = |index| {
        let instance = InstanceId { task: TaskId(1), index };
        written.history().command(written.run, instance)
    };
    assert_eq!(command(0).unwrap(), ["use".as_ref(), file.as_os_str()]);
    // The file of an attempt is gone with it.
    assert_eq!(command(1).unwrap(), ["use", "{make.value:file}"]);
}

#[test]
fn logs_are_asked_for_by_name_and_only_with_cursors_of_theirs() {
    let mut written = Written::new(&[("a", 2)], &pipeline(vec![task("a", vec![])]));
    written.append(vec![failed(0, 1, 1, State::Failed, 3)], vec![]);
    let dir = layout::logs(&layout::run_dir(written.dir.path(), written.run));
    let log = RunLog::new(dir, "w1");
    for index in 0..2 {
        let owner = Owner { instance: InstanceId { task: TaskId(0), index }, attempt: 1 };
        let span = Span { stream: Stream::Stdout, at: Timestamp(1_000), length: 1 };
        log.append(owner, &[span], index.to_string().as_bytes());
    }
    log.flush();
    let history = written.history();
    let read = |scope: &Scope<&str>, failed_only| {
        let page = history.logs(written.run, scope, &[], failed_only).unwrap();
        assert!(!page.more);
        let next = history.logs(written.run, scope, &page.cursor, failed_only).unwrap();
        assert!(next.chunks.is_empty());
        page.chunks.into_iter().flat_map(|chunk| chunk.bytes).collect::<Vec<u8>>()
    };
    assert_eq!(read(&Scope::Run, false), b"01");
    assert_eq!(read(&Scope::Run, true), b"1");
    assert_eq!(read(&Scope::Task("a"), false), b"01");
    assert_eq!(read(&Scope::Instance("a", 0), false), b"0");
    let error = |scope: &Scope<&str>, cursor: &[u8]| {
        history.logs(written.run, scope, cursor, false).unwrap_err().to_string()
    };
    assert_eq!(error(&Scope::Task("b"), &[]), "run 1 has no task b");
    let unknown = "a has no instance 2: its instances are 0 to 1";
    assert_eq!(error(&Scope::Instance("a", 2), &[]), unknown);
    assert_eq!(error(&Scope::Run, &[1, 2, 3]), "the logs: invalid cursor");
}
