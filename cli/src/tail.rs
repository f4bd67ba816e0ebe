//! The last lines of a failed run: what failed first, what it ran, what it wrote, what to do now.

use dagrun::rpc::PipelineFile;
use dagrun_core::ids::TaskId;
use dagrun_core::pipeline::TaskAction;
use dagrun_core::status::{Failure as FailedInstance, InstanceRow, State, Stream};
use dagrun_core::value::Value;

use crate::exit::{Exit, Failure};
use crate::failed;
use crate::quote;
use crate::recipes::Recipes;
use crate::source::{FIRST, RunSource};
use crate::target::Target;
use crate::terminal::{self, Paint, Terminal};

/// How many lines of standard error are shown at most.
const LINES: usize = 20;

/// How many bytes of it, should the lines be long. With the others below, one failure takes less
/// than 4 KB, whatever its parameters are.
const BYTES: usize = 1800;
/// How many bytes of the reason, of the parameters and of the command are shown at most.
const REASON: usize = 500;
const PARAMS: usize = 500;
const COMMAND: usize = 800;

/// How many failed instances are looked at to find the first one.
const SEARCH: u32 = 10_000;

/// The label of an advice that leads to another run.
pub(crate) const RETRY: &str = "retry";

/// What to do now.
#[derive(Clone, Debug)]
pub(crate) struct Advice {
    /// What it leads to, in a word.
    pub(crate) label: &'static str,
    /// The command.
    pub(crate) command: String,
}

/// Fails when a run ended only because nothing of it could be recorded any more.
pub(crate) async fn check_recorded(run: &RunSource, advice: &Advice) -> Result<(), Failure> {
    let Err(failure) = run.status().await else { return Ok(()) };
    let (id, help) = (run.id(), format!("when that is mended: {}", advice.command));
    Err(Failure::new(Exit::Failed, format!("run {id} was stopped: {}", failure.message)).help(help))
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
    let failed = failed(run, &recipes).await?;
    let Some(first) = first_root(&failed).cloned() else { return Ok(()) };
    let name_of = |task: TaskId| {
        recipes.pipeline().tasks.get(task.at()).map(|task| task.name.clone()).unwrap_or_default()
    };
    let groups = failed::lines(run, &failed, name_of).await?;
    let instance = first.instance;
    let target = Target { task: name_of(instance.task), index: Some(instance.index) };
    let action = recipes.pipeline().tasks.get(instance.task.at()).map(|task| task.action.clone());

    let reason = shortened(&harmless(&first.reason), REASON);
    let headline = format!("{target} {}: {reason}", first.state.word());
    let mut text = String::new();
    groups.iter().for_each(|line| text.push_str(&format!("\n{line}")));
    text.push_str(if groups.is_empty() { "\n" } else { "\n\n" });
    text.push_str(&format!("{}\n", terminal.paint(Paint::Red, &headline)));
    push_attempt(&mut text, &recipes.params(instance), &first);
    // Without what it was given it cannot be shown.
    if first.state == State::Failed {
        match action.as_ref().and_then(TaskAction::script) {
            Some(script) => push_script(&mut text, script),
            None => {
                if let Ok(argv) = run.command(instance).await {
                    let argv = shortened(&quote::line(argv), COMMAND);
                    text.push_str(&format!("  argv:     {argv}\n"));
                }
            }
        }
    }
    let ran = first.attempts > 0;
    let stderr = match known.iter().find(|failure| failure.instance == instance) {
        Some(failure) if !failure.stderr_tail.is_empty() => failure.stderr_tail.clone(),
        _ => logged_stderr(run, &target, first.attempts).await.unwrap_or_default(),
    };
    push_stderr(&mut text, &stderr);
    let option = run.option();
    let log = ran
        .then(|| format!("dagrun logs {} {}{option}", run.id(), quote::word(target.to_string())));
    log.into_iter().for_each(|log| text.push_str(&format!("  log:      {log}\n")));
    text.push_str(&format!("  {:<9} {}", format!("{}:", advice.label), advice.command));
    if let Some(changed) = changed(run, advice).await? {
        text.push_str(&format!("\n  or:       {changed}"));
    }
    terminal::print(&text);
    Ok(())
}

/// What to do when the pipeline's file is another one now.
async fn changed(run: &RunSource, advice: &Advice) -> Result<Option<String>, Failure> {
    let file = run.submission().await?.file().filter(PipelineFile::has_changed);
    let Some(file) = file.filter(|_| advice.label == RETRY) else { return Ok(None) };
    let path = quote::word(&file.path);
    let mut command = format!("{} --with {path}", advice.command);
    if let Some(params) = &file.params {
        command.push_str(&format!(" --params {}", quote::word(params)));
    }
    for (name, value) in &file.set {
        command.push_str(&format!(" --set {}", quote::word(format!("{name}={value}"))));
    }
    let name = file.path.file_name().unwrap_or(file.path.as_os_str()).to_string_lossy();
    Ok(Some(format!("{name} has changed since; as it is now: {command}")))
}

fn push_attempt(text: &mut String, params: &[(String, Value)], row: &InstanceRow) {
    if row.attempts > 1 {
        text.push_str(&format!("  attempts: {}\n", row.attempts));
    }
    if !params.is_empty() {
        let shown = params.iter().map(|(name, value)| {
            format!("{name}={}", terminal::plain(&String::from_utf8_lossy(&value.to_text())))
        });
        let shown = shown.collect::<Vec<_>>().join(" ");
        text.push_str(&format!("  params:   {}\n", shortened(&shown, PARAMS)));
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

/// A script as it was written.
fn push_script(text: &mut String, script: &str) {
    let script = shortened(&harmless(script.trim_end()), COMMAND);
    let mut lines = script.lines().skip_while(|line| line.trim().is_empty());
    match (lines.next(), lines.clone().next()) {
        (Some(only), None) => text.push_str(&format!("  script:   {}\n", only.trim())),
        (Some(first), _) => {
            text.push_str("  script:\n");
            for line in std::iter::once(first).chain(lines) {
                text.push_str(format!("    {line}").trim_end());
                text.push('\n');
            }
        }
        (None, _) => {}
    }
}

/// The instances that failed the run: of the tasks that may not fail, and those whose skip did, where
/// nothing failed. In order, and no more than are looked at.
async fn failed(run: &RunSource, recipes: &Recipes) -> Result<Vec<InstanceRow>, Failure> {
    let mut failed: Vec<InstanceRow> = Vec::new();
    let mut from = Some(FIRST);
    let mut seen = 0;
    while let (Some(start), true) = (from, seen < SEARCH) {
        let page = run.instances(start, 1000, true).await?;
        seen += 1000;
        failed.extend(page.rows.into_iter().filter(|row| {
            let task = recipes.pipeline().tasks.get(row.instance.task.at());
            !task.is_some_and(|task| task.conduct.allow_failure)
        }));
        from = page.next;
    }
    // A skip is the reason only where nothing has failed.
    if failed.iter().any(|row| row.state != State::Skipped) {
        failed.retain(|row| row.state != State::Skipped);
    }
    Ok(failed)
}

/// The one that ended first.
fn first_root(failed: &[InstanceRow]) -> Option<&InstanceRow> {
    failed.iter().min_by_key(|row| row.finished)
}

/// The end of what the last attempt wrote to standard error.
async fn logged_stderr(
    run: &RunSource,
    target: &Target,
    attempts: u32,
) -> Result<Vec<u8>, Failure> {
    // Its number is higher where the numbers have gaps.
    let (mut tail, mut cursor, mut attempt) = (Vec::new(), Vec::new(), attempts);
    loop {
        let page = run.logs(Some(target), &cursor, false).await?;
        for chunk in page.chunks {
            if chunk.attempt > attempt {
                attempt = chunk.attempt;
                tail.clear();
            }
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
    let last = bytes.get(bytes.len().saturating_sub(BYTES)..).unwrap_or(bytes);
    // What is replaced takes more bytes than before.
    let text = harmless(String::from_utf8_lossy(last).trim_end());
    let cut = text.len().saturating_sub(BYTES);
    let cut = (cut..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let lines: Vec<&str> = text.get(cut..).unwrap_or_default().lines().collect();
    let skipped = lines.len().saturating_sub(LINES);
    lines.iter().skip(skipped).map(|line| (*line).to_owned()).collect()
}

/// The text with nothing in it that a terminal would obey.
pub(crate) fn harmless(text: &str) -> String {
    let shown = |c: char| match c {
        '\t' | '\n' => c,
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// The text, or its beginning and how long it is.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}… ({} bytes)", text.get(..end).unwrap_or_default(), text.len())
}

#[cfg(test)]
mod tests {
    use super::{BYTES, COMMAND, PARAMS, REASON, last_lines, shortened};

    #[test]
    fn a_tail_is_short_and_harmless() {
        assert_eq!(last_lines(b"a\n\x1b[2Jb\n\n"), ["a", "\u{fffd}[2Jb"]);
        assert_eq!(last_lines("line\n".repeat(100).as_bytes()).len(), 20);
        assert!(last_lines(&[0xff; 9000]).concat().len() <= BYTES);
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("äöü", 3), "ä… (6 bytes)");
        // The rest takes some lines too.
        const { assert!(BYTES + COMMAND + PARAMS + REASON < 3700) };
    }
}
