//! The logs of a run: several workers, cursors, damage, size.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

use dagrun_core::ids::{InstanceId, TaskId, Timestamp};
use dagrun_core::status::{LogChunk, Stream};
use dagrun_disk::log::{Cursor, LogReader, Owner, RunLog, Span};

fn owner(index: u32) -> Owner {
    Owner { instance: InstanceId { task: TaskId(0), index }, attempt: 1 }
}

fn say(log: &RunLog, owner: Owner, at: u64, text: &str) {
    let length = u32::try_from(text.len()).unwrap();
    log.append(
        owner,
        &[Span { stream: Stream::Stdout, at: Timestamp(at), length }],
        text.as_bytes(),
    );
}

fn texts(chunks: &[LogChunk]) -> Vec<String> {
    chunks.iter().map(|chunk| String::from_utf8_lossy(&chunk.bytes).into_owned()).collect()
}

#[test]
fn attempts_on_several_workers_come_in_the_order_of_time() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (RunLog::new(dir.path().into(), "z"), RunLog::new(dir.path().into(), "a/../b"));
    let second = Owner { attempt: 2, ..owner(5) };
    say(&a, owner(5), 10, "first ");
    say(&b, second, 30, "third ");
    say(&a, owner(5), 20, "second ");
    say(&b, owner(6), 25, "other ");
    a.flush();
    b.flush();
    let mut reader = LogReader::open(dir.path());
    let of_five = &mut |instance: InstanceId, _| instance.index == 5;
    let mut cursor = Cursor::default();
    let chunks = reader.read(&mut cursor, usize::MAX, of_five).unwrap();
    assert_eq!(texts(&chunks), ["first ", "second ", "third "]);
    assert_eq!(chunks[2].attempt, 2);
    assert_eq!(chunks[2].instance, InstanceId { task: TaskId(0), index: 5 });
    assert!(reader.read(&mut cursor, usize::MAX, of_five).unwrap().is_empty());
}

#[test]
fn a_cursor_goes_on_where_it_was_with_any_reader() {
    let dir = tempfile::tempdir().unwrap();
    let logs = ["a", "b"].map(|name| RunLog::new(dir.path().into(), name));
    let mut cursor = Vec::new();
    let mut seen = Vec::new();
    let mut expected = Vec::new();
    for round in 0..50u32 {
        let text = format!("{round};");
        say(&logs[round as usize % 2], owner(round % 3), u64::from(round), &text);
        expected.push(text);
        logs.iter().for_each(RunLog::flush);
        if round % 7 == 0 {
            // Not all at once, by a new reader, with a cursor that has travelled.
            let mut position = Cursor::from_bytes(&cursor).unwrap();
            let mut reader = LogReader::open(dir.path());
            seen.extend(texts(&reader.read(&mut position, 4, &mut |_, _| true).unwrap()));
            cursor = position.to_bytes();
        }
    }
    let mut position = Cursor::from_bytes(&cursor).unwrap();
    let mut reader = LogReader::open(dir.path());
    loop {
        let more = reader.read(&mut position, 10, &mut |_, _| true).unwrap();
        if more.is_empty() {
            break;
        }
        seen.extend(texts(&more));
    }
    assert_eq!(seen, expected);
    assert_eq!(Cursor::from_bytes(b"\xff\xff?"), None);
}

#[test]
fn torn_and_damaged_records_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let log = RunLog::new(dir.path().into(), "w");
    say(&log, owner(0), 1, "one");
    log.flush();
    drop(log);
    let index = dir.path().join("w.idx");
    let mut file = OpenOptions::new().append(true).open(&index).unwrap();
    file.write_all(&[7; 40]).unwrap();
    file.write_all(&[7; 13]).unwrap();
    let read = || {
        let mut reader = LogReader::open(dir.path());
        texts(&reader.read(&mut Cursor::default(), usize::MAX, &mut |_, _| true).unwrap())
    };
    assert_eq!(read(), ["one"]);
    // The next worker of that name goes on behind the damage.
    let log = RunLog::new(dir.path().into(), "w");
    say(&log, owner(0), 2, "two");
    log.flush();
    assert_eq!(read(), ["one", "two"]);
    // A log that lost its end gives what is left.
    OpenOptions::new().write(true).open(dir.path().join("w.log")).unwrap().set_len(4).unwrap();
    assert_eq!(read(), ["one", "t"]);
}

#[test]
fn two_workers_of_one_name_do_not_write_over_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let logs = [0, 1].map(|_| RunLog::new(dir.path().into(), "same"));
    say(&logs[0], owner(0), 1, "a");
    say(&logs[1], owner(1), 2, "b");
    logs.iter().for_each(RunLog::flush);
    let mut reader = LogReader::open(dir.path());
    let chunks = reader.read(&mut Cursor::default(), usize::MAX, &mut |_, _| true).unwrap();
    assert_eq!(texts(&chunks), ["a", "b"]);
}

#[test]
fn a_million_instances_are_read_quickly() {
    let dir = tempfile::tempdir().unwrap();
    let log = RunLog::new(dir.path().into(), "w");
    for index in 0..1_000_000 {
        say(&log, owner(index), u64::from(index), "hello\n");
    }
    log.flush();
    let start = Instant::now();
    let mut reader = LogReader::open(dir.path());
    let mut one = |instance: InstanceId, _| instance.index == 999_999;
    let chunks = reader.read(&mut Cursor::default(), usize::MAX, &mut one).unwrap();
    assert_eq!(texts(&chunks), ["hello\n"]);
    let one = start.elapsed();
    let chunks = reader.read(&mut Cursor::default(), usize::MAX, &mut |_, _| true).unwrap();
    assert_eq!(chunks.len(), 1_000_000);
    assert!(chunks.iter().zip(0..).all(|(chunk, at)| chunk.instance.index == at));
    // Generous, for an unoptimised build on a busy machine.
    assert!(one < Duration::from_secs(20), "{one:?}");
}

#[test]
fn a_full_disk_is_noted_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("logs");
    std::fs::write(&place, "in the way").unwrap();
    let log = RunLog::new(place.clone(), "w");
    say(&log, owner(3), 1, "lost");
    log.flush();
    assert_eq!(log.lost(), 4);
    std::fs::remove_file(&place).unwrap();
    say(&log, owner(3), 2, "kept");
    log.flush();
    let mut reader = LogReader::open(&place);
    let chunks = reader.read(&mut Cursor::default(), usize::MAX, &mut |_, _| true).unwrap();
    assert_eq!(chunks.len(), 2);
    let note = chunks.iter().find(|chunk| chunk.stream == Stream::Note).unwrap();
    let text = String::from_utf8_lossy(&note.bytes);
    assert!(text.starts_with("… 4 bytes lost: "), "{text}");
    assert_eq!((note.instance, log.lost()), (owner(3).instance, 4));
}
