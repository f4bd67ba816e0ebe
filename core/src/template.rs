//! Strings with placeholders, parsed once and rendered per instance.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::ids::TaskId;

/// A string with placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template {
    /// Its literal pieces and placeholders, in order.
    pub parts: Vec<Part>,
}

/// A piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Literal text.
    Literal(String),
    /// A placeholder that is replaced for each instance.
    Placeholder(Placeholder),
}

/// The text between braces, resolved against its pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placeholder {
    /// `{name}`, `{name.field}`: a parameter, inherited or own.
    Param(String, Vec<String>),
    /// `{vars.name}`.
    Var(String, Vec<String>),
    /// `{index}`, `{index:03}`: with the least number of digits.
    Index(u8),
    /// `{key}`.
    Key,
    /// `{item}`, `{item.field}`: what a scatter gives the instance.
    Item(Vec<String>),
    /// `{item:file}`: the path of a file with it, as JSON.
    ItemFile,
    /// `{seed}`.
    Seed,
    /// `{out.NAME}`: position in the task's own outputs.
    Out(u32),
    /// `{in.NAME}`: position among the task's own inputs that have a name.
    In(u32),
    /// `{TASK.NAME}`: the upstream, position in its outputs.
    UpstreamOut(TaskId, u32),
    /// `{TASK.value}`, `{TASK.value.field}`: the upstream, fields.
    UpstreamValue(TaskId, Vec<String>),
    /// `{TASK.value:file}`: the path of a file with what the upstream captured, as JSON.
    UpstreamValueFile(TaskId),
    /// `{TASK.manifest}`: the upstream.
    Manifest(TaskId),
    /// `{run.id}`.
    RunId,
    /// `{run.dir}`.
    RunDir,
    /// `{attempt}`: from 1.
    Attempt,
}

impl Placeholder {
    /// The other task that it names.
    #[must_use]
    pub fn upstream(&self) -> Option<TaskId> {
        match self {
            Placeholder::UpstreamOut(task, _)
            | Placeholder::UpstreamValue(task, _)
            | Placeholder::UpstreamValueFile(task)
            | Placeholder::Manifest(task) => Some(*task),
            _ => None,
        }
    }

    fn upstream_mut(&mut self) -> Option<&mut TaskId> {
        match self {
            Placeholder::UpstreamOut(task, _)
            | Placeholder::UpstreamValue(task, _)
            | Placeholder::UpstreamValueFile(task)
            | Placeholder::Manifest(task) => Some(task),
            _ => None,
        }
    }
}

impl Template {
    /// A template without placeholders.
    #[must_use]
    pub fn literal(text: &str) -> Template {
        Template { parts: vec![Part::Literal(text.to_owned())] }
    }

    /// Whether it has no placeholders.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.placeholders().next().is_none()
    }

    /// Whether it has the path of an input with a name.
    pub(crate) fn has_input(&self) -> bool {
        self.placeholders().any(|placeholder| matches!(placeholder, Placeholder::In(_)))
    }

    /// Its placeholders, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Placeholder(placeholder) => Some(placeholder),
        })
    }

    /// The other tasks that it names, to be changed.
    pub(crate) fn upstreams_mut(&mut self) -> impl Iterator<Item = &mut TaskId> {
        self.parts.iter_mut().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Placeholder(placeholder) => placeholder.upstream_mut(),
        })
    }
}

/// A piece of a scanned text, see [`scan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawPart {
    /// Literal text, with `{{` and `}}` already undone.
    Literal(String),
    /// A placeholder that has not been resolved yet.
    Hole {
        /// The text between the braces, as written.
        text: String,
        /// Its location in the scanned text, in bytes, braces included.
        span: Range<usize>,
    },
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// `{` without `}`.
    #[error("`{{` is never closed")]
    Unclosed {
        /// The opening brace, in bytes.
        span: Range<usize>,
    },
    /// `}` without `{`.
    #[error("`}}` without `{{`")]
    Stray {
        /// The closing brace, in bytes.
        span: Range<usize>,
    },
    /// `{}`.
    #[error("empty placeholder")]
    Empty {
        /// Both braces, in bytes.
        span: Range<usize>,
    },
}

impl ScanError {
    /// Where the problem is in the scanned text, in bytes.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        match self {
            ScanError::Unclosed { span }
            | ScanError::Stray { span }
            | ScanError::Empty { span } => span.clone(),
        }
    }
}

/// Splits a text at its placeholders.
///
/// `{{` and `}}` are literal braces. Adjacent literal text is one part; an empty text has no parts.
///
/// # Errors
/// At the first brace that has no partner and the first empty placeholder.
pub fn scan(text: &str) -> Result<Vec<RawPart>, ScanError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = 0;
    while let Some(found) = text[rest..].find(['{', '}']) {
        let at = rest + found;
        literal.push_str(&text[rest..at]);
        let brace = &text[at..=at];
        if text[at + 1..].starts_with(brace) {
            literal.push_str(brace);
            rest = at + 2;
            continue;
        }
        if brace == "}" {
            return Err(ScanError::Stray { span: at..at + 1 });
        }
        let Some(length) = text[at + 1..].find(['{', '}']) else {
            return Err(ScanError::Unclosed { span: at..at + 1 });
        };
        let close = at + 1 + length;
        if text[close..].starts_with('{') {
            return Err(ScanError::Unclosed { span: at..at + 1 });
        }
        let hole = &text[at + 1..close];
        if hole.trim().is_empty() {
            return Err(ScanError::Empty { span: at..close + 1 });
        }
        if !literal.is_empty() {
            parts.push(RawPart::Literal(std::mem::take(&mut literal)));
        }
        parts.push(RawPart::Hole { text: hole.to_owned(), span: at..close + 1 });
        rest = close + 1;
    }
    literal.push_str(&text[rest..]);
    if !literal.is_empty() {
        parts.push(RawPart::Literal(literal));
    }
    Ok(parts)
}

/// The least number of digits that `03` in `{index:03}` asks for; `None` when it is not a zero
/// followed by a number from 1 to 20.
#[must_use]
pub fn parse_index_format(format: &str) -> Option<u8> {
    let digits = format.strip_prefix('0')?;
    if digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|width| (1..=20).contains(width))
}
