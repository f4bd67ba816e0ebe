//! Calls a function that does next to nothing many times on the slots of a worker, without a
//! scheduler, and prints the nanoseconds that each took of a slot: `calls N SLOTS`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use dagrun_core::engine::{Assignment, Outcome};
use dagrun_core::ids::{AttemptId, Micros, RunId, TaskId};
use dagrun_core::recipe::{Argument, Calling, Input, Job, Keep};
use dagrun_macros::task;
use dagrun_worker::groups::Mark;
use dagrun_worker::runner::Runner;
use dagrun_worker::slots::{Slots, TaskSource, Work};

#[task(crate = dagrun_worker::function)]
fn twice(number: f64) -> f64 {
    number * 2.0
}

#[derive(Debug)]
struct Same(Calling);

impl TaskSource for Same {
    fn cpus(&self) -> u32 {
        1
    }

    fn job(&self, index: u32, attempt: u32, _: &[Input]) -> Result<Job, String> {
        let args = vec![(None, Argument::Value(b"1.5".to_vec()))];
        Ok(Job::Call(Calling { index, attempt, args, ..self.0.clone() }))
    }
}

fn calling(timeout: Option<Micros>) -> Calling {
    Calling {
        function: "twice".to_owned(),
        signature: None,
        args: Vec::new(),
        fold: false,
        task: "twice".to_owned(),
        index: 0,
        attempt: 1,
        run: RunId(1),
        seed: 1,
        run_dir: PathBuf::from("/"),
        cpus: 1,
        timeout,
        grace: Micros::from_secs(10),
        outputs: Vec::new(),
        report_outputs: false,
        keep: Keep::Report,
    }
}

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = || arguments.next().and_then(|text| text.parse::<u32>().ok());
    let (Some(count), Some(threads)) = (number(), number()) else {
        return Err("usage: calls N SLOTS".into());
    };
    for timeout in [None, Some(Micros::from_secs(3600))] {
        let (done, all_done) = mpsc::sync_channel(1);
        let left = AtomicU32::new(count);
        let runner = Runner::new(Mark::random(), None, 1 << 20);
        let sink = Box::new(move |report: dagrun_core::engine::Report| {
            let failed = report.outcome != Outcome::Succeeded;
            if failed || left.fetch_sub(1, Ordering::AcqRel) == 1 {
                let _ = done.try_send(report.outcome);
            }
        });
        let slots = Slots::new(threads as usize, runner, sink)?;
        let assignment = Assignment {
            run: RunId(1),
            task: TaskId(0),
            first_index: 0,
            count,
            first_attempt: AttemptId(0),
            number: 1,
            memory: 0,
        };
        let plan = Arc::new(Same(calling(timeout)));
        let begin = Instant::now();
        slots.push([Work {
            assignment,
            plan,
            inputs: Arc::default(),
            log: None,
            announce: false,
            fenced: Vec::new(),
        }]);
        let last = all_done.recv()?;
        let nanos = begin.elapsed().as_nanos() * u128::from(threads) / u128::from(count.max(1));
        println!("timeout {timeout:?}: {nanos} ns of a slot for each call, last {last:?}");
    }
    Ok(())
}
