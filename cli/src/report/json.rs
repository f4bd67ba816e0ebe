//! JSON Lines on standard output, for programs.

use std::collections::HashSet;
use std::io::Write as _;
use std::time::Duration;

use dagrun_core::ids::InstanceId;

use super::Reporter;
use crate::json::{self, Event};
use crate::progress::{News, Progress};
use crate::recipes::Recipes;
use crate::terminal;

/// Reports in events on standard output.
#[derive(Debug)]
pub(crate) struct JsonLines {
    recipes: Recipes,
    reported: HashSet<InstanceId>,
    /// Whether anybody still reads; the run goes on when nobody does.
    open: bool,
}

impl JsonLines {
    /// Events about the run that `recipes` belongs to.
    pub(crate) fn new(recipes: Recipes) -> JsonLines {
        JsonLines { recipes, reported: HashSet::new(), open: true }
    }

    fn write(&mut self, events: &[Event<'_>]) {
        let mut text = Vec::new();
        for event in events {
            if serde_json::to_writer(&mut text, event).is_ok() {
                text.push(b'\n');
            }
        }
        let mut stdout = std::io::stdout().lock();
        if self.open && stdout.write_all(&text).and_then(|()| stdout.flush()).is_err() {
            self.open = false;
        }
    }
}

impl Reporter for JsonLines {
    fn started(&mut self, progress: &Progress) {
        self.write(&[Event::RunStarted {
            run: progress.run.to_string(),
            name: &progress.name,
            tasks: progress.tasks.len(),
            instances: progress.total.total,
        }]);
    }

    fn update(&mut self, progress: &Progress, news: &News) {
        let run = progress.run.to_string();
        let mut events = Vec::new();
        for failure in &news.failures {
            if self.reported.insert(failure.instance) {
                events.push(Event::InstanceFailed {
                    run: run.clone(),
                    task: progress.task_name(failure.instance.task),
                    index: failure.instance.index,
                    reason: &failure.reason,
                    params: json::params(self.recipes.params(failure.instance)),
                });
            }
        }
        for skip in &news.skips {
            events.push(Event::InstanceSkipped {
                run: run.clone(),
                task: progress.task_name(skip.instance.task),
                index: skip.instance.index,
                reason: &skip.reason,
                params: json::params(self.recipes.params(skip.instance)),
            });
        }
        for task in news.ended.iter().filter_map(|at| progress.tasks.get(*at)) {
            events.push(Event::task_finished(run.clone(), &task.name, task.counts));
        }
        if news.waited.is_some() {
            let reason = Some(progress.waiting.as_str()).filter(|why| !why.is_empty());
            events.push(match reason {
                Some(reason) => Event::RunWaiting { run, reason },
                None => Event::RunContinued { run },
            });
        }
        if !events.is_empty() {
            self.write(&events);
        }
    }

    fn tick(&mut self, _: &Progress) {}

    fn period(&self) -> Duration {
        Duration::from_secs(3600)
    }

    fn note(&mut self, text: &str) {
        terminal::print(text);
    }

    fn wants_all_failures(&self) -> bool {
        true
    }

    fn finished(&mut self, progress: &Progress) {
        let run = progress.run.to_string();
        self.write(&[Event::RunFinished { run, state: progress.state.word() }]);
    }
}
