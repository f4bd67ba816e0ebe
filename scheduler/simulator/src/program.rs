//! Random pipelines, how their attempts end, and how the pipelines must end.

use std::fmt::Write as _;
use std::path::PathBuf;

use dagrun_core::ids::{InstanceId, TaskId};
use dagrun_core::parse::{NoFiles, ParseOptions, parse};
use dagrun_core::status::State;
use dagrun_schema::wire::Submission;

use crate::random::Random;

/// How the attempts of an instance end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Succeeds,
    Fails,
    /// Sometimes so, sometimes so.
    Changes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Single,
    Sweep(u32),
    Map(usize),
    Scatter(usize),
}

#[derive(Clone, Debug)]
struct Task {
    shape: Shape,
    after: Vec<usize>,
    /// The length of the array that it captures.
    array: Option<u32>,
    width: u32,
}

/// A pipeline.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    seed: u64,
    tasks: Vec<Task>,
    pub(crate) fail_fast: bool,
    pub(crate) submission: Submission,
}

impl Program {
    /// A random one, of at most so many tasks.
    pub(crate) fn new(seed: u64, most: usize) -> Program {
        let mut random = Random::new(seed, 1);
        let count = usize::try_from(random.within(1, 4)).unwrap_or(1).min(most.max(1));
        let mut tasks: Vec<Task> = Vec::new();
        let mut text = String::new();
        for at in 0..count {
            let task = task(&mut random, &tasks);
            write(&mut text, at, &task, &mut random);
            tasks.push(task);
        }
        let fail_fast = random.one_in(12);
        let parsed =
            parse(&text, &ParseOptions { file_stem: "p", ..ParseOptions::default() }, &NoFiles);
        let pipeline = match parsed {
            Ok(parsed) => parsed.pipeline,
            Err(problems) => panic!("{problems:?}\n{text}"),
        };
        let submission = Submission {
            pipeline: serde_json::to_vec(&pipeline).unwrap_or_default(),
            base_dir: PathBuf::from("/simulated"),
            seed,
            fail_fast,
            max_fail: None,
        };
        Program { seed, tasks, fail_fast, submission }
    }

    /// How the attempts of an instance end.
    pub(crate) fn fate(&self, instance: InstanceId) -> Fate {
        let place = (u64::from(instance.task.0) << 32) | u64::from(instance.index);
        match Random::new(self.seed ^ place, 2).below(20) {
            0 => Fate::Fails,
            1 => Fate::Changes,
            _ => Fate::Succeeds,
        }
    }

    /// What an instance captures.
    pub(crate) fn value(&self, instance: InstanceId) -> Option<Vec<u8>> {
        let length = self.tasks.get(instance.task.at())?.array?;
        let array: Vec<u32> = (0..length).collect();
        Some(serde_json::to_vec(&array).unwrap_or_default())
    }

    /// How the instances of each task must end, if they can end in one way only.
    pub(crate) fn ends(&self) -> Option<Vec<Vec<State>>> {
        if self.fail_fast {
            return None;
        }
        let mut ends: Vec<Vec<State>> = Vec::new();
        for (at, task) in (0u32..).zip(&self.tasks) {
            let succeeded = |of: &usize| ends[*of].iter().all(|state| *state == State::Succeeded);
            let runs = task.after.iter().all(succeeded);
            if !runs && matches!(task.shape, Shape::Scatter(_)) {
                // It is skipped as one instance, or each of those that are known by then.
                return None;
            }
            let of_task = (0..task.width).map(|index| {
                let runs = runs
                    && match task.shape {
                        Shape::Map(of) => ends[of][index as usize] == State::Succeeded,
                        Shape::Scatter(of) => succeeded(&of),
                        Shape::Single | Shape::Sweep(_) => true,
                    };
                match (runs, self.fate(InstanceId { task: TaskId(at), index })) {
                    (false, _) => Some(State::Skipped),
                    (true, Fate::Succeeds) => Some(State::Succeeded),
                    (true, Fate::Fails) => Some(State::Failed),
                    (true, Fate::Changes) => None,
                }
            });
            let mut of_task = of_task.collect::<Option<Vec<State>>>()?;
            if let Shape::Scatter(of) = task.shape
                && ends[of][0] != State::Succeeded
            {
                // A task whose upstream gave no array has one instance, skipped.
                of_task = vec![State::Skipped];
            }
            ends.push(of_task);
        }
        Some(ends)
    }
}

fn task(random: &mut Random, before: &[Task]) -> Task {
    let pick = |random: &mut Random, wanted: &dyn Fn(&Task) -> bool| {
        let all: Vec<usize> = (0..before.len()).filter(|at| wanted(&before[*at])).collect();
        (!all.is_empty()).then(|| random.pick(&all))
    };
    let is_late = |task: &Task| matches!(task.shape, Shape::Scatter(_));
    let shape = match random.below(6) {
        0 => Shape::Single,
        1 | 2 => Shape::Sweep(u32::try_from(random.within(1, 6)).unwrap_or(1)),
        3 | 4 => match pick(random, &|task| !is_late(task)) {
            Some(of) => Shape::Map(of),
            None => Shape::Sweep(3),
        },
        _ => match pick(random, &|task| task.array.is_some()) {
            Some(of) => Shape::Scatter(of),
            None => Shape::Single,
        },
    };
    let after = match random.one_in(3) {
        true => pick(random, &|_| true).into_iter().collect(),
        false => Vec::new(),
    };
    let array = (shape == Shape::Single && random.one_in(2))
        .then(|| u32::try_from(random.within(1, 4)).unwrap_or(1));
    let width = match shape {
        Shape::Single => 1,
        Shape::Sweep(width) => width,
        Shape::Map(of) => before[of].width,
        Shape::Scatter(of) => before[of].array.unwrap_or(1),
    };
    Task { shape, after, array, width }
}

fn write(text: &mut String, at: usize, task: &Task, random: &mut Random) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "[task.t{at}]\nrun = [\"true\"]\nmax-lost = 100000");
    let _ = match task.shape {
        Shape::Single => Ok(()),
        Shape::Sweep(width) => writeln!(text, "sweep = {{ x = {{ range = \"0..{width}\" }} }}"),
        Shape::Map(of) => writeln!(text, "map = \"t{of}\""),
        Shape::Scatter(of) => writeln!(text, "scatter = \"t{of}\""),
    };
    if task.array.is_some() {
        text.push_str("capture = \"json\"\n");
    }
    for of in &task.after {
        let _ = writeln!(text, "after = \"t{of}\"");
    }
    match random.below(4) {
        0 => text.push_str("retries = 2\n"),
        1 => text.push_str("retries = { count = 1, delay = \"3s\" }\n"),
        _ => {}
    }
}
