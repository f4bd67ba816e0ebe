//! `map`, `scatter` and `gather` as they are written: how a task's instances relate to those of
//! others, names unresolved.

use toml::de::DeValue;

use super::clauses::TASKS;
use super::diagnostic::Diagnostic;
use super::document::Node;
use super::draft::{DraftGather, DraftPattern, DraftScatter};
use super::reader::Reader;
use crate::check;
use crate::pipeline::{MinSuccess, Split};
use crate::problem::Syntax;

impl Reader<'_> {
    /// `"task"`, a list of names, or `{ task = .., by = [..] }`.
    pub(super) fn gather<'t>(&mut self, node: &'t Node<'_>) -> Option<DraftPattern<'t>> {
        let gather = match node.get_ref() {
            DeValue::Table(_) => self.gather_table(node)?,
            _ => {
                let tasks = self.names(node, TASKS)?;
                DraftGather { tasks, by: Vec::new(), min_success: None }
            }
        };
        if !self.report(node.span(), check::gathers(gather.tasks.len())) {
            return None;
        }
        if let ([_, second, ..], [_, ..]) = (gather.tasks.as_slice(), gather.by.as_slice()) {
            let problem = Diagnostic::at(second.span.clone(), "`by` makes groups of one task only")
                .help("gather one task, or leave out `by`");
            self.add(problem);
            return None;
        }
        Some(DraftPattern::Gather(gather))
    }

    fn gather_table<'t>(&mut self, node: &'t Node<'_>) -> Option<DraftGather<'t>> {
        const KEYS: &[&str] = &["task", "by", "min-success"];
        let (mut tasks, mut by, mut min_success) = (None, Some(Vec::new()), None);
        let mut unknown = false;
        for (key, value) in self.table(node, "a gather")? {
            match &**key.get_ref() {
                "task" => {
                    tasks = self.names(value, TASKS);
                    unknown |= tasks.is_none();
                }
                "by" => by = self.names(value, "a parameter's name or a list of names"),
                "min-success" => {
                    min_success = self.min_success(value).map(|least| (least, value.span()));
                }
                _ => {
                    self.unknown_key(key, "a gather", KEYS);
                    unknown = true;
                }
            }
        }
        if tasks.is_none() && !unknown {
            let problem = Diagnostic::at(node.span(), "the gather names no task")
                .help("write { task = \"sim\", by = [\"h\"] }");
            self.add(problem);
        }
        let (tasks, mut by) = (tasks?, by?);
        let mut seen = rustc_hash::FxHashSet::default();
        by.retain(|name| seen.insert(name.text));
        Some(DraftGather { tasks, by, min_success })
    }

    /// `"task"`, or `{ from = "task", chunk = 100 }`.
    pub(super) fn scatter<'t>(&mut self, node: &'t Node<'_>) -> Option<DraftPattern<'t>> {
        const KEYS: &[&str] = &["from", "chunk", "parts", "max-items"];
        match node.get_ref() {
            DeValue::String(_) => {
                let from = self.name(node)?;
                let scatter = DraftScatter { from, split: Split::Each, max_items: None };
                return Some(DraftPattern::Scatter(scatter));
            }
            DeValue::Table(_) => {}
            _ => {
                let problem = self
                    .mismatch(node, "a task's name or a table")
                    .help("write scatter = \"list\" or { from = \"list\", chunk = 100 }");
                self.add(problem);
                return None;
            }
        }
        let (mut from, mut split, mut max_items) = (None, None, None);
        let mut known = true;
        for (key, value) in self.table(node, "a scatter")? {
            match &**key.get_ref() {
                "from" => {
                    from = self.name(value);
                    known &= from.is_some();
                }
                word @ ("chunk" | "parts") => {
                    if split.is_some() {
                        let problem = Diagnostic::at(key.span(), "both `chunk` and `parts`")
                            .help("`chunk` is how many elements, `parts` is how many instances");
                        self.add(problem);
                        continue;
                    }
                    let what = format!("`{word}`");
                    let count = self.positive(value, &what).unwrap_or(1);
                    let chunk = word == "chunk";
                    split = Some(if chunk { Split::Chunk(count) } else { Split::Parts(count) });
                }
                "max-items" => max_items = self.count(value, "`max-items`"),
                _ => {
                    self.unknown_key(key, "a scatter", KEYS);
                    known = false;
                }
            }
        }
        if from.is_none() && known {
            let problem = Diagnostic::at(node.span(), "the scatter names no task")
                .help("write { from = \"list\", chunk = 100 }");
            self.add(problem);
        }
        let split = split.unwrap_or(Split::Each);
        Some(DraftPattern::Scatter(DraftScatter { from: from?, split, max_items }))
    }

    /// `"90%"`, or a count.
    pub(super) fn min_success(&mut self, node: &Node<'_>) -> Option<MinSuccess> {
        const FORMS: &str = "write a percentage such as \"90%\", or how many must succeed";
        let text = match node.get_ref() {
            DeValue::Integer(_) => {
                return self.count(node, "`min-success`").map(MinSuccess::Count);
            }
            DeValue::String(text) => text,
            _ => {
                let problem = self.mismatch(node, "a percentage or a count").help(FORMS);
                self.add(problem);
                return None;
            }
        };
        let number = text.trim().strip_suffix('%').map(str::trim_end);
        let plain = |number: &&str| number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let Some(percent) = number.filter(plain).and_then(|number| number.parse::<f64>().ok())
        else {
            let message = format!("`min-success` is not a percentage: `{}`", text.escape_debug());
            self.add(Diagnostic::at(node.span(), message).help(FORMS));
            return None;
        };
        let part = percent * 100.0;
        let part = if part > 10_000.0 { part.ceil() } else { part.round() };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let least = MinSuccess::Part(part as u32);
        let problem = check::tolerance(least, Syntax::Toml).map(|problem| problem.help(FORMS));
        self.report(node.span(), problem).then_some(least)
    }
}
