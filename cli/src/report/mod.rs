//! Reporters: what a person or a program is shown while a run goes on.

mod area;
mod bars;
mod json;
mod line;
mod plain;

use std::time::{Duration, Instant};

use dagrun_core::ids::{Micros, RunId};
use dagrun_core::status::State;

use crate::exit::Failure;
use crate::progress::{News, Progress, Tally, TaskProgress};
use crate::source::RunSource;
use crate::terminal::{self, Terminal};
use crate::time;

pub(crate) use bars::Bars;
pub(crate) use json::JsonLines;
pub(crate) use plain::Plain;

/// Reports on a run.
pub(crate) trait Reporter {
    /// The run has been submitted, or attached to.
    fn started(&mut self, progress: &Progress);

    /// Something happened.
    fn update(&mut self, progress: &Progress, news: &News);

    /// Time has passed; called every [`Reporter::period`].
    fn tick(&mut self, progress: &Progress);

    /// How often [`Reporter::tick`] is wanted.
    fn period(&self) -> Duration;

    /// A sentence for people.
    fn note(&mut self, text: &str);

    /// Runs what writes to standard output or standard error, where it disturbs no drawing.
    fn aside(&mut self, write: &mut dyn FnMut()) {
        write();
    }

    /// Whether every failure must come by, also those that were too many to be sent at once.
    fn wants_all_failures(&self) -> bool {
        false
    }

    /// Whether people read it, who want to know at the end what came out.
    fn is_for_people(&self) -> bool {
        false
    }

    /// This process stops looking, while the run goes on.
    fn let_go(&mut self) {}

    /// The run has ended.
    fn finished(&mut self, progress: &Progress);
}

/// The reporter that suits the options and the terminal.
pub(crate) async fn choose(
    json: bool,
    quiet: bool,
    run: &RunSource,
) -> Result<Box<dyn Reporter>, Failure> {
    let terminal = Terminal::stderr();
    Ok(match (json, quiet) {
        (true, _) => Box::new(JsonLines::new(run.recipes().await?)),
        (false, true) => Box::new(Quiet),
        (false, false) if terminal.interactive => Box::new(Bars::new(terminal)),
        (false, false) => Box::new(Plain::default()),
    })
}

/// Reports nothing but why nothing happens.
#[derive(Debug)]
struct Quiet;

impl Reporter for Quiet {
    fn started(&mut self, _: &Progress) {}
    fn update(&mut self, progress: &Progress, news: &News) {
        // Who waits without progress must know why nothing happens.
        if let Some(line) = waiting_news(progress, news) {
            terminal::print(&line);
        }
    }
    fn tick(&mut self, _: &Progress) {}
    fn period(&self) -> Duration {
        Duration::from_secs(3600)
    }
    fn note(&mut self, _: &str) {}
    fn finished(&mut self, _: &Progress) {}
}

/// `1200/10000  4 running  2 retrying  1 failed  18.3/s  ETA 8 min 2 s`, in parts. A total that is not
/// known yet is `?`, or has a `+`.
fn figures(tally: Tally, forecast: (Option<f64>, Option<Duration>)) -> Vec<String> {
    let mut parts = vec![format!("{}/{}", tally.done, tally.total_in_words())];
    let counts =
        [(tally.running, "running"), (tally.retrying, "retrying"), (tally.failed, "failed")];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    parts.extend(counts.map(|(count, what)| format!("{count} {what}")));
    parts.extend(forecast.0.map(rate));
    if let Some(left) = forecast.1.filter(|_| tally.done < tally.total) {
        parts.push(format!("ETA {}", about(left)));
    }
    parts
}

/// Completions a second.
fn rate(of: f64) -> String {
    if of < 100.0 { format!("{of:.1}/s") } else { format!("{of:.0}/s") }
}

/// A forecast is not worth tenths of seconds.
fn about(left: Duration) -> String {
    if left < Duration::from_secs(60) {
        format!("{:.0} s", left.as_secs_f64().ceil())
    } else {
        Micros::of(left).rounded()
    }
}

/// How a task ended: `1 failed, 3 skipped`; empty when all succeeded.
fn losses(task: &TaskProgress) -> String {
    let parts: Vec<String> = [State::Failed, State::Skipped, State::Cancelled]
        .into_iter()
        .filter(|state| task.counts.of(*state) > 0)
        .map(|state| format!("{} {}", task.counts.of(state), state.word()))
        .collect();
    parts.join(", ")
}

/// `run 12 succeeded: 226 instances, 12.3 s`.
fn conclusion(progress: &Progress) -> String {
    let total = progress.total;
    let plural = if total.total == 1 && total.unknown == 0 { "instance" } else { "instances" };
    let mut text = format!("run {} {}: ", progress.run, progress.state.word());
    if !total.is_done() {
        text.push_str(&format!("{} of ", total.done));
    }
    text.push_str(&format!("{} {plural}", total.total_in_words()));
    for state in [State::Failed, State::Skipped, State::Cancelled] {
        let count: u64 = progress.tasks.iter().map(|task| u64::from(task.counts.of(state))).sum();
        if count > 0 {
            text.push_str(&format!(", {count} {}", state.word()));
        }
    }
    if progress.retried > 0 {
        text.push_str(&format!(", {} retried", progress.retried));
    }
    text.push_str(&format!(", {}", time::span(progress.elapsed())));
    text
}

/// The figures of a whole run, now.
fn run_figures(progress: &Progress) -> String {
    let mut parts = figures(progress.total, progress.forecast(Instant::now()));
    parts.extend(waits(progress).map(str::to_owned));
    parts.join("  ")
}

/// Why nothing of a run is started now, or that it goes on, when that is another reason than before.
pub(crate) fn waiting_line(run: RunId, before: &str, now: &str) -> Option<String> {
    (before != now).then(|| match now {
        "" => format!("run {run} goes on"),
        why => format!("run {run}: {why}"),
    })
}

/// The same when it is news.
fn waiting_news(progress: &Progress, news: &News) -> Option<String> {
    let before = news.waited.as_deref()?;
    waiting_line(progress.run, before, &progress.waiting)
}

/// What the run waits for, if nothing of it runs or is started.
fn waits(progress: &Progress) -> Option<&'static str> {
    match progress.workers {
        _ if !progress.waiting.is_empty() => Some("waiting for space"),
        _ if progress.total.is_done() => None,
        0 => Some("no workers yet"),
        _ => progress.total.waits_for_workers().then_some("waiting for workers"),
    }
}
