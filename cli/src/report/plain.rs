//! Lines for logs: one at each task's end, and one every 30 s of progress.

use std::time::{Duration, Instant};

use super::{Reporter, conclusion, losses, run_figures, waiting_news};
use crate::progress::{News, Progress};
use crate::{terminal, time};

/// The time between lines while no task ends.
const SILENCE: Duration = Duration::from_secs(30);

/// Reports in lines on standard error.
#[derive(Debug)]
pub(crate) struct Plain {
    last: Instant,
}

impl Default for Plain {
    fn default() -> Self {
        Plain { last: Instant::now() }
    }
}

impl Plain {
    fn line(&mut self, text: &str) {
        terminal::print(text);
        self.last = Instant::now();
    }
}

impl Reporter for Plain {
    fn started(&mut self, progress: &Progress) {
        let tasks = progress.tasks.len();
        let instances = progress.total.total_in_words();
        self.line(&format!(
            "run {}: {}, {tasks} task{}, {instances} instance{}",
            progress.run,
            progress.name,
            if tasks == 1 { "" } else { "s" },
            if instances == "1" { "" } else { "s" },
        ));
    }

    fn update(&mut self, progress: &Progress, news: &News) {
        let mut text = String::new();
        for task in news.ended.iter().filter_map(|at| progress.tasks.get(*at)) {
            let tally = task.tally();
            let succeeded = task.counts.of(dagrun_core::status::State::Succeeded);
            let lost = losses(task);
            let separator = if lost.is_empty() { "" } else { ", " };
            let took = task.elapsed().map(|took| format!(", {}", time::span(took)));
            let took = took.unwrap_or_default();
            let line = format!(
                "{}: {succeeded}/{} succeeded{separator}{lost}{took}\n",
                task.name, tally.total
            );
            text.push_str(&line);
        }
        text.extend(waiting_news(progress, news));
        if !text.is_empty() {
            self.line(text.trim_end_matches('\n'));
        }
    }

    fn tick(&mut self, progress: &Progress) {
        if self.last.elapsed() >= SILENCE {
            let time = time::span(progress.elapsed());
            self.line(&format!("{}  after {time}", run_figures(progress)));
        }
    }

    fn period(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn note(&mut self, text: &str) {
        self.line(text);
    }

    fn is_for_people(&self) -> bool {
        true
    }

    fn finished(&mut self, progress: &Progress) {
        self.line(&conclusion(progress));
    }
}
