//! The blocks of a page: files, commands with what they print, and pieces of pipelines.

/// A command of a page, and what the page says it prints.
pub(crate) struct Typed<'p> {
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) shown: Vec<&'p str>,
}

pub(crate) enum Block<'p> {
    /// A file of this name.
    File(&'p str, String),
    Console(Vec<Typed<'p>>),
    /// A pipeline without a name, and where it begins.
    Pipeline(usize, String),
    /// Keys of a task: each of these is the only one of its task.
    Keys(usize, Vec<String>),
    /// JSON documents, or one of several lines.
    Json(usize, String),
    /// A block that nobody runs.
    Other(usize, String),
    /// A heading, where what a part of the page needs ends.
    Heading,
    /// A program that the rest of this part needs; the module too, if it is Python's.
    Needs(&'p str),
}

/// The blocks of a page in its order, those in HTML comments included.
pub(crate) fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if line.starts_with('#') {
            blocks.push(Block::Heading);
        }
        if let Some(needs) = line.strip_prefix("<!-- needs ") {
            blocks.push(Block::Needs(needs.trim_end_matches("-->").trim()));
        }
        let Some(language) = line.strip_prefix("```").filter(|language| !language.is_empty())
        else {
            continue;
        };
        let body: Vec<_> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
        blocks.push(block(at + 1, language, &body));
    }
    blocks
}

fn block<'p>(at: usize, language: &str, body: &[(usize, &'p str)]) -> Block<'p> {
    let text: String = body.iter().map(|(_, line)| format!("{line}\n")).collect();
    let name = body.first().and_then(|(_, first)| first.strip_prefix("# "));
    if let Some(name) = name.filter(|name| name.contains('.') && !name.contains(' ')) {
        return Block::File(name, text);
    }
    match language {
        "console" => Block::Console(typed(body)),
        "toml" if body.iter().any(|(_, line)| line.starts_with("[task.")) => {
            Block::Pipeline(at, text)
        }
        "toml" => Block::Keys(at, statements(body)),
        "json" => Block::Json(at, text),
        _ => Block::Other(at, language.to_owned()),
    }
}

/// The keys of a block with their values, which may go on over indented lines.
fn statements(body: &[(usize, &str)]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (_, line) in body.iter().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        match all.last_mut() {
            Some(last) if line.starts_with([' ', ']', '}', '\'', '"']) => {
                last.push('\n');
                last.push_str(line);
            }
            _ => all.push((*line).to_owned()),
        }
    }
    all
}

/// The commands behind `$ `, which go on behind `> `.
fn typed<'p>(body: &[(usize, &'p str)]) -> Vec<Typed<'p>> {
    let mut all: Vec<Typed<'p>> = Vec::new();
    for (at, text) in body {
        if let Some(command) = text.strip_prefix("$ ") {
            let command = command.to_owned();
            all.push(Typed { line: at + 1, command, shown: Vec::new() });
            continue;
        }
        let Some(last) = all.last_mut() else { continue };
        match text.strip_prefix("> ").filter(|_| last.shown.is_empty()) {
            Some(more) => {
                last.command.push('\n');
                last.command.push_str(more);
            }
            None => last.shown.push(text),
        }
    }
    all
}

/// Whether a line is as the page shows it.
fn is_like(shown: &str, line: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// Whether lines are as the page shows them.
pub(crate) fn are_like(shown: &[&str], lines: &[&str]) -> bool {
    match (shown.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((&"…", shown)), _) => {
            (0..=lines.len()).any(|skipped| are_like(shown, &lines[skipped..]))
        }
        (Some((shown, shown_after)), Some((line, lines_after))) => {
            is_like(shown, line) && are_like(shown_after, lines_after)
        }
        _ => false,
    }
}

#[test]
fn lines_are_compared_with_wildcards() {
    assert!(is_like("a…c", "abc") && is_like("…", "") && is_like("a", "a"));
    assert!(!is_like("a…c", "ab") && !is_like("a", "ab") && !is_like("a…a", "a"));
    assert!(are_like(&["…", "b"], &["x", "b", "b"]) && are_like(&[], &[]));
    assert!(!are_like(&["…", "b"], &["b", "x"]) && !are_like(&[], &["x"]));
}

#[test]
fn keys_go_on_over_indented_lines() {
    let body = ["a = 1", "", "# about b", "b = [", "  2,", "]", "c = 3"];
    let body: Vec<_> = body.into_iter().enumerate().collect();
    assert_eq!(statements(&body), ["a = 1", "b = [\n  2,\n]", "c = 3"]);
}
