//! The last lines of a failed run: what failed first, what it ran, what it wrote, what to do now.

use dagrun_core::status::{Failure as FailedInstance, InstanceRow, State, Stream};
use dagrun_core::value::Value;

use crate::exit::Failure;
use crate::quote;
use crate::recipes::Recipes;
use crate::source::{FIRST, RunSource};
use crate::target::Target;
use crate::terminal::{self, Paint, Terminal};

/// How many lines of standard error are shown at most.
const LINES: usize = 20;

/// How many bytes of it, should the lines be long.
const BYTES: usize = 4096;

/// How many failed instances are looked at to find the first one.
const SEARCH: u32 = 10_000;

/// What to do now.
#[derive(Clone, Debug)]
pub(crate) struct Advice {
    /// What it leads to, in a word.
    pub(crate) label: &'static str,
    /// The command.
    pub(crate) command: String,
}

/// Prints the failure tail on standard error. `known` are the failures that this process has been
/// notified of, in order.
pub(crate) async fn print(
    run: &RunSource,
    known: &[FailedInstance],
    advice: &Advice,
) -> Result<(), Failure> {
    let terminal = Terminal::stderr();
    let mut recipes = run.recipes().await?;
    let Some(first) = first_root(run, &recipes).await? else { return Ok(()) };
    let instance = first.instance;
    let name = recipes.pipeline().tasks.get(instance.task.at()).map(|task| task.name.clone());
    let target = Target { task: name.unwrap_or_default(), index: Some(instance.index) };

    let headline = format!("{target} failed: {}", first.reason);
    let mut text = format!("\n{}\n", terminal.paint(Paint::Red, &headline));
    push_attempt(&mut text, &recipes.params(instance), &first);
    // Without what it was given it cannot be shown.
    if let Ok(argv) = run.command(instance).await {
        text.push_str(&format!("  argv:     {}\n", quote::line(argv)));
    }
    let stderr = match known.iter().find(|failure| failure.instance == instance) {
        Some(failure) if !failure.stderr_tail.is_empty() => failure.stderr_tail.clone(),
        _ => logged_stderr(run, &target, first.attempts).await.unwrap_or_default(),
    };
    push_stderr(&mut text, &stderr);
    let option = run.option();
    let log = format!("dagrun logs {} {}{option}", run.id(), quote::word(target.to_string()));
    text.push_str(&format!("  log:      {log}\n"));
    text.push_str(&format!("  {:<9} {}", format!("{}:", advice.label), advice.command));
    terminal::print(&text);
    Ok(())
}

fn push_attempt(text: &mut String, params: &[(String, Value)], row: &InstanceRow) {
    if row.attempts > 1 {
        text.push_str(&format!("  attempts: {}\n", row.attempts));
    }
    if !params.is_empty() {
        let shown = params.iter().map(|(name, value)| {
            format!("{name}={}", String::from_utf8_lossy(&value.to_text()).escape_debug())
        });
        text.push_str(&format!("  params:   {}\n", shown.collect::<Vec<_>>().join(" ")));
    }
}

fn push_stderr(text: &mut String, stderr: &[u8]) {
    if !stderr.is_empty() {
        text.push_str("  stderr:\n");
        for line in last_lines(stderr) {
            text.push_str(&format!("    {line}\n"));
        }
    }
}

/// The failed instance that ended first, of the tasks that may not fail.
async fn first_root(run: &RunSource, recipes: &Recipes) -> Result<Option<InstanceRow>, Failure> {
    let mut first: Option<InstanceRow> = None;
    let mut from = Some(FIRST);
    let mut seen = 0;
    while let (Some(start), true) = (from, seen < SEARCH) {
        let page = run.instances(start, 1000, true).await?;
        seen += 1000;
        for row in page.rows {
            let task = recipes.pipeline().tasks.get(row.instance.task.at());
            let allowed = task.is_some_and(|task| task.conduct.allow_failure);
            let earlier = first.as_ref().is_none_or(|first| row.finished < first.finished);
            if row.state == State::Failed && !allowed && earlier {
                first = Some(row);
            }
        }
        from = page.next;
    }
    Ok(first)
}

/// The end of what the last attempt wrote to standard error.
async fn logged_stderr(run: &RunSource, target: &Target, attempt: u32) -> Result<Vec<u8>, Failure> {
    let (mut tail, mut cursor) = (Vec::new(), Vec::new());
    loop {
        let page = run.logs(Some(target), &cursor, false).await?;
        for chunk in page.chunks {
            if chunk.stream == Stream::Stderr && chunk.attempt == attempt {
                tail.extend_from_slice(&chunk.bytes);
                let cut = tail.len().saturating_sub(BYTES);
                tail.drain(..cut);
            }
        }
        if !page.more {
            return Ok(tail);
        }
        cursor = page.cursor;
    }
}

/// The last lines, with nothing in them that a terminal would obey.
fn last_lines(bytes: &[u8]) -> Vec<String> {
    let text =
        String::from_utf8_lossy(bytes.get(bytes.len().saturating_sub(BYTES)..).unwrap_or(bytes));
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let skipped = lines.len().saturating_sub(LINES);
    let harmless = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    lines.iter().skip(skipped).map(|line| line.chars().map(harmless).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::last_lines;

    #[test]
    fn a_tail_is_short_and_harmless() {
        assert_eq!(last_lines(b"a\n\x1b[2Jb\n\n"), ["a", "\u{fffd}[2Jb"]);
        assert_eq!(last_lines("line\n".repeat(100).as_bytes()).len(), 20);
    }
}
