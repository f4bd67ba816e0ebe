//! One line of progress at a width: what does not fit is left out in order of worth, and nothing wraps.

use std::time::Duration;

use super::{about, rate};
use crate::progress::Tally;
use crate::terminal::{Paint, Terminal, seen};

/// What a line shows.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// Spaces before it.
    pub(super) indent: usize,
    /// Its name.
    pub(super) name: &'a str,
    pub(super) tally: Tally,
    /// Completions a second, and the time that is left.
    pub(super) forecast: (Option<f64>, Option<Duration>),
    /// What else is to be said.
    pub(super) note: Option<&'static str>,
}

/// The narrowest and the widest useful bar.
const BAR: (usize, usize) = (8, 60);

/// The narrowest name, where there is a longer one.
const NAME: usize = 8;

/// The worth of the bar among the parts.
const BAR_WORTH: u8 = 5;

/// What of a line fits, the width of the name, and that of the bar.
struct Fitted {
    parts: Vec<Part>,
    name: usize,
    bar: usize,
}

/// A part of a line.
struct Part {
    text: String,
    paint: Option<Paint>,
    /// The part with the smallest number is the last to be left out.
    worth: u8,
}

impl Line<'_> {
    /// How many characters its bar may have at a width; 0 where there is no space for one.
    pub(super) fn bar_width(&self, width: usize, names: usize) -> usize {
        self.fitted(width, names).bar
    }

    /// The text, at most `width` characters; names take up to `names` of them, the bar up to `bar`.
    pub(super) fn text(
        &self,
        width: usize,
        names: usize,
        bar: usize,
        terminal: Terminal,
    ) -> String {
        let Fitted { parts, name, bar: most } = self.fitted(width, names);
        let mut text = " ".repeat(self.indent.min(width));
        let shown = cut(self.name, name);
        text.push_str(&terminal.paint(Paint::Bold, &format!("{shown:name$}")));
        let mut gap = " ";
        if most > 0 {
            text.push(' ');
            text.push_str(&self.bar(bar.min(most), terminal));
            gap = "  ";
        }
        for Part { text: part, paint, .. } in parts.iter().filter(|part| part.worth != BAR_WORTH) {
            text.push_str(gap);
            gap = "  ";
            match paint {
                Some(paint) => text.push_str(&terminal.paint(*paint, part)),
                None => text.push_str(part),
            }
        }
        text
    }

    /// What of the line there is space for.
    fn fitted(&self, width: usize, names: usize) -> Fitted {
        let mut parts = self.parts();
        let counts = parts.first().map_or(0, |part| seen(&part.text));
        let indent = self.indent.min(width);
        // Names stand below each other, and leave space for the counts.
        let most = (width / 4).max(NAME) + 2 - indent.min(2);
        let most = most.min(width.saturating_sub(indent + 1 + counts));
        let name = names.saturating_sub(indent).min(most);
        let mut left = width.saturating_sub(indent + name);
        let mut by_worth: Vec<u8> = parts.iter().map(|part| part.worth).collect();
        by_worth.sort_unstable();
        let mut kept = None;
        for worth in by_worth {
            let Some(part) = parts.iter().find(|part| part.worth == worth) else { break };
            let needs = match worth {
                // After one space only; and there is always that.
                0 => (counts + 1).min(left),
                BAR_WORTH => BAR.0 + 2,
                _ => seen(&part.text) + 2,
            };
            if needs > left {
                break;
            }
            left -= needs;
            kept = Some(worth);
        }
        parts.retain(|part| kept.is_some_and(|kept| part.worth <= kept));
        let has_bar = parts.iter().any(|part| part.worth == BAR_WORTH);
        let mut bar = if has_bar { BAR.0 } else { 0 };
        if bar > 0 {
            bar += left.min(width / 3).min(BAR.1 - BAR.0);
        }
        Fitted { parts, name, bar }
    }

    /// What there is to say, in the order in which it is said.
    fn parts(&self) -> Vec<Part> {
        let tally = self.tally;
        let part = |worth, paint, text: String| Part { text, paint, worth };
        let mut parts = vec![
            part(0, None, format!("{}/{}", tally.done, tally.total_in_words())),
            part(BAR_WORTH, None, String::new()),
        ];
        if tally.running > 0 {
            parts.push(part(3, None, format!("{} running", tally.running)));
        }
        if tally.retrying > 0 {
            parts.push(part(4, Some(Paint::Yellow), format!("{} retrying", tally.retrying)));
        }
        if tally.failed > 0 {
            parts.push(part(1, Some(Paint::Red), format!("{} failed", tally.failed)));
        }
        if let Some(note) = self.note {
            parts.push(part(2, Some(Paint::Yellow), note.to_owned()));
        }
        if let Some(of) = self.forecast.0 {
            parts.push(part(7, Some(Paint::Dim), rate(of)));
        }
        if let Some(left) = self.forecast.1.filter(|_| tally.done < tally.total) {
            parts.push(part(6, None, format!("ETA {}", about(left))));
        }
        parts
    }

    /// As long as there may be more, the bar does not look full.
    fn bar(&self, width: usize, terminal: Terminal) -> String {
        let tally = self.tally;
        let total = tally.total + u64::from(tally.unknown > 0);
        let halves = (width as u128 * 2 * u128::from(tally.done)).checked_div(total.into());
        let halves = usize::try_from(halves.unwrap_or(0)).unwrap_or(0).min(width * 2);
        let (full, half) = (halves / 2, halves % 2);
        let done = "━".repeat(full) + if half == 1 { "╸" } else { "" };
        let rest = width - full - half;
        if terminal.color {
            format!("\x1b[36m{done}\x1b[38;5;238m{}\x1b[0m", "━".repeat(rest))
        } else {
            done + &"·".repeat(rest)
        }
    }
}

/// A name at a width.
pub(super) fn cut(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        return name.to_owned();
    }
    if width == 0 {
        return String::new();
    }
    name.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Terminal = Terminal { interactive: true, color: false };

    fn busy() -> Line<'static> {
        Line {
            indent: 2,
            name: "a-rather-long-name-of-a-task",
            tally: Tally {
                total: 20_000,
                unknown: 0,
                done: 5_000,
                running: 16,
                retrying: 12,
                ready: 40,
                leased: 16,
                failed: 3,
            },
            forecast: (Some(18.34), Some(Duration::from_secs(818))),
            note: Some("waiting for workers"),
        }
    }

    #[test]
    fn parts_are_left_out_in_order_of_worth() {
        let line = busy();
        let widths = [20, 30, 40, 60, 80, 100, 120, 200];
        let lines = widths.map(|width| format!("{width:3}|{}", line.text(width, 24, 99, PLAIN)));
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn no_line_is_wider_than_it_may_be() {
        let color = Terminal { interactive: true, color: true };
        for width in 10..220 {
            for total in [0, 1, 999, u64::MAX / 4] {
                for unknown in [0, 1] {
                    let tally = Tally { total, unknown, done: total / 3, ..busy().tally };
                    for names in [0, 3, 24] {
                        let line = Line { tally, ..busy() };
                        let text = line.text(width, names, 99, PLAIN);
                        let counts = seen(&line.parts()[0].text);
                        let fits = seen(&text) <= width.max(counts + 3);
                        assert!(fits, "{width} {names}: {text}");
                        assert_eq!(seen(&line.text(width, names, 99, color)), seen(&text));
                    }
                }
            }
        }
    }

    #[test]
    fn a_bar_is_full_only_when_nothing_more_can_come() {
        let bar = |done, total, unknown| {
            let tally = Tally { done, total, unknown, ..Tally::default() };
            Line { tally, ..busy() }.bar(8, PLAIN)
        };
        assert_eq!(bar(8, 8, 0), "━━━━━━━━");
        assert_eq!(bar(8, 8, 1), "━━━━━━━·");
        assert_eq!(bar(0, 0, 1), "········");
        assert_eq!(bar(1, 16, 0), "╸·······");
        assert_eq!(bar(u64::MAX, u64::MAX, 0), "━━━━━━━━");
    }
}
