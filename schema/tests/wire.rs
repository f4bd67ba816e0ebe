//! Whatever is written is read back unchanged; anything else is refused and never panics.

use std::path::PathBuf;

use capnp::traits::OwnedStruct;
use dagrun_core::engine::{Assignment, Claim, Outcome, Refusal, Report};
use dagrun_core::ids::{AttemptId, InstanceId, RunId, TaskId, Timestamp, WorkerId};
use dagrun_core::offer::Offer;
use dagrun_core::output::Stamp;
use dagrun_core::pipeline::MaxFail;
use dagrun_core::recipe::Input;
use dagrun_core::status::{
    Counts, Detail, Failure, FailureKind, InstanceResult, InstanceRow, LogChunk, RunState,
    RunStatus, RunSummary, State, Stream, TaskStatus, WorkerStatus,
};
use dagrun_schema::dagrun_capnp as schema;
use dagrun_schema::wire::{
    AttemptProgress, Door, Ended, Fenced, Handout, InstancePage, LogPage, Message, Peer,
    Registration, Scope, Submission, TaskDelta, TaskRecipe, Update, WireError,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

type Check = Result<(), TestCaseError>;

/// Writes it and reads it again.
fn round_trip<M: Message + PartialEq + std::fmt::Debug>(sent: &M) -> Check
where
    for<'a> <M::Schema as OwnedStruct>::Builder<'a>: capnp::traits::FromPointerBuilder<'a>,
    for<'a> <M::Schema as OwnedStruct>::Reader<'a>: capnp::traits::FromPointerReader<'a>,
{
    let mut message = capnp::message::Builder::new_default();
    sent.write(message.init_root::<<M::Schema as OwnedStruct>::Builder<'_>>());
    let root = message.get_root_as_reader::<<M::Schema as OwnedStruct>::Reader<'_>>().unwrap();
    let read = M::read(root);
    prop_assert!(read.as_ref().is_ok_and(|read| read == sent), "{:?} became {:?}", sent, read);
    Ok(())
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..20)
}

fn instance() -> impl Strategy<Value = InstanceId> {
    any::<(u32, u32)>().prop_map(|(task, index)| InstanceId { task: TaskId(task), index })
}

fn state() -> impl Strategy<Value = State> {
    (0..8u8).prop_map(|number| State::from_u8(number).unwrap())
}

fn run_state() -> impl Strategy<Value = RunState> {
    (0..4u8).prop_filter_map("no such state", RunState::from_u8)
}

fn counts() -> impl Strategy<Value = Counts> {
    any::<[u32; 8]>().prop_map(Counts)
}

/// Excludes the time that stands for `None`.
fn time() -> impl Strategy<Value = Option<Timestamp>> {
    option::of((1..u64::MAX).prop_map(Timestamp))
}

fn offer() -> impl Strategy<Value = Offer> {
    let resources = vec((".*", any::<u64>()), 0..3);
    (any::<u32>(), vec(".*", 0..3), any::<u64>(), resources)
        .prop_map(|(slots, labels, memory, resources)| Offer { slots, labels, memory, resources })
}

fn door() -> impl Strategy<Value = Option<Door>> {
    let address = any::<(u32, u16)>()
        .prop_map(|(ip, port)| std::net::SocketAddr::from((std::net::Ipv4Addr::from(ip), port)));
    option::of((address, any::<[u8; 32]>()).prop_map(|(address, secret)| Door { address, secret }))
}

fn row() -> impl Strategy<Value = InstanceRow> {
    let ends = (time(), time(), option::of(any::<i32>()));
    (instance(), state(), any::<u32>(), option::of(".*"), ends, ".*").prop_map(
        |(instance, state, attempts, worker, (started, finished, exit_code), reason)| InstanceRow {
            instance,
            state,
            attempts,
            worker,
            started,
            finished,
            exit_code,
            reason,
        },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let kinds = [
        FailureKind::Timeout,
        FailureKind::Lost,
        FailureKind::Start,
        FailureKind::MissingOutput,
        FailureKind::Capture,
        FailureKind::Cancelled,
        FailureKind::Function,
        FailureKind::Panic,
    ];
    prop_oneof![
        proptest::sample::select(vec![Outcome::Started, Outcome::Succeeded, Outcome::Returned]),
        any::<i32>().prop_map(|code| Outcome::Failed(FailureKind::Exit(code))),
        any::<i32>().prop_map(|signal| Outcome::Failed(FailureKind::Signal(signal))),
        proptest::sample::select(kinds.to_vec()).prop_map(Outcome::Failed),
        proptest::sample::select(vec![Refusal::Scarce, Refusal::Missing])
            .prop_map(Outcome::Refused),
        any::<(u32, u32)>().prop_map(|(task, index)| {
            Outcome::Refused(Refusal::Value(InstanceId { task: TaskId(task), index }))
        }),
    ]
}

fn stamps() -> impl Strategy<Value = Vec<Option<Stamp>>> {
    let file = any::<(u64, i64)>().prop_map(|(bytes, modified)| Stamp::File { bytes, modified });
    let tree = any::<(u64, u64, i64)>();
    let tree = tree.prop_map(|(entries, bytes, modified)| Stamp::Tree { entries, bytes, modified });
    vec(option::of(prop_oneof![Just(Stamp::Directory), file, tree]), 0..3)
}

proptest! {
    #[test]
    fn reports_and_assignments(
        numbers in any::<[u32; 4]>(),
        times in any::<[u64; 3]>(),
        outcome in outcome(),
        detail in option::of((".*", data(), option::of(data()), vec(data(), 0..3), stamps())),
        inputs in vec(vec((option::of(data()), vec(data(), 0..3)), 0..3), 0..3),
    ) {
        let detail = detail.map(|(reason, stderr_tail, value, outputs, stamps)| {
            Box::new(Detail { reason, stderr_tail, value, outputs, stamps })
        });
        let first = AttemptId(times[0]);
        let (started, finished) = (Timestamp(times[1]), Timestamp(times[2]));
        let items = None;
        let count = numbers[0];
        round_trip(&Report { first, count, outcome, started, finished, detail, items })?;
        let input = |(value, outputs)| Input { value, outputs, file: None };
        let inputs: Vec<Vec<Input>> =
            inputs.into_iter().map(|list| list.into_iter().map(input).collect()).collect();
        let assignment = Assignment {
            run: RunId(times[1]),
            task: TaskId(numbers[1]),
            memory: 4 << 30,
            first_index: numbers[2] / 2,
            count: u32::try_from(inputs.len()).unwrap(),
            first_attempt: first,
            number: numbers[3],
        };
        let announce = numbers[3] % 2 == 1;
        let fenced = Fenced { worker: "a1".to_owned(), number: numbers[0] };
        let fenced = vec![fenced; (numbers[1] % 3) as usize];
        round_trip(&Handout { assignment, inputs, announce, fenced })?;
    }

    #[test]
    fn workers(
        offer in offer(),
        door in door(),
        texts in any::<[String; 2]>(),
        functions in vec((".*", any::<u64>()), 0..3),
        number in any::<u32>(),
        fraction in 0.0..=1.0f32,
        json in data(),
        uid in "[a-zA-Z0-9]{0,64}",
        lock in option::of("/.*"),
        held in vec((1..1000u64, 1..1000u64), 0..3),
    ) {
        let [name, host] = texts;
        let (run, task, log_dir) = (RunId(number.into()), TaskId(number), name.clone().into());
        round_trip(&TaskRecipe { run, task, json, log_dir })?;
        round_trip(&Peer { id: WorkerId(number), name: name.clone(), door: door.clone() })?;
        round_trip(&AttemptProgress { attempt: AttemptId(number.into()), fraction })?;
        round_trip(&WorkerStatus {
            id: number,
            name: name.clone(),
            host: host.clone(),
            offer: offer.clone(),
            running: number,
            last_heartbeat: Timestamp(number.into()),
            note: host.clone(),
        })?;
        let mut end = 0;
        let range = |(gap, length): &(u64, u64)| {
            let first = end + gap;
            end = first + length;
            first..end
        };
        let held: Vec<_> = held.iter().map(range).collect();
        let claim = |range: &std::ops::Range<u64>| Claim {
            assignment: Assignment {
                run,
                task,
                first_index: number / 2,
                count: u32::try_from(range.end - range.start).unwrap(),
                first_attempt: AttemptId(range.start),
                number,
                memory: range.end,
            },
            started: Timestamp(range.start),
            ended: number % 3 == 0,
        };
        let claims = held.iter().map(claim).collect();
        round_trip(&Registration {
            name,
            host,
            pid: number,
            offer,
            functions,
            door,
            uid,
            serial: number,
            lock: lock.map(PathBuf::from),
            held,
            claims,
            runs: vec![run],
            leaving: number % 2 == 1,
        })?;
    }

    #[test]
    fn runs_and_updates(
        rows in vec(row(), 0..3),
        next in option::of(instance()),
        states in (run_state(), state()),
        finished in time(),
        counts in counts(),
        number in any::<u32>(),
        flag in any::<bool>(),
        text in ".*",
        bytes in data(),
        stream in proptest::sample::select(vec![Stream::Stdout, Stream::Stderr, Stream::Note]),
    ) {
        for row in &rows {
            let value = flag.then(|| bytes.clone());
            let (detail, outputs) = (bytes.clone(), vec![bytes.clone()]);
            round_trip(&InstanceResult { row: row.clone(), value, detail, outputs })?;
        }
        round_trip(&InstancePage { rows, next })?;
        let instance = next.unwrap_or(InstanceId { task: TaskId(number), index: 0 });
        let (run, started) = (RunId(number.into()), Timestamp(number.into()));
        let (state, ended) = states;
        let total = u64::from(number);
        round_trip(&RunSummary {
            run, name: text.clone(), state, started, finished,
            instances: total, done: total, failed: total,
            tags: vec!["a".parse().unwrap(), "b=c=d".parse().unwrap()],
        })?;
        let task = TaskStatus {
            name: text.clone(), counts, running: number, width_known: flag,
            partial: number, note: text.clone(),
        };
        let tasks = vec![task];
        let (name, waiting) = (text.clone(), text.clone());
        round_trip(&RunStatus { run, name, state, started, finished, tasks, waiting })?;
        let chunk =
            LogChunk { instance, attempt: number, stream, at: started, bytes: bytes.clone() };
        round_trip(&LogPage { chunks: vec![chunk], cursor: bytes.clone(), more: flag })?;
        let task = instance.task;
        round_trip(&Update {
            state,
            finished,
            tasks: vec![TaskDelta { task, counts, running: number, width_known: flag }],
            failures: vec![Failure { instance, reason: text.clone(), stderr_tail: bytes.clone() }],
            workers: number,
            ended: vec![Ended { task, first: number, count: number, state: ended }],
            ended_lost: flag,
            waiting: text.clone(),
        })?;
        for max_fail in [None, Some(MaxFail::Count(number)), Some(MaxFail::Part(number))] {
            let (pipeline, base_dir) = (bytes.clone(), PathBuf::from(&text));
            round_trip(&Submission { pipeline, base_dir, seed: total, fail_fast: flag, max_fail })?;
        }
        for scope in [Scope::Run, Scope::Task(text.clone()), Scope::Instance(text, number)] {
            let mut message = capnp::message::Builder::new_default();
            scope.write(message.init_root());
            let read = Scope::read(message.get_root_as_reader().unwrap()).unwrap();
            prop_assert_eq!(read, scope);
        }
    }

    /// Arbitrary words in place of a message.
    #[test]
    fn nonsense_is_no_panic(words in vec(any::<u64>(), 1..64), small in any::<bool>()) {
        let bytes: Vec<u8> = words
            .iter()
            // Small numbers are more often pointers to something within the message.
            .flat_map(|word| if small { word & 0x0000_0007_0000_001f } else { *word }.to_le_bytes())
            .collect();
        let segments: &[&[u8]] = &[&bytes];
        let options = capnp::message::ReaderOptions::new();
        let message = capnp::message::Reader::new(
            capnp::message::SegmentArray::new(segments),
            options,
        );
        let _ = message.get_root().map(Report::read);
        let _ = message.get_root().map(Handout::read);
        let _ = message.get_root().map(Registration::read);
        let _ = message.get_root().map(Peer::read);
        let _ = message.get_root().map(Update::read);
        let _ = message.get_root().map(RunStatus::read);
        let _ = message.get_root().map(InstancePage::read);
        let _ = message.get_root().map(LogPage::read);
        let _ = message.get_root().map(InstanceResult::read);
        let _ = message.get_root().map(Submission::read);
        let _ = message.get_root().map(Scope::read);
    }
}

#[test]
fn what_is_out_of_range_is_refused() {
    let mut message = capnp::message::Builder::new_default();
    let mut update = message.init_root::<schema::update::Builder<'_>>();
    update.set_state(9);
    assert!(matches!(Update::read(update.into_reader()), Err(WireError::Range { .. })));

    let mut assignment = message.init_root::<schema::assignment::Builder<'_>>();
    assignment.set_first_index(u32::MAX);
    assignment.set_count(1);
    let read = Handout::read(assignment.into_reader());
    assert!(matches!(read, Err(WireError::Range { what: "a count", .. })));

    let mut assignment = message.init_root::<schema::assignment::Builder<'_>>();
    assignment.set_count(3);
    assignment.reborrow().init_inputs(2);
    let read = Handout::read(assignment.into_reader());
    assert!(matches!(read, Err(WireError::Range { what: "the number of inputs", number: 2 })));

    for ranges in [&[(5, 0)][..], &[(5, 3), (7, 1)], &[(5, 3), (1, 1)], &[(u64::MAX, 1)]] {
        let registration = message.init_root::<schema::registration::Builder<'_>>();
        let mut held = registration.init_held(u32::try_from(ranges.len()).unwrap());
        for (at, (first, count)) in (0..).zip(ranges) {
            held.reborrow().get(at).set_first(*first);
            held.reborrow().get(at).set_count(*count);
        }
        let registration = message.get_root_as_reader::<schema::registration::Reader<'_>>();
        let read = Registration::read(registration.unwrap());
        assert!(matches!(read, Err(WireError::Range { what: "an attempt", .. })), "{read:?}");
    }

    for uid in ["a/b", "..", "a b", &"a".repeat(65)] {
        let mut registration = message.init_root::<schema::registration::Builder<'_>>();
        registration.set_uid(uid);
        let read = Registration::read(registration.into_reader());
        assert!(matches!(read, Err(WireError::Uid)), "{read:?}");
    }

    let mut status = message.init_root::<schema::task_status::Builder<'_>>();
    status.reborrow().init_counts(7);
    assert!(matches!(TaskStatus::read(status.into_reader()), Err(WireError::Range { .. })));

    for (address, secret) in [("nowhere", 32), ("127.0.0.1:9", 31), ("127.0.0.1:9", 33)] {
        let mut door = message.init_root::<schema::door::Builder<'_>>().init_open();
        door.set_address(address);
        door.set_secret(&vec![0; secret]);
        let door = message.get_root_as_reader::<schema::door::Reader<'_>>().unwrap();
        assert!(matches!(Option::<Door>::read(door), Err(WireError::Door(_))));
    }

    for fraction in [f32::NAN, f32::INFINITY, -1.0] {
        let mut progress = message.init_root::<schema::attempt_progress::Builder<'_>>();
        progress.set_fraction(fraction);
        let read = AttemptProgress::read(progress.into_reader()).unwrap();
        assert!((0.0..=1.0).contains(&read.fraction), "{fraction}");
    }
}

/// A list of structures without content is as short for millions of them as for one.
#[test]
fn many_empty_elements_are_refused() {
    for (count, is_read) in [(0, true), (1, true), (2, false), (1 << 26, false)] {
        // A structure without numbers and with one pointer, to a list of `count` structures of no size.
        let words = [1 << 48, 1 | 7 << 32, count << 2];
        let bytes: Vec<u8> = words.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
        let segments: &[&[u8]] = &[&bytes];
        let options = capnp::message::ReaderOptions::new();
        let message =
            capnp::message::Reader::new(capnp::message::SegmentArray::new(segments), options);
        let page = message.get_root().map_err(WireError::from).and_then(InstancePage::read);
        assert_eq!(page.is_ok(), is_read, "{count}: {page:?}");
    }
}
