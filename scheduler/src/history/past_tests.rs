//! What a new run takes over, according to the journals of both runs.

use std::sync::Arc;

use dagrun_core::engine::{Cause, Done, Past, Record};
use dagrun_core::ids::{InstanceId, Micros, TaskId, WorkerId};
use dagrun_core::layout;
use dagrun_core::payload::{Stored, Whereabouts};
use dagrun_core::pipeline::{
    Capture, Clause, Outcomes, Pattern, Pipeline, Quantifier, Scatter, Split, Task,
};
use dagrun_core::space::{Axis, Points, Space};
use dagrun_core::status::Detail;
use dagrun_core::template::{Part, Placeholder, Template};
use dagrun_disk::stamp_of;
use tokio::sync::oneshot;

use super::past::Taken;
use super::tests::{Written, after, failed, pipeline, record, task};
use super::*;
use crate::store::{Command, Haste, NewRun, RunEnd};

impl Written {
    /// Ends the run as failed.
    fn end(&mut self, records: Vec<Record>) {
        let end = RunEnd {
            run: self.run,
            state: RunState::Failed,
            finished: Timestamp(4_000),
            counts: Vec::new(),
            durations: Vec::<Option<Micros>>::new(),
        };
        self.append(records, vec![end]);
    }

    fn take_over(&self) -> Result<Taken, HistoryError> {
        let history = self.history();
        let submission = history.submission(self.run)?;
        let checked = &crate::submission::check(&submission).unwrap();
        let (submission, selected) = (&submission, Vec::new());
        let retry = Retry { submission, checked, then: None, failed: true, selected };
        history.take_over(self.run, &retry)
    }

    /// Begins another run that takes this over; later calls refer to it.
    fn go_on(&mut self, taken: &Taken, tasks: &[(&str, u32)]) {
        let new = NewRun {
            name: "p".into(),
            submission: Arc::new(self.history().submission(self.run).unwrap()),
            started: Timestamp(9_000),
            tasks: tasks.iter().map(|(name, width)| ((*name).to_owned(), Some(*width))).collect(),
            taken: Some((taken.from, Arc::clone(&taken.spans))),
        };
        let (reply, answer) = oneshot::channel();
        self.store.send(Command::Begin(Box::new(new), reply), Haste::Now);
        self.run = answer.blocking_recv().unwrap().unwrap().run;
    }

    fn journal_rows(&self) -> u32 {
        let database = rusqlite::Connection::open(layout::database(self.dir.path())).unwrap();
        let sql = "SELECT count(*) FROM events WHERE run = ?1";
        database.query_row(sql, [self.run.0.cast_signed()], |row| row.get(0)).unwrap()
    }
}

fn done(task: u32, first_index: u32, count: u32) -> Done {
    Done { task: TaskId(task), first_index, count, worker: None }
}

fn with_value(task: u32, index: u32, value: &str, outputs: &[&str]) -> Record {
    let outputs = outputs.iter().map(|output| output.as_bytes().to_vec()).collect();
    let value = Some(value.as_bytes().to_vec());
    let detail = Detail { value, outputs, ..Detail::default() };
    Record { detail: Some(Box::new(detail)), ..record(task, index, 1, State::Succeeded) }
}

fn captures(name: &str) -> Task {
    Task { capture: Capture::Json, ..task(name, vec![]) }
}

#[test]
fn a_million_instances_are_taken_over_in_a_few_rows() {
    let wide = Task { sweep: sweep(1_000_000), ..task("wide", vec![]) };
    let definition = pipeline(vec![wide, task("next", vec![after(0)])]);
    let mut written = Written::new(&[("wide", 1_000_000), ("next", 1)], &definition);
    let failures: Vec<u32> = (1..=10).map(|at| at * 90_000).collect();
    let mut records = Vec::new();
    let mut from = 0;
    for &index in &failures {
        records.push(record(0, from, index - from, State::Succeeded));
        records.push(failed(0, index, 1, State::Failed, 3));
        from = index + 1;
    }
    records.push(record(0, from, 1_000_000 - from, State::Succeeded));
    written.end(records);
    let taken = written.take_over().unwrap();
    assert_eq!((taken.past.instances(), taken.past.done.len(), taken.whole), (999_990, 11, false));
    written.go_on(&taken, &[("wide", 1_000_000), ("next", 1)]);
    assert_eq!(written.journal_rows(), 11);
    let status = written.history().status(written.run).unwrap();
    assert_eq!(status.tasks[0].counts.of(State::Succeeded), 999_990);
    let at = |index| InstanceId { task: TaskId(0), index };
    let row = |index| written.history().instances(written.run, at(index), 1, false).unwrap().rows;
    assert_eq!(row(90_000)[0].state, State::Blocked);
    let taken = &row(777_777)[0];
    assert_eq!((taken.state, taken.attempts, taken.exit_code), (State::Succeeded, 0, Some(0)));
    assert_eq!((taken.started, taken.finished), (None, Some(Timestamp(9_000))));
    assert_eq!((taken.reason.as_str(), &taken.worker), ("taken over from run 1", &None));
    let told = written.history().explain(written.run, "wide", 5).unwrap();
    assert_eq!(told, ["wide[5] succeeded: taken over from run 1"]);
}

fn sweep(n: u32) -> Option<Space> {
    let points = Points::Range { first: 0, step: 1, n };
    let axis = Axis { name: "x".into(), names: vec!["x".into()], points };
    Some(Space { axes: vec![axis], ..Space::default() })
}

#[test]
fn values_and_reported_paths_are_copied_and_keep_their_origin() {
    const WIDTH: u32 = 40_000;
    let definition = pipeline(vec![Task { sweep: sweep(WIDTH), ..captures("a") }]);
    let tasks = [("a", WIDTH)];
    let mut written = Written::new(&tasks, &definition);
    let all = (0..WIDTH).filter(|index| index % 20_000 != 7);
    written.end(all.map(|index| with_value(0, index, &index.to_string(), &["f"])).collect());
    let taken = written.take_over().unwrap();
    assert_eq!(taken.past.done, [done(0, 0, 7), done(0, 8, 19_999), done(0, 20_008, 19_992)]);
    written.go_on(&taken, &tasks);
    // The second run executes one more instance itself; the third takes over from both.
    written.end(vec![with_value(0, 7, "7", &["g"])]);
    let taken = written.take_over().unwrap();
    let origins: Vec<u64> = taken.spans.iter().map(|span| span.origin.0).collect();
    assert_eq!((origins, taken.past.instances()), (vec![1, 2, 1, 1], u64::from(WIDTH) - 1));
    written.go_on(&taken, &tasks);
    for index in [0, 7, 16_383, 16_384, 39_999] {
        let value = written.history().value(written.run, "a", index).unwrap();
        assert_eq!(value, index.to_string().as_bytes());
        let instance = InstanceId { task: TaskId(0), index };
        let read = read::payload(&written.history().database, written.run, instance).unwrap();
        let expected = if index == 7 { b"g" } else { b"f" };
        assert_eq!(read.unwrap().outputs, [expected.to_vec()]);
    }
    assert!(written.history().value(written.run, "a", 20_007).is_err());
    assert_eq!(written.journal_rows(), WIDTH - 1);
}

#[test]
fn an_instance_whose_files_are_gone_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let literal = |text: String| Part::Literal(text);
    let index = Part::Placeholder(Placeholder::Index(0));
    let computed = Template { parts: vec![literal(path("c")), index] };
    let reported =
        Template { parts: vec![Part::Placeholder(Placeholder::RunDir), literal("/r".into())] };
    let outputs = |path| vec![("f".to_owned(), path)];
    let definition = pipeline(vec![
        Task { outputs: outputs(computed), sweep: sweep(3), ..task("a", vec![]) },
        Task { outputs: outputs(reported), sweep: sweep(3), ..task("b", vec![]) },
    ]);
    let mut written = Written::new(&[("a", 3), ("b", 3)], &definition);
    for name in ["c0", "c2", "r1"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    written.end(vec![
        record(0, 0, 3, State::Succeeded),
        with_value(1, 0, "0", &[&path("r0")]),
        with_value(1, 1, "1", &[&path("r1")]),
        record(1, 2, 1, State::Succeeded),
    ]);
    let taken = written.take_over().unwrap();
    assert_eq!(taken.past.done, [done(0, 0, 1), done(0, 2, 1), done(1, 1, 1)]);
}

#[test]
fn an_instance_whose_files_have_changed_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let index = Part::Placeholder(Placeholder::Index(0));
    let literal = Part::Literal(path("c").to_str().unwrap().to_owned());
    let computed = Template { parts: vec![literal, index] };
    let outputs = vec![("f".to_owned(), computed)];
    let definition = pipeline(vec![Task { outputs, sweep: sweep(6), ..task("a", vec![]) }]);
    let mut written = Written::new(&[("a", 6)], &definition);
    for name in ["c0", "c1", "c2", "c5"] {
        std::fs::write(path(name), "123").unwrap();
    }
    for name in ["c3", "c4"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    let stamps = |index: u32| vec![stamp_of(&path(&format!("c{index}")))];
    let succeeded = |index: u32| {
        let detail = Detail { stamps: stamps(index), ..Detail::default() };
        Record { detail: Some(Box::new(detail)), ..record(0, index, 1, State::Succeeded) }
    };
    // For the last one nothing is known, as when an older version wrote it.
    written.end((0..5).map(succeeded).chain([record(0, 5, 1, State::Succeeded)]).collect());
    let taken = written.take_over().unwrap();
    assert_eq!(taken.past.done, [done(0, 0, 5), done(0, 5, 1)], "nothing has changed");
    std::fs::write(path("c0"), "12").unwrap();
    let file = std::fs::File::options().write(true).open(path("c1")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    std::fs::write(path("c3/more"), "").unwrap();
    std::fs::remove_dir(path("c4")).unwrap();
    std::fs::write(path("c4"), "").unwrap();
    std::fs::write(path("c5"), "12").unwrap();
    let taken = written.take_over().unwrap();
    assert_eq!(taken.past.done, [done(0, 2, 2), done(0, 5, 1)]);
}

#[test]
fn values_that_were_kept_elsewhere_are_taken_over_where_they_still_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("value");
    std::fs::write(&path, "1").unwrap();
    let held = Whereabouts::Worker(WorkerId(1), InstanceId { task: TaskId(0), index: 2 });
    let places = [Whereabouts::File(path), Whereabouts::File(dir.path().join("gone")), held];
    let stored = places.map(|place| Stored { place, bytes: 1, checksum: 1 }.to_payload());
    let definition = pipeline(vec![Task { sweep: sweep(3), ..captures("a") }]);
    let mut written = Written::new(&[("a", 3)], &definition);
    let records = (0..).zip(stored).map(|(index, bytes)| {
        let detail = Detail { value: Some(bytes), ..Detail::default() };
        Record { detail: Some(Box::new(detail)), ..record(0, index, 1, State::Succeeded) }
    });
    written.end(records.collect());
    assert_eq!(written.take_over().unwrap().past.done, [done(0, 0, 1)]);
}

fn scattering(max_items: Option<u32>) -> Pipeline {
    let scatter = Scatter { from: TaskId(0), split: Split::Each, max_items };
    pipeline(vec![
        Task { sweep: sweep(2), ..captures("list") },
        Task { pattern: Pattern::Scatter(scatter), ..captures("part") },
        Task { pattern: Pattern::Map(TaskId(1)), ..task("next", vec![]) },
    ])
}

#[test]
fn a_scatter_is_taken_over_with_its_width() {
    let mut written = Written::new(&[("list", 2), ("part", 5), ("next", 5)], &scattering(None));
    written.end(vec![
        with_value(0, 0, "[1,2]", &[]),
        with_value(0, 1, "[3,4,5]", &[]),
        with_value(1, 4, "5", &[]),
        record(2, 4, 1, State::Succeeded),
    ]);
    let taken = written.take_over().unwrap();
    let expected = Past {
        done: vec![done(0, 0, 2), done(1, 4, 1), done(2, 4, 1)],
        widths: vec![(TaskId(1), 5), (TaskId(2), 5)],
        items: vec![(TaskId(0), 5)],
        ..Past::default()
    };
    assert_eq!(taken.past, expected);
}

#[test]
fn arrays_that_failed_the_run_are_made_again_and_their_elements_too() {
    let lists = [("list", 2), ("part", 1), ("next", 1)];
    let mut no_array = Written::new(&lists, &scattering(None));
    no_array.end(vec![with_value(0, 0, "[1,2]", &[]), with_value(0, 1, "{}", &[])]);
    let taken = no_array.take_over().unwrap();
    assert_eq!((taken.past.done, taken.past.items), (vec![done(0, 0, 1)], vec![(TaskId(0), 2)]));

    let mut too_long = Written::new(&lists, &scattering(Some(3)));
    too_long.end(vec![with_value(0, 0, "[1,2]", &[]), with_value(0, 1, "[3,4]", &[])]);
    let taken = too_long.take_over().unwrap();
    assert_eq!((taken.past.done, taken.past.items), (vec![], vec![(TaskId(0), 0)]));
}

#[test]
fn where_it_ran_matters_only_to_those_that_follow() {
    let follow =
        Clause { upstreams: vec![TaskId(0)], quantifier: Quantifier::Any, on: Outcomes::Success };
    let next = Task { follow: vec![follow], ..task("next", vec![]) };
    let definition = pipeline(vec![
        Task { sweep: sweep(3), ..task("a", vec![]) },
        Task { sweep: sweep(3), ..task("b", vec![]) },
        next,
    ]);
    let mut written = Written::new(&[("a", 3), ("b", 3), ("next", 1)], &definition);
    for (worker, name) in [(WorkerId(1), "w1"), (WorkerId(2), "w2")] {
        let (name, host) = (name.to_owned(), "h".to_owned());
        written.store.send(Command::joined(worker, name, host, Timestamp(500)), Haste::Now);
    }
    let on = |task, index, worker| Record {
        worker: Some(WorkerId(worker)),
        ..record(task, index, 1, State::Succeeded)
    };
    written.end(vec![on(0, 0, 1), on(0, 1, 1), on(0, 2, 2), on(1, 0, 1), on(1, 1, 2), on(1, 2, 1)]);
    for _ in 0..2 {
        // Again for a run that has taken it over itself.
        let taken = written.take_over().unwrap();
        written.go_on(&taken, &[("a", 3), ("b", 3), ("next", 1)]);
        written.end(vec![]);
        let past = taken.into_past(|name, host| {
            assert_eq!(host, "h");
            (name == "w2").then_some(WorkerId(8))
        });
        let at = |worker, done| Done { worker: Some(WorkerId(worker)), ..done };
        assert_eq!(past.done, [at(0, done(0, 0, 2)), at(8, done(0, 2, 1)), done(1, 0, 3)]);
    }
}

#[test]
fn a_run_that_goes_on_cannot_be_taken_over() {
    let mut written = Written::new(&[("a", 1)], &pipeline(vec![task("a", vec![])]));
    written.append(vec![record(0, 0, 1, State::Succeeded)], vec![]);
    assert!(matches!(written.take_over(), Err(HistoryError::NotEnded { run: RunId(1), .. })));
    written.end(vec![]);
    assert!(written.take_over().unwrap().whole);
    let unknown = Cause::TakenOver { from: RunId(1) };
    assert_eq!(crate::journal::words::cause_text(unknown, None), "taken over from run 1");
}
