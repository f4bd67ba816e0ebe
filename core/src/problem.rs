//! Problems of a pipeline, however it was written: a message, and how to correct it. The caller
//! adds the location: the parser a place in the file, the builder a task.

/// Something that is wrong, without its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, a lowercase fragment.
    pub message: String,
    /// A short label for the marked range.
    pub label: Option<String>,
    /// How to correct it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem with only a message.
    pub fn new(message: impl Into<String>) -> Problem {
        Problem { message: message.into(), label: None, help: None }
    }

    /// Adds how to correct it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Problem {
        self.label = Some(label.into());
        self
    }
}

impl<T: Into<String>> From<T> for Problem {
    fn from(message: T) -> Problem {
        Problem::new(message)
    }
}

/// How the author writes pipelines, so that help suggests the right syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// A pipeline file.
    Toml,
    /// The builder.
    Rust,
}

impl Syntax {
    /// The name of an option: `max-running` is `max_running` in Rust.
    #[must_use]
    pub fn key(self, key: &str) -> String {
        match self {
            Syntax::Toml => key.to_owned(),
            Syntax::Rust => key.replace('-', "_"),
        }
    }

    /// The wording for this syntax.
    pub(crate) fn say(self, toml: impl Into<String>, rust: impl Into<String>) -> String {
        match self {
            Syntax::Toml => toml.into(),
            Syntax::Rust => rust.into(),
        }
    }
}
