//! Bars on a terminal: one for the run, one for each active task, and a line for each that ended.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dagrun_core::status::{RunState, State};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Reporter, conclusion, figures, losses, run_figures};
use crate::progress::{News, Progress, Tally, TaskProgress};
use crate::terminal::{NoEcho, Paint, Terminal};
use crate::time;

/// How many tasks have a bar at most.
const BARS: usize = 8;

/// How often the bars are drawn.
const PERIOD: Duration = Duration::from_millis(100);

/// Names longer than this are cut.
const NAME_WIDTH: usize = 24;

/// Reports in bars on standard error.
#[derive(Debug)]
pub(crate) struct Bars {
    terminal: Terminal,
    area: MultiProgress,
    run: Option<ProgressBar>,
    tasks: BTreeMap<usize, ProgressBar>,
    more: Option<ProgressBar>,
    /// Lines about ended tasks, to be printed with the next drawing: drawing costs more than they.
    lines: Vec<String>,
    name_width: usize,
    no_echo: Option<NoEcho>,
}

impl Bars {
    /// Bars for a terminal.
    pub(crate) fn new(terminal: Terminal) -> Bars {
        // Drawing is paced here: the limit of the drawing library must not drop the last picture.
        let target = ProgressDrawTarget::stderr_with_hz(60);
        Bars {
            terminal,
            area: MultiProgress::with_draw_target(target),
            run: None,
            tasks: BTreeMap::new(),
            more: None,
            lines: Vec::new(),
            name_width: 3,
            no_echo: NoEcho::new(),
        }
    }

    fn style(&self, indent: &str) -> ProgressStyle {
        let (bar, prefix) =
            if self.terminal.color { ("{bar:24.cyan/238}", ".bold") } else { ("{bar:24}", "") };
        let width = self.name_width + 2 - indent.len();
        let template = format!("{indent}{{prefix:{width}{prefix}}} {bar} {{msg}}");
        ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸━")
    }

    fn flush_lines(&mut self) {
        if !self.lines.is_empty() {
            let text = self.lines.join("\n");
            self.lines.clear();
            if self.area.println(&text).is_err() || self.run.is_none() {
                // Nothing has been drawn yet, or can be.
                crate::terminal::print(&text);
            }
        }
    }

    fn draw(&mut self, progress: &Progress) {
        let run = match &self.run {
            Some(run) => run.clone(),
            None => {
                let run = self.area.add(ProgressBar::new(progress.total.total));
                run.set_style(self.style(""));
                run.set_prefix(format!("run {}", progress.run));
                self.run.insert(run).clone()
            }
        };
        self.flush_lines();
        show(&run, progress.total, run_figures(progress));
        let shown: Vec<usize> = progress.active.iter().copied().take(BARS).collect();
        self.tasks.retain(|at, bar| {
            let keep = shown.contains(at);
            if !keep {
                self.area.remove(bar);
            }
            keep
        });
        for (position, at) in shown.iter().enumerate() {
            let Some(task) = progress.tasks.get(*at) else { continue };
            let bar = match self.tasks.get(at) {
                Some(bar) => bar.clone(),
                None => self.add(*at, position, task),
            };
            let forecast = task.forecast(Instant::now());
            show(&bar, task.tally(), figures(task.tally(), forecast).join("  "));
        }
        self.draw_more(progress.active.len().saturating_sub(BARS));
    }

    fn add(&mut self, at: usize, position: usize, task: &TaskProgress) -> ProgressBar {
        let bar = self.area.insert(position + 1, ProgressBar::new(task.tally().total));
        bar.set_style(self.style("  "));
        bar.set_prefix(short(&task.name));
        self.tasks.insert(at, bar.clone());
        bar
    }

    fn draw_more(&mut self, hidden: usize) {
        match (&self.more, hidden) {
            (Some(more), 0) => {
                self.area.remove(more);
                self.more = None;
            }
            (Some(more), _) => more.set_message(format!("+{hidden} more")),
            (None, 0) => {}
            (None, _) => {
                let more = self.area.add(ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template("  {msg}") {
                    more.set_style(style);
                }
                more.set_message(format!("+{hidden} more"));
                self.more = Some(more);
            }
        }
    }

    /// `✓ price 225/225 12.3 s`.
    fn summary(&self, task: &TaskProgress) -> String {
        let tally = task.tally();
        let succeeded = task.counts.of(State::Succeeded);
        let lost = losses(task);
        let (mark, paint) = match task.counts.of(State::Failed) {
            1.. => ("✗", Paint::Red),
            0 if u64::from(succeeded) < tally.total => ("-", Paint::Yellow),
            0 => ("✓", Paint::Green),
        };
        let mark = self.terminal.paint(paint, mark);
        let took = task.elapsed().map(time::span).unwrap_or_default();
        let took = self.terminal.paint(Paint::Dim, &took);
        let name = format!("{:width$}", short(&task.name), width = self.name_width);
        let counts = format!("{succeeded}/{}", tally.total);
        let line = if lost.is_empty() {
            format!("{mark} {name} {counts} {took}")
        } else {
            format!("{mark} {name} {counts} {} {took}", self.terminal.paint(paint, &lost))
        };
        line.trim_end().to_owned()
    }
}

fn show(bar: &ProgressBar, tally: Tally, message: String) {
    // As long as there may be more, the bar does not look full.
    bar.set_length(tally.total + u64::from(tally.unknown > 0));
    bar.set_position(tally.done);
    bar.set_message(message);
    bar.tick();
}

fn short(name: &str) -> String {
    if name.chars().count() <= NAME_WIDTH {
        return name.to_owned();
    }
    name.chars().take(NAME_WIDTH - 1).chain(['…']).collect()
}

impl Reporter for Bars {
    fn started(&mut self, progress: &Progress) {
        let longest = progress.tasks.iter().map(|task| task.name.chars().count()).max();
        let run = format!("run {}", progress.run).len().saturating_sub(2);
        self.name_width = longest.unwrap_or(0).max(run).min(NAME_WIDTH);
    }

    fn update(&mut self, progress: &Progress, news: &News) {
        for at in &news.ended {
            if let Some(task) = progress.tasks.get(*at) {
                let line = self.summary(task);
                self.lines.push(line);
            }
        }
    }

    fn tick(&mut self, progress: &Progress) {
        self.draw(progress);
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn note(&mut self, text: &str) {
        self.lines.push(text.to_owned());
    }

    fn aside(&mut self, write: &mut dyn FnMut()) {
        self.area.suspend(write);
    }

    fn let_go(&mut self) {
        self.flush_lines();
        // The drawing ends with nothing but the lines above it.
        let _ = self.area.clear();
        self.area.set_draw_target(ProgressDrawTarget::hidden());
        self.no_echo = None;
    }

    fn is_for_people(&self) -> bool {
        true
    }

    fn finished(&mut self, progress: &Progress) {
        self.let_go();
        let paint = match progress.state {
            RunState::Succeeded => Paint::Green,
            RunState::Failed => Paint::Red,
            RunState::Running | RunState::Cancelled | RunState::Interrupted => Paint::Yellow,
        };
        crate::terminal::print(&self.terminal.paint(paint, &conclusion(progress)));
    }
}
