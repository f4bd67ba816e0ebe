//! Values: kept within a memory limit, fetched by other workers, released without a trace.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dagrun_core::ids::{InstanceId, RunId, TaskId, WorkerId};
use dagrun_core::payload::{self, Stored, Whereabouts};
use dagrun_worker::values::{
    FetchError, Peer, Secret, Store, ValueError, ValueId, Values, checksum,
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ONE: WorkerId = WorkerId(1);
const TWO: WorkerId = WorkerId(2);

fn id(run: u64, index: u32) -> ValueId {
    ValueId { run: RunId(run), instance: InstanceId { task: TaskId(3), index } }
}

/// Bytes that differ from each other and from those of another seed.
fn bytes(length: usize, seed: u32) -> Bytes {
    let word = |at: u32| (at ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
    let words = (0..).flat_map(|at| word(at).to_le_bytes());
    words.take(length).collect::<Vec<u8>>().into()
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

fn never() -> bool {
    false
}

/// A worker that listens, and one that knows it.
fn pair(dir: &Path, memory: u64) -> (Values, Values) {
    let one = Values::new(memory, dir.join("one"));
    let two = Values::new(memory, dir.join("two"));
    one.listen(LOOPBACK).unwrap();
    one.set_own(ONE);
    two.set_own(TWO);
    introduce(&one, &two);
    (one, two)
}

fn introduce(one: &Values, two: &Values) {
    let (address, secret) = one.door().unwrap();
    two.set_peers([(ONE, Peer { name: "one".into(), address, secret: secret.clone() })], []);
}

#[test]
fn beyond_the_limit_the_oldest_values_are_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(250, dir.path().into());
    for index in 0..5 {
        store.put(id(1, index), bytes(100, index)).unwrap();
        assert!(store.in_memory() <= 250);
    }
    let on_disk: Vec<bool> = (0..5).map(|at| store.get(id(1, at)).unwrap().is_on_disk()).collect();
    assert_eq!(on_disk, [true, true, true, false, false]);
    for index in 0..5 {
        let held = store.get(id(1, index)).unwrap();
        assert_eq!(held.read().unwrap(), bytes(100, index));
        assert_eq!(held.checksum(), checksum(&bytes(100, index)));
    }
    assert_eq!((store.in_memory(), store.on_disk()), (200, 300), "reading brings nothing back");
    store.put(id(1, 9), bytes(251, 9)).unwrap();
    assert!(store.get(id(1, 9)).unwrap().is_on_disk(), "longer than the limit");
    assert_eq!(store.in_memory(), 200, "and nothing had to leave for it");
}

#[test]
fn released_values_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(1_000, dir.path().into());
    for index in 0..20 {
        store.put(id(1, index), bytes(300, index)).unwrap();
        store.put(id(2, index), bytes(300, index)).unwrap();
    }
    store.release(RunId(1), (0..10).map(|index| id(1, index).instance));
    assert_eq!(store.len(), 30);
    assert!(store.get(id(1, 9)).is_none() && store.get(id(2, 9)).is_some());
    let kept = store.get(id(2, 0)).unwrap();
    assert!(kept.is_on_disk());
    store.forget(RunId(2));
    store.forget(RunId(1));
    assert_eq!((store.len(), store.in_memory(), store.on_disk()), (0, 0, 300));
    assert_eq!(kept.read().unwrap(), bytes(300, 0), "who has it at hand can still read it");
    drop(kept);
    assert_eq!((store.on_disk(), files(dir.path())), (0, 0));
}

#[test]
fn a_value_that_is_put_again_replaces_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(1_000, dir.path().into());
    store.put(id(1, 0), bytes(2_000, 1)).unwrap();
    store.put(id(1, 0), bytes(600, 2)).unwrap();
    store.put(id(1, 0), bytes(700, 3)).unwrap();
    assert_eq!((store.len(), store.in_memory(), store.on_disk()), (1, 700, 0));
    assert_eq!(store.get(id(1, 0)).unwrap().read().unwrap(), bytes(700, 3));
}

#[test]
fn a_disk_that_refuses_is_an_error_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("file");
    std::fs::write(&in_the_way, "").unwrap();
    let store = Store::new(100, in_the_way.join("spill"));
    store.put(id(1, 0), bytes(80, 0)).unwrap();
    for _ in 0..2 {
        let refused = store.put(id(1, 1), bytes(80, 1));
        assert!(matches!(refused, Err(ValueError::Spill { .. })), "{refused:?}");
    }
    assert_eq!((store.len(), store.in_memory()), (1, 80));
    assert_eq!(store.get(id(1, 0)).unwrap().read().unwrap(), bytes(80, 0));
}

#[test]
fn many_threads_keep_the_limit_and_lose_nothing() {
    const LIMIT: u64 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(LIMIT, dir.path().into());
    let most = AtomicUsize::new(0);
    thread::scope(|scope| {
        for run in 1..=4u64 {
            let (store, most) = (&store, &most);
            scope.spawn(move || {
                let length = |index: u32| (index as usize * 797) % 4_000;
                for index in 0..200 {
                    store.put(id(run, index), bytes(length(index), index)).unwrap();
                    most.fetch_max(usize::try_from(store.in_memory()).unwrap(), Ordering::Relaxed);
                    let other = index / 2;
                    if other % 3 == 0 {
                        store.release(RunId(run), [id(run, other).instance]);
                        assert!(store.get(id(run, other)).is_none());
                    } else {
                        let held = store.get(id(run, other)).unwrap();
                        assert_eq!(held.read().unwrap(), bytes(length(other), other));
                    }
                }
                store.forget(RunId(run));
            });
        }
    });
    let most = most.into_inner() as u64;
    assert!(most <= LIMIT && most > LIMIT / 2, "{most} bytes in memory");
    assert_eq!((store.len(), store.in_memory(), store.on_disk()), (0, 0, 0));
    assert_eq!(files(dir.path()), 0);
}

#[test]
fn values_come_from_other_workers_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = pair(dir.path(), 1 << 20);
    // In memory and on disk there, to memory and to disk here; and one without bytes.
    for (index, length) in [0, 1, 70_000, 1 << 20, 3 << 20, 2_000_000].into_iter().enumerate() {
        let id = id(1, u32::try_from(index).unwrap());
        let value = bytes(length, 7);
        let stored = one.hold(id, value.clone()).unwrap();
        assert_eq!(stored.place, Whereabouts::Worker(ONE, id.instance));
        let held = two.get(RunId(1), &stored, &never).unwrap();
        assert_eq!(held.is_on_disk(), length > 1 << 20);
        assert_eq!(held.read().unwrap(), value);
        assert!(two.store().in_memory() <= 1 << 20);
    }
    for values in [one, two] {
        values.store().forget(RunId(1));
        assert_eq!((values.store().in_memory(), values.store().on_disk()), (0, 0));
    }
    assert_eq!((files(&dir.path().join("one")), files(&dir.path().join("two"))), (0, 0));
}

#[test]
fn copies_make_room_before_anything_goes_to_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = pair(dir.path(), 10_000);
    let stored = one.hold(id(1, 0), bytes(6_000, 0)).unwrap();
    two.hold(id(1, 1), bytes(3_000, 1)).unwrap();
    two.get(RunId(1), &stored, &never).unwrap();
    two.hold(id(1, 2), bytes(3_000, 2)).unwrap();
    assert!(two.store().get(id(1, 0)).is_none());
    assert_eq!((two.store().in_memory(), two.store().on_disk()), (6_000, 0));
    assert_eq!(two.get(RunId(1), &stored, &never).unwrap().read().unwrap(), bytes(6_000, 0));
}

#[test]
fn what_is_gone_is_said_to_be_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = pair(dir.path(), 10_000);
    let stored = one.hold(id(1, 0), bytes(100, 0)).unwrap();
    one.store().release(RunId(1), [id(1, 0).instance]);
    let error = two.get(RunId(1), &stored, &never).unwrap_err();
    assert_eq!(error.to_string(), "worker one does not have it any more");
    assert!(matches!(one.get(RunId(1), &stored, &never), Err(FetchError::Released)));
    let elsewhere = Stored { place: Whereabouts::Worker(WorkerId(9), id(1, 0).instance), ..stored };
    let error = two.get(RunId(1), &elsewhere, &never).unwrap_err();
    assert_eq!(error.to_string(), "worker 9, which had it, is gone");
    two.set_peers([], [(WorkerId(9), "nine".to_owned())]);
    let error = two.get(RunId(1), &elsewhere, &never).unwrap_err();
    assert_eq!(error.to_string(), "worker nine, which had it, is gone");
}

#[test]
fn a_copy_that_is_older_than_the_reference_is_not_taken_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = pair(dir.path(), 10_000);
    let old = one.hold(id(1, 0), bytes(100, 0)).unwrap();
    two.get(RunId(1), &old, &never).unwrap();
    let new = one.hold(id(1, 0), bytes(100, 1)).unwrap();
    assert_eq!(two.get(RunId(1), &new, &never).unwrap().read().unwrap(), bytes(100, 1));
    assert!(matches!(two.get(RunId(1), &old, &never), Err(FetchError::Mismatch)));
}

#[test]
fn files_are_read_like_values_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let values = Values::new(1_000, dir.path().join("spill"));
    let whole = bytes(600_000, 1);
    for (payload, ending) in [
        (br#"{"a":[1,2]}"#.to_vec(), "json"),
        (payload::of_bytes(&whole), "bin"),
        (payload::of_bytes(b""), "bin"),
    ] {
        let (told, content) = payload::file_form(&payload).unwrap();
        assert_eq!(told, ending);
        let path = dir.path().join(format!("value.{ending}"));
        std::fs::write(&path, content).unwrap();
        let place = Whereabouts::File(path);
        let stored = Stored { place, bytes: payload.len() as u64, checksum: checksum(&payload) };
        assert_eq!(values.get(RunId(1), &stored, &never).unwrap().read().unwrap(), payload);
        let other = Stored { checksum: 1, ..stored.clone() };
        let read = values.get(RunId(1), &other, &never).unwrap().read();
        assert!(matches!(read, Err(ValueError::Damaged)), "{read:?}");
        let longer = Stored { bytes: 1 << 50, ..stored };
        assert!(matches!(values.get(RunId(1), &longer, &never), Err(FetchError::Mismatch)));
    }
    assert_eq!(values.store().in_memory(), 0);
}

/// A peer that reads one request from each connection and then sends a forged answer.
fn hostile(answer: impl Fn(&mut TcpStream) + Send + 'static) -> (Peer, mpsc::Receiver<()>) {
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            if stream.read_exact(&mut [0; 48]).is_ok() && tell.send(()).is_ok() {
                answer(&mut stream);
            }
        }
    });
    (Peer { name: "evil".into(), address, secret: Secret::random().unwrap() }, told)
}

fn head(status: u8, length: u64, checksum: u64) -> Vec<u8> {
    [&[status][..], &length.to_le_bytes(), &checksum.to_le_bytes()].concat()
}

#[test]
fn a_lying_worker_is_refused_without_room_for_what_it_announces() {
    let value = bytes(100, 0);
    let sum = checksum(&value);
    let lies: Vec<Vec<u8>> = vec![
        head(0, u64::MAX, sum),
        head(0, 1 << 40, sum),
        head(0, 100, sum ^ 1),
        head(7, 100, sum),
        [head(0, 100, sum), vec![0; 100]].concat(),
        [head(0, 100, sum), value[..99].to_vec()].concat(),
        [head(0, 100, sum), value.to_vec(), vec![0; 1 << 20]].concat(),
        head(0, 100, sum)[..5].to_vec(),
        Vec::new(),
    ];
    for (at, lie) in lies.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let values = Values::new(1_000, dir.path().into());
        let endless = at == 6;
        let (peer, _told) = hostile(move |stream| {
            let _ = stream.write_all(&lie);
        });
        values.set_peers([(ONE, peer)], []);
        let stored = Stored {
            place: Whereabouts::Worker(ONE, id(1, 0).instance),
            bytes: 100,
            checksum: sum,
        };
        let got = values.get(RunId(1), &stored, &never);
        // Bytes after a value are never part of it, whether or not they are noticed.
        match got {
            Ok(held) => assert!(endless && held.read().unwrap() == value, "lie {at}"),
            Err(_) => assert_eq!((values.store().in_memory(), values.store().on_disk()), (0, 0)),
        }
    }
}

#[test]
fn a_fetch_ends_when_its_attempt_does() {
    let dir = tempfile::tempdir().unwrap();
    let values = Values::new(1_000, dir.path().into());
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let (peer, asked) = hostile(move |stream| {
        let _ = stream.write_all(&head(0, 100, 1));
        let _ = held.lock().unwrap().recv();
    });
    values.set_peers([(ONE, peer)], []);
    let stored =
        Stored { place: Whereabouts::Worker(ONE, id(1, 0).instance), bytes: 100, checksum: 1 };
    let cancelled = AtomicBool::new(false);
    thread::scope(|scope| {
        // One asks, the other waits for it.
        let fetch = || values.get(RunId(1), &stored, &|| cancelled.load(Ordering::Relaxed));
        let (first, second) = (scope.spawn(fetch), scope.spawn(fetch));
        asked.recv().unwrap();
        cancelled.store(true, Ordering::Relaxed);
        for thread in [first, second] {
            assert!(matches!(thread.join().unwrap(), Err(FetchError::Cancelled)));
        }
    });
    assert_eq!(values.store().in_memory(), 0);
    drop(release);
}

#[test]
fn of_many_threads_that_want_a_value_one_fetches_it() {
    let dir = tempfile::tempdir().unwrap();
    let values = Values::new(1 << 20, dir.path().into());
    let value = bytes(100_000, 5);
    let answer = [head(0, 100_000, checksum(&value)), value.to_vec()].concat();
    let (peer, asked) = hostile(move |stream| {
        let _ = stream.write_all(&answer);
    });
    values.set_peers([(ONE, peer)], []);
    let place = Whereabouts::Worker(ONE, id(1, 0).instance);
    let stored = Stored { place, bytes: 100_000, checksum: checksum(&value) };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let held = values.get(RunId(1), &stored, &never).unwrap();
                assert_eq!(held.read().unwrap(), value);
            });
        }
    });
    drop(values);
    assert_eq!(asked.try_iter().count(), 1);
}

#[test]
fn whoever_does_not_know_the_secret_gets_a_closed_connection() {
    let dir = tempfile::tempdir().unwrap();
    let (one, _) = pair(dir.path(), 1_000);
    one.hold(id(1, 0), bytes(100, 0)).unwrap();
    let (address, secret) = one.door().unwrap();
    let mut request = secret.bytes().to_vec();
    request.extend([1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(ask(address, &request).len(), 117);
    request[31] ^= 1;
    assert!(ask(address, &request).is_empty());
    assert!(ask(address, &[0; 1_000]).is_empty());
}

/// Sends a request, and returns everything until the other side closes.
fn ask(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    // A connection that is closed before all was read may be reset.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn a_worker_that_stops_cuts_off_its_connections() {
    let dir = tempfile::tempdir().unwrap();
    let (one, _) = pair(dir.path(), 1_000);
    let (address, _) = one.door().unwrap();
    let mut idle = TcpStream::connect(address).unwrap();
    // It has been accepted once the next connection has had its answer.
    assert!(ask(address, &[0; 48]).is_empty());
    drop(one);
    assert!(matches!(idle.read(&mut [0]), Ok(0) | Err(_)));
    assert!(TcpStream::connect(address).is_err());
}

/// Compares with a bare copy over TCP in the same run. `cargo test --release -p dagrun-worker
/// --test values -- --ignored --nocapture`.
#[test]
#[ignore = "measures; needs 3 GB of memory and a release build"]
fn throughput() {
    const LENGTH: usize = 1_000_000_000;
    let dir = tempfile::tempdir().unwrap();
    let value = Bytes::from(vec![7u8; LENGTH]);
    let mut bare = Duration::MAX;
    let mut ours = Duration::MAX;
    for _ in 0..3 {
        bare = bare.min(bare_copy(&value));
        let (one, two) = pair(dir.path(), 2 * LENGTH as u64);
        let stored = one.hold(id(1, 0), value.clone()).unwrap();
        let began = Instant::now();
        let held = two.get(RunId(1), &stored, &never).unwrap();
        ours = ours.min(began.elapsed());
        assert_eq!(held.length(), LENGTH as u64);
    }
    let rate = |took: Duration| LENGTH as f64 / took.as_secs_f64() / 1e9;
    let _ = writeln!(std::io::stderr(), "bare {:.2} GB/s, ours {:.2}", rate(bare), rate(ours));
    assert!(ours < 2 * bare);
}

fn bare_copy(value: &Bytes) -> Duration {
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| listener.accept().unwrap().0.write_all(value).unwrap());
        let mut got = Vec::with_capacity(value.len() + 1);
        TcpStream::connect(address).unwrap().read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), value.len());
    });
    began.elapsed()
}
