//! Runs a program many times on the slots of a worker, without a scheduler, and prints the seconds
//! taken: `slots N T PROGRAM [ARGUMENT...]`. To be compared with `benches/spawn/spawn_loop.c`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use dagrun_core::engine::{Assignment, Outcome};
use dagrun_core::ids::{AttemptId, Micros, RunId, TaskId};
use dagrun_core::pipeline::Capture;
use dagrun_core::recipe::{Checkpoint, Input, Invocation, Job};
use dagrun_disk::log::RunLog;
use dagrun_worker::groups::{GroupTable, Mark};
use dagrun_worker::runner::Runner;
use dagrun_worker::slots::{Slots, TaskSource, Work};

#[derive(Debug)]
struct Same(Invocation);

impl TaskSource for Same {
    fn cpus(&self) -> u32 {
        1
    }

    fn job(&self, _: u32, _: u32, _: &[Input]) -> Result<Job, String> {
        Ok(Job::Process(self.0.clone()))
    }
}

fn invocation(argv: Vec<OsString>) -> Invocation {
    let names = ["DAGRUN_RUN_ID", "DAGRUN_TASK", "DAGRUN_INDEX", "DAGRUN_ATTEMPT", "DAGRUN_CPUS"];
    Invocation {
        argv,
        shell: false,
        env: names.map(|name| (name.into(), "1".into())).to_vec(),
        working_dir: PathBuf::from("/"),
        run_dir: std::env::temp_dir().join("runs/1"),
        reads: Vec::new(),
        stdin: None,
        fed: None,
        files: Vec::new(),
        fetches: Vec::new(),
        checkpoint: Checkpoint { dir: "/".into(), made: false },
        outputs: Vec::new(),
        report_outputs: false,
        capture: Capture::None,
        timeout: None,
        grace: Micros::from_secs(10),
        cpus: 1,
        memory: 0,
    }
}

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let mut number = || arguments.next().and_then(|text| text.to_str()?.parse::<u32>().ok());
    let (Some(count), Some(threads)) = (number(), number()) else {
        return Err("usage: slots N T PROGRAM [ARGUMENT...]".into());
    };
    let runner = Runner::new(Mark::random(), Some(GroupTable::new()?), 1 << 20);
    let (done, all_done) = mpsc::sync_channel(1);
    let ended = AtomicU64::new(0);
    let failed = Arc::new(AtomicU64::new(0));
    let failures = failed.clone();
    let slots = Slots::new(
        threads as usize,
        runner,
        Box::new(move |report| {
            failures.fetch_add(u64::from(report.outcome != Outcome::Succeeded), Ordering::Relaxed);
            if ended.fetch_add(1, Ordering::AcqRel) + 1 == u64::from(count) {
                let _ = done.send(());
            }
        }),
    )?;
    let log_dir = std::env::temp_dir().join(format!("dagrun-slots-{}", std::process::id()));
    let begin = Instant::now();
    slots.push([Work {
        assignment: Assignment {
            run: RunId(1),
            task: TaskId(0),
            first_index: 0,
            count,
            first_attempt: AttemptId(0),
            number: 1,
            memory: 0,
        },
        plan: Arc::new(Same(invocation(arguments.collect()))),
        inputs: Arc::new(Vec::new()),
        log: Some(Arc::new(RunLog::new(log_dir.clone(), "bench"))),
        announce: false,
        fenced: Vec::new(),
    }]);
    all_done.recv()?;
    println!("{:.4}", begin.elapsed().as_secs_f64());
    let _ = std::fs::remove_dir_all(log_dir);
    match failed.load(Ordering::Relaxed) {
        0 => Ok(()),
        failed => Err(format!("{failed} attempts failed").into()),
    }
}
