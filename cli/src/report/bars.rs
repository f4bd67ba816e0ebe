//! Bars on a terminal: one for the run, one for each active task, and a line for each that ended.

use std::io::Write as _;
use std::time::{Duration, Instant};

use dagrun_core::status::{RunState, State};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::area::Area;
use super::line::{Line, cut};
use super::{Reporter, conclusion, losses, waiting_news, waits};
use crate::progress::{News, Progress, TaskProgress};
use crate::terminal::{self, NoEcho, Paint, Terminal, seen};
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
    /// All lines of the picture: this process makes them, the library redraws them in place.
    area: ProgressBar,
    /// How wide each line of the last picture is, and how wide the terminal was.
    drawn: (Vec<usize>, usize),
    /// Lines about ended tasks, to be printed with the next drawing: drawing costs more than they.
    lines: Vec<String>,
    name_width: usize,
    no_echo: Option<NoEcho>,
}

impl Bars {
    /// Bars for a terminal.
    pub(crate) fn new(terminal: Terminal) -> Bars {
        // Drawing is paced here: the limit of the drawing library must not drop the last picture.
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(Area::default()), 60);
        let area = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            area.set_style(style);
        }
        Bars {
            terminal,
            area,
            drawn: (Vec::new(), 0),
            lines: Vec::new(),
            name_width: 3,
            no_echo: NoEcho::new(),
        }
    }

    fn flush_lines(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let text = self.lines.join("\n");
        self.lines.clear();
        if self.drawn.0.is_empty() {
            terminal::print(&text);
        } else {
            self.area.println(text);
        }
    }

    fn draw(&mut self, progress: &Progress) {
        let (width, height) = terminal::size();
        if width < self.drawn.1 {
            self.narrowed(width);
        }
        self.flush_lines();
        let picture = self.picture(progress, width, height);
        self.drawn = (picture.iter().map(|line| seen(line)).collect(), width);
        self.area.set_message(picture.join("\n"));
        self.area.tick();
    }

    /// Takes away a picture whose lines the terminal has broken: there are more of them than were drawn.
    fn narrowed(&mut self, width: usize) {
        let more: usize = self.drawn.0.iter().map(|line| line.div_ceil(width).max(1) - 1).sum();
        self.area.set_message("");
        self.area.tick();
        if more > 0 && terminal::reflows() {
            let mut to = std::io::stderr().lock();
            let _ = write!(to, "\x1b[{more}A\r\x1b[J");
            let _ = to.flush();
        }
    }

    /// A line for the run, one for each active task, and how many more there are.
    fn picture(&self, progress: &Progress, width: usize, height: usize) -> Vec<String> {
        let names = self.name_width + 2;
        let now = Instant::now();
        let name = format!("run {}", progress.run);
        let run = Line {
            indent: 0,
            name: &name,
            tally: progress.total,
            forecast: progress.forecast(now),
            note: waits(progress),
        };
        // The run's line, that of those which are not shown, and the one where the prompt was.
        let bars = BARS.min(height.saturating_sub(3)).max(1);
        let active = progress.active.iter().take(bars).filter_map(|at| progress.tasks.get(*at));
        let lines = std::iter::once(run).chain(active.map(|task| {
            let (tally, forecast) = (task.tally(), task.forecast(now));
            Line { indent: 2, name: &task.name, tally, forecast, note: None }
        }));
        let lines: Vec<Line<'_>> = lines.collect();
        let bar =
            lines.iter().map(|line| line.bar_width(width, names)).filter(|bar| *bar > 0).min();
        let text = |line: &Line<'_>| line.text(width, names, bar.unwrap_or(0), self.terminal);
        let mut lines: Vec<String> = lines.iter().map(text).collect();
        let hidden = progress.active.len().saturating_sub(bars);
        if hidden > 0 {
            lines.push(format!("  +{hidden} more"));
        }
        lines
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
        let name = format!("{:width$}", cut(&task.name, NAME_WIDTH), width = self.name_width);
        let counts = format!("{succeeded}/{}", tally.total);
        let line = if lost.is_empty() {
            format!("{mark} {name} {counts} {took}")
        } else {
            format!("{mark} {name} {counts} {} {took}", self.terminal.paint(paint, &lost))
        };
        line.trim_end().to_owned()
    }
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
        self.lines.extend(waiting_news(progress, news));
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
        self.area.finish_and_clear();
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
        terminal::print(&self.terminal.paint(paint, &conclusion(progress)));
    }
}
