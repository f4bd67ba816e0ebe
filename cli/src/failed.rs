//! The failures of a run in groups: by task, reason and the last line of standard error.

use dagrun_core::ids::TaskId;
use dagrun_core::status::InstanceRow;

use crate::exit::Failure;
use crate::source::RunSource;
use crate::tail::{harmless, shortened};
use crate::target::Target;

/// How many failures are looked at.
const SEEN: usize = 200;

/// How many groups are shown.
const SHOWN: usize = 8;

/// How many bytes of the reason and of the line are shown.
const REASON: usize = 100;
const LINE: usize = 120;

/// Failures that are alike.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    task: TaskId,
    reason: String,
    line: String,
    count: usize,
    /// The first of them.
    sample: u32,
}

/// The groups of these failed instances as lines, the largest first; nothing for a single one.
///
/// # Errors
/// When what they wrote cannot be read.
pub(crate) async fn lines(
    run: &RunSource,
    rows: &[InstanceRow],
    names: impl Fn(TaskId) -> String,
) -> Result<Vec<String>, Failure> {
    if rows.len() < 2 {
        return Ok(Vec::new());
    }
    let mut groups: Vec<Group> = Vec::new();
    for row in rows.iter().take(SEEN) {
        let instance = row.instance;
        let found = run.results(instance.task, instance.index, 1).await?;
        let tail = found.first().map_or(&[][..], |found| &found.detail[..]);
        push(&mut groups, row, &last_line(tail));
    }
    // Those of one size stay in the order of their first instance.
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    Ok(shown(&groups, rows.len(), names))
}

fn push(groups: &mut Vec<Group>, row: &InstanceRow, line: &str) {
    let reason = shortened(&harmless(&row.reason), REASON);
    let task = row.instance.task;
    let known = groups
        .iter_mut()
        .find(|group| group.task == task && group.reason == reason && group.line == line);
    match known {
        Some(group) => group.count += 1,
        None => {
            let (line, sample) = (line.to_owned(), row.instance.index);
            groups.push(Group { task, reason, line, count: 1, sample });
        }
    }
}

fn shown(groups: &[Group], count: usize, names: impl Fn(TaskId) -> String) -> Vec<String> {
    let seen = count.min(SEEN);
    let mut lines = vec![match seen < count {
        true => format!("{count} instances failed; the first {seen} of them:"),
        false => format!("{count} instances failed:"),
    }];
    let widest = groups.first().map_or(1, |group| group.count.to_string().len());
    for Group { task, reason, line, count, sample } in groups.iter().take(SHOWN) {
        let said = if line.is_empty() { String::new() } else { format!(": {line}") };
        let sample = Target { task: names(*task), index: Some(*sample) };
        let such = if *count == 1 { "" } else { "such as " };
        lines.push(format!("  {count:widest$} × {such}{sample}: {reason}{said}"));
    }
    let rest = groups.len().saturating_sub(SHOWN);
    if rest > 0 {
        lines.push(format!("  and {rest} other kinds"));
    }
    lines
}

/// The last line in which something stands.
fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    shortened(&harmless(line), LINE)
}

#[cfg(test)]
mod tests {
    use dagrun_core::ids::InstanceId;
    use dagrun_core::status::State;

    use super::*;

    fn row(task: u32, index: u32, reason: &str) -> InstanceRow {
        InstanceRow {
            instance: InstanceId { task: TaskId(task), index },
            state: State::Failed,
            attempts: 1,
            worker: None,
            started: None,
            finished: None,
            exit_code: None,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn failures_that_are_alike_are_one_line() {
        let mut groups = Vec::new();
        for index in 0..12 {
            push(&mut groups, &row(0, index, "exit code 3"), if index == 4 { "b" } else { "a" });
        }
        push(&mut groups, &row(1, 0, "timed out"), "");
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        let lines = shown(&groups, 13, |task| format!("t{task}"));
        let expected = "13 instances failed:\n  11 × such as t0[0]: exit code 3: a\n   \
                        1 × t0[4]: exit code 3: b\n   1 × t1[0]: timed out";
        assert_eq!(lines.join("\n"), expected);
    }

    #[test]
    fn many_kinds_are_counted_and_lines_are_short() {
        let mut groups = Vec::new();
        for index in 0..300 {
            let long = format!("{index} {}", "x".repeat(9_000));
            push(&mut groups, &row(0, index, &long), &last_line(long.as_bytes()));
        }
        let lines = shown(&groups, 4_000, |_| "t".to_owned());
        assert_eq!(lines.first().unwrap(), "4000 instances failed; the first 200 of them:");
        assert_eq!(lines.last().unwrap(), "  and 292 other kinds");
        assert!(lines.join("\n").len() < 3_000);
        assert_eq!(last_line(b"one\ntwo \n\n"), "two");
    }
}
