//! Whatever stands in the rows of a journal, as after damage to the file or by another version: what asks
//! its history gets answers or errors, and a scheduler that goes on with its run comes to an end or refuses.

mod play;
pub mod rows;

use std::cell::Cell;
use std::sync::OnceLock;

use dagrun_core::ids::{InstanceId, RunId, TaskId};
use dagrun_core::parse::{NoFiles, ParseOptions, parse};
use dagrun_scheduler::simulated::{Disk, taken_over};
use dagrun_scheduler::{History, Wanted};
use rusqlite::params;

use self::rows::Bytes;

/// The run that the rows are about.
pub const RUN: RunId = RunId(1);

/// What may be the pipeline of the run.
pub const PIPELINES: [&str; 3] = [
    "\
[task.a]
run = ['true', '{i}']
sweep = { i = { range = '0..40' } }
capture = 'json'
retries = { count = 2, delay = '1s' }
[task.b]
run = ['true']
map = 'a'
capture = 'json'
out.o = 'o-{index}'
[task.c]
run = ['true']
scatter = 'b'
[task.d]
run = ['true']
gather = 'c'
after = 'a'
",
    "\
[task.a]
shell = 'true'
sweep = { i = [1, 2, 3] }
out.o = { path = 'o-{i}', temp = true }
max-lost = 0
[task.b]
run = ['true']
map = 'a'
follow = 'a'
[task.c]
run = ['true']
after = { any = 'a', on = 'failure' }
always = true
",
    "\
[task.one]
run = ['true']
capture = 'json'
rerun = 'always'
[task.many]
run = ['true']
scatter = { from = 'one', chunk = 2 }
capture = 'json'
[task.each]
run = ['true']
map = 'many'
memory = '1GiB'
",
];

/// Puts rows into a journal, asks for all that can be asked for, and goes on with the run. The first byte
/// says which pipeline it has.
pub fn feed(data: &[u8]) {
    let mut bytes = Bytes(data);
    let pipeline = usize::from(bytes.byte()) % PIPELINES.len();
    let disk = disk(pipeline);
    rows::write(disk.database(), &mut bytes).expect("a database in memory");
    let disk = disk.with_history(|history| {
        ask(history, pipeline);
        let _ = taken_over(history, RUN);
    });
    KEPT.set(play::go_on(disk));
}

thread_local! {
    /// The database of the last input, as making a new one takes longer than using it.
    static KEPT: Cell<Option<Disk>> = const { Cell::new(None) };
}

/// As many statements as are used here.
const STATEMENTS: usize = 256;

/// The input of the rows that a scheduler leaves which is killed after so many looks.
///
/// # Panics
/// When the run cannot be played.
#[must_use]
pub fn recorded(pipeline: u8, looks: u32) -> Vec<u8> {
    let left = play::begin(disk(pipeline.into()), looks).expect("a run that can be played");
    let rows = rows::read(left.database()).expect("a database in memory");
    [vec![pipeline], rows].concat()
}

/// A pipeline as it is stored, and the names of its tasks.
struct Stored {
    json: Vec<u8>,
    tasks: Vec<(String, Option<u32>)>,
}

fn stored(pipeline: usize) -> &'static Stored {
    static STORED: OnceLock<Vec<Stored>> = OnceLock::new();
    let read = |text: &&str| {
        let options = ParseOptions { file_stem: "fuzz", ..ParseOptions::default() };
        let parsed =
            parse(text, &options, &NoFiles).unwrap_or_else(|problems| panic!("{problems:?}"));
        let json = serde_json::to_vec(&parsed.pipeline).expect("a pipeline is JSON");
        let names = parsed.pipeline.tasks.iter().map(|task| task.name.clone());
        let tasks = names.zip((0..).map(|task| parsed.graph.width(TaskId(task)))).collect();
        Stored { json, tasks }
    };
    &STORED.get_or_init(|| PIPELINES.iter().map(read).collect())[pipeline]
}

/// A journal with the run, of which nothing has happened.
fn disk(pipeline: usize) -> Disk {
    let disk = KEPT.take().unwrap_or_else(Disk::new);
    let Stored { json, tasks } = stored(pipeline);
    let begin = || -> rusqlite::Result<()> {
        let database = disk.database();
        database.set_prepared_statement_cache_capacity(STATEMENTS);
        for table in ["runs", "tasks", "notes", "events", "workers", "starts", "sqlite_sequence"] {
            database.prepare_cached(&format!("DELETE FROM {table}"))?.execute([])?;
        }
        database.execute(
            "INSERT INTO runs (run, name, pipeline, base_dir, seed, fail_fast, state, started, owner)
             VALUES (?1, 'fuzz', ?2, ?3, 1, 0, 0, 1, 1)",
            params![RUN.0.cast_signed(), json, b"/simulated".as_slice()],
        )?;
        let mut insert = database.prepare_cached(
            "INSERT INTO tasks (run, task, name, width, known, leased) VALUES (?1, ?2, ?3, ?4, ?5, 0)",
        )?;
        for (at, (name, width)) in (0u32..).zip(tasks) {
            let known = width.is_some();
            let width = width.unwrap_or_default();
            insert.execute(params![RUN.0.cast_signed(), at, name, width, known])?;
        }
        Ok(())
    };
    begin().expect("a database in memory");
    disk
}

/// Asks for all that a history can be asked for.
fn ask(history: &History, pipeline: usize) {
    let _ = history.runs(10);
    let _ = history.last_run();
    let _ = history.status(RUN);
    let _ = history.times(RUN);
    let _ = history.failures(RUN, 10);
    for failed_only in [false, true] {
        let first = InstanceId { task: TaskId(0), index: 0 };
        let _ = history.instances(RUN, first, 200, failed_only);
    }
    for (task, (name, _)) in (0..).map(TaskId).zip(&stored(pipeline).tasks) {
        let _ = history.results(RUN, task, 0, 100);
        for index in [0, 1, 39, u32::MAX] {
            let _ = history.explain(RUN, name, index);
            let _ = history.value(RUN, name, index);
            let _ = history.command(RUN, InstanceId { task, index });
        }
        let wanted = Wanted { value: true, outputs: true, attempt: true };
        let _ = history.scan(RUN, task, 0..64, wanted, &mut |row| {
            let _ = row.outputs();
            true
        });
    }
}
