//! What workers offer and what tasks ask for: the options that declare it, and the tasks that no
//! worker could ever run, reported before a run waits for them in vain.

use std::fmt;

use clap::Args;
use dagrun::program::{memory, offer_words, resource};
use dagrun_core::offer::{Offer, amount_of_memory};
use dagrun_core::pipeline::{Pipeline, Targets, Task};
use dagrun_core::status::WorkerStatus;

/// What a worker offers, as far as it was said; the rest is the whole machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct OfferArgs {
    /// How many attempts may run at once [default: all cores]
    #[arg(short = 'j', long, value_name = "SLOTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) jobs: Option<u32>,
    /// Memory for the tasks of the worker, as in 8GiB [default: that of the machine]
    #[arg(long, value_name = "BYTES", value_parser = memory)]
    pub(crate) memory: Option<u64>,
    /// A custom resource that `resources` of tasks may ask for, as in gpu=2 (repeatable)
    #[arg(long = "resource", value_name = "NAME=AMOUNT", value_parser = resource)]
    pub(crate) resources: Vec<(String, u64)>,
    /// A label that `targets` of tasks may name (repeatable)
    #[arg(long = "label", value_name = "L", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) labels: Vec<String>,
    /// End what uses more than its task's `memory` [default: below a batch system; else it is noted]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) enforce_memory: Option<bool>,
}

impl OfferArgs {
    /// The same as words of a command line.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = offer_words(self.jobs, self.memory, &self.resources, &self.labels);
        words.extend(self.enforce_memory.map(|enforce| format!("--enforce-memory={enforce}")));
        words
    }

    /// Whether nothing was said.
    pub(crate) fn is_empty(&self) -> bool {
        *self == OfferArgs::default()
    }

    /// What each of several workers on this machine offers: an equal share of it, unless it was said.
    pub(crate) fn share(&self, workers: u32) -> OfferArgs {
        if workers < 2 {
            return self.clone();
        }
        let machine = dagrun_worker::whole_machine();
        let memory = Some(machine.memory / u64::from(workers)).filter(|memory| *memory > 0);
        OfferArgs {
            jobs: self.jobs.or(Some((machine.slots / workers).max(1))),
            memory: self.memory.or(memory),
            ..self.clone()
        }
    }

    /// What the worker offers.
    pub(crate) fn offer(&self) -> Offer {
        let mut offer = dagrun_worker::whole_machine();
        offer.slots = self.jobs.unwrap_or(offer.slots);
        offer.memory = self.memory.unwrap_or(offer.memory);
        offer.labels.clone_from(&self.labels);
        // Of several amounts of one, the last counts.
        for (name, amount) in &self.resources {
            offer.set_resource(name, *amount);
        }
        offer
    }
}

/// A task that none of the workers could ever run.
#[derive(Clone, Debug)]
pub(crate) struct Misfit<'a> {
    /// The task.
    pub(crate) task: &'a Task,
    /// What is missing: `it needs 8 slots, and no worker has more than 2`.
    pub(crate) missing: String,
}

impl fmt::Display for Misfit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no worker could run `{}`: {}", self.task.name, self.missing)
    }
}

/// The tasks that none of the workers could ever run.
pub(crate) fn misfits<'a>(pipeline: &'a Pipeline, workers: &[WorkerStatus]) -> Vec<Misfit<'a>> {
    let missing = |task: &'a Task| Some(Misfit { task, missing: missing(task, workers)? });
    pipeline.tasks.iter().filter_map(missing).collect()
}

/// Whether a task asks for anything that some worker may not have.
pub(crate) fn asks(pipeline: &Pipeline) -> bool {
    pipeline.tasks.iter().any(|task| {
        task.conduct.cpus > 1
            || task.conduct.memory > 0
            || !task.conduct.resources.is_empty()
            || matches!(task.conduct.targets, Targets::Named(_))
    })
}

/// What keeps all of the workers from running a task: looks at one need after the other, among the
/// workers that meet those before.
fn missing(task: &Task, workers: &[WorkerStatus]) -> Option<String> {
    let mut left: Vec<&WorkerStatus> = workers.iter().collect();
    if let Targets::Named(names) = &task.conduct.targets {
        left.retain(|worker| {
            names.iter().any(|name| *name == worker.name || worker.offer.labels.contains(name))
        });
        if left.is_empty() {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            return Some(format!("no worker has the name or label {}", names.join(" or ")));
        }
    }
    let mut keep = |needed: u64, unit: &str, has: &dyn Fn(&WorkerStatus) -> u64, bytes: bool| {
        let others = if left.len() < workers.len() { " that would do otherwise" } else { "" };
        let most = left.iter().map(|worker| has(worker)).max().unwrap_or(0);
        left.retain(|worker| has(worker) >= needed);
        let (needed, most) = match bytes {
            true => (format!("{} {unit}", amount_of_memory(needed)), amount_of_memory(most)),
            false => (format!("{needed} {unit}"), most.to_string()),
        };
        let text = || format!("it needs {needed}, and no worker{others} has more than {most}");
        left.is_empty().then(text)
    };
    let slots = if task.conduct.cpus == 1 { "slot" } else { "slots" };
    keep(task.conduct.cpus.into(), slots, &|worker| worker.offer.slots.into(), false)
        .or_else(|| keep(task.conduct.memory, "of memory", &|worker| worker.offer.memory, true))
        .or_else(|| {
            task.conduct.resources.iter().find_map(|(name, needed)| {
                keep(*needed, name, &|worker| worker.offer.amount(name), false)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::{OfferArgs, memory, misfits, resource};
    use dagrun_core::ids::Timestamp;
    use dagrun_core::offer::Offer;
    use dagrun_core::pipeline::{Pipeline, Targets, Task, TaskAction};
    use dagrun_core::status::WorkerStatus;

    fn worker(name: &str, slots: u32, label: &str, gpu: u64) -> WorkerStatus {
        WorkerStatus {
            id: 1,
            name: name.to_owned(),
            host: String::new(),
            offer: Offer {
                slots,
                labels: vec![label.to_owned()],
                memory: 4 << 30,
                resources: vec![("gpu".to_owned(), gpu)],
            },
            running: 0,
            last_heartbeat: Timestamp(1),
            note: String::new(),
        }
    }

    fn missing(change: impl FnOnce(&mut Task)) -> Option<String> {
        let mut task = Task::new("a", TaskAction::Run(Vec::new()));
        change(&mut task);
        let pipeline = Pipeline { name: String::new(), vars: Vec::new(), tasks: vec![task] };
        let workers = [worker("w1", 2, "big", 0), worker("w2", 8, "small", 1)];
        let found = misfits(&pipeline, &workers).pop();
        found.map(|misfit| misfit.missing)
    }

    fn named(names: &[&str]) -> Targets {
        Targets::Named(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn what_is_missing_is_said() {
        let is = |found: Option<String>, text: &str| {
            assert!(found.as_ref().is_some_and(|it| it.contains(text)), "{found:?}: {text}");
        };
        assert_eq!(missing(|_| {}), None);
        assert_eq!(missing(|task| task.conduct.cpus = 8), None);
        is(missing(|task| task.conduct.cpus = 9), "9 slots, and no worker has more than 8");
        is(missing(|task| task.conduct.memory = 5 << 30), "5 GiB of memory");
        is(missing(|task| task.conduct.resources = vec![("gpu".into(), 2)]), "2 gpu");
        is(missing(|task| task.conduct.resources = vec![("tpu".into(), 1)]), "more than 0");
        is(missing(|task| task.conduct.targets = named(&["x", "y"])), "`x` or `y`");
        assert_eq!(missing(|task| task.conduct.targets = named(&["x", "big"])), None);
        // Each need is met by one of them, all together by none.
        is(
            missing(|task| {
                task.conduct.targets = named(&["w1"]);
                task.conduct.cpus = 8;
            }),
            "8 slots, and no worker that would do otherwise has more than 2",
        );
    }

    #[test]
    fn offers_are_read_and_written() {
        assert_eq!(memory("8GiB"), Ok(8 << 30));
        assert_eq!(memory("4096"), Ok(4096));
        assert!(memory("much").is_err());
        assert_eq!(resource("gpu=2"), Ok(("gpu".to_owned(), 2)));
        for wrong in ["gpu", "gpu=", "gpu=x", "=2", "2=2", "cpus=2", "memory=1", "gpu=-1"] {
            assert!(resource(wrong).is_err(), "{wrong}");
        }
        let offer = OfferArgs {
            jobs: None,
            memory: Some(1 << 30),
            resources: vec![("gpu".to_owned(), 2), ("gpu".to_owned(), 3)],
            labels: vec!["-x".to_owned()],
            enforce_memory: Some(false),
        };
        let words = "--memory 1073741824 --resource gpu=2 --resource gpu=3 --label=-x \
                     --enforce-memory=false";
        assert_eq!(offer.words().join(" "), words);
        assert_eq!(offer.offer().resources, [("gpu".to_owned(), 3)]);
    }

    #[test]
    fn workers_on_one_machine_share_it() {
        let machine = dagrun_worker::whole_machine();
        let none = OfferArgs::default();
        assert_eq!(none.share(1), none);
        let many = none.share(machine.slots * 3);
        assert_eq!(many.jobs, Some(1));
        assert_eq!(many.memory, Some(machine.memory / u64::from(machine.slots * 3)));
        assert_eq!(none.share(2).jobs, Some((machine.slots / 2).max(1)));
        let said = OfferArgs { jobs: Some(7), memory: Some(5), ..OfferArgs::default() };
        assert_eq!(said.share(4), said);
    }
}
