//! Writes what the corpus begins with: `cargo run -p dagrun-fuzz-inputs --example seeds`. Those files are
//! called `seed-…`; others, which were found by fuzzing, are left alone.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use capnp::message::Builder;
use capnp::serialize;
use capnp::traits::{FromPointerBuilder, OwnedStruct};
use dagrun_core::engine::{Assignment, Claim, Outcome, Report};
use dagrun_core::ids::{AttemptId, InstanceId, Micros, RunId, TaskId, Timestamp, WorkerId};
use dagrun_core::offer::Offer;
use dagrun_core::output::Stamp;
use dagrun_core::parse::{NoFiles, ParseOptions, parse};
use dagrun_core::pipeline::MaxFail;
use dagrun_core::recipe::Input;
use dagrun_core::status::{
    Counts, Detail, Failure, FailureKind, InstanceResult, InstanceRow, LogChunk, RunState,
    RunStatus, RunSummary, State, Stream, TaskStatus, TaskTimes, WorkerStatus,
};
use dagrun_fuzz_inputs::{TARGETS, journal, login};
use dagrun_schema::wire::{
    AttemptProgress, Door, Ended, Fenced, Handout, InstancePage, LogPage, Message, Peer,
    Registration, Submission, TaskDelta, TaskRecipe, Update,
};

type Outcomes = Result<(), Box<dyn Error>>;

fn main() -> Outcomes {
    for (target, _) in TARGETS {
        let folder = folder(target);
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("seed-") {
                fs::remove_file(entry.path())?;
            }
        }
    }
    let texts = texts()?;
    for (name, text) in &texts {
        put("parse", name, text.as_bytes())?;
    }
    wire(&texts)?;
    logins()?;
    for pipeline in 0..3 {
        for looks in [3, 4, 5, 8, 60] {
            let input = journal::recorded(pipeline, looks);
            put("journal", &format!("{pipeline}-{looks}"), &input)?;
        }
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn folder(target: &str) -> PathBuf {
    root().join("fuzz/corpus").join(target)
}

fn put(target: &str, name: &str, input: &[u8]) -> Outcomes {
    Ok(fs::write(folder(target).join(format!("seed-{name}")), input)?)
}

/// The pipelines of the examples and of the parser's tests, by name.
fn texts() -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let mut paths = Vec::new();
    for tests in ["good", "bad"] {
        for entry in fs::read_dir(root().join("core/tests").join(tests))? {
            paths.push((tests.to_owned(), entry?.path()));
        }
    }
    for entry in fs::read_dir(root().join("examples"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        paths.push((format!("example-{name}"), entry.path().join("pipeline.toml")));
    }
    paths.retain(|(_, path)| path.extension().is_some_and(|ending| ending == "toml"));
    let mut texts = Vec::new();
    for (from, path) in paths.into_iter().filter(|(_, path)| path.is_file()) {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        texts.push((format!("{from}-{stem}"), fs::read_to_string(&path)?));
    }
    texts.sort();
    Ok(texts)
}

/// One message of each kind, with something in each field, and pipelines as they are submitted.
fn wire(texts: &[(String, String)]) -> Outcomes {
    let mut submitted = Vec::new();
    for (name, text) in texts {
        let options = ParseOptions { file_stem: "p", ..ParseOptions::default() };
        if let Ok(parsed) = parse(text, &options, &NoFiles) {
            let json = serde_json::to_vec(&parsed.pipeline)?;
            put("wire", &format!("27-{name}"), &[&[27], &json[..]].concat())?;
            submitted = json;
        }
    }
    for (name, max_fail) in [("count", MaxFail::Count(3)), ("part", MaxFail::Part(500))] {
        let (base_dir, max_fail) = ("/data".into(), Some(max_fail));
        let pipeline = submitted.clone();
        let submission = Submission { pipeline, base_dir, seed: 7, fail_fast: true, max_fail };
        message(0, name, &submission)?;
    }
    attempts()?;
    workers()?;
    runs()
}

fn message<M: Message>(kind: u8, name: &str, message: &M) -> Outcomes
where
    for<'a> <M::Schema as OwnedStruct>::Builder<'a>: FromPointerBuilder<'a>,
{
    let mut builder = Builder::new_default();
    message.write(builder.init_root());
    let mut input = vec![kind];
    serialize::write_message(&mut input, &builder)?;
    put("wire", &format!("{kind:02}-{name}"), &input)
}

const INSTANCE: InstanceId = InstanceId { task: TaskId(1), index: 2 };
const ASSIGNMENT: Assignment = Assignment {
    run: RunId(1),
    task: TaskId(1),
    first_index: 2,
    count: 2,
    first_attempt: AttemptId(40),
    number: 1,
    memory: 1 << 30,
};
const TIME: Timestamp = Timestamp(1_700_000_000_000_000);

fn input() -> Input {
    let file = Some("/data/values/1".into());
    Input { value: Some(b"[1,2]".to_vec()), outputs: vec![b"out/a".to_vec()], file }
}

fn detail() -> Detail {
    let file = Stamp::File { bytes: 9, modified: -1 };
    let tree = Stamp::Tree { entries: 2, bytes: 9, modified: 1 };
    Detail {
        reason: "exit code 3".to_owned(),
        stderr_tail: b"no such file\n".to_vec(),
        value: Some(b"{\"a\":1}".to_vec()),
        outputs: vec![b"out/a".to_vec(), b"out/b".to_vec()],
        stamps: vec![Some(file), None, Some(Stamp::Directory), Some(tree)],
    }
}

fn attempts() -> Outcomes {
    let fenced = Fenced { worker: "a1".to_owned(), number: 1 };
    let inputs = vec![vec![input()], vec![Input::default()]];
    let handout =
        Handout { assignment: ASSIGNMENT, inputs, announce: true, fenced: vec![fenced.clone()] };
    message(1, "handout", &handout)?;
    let first = ASSIGNMENT.first_attempt;
    let outcomes = [
        ("started", Outcome::Started),
        ("succeeded", Outcome::Succeeded),
        ("failed", Outcome::Failed(FailureKind::Exit(3))),
        ("killed", Outcome::Failed(FailureKind::Signal(9))),
    ];
    for (name, outcome) in outcomes {
        let detail = Some(Box::new(detail()));
        let report = Report { detail, ..Report::one(first, outcome, TIME, TIME) };
        message(2, name, &report)?;
    }
    let (run, task) = (ASSIGNMENT.run, ASSIGNMENT.task);
    let recipe = TaskRecipe { run, task, json: b"{}".to_vec(), log_dir: "/data/logs".into() };
    message(4, "recipe", &recipe)?;
    message(8, "detail", &detail())?;
    message(13, "input", &input())?;
    message(19, "progress", &AttemptProgress { attempt: first, fraction: 0.5 })?;
    message(20, "fenced", &fenced)?;
    message(21, "instance", &INSTANCE)
}

fn workers() -> Outcomes {
    let offer = Offer {
        slots: 4,
        labels: vec!["big".to_owned()],
        memory: 4 << 30,
        resources: vec![("gpu".to_owned(), 2)],
    };
    let door = Door { address: ([127, 0, 0, 1], 4000).into(), secret: [7; 32] };
    let (name, host) = ("w1".to_owned(), "here".to_owned());
    let claim = Claim { assignment: ASSIGNMENT, started: TIME, ended: false };
    let registration = Registration {
        name: name.clone(),
        host: host.clone(),
        pid: 9,
        offer: offer.clone(),
        functions: vec![("f".to_owned(), 77)],
        door: Some(door.clone()),
        uid: "a1b2".to_owned(),
        serial: 1,
        lock: Some("/data/lock".into()),
        held: vec![40..42, 50..51],
        claims: vec![claim],
        runs: vec![RunId(1)],
        leaving: true,
    };
    message(3, "registration", &registration)?;
    let note = "its memory is short".to_owned();
    let status = WorkerStatus {
        id: 1,
        name: name.clone(),
        host,
        offer: offer.clone(),
        running: 2,
        last_heartbeat: TIME,
        note,
    };
    message(9, "worker", &status)?;
    message(12, "peer", &Peer { id: WorkerId(1), name, door: Some(door.clone()) })?;
    message(18, "offer", &offer)?;
    message(26, "door", &Some(door))
}

fn runs() -> Outcomes {
    let counts = Counts([1, 2, 3, 4, 5, 6, 7, 8]);
    let (task, first, width_known) = (TaskId(1), 2, true);
    let delta = TaskDelta { task, counts, running: 2, width_known };
    let failure =
        Failure { instance: INSTANCE, reason: "exit code 3".to_owned(), stderr_tail: vec![b'e'] };
    let ended = Ended { task, first, count: 3, state: State::Failed };
    let update = Update {
        state: RunState::Running,
        finished: Some(TIME),
        tasks: vec![delta],
        failures: vec![failure.clone()],
        workers: 2,
        ended: vec![ended],
        ended_lost: false,
        waiting: "no worker".to_owned(),
    };
    message(5, "update", &update)?;
    let row = InstanceRow {
        instance: INSTANCE,
        state: State::Failed,
        attempts: 2,
        worker: Some("w1".to_owned()),
        started: Some(TIME),
        finished: None,
        exit_code: Some(3),
        reason: "exit code 3".to_owned(),
    };
    message(6, "page", &InstancePage { rows: vec![row.clone()], next: Some(INSTANCE) })?;
    let chunk = LogChunk {
        instance: INSTANCE,
        attempt: 1,
        stream: Stream::Stderr,
        at: TIME,
        bytes: b"line\n".to_vec(),
    };
    message(7, "log", &LogPage { chunks: vec![chunk.clone()], cursor: vec![1], more: true })?;
    let name = "p".to_owned();
    let status = TaskStatus {
        name: name.clone(),
        counts,
        running: 1,
        width_known,
        partial: 3,
        note: "waits".to_owned(),
    };
    let run = RunStatus {
        run: RunId(1),
        name: name.clone(),
        state: RunState::Running,
        started: TIME,
        finished: None,
        tasks: vec![status.clone()],
        waiting: String::new(),
    };
    message(10, "run", &run)?;
    let summary = RunSummary {
        run: RunId(1),
        name,
        state: RunState::Interrupted,
        started: TIME,
        finished: Some(TIME),
        instances: 9,
        done: 8,
        failed: 7,
        tags: vec!["a".parse()?, "b=c".parse()?],
    };
    message(11, "summary", &summary)?;
    message(14, "ended", &ended)?;
    let (value, detail, outputs) = (Some(vec![b'1']), vec![b'e'], vec![b"out".to_vec()]);
    message(15, "result", &InstanceResult { row: row.clone(), value, detail, outputs })?;
    message(16, "failure", &failure)?;
    message(17, "chunk", &chunk)?;
    message(22, "row", &row)?;
    message(23, "task", &status)?;
    let times = TaskTimes {
        instances: 3,
        started: TIME,
        finished: TIME,
        mean: Micros(5),
        longest: Micros(9),
        retried: 1,
    };
    message(24, "times", &times)?;
    message(25, "delta", &delta)
}

/// What clients send first, whole, as messages without their frames, and as arguments.
fn logins() -> Outcomes {
    for (name, arguments) in
        [("empty", &[][..]), ("version", &[1]), ("secret", &[0; 33]), ("long", &[0; 200])]
    {
        put("login", &format!("arguments-{name}"), &[&[2], arguments].concat())?;
        let sent = login::login(arguments);
        put("login", &format!("sent-{name}"), &[&[0], &sent[..]].concat())?;
        let framed = unframed(&sent)?;
        put("login", &format!("framed-{name}"), &[&[1], &framed[..]].concat())?;
        // Its calls more than once.
        let more = [&[1], &framed[..], &framed[..], &framed[..], &framed[..]].concat();
        put("login", &format!("repeated-{name}"), &more)?;
    }
    put("login", "other-messages", &[&[1], &others()?[..]].concat())
}

/// Messages of one segment, each preceded by its length in words instead of a frame.
fn unframed(mut sent: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = Vec::new();
    while let Some((frame, rest)) = sent.split_first_chunk::<8>() {
        let [.., a, b, c, d] = *frame;
        let words = u32::from_le_bytes([a, b, c, d]);
        let (message, rest) = rest.split_at(words as usize * 8);
        bytes.push(u8::try_from(words)?);
        bytes.extend_from_slice(message);
        sent = rest;
    }
    Ok(bytes)
}

/// A message of each kind that nobody expects from a stranger.
fn others() -> Result<Vec<u8>, Box<dyn Error>> {
    use capnp_rpc::rpc_capnp::message;
    let mut sent = Vec::new();
    let kinds: [fn(message::Builder<'_>); 7] = [
        |to| to.init_finish().set_question_id(0),
        |to| to.init_release().set_reference_count(1),
        |to| to.init_resolve().set_promise_id(0),
        |to| to.init_return().set_answer_id(0),
        |to| to.init_disembargo().init_target().set_imported_cap(0),
        |to| {
            to.init_unimplemented().init_bootstrap();
        },
        |to| to.init_abort().set_reason("no reason"),
    ];
    for kind in kinds {
        let mut builder = Builder::new_default();
        kind(builder.init_root());
        serialize::write_message(&mut sent, &builder)?;
    }
    unframed(&sent)
}
