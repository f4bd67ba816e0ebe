//! Functions as tasks, in slots.

mod common;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use common::until;
use dagrun_core::engine::{Assignment, Outcome, Report};
use dagrun_core::ids::{AttemptId, InstanceId, Micros, RunId, TaskId};
use dagrun_core::payload;
use dagrun_core::recipe::{self, Argument, Calling, Input, Job, Keep};
use dagrun_core::status::{FailureKind, State, Stream};
use dagrun_macros::task;
use dagrun_worker::attempt::Runner;
use dagrun_worker::control::Stop;
use dagrun_worker::function::{self, Context, Failure, Gathered, TaskFn};
use dagrun_worker::groups::Mark;
use dagrun_worker::log::{Cursor, LogReader, RunLog};
use dagrun_worker::slots::{Plan, Slots, Work};
use serde::{Deserialize, Serialize};

type Args = Vec<(Option<String>, Argument)>;

/// Calls one function, with arguments that may depend on the index.
struct Plain {
    calling: Calling,
    args: Box<dyn Fn(u32) -> Args + Send + Sync>,
}

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.calling.fmt(f)
    }
}

impl Plan for Plain {
    fn cpus(&self) -> u32 {
        self.calling.cpus
    }

    fn job(&self, index: u32, attempt: u32, _: &[Input]) -> Result<Job, String> {
        let args = (self.args)(index);
        Ok(Job::Call(Calling { index, attempt, args, ..self.calling.clone() }))
    }
}

fn calling(function: &str) -> Calling {
    Calling {
        function: function.to_owned(),
        signature: None,
        args: Vec::new(),
        fold: false,
        task: "test".to_owned(),
        index: 0,
        attempt: 1,
        run: RunId(1),
        seed: 77,
        run_dir: PathBuf::new(),
        cpus: 1,
        timeout: None,
        grace: Micros::from_secs(10),
        outputs: Vec::new(),
        report_outputs: false,
        keep: Keep::Report,
    }
}

fn value<T: Serialize + 'static>(value: &T) -> Argument {
    Argument::Value(payload::encode(value).unwrap())
}

fn listed(args: Vec<Argument>) -> Args {
    args.into_iter().map(|argument| (None, argument)).collect()
}

fn named(args: Vec<(&str, Argument)>) -> Args {
    args.into_iter().map(|(name, argument)| (Some(name.to_owned()), argument)).collect()
}

/// Slots and what they report.
struct Rig {
    slots: Slots,
    reports: mpsc::Receiver<Report>,
    next: AtomicU32,
}

impl Rig {
    fn new(count: usize) -> Rig {
        let (sender, reports) = mpsc::channel();
        let sender = Mutex::new(sender);
        let sink = Box::new(move |report| sender.lock().unwrap().send(report).unwrap());
        let runner = Runner::new(Mark::random(), None, 1 << 20);
        Rig { slots: Slots::new(count, runner, sink).unwrap(), reports, next: AtomicU32::new(0) }
    }

    /// Starts calls; gives the id of the first.
    fn push(
        &self,
        calling: Calling,
        count: u32,
        log: Option<Arc<RunLog>>,
        args: impl Fn(u32) -> Args + Send + Sync + 'static,
    ) -> AttemptId {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        let assignment = Assignment {
            run: RunId(1),
            task: TaskId(0),
            first_index: first,
            count,
            first_attempt: AttemptId(first.into()),
            number: 1,
        };
        let plan = Arc::new(Plain { calling, args: Box::new(args) });
        self.slots.push([Work { assignment, plan, inputs: Arc::default(), log }]);
        AttemptId(first.into())
    }

    fn next(&self) -> Report {
        self.reports.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    fn call(&self, function: &str, args: Args) -> Report {
        self.run_with(calling(function), args)
    }

    fn run_with(&self, calling: Calling, args: Args) -> Report {
        self.push(calling, 1, None, move |_| args.clone());
        self.next()
    }
}

/// The value of a success.
fn returned<T: serde::de::DeserializeOwned + 'static>(report: &Report) -> T {
    assert_eq!(report.outcome, Outcome::Succeeded, "{:?}", report.detail);
    let payload = report.detail.as_ref().unwrap().value.clone().unwrap();
    payload::decode(&payload.into()).unwrap()
}

/// The kind and reason of a failure.
fn failed(report: &Report) -> (FailureKind, &str) {
    let Outcome::Failed(kind) = report.outcome else { panic!("{report:?}") };
    (kind, &report.detail.as_ref().unwrap().reason)
}

fn tail(report: &Report) -> String {
    String::from_utf8(report.detail.as_ref().unwrap().stderr_tail.clone()).unwrap()
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct OptionParams {
    strike: f64,
    volatility: f64,
}

#[derive(Debug, thiserror::Error)]
enum PriceError {
    #[error("no price for strike {0}")]
    Strike(f64, #[source] std::num::ParseIntError),
}

/// What an option is worth.
#[task(crate = dagrun_worker::function)]
fn price(p: OptionParams) -> Result<f64, PriceError> {
    match p.strike < 0.0 {
        true => Err(PriceError::Strike(p.strike, "x".parse::<u8>().unwrap_err())),
        false => Ok(p.strike * p.volatility),
    }
}

#[task(crate = dagrun_worker::function)]
fn join(left: String, context: &Context, right: Option<String>) -> String {
    format!("{left}{}@{}", right.unwrap_or_default(), context.index())
}

#[test]
fn a_function_gets_its_inputs_and_gives_its_value() {
    let rig = Rig::new(2);
    let p = OptionParams { strike: 100.0, volatility: 0.5 };
    assert_eq!(returned::<f64>(&rig.call("price", listed(vec![value(&p)]))), 50.0);
    assert_eq!(returned::<f64>(&rig.call("price", named(vec![("p", value(&p))]))), 50.0);
    // The fields of the only input.
    let fields = vec![("strike", value(&2.0)), ("volatility", value(&f64::INFINITY))];
    assert_eq!(returned::<f64>(&rig.call("price", named(fields))), f64::INFINITY);
    let args = vec![("right", value(&"b")), ("left", value(&"a"))];
    assert_eq!(returned::<String>(&rig.call("join", named(args))), "ab@3");
    let args = vec![value(&"a"), Argument::Value(b"null".to_vec())];
    assert_eq!(returned::<String>(&rig.call("join", listed(args))), "a@4");
}

#[test]
fn a_task_is_still_a_function() {
    let p = OptionParams { strike: 4.0, volatility: 0.5 };
    assert_eq!(price(p.clone()).unwrap(), 2.0);
    assert_eq!(join("a".into(), &Context::detached(), None), "a@0");
    let doubled: Vec<_> = [p.clone(), p].into_iter().map(*price).map(Result::unwrap).collect();
    assert_eq!(doubled, [2.0, 2.0]);
    assert_eq!(<price as TaskFn>::PARAMS, ["p"]);
    assert_eq!(<join as TaskFn>::PARAMS, ["left", "right"]);
}

#[task(crate = dagrun_worker::function)]
fn twice(left: String, right: String) -> String {
    left + &right
}

#[task(crate = dagrun_worker::function, name = "odd/name")]
fn nothing() {}

mod elsewhere {
    use super::{Context, task};

    /// Another function of the same name, with other types.
    #[task(crate = dagrun_worker::function)]
    pub fn twice(r#type: u32, _: &Context) -> u32 {
        r#type
    }
}

#[test]
fn functions_of_one_name_are_told_apart_by_their_signatures() {
    let names: Vec<_> = function::functions().map(|function| function.name).collect();
    assert!(names.is_sorted() && names.contains(&"odd/name"), "{names:?}");
    let rig = Rig::new(1);
    assert_eq!(rig.call("odd/name", Vec::new()).outcome, Outcome::Succeeded);
    let call = |signature| {
        let calling = Calling { signature, ..calling("twice") };
        rig.run_with(calling, named(vec![("type", value(&5))]))
    };
    assert_eq!(returned::<u32>(&call(Some(elsewhere::twice.signature()))), 5);
    let reason = "twice takes 2 inputs (`left`, `right`), and has no `type`";
    assert_eq!(failed(&call(Some(twice.signature()))), (FailureKind::Start, reason));
    let reason = "the function `twice` of this worker's program has other types";
    assert_eq!(failed(&call(Some(1))), (FailureKind::Start, reason));
    assert!(failed(&call(None)).1.starts_with("2 functions in this worker's program are called"));
}

#[test]
fn what_does_not_fit_is_said_with_the_name_of_the_input() {
    let rig = Rig::new(1);
    let reason = |report: Report| {
        let (kind, reason) = failed(&report);
        assert_eq!((kind, report.started.0), (FailureKind::Start, report.started.0));
        reason.to_owned()
    };
    let call = |function, args| reason(rig.call(function, args));
    assert_eq!(
        call("price", named(vec![("volatility", value(&1.0))])),
        "input `p` of price: missing field `strike`"
    );
    assert_eq!(
        call("price", listed(vec![value(&"a")])),
        "input `p` of price: invalid type: string \"a\", expected struct OptionParams"
    );
    assert_eq!(call("price", Vec::new()), "price takes 1 input (`p`), and is given 0");
    let names = "join_all takes 2 inputs (`first`, `second`), and ";
    assert_eq!(call("join_all", listed(vec![value(&1)])), format!("{names}is given 1"));
    assert_eq!(
        call("join_all", named(vec![("first", value(&1))])),
        format!("{names}is not given `second`")
    );
    assert_eq!(
        call("join_all", named(vec![("first", value(&1)), ("third", value(&1))])),
        format!("{names}has no `third`")
    );
    let stored = payload::Stored {
        place: payload::Place::Worker(
            dagrun_core::ids::WorkerId(3),
            InstanceId { task: TaskId(0), index: 0 },
        ),
        bytes: 1 << 20,
        checksum: 0,
    };
    assert_eq!(
        call("add", listed(vec![Argument::Value(stored.to_payload()), value(&1.0)])),
        "input `a` of add: the value is kept by worker 3"
    );
    let missing = call("prices", Vec::new());
    assert!(missing.starts_with("no function `prices` in this worker's program (it has "));
    assert!(missing.ends_with("; did you mean `price`?)"), "{missing}");
}

#[task(crate = dagrun_worker::function)]
fn join_all(first: Vec<u32>, second: Bytes) -> usize {
    first.len() + second.len()
}

#[task(crate = dagrun_worker::function)]
fn noting() -> Result<u8, Failure> {
    Ok("300".parse::<u8>()?)
}

#[task(crate = dagrun_worker::function)]
fn plain_error(text: String) -> Result<(), String> {
    Err(text)
}

#[test]
fn an_error_comes_with_what_caused_it() {
    let rig = Rig::new(1);
    let p = OptionParams { strike: -1.0, volatility: 0.5 };
    let report = rig.call("price", listed(vec![value(&p)]));
    let reason = "no price for strike -1: invalid digit found in string";
    assert_eq!(failed(&report), (FailureKind::Function, reason));
    let story = "no price for strike -1\ncaused by:\n  invalid digit found in string";
    assert_eq!(tail(&report), story);
    assert!(report.started.0 > 0 && report.finished >= report.started);
    let report = rig.call("noting", Vec::new());
    assert_eq!(failed(&report).1, "number too large to fit in target type");
    assert!(tail(&report).contains("(at worker/tests/functions.rs:"), "{}", tail(&report));
    let report = rig.call("plain_error", listed(vec![value(&"no\nluck")]));
    assert_eq!(failed(&report), (FailureKind::Function, "no …"));
    assert_eq!(tail(&report), "no\nluck");
}

#[task(crate = dagrun_worker::function)]
fn panics(how: String) -> u32 {
    match how.as_str() {
        "text" => panic!("out of {}", "luck"),
        "index" => Vec::<u32>::new()[how.len()],
        "value" => std::panic::panic_any(7_u32),
        "caught" => {
            let caught = std::panic::catch_unwind(|| panic!("caught"));
            u32::from(caught.is_err())
        }
        "rethrown" => {
            let _ = std::panic::catch_unwind(|| panic!("another"));
            std::panic::resume_unwind(Box::new("rethrown".to_owned()))
        }
        _ => {
            let (one, ()) = rayon::join(|| 1, || assert!(how.is_empty(), "in a part"));
            one
        }
    }
}

#[test]
fn a_panic_is_a_failure_with_its_message_and_place() {
    let rig = Rig::new(2);
    for cpus in [1, 2] {
        let call = |how: &'static str| {
            let calling = Calling { cpus, ..calling("panics") };
            rig.run_with(calling, listed(vec![value(&how)]))
        };
        let reason = |how| {
            let report = call(how);
            let (kind, reason) = failed(&report);
            assert_eq!(kind, FailureKind::Panic);
            let (place, message) = reason.split_once(": ").unwrap();
            (place.to_owned(), message.to_owned())
        };
        let here = |place: &str| place.starts_with("panicked at worker/tests/functions.rs:");
        let (place, message) = reason("text");
        assert!(here(&place) && message == "out of luck", "{place}: {message}");
        let (place, message) = reason("index");
        assert!(here(&place) && message.starts_with("index out of bounds"), "{place}: {message}");
        assert_eq!(reason("value").1, "no message");
        assert_eq!(returned::<u32>(&call("caught")), 1);
        assert_eq!(reason("rethrown"), ("panicked".into(), "rethrown".into()));
        let (place, message) = reason("part");
        assert!(here(&place) && message == "in a part", "{place}: {message}");
    }
}

#[test]
fn panics_of_other_threads_go_where_they_went() {
    static SEEN: AtomicBool = AtomicBool::new(false);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref() == Some(&"of another thread") {
            SEEN.store(true, Ordering::Release);
        } else {
            before(info);
        }
    }));
    // Whether the hook of functions is in place already or not.
    Rig::new(1).call("panics", listed(vec![value(&"text")]));
    assert!(std::thread::spawn(|| panic!("of another thread")).join().is_err());
    assert!(SEEN.load(Ordering::Acquire));
}

/// What the deaf wait for.
static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

#[task(crate = dagrun_worker::function)]
fn until_told(context: &Context) -> Result<u32, function::Cancelled> {
    loop {
        context.cancelled()?;
        std::thread::yield_now();
    }
}

#[task(crate = dagrun_worker::function)]
fn deaf() -> u32 {
    let mut open = GATE.0.lock().unwrap();
    while !*open {
        open = GATE.1.wait(open).unwrap();
    }
    1
}

fn started(rig: &Rig) {
    until("it is listed as running", || {
        let (running, _) = rig.slots.newly_running(dagrun_core::ids::Timestamp(u64::MAX));
        (!running.is_empty()).then_some(())
    });
}

#[test]
fn a_function_is_told_to_end() {
    let rig = Rig::new(1);
    for (why, outcome) in [
        (Stop::Cancel, (FailureKind::Cancelled, "cancelled")),
        (Stop::Leave, (FailureKind::Lost, "its worker stopped")),
    ] {
        let id = rig.push(calling("until_told"), 1, None, |_| Vec::new());
        started(&rig);
        rig.slots.stop(&HashSet::from([id]), why);
        assert_eq!(failed(&rig.next()), outcome);
    }
    // Nothing of that is left for the next.
    assert_eq!(rig.call("odd/name", Vec::new()).outcome, Outcome::Succeeded);
}

#[test]
fn a_function_that_takes_too_long_is_told_so() {
    let rig = Rig::new(2);
    for cpus in [1, 2] {
        let timeout = Some(Micros(30_000));
        let report = rig.run_with(Calling { timeout, cpus, ..calling("until_told") }, Vec::new());
        assert_eq!(failed(&report), (FailureKind::Timeout, "timed out after 30ms"));
        assert!(report.finished.0 - report.started.0 >= 30_000, "{report:?}");
    }
    // One that is in time is not; its deadline is forgotten with it.
    let timeout = Some(Micros(20_000));
    let report = rig.run_with(Calling { timeout, ..calling("odd/name") }, Vec::new());
    assert_eq!(report.outcome, Outcome::Succeeded);
    let longer = Calling { timeout: Some(Micros(60_000)), ..calling("until_told") };
    assert_eq!(failed(&rig.run_with(longer, Vec::new())).1, "timed out after 60ms");
}

#[test]
fn a_function_that_does_not_listen_ends_without_its_slot() {
    let rig = Rig::new(1);
    let grace = Micros(20_000);
    let timeout = Some(Micros(20_000));
    let report = rig.run_with(Calling { timeout, grace, ..calling("deaf") }, Vec::new());
    let (kind, reason) = failed(&report);
    assert_eq!(kind, FailureKind::Timeout);
    let still = "the function has not returned and keeps its slot";
    assert_eq!(reason, format!("timed out after 20ms; {still}"));
    assert!(report.finished.0 - report.started.0 >= 40_000, "{report:?}");
    // All ends were told, but the slot is taken.
    rig.slots.wait_idle(None);
    assert_eq!(rig.slots.running(), 0);
    rig.push(calling("odd/name"), 1, None, |_| Vec::new());
    assert_eq!(rig.slots.running(), 0);
    *GATE.0.lock().unwrap() = true;
    GATE.1.notify_all();
    let report = rig.next();
    assert_eq!((report.first, report.outcome), (AttemptId(1), Outcome::Succeeded));
    rig.slots.wait_idle(None);
    assert!(rig.reports.try_recv().is_err(), "told once");
}

#[task(crate = dagrun_worker::function)]
fn thread_count(context: &Context) -> (usize, u32) {
    (rayon::current_num_threads(), context.cpus())
}

thread_local! {
    static WITHIN: AtomicBool = const { AtomicBool::new(false) };
}

/// Fails when it is started on a thread that is within it already.
#[task(crate = dagrun_worker::function)]
fn in_parts() -> Result<u64, &'static str> {
    use rayon::prelude::*;
    if WITHIN.with(|within| within.swap(true, Ordering::Relaxed)) {
        return Err("started within itself");
    }
    let sum = (0..1000_u64).into_par_iter().map(|number| number % 7).sum();
    let (mut left, mut right) = (0, 0);
    rayon::scope(|scope| {
        scope.spawn(|_| left = 1);
        scope.spawn(|_| right = 2);
    });
    WITHIN.with(|within| within.store(false, Ordering::Relaxed));
    Ok(sum)
}

#[test]
fn a_function_has_as_many_threads_as_slots_and_they_run_nothing_else() {
    let rig = Rig::new(4);
    for (cpus, threads) in [(1, 1), (2, 2), (99, 4)] {
        let report = rig.run_with(Calling { cpus, ..calling("thread_count") }, Vec::new());
        assert_eq!(returned::<(usize, u32)>(&report), (threads, threads as u32));
    }
    for cpus in [1, 2] {
        rig.push(Calling { cpus, ..calling("in_parts") }, 200, None, |_| Vec::new());
    }
    for _ in 0..400 {
        assert_eq!(returned::<u64>(&rig.next()), 2997);
    }
}

#[task(crate = dagrun_worker::function)]
fn situation(context: &Context) -> (u32, u32, u64, String, u64, String) {
    let run = context.run().0;
    let (task, worker) = (context.task().to_owned(), context.worker().to_owned());
    (context.index(), context.attempt(), run, task, context.seed(), worker)
}

#[test]
fn a_function_knows_where_it_is() {
    let rig = Rig::new(1);
    rig.slots.runner().set_worker_name("w7");
    rig.call("odd/name", Vec::new());
    let about: (u32, u32, u64, String, u64, String) = returned(&rig.call("situation", Vec::new()));
    assert_eq!(about, (1, 1, 1, "test".into(), 77, "w7".into()));
}

#[task(crate = dagrun_worker::function)]
fn working(context: &Context) -> Result<(), function::Cancelled> {
    for fraction in [f64::NAN, 2.0, -1.0, 0.25] {
        context.progress(fraction);
    }
    loop {
        context.cancelled()?;
        std::thread::yield_now();
    }
}

#[test]
fn progress_is_told_while_it_is_new() {
    let rig = Rig::new(1);
    let id = rig.push(calling("working"), 1, None, |_| Vec::new());
    until("it has come to a quarter", || {
        let told = rig.slots.progress();
        told.contains(&(id, 0.25)).then_some(())
    });
    assert_eq!(rig.slots.progress(), []);
    rig.slots.stop_all(None, Stop::Cancel);
    rig.next();
    assert_eq!(rig.slots.progress(), []);
}

#[task(crate = dagrun_worker::function)]
fn with_files(fail: bool, context: &Context) -> Result<String, std::io::Error> {
    let dir = context.temp_dir()?;
    std::fs::write(dir.join("a"), "a")?;
    assert_eq!(context.temp_dir()?, dir);
    assert!(!fail, "{}", dir.display());
    Ok(dir.display().to_string())
}

#[test]
fn a_temporary_directory_goes_with_its_attempt() {
    let rig = Rig::new(1);
    let first: String = returned(&rig.call("with_files", listed(vec![value(&false)])));
    let report = rig.call("with_files", listed(vec![value(&true)]));
    let second = failed(&report).1.rsplit_once(": ").unwrap().1;
    assert_ne!(first, second);
    for dir in [&first, second] {
        assert!(dir.starts_with('/') && !std::path::Path::new(dir).exists(), "{dir}");
    }
}

#[task(crate = dagrun_worker::function)]
fn talks(lines: u32, context: &Context) {
    for line in 0..lines {
        context.log(&format!("line {line}"));
    }
}

#[test]
fn lines_go_into_the_log_of_the_attempt_up_to_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(RunLog::new(dir.path().into(), "w"));
    let rig = Rig::new(1);
    for lines in [2_u32, 200_000] {
        rig.push(calling("talks"), 1, Some(log.clone()), move |_| listed(vec![value(&lines)]));
        assert_eq!(rig.next().outcome, Outcome::Succeeded);
    }
    log.flush();
    let mut reader = LogReader::open(dir.path());
    let chunks = reader.read(&mut Cursor::default(), usize::MAX, &mut |_, _| true).unwrap();
    let of = |index, stream| {
        let chunks = chunks.iter().filter(|it| it.instance.index == index && it.stream == stream);
        chunks.flat_map(|chunk| chunk.bytes.clone()).collect::<Vec<u8>>()
    };
    assert_eq!(of(0, Stream::Stdout), b"line 0\nline 1\n");
    assert_eq!(of(0, Stream::Note), b"");
    assert!((1_000_000..=1 << 20).contains(&of(1, Stream::Stdout).len()));
    assert_eq!(of(1, Stream::Note), "… more is not kept …\n".as_bytes());
}

/// A file of values: numbers, and one instance that failed.
fn gathered(dir: &std::path::Path, values: &[Option<f64>]) -> Argument {
    let path = dir.join("m.values");
    let mut file = std::fs::File::create(&path).unwrap();
    recipe::values::write_header(&mut file).unwrap();
    for (index, value) in (0..).zip(values) {
        let state = if value.is_some() { State::Succeeded } else { State::Failed };
        let payload = value.map(|value| payload::encode(&value).unwrap());
        recipe::values::write_record(&mut file, index, state, payload.as_deref()).unwrap();
    }
    Argument::Gathered(path)
}

#[task(crate = dagrun_worker::function)]
fn total(all: Vec<f64>) -> f64 {
    all.iter().sum()
}

#[task(crate = dagrun_worker::function)]
fn count_both(all: Vec<Option<f64>>) -> (usize, usize) {
    (all.len(), all.iter().flatten().count())
}

#[task(crate = dagrun_worker::function)]
fn mean(all: Gathered<f64>) -> Result<f64, function::GatherError> {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in all.values() {
        sum += value?;
        count += 1.0;
    }
    Ok(sum / count)
}

#[task(crate = dagrun_worker::function)]
fn failed_ones(all: Gathered<f64>) -> Result<Vec<(u32, State)>, function::GatherError> {
    let entries = all.collect::<Result<Vec<_>, _>>()?;
    let failed = entries.into_iter().filter(|entry| entry.value.is_none());
    Ok(failed.map(|entry| (entry.index, entry.state)).collect())
}

#[test]
fn gathered_values_come_as_a_list_or_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new(1);
    let all = listed(vec![gathered(dir.path(), &[Some(1.0), Some(f64::INFINITY)])]);
    assert_eq!(returned::<f64>(&rig.call("total", all)), f64::INFINITY);
    let some = || listed(vec![gathered(dir.path(), &[Some(1.5), None, Some(2.5)])]);
    assert_eq!(returned::<(usize, usize)>(&rig.call("count_both", some())), (3, 2));
    assert_eq!(returned::<f64>(&rig.call("mean", some())), 2.0);
    let found: Vec<(u32, State)> = returned(&rig.call("failed_ones", some()));
    assert_eq!(found, [(1, State::Failed)]);
    let reason = "input `all` of total: invalid type: null, expected f64";
    assert_eq!(failed(&rig.call("total", some())), (FailureKind::Start, reason));
    // A value that is a list does as well.
    assert_eq!(returned::<f64>(&rig.call("mean", listed(vec![value(&[1.0, 2.0])]))), 1.5);
    std::fs::write(dir.path().join("m.values"), "DAGRUNV1\x01").unwrap();
    let cut = listed(vec![Argument::Gathered(dir.path().join("m.values"))]);
    let report = rig.call("mean", cut);
    assert!(failed(&report).1.starts_with("cannot read "), "{report:?}");
    let gone = listed(vec![Argument::Gathered(dir.path().join("gone"))]);
    assert!(failed(&rig.call("mean", gone)).1.starts_with("input `all` of mean: cannot read"));
}

#[task(crate = dagrun_worker::function)]
fn add(a: f64, b: f64) -> Result<f64, String> {
    if b < 0.0 { Err(format!("{b} is negative")) } else { Ok(a * 2.0 + b) }
}

#[task(crate = dagrun_worker::function)]
fn concat(context: &Context, a: String, b: String) -> String {
    format!("{a}{b}{}", context.index())
}

#[test]
fn a_list_is_folded_from_the_left() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new(1);
    let fold = |function: &str, list| {
        rig.run_with(Calling { fold: true, ..calling(function) }, listed(vec![list]))
    };
    let list = gathered(dir.path(), &[Some(1.0), Some(2.0), None, Some(3.0)]);
    assert_eq!(returned::<f64>(&fold("add", list)), 11.0);
    assert_eq!(returned::<f64>(&fold("add", value(&[1.0, 2.0, 3.0]))), 11.0);
    assert_eq!(returned::<f64>(&fold("add", value(&[5.0]))), 5.0);
    assert_eq!(returned::<String>(&fold("concat", value(&["a", "b", "c"]))), "ab3c3");
    let report = fold("add", value(&[1.0, -2.0]));
    assert_eq!(failed(&report), (FailureKind::Function, "-2 is negative"));
    for (function, list, reason) in [
        ("add", value::<[f64; 0]>(&[]), "nothing to fold with add: the list is empty"),
        (
            "add",
            value(&"a"),
            "the list to fold with add: invalid type: string \"a\", expected a sequence",
        ),
        ("total", value(&[1.0]), "total cannot fold a list: it has not two inputs"),
    ] {
        assert_eq!(failed(&fold(function, list)), (FailureKind::Start, reason));
    }
    let report = fold("join_all", value(&[1.0]));
    assert!(failed(&report).1.starts_with("join_all cannot fold a list: it takes "), "{report:?}");
}

#[task(crate = dagrun_worker::function)]
fn reversed(bytes: Bytes) -> Bytes {
    bytes.iter().rev().copied().collect::<Vec<_>>().into()
}

#[test]
fn bytes_are_themselves() {
    let rig = Rig::new(1);
    let bytes = Bytes::from_static(b"\xff\x00a");
    let report = rig.call("reversed", listed(vec![value(&bytes)]));
    assert_eq!(returned::<Bytes>(&report), &b"a\x00\xff"[..]);
}

#[test]
fn values_are_kept_and_fetched_by_whoever_does_that() {
    let mut rig = Rig::new(1);
    let dir = tempfile::tempdir().unwrap();
    let values = Arc::new(dagrun_worker::values::Values::new(1 << 30, dir.path().into()));
    values.set_own(dagrun_core::ids::WorkerId(1));
    let (sender, reports) = mpsc::channel();
    let sender = Mutex::new(sender);
    let sink = Box::new(move |report| sender.lock().unwrap().send(report).unwrap());
    let runner = Runner::new(Mark::random(), None, 0).with_values(values.clone());
    (rig.slots, rig.reports) = (Slots::new(1, runner, sink).unwrap(), reports);
    let hold = |function: &str| Calling { keep: Keep::Hold, ..calling(function) };
    let long: Bytes = (0..100_000u32).map(|at| at as u8).collect();
    let report = rig.run_with(hold("reversed"), listed(vec![value(&long)]));
    let reference = report.detail.unwrap().value.unwrap();
    assert!(payload::stored(&reference).is_some());
    // As it is, within a list of gathered values, and as one of the fields of the only input.
    let again = vec![Argument::Value(reference.clone())];
    let report = rig.run_with(calling("reversed"), listed(again));
    assert_eq!(returned::<Bytes>(&report), long);
    let path = dir.path().join("v.values");
    let mut file = Vec::new();
    recipe::values::write_header(&mut file).unwrap();
    recipe::values::write_record(&mut file, 0, State::Succeeded, Some(&reference)).unwrap();
    std::fs::write(&path, file).unwrap();
    for function in ["lengths", "lengths_one_by_one"] {
        let report = rig.call(function, listed(vec![Argument::Gathered(path.clone())]));
        assert_eq!(returned::<Vec<usize>>(&report), [100_000]);
    }
    values.store().forget(RunId(1));
    let report = rig.call("reversed", listed(vec![Argument::Value(reference)]));
    assert!(failed(&report).1.starts_with("input `bytes` of reversed: "), "{report:?}");
}

#[task(crate = dagrun_worker::function)]
fn lengths(all: Vec<Bytes>) -> Vec<usize> {
    all.iter().map(Bytes::len).collect()
}

#[task(crate = dagrun_worker::function)]
fn lengths_one_by_one(all: Gathered<Bytes>) -> Result<Vec<usize>, function::GatherError> {
    all.values().map(|bytes| Ok(bytes?.len())).collect()
}

#[task(crate = dagrun_worker::function)]
fn writes(path: PathBuf, context: &Context) -> Result<(), std::io::Error> {
    if context.index() == 0 { std::fs::write(path, "out") } else { Ok(()) }
}

#[test]
fn files_that_a_function_writes_appear_when_it_has_succeeded() {
    let rig = Rig::new(1);
    let dir = tempfile::tempdir().unwrap();
    let output = common::output(dir.path(), "o");
    let outputs = vec![output.clone()];
    let call = |report_outputs| {
        let calling = Calling { outputs: outputs.clone(), report_outputs, ..calling("writes") };
        rig.run_with(calling, listed(vec![value(&output.temporary)]))
    };
    let report = call(true);
    assert_eq!(report.outcome, Outcome::Succeeded);
    assert_eq!(report.detail.unwrap().outputs, [b"results/o".to_vec()]);
    assert_eq!(std::fs::read_to_string(&output.target).unwrap(), "out");
    let report = call(false);
    assert_eq!(failed(&report), (FailureKind::MissingOutput, "output o is missing: results/o"));
}
