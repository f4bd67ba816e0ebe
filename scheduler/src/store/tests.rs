//! The writing thread on a disk that is full now and then: each batch is written exactly once, in order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use dagrun_core::engine::Record;
use dagrun_core::ids::{RunId, TaskId, Timestamp, WorkerId};
use dagrun_core::layout;
use dagrun_core::status::State;
use dagrun_schema::wire::Submission;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{Begun, Command, Haste, Joined, Line, NewRun, Reply, Store};
use crate::journal::StoreError;
use crate::journal::lock::Owner;

/// Asked before each line and each commit whether the disk is full.
pub(super) type Fault = Box<dyn FnMut() -> bool + Send>;

fn start(dir: &Path, fault: Fault) -> (Store, mpsc::UnboundedReceiver<Reply>) {
    let (reply_to, replies) = mpsc::unbounded_channel();
    let change = |mut writer: super::writer::Writer| {
        writer.fault = Some(fault);
        writer.pause = (Duration::from_micros(100), Duration::from_millis(2));
        writer
    };
    let owner = Some(Owner::here());
    (Store::start_as(dir, owner, reply_to, change).unwrap(), replies)
}

/// Asks for a run of one wide task.
fn begin(store: &Store) -> Result<Begun, Arc<StoreError>> {
    let submission = Submission {
        pipeline: Vec::new(),
        base_dir: "/".into(),
        seed: 0,
        fail_fast: false,
        max_fail: None,
    };
    let new = NewRun {
        name: "p".into(),
        submission: Arc::new(submission),
        started: Timestamp(1),
        tasks: vec![("a".into(), Some(1_000_000))],
        taken: None,
    };
    let (reply, answer) = oneshot::channel();
    store.send(Command::Begin(Box::new(new), reply), Haste::Now);
    answer.blocking_recv().unwrap()
}

fn record(run: RunId, index: u32, worker: u32) -> Line {
    Line::Record(Record {
        run,
        task: TaskId(0),
        first_index: index,
        count: 1,
        state: State::Succeeded,
        attempt: 1,
        worker: Some(WorkerId(worker)),
        started: Timestamp(1),
        finished: Timestamp(2),
        cause: None,
        detail: None,
    })
}

fn joined(worker: u32) -> Command {
    let (name, host) = (format!("w{worker}"), "here".to_owned());
    let (worker, uid, lock, at) = (WorkerId(worker), String::new(), None, Timestamp(1));
    Command::Joined(Box::new(Joined { worker, name, host, uid, lock, at }))
}

/// A row for each record in the order in which they were written: its index, and the worker's name.
fn written(dir: &Path) -> Vec<(u32, Option<String>)> {
    let database = Connection::open(layout::database(dir)).unwrap();
    let sql =
        "SELECT first_index, w.name FROM events LEFT JOIN workers w USING (worker) ORDER BY seq";
    let mut statement = database.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Numbers that look like chance, from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Writes batches while the disk fills and empties, with workers that join and leave in between.
fn write_with_faults(seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut dice = Dice(seed * 2 + 1);
    let armed = Arc::new(AtomicBool::new(false));
    let fault: Fault = {
        let (armed, mut dice) = (Arc::clone(&armed), Dice(seed * 7 + 3));
        let (mut left, mut times) = (0, 30);
        Box::new(move || {
            if left == 0 && times > 0 && armed.load(SeqCst) && dice.below(60) == 0 {
                (left, times) = (dice.below(4), times - 1);
                return true;
            }
            let full = left > 0;
            left = left.saturating_sub(1);
            full
        })
    };
    let (store, mut replies) = start(dir.path(), fault);
    let run = begin(&store).unwrap().run;
    armed.store(true, SeqCst);
    let (mut index, mut worker, mut expected) = (0, 1, Vec::new());
    store.send(joined(1), Haste::Whenever);
    let batches = 100;
    for batch in 1..=batches {
        if dice.below(5) == 0 {
            let at = Timestamp(3);
            store
                .send(Command::Left { worker: WorkerId(worker), at, lost: false }, Haste::Whenever);
            worker += 1;
            store.send(joined(worker), Haste::Whenever);
        }
        let lines = dice.below(6);
        let lines = (0..lines).map(|_| {
            expected.push((index, Some(format!("w{worker}"))));
            index += 1;
            record(run, index - 1, worker)
        });
        store.send(Command::Append(batch, lines.collect(), Vec::new()), Haste::Now);
    }
    let (mut committed, mut paused) = (0, false);
    while committed < batches || paused {
        match replies.blocking_recv().unwrap() {
            Reply::Committed(number) => {
                assert!(number > committed, "{number} after {committed}");
                committed = number;
                // What is acknowledged is there.
                let of = usize::try_from(index).unwrap();
                assert!(written(dir.path()).len() <= of);
            }
            Reply::Paused(_) => assert!(!std::mem::replace(&mut paused, true)),
            Reply::Resumed => assert!(std::mem::replace(&mut paused, false)),
            other => panic!("{other:?}"),
        }
    }
    armed.store(false, SeqCst);
    assert_eq!(written(dir.path()), expected, "seed {seed}");
    drop(store);
    let database = Connection::open(layout::database(dir.path())).unwrap();
    let sound: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let gone = "SELECT count(*) FROM workers WHERE left_at IS NULL";
    let present: u32 = database.query_row(gone, [], |row| row.get(0)).unwrap();
    assert_eq!(present, 1, "all others have left, once each");
}

#[test]
fn on_a_disk_that_fills_and_empties_each_batch_is_written_once_and_in_order() {
    (0..12).for_each(write_with_faults);
}

/// A disk that is full while this is set.
fn full_while(set: &Arc<AtomicBool>) -> Fault {
    let set = Arc::clone(set);
    Box::new(move || set.load(SeqCst))
}

#[test]
fn who_asks_is_refused_and_what_has_happened_waits() {
    let dir = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let (store, mut replies) = start(dir.path(), full_while(&full));
    let begun = begin(&store).unwrap();
    full.store(true, SeqCst);
    store.send(joined(1), Haste::Whenever);
    store.send(Command::Append(1, vec![record(begun.run, 0, 1)], Vec::new()), Haste::Now);
    let dir_shown = dir.path().display();
    match replies.blocking_recv().unwrap() {
        Reply::Paused(why) => {
            let expected = format!("no space left on the disk of {dir_shown}; waiting for space");
            assert_eq!(why, expected);
        }
        other => panic!("{other:?}"),
    }
    for _ in 0..3 {
        let refused = begin(&store).unwrap_err();
        assert!(matches!(*refused, StoreError::Full { .. }), "{refused}");
    }
    // Nobody's lock stays of what was refused.
    assert!(layout::run_lock(dir.path(), begun.run).exists());
    assert!(!layout::run_lock(dir.path(), RunId(begun.run.0 + 1)).exists());
    assert_eq!(written(dir.path()), []);
    full.store(false, SeqCst);
    assert!(matches!(replies.blocking_recv().unwrap(), Reply::Committed(1)));
    assert!(matches!(replies.blocking_recv().unwrap(), Reply::Resumed));
    assert_eq!(written(dir.path()), [(0, Some("w1".to_owned()))]);
    let next = begin(&store).unwrap();
    assert_eq!((next.run.0, next.epoch), (begun.run.0 + 1, begun.epoch));
}

#[test]
fn the_number_of_a_start_that_was_not_written_is_not_given() {
    let dir = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(true));
    let (store, _replies) = start(dir.path(), full_while(&full));
    assert!(begin(&store).is_err());
    full.store(false, SeqCst);
    let (other, _replies) = start(dir.path(), Box::new(|| false));
    let theirs = begin(&other).unwrap();
    let ours = begin(&store).unwrap();
    assert_ne!(ours.epoch, theirs.epoch);
    assert_ne!(ours.run, theirs.run);
}

#[test]
fn a_store_that_ends_does_not_wait_for_space() {
    let dir = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let (store, mut replies) = start(dir.path(), full_while(&full));
    let run = begin(&store).unwrap().run;
    full.store(true, SeqCst);
    store.send(Command::Append(1, vec![record(run, 0, 1)], Vec::new()), Haste::Now);
    assert!(matches!(replies.blocking_recv().unwrap(), Reply::Paused(_)));
    drop(store);
    assert!(matches!(replies.blocking_recv().unwrap(), Reply::Failed(_)));
    assert_eq!(written(dir.path()), []);
}
